"""Time, devices, energy and tokens of some runs, and which of these are unknown.

Unknown values stay unknown: a device that was not seen adds no hardware days, and
energy is known only where each device of each run was metered.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from itertools import pairwise

from flops_magic.errors import InputError
from flops_magic.evidence.hardware import Device
from flops_magic.report.lineage import Lineage, Member


@dataclass(frozen=True)
class Resources:
    """What the runs used.

    Attributes:
        wall_clock_s: how long training was tracked; where runs overlap in time, how
            long at least one of them ran.
        overlapping: whether runs overlap in time.
        device_s: seconds by device name, each device for the whole of its run.
        devices_missing: for which runs devices are not known, and why.
        energy_j: of all devices; None if it is not known of each.
        energy_known_j: of the devices that were metered.
        energy_missing: what information on energy is lacking.
        energy_by: how energy was read.
        positions: training tokens computed, padding and repeated epochs included.
        tokens: the same without padding; None if that is not known of every run.
    """

    wall_clock_s: Fraction
    overlapping: bool
    device_s: dict[str, Fraction]
    devices_missing: tuple[str, ...]
    energy_j: Fraction | None
    energy_known_j: Fraction
    energy_missing: tuple[str, ...]
    energy_by: tuple[str, ...]
    positions: int
    tokens: int | None


def resources(lineage: Lineage) -> Resources:
    """Return the time, devices, energy and tokens of a lineage's runs."""
    members = lineage.members
    wall_clock_s, overlapping = _wall_clock(members)
    device_s: dict[str, Fraction] = {}
    readings: list[tuple[str, Fraction]] = []
    devices_missing: list[str] = []
    energy_missing: list[str] = []
    for member in members:
        where = f"run {member.name}: " if len(members) > 1 else ""
        elapsed_s = _elapsed_s(member)
        devices = devices_of(member)
        for device in devices:
            name = device.name or "unknown device"
            # A device is held for the whole of its run, busy or not, which is what the
            # form's hardware days ask for.
            device_s[name] = device_s.get(name, Fraction(0)) + elapsed_s
            reading = _energy(device)
            if isinstance(reading, str):
                energy_missing.append(f"{where}{name}: {reading}")
            else:
                readings.append(reading)
        lacking = [f"{where}{reason}" for reason in _unseen(member, len(devices))]
        devices_missing += lacking
        energy_missing += lacking
    known_j = sum((energy_j for _, energy_j in readings), Fraction(0))
    uses = [u for m in members for u in m.record.models if u.role == "trained"]
    without_padding = [use.tokens_non_padding for use in uses]
    known_tokens = [tokens for tokens in without_padding if tokens is not None]
    return Resources(
        wall_clock_s,
        overlapping,
        device_s,
        _unique(devices_missing),
        # A sum that lacks one device would be read as the whole, so it is not given.
        None if energy_missing or not readings else known_j,
        known_j,
        _unique(energy_missing),
        _unique(by for by, _ in readings),
        sum(
            row.total.tokens
            for member in members
            for use in member.record.models
            for row in use.histogram
            if use.role == "trained" and row.kind == "train"
        ),
        sum(known_tokens) if uses and len(known_tokens) == len(uses) else None,
    )


def devices_of(member: Member) -> tuple[Device, ...]:
    """Return the devices that a run's record names."""
    hardware = member.record.hardware
    return hardware.devices if hardware else ()


def hardware_gaps(member: Member) -> tuple[str, ...]:
    """Return the gaps of a run's sensors."""
    hardware = member.record.hardware
    return hardware.gaps or () if hardware else ()


def _unseen(member: Member, seen: int) -> Iterator[str]:
    """Yield the reasons why some of a run's devices are unknown."""
    hardware = member.record.hardware
    if hardware is None or not seen:
        yield (hardware and hardware.reason) or "its devices were not recorded"
        return
    # a record of 0.1.0 does not say which gap is a device, so each may be one
    unmeasured = hardware.unmeasured
    yield from hardware_gaps(member) if unmeasured is None else unmeasured
    processes = member.record.data.world_size or 1
    if processes > seen:
        yield f"{processes} processes trained, and {seen} devices were seen"


def _energy(device: Device) -> tuple[str, Fraction] | str:
    """Return how a device's energy was read and the joules, or why it is unknown."""
    if device.energy_j is None:
        return "the device reports neither energy nor power"
    # Some boards report a counter that stays at its start; 0 J would be false.
    if device.energy_j <= 0:
        return "its energy counter did not advance"
    return device.energy_by or "unknown means", Fraction(device.energy_j)


def _wall_clock(members: tuple[Member, ...]) -> tuple[Fraction, bool]:
    """Return seconds of tracked training, and whether runs overlap in time."""
    runs = [member.record.run for member in members]
    # Parallel branches would otherwise count one wall-clock hour twice.
    spans = sorted((_utc(run.started_at), _utc(run.ended_at)) for run in runs)
    if all(one[1] <= two[0] for one, two in pairwise(spans)):
        return sum(map(_elapsed_s, members), Fraction(0)), False
    covered_us = 0
    start, end = spans[0]
    for begins, ends in spans[1:]:
        if begins > end:
            covered_us += _microseconds(start, end)
            start, end = begins, ends
        end = max(end, ends)
    covered_us += _microseconds(start, end)
    return Fraction(covered_us, 10**6), True


def _elapsed_s(member: Member) -> Fraction:
    elapsed_s = member.record.run.elapsed_s
    if elapsed_s < 0:
        raise InputError(
            f"run {member.name} lasted {elapsed_s} s; a run lasts 0 or more"
        )
    return Fraction(elapsed_s)


def _utc(text: str) -> datetime:
    """Return a record's time; one that names no zone is UTC, as records are."""
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _microseconds(start: datetime, end: datetime) -> int:
    # Whole microseconds: ``total_seconds`` is a float.
    span = end - start
    return (span.days * 86_400 + span.seconds) * 10**6 + span.microseconds


def _unique(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts))

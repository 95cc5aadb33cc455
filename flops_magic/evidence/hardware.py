"""What the devices of a run did, as a record holds it."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from flops_magic.evidence.codec import later

EnergySource = Literal["energy counter", "power samples"]


@dataclass(frozen=True)
class Device:
    """What one device did while the run lasted.

    Attributes:
        name: the vendor's.
        uuid: unique to the device.
        samples: how often the device was asked.
        longest_gap_s: seconds, the longest time between two samples.
        memory_peak_bytes: highest memory in use of all samples.
        busy_share: share of the time with a kernel running, 0 to 1; None if unknown.
        energy_j: joules; None if the device reports neither energy nor power.
        energy_by: how ``energy_j`` was read.
    """

    name: str
    uuid: str
    samples: int
    longest_gap_s: Decimal
    memory_peak_bytes: int
    busy_share: Decimal | None
    energy_j: Decimal | None = later()
    energy_by: EnergySource | None = later()


@dataclass(frozen=True)
class Hardware:
    """The devices of a run.

    Attributes:
        devices: those that were measured.
        reason: why none was; None where one was.
        gaps: what the sensors could not read; None where no sensor was asked.
        unmeasured: devices that the run may use and that no sensor can read, such as
            slices of a GPU; None in records of 0.1.0, which did not say.
    """

    devices: tuple[Device, ...]
    reason: str | None = later()
    gaps: tuple[str, ...] | None = later()
    unmeasured: tuple[str, ...] | None = later()

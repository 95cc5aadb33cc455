"""A run as text: one line while it runs, a card when it is done."""

from __future__ import annotations

import time
from collections.abc import Callable
from textwrap import fill
from typing import TextIO

from flops_magic.ai_act.decision import Decision
from flops_magic.display.scale import VERDICT_WORDS, position
from flops_magic.evidence.hardware import Hardware
from flops_magic.evidence.record import AuditRecord
from flops_magic.evidence.seal import Sealed
from flops_magic.flops.units import (
    count_text,
    flop_text,
    grouped,
    percent_text,
    seconds_text,
    short,
)
from flops_magic.tracking.progress import Progress

_BAR = 14
NOT_ADVICE = "Measured by flops_magic. The criterion is indicative; not legal advice."


def progress_line(progress: Progress) -> str:
    """Return a run's progress in one line."""
    steps = f"/{progress.steps}" if progress.steps else ""
    parts = [f"step {progress.step}{steps}", flop_text(progress.flops)]
    if progress.share is not None:
        parts.append(f"{percent_text(progress.share)} of the line")
    else:
        parts.append("no line")
    if not progress.counted:
        parts.append("some models not counted")
    if progress.flops_per_s:
        parts.append(f"{short(int(progress.flops_per_s))} FLOP/s")
    if progress.outcome != "running":
        parts.append(progress.outcome)
    elif progress.projected is not None:
        verdict = progress.projected_verdict
        word = f" ({verdict.replace('_', ' ')})" if verdict else ""
        parts.append(f"at the end {flop_text(progress.projected)}{word}")
        if progress.remaining_s is not None:
            parts.append(f"{seconds_text(progress.remaining_s)} left")
    full = round(position(progress.share) * _BAR)
    bar = "█" * full + "░" * (_BAR - full)
    return f"flops_magic ▕{bar}▏ {' · '.join(parts)}"


class TextDisplay:
    """Shows a run in a terminal or a log: one line, now and then.

    Args:
        stream: where the lines go; a terminal's line is overwritten.
        every_s: seconds between lines.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        stream: TextIO,
        *,
        every_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = stream
        self._terminal = stream.isatty()
        # A terminal overwrites its line; a log keeps every one.
        default_s = 0.5 if self._terminal else 10.0
        self._every_s = default_s if every_s is None else every_s
        self._clock = clock
        self._last_s: float | None = None
        self._warned = ""

    def show(self, progress: Progress) -> None:
        """Do nothing: the first update writes the first line."""

    def update(self, progress: Progress) -> None:
        """Write a line, if it is time; a warning at once, and once."""
        if progress.warning and not self._warned:
            self._warned = progress.warning
            self._write(f"flops_magic: warning: {self._warned}", last=True)
        now_s = self._clock()
        if self._last_s is None or now_s - self._last_s >= self._every_s:
            self._last_s = now_s
            self._write(progress_line(progress), last=False)

    def finish(self, progress: Progress, sealed: Sealed, record: AuditRecord) -> None:
        """Write the card."""
        self._write(progress_line(progress), last=True)
        self._stream.write(record_text(record, sealed) + "\n")
        self._stream.flush()

    def _write(self, line: str, *, last: bool) -> None:
        ends = "\r", "" if self._terminal and not last else "\n"
        # Erase the whole line: a shorter one would leave the end of the longer.
        start = "\r\x1b[2K" if self._terminal else ""
        self._stream.write(f"{start}{line}{ends[1]}")
        self._stream.flush()


def record_text(record: AuditRecord, sealed: Sealed) -> str:
    """Return a record as a card of plain text."""
    lines = [
        f"flops_magic · {record.run.outcome} · {verdict_words(record)}",
        "",
        *(field_text(name, text) for name, text in summary(record)),
        "",
    ]
    lines += [_paragraph(sentence) for sentence in statements(record)]
    lines += [
        "",
        field_text("record", record.run.id),
        field_text("sha256", sealed.sha256),
    ]
    lines += [NOT_ADVICE]
    return "\n".join(lines)


def verdict_words(record: AuditRecord) -> str:
    """Return the verdict in the words of the Guidelines."""
    verdict = record.decision.verdict if record.decision else None
    return VERDICT_WORDS[verdict]


def summary(record: AuditRecord) -> list[tuple[str, str]]:
    """Return the fields of a card: the models, their FLOPs, time and hardware."""
    flops, run = record.flops, record.run
    fields = [("model", _model_text(record))]
    fields.append(
        ("FLOP, direct", f"{grouped(flops.direct)} ({flop_text(flops.direct)})")
    )
    if flops.cumulative != flops.direct:
        fields.append(("FLOP, cumulative", grouped(flops.cumulative)))
    fields.append(
        ("FLOP, executed", f"{grouped(flops.executed)}: {_categories(record)}")
    )
    fields += _line_fields(record.decision)
    fields.append(("tokens", _tokens_text(record)))
    steps = f" of {run.steps_planned}" if run.steps_planned else ""
    fields.append(("optimizer steps", f"{run.steps}{steps}"))
    fields.append(
        ("elapsed", f"{seconds_text(float(run.elapsed_s))}, {_dates(record)}")
    )
    fields.append(("hardware", _hardware_text(record.hardware)))
    if record.legacy:
        # Other meters' figure, so that a reader who has both can reconcile them.
        legacy = f"{grouped(record.legacy.flops)} by (4·N + 2·T)·D"
        fields.append(("for comparison", legacy))
    return fields


def statements(record: AuditRecord) -> list[str]:
    """Return the sentences of a card: the decision, its flags, and every gap."""
    lines = []
    if record.run.stopped:
        lines.append(f"Training was {record.run.stopped}.")
    if record.decision:
        lines.append(record.decision.explanation)
        if record.decision.verdict == "over":
            lines.append(record.decision.consequence)
        lines += [f"Note: {flag}." for flag in record.decision.flags]
    else:
        lines.append(f"No verdict: {record.undecided}.")
    lines += [f"Gap: {gap}." for gap in record.gaps]
    return lines


def _model_text(record: AuditRecord) -> str:
    texts = []
    for use in record.models:
        profile = use.profile
        size = "not counted"
        if profile is not None:
            trains = count_text(profile.parameters_trainable)
            size = (
                f"{profile.method}, {count_text(profile.parameters_total)} parameters"
            )
            size += (
                f", {trains} trainable" if use.role == "trained" else f", {use.role}"
            )
        texts.append(f"{use.id} ({size})")
    return "; ".join(texts) or "none ran"


def _categories(record: AuditRecord) -> str:
    flops = record.flops
    names = ("forward", "backward", "recompute", "reference", "rollout", "evaluation")
    found = [
        f"{name} {short(value)}"
        for name in (*names, "other")
        if (value := getattr(flops, name))
    ]
    return ", ".join(found) or "nothing"


def _line_fields(decision: Decision | None) -> list[tuple[str, str]]:
    """Return the line, the share of it and the original; nothing without a share."""
    # A share of zero would print a line with nothing held against it.
    if decision is None or decision.line is None or not decision.share_of_line:
        return []
    facts = decision.facts
    original = flop_text(facts.original_flops) if facts.original_flops else "unknown"
    name = facts.base_model or "original"
    return [
        ("line", f"{flop_text(decision.line)}, {decision.line_text}"),
        ("share of the line", percent_text(decision.share_of_line)),
        ("original", f"{name}: {original} ({facts.original_source})"),
    ]


def _tokens_text(record: AuditRecord) -> str:
    rows = [r for use in record.models for r in use.histogram if r.kind == "train"]
    positions = sum(row.total.tokens for row in rows)
    real = [use.tokens_non_padding for use in record.models if use.role == "trained"]
    known = [tokens for tokens in real if tokens is not None]
    text = f"{grouped(positions)} positions"
    return f"{text}, {grouped(sum(known))} without padding" if known else text


def _dates(record: AuditRecord) -> str:
    return f"{record.run.started_at[:19]} to {record.run.ended_at[:19]} UTC"


def _hardware_text(hardware: Hardware | None) -> str:
    if hardware is None:
        return "unknown"
    names = ", ".join(device.name for device in hardware.devices)
    return names or hardware.reason or "unknown"


def field_text(name: str, text: str) -> str:
    """Return a field of a card: its name, and its text in lines of a column."""
    return fill(
        text,
        96,
        initial_indent=f"  {name:<18}",
        subsequent_indent=" " * 20,
        # A digest or a path broken in two can no longer be copied.
        break_long_words=False,
        break_on_hyphens=False,
    )


def _paragraph(sentence: str) -> str:
    return fill(sentence, 96, initial_indent="  ", subsequent_indent="  ")

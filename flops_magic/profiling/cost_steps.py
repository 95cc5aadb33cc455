"""Models whose cost grows in steps: one compressed key for every few positions."""

from __future__ import annotations

from flops_magic.profiling.fake_model import FakeModel
from flops_magic.profiling.probes import longest_row, step_of


def walk_in_steps(plan: FakeModel) -> bool:
    """Set a plan to rows that are whole multiples of the model's chunks, if it can.

    DeepSeek-V4 keeps one compressed key for every 4, or 128, whole positions: its cost
    is flat between the multiples and a polynomial on them. What is fitted there is too
    high in between and never too low, which the profiler checks between them.
    """
    step = step_of(plan.base)
    longest = longest_row(plan.base)
    if step == 1 or plan.two_lengths or (longest and longest < 3 * step):
        return False
    plan.step = step
    note = (
        f"{plan.model_class} costs the same for several lengths of a row: the count is "
        f"exact for rows of a multiple of {step} positions and a little high for others"
    )
    plan.notes = (*plan.notes, note)
    return True

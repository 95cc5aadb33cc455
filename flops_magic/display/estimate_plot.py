"""An estimate as a bar chart: FLOPs by method on a log scale, with the line."""

from __future__ import annotations

from typing import Any

from flops_magic.display.scale import COLOURS
from flops_magic.flops.units import flop_text, percent_text

_INK = "#333333"


def estimate_figure(estimate: Any) -> Any:
    """Return a matplotlib ``Figure`` of an ``Estimate``; no window, no global state.

    The bars are direct FLOPs; the dashed line is where the verdict turns.
    """
    # Not pyplot: that keeps figures in a global list and may open a window.
    from matplotlib.figure import Figure

    rows = list(estimate.rows)[::-1]
    figure = Figure(figsize=(8, 1.5 + 0.5 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    # Floats are for drawing alone; the labels are made from the exact counts.
    flops = [float(row.flops.direct) for row in rows]
    colours = [COLOURS[row.decision.verdict if row.decision else None] for row in rows]
    axes.set_xscale("log")
    # bars start at the axis's end: on a log scale there is no zero to start from
    lines = {float(r.decision.line) for r in rows if r.decision and r.decision.line}
    low, high = min([*flops, *lines]) / 30, max([*flops, *lines]) * 30
    axes.set_xlim(low, high)
    axes.barh([row.method for row in rows], flops, color=colours, height=0.55)
    for place, row in enumerate(rows):
        text = flop_text(row.flops.direct)
        if row.decision and row.decision.share_of_line is not None:
            text += f", {percent_text(row.decision.share_of_line)} of the line"
        axes.annotate(
            text,
            (flops[place], place),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            color=_INK,
            fontsize=9,
            # white behind it: the line must not run through the figures
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1, "alpha": 0.85},
        )
    for line in sorted(lines):
        axes.axvline(line, color=COLOURS["over"], linestyle="--", linewidth=1.5)
    text = rows[0].decision.line_text if rows[0].decision else "no line is known"
    axes.set_xlabel(
        f"FLOP (log scale); dashed: {text}" if lines else f"FLOP (log scale); {text}"
    )
    # A ``$`` in a model's name would start mathematics.
    axes.set_title(str(estimate.model), loc="left", fontsize=10, parse_math=False)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure

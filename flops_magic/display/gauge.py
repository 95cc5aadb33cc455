"""The live gauge: one ipywidgets HTML widget, one message an update.

While a cell runs only the widget is updated; the display handle is touched once, at
the end, when the static card takes the widget's place. In collaborative documents
repeated updates of a handle pile up as separate outputs.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from html import escape
from typing import Any

from flops_magic.display.scale import COLOURS, VERDICT_WORDS, gauge_svg
from flops_magic.flops.units import (
    count_text,
    flop_text,
    percent_text,
    seconds_text,
    short,
)
from flops_magic.tracking.progress import Progress

# Each update is a message over the kernel's socket, made on the training thread; four a
# second are enough to look alive.
UPDATE_EVERY_S = 0.25


class LiveGauge:
    """A gauge in the running cell's output.

    Args:
        clock: seconds that never go back; at most four updates a second are sent.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._sent_s: float | None = None
        self._handle: Any = None
        self.widget: Any = None

    def show(self, progress: Progress) -> None:
        """Appear in the cell's output."""
        import ipywidgets
        from IPython.display import display

        self.widget = ipywidgets.HTML(value=gauge_html(progress))
        self._handle = display(self.widget, display_id=True)

    def update(self, progress: Progress) -> None:
        """Send a later moment, unless one was sent just now."""
        now_s = self._clock()
        if self.widget is None or (
            self._sent_s is not None and now_s - self._sent_s < UPDATE_EVERY_S
        ):
            return
        self._sent_s = now_s
        self.widget.value = gauge_html(progress)

    def replace(self, bundle: dict[str, Any]) -> None:
        """Give way to a MIME bundle; without a widget, display it."""
        from IPython.display import display

        if self._handle is None:
            display(bundle, raw=True)
            return
        # The one update of the handle: the widget's message alone would leave no record
        # in the saved notebook.
        self._handle.update(bundle, raw=True)
        self.widget.close()


def gauge_html(progress: Progress) -> str:
    """Return one moment of a run as HTML; everything in it is escaped."""
    colour = COLOURS[progress.verdict]
    steps = f" of {progress.steps}" if progress.steps else ""
    share = (
        f"{percent_text(progress.share)} of the line ({escape(progress.line_text)})"
        if progress.share is not None
        else f"no line: {escape(progress.line_text)}"
    )
    remaining = (
        f", {seconds_text(progress.remaining_s)} left"
        if progress.remaining_s is not None
        else ""
    )
    rate = f"{short(int(progress.flops_per_s))} FLOP/s" if progress.flops_per_s else "–"
    cells = [
        ("FLOP so far", flop_text(progress.flops)),
        ("step", f"{progress.step}{steps}"),
        ("tokens", count_text(progress.tokens)),
        ("speed", rate),
        ("time", f"{seconds_text(progress.elapsed_s)}{remaining}"),
        ("at the end", _projection(progress)),
    ]
    table = "".join(
        f'<div style="min-width:90px"><div style="opacity:.7;font-size:11px">{name}'
        f'</div><div style="font-variant-numeric:tabular-nums">{escape(text)}</div>'
        "</div>"
        for name, text in cells
    )
    warning = "" if progress.counted else _UNCOUNTED
    if progress.warning:
        warning += _WARNING.format(escape(progress.warning))
    return (
        '<div class="flops-magic-gauge" style="max-width:760px;padding:10px 14px;'
        "border:1px solid var(--jp-border-color2,#8888);border-radius:6px;"
        f"border-left:5px solid {colour};color:var(--jp-ui-font-color1,inherit);"
        'font-family:system-ui,sans-serif;font-size:13px;line-height:1.4">'
        f"<div><b>flops_magic</b> · {escape(VERDICT_WORDS[progress.verdict])} so far · "
        f"<b>{share}</b></div>{gauge_svg(progress.share, progress.verdict)}"
        f'<div style="display:flex;flex-wrap:wrap;gap:6px 22px">{table}</div>{warning}'
        '<div style="opacity:.7;font-size:11px;margin-top:6px">Interrupt the kernel '
        "(■) to stop; the record of what ran is kept.</div></div>"
    )


_WARNING = (
    '<div role="alert" style="margin-top:6px;color:#c62828"><b>Warning: {}.</b></div>'
)
_UNCOUNTED = (
    '<div style="margin-top:6px"><b>Some models cannot be counted; the figure is a '
    "lower bound.</b></div>"
)


def _projection(progress: Progress) -> str:
    if progress.projected is None:
        return "–"
    verdict = progress.projected_verdict
    word = f" ({verdict.replace('_', ' ')})" if verdict else ""
    return f"{flop_text(progress.projected)}{word}"

"""A moment of a run, hostile text, and a reader of tags, for the tests of displays."""

from fractions import Fraction
from html.parser import HTMLParser

from flops_magic.tracking.progress import Progress

EVIL = "<script>alert('x')</script>\"><img src=x onerror=y>"


class Tags(HTMLParser):
    """Collects the tags and attributes of a page."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.attributes, self.open = set(), set(), []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes.update(name for name, _ in attrs)
        if tag not in ("br", "rect", "line", "circle"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.add(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


class Clock:
    def __init__(self):
        self.now_s = 0.0

    def __call__(self):
        return self.now_s


def progress(step=3, **changes):
    settings = {
        "flops": step * 10**9,
        "flops_executed": step * 10**9,
        "line": Fraction(10**12, 3),
        "line_text": "a third of the original's training compute",
        "verdict": "below",
        "tokens": 64 * step,
        "step": step,
        "steps": 10,
        "elapsed_s": 2.0 * step,
        "projected_verdict": "below",
    }
    return Progress(**settings | changes)

"""A fragment for a model card: front matter that the Hugging Face Hub knows, a section.

The Model Documentation Form does not have to be published; this fragment holds what a
developer may choose to publish. Every line of it comes from the records.
"""

from __future__ import annotations

import json
import re

from flops_magic.flops.units import flop_text, percent_text, significant_figures
from flops_magic.printable import printable
from flops_magic.report.documentation import Documentation, two_figures
from flops_magic.report.pages import FOOTER, verdict_sentence
from flops_magic.report.renderers.markdown import markdown_text

# The Hub reads ``base_model`` as an id of its own; a path or a class name is not one.
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


def model_card(made: Documentation) -> str:
    """Return YAML front matter and the section "Training compute (EU AI Act)"."""
    lines = [f"- {markdown_text(line)}" for line in _lines(made)]
    return (
        f"{_front_matter(made)}## Training compute (EU AI Act)\n\n"
        + "\n".join(lines)
        + f"\n\n{markdown_text(FOOTER)}\n"
    )


def _front_matter(made: Documentation) -> str:
    """Return the front matter; nothing where no Hub id is known."""
    first = made.lineage.members[0].record.models
    # The first run's model: later runs of a lineage load its own checkpoints.
    names = [use.id for use in first if use.role == "trained"]
    known = [one for one in (*names, made.base_model) if _HUB_ID.fullmatch(one)]
    if not known:
        return ""
    # a JSON string is a YAML string
    return f"---\nbase_model: {json.dumps(known[0])}\n---\n\n"


def _lines(made: Documentation) -> list[str]:
    flops, used, decision = made.lineage.flops, made.used, made.lineage.decision
    lines = []
    if made.counted:
        lines.append(
            f"Training compute of this modification: {made.figure(two_figures)} "
            f"({_notion(made)}), measured by counting operations"
        )
        if flops.direct != flops.cumulative:
            other = flops.direct if made.notion == "cumulative" else flops.cumulative
            word = "direct" if made.notion == "cumulative" else "cumulative"
            lines.append(f"The same, {word}: {made.at_least}{two_figures(other)}")
    else:
        lines.append("Training compute of this modification: could not be counted")
    if decision and decision.line:
        share = decision.share_of_line
        percent = percent_text(share) if share is not None else "unknown"
        lines.append(
            f"{percent} of the line at {flop_text(decision.line)}: {decision.line_text}"
        )
    if decision and decision.facts.original_flops is not None:
        facts = decision.facts
        name = facts.base_model or "the original model"
        lines.append(
            f"Original: {name}, {flop_text(facts.original_flops or 0)} "
            f"({facts.original_source})"
        )
    lines.append(verdict_sentence(made).removesuffix("."))
    known = used.positions if used.tokens is None else used.tokens
    if known:
        padding = "padding included" if used.tokens is None else "without padding"
        figures = significant_figures(known, 2)
        lines.append(f"Training tokens processed: {figures} ({padding})")
    lines += [f"Not observed: {gap}" for gap in made.method.gaps]
    digests = ", ".join(member.sha256 for member in made.lineage.members)
    lines.append(f"Records (sha256): {digests}; 'flops-magic verify FILE' checks them")
    return [printable(line) for line in lines]


def _notion(made: Documentation) -> str:
    if made.notion == "direct":
        return "directly contributing to parameter updates"
    return "cumulative"

"""The versions of the sentences that a decision is told in.

A record keeps its sentences, and ``verify`` writes them again from its facts. So the
sentences of a version never change. To change one: copy ``explanations.py`` and
``flags.py`` to ``explanations_v1.py`` and ``flags_v1.py`` (with the caveats of the
registry and the formats of ``flops.units``, if those change), point version "1" to the
copies, edit the originals, and add them as the next version, to ``CURRENT`` too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction

from flops_magic.ai_act import explanations, flags
from flops_magic.ai_act.decision import Facts
from flops_magic.ai_act.thresholds import Law
from flops_magic.errors import InputError

CURRENT = "1"


@dataclass(frozen=True)
class Wording:
    """One version of the sentences.

    Attributes:
        line_text: what the line is, in a few words.
        explain: two sentences on what was compared, and what follows.
        consequence: what would follow for whoever made the modification.
        flags: what counsel should look at.
    """

    line_text: Callable[[str, Law], str]
    explain: Callable[[str, str, int, Fraction | None, Facts, Law], str]
    consequence: Callable[[str, str, str, Law], str]
    flags: Callable[[Facts, str, str, int, Fraction | None, Law], Iterator[str]]


WORDINGS: Mapping[str, Wording] = {
    "1": Wording(
        explanations.line_text,
        explanations.explain,
        explanations.consequence,
        flags.flags,
    ),
}


def wording_of(version: str) -> Wording:
    """Return one version of the sentences.

    Raises:
        InputError: for a version that this release does not know.
    """
    if version not in WORDINGS:
        raise InputError(
            f"no wording {version!r} here, only {', '.join(WORDINGS)}; a later release "
            "of flops-magic may have it"
        )
    return WORDINGS[version]

"""The sentences of each wording, frozen: sealed records hold them and are verified.

``tests/golden/wording-1.json`` fails when a sentence of wording 1 changes. It is never
written anew: keep the old sentences and add a wording (see ``ai_act.wordings``); then
``FLOPS_MAGIC_RENEW_GOLDEN=1 pytest tests/ai_act/test_wordings.py`` writes the new
wording's file, and leaves those that exist.
"""

import json
import os
from pathlib import Path

import pytest

from flops_magic.ai_act.decision import Facts
from flops_magic.ai_act.decision_table import decide, decide_facts
from flops_magic.ai_act.wordings import CURRENT, WORDINGS
from flops_magic.errors import InputError
from flops_magic.evidence.codec import from_tree
from flops_magic.registry.base_models import CAVEATS

GOLDEN = Path(__file__).parents[1] / "golden"
REGISTRY = "registry 2026-11-01: acme/base, published by the developer, high confidence"
# the facts as a record of 0.1.0 has them; each case below changes some
FACTS = {
    "base_model": "acme/base",
    "caveats": "",
    "derived_from": "",
    "flops_cumulative": "100000000000000000000",
    "flops_direct": "100000000000000000000",
    "known_on": "2026-11-25",
    "matched": "",
    "original_flops": str(3 * 10**24),
    "original_is_gpai": True,
    "original_source": "given by the user",
    "registry_flops": None,
    "rules_version": "2026-11-23",
    "same_provider": False,
    "systemic_risk": False,
    "systemic_risk_source": "",
    "union_market": True,
}
UNKNOWN = {"original_flops": None, "original_source": "declared not estimable"}
RISK = {"original_flops": str(3 * 10**25), "systemic_risk": True}
NO_GPAI = {"original_is_gpai": False, "original_flops": str(9 * 10**22)}
CASES = {
    "same provider": {"same_provider": True},
    "not on the market": {"union_market": False},
    "not on the market, systemic risk": {"union_market": False, **RISK},
    "below": {},
    "near": {"flops": 9 * 10**23},
    "over, within the margin": {"flops": 11 * 10**23},
    "over": {"flops": 2 * 10**24},
    "over, day unknown": {"flops": 2 * 10**25, "known_on": "", **RISK},
    "substitute, below": UNKNOWN,
    "substitute, over": {"flops": 10**23, **UNKNOWN},
    "systemic risk, below": RISK,
    "systemic risk, over": {"flops": 2 * 10**25, **RISK},
    "systemic risk, substitute, below": {**RISK, **UNKNOWN},
    "systemic risk, substitute, over": {"flops": 10**25, **RISK, **UNKNOWN},
    "no GPAI model by compute": {
        "original_is_gpai": None,
        "original_flops": str(9 * 10**22),
    },
    "declared no GPAI model": {**NO_GPAI, "original_flops": str(2 * 10**23)},
    "declared no GPAI model, unknown": {**NO_GPAI, **UNKNOWN},
    "both exceed 10^23": {"flops": 2 * 10**22, **NO_GPAI},
    "both exceed 10^25": {"flops": 2 * 10**24, "original_flops": str(9 * 10**24)},
    "status unknown": {"systemic_risk": None},
    "declared to carry no risk": {"original_flops": str(3 * 10**25)},
    "derived": {"derived_from": "other/base"},
    "registry, caveats": {
        "original_source": REGISTRY,
        "caveats": "; ".join([*CAVEATS, "a caveat in its own words"]),
    },
    "registry disagrees": {"registry_flops": str(9 * 10**24)},
}


def facts_of(flops=None, **changed):
    tree = FACTS | changed
    if flops is not None:
        tree |= {"flops_direct": str(flops), "flops_cumulative": str(flops)}
    return from_tree(Facts, tree)


def told(version):
    """Every case's sentences in one wording."""
    decisions = {
        name: decide_facts(facts_of(**changed), wording=version)
        for name, changed in CASES.items()
    }
    return {
        name: {
            "row": decision.rule,
            "verdict": decision.verdict,
            "line_text": decision.line_text,
            "explanation": decision.explanation,
            "consequence": decision.consequence,
            "flags": list(decision.flags),
        }
        for name, decision in decisions.items()
    }


@pytest.mark.parametrize("version", WORDINGS)
def test_the_sentences_of_a_wording_never_change(version):
    path = GOLDEN / f"wording-{version}.json"
    if not path.exists() and os.environ.get("FLOPS_MAGIC_RENEW_GOLDEN"):
        text = json.dumps(told(version), indent=1, ensure_ascii=False)
        path.write_text(f"{text}\n", encoding="utf-8")
    assert path.exists(), "a new wording: FLOPS_MAGIC_RENEW_GOLDEN=1 writes its file"
    known = json.loads(path.read_text(encoding="utf-8"))
    assert told(version) == known, "add a wording instead; see ai_act/wordings.py"


def test_the_cases_meet_every_row_and_verdict():
    found = told(CURRENT).values()
    assert {one["row"] for one in found} == {f"row-{n}" for n in range(7)}
    assert {one["verdict"] for one in found} == {"below", "near", "over", "not_engaged"}


def test_a_decision_names_its_wording_and_an_unknown_one_is_refused():
    decision = decide("1e20", original_flops="3e24", systemic_risk=False)
    assert decision.wording == CURRENT
    with pytest.raises(InputError, match=r"no wording '0' here, only 1"):
        decide_facts(decision.facts, wording="0")

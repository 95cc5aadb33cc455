"""The numbers of the law are data, in versions; a delegated act is one more of them."""

import tomllib
from datetime import date
from fractions import Fraction

import pytest

from flops_magic.ai_act.decision import Facts
from flops_magic.ai_act.decision_table import decide, decide_facts
from flops_magic.ai_act.thresholds import (
    error_range,
    in_force,
    law,
    laws,
    laws_in,
    straddles,
)
from flops_magic.errors import InputError
from flops_magic.registry.datafile import read_text

DELEGATED_ACT = """
[[rules]]
version = "2027-06-01"
in_force_from = "2027-06-01"
gpai = {value = "10**23", source = "-", as_of = "-"}
systemic_risk = {value = "10**26", source = "a delegated act", as_of = "2027-05-01"}
modification_share = {value = "1/3", source = "-", as_of = "-"}
error_margin = {value = "3/10", source = "-", as_of = "-"}
notification_days = {value = "14", source = "-", as_of = "-"}
"""


def test_the_numbers_in_force_are_these():
    now = law()
    assert (now.gpai_flops, now.systemic_risk_flops) == (10**23, 10**25)
    assert (now.modification_share, now.error_margin) == (
        Fraction(1, 3),
        Fraction(3, 10),
    )
    assert now.notification_days == 14


def test_every_number_names_its_source_and_its_date():
    for table in tomllib.loads(read_text("flops_magic.ai_act", "rules.toml"))["rules"]:
        numbers = {k: v for k, v in table.items() if isinstance(v, dict)}
        assert len(numbers) == 5
        for name, entry in numbers.items():
            assert entry["source"], name
            date.fromisoformat(entry["as_of"])


def test_a_delegated_act_applies_from_its_day_and_leaves_the_past_alone():
    rules = read_text("flops_magic.ai_act", "rules.toml")
    versions = laws_in(tomllib.loads(rules + DELEGATED_ACT))
    before = in_force(versions, date(2027, 5, 31))
    after = in_force(versions, date(2027, 6, 1))
    assert (before, before.systemic_risk_flops) == (law("2026-11-23"), 10**25)
    assert (after.version, after.systemic_risk_flops) == ("2027-06-01", 10**26)
    # before all of them, the first
    assert in_force(versions, date(2020, 1, 1)) == before


def test_a_decision_names_the_rules_that_it_rests_on():
    decision = decide("1e22", original_flops="3e24", on=date(2026, 11, 24))
    assert decision.facts.rules_version == "2026-11-23"
    assert decision.facts.known_on == "2026-11-24"


def test_rules_of_an_unknown_version_are_named_and_not_replaced():
    facts = Facts(
        flops_direct=1,
        flops_cumulative=1,
        original_flops=10**24,
        rules_version="2031-01-01",
    )
    with pytest.raises(InputError, match="no rules of version '2031-01-01' here, only"):
        decide_facts(facts)
    assert [one.version for one in laws()] == ["2026-11-23"]


def test_the_margin_is_30_percent_of_the_reported_estimate():
    assert error_range(10) == (7, 13)
    assert straddles(10, 7)
    assert not straddles(10, 13)

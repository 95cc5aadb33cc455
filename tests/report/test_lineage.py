"""Which runs count, how often, and what is said of their sum."""

from dataclasses import replace
from fractions import Fraction

import pytest

from flops_magic.errors import InputError
from flops_magic.report.lineage import OPEN_QUESTION, STATEMENT, lineage
from tests.reports import below, made, over, pair, recovered

# 5 steps of 64 tokens and 2048 pairs on the tiny Llama, by hand:
# forward 64·147456 + 2048·512 + 64·32768 = 12,582,912; backward twice that
FIVE_STEPS = 5 * 3 * 12_582_912


def of(*records):
    return lineage([pair(record) for record in records])


def test_one_run_is_itself():
    one = of(below())
    assert one.flops.direct == FIVE_STEPS
    assert one.decision.verdict == "below"
    assert one.remarks == ()
    assert one.complete


def test_the_sum_is_judged_and_not_the_larger_run():
    # each is 94 % of the line at 200,000,000; together they are over it
    records = [
        below(c * 32, day=d, original={"original_flops": 6 * 10**8})
        for c, d in (("a", 24), ("b", 25))
    ]
    found = of(*records)
    assert [m.decision.verdict for m in found.members] == ["near", "near"]
    assert found.flops.direct == 2 * FIVE_STEPS
    assert found.decision.verdict == "over"
    assert found.decision.ratio == Fraction(2 * FIVE_STEPS, 2 * 10**8)
    assert STATEMENT in found.remarks
    assert OPEN_QUESTION in found.remarks


def test_nothing_is_rounded_before_the_sum_is_compared():
    line = 2 * FIVE_STEPS
    exactly = [below(c * 32, original={"original_flops": 3 * line}) for c in "ab"]
    assert of(*exactly).decision.verdict == "near"
    above = [below(c * 32, original={"original_flops": 3 * line - 1}) for c in "ab"]
    assert of(*above).decision.verdict == "over"


def test_the_same_record_in_two_files_counts_once():
    assert of(below(), below()).flops.direct == FIVE_STEPS


def test_a_journal_beside_its_finished_record_counts_once():
    finished = below(steps=7)
    journal = replace(
        made(steps=4), run=replace(finished.run, outcome="recovered", steps=4)
    )
    found = of(journal, finished)
    assert [m.record.run.outcome for m in found.members] == ["completed"]
    assert found.flops == finished.flops
    assert "counts once" in found.remarks[0]


def test_two_journals_of_one_run_count_as_the_later():
    early = made(steps=2, run={"outcome": "recovered"})
    late = made(steps=4, run={"outcome": "recovered"})
    assert of(late, early).flops == late.flops


def test_a_journal_that_counts_more_than_the_finished_record_is_refused():
    journal = made(steps=9, run={"outcome": "recovered"})
    with pytest.raises(InputError, match="journal of run aaaaaaaa counts"):
        of(journal, below(steps=5))


def test_two_different_finished_records_of_one_run_are_refused():
    with pytest.raises(InputError, match="two different records of run aaaaaaaa"):
        of(below(steps=5), below(steps=6))


@pytest.mark.parametrize(
    ("other", "named"),
    [
        ({"base_model": "other/model"}, "'tiny/llama' in one and 'other/model'"),
        ({"original_flops": 9 * 10**12}, "3000000000000 in one and 9000000000000"),
    ],
)
def test_different_originals_are_refused_in_one_line_that_names_both(other, named):
    with pytest.raises(InputError, match="different originals") as error:
        of(
            below(),
            below("b" * 32, day=25, original={"original_flops": "3e12"} | other),
        )
    assert named in str(error.value)
    assert "\n" not in str(error.value)


def test_runs_that_disagree_on_the_situation_are_refused():
    risky = {"original_flops": "3e12", "systemic_risk": True}
    other = below("b" * 32, day=25, original=risky)
    with pytest.raises(InputError, match="systemic_risk is False in one and True"):
        of(below(), other)


def test_a_chain_of_digests_is_shown_and_needs_no_statement():
    first = below()
    second = below("b" * 32, day=25, run={"parent_sha256": pair(first)[0]})
    found = of(second, first)
    assert [m.parent for m in found.members] == ["", "a" * 32]
    assert STATEMENT not in found.remarks
    assert OPEN_QUESTION in found.remarks


def test_branches_of_one_run_are_named():
    first = below()
    after = {"parent_sha256": pair(first)[0]}
    found = of(
        first, below("b" * 32, day=25, run=after), below("c" * 32, day=26, run=after)
    )
    assert any(
        "parallel branches" in remark and "aaaaaaaa" in remark
        for remark in found.remarks[2:]
    )
    assert STATEMENT in found.remarks


def test_a_parent_that_is_missing_is_named():
    found = of(below(run={"parent_sha256": "f" * 64}))
    assert "not in this report (sha256 ffffffffffff…)" in found.remarks[0]


def test_a_failed_run_counts_and_is_remarked():
    found = of(below(run={"outcome": "failed"}))
    assert found.flops.direct == FIVE_STEPS
    assert "was failed" in found.remarks[0]


def test_a_stopped_run_and_one_without_training_are_remarked():
    stopped = below(run={"outcome": "stopped", "stopped": "stopped at step 5"})
    assert of(stopped).remarks == ("Run aaaaaaaa: training was stopped at step 5.",)
    empty = made(steps=0)
    assert "No training was seen in run aaaaaaaa." in of(empty).remarks


def test_a_run_without_a_decision_leaves_the_sum_without_a_verdict():
    found = of(below(), replace(made("b" * 32, day=25), undecided="nothing is known"))
    assert found.decision is None
    assert found.undecided == "run bbbbbbbb: nothing is known"
    assert found.flops.direct == 2 * FIVE_STEPS


def test_a_run_that_is_over_by_itself_is_named_beside_a_sum_without_a_verdict():
    lost = replace(made("a" * 32), undecided="nothing is known")
    assert any("run bbbbbbbb meets" in remark for remark in of(over(), lost).remarks)


def test_what_was_not_counted_makes_a_lower_bound():
    assert not of(recovered()).complete
    profile = replace(below().models[0].profile, unknown_ops=("aten::mystery",))
    record = below()
    unknown = replace(record, models=(replace(record.models[0], profile=profile),))
    assert not of(unknown).complete


def test_a_notification_counts_from_the_day_on_which_the_sum_was_first_over():
    days = {"a": "2026-11-20", "b": "2026-11-24", "c": "2026-11-26"}
    records = []
    for number, (letter, day) in enumerate(days.items()):
        asked = {"original_flops": 6 * 10**8, "systemic_risk": True}
        record = below(letter * 32, day=20 + number, original=asked)
        facts = replace(record.decision.facts, known_on=day)
        decision = replace(record.decision, facts=facts)
        records.append(replace(record, decision=decision))
    decision = of(*records).decision
    assert decision.verdict == "over"
    assert decision.facts.known_on == "2026-11-24"  # one run is 94 %, two are over


def test_no_record_is_refused():
    with pytest.raises(InputError, match="no record"):
        lineage([])

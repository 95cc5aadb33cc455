"""The original is resolved once in a run, and each step is compared once."""

import cProfile
import pstats

import pytest

from flops_magic import near_names
from flops_magic.ai_act import decision_table
from flops_magic.ai_act.original_model import OriginalModel
from flops_magic.attach import attach_to_trainers
from flops_magic.flops.histogram import FlopTotals
from flops_magic.registry import base_models
from flops_magic.tracking.moment import RunJudge
from tests import tiny

STEPS = 50
# the line is at 10^15 FLOP, far beyond what fifty tiny steps cost
LARGE = {"original_flops": "3e15", "original_is_gpai": True, "systemic_risk": "no"}


class Screen:
    """A display that takes what it is shown and draws nothing."""

    def __init__(self):
        self.seen = []

    def show(self, progress):
        self.seen.append(progress)

    update = show

    def finish(self, progress, sealed, record):
        self.seen.append(progress)


def calls(profile, function):
    """How often the function was called while the profile was taken."""
    code = function.__code__
    stats = pstats.Stats(profile).stats
    found = stats.get((code.co_filename, code.co_firstlineno, code.co_name))
    return found[1] if found else 0


@pytest.mark.parametrize(
    ("known", "stop_at"),
    [
        # a name that nobody registered: finding names near it costs milliseconds
        (LARGE | {"base_model": "acme/llama-of-our-own"}, None),
        (LARGE | {"base_model": "acme/llama-of-our-own"}, 0.9),
        # the trained model's own name, and its size, once they are known
        (LARGE, None),
        ({"original_tokens": "1T", "original_is_gpai": True}, 0.9),
    ],
)
def test_fifty_steps_look_the_original_up_once_and_compare_once_each(
    tmp_path, known, stop_at
):
    run = attach_to_trainers(stop_at=stop_at, **known)
    profile = cProfile.Profile()
    trainer = tiny.trainer(tiny.llama(), tmp_path, max_steps=STEPS)
    with run:
        profile.enable()
        trainer.train()
        profile.disable()
    assert run.record.run.steps == STEPS
    assert calls(profile, base_models.find) == 1
    assert calls(profile, near_names.near) == 0
    # one when training begins, one more there where stop_at asks for room
    begins = 1 if stop_at is None else 2
    assert calls(profile, decision_table.compare) == STEPS + begins
    # sentences are for the record
    assert calls(profile, decision_table.decide_facts) == 0


def test_a_display_is_handed_every_step_as_it_was_compared(tmp_path):
    run = attach_to_trainers(**LARGE)
    run.display = Screen()
    with run:
        tiny.trainer(tiny.llama(), tmp_path, max_steps=5).train()
    assert {progress.step for progress in run.display.seen} == set(range(6))
    last = run.display.seen[-1]
    assert (last.flops, last.outcome) == (run.record.flops.direct, "completed")
    assert (last.line, last.verdict) == (run.record.decision.line, "below")


def test_an_original_that_nobody_knows_is_looked_up_once_too(tmp_path):
    run = attach_to_trainers()
    profile = cProfile.Profile()
    trainer = tiny.trainer(tiny.llama(), tmp_path, max_steps=5)
    with run:
        profile.enable()
        trainer.train()
        profile.disable()
    assert "'LlamaForCausalLM' is not in the registry" in run.record.undecided
    assert calls(profile, base_models.find) == 1


def test_the_projection_is_the_verdict_of_the_planned_steps(tmp_path):
    step = 37_748_736
    run = attach_to_trainers(
        original_flops=3 * 10 * step, original_is_gpai=True, systemic_risk=False
    )
    run.display = Screen()
    with run:
        tiny.trainer(tiny.llama(), tmp_path, max_steps=20).train()
    halfway = next(p for p in run.display.seen if p.flops == 5 * step and p.step == 5)
    assert halfway.projected == 20 * step
    assert (halfway.verdict, halfway.projected_verdict) == ("below", "over")


class Meter:
    """What a judge asks of a meter: the trained model, as far as it is known."""

    def __init__(self):
        self.name = self.size = None

    def trained_model_id(self):
        return self.name

    def trained_parameters(self):
        return self.size


def test_a_name_and_a_size_that_become_known_are_asked_for_then():
    meter = Meter()
    original = OriginalModel(original_tokens=10**12, original_is_gpai=True)
    judge = RunJudge(original, meter, {}, stop_at=None, elapsed_s=lambda: 0.0)
    assert "nothing says P" in judge.decide(FlopTotals(forward=1))[1]
    meter.name, meter.size = "acme/own", 10**9
    decision, undecided = judge.decide(FlopTotals(forward=1))
    assert undecided == ""
    assert decision.facts.original_flops == 6 * 10**21

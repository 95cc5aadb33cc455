"""Models beside the trained one: copies, threads, models that nobody named."""

import copy
import io
import threading

import pytest
import torch

from flops_magic.attach import attach_to_trainers
from flops_magic.flops.histogram import Histogram
from flops_magic.flops.profile import PassShape
from flops_magic.monitoring.loop_patches import named_models
from flops_magic.monitoring.meter import TrainerMeter
from flops_magic.monitoring.trainer_patches import patched_trainers
from tests import tiny
from tests.monitoring.passes.test_pass_hooks import watched

FORWARD, STEP = 12_582_912, 37_748_736


def ids():
    return torch.randint(0, 256, (tiny.BATCH, tiny.SEQ))


def step(model):
    tokens = ids()
    model(input_ids=tokens, labels=tokens).loss.backward()


def test_a_model_that_nobody_named_is_shown_as_other():
    teacher, model = tiny.llama(num_hidden_layers=3).eval(), tiny.llama()
    with attach_to_trainers(model=model, original_flops="1e24") as run:
        step(model)
        with torch.no_grad():
            teacher(input_ids=ids())
    record = run.record
    assert record.flops.direct == STEP
    # one layer more: 64·2·36,864 + 4·64·2·32² in its attention
    assert record.flops.other == FORWARD + 64 * 2 * 36_864 + 256 * 2048
    assert [use.role for use in record.models] == ["trained", "other"]
    assert record.gaps == ()


def test_a_model_made_inside_the_block_is_seen_too():
    model = tiny.llama()
    with attach_to_trainers(model=model, original_flops="1e24") as run:
        step(model)
        with torch.no_grad():
            tiny.llama()(input_ids=ids())
    assert run.record.flops.other == FORWARD


def test_a_model_that_trains_unnamed_leaves_a_gap():
    model, other = tiny.llama(), tiny.llama()
    with attach_to_trainers(model=model, original_flops="1e24") as run:
        step(model)
        step(other)
    assert run.record.flops.direct == STEP
    assert any("outside of any Trainer" in gap for gap in run.record.gaps)


def test_a_copy_is_another_model_and_is_not_counted_as_the_first():
    model = tiny.llama()
    with attach_to_trainers(model=model, original_flops="1e24") as run:
        step(model)
        frozen = copy.deepcopy(model).eval().requires_grad_(False)
        for _ in range(2):
            with torch.no_grad():
                frozen(input_ids=ids())
    assert run.record.flops.direct == STEP
    assert run.record.flops.other == 2 * FORWARD
    assert run.record.flops.evaluation == 0


def test_a_watched_model_can_be_saved_whole_and_loaded():
    model = tiny.llama()
    kept = io.BytesIO()
    with attach_to_trainers(model=model, original_flops="1e24"):
        step(model)
        torch.save(model, kept)
    kept.seek(0)
    loaded = torch.load(kept, weights_only=False)
    tokens = ids()
    assert torch.equal(loaded(input_ids=tokens).logits, model(input_ids=tokens).logits)


def test_nothing_stays_on_any_model_afterwards():
    model, other = tiny.llama(), tiny.llama()
    with attach_to_trainers(model=model, original_flops="1e24"):
        step(model)
        with torch.no_grad():
            other(input_ids=ids())
    for module in (*model.modules(), *other.modules()):
        assert not module._forward_pre_hooks
        assert not module._forward_hooks


def test_a_tally_loses_nothing_to_threads():
    tally = Histogram()
    shape = PassShape.dense(1, 3)

    def add():
        for _ in range(5000):
            tally.add("train", shape, label="1x3")

    threads = [threading.Thread(target=add) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert tally.total("train").calls == 40_000


class Outer(torch.nn.Module):
    """A model with a backbone, as transformers names it."""

    base_model_prefix = "body"

    def __init__(self):
        super().__init__()
        self.body = Body()

    def forward(self, input_ids=None):
        return self.body(input_ids=input_ids)


class Body(torch.nn.Module):
    def forward(self, input_ids=None):
        return input_ids


def test_replicas_in_threads_count_each_slice_once():
    """``DataParallel`` copies the module with its hooks and calls it in threads."""
    model, gaps = Outer(), []
    _, totals = watched(gaps, model)

    def replica():
        twin = model._replicate_for_data_parallel()
        twin.body = model.body._replicate_for_data_parallel()
        return twin

    def run(twin):
        for _ in range(500):
            twin(input_ids=torch.zeros(2, 8, dtype=torch.long))

    threads = [threading.Thread(target=run, args=(replica(),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    total = totals.histogram.total("train")
    assert (total.calls, total.tokens) == (2000, 2000 * 16)
    assert totals.real_tokens.total() == 2000 * 16
    assert gaps == []


def test_data_parallel_on_one_device_is_counted():
    model = torch.nn.DataParallel(tiny.llama())
    with attach_to_trainers(model=model, original_flops="1e24") as run:
        step(model)
    assert run.record.flops.direct == STEP


def test_a_backbone_called_by_itself_is_a_pass():
    """The head that follows elsewhere counts with it: never too low."""
    model = tiny.llama()
    with attach_to_trainers(model=model, original_flops="1e24") as run:
        hidden = model.model(input_ids=ids()).last_hidden_state
        (hidden @ model.lm_head.weight.T).sum().backward()
    assert run.record.flops.direct == STEP


def test_a_loop_that_evaluates_first_still_counts_its_backward_passes():
    model = tiny.llama()
    with attach_to_trainers(model=model, original_flops="1e24") as run:
        with torch.no_grad():
            model.eval()(input_ids=ids())
        step(model.train())
    assert run.record.flops.evaluation == FORWARD
    assert run.record.flops.direct == STEP


def test_two_models_and_two_optimizers_are_each_counted():
    generator, critic = tiny.llama(), tiny.llama(num_hidden_layers=3)
    names = {"generator": generator, "critic": critic}
    meter = TrainerMeter()
    with patched_trainers(meter), named_models(meter, lambda: names):
        for model in names.values():
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            step(model)
            optimizer.step()
    layer = 64 * 2 * 36_864 + 256 * 2048
    assert meter.flops().direct == STEP + 3 * (FORWARD + layer)
    assert [use.role for use in meter.models()] == ["trained", "trained"]
    assert meter.steps == 2
    assert meter.gaps == []


def test_generation_inside_a_loop_is_a_rollout_and_a_fixed_cache_costs_its_length():
    model = tiny.llama()
    prompt = torch.ones(1, 6, dtype=torch.long)
    with attach_to_trainers(model=model, original_flops="1e24") as run:
        step(model)
        for cache in (None, "static"):
            model.generate(
                prompt,
                attention_mask=torch.ones_like(prompt),
                max_new_tokens=3,
                min_new_tokens=3,
                do_sample=False,
                cache_implementation=cache,
                pad_token_id=0,
            )
    # 147,456 in the layers a position, 32,768 a logit, 512 a query-key pair
    grown = 8 * 147_456 + 3 * 32_768 + 512 * (36 + 7 + 8)
    rows = {r.shape: r.total.pairs for r in run.record.models[0].histogram}
    assert sum(pairs for shape, pairs in rows.items() if shape != "2x32") % 8 == 51 % 8
    room = (sum(p for s, p in rows.items() if s != "2x32") - 51) // 8
    assert room >= 8  # every position is multiplied with all of the cache's places
    fixed = 8 * 147_456 + 3 * 32_768 + 512 * 8 * room
    assert run.record.flops.rollout == grown + fixed
    assert run.record.gaps == ()


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_error_inside_passes_on_and_the_record_keeps_what_ran(error):
    model = tiny.llama()
    run = attach_to_trainers(model=model, original_flops="1e24")

    def stopped():
        with run:
            step(model)
            raise error

    with pytest.raises(error):
        stopped()
    assert run.record.flops.direct == STEP
    outcome = "interrupted" if error is KeyboardInterrupt else "failed"
    assert run.record.run.outcome == outcome


def test_a_broken_hook_leaves_a_gap_and_the_model_runs():
    model, gaps = tiny.llama(), []

    def broken():
        raise ZeroDivisionError

    watched(gaps, model, broken)
    assert model(input_ids=ids()).logits.shape == (2, 32, 256)
    assert gaps == ["a forward pass could not be read: "]

"""Models that cannot be walked dry are counted by the first pass of each signature."""

import pytest
import torch
import transformers
from transformers import Trainer

from flops_magic.attach import attach_to_trainers
from flops_magic.evidence.record import AuditRecord
from flops_magic.evidence.seal import seal
from flops_magic.evidence.verify import check
from flops_magic.flops.histogram import FlopTotals
from flops_magic.monitoring.meter import TrainerMeter
from flops_magic.monitoring.model_monitor import Loop, ModelMonitor
from flops_magic.monitoring.passes.live_counter import MAX_SIGNATURES
from flops_magic.monitoring.setup_watch import RegistrationClock
from flops_magic.monitoring.trainer_patches import patched_trainers
from flops_magic.profiling.op_counter import OperationCounter
from tests import tiny

LAYER = 2 * 2 * 4 * 4  # two rows through a 4x4 matrix, a multiply and an add


class Net(torch.nn.Module):
    """One 4x4 layer: forward 64, weight gradient 64, and no input gradient."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 4, bias=False)

    def forward(self, x=None, labels=None):
        return {"loss": self.layer(x).sum()}


class Deep(torch.nn.Module):
    """Three 4x4 layers; the first two are computed again in the backward pass."""

    def __init__(self, reentrant):
        super().__init__()
        self.first = torch.nn.Sequential(
            torch.nn.Linear(4, 4, bias=False), torch.nn.Linear(4, 4, bias=False)
        )
        self.second = torch.nn.Linear(4, 4, bias=False)
        self.reentrant = reentrant

    def forward(self, x):
        x = torch.utils.checkpoint.checkpoint(
            self.first, x.requires_grad_(), use_reentrant=self.reentrant
        )
        return self.second(x)


def watched(model, *, gaps=None, purpose="train"):
    def note(where, error):
        (gaps if gaps is not None else []).append(f"{where}: {error}")

    return ModelMonitor(
        model,
        model,
        role="trained",
        purpose=lambda: purpose,
        clock=RegistrationClock(),
        on_gap=note,
        loop=Loop(),
    )


def totals(monitor):
    return sum((use.flops() for use in monitor.uses()), FlopTotals())


def counter_of(monitor):
    (counter,) = monitor.counters()
    return counter


def train(monitor, model, *inputs):
    with OperationCounter() as oracle:
        loss = sum(model(x).sum() for x in inputs)
        with counter_of(monitor).backward():
            loss.backward()
    return oracle.flops


def test_a_trainer_of_any_module_is_counted_and_its_record_holds(tmp_path):
    data = [{"x": torch.ones(4), "labels": torch.ones(1)} for _ in range(8)]
    with attach_to_trainers(original_flops="1e24", folder=tmp_path) as run:
        trainer = Trainer(
            Net(),
            tiny.arguments(tmp_path, remove_unused_columns=False),
            train_dataset=data,
        )
        assert trainer.train().global_step == 3
    record = run.record
    assert (record.flops.forward, record.flops.backward) == (3 * LAYER, 3 * LAYER)
    assert record.completeness.whole
    assert record.gaps == ()
    assert any("Net was counted live" in line for line in record.assumptions)
    report = check(tmp_path / "flops_meter.json")
    assert not report.problems


def test_an_encoder_decoder_equals_a_real_run(tmp_path):
    config = transformers.T5Config(
        d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4, vocab_size=64
    )
    config.decoder_start_token_id = 0
    torch.manual_seed(0)
    model = transformers.T5ForConditionalGeneration(config).train()
    ids, answer = torch.randint(1, 64, (2, 12)), torch.randint(1, 64, (2, 7))
    with OperationCounter() as oracle:
        model(input_ids=ids, labels=answer).loss.backward()
    rows = [{"input_ids": a, "labels": b} for a, b in zip(ids, answer, strict=True)]
    meter = TrainerMeter()
    with patched_trainers(meter):
        Trainer(model, tiny.arguments(tmp_path), train_dataset=rows * 4).train()
    assert meter.flops().direct == 3 * oracle.flops
    assert meter.uncounted() == []


def test_a_signature_is_counted_once_and_reused():
    model = Net().layer
    monitor = watched(model)
    for _ in range(5):
        assert train(monitor, model, torch.ones(2, 4)) == 2 * LAYER
    assert (
        len(monitor.profile.costs) == 3
    )  # forward, backward and recompute of one shape
    assert totals(monitor).direct == 10 * LAYER


def test_another_shape_has_another_cost():
    model = Net().layer
    monitor = watched(model)
    expected = sum(train(monitor, model, torch.ones(n, 4)) for n in (2, 3, 2, 7))
    assert totals(monitor).direct == expected


def test_two_forward_passes_share_one_backward_pass():
    model = Net().layer
    monitor = watched(model)
    expected = sum(
        train(monitor, model, *inputs)
        for inputs in (
            (torch.ones(2, 4), torch.ones(3, 4)),
            (torch.ones(2, 4),),
            (torch.ones(2, 4), torch.ones(3, 4)),
        )
    )
    assert totals(monitor).direct == expected


@pytest.mark.parametrize(("reentrant", "again"), [(True, 2), (False, 1)])
def test_recomputation_is_a_category_of_its_own(reentrant, again):
    model = Deep(reentrant)
    monitor = watched(model)
    executed = train(monitor, model, torch.ones(2, 4))
    found = totals(monitor)
    # three layers forward, two gradients each backward; without reentrance torch stops
    # as soon as the last saved input is there, which is before the second product
    assert (found.forward, found.backward, found.recompute) == (
        3 * LAYER,
        6 * LAYER,
        again * LAYER,
    )
    assert executed == found.executed


def test_a_pass_without_gradients_has_no_backward_pass():
    model = Net().layer.eval()
    monitor = watched(model, purpose="loop")
    with torch.no_grad():
        model(torch.ones(2, 4))
    found = totals(monitor)
    assert (found.other, found.direct) == (LAYER, 0)


def test_a_pass_whose_backward_never_came_is_said_to_be_other():
    model, gaps = Net().layer, []
    monitor = watched(model, gaps=gaps)
    model(torch.ones(2, 4))
    counter_of(monitor).settle()
    assert totals(monitor).other == LAYER
    assert "no backward pass was seen" in gaps[0]


def test_a_backward_that_fails_passes_its_error_on_and_keeps_the_forward(tmp_path):
    model, gaps = Net().layer, []
    monitor = watched(model, gaps=gaps)
    loss = model(torch.ones(2, 4)).sum()
    with pytest.raises(KeyboardInterrupt), counter_of(monitor).backward():
        raise KeyboardInterrupt
    del loss
    counter_of(monitor).settle()
    assert totals(monitor).other == LAYER


def test_a_forward_that_fails_leaves_no_cost_behind():
    model = Net().layer
    monitor = watched(model)
    with pytest.raises(RuntimeError):
        model(torch.ones(2, 5))
    assert train(monitor, model, torch.ones(2, 4)) == totals(monitor).direct


def test_too_many_shapes_are_a_gap_and_no_total():
    model, gaps = torch.nn.Linear(1, 1), []
    monitor = watched(model, gaps=gaps, purpose="loop")
    with torch.no_grad():
        for rows in range(1, MAX_SIGNATURES + 3):
            model(torch.ones(rows, 1))
    assert monitor.segments()[0].lost == 2
    assert monitor.uncounted
    assert "not counted" in gaps[0]


def test_an_operation_without_a_formula_is_named():
    model = torch.nn.LSTM(4, 4)
    monitor = watched(model, purpose="loop")
    with torch.no_grad():
        model(torch.ones(3, 4))
    profile = monitor.profile
    named = " ".join(profile.unknown_ops)
    counted = totals(monitor).other
    assert named or counted == 3 * 2 * (2 * 16 * 4) // 1


def test_closing_takes_the_hooks_away():
    model = Net()
    watched(model).close()
    assert not model._forward_hooks
    assert not model._forward_pre_hooks


def test_costs_by_shape_survive_the_record(tmp_path):
    model = Net()
    with attach_to_trainers(original_flops="1e24", model=model) as run:
        model(x=torch.ones(2, 4))["loss"].backward()
    again = AuditRecord.from_json(seal(run.record).payload)
    assert again.flops == run.record.flops
    assert again.computed_flops() == run.record.flops


def test_a_mixture_is_counted_exactly_with_either_transformers():
    """transformers 4 routes by data, so its mixtures are counted by what they run."""
    config = transformers.MixtralConfig(
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=128,
        vocab_size=256,
        num_local_experts=4,
        num_experts_per_tok=2,
    )
    model = transformers.MixtralForCausalLM._from_config(
        config, attn_implementation="eager"
    ).train()
    ids = torch.zeros(2, 32, dtype=torch.long)
    with attach_to_trainers(model=model, original_flops="3e23") as run:
        for _ in range(3):
            model(input_ids=ids, labels=ids).loss.backward()
    # the mixture of the worked examples: 2 of 4 experts
    assert run.record.flops.direct == 3 * 56_819_712
    assert not run.record.gaps


ADAPTERS = {
    "AdaLoRA's own term": ("AdaLoraConfig", {"total_step": 10, "init_r": 4}),
    "BOFT solves on meta tensors": ("BOFTConfig", {"boft_block_size": 4}),
    "SHiRA draws its places": ("ShiraConfig", {"r": 4}),
    "LoHa asks for values": ("LoHaConfig", {"r": 4}),
    "C3A builds circulants": ("C3AConfig", {"block_size": 16}),
    "prompts are made outside": ("PromptTuningConfig", {"num_virtual_tokens": 4}),
}


@pytest.mark.parametrize(("name", "settings"), ADAPTERS.values(), ids=ADAPTERS)
@pytest.mark.filterwarnings("ignore")
def test_adapters_of_every_kind_are_counted_as_they_run(name, settings):
    """Dry where the walk can, live where it raises, whatever it raises."""
    peft = pytest.importorskip("peft")
    where = {} if "Prompt" in name else {"target_modules": ["q_proj", "v_proj"]}
    config = getattr(peft, name)(task_type="CAUSAL_LM", **where, **settings)
    model = peft.get_peft_model(tiny.llama(), config)
    ran = 0
    with attach_to_trainers(model=model, original_flops="1e24") as run:
        for length in (32, 16, 32):
            tokens = torch.randint(0, 256, (2, length))
            with OperationCounter() as oracle:
                model(input_ids=tokens, labels=tokens).loss.backward()
            ran += oracle.flops
    assert run.record.flops.executed == ran
    assert run.record.gaps == ()
    assert all(use.profile is not None for use in run.record.models)

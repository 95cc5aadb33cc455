"""A pass is priced by what trained when it ran; each kind against a count of the run.

The oracle is torch's own counter round every step, on eager attention, which it
knows in full: what was executed has to equal it to the last digit.
"""

import pickle

import pytest
import torch
import transformers
from peft import LoraConfig, get_peft_model
from torch.utils.flop_counter import FlopCounterMode

from flops_magic.attach import attach_to_trainers
from flops_magic.evidence.record import AuditRecord
from flops_magic.evidence.seal import seal
from flops_magic.monitoring.meter import TrainerMeter
from flops_magic.monitoring.model_monitor import Loop, ModelMonitor
from flops_magic.monitoring.setup_watch import RegistrationClock, SetupWatch
from flops_magic.monitoring.trainer_patches import patched_trainers
from tests import tiny

LORA = {"r": 4, "target_modules": ["q_proj", "v_proj"]}


def ids():
    return torch.randint(0, 256, (tiny.BATCH, tiny.SEQ))


def step(model):
    tokens = ids()
    loss = model(input_ids=tokens, labels=tokens).loss
    if loss.requires_grad:
        loss.backward()


def only(model, *names):
    """Let the parameters train whose names hold one of these."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(any(one in name for one in names))


class Oracle:
    """Counts each step with a counter of its own, which keeps no graph alive."""

    def __init__(self):
        self.flops = 0

    def step(self, model):
        with FlopCounterMode(display=False) as counter:
            step(model)
        self.flops += counter.get_total_flops()
        model.zero_grad()

    def train(self, trainer):
        with FlopCounterMode(display=False) as counter:
            trainer.train()
        self.flops += counter.get_total_flops()


def freezing_in_the_middle_of_an_accumulation(model, step):
    step(model)
    only(model, "lm_head")
    step(model)


def one_layer_then_everything(model, step):
    only(model, "layers.1.")
    step(model)
    only(model, "")
    step(model)


def layers_drawn_anew(model, step):
    """LISA: other layers every few steps, one of them again."""
    for layer in (0, 2, 1, 0):
        only(model, f"layers.{layer}.", "lm_head")
        for _ in range(2):
            step(model)


def full_then_lora(model, step):
    step(model)
    adapted = get_peft_model(model, LoraConfig(**LORA))
    step(adapted)
    step(adapted)


def lora_then_merged_then_full(model, step):
    adapted = get_peft_model(model, LoraConfig(**LORA))
    step(adapted)
    merged = adapted.merge_and_unload()
    only(merged, "")
    step(merged)


def lora_merged_and_put_on_anew(model, step):
    """ReLoRA: the adapters go into the weights, and others take their place."""
    for rank in (4, 4, 8):
        adapted = get_peft_model(model, LoraConfig(**{**LORA, "r": rank}))
        step(adapted)
        model = adapted.merge_and_unload()


def adapters_swapped(model, step):
    adapted = get_peft_model(model, LoraConfig(**LORA))
    other = LoraConfig(r=8, target_modules=["q_proj", "k_proj", "down_proj"])
    adapted.add_adapter("other", other)
    for name in ("default", "other", "default"):
        adapted.set_adapter(name)
        step(adapted)


def adapters_merged_in_place(model, step):
    adapted = get_peft_model(model, LoraConfig(**LORA))
    step(adapted)
    adapted.merge_adapter()
    only(adapted, "lm_head")
    step(adapted)
    adapted.unmerge_adapter()
    only(adapted, "lora_")
    step(adapted)


def adapters_without_a_wrapper(model, step):
    step(model)
    model.add_adapter(LoraConfig(**LORA))
    step(model)


def checkpointing_switched_on(model, step):
    step(model)
    model.gradient_checkpointing_enable({"use_reentrant": False})
    step(model)
    model.gradient_checkpointing_disable()
    step(model)


def checkpointing_of_another_kind(model, step):
    model.gradient_checkpointing_enable({"use_reentrant": False})
    model.enable_input_require_grads()
    step(model)
    model.gradient_checkpointing_enable({"use_reentrant": True})
    step(model)


def inputs_made_to_require_gradients(model, step):
    only(model, "layers.1.")
    step(model)
    model.enable_input_require_grads()
    step(model)


def embeddings_resized(model, step):
    step(model)
    model.resize_token_embeddings(300)
    step(model)


def evaluation_between_flags(model, step):
    step(model)
    only(model, "lm_head")
    with torch.no_grad():
        step(model.eval())
    step(model.train())


KINDS = [
    freezing_in_the_middle_of_an_accumulation,
    one_layer_then_everything,
    layers_drawn_anew,
    full_then_lora,
    lora_then_merged_then_full,
    lora_merged_and_put_on_anew,
    adapters_swapped,
    adapters_merged_in_place,
    adapters_without_a_wrapper,
    checkpointing_switched_on,
    checkpointing_of_another_kind,
    inputs_made_to_require_gradients,
    embeddings_resized,
    evaluation_between_flags,
]


@pytest.mark.parametrize("train", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.filterwarnings("ignore")
def test_what_changes_in_a_loop_is_priced_as_it_ran(train):
    model = tiny.llama(num_hidden_layers=3)
    oracle = Oracle()
    with attach_to_trainers(model=model, original_flops="1e24") as run:
        train(model, oracle.step)
    record = run.record
    assert record.gaps == ()
    assert record.flops.executed == oracle.flops
    assert all(use.profile.costs.get("forward") for use in record.models), "walked dry"
    assert record.computed_flops() == record.flops
    assert AuditRecord.from_json(seal(record).payload).flops == record.flops


class Unfreezes(transformers.TrainerCallback):
    """Gradual unfreezing: one layer more, at some event of the Trainer."""

    def __init__(self, event):
        setattr(self, event, self.unfreeze)
        self.layers = [2, 1, 0]

    def unfreeze(self, args, state, control, model=None, **more):
        only(model, "lm_head", *(f"layers.{n}." for n in self.layers[:1]))
        self.layers = self.layers[1:] or self.layers


@pytest.mark.parametrize(
    "event", ["on_train_begin", "on_epoch_begin", "on_step_begin", "on_step_end"]
)
@pytest.mark.parametrize("accumulated", [1, 2])
def test_layers_unfrozen_by_a_callback_are_priced_as_they_ran(
    tmp_path, event, accumulated
):
    made = tiny.trainer(
        tiny.llama(num_hidden_layers=3),
        tmp_path,
        gradient_accumulation_steps=accumulated,
    )
    made.add_callback(Unfreezes(event))
    meter = TrainerMeter()
    with FlopCounterMode(display=False) as oracle, patched_trainers(meter):
        made.train()
    assert meter.gaps == []
    assert meter.flops().executed == oracle.get_total_flops()


@pytest.mark.filterwarnings("ignore")
def test_a_trainer_of_each_stage_goes_on_with_the_same_model(tmp_path):
    """Full, then adapters, then merged: one model, and one line says why it is cut."""
    model, oracle = tiny.llama(), Oracle()
    with attach_to_trainers(original_flops="1e24", folder=tmp_path) as run:
        oracle.train(tiny.trainer(model, tmp_path))
        adapted = get_peft_model(model, LoraConfig(**LORA))
        oracle.train(tiny.trainer(adapted, tmp_path))
        only(merged := adapted.merge_and_unload(), "")
        oracle.train(tiny.trainer(merged, tmp_path))
    assert run.record.gaps == ()
    assert run.record.flops.executed == oracle.flops
    assert [use.profile.method for use in run.record.models] == ["full", "lora"]
    assert not any("models were trained" in line for line in run.record.assumptions)
    assert any("2 segments" in line for line in run.record.assumptions)


def test_a_setup_that_comes_back_goes_on_with_its_segment():
    model = tiny.llama()
    with attach_to_trainers(model=model, original_flops="1e24") as run:
        for names in (("lm_head",), ("",), ("lm_head",)):
            only(model, *names)
            step(model)
    calls = [use.histogram[0].total.calls for use in run.record.models]
    assert calls == [2, 1]


def test_passes_without_gradients_cut_no_segment():
    model = tiny.llama()
    with attach_to_trainers(model=model, original_flops="1e24") as run:
        for names in (("lm_head",), ("",), ("norm",)):
            only(model, *names)
            with torch.no_grad():
                model(input_ids=ids())
        only(model, "")
        step(model)
    (use,) = run.record.models
    assert use.profile.parameters_trainable == use.profile.parameters_total


def test_what_cannot_be_walked_is_cut_too():
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)

        def forward(self, x):
            return self.two(self.one(x))

    model = Net()
    with (
        attach_to_trainers(model=model, original_flops="1e24") as run,
        FlopCounterMode(display=False) as oracle,
    ):
        for names in (("",), ("two",), ("one",), ("",)):
            only(model, *names)
            model(torch.ones(2, 4)).sum().backward()
    assert run.record.gaps == ()
    assert run.record.flops.executed == oracle.get_total_flops()
    trained = [use.profile.parameters_trainable for use in run.record.models]
    assert trained == [40, 20, 20]


def monitored(model):
    return ModelMonitor(
        model,
        model,
        role="trained",
        purpose=lambda: "train",
        clock=RegistrationClock(),
        loop=Loop(),
        on_gap=lambda *gap: pytest.fail(str(gap)),
    )


def test_processes_that_were_set_up_differently_add_up():
    """The others' shares come pickled; a set-up may be theirs alone."""
    one, other = tiny.llama(), tiny.llama()
    mine, theirs = monitored(one), monitored(other)
    step(one)
    step(other)
    only(other, "lm_head")
    step(other)
    before = mine.flops(), theirs.flops()
    shares = pickle.loads(pickle.dumps(theirs.shares()))  # noqa: S301 made here
    for _ in range(2):  # gathered at each end of training, and not twice
        mine.add_shares([shares])
        assert mine.flops() == before[0] + before[1]
        assert mine.flops(everywhere=False) == before[0]
    assert [len(use.histogram) for use in mine.uses()] == [1, 1]
    step(one)
    assert mine.flops(everywhere=False).direct == 2 * before[0].direct


def test_what_is_built_elsewhere_costs_no_new_look():
    """A model's own pass builds a list of its layers, each time."""
    model, clock = tiny.llama(), RegistrationClock()
    watch = SetupWatch(model, clock)
    clock.start()
    before, ticks = watch.now(model), clock.ticks
    tiny.llama()(input_ids=ids())
    model(input_ids=ids())
    assert clock.ticks == ticks
    assert watch.now(model) is before
    model.lm_head = torch.nn.Linear(64, 256)
    assert clock.ticks > ticks
    assert watch.now(model) != before
    ticks = clock.ticks
    clock.close()
    model.lm_head = torch.nn.Linear(64, 256)
    assert clock.ticks == ticks

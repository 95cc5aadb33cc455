"""``torch.compile``: the same graph, the same number of graphs, every pass counted."""

import pytest
import torch

from flops_magic.attach import attach_to_trainers
from tests import tiny

STEP, LORA_STEP = 37_748_736, 12_812_288 + 12_713_984


@pytest.fixture(autouse=True)
def _fresh():
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    yield
    torch._dynamo.reset()


def outer(model, **options):
    return torch.compile(model, **options)


def in_place(model, **options):
    model.compile(**options)
    return model


def steps(model, count=3):
    generator = torch.Generator().manual_seed(0)
    losses = []
    for _ in range(count):
        ids = torch.randint(0, 256, (tiny.BATCH, tiny.SEQ), generator=generator)
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        losses.append(loss.item())
    return losses


def graphs():
    stats = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    return stats, sum(torch._dynamo.utils.counters["graph_break"].values())


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("how", [outer, in_place])
@pytest.mark.parametrize("adapters", [False, True])
@pytest.mark.filterwarnings("ignore")
def test_a_compiled_model_keeps_its_one_graph_and_is_counted(how, adapters, backend):
    """``fullgraph=True`` refuses a hook that would break the graph."""
    torch.manual_seed(0)
    made = tiny.llama()
    made = tiny.lora(made, ["q_proj", "v_proj"]) if adapters else made
    model = how(made, backend=backend, fullgraph=True)
    with attach_to_trainers(model=model, original_flops="1e24") as run:
        tracked = steps(model)
    assert graphs() == (1, 0)
    assert run.record.flops.direct == 3 * (LORA_STEP if adapters else STEP)
    assert run.record.gaps == ()
    model.zero_grad()
    assert steps(model) == tracked  # and after the block it runs as before


@pytest.mark.filterwarnings("ignore")
def test_a_trainer_that_compiles_is_counted(tmp_path, monkeypatch):
    monkeypatch.setenv("ACCELERATE_DYNAMO_BACKEND", "no")  # the Trainer leaves its own
    trainer = tiny.trainer(
        tiny.llama(), tmp_path, torch_compile=True, torch_compile_backend="eager"
    )
    with attach_to_trainers(original_flops="1e24") as run:
        trainer.train()
    assert run.record.flops.direct == 3 * STEP
    assert run.record.gaps == ()
    assert graphs()[1] == 0


def test_a_compiled_model_that_cannot_be_walked_dry_stays_a_gap():
    class Mine(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(8, 8)

        def forward(self, x):
            return self.layer(x)

    model = torch.compile(Mine(), backend="eager")
    with attach_to_trainers(model=model, original_flops="1e24") as run:
        model(torch.ones(2, 8)).sum().backward()
    assert any("operations not counted" in gap for gap in run.record.gaps)
    assert run.record.decision is None

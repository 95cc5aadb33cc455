"""The hook in a model's forward pass: no waiting for the device, exact packed sums."""

import pytest
import torch

from flops_magic.flops.profile import PassShape
from flops_magic.monitoring.passes.pass_hooks import PassHooks, entrances
from flops_magic.monitoring.passes.pass_reader import PassReader
from flops_magic.monitoring.passes.pass_totals import PassTotals
from flops_magic.monitoring.passes.profile_counter import ProfileCounter


class Net(torch.nn.Module):
    def forward(self, input_ids=None, **more):
        return input_ids


def watched(gaps, model=None, purpose=lambda: "train"):
    """A model whose passes a profile is to price, and what they add up to."""
    model, totals = model or Net(), PassTotals()
    reader = PassReader(role="trained", purpose=purpose, adapters_on=lambda: True)

    def note(where, error):
        gaps.append(f"{where}: {error}")

    PassHooks(entrances(model), ProfileCounter(reader, totals).begin, note)
    return model, totals


ON_META = {
    "plain": {},
    "masked": {"attention_mask": torch.ones(2, 8, dtype=torch.long, device="meta")},
    "packed": {"position_ids": torch.zeros(2, 8, dtype=torch.long, device="meta")},
    "bounds": {"cu_seq_lens_q": torch.zeros(4, dtype=torch.int32, device="meta")},
}


@pytest.mark.parametrize("inputs", ON_META.values(), ids=ON_META)
def test_the_hook_reads_nothing_from_the_device(inputs):
    """A meta tensor has no values: whatever waits for one raises, and leaves a gap."""
    gaps = []
    model, _ = watched(gaps)
    for _ in range(3):
        model(input_ids=torch.zeros(2, 8, dtype=torch.long, device="meta"), **inputs)
    assert gaps == []


@pytest.mark.parametrize(
    "read", [torch.Tensor.item, torch.Tensor.cpu, torch.Tensor.tolist]
)
def test_what_reads_the_device_would_be_caught(read):
    gaps = []
    model = Net()

    def reading(call):
        read(call.kwargs["input_ids"].sum())

    PassHooks([model], reading, lambda *gap: gaps.append(gap))
    model(input_ids=torch.zeros(2, 8, dtype=torch.long, device="meta"))
    assert len(gaps) == 1


def test_packed_positions_cost_the_sum_of_squares():
    model, totals = watched([])
    places = torch.tensor([[0, 1, 2, 0, 1, 0, 1, 2, 3, 4]])  # sequences of 3, 2 and 5
    for _ in range(2):
        model(input_ids=torch.zeros(1, 10), position_ids=places)
    once = PassShape(1, 3, 10, 9 + 4 + 25, 6 + 3 + 15, 10)
    assert totals.histogram.total("train") == once + once
    assert once == PassShape.packed([3, 2, 5], positions=10)


def test_packed_boundaries_leave_padding_a_sequence_of_its_own():
    model, totals = watched([])
    bounds = torch.tensor([0, 3, 5], dtype=torch.int32)
    model(input_ids=torch.zeros(1, 9), cu_seq_lens_q=bounds)
    assert totals.histogram.total("train") == PassShape.packed([3, 2], positions=9)


def test_positions_that_only_count_up_are_an_ordinary_batch():
    model, totals = watched([])
    model(input_ids=torch.zeros(2, 4), position_ids=torch.arange(4).expand(2, 4))
    (row,) = totals.histogram.rows()
    assert row.shape == "2x4"
    assert row.total == PassShape.dense(2, 4)


def test_real_tokens_are_those_that_the_mask_leaves():
    model, totals = watched([])
    mask = torch.tensor([[1, 1, 1, 0], [1, 0, 0, 0]])
    model(input_ids=torch.zeros(2, 4), attention_mask=mask)
    model(input_ids=torch.zeros(2, 4))
    assert totals.real_tokens.total() == 4 + 8

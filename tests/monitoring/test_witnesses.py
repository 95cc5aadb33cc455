"""Training that no Trainer reports is counted whole, or there is no verdict."""

import pytest
import torch
from torch import nn

from flops_magic.attach import attach_to_trainers
from flops_magic.profiling.op_counter import OperationCounter
from tests import tiny

KNOWN = {"original_flops": "1e24", "original_is_gpai": True, "systemic_risk": False}
FULL_STEP = 37_748_736


class Net(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.first = nn.Linear(width, 16)
        self.second = nn.Linear(16, 4)

    def forward(self, x):
        return self.second(self.first(x).relu())


def ids():
    return torch.randint(0, 256, (2, 32))


def tracked(train):
    """The record of ``train()``, beside what torch counts while it runs."""
    counter = OperationCounter()
    with attach_to_trainers(**KNOWN) as run, counter:
        train()
    return run.record, counter.flops


def whole(record, counted):
    """The record lacks nothing: equal to torch's count, no gap, a verdict."""
    assert record.gaps == ()
    assert record.flops.executed == counted
    assert record.decision.verdict == "below"


def test_a_plain_loop_is_counted_without_a_name():
    model = tiny.llama()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def train():
        for _ in range(3):
            batch = ids()
            model(input_ids=batch, labels=batch).loss.backward()
            optimizer.step()

    record, counted = tracked(train)
    whole(record, counted)
    assert record.flops.direct == 3 * FULL_STEP
    assert (record.run.steps, record.models[0].role) == (3, "trained")


def test_a_loop_that_updates_by_hand_is_counted():
    model = Net()

    def train():
        model(torch.ones(5, 8)).sum().backward()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter -= 0.1 * parameter.grad

    record, counted = tracked(train)
    whole(record, counted)


def test_two_models_in_one_backward_pass_are_counted_once():
    encoder, head = tiny.llama(), nn.Linear(256, 3)

    def train():
        out = encoder(input_ids=ids()).logits.mean(1)
        head(out).sum().backward()

    record, counted = tracked(train)
    whole(record, counted)


def test_a_teacher_without_gradients_is_a_reference_and_in_cumulative():
    student, teacher = tiny.llama(), tiny.llama()

    def train():
        batch = ids()
        with torch.no_grad():
            wanted = teacher(input_ids=batch).logits
        nn.functional.mse_loss(student(input_ids=batch).logits, wanted).backward()

    record, counted = tracked(train)
    whole(record, counted)
    assert record.flops.direct == FULL_STEP
    assert record.flops.reference == FULL_STEP // 3
    assert record.flops.cumulative == FULL_STEP + FULL_STEP // 3


def test_a_forward_pass_with_gradients_that_nobody_takes_is_no_training():
    model = tiny.llama()

    def train():
        model(input_ids=ids())
        model(input_ids=ids()).logits.sum().backward()

    record, counted = tracked(train)
    whole(record, counted)
    assert record.flops.direct == FULL_STEP


def test_a_second_backward_pass_through_the_same_graph_counts_again():
    model = tiny.llama()

    def train():
        loss = model(input_ids=ids()).logits.sum()
        loss.backward(retain_graph=True)
        loss.backward()

    record, counted = tracked(train)
    whole(record, counted)
    assert record.flops.backward == 2 * (FULL_STEP // 3 * 2)


def test_gradients_that_are_asked_for_by_grad_count_as_a_backward_pass():
    model = tiny.llama()

    def train():
        loss = model(input_ids=ids()).logits.sum()
        torch.autograd.grad(loss, list(model.parameters()))

    record, counted = tracked(train)
    whole(record, counted)


def test_products_of_a_contrastive_loss_are_counted_beside_the_models():
    model = Net()

    def train():
        a, b = model(torch.rand(6, 8)), model(torch.rand(6, 8))
        (a @ b.T).logsumexp(1).sum().backward()

    record, counted = tracked(train)
    whole(record, counted)
    outside = next(u for u in record.models if u.id == "products outside of models")
    # (6, 4) by (4, 6), forward and for both operands backward
    assert outside.flops().direct == 3 * 2 * 6 * 4 * 6


def withheld(record, words):
    assert record.decision is None
    assert any(words in gap for gap in record.gaps), record.gaps


def test_a_step_on_a_matrix_of_no_module_withholds_the_verdict():
    weight = nn.Parameter(torch.rand(8, 4))
    optimizer = torch.optim.SGD([weight], lr=0.1)

    def train():
        torch.einsum("ij,jk->ik", torch.rand(3, 8), weight).sum().backward()
        optimizer.step()

    with attach_to_trainers(**KNOWN) as run:
        train()
    withheld(run.record, "belong to no module")


def test_a_step_without_a_backward_pass_withholds_the_verdict():
    model = tiny.llama()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with attach_to_trainers(**KNOWN) as run, torch.no_grad():
        model(input_ids=ids())
        for parameter in model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
    withheld(run.record, "without a backward pass")


@pytest.mark.parametrize("how", ["create_graph", "inputs"])
def test_an_unusual_backward_pass_of_a_profiled_model_withholds_the_verdict(how):
    model = tiny.llama()
    with attach_to_trainers(**KNOWN) as run:
        states = model.get_input_embeddings()(ids()).detach().requires_grad_()
        loss = model(inputs_embeds=states).logits.sum()
        asked = {"create_graph": True} if how == "create_graph" else {}
        inputs = list(model.parameters()) if asked else [states]
        torch.autograd.grad(loss, inputs, allow_unused=True, **asked)
    withheld(run.record, "a backward pass")


def test_nothing_trained_is_said_as_such_and_never_below():
    model = tiny.llama()
    with attach_to_trainers(**KNOWN) as run, torch.no_grad():
        model(input_ids=ids())
    assert run.record.decision is None
    assert run.record.undecided.startswith("no training was seen")

"""Recomputation is told by where it runs, whatever grad mode says."""

import pytest
import torch
from torch.utils.checkpoint import CheckpointFunction, checkpoint

from flops_magic.monitoring.passes.recompute import RecomputeCounter

SIZE = 8
PRODUCT = 2 * SIZE**3


class Product(torch.autograd.Function):
    """As ZeRO-3's linear layer and 4-bit products are: forward without grad mode."""

    @staticmethod
    def forward(ctx, x, weight):
        assert not torch.is_grad_enabled()
        ctx.save_for_backward(x, weight)
        return x @ weight

    @staticmethod
    def backward(ctx, gradient):
        x, weight = ctx.saved_tensors
        with torch.enable_grad():  # as careless functions do
            return gradient @ weight.T, x.T @ gradient


class Custom(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.eye(SIZE))

    def forward(self, x):
        return Product.apply(x, self.weight)


class Plain(Custom):
    def forward(self, x):
        return x @ self.weight


class Offloaded(torch.autograd.Function):
    """A checkpoint of somebody's own, as Unsloth and DeepSpeed have one."""

    @staticmethod
    def forward(ctx, module, x):
        ctx.module = module
        ctx.save_for_backward(x)
        with torch.no_grad():
            return module(x)

    @staticmethod
    def backward(ctx, gradient):
        (x,) = (one.detach().requires_grad_() for one in ctx.saved_tensors)
        with torch.enable_grad():
            output = ctx.module(x)
        torch.autograd.backward(output, gradient)
        return None, x.grad


def reentrant(module, x):
    return checkpoint(module, x, use_reentrant=True)


def not_reentrant(module, x):
    return checkpoint(module, x, use_reentrant=False)


def of_ones_own(module, x):
    return Offloaded.apply(module, x)


def counted(loss):
    counter = RecomputeCounter()
    with counter.counting():
        loss.backward()
    return counter


@pytest.mark.parametrize("layer", [Plain, Custom])
@pytest.mark.parametrize("again", [reentrant, not_reentrant, of_ones_own])
def test_what_runs_again_is_recompute_and_the_rest_backward(layer, again):
    x = torch.ones(SIZE, SIZE, requires_grad=True)
    counter = counted(again(torch.nn.Sequential(layer(), layer()), x).sum())
    # two gradients for each of two products; torch's own checkpoint without reentrance
    # stops where its last saved tensor is there, before a plain product is done again
    products = 1 if again is not_reentrant and layer is Plain else 2
    assert counter.recompute == products * PRODUCT
    assert counter.flops - counter.recompute == 4 * PRODUCT


def test_a_function_that_is_no_module_is_told_apart_too():
    layer, x = Custom(), torch.ones(SIZE, SIZE, requires_grad=True)

    def product(x):
        return Product.apply(x, layer.weight)

    for reentrant in (True, False):
        counter = counted(checkpoint(product, x, use_reentrant=reentrant).sum())
        assert (counter.recompute, counter.flops) == (PRODUCT, 3 * PRODUCT)


@pytest.mark.parametrize("layer", [Plain, Custom])
def test_without_checkpointing_nothing_is_recompute(layer):
    x = torch.ones(SIZE, SIZE, requires_grad=True)
    counter = counted(layer()(x).sum())
    assert (counter.recompute, counter.flops) == (0, 2 * PRODUCT)


def test_torch_is_as_it_was_afterwards():
    before = torch.utils.checkpoint._recomputation_hook, CheckpointFunction.backward
    x = torch.ones(SIZE, SIZE, requires_grad=True)
    counted(not_reentrant(Plain(), x).sum())
    assert torch.utils.checkpoint._recomputation_hook is before[0]
    assert CheckpointFunction.backward is before[1]
    with pytest.raises(RuntimeError):
        counted(torch.ones(1).sum())
    assert torch.utils.checkpoint._recomputation_hook is before[0]
    assert not torch.nn.modules.module._global_forward_hooks

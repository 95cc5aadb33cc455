"""A walk is the same whatever the caller has switched on around it."""

import contextlib

import pytest
import torch
import transformers
from transformers.integrations import deepspeed

from flops_magic.profiling.profiler import profile_model
from tests import tiny

STEP = 37_748_736


@contextlib.contextmanager
def default_device():
    torch.set_default_device("meta")
    try:
        yield
    finally:
        torch.set_default_device(None)


class Zero3:
    """What transformers asks of a DeepSpeed configuration."""

    def is_zero3(self):
        return True

    def config(self):
        return {}


@contextlib.contextmanager
def zero3():
    """A live ZeRO-3 configuration: building a model now asks for DeepSpeed."""
    config = Zero3()
    deepspeed.set_hf_deepspeed_config(config)
    try:
        with pytest.raises((ImportError, AttributeError, TypeError)):
            transformers.LlamaForCausalLM._from_config(tiny.config())
        yield
        assert deepspeed.is_deepspeed_zero3_enabled()
    finally:
        deepspeed.unset_hf_deepspeed_config()


AROUND = {
    "no gradients": torch.no_grad,
    "inference mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "a default device": default_device,
    "a device block": lambda: torch.device("meta"),
    "a ZeRO-3 configuration": zero3,
}


@pytest.mark.parametrize("around", AROUND.values(), ids=AROUND)
def test_a_walk_is_not_touched_by_what_surrounds_it(around):
    model = tiny.llama()
    with around():
        assert profile_model(model).training(2, 32) == STEP
        assert profile_model(tiny.config()).training(2, 32) == STEP

"""Liger's fused head, run by Triton's interpreter; needs liger-kernel and triton.

Liger computes the head's logits once, and both of its gradients in the forward pass:
six operations a weight and position, as the plain head does, where the weight trains.
"""

import json
import os
import subprocess
import sys
import types
from pathlib import Path

import pytest
import torch

from flops_magic.attach import attach_to_trainers
from flops_magic.profiling.op_counter import OperationCounter, angles_uncounted
from tests import tiny

ROOT = Path(__file__).parents[2]
STEP = 37_748_736
REAL = """
import json, sys, torch
sys.path.insert(0, {root!r})
from liger_kernel.transformers import apply_liger_kernel_to_llama
from flops_magic.attach import attach_to_trainers
from flops_magic.profiling.op_counter import OperationCounter
from tests import tiny
apply_liger_kernel_to_llama(
    rope=False, rms_norm=False, swiglu=False, fused_linear_cross_entropy=True
)
model = tiny.llama()
ids = torch.randint(0, 256, (2, 32))
with attach_to_trainers(model=model, original_flops="1e24") as run:
    with OperationCounter() as ran:
        model(input_ids=ids, labels=ids).loss.backward()
record = run.record
print(json.dumps([record.flops.direct, ran.flops, list(record.gaps)]))
"""


@pytest.mark.slow
def test_ligers_fused_head_is_counted_as_it_runs(tmp_path):
    pytest.importorskip("liger_kernel")
    pytest.importorskip("triton")
    script = tmp_path / "liger.py"
    script.write_text(REAL.format(root=str(ROOT)))
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        env={**os.environ, "TRITON_INTERPRET": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    counted, ran, gaps = json.loads(done.stdout.splitlines()[-1])
    assert (counted, ran, gaps) == (STEP, STEP, [])


class FusedHead(torch.autograd.Function):
    """Loss and gradients of a head in one go, as Liger's kernel does it."""

    @staticmethod
    def forward(ctx, hidden, weight, labels):
        logits = hidden @ weight.T  # (N, V)
        slope = logits.softmax(-1)
        slope[torch.arange(len(labels)), labels] -= 1
        ctx.save_for_backward(slope @ weight, slope.T @ hidden)
        return torch.nn.functional.cross_entropy(logits, labels, reduction="sum")

    @staticmethod
    def backward(ctx, grad):
        to_hidden, to_weight = ctx.saved_tensors
        return to_hidden * grad, to_weight * grad, None


def fused(self, input_ids=None, labels=None, **more):
    hidden = self.model(input_ids=input_ids, **more).last_hidden_state
    loss = FusedHead.apply(hidden.flatten(0, 1), self.lm_head.weight, labels.flatten())
    return types.SimpleNamespace(loss=loss)


@pytest.mark.parametrize("on_class", [False, True], ids=["instance", "class"])
def test_a_patched_forward_with_a_fused_head_is_counted_once(on_class):
    """Liger patches ``forward`` on the instance or on its class."""
    model = tiny.llama()
    if on_class:
        model.__class__ = type("LlamaForCausalLM", (type(model),), {"forward": fused})
    else:
        model.forward = types.MethodType(fused, model)
    ids = torch.randint(0, 256, (2, 32))
    ran = OperationCounter()
    with (
        attach_to_trainers(model=model, original_flops="1e24") as run,
        ran,
        angles_uncounted(model, ran),  # transformers 4 writes them as a product
    ):
        model(input_ids=ids, labels=ids).loss.backward()
    assert run.record.flops.direct == ran.flops == STEP
    assert run.record.gaps == ()

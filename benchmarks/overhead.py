"""What measuring costs: tracked over untracked training steps, as median ratios.

Every round runs one step of each method, in random order, so that the machine's moods
fall on all alike; a ratio is taken within its round. Methods beside ours: the idea of
the AWS meter (mask to the host and an all-reduce a micro-batch, our own
re-implementation), the idea of Hugging Face's include_num_input_tokens_seen (a gather
and .item() a step), and torch's FlopCounterMode switched on for every step.

    python benchmarks/overhead.py [rounds]
"""

import contextlib
import os
import random
import statistics
import sys
import time
import warnings
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import LlamaConfig, LlamaForCausalLM

from flops_magic.monitoring.meter import TrainerMeter

HEAD = """Written by `python benchmarks/overhead.py {rounds}`: a training step of a
median {step_ms} ms on {threads} CPU threads, {rounds} interleaved rounds; a step under
each method over the untracked step of the same round. *again* is a second untracked
step: what the machine's noise alone gives."""
DOC = Path(__file__).parents[1] / "docs" / "overhead.md"
CONFIG = LlamaConfig(
    hidden_size=320,
    num_hidden_layers=6,
    num_attention_heads=8,
    num_key_value_heads=4,
    intermediate_size=896,
    vocab_size=2048,
)


def step(model, batch):
    """One forward and backward pass."""
    model(**batch, use_cache=False).loss.backward()
    model.zero_grad(set_to_none=True)


@contextlib.contextmanager
def ours(model):
    """Our hook, as a tracked Trainer attaches it."""
    meter = TrainerMeter()
    meter.watch_model(model, role="trained")
    try:
        with meter.purpose("train"):
            yield
    finally:
        meter.close()


def aws_style(batch):
    """Count on the host, and reduce over ranks, for every micro-batch."""
    tokens = (batch["attention_mask"].to("cpu") != 0).sum().to(torch.float64)
    torch.distributed.all_reduce(tokens)


def hugging_face_style(batch):
    """Gather the number of tokens, and read it, for every step."""
    gathered = [torch.zeros(1, dtype=torch.long)]
    torch.distributed.all_gather(gathered, torch.tensor([batch["input_ids"].numel()]))
    return torch.cat(gathered).sum().item()


def timed(model, batch, method):
    """Return the seconds of one step under a method."""
    with contextlib.ExitStack() as stack:
        if method == "ours":
            stack.enter_context(ours(model))
        if method == "FlopCounterMode":
            stack.enter_context(FlopCounterMode(display=False))
        began_s = time.perf_counter()
        step(model, batch)
        if method == "AWS style":
            aws_style(batch)
        if method == "Hugging Face style":
            hugging_face_style(batch)
        return time.perf_counter() - began_s


def main():
    """Run the rounds and write docs/overhead.md."""
    warnings.simplefilter("ignore")
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="29677")
    torch.distributed.init_process_group("gloo", rank=0, world_size=1)
    model = LlamaForCausalLM(CONFIG).train()
    ids = torch.randint(0, CONFIG.vocab_size, (2, 128))
    batch = {"input_ids": ids, "labels": ids, "attention_mask": torch.ones_like(ids)}
    methods = ["untracked", "again", "ours", "AWS style", "Hugging Face style"]
    methods.append("FlopCounterMode")
    for method in methods:
        timed(model, batch, method)
    ratios = {method: [] for method in methods[1:]}
    plain_s = []
    for _ in range(rounds):
        order = random.sample(methods, len(methods))
        took_s = {method: timed(model, batch, method) for method in order}
        plain_s.append(took_s["untracked"])
        for method, found in ratios.items():
            found.append(took_s[method] / took_s["untracked"])
    torch.distributed.destroy_process_group()
    lines = [
        "# Overhead",
        "",
        HEAD.format(
            rounds=rounds,
            step_ms=round(1000 * statistics.median(plain_s)),
            threads=torch.get_num_threads(),
        ),
        "",
        "| method | median ratio | quartiles |",
        "|---|---|---|",
    ]
    for method, found in ratios.items():
        low, middle, high = statistics.quantiles(found, n=4)
        lines.append(f"| {method} | {middle:.4f} | {low:.4f} to {high:.4f} |")
    DOC.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()

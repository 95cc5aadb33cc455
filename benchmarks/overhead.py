"""What measuring costs on the whole path that a user gets, as ratios and in ms a step.

Each training is a new Trainer on a new small Llama, in one Jupyter kernel. Each round
trains once in every way, in random order, and ratios are taken within it, so that a
busy machine falls on all ways alike. Beside ours, at the longest step: the AWS meter's
idea (mask to the host and an all-reduce for every micro-batch, our re-implementation),
Hugging Face's ``include_num_input_tokens_seen``, and FlopCounterMode.

    python benchmarks/overhead.py [--rounds N] [--seconds S]
"""

import argparse
import contextlib
import functools
import gc
import io
import random
import sys
import tempfile
import time
from pathlib import Path
from statistics import mean, median, quantiles

import torch
import torch.distributed as dist
import transformers
from IPython import get_ipython
from jupyter_client.manager import run_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

from flops_magic import attach_to_trainers

# Not a public name: attach_to_trainers shows nothing until its run is given a display;
# this is the one that FlopsMeterCallback and an IPython terminal use.
from flops_magic.display.text import TextDisplay

DOC = Path(__file__).parents[1] / "docs" / "overhead.md"
SIZES = {5: (64, 2), 20: (128, 4), 100: (384, 4)}  # about ms a step: width, layers
ROWS, VOCABULARY, WARM_UP_STEPS = 4, 1024, 5
ORIGINAL = "3e24"  # FLOP; the line is so far away that no run is stopped
OURS = {  # door, stop_at
    "`attach_to_trainers`": ("attach", None),
    "`attach_to_trainers`, `stop_at`": ("attach", "0.9"),
    "`%%flops_track`": ("magic", None),
    "`%%flops_track --stop-at`": ("magic", "0.9"),
}
PEERS = ["AWS style", "Hugging Face token count", "FlopCounterMode"]
TEXT = """# Overhead

Written by `python benchmarks/overhead.py --rounds {rounds} --seconds {seconds:g}`:
{threads} CPU threads, torch {torch}, transformers {transformers}. The model is in no
registry, and `original_flops` is given. Every tracked training keeps a journal;
`attach_to_trainers` has a text display, `%%flops_track` a Jupyter kernel's live gauge.

- *ratio*: the mean of {seconds:g} s of steady steps over that of the untracked training
  of the same round, as a median over the rounds, as all columns are; *again* is a second
  untracked training: what noise alone gives.
- *added*: the mean step less the untracked one. *listener*: the part of it between the
  end of a step and the beginning of the next, where totals, decision and display are
  brought up to date; the hooks on the model and the display's thread take the rest.
- *start*: what tracking adds before the first step (dry walk, hooks, first journal).
  *end*: what it adds after the last (judge, seal, write, show). Once a training.

| untracked step | way | ratio | quartiles | added, ms | listener, ms | start, ms | end, ms |
|---|---|---|---|---|---|---|---|
{rows}

The journal is written every five seconds, so few of these steps write one. It adds
{journal_ms:.1f} ms to the step that does (median of {journals}, at steps of 20 ms). The
first tracked training of a process starts {cold_ms:.0f} ms later than an untracked one,
imports included.
"""  # noqa: E501 a row of a table


class Clock(transformers.TrainerCallback):
    """Times steps, and ends the training after so many seconds of steady ones.

    Trainers call it before the meter: the listener runs after its ``on_step_end``.
    """

    def __init__(self, seconds, folder):
        self.seconds, self.folder = seconds, folder
        self.began_s, self.ended_s, self.written_ns = [], [], []

    def on_step_begin(self, args, state, control, **kwargs):
        self.began_s.append(time.perf_counter())
        files = self.folder.rglob("*") if self.folder else ()
        self.written_ns.append(max((f.stat().st_mtime_ns for f in files), default=0))

    def on_step_end(self, args, state, control, **kwargs):
        self.ended_s.append(time.perf_counter())
        steady = self.began_s[WARM_UP_STEPS:]
        if len(steady) > 2 and self.ended_s[-1] - steady[0] >= self.seconds:
            control.should_training_stop = True

    def between_ms(self):
        """Return the ms from each step's end to the next one's beginning."""
        pairs = zip(self.ended_s, self.began_s[1:], strict=False)
        return [1000 * (begin - end) for end, begin in pairs]


class AwsStyleTrainer(Trainer):
    """Counts tokens on the host, and reduces them over ranks, each micro-batch."""

    def training_step(self, model, inputs, *args):
        dist.all_reduce((inputs["attention_mask"].cpu() != 0).sum().to(torch.float64))
        return super().training_step(model, inputs, *args)


def train(size, length, clock, folder, kind=Trainer, **options):
    """Train a new model, as a user's cell or script does."""
    width, layers = SIZES[size]
    sizes = {"hidden_size": width, "intermediate_size": width * 3}
    sizes |= {"num_hidden_layers": layers, "vocab_size": VOCABULARY}
    heads = {"num_attention_heads": width // 32, "num_key_value_heads": width // 64}
    config = LlamaConfig(**sizes, **heads)
    ids = torch.randint(0, VOCABULARY, (length,))
    row = {"input_ids": ids, "labels": ids, "attention_mask": torch.ones_like(ids)}
    options |= {"save_strategy": "no", "report_to": [], "disable_tqdm": True}
    options |= {"max_steps": 10_000, "per_device_train_batch_size": ROWS}
    arguments = TrainingArguments(folder, logging_steps=10, use_cpu=True, **options)
    model, rows = LlamaForCausalLM(config), [row] * 40_000
    kind(model, arguments, train_dataset=rows, callbacks=[clock]).train()


def train_in(way, work, folder):
    """Call ``work``, which trains, in one of the ways."""
    door, stop_at = OURS.get(way, (way, None))
    if door == "attach":
        known = {"original_flops": ORIGINAL, "folder": folder}
        run = attach_to_trainers(**known, stop_at=stop_at)
        run.display = TextDisplay(sys.stderr)
        with run:
            work()
    elif door == "magic":
        stop = f"--stop-at {stop_at}" if stop_at else ""
        line = f"%%flops_track --original-flops {ORIGINAL} --folder {folder} {stop}"
        get_ipython().user_ns["work"] = work
        get_ipython().run_cell(f"{line}\nwork()").raise_error()
    elif door == "AWS style":
        dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
        work(kind=AwsStyleTrainer)
        dist.destroy_process_group()
    elif door == "Hugging Face token count":
        work(include_num_input_tokens_seen="non_padding")
    elif door == "FlopCounterMode":
        with FlopCounterMode(display=False):
            work()
    else:
        work()


def timed(way, size, length, seconds, *, sees_journal=False):
    """Train in one way; return its clock, and ms by part of the training."""
    gc.collect()
    quiet = io.StringIO()
    silence = contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet)
    with tempfile.TemporaryDirectory() as folder, silence[0], silence[1]:
        clock = Clock(seconds, Path(folder) if sees_journal else None)
        work = functools.partial(train, size, length, clock, folder)
        entered_s = time.perf_counter()
        train_in(way, work, folder)
        left_s = time.perf_counter()
    steady = clock.began_s[WARM_UP_STEPS:]
    return clock, {
        "step": 1000 * (steady[-1] - steady[0]) / (len(steady) - 1),
        "listener": mean(clock.between_ms()[WARM_UP_STEPS:]),
        "start": 1000 * (clock.began_s[0] - entered_s),
        "end": 1000 * (left_s - clock.ended_s[-1]),
    }


def length_for(size):
    """Return the length of rows with which a step takes about ``size`` ms here."""
    short, long = 16, 128
    took_ms = [timed("untracked", size, n, 0.5)[1]["step"] for n in (short, long)]
    slope = (took_ms[1] - took_ms[0]) / (long - short)
    return max(4, round(short + (size - took_ms[0]) / slope))


def journals_ms(size, length):
    """Return what the journal adds to each step that writes it, in ms."""
    clock, _ = timed(next(iter(OURS)), size, length, 16, sees_journal=True)
    found_ms, written = clock.between_ms(), clock.written_ns
    steps = zip(found_ms, written, written[1:], strict=False)
    return [ms - median(found_ms) for ms, before, after in steps if after != before]


def compared(size, length, rounds, seconds):
    """Run the rounds of a size; return its part of the table."""
    ways = ["untracked", "again", *OURS, *(PEERS if size == max(SIZES) else [])]
    found = {way: [] for way in ways}
    for _ in range(rounds):
        for way in random.sample(ways, len(ways)):
            found[way].append(timed(way, size, length, seconds)[1])
    plain = found.pop("untracked")
    rows = []
    for way, ours in found.items():
        pairs = list(zip(ours, plain, strict=True))
        ratios = [own["step"] / no["step"] for own, no in pairs]
        low, middle, high = quantiles(ratios, method="inclusive")
        row = [f"{median(no['step'] for no in plain):.1f} ms", way, f"{middle:.3f}"]
        row.append(f"{low:.3f} to {high:.3f}")
        row += [f"{median(own[p] - no[p] for own, no in pairs):.2f}" for p in plain[0]]
        rows.append(f"| {' | '.join(row)} |")
    print(*rows, sep="\n", flush=True)
    return "\n".join(rows)


def measure(rounds, seconds):
    """Measure in this kernel, and write docs/overhead.md."""
    transformers.logging.set_verbosity_error()
    get_ipython().run_line_magic("load_ext", "flops_magic")
    lengths = {size: length_for(size) for size in SIZES}
    # the first training in each way is a warm-up
    ways = ["untracked", *OURS, *PEERS]
    first = {way: timed(way, 5, lengths[5], 0.1)[1]["start"] for way in ways}
    tables = [compared(size, lengths[size], rounds, seconds) for size in SIZES]
    journals = journals_ms(20, lengths[20])
    facts = {"rounds": rounds, "seconds": seconds, "rows": "\n".join(tables)}
    facts |= {"journal_ms": median(journals), "journals": len(journals)}
    facts |= {"cold_ms": first[next(iter(OURS))] - first["untracked"]}
    facts |= {"threads": torch.get_num_threads(), "torch": torch.__version__}
    text = TEXT.format(transformers=transformers.__version__, **facts)
    DOC.write_text(text)
    print(text[text.rindex("|") + 1 :])


def relay(message):
    """Print what the kernel prints, and why it failed; not the cards it displays."""
    if message["msg_type"] == "stream":
        print(message["content"]["text"], end="", flush=True)
    if message["msg_type"] == "error":
        print("\n".join(message["content"]["traceback"]), file=sys.stderr)


def main():
    """Let a Jupyter kernel measure."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rounds", type=int, default=5, help="2 or more")
    options.add_argument("--seconds", type=float, default=1.2, help="of steady steps")
    args = options.parse_args()
    if args.rounds < 2:
        options.error(f"--rounds {args.rounds}: quartiles need 2 rounds or more")
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); "
    code += f"import overhead; overhead.measure({args.rounds}, {args.seconds})"
    with run_kernel() as kernel:
        reply = kernel.execute_interactive(code, output_hook=relay)
    sys.exit(reply["content"]["status"] != "ok")


if __name__ == "__main__":
    main()

"""Whole runs of real Trainers: our record beside everything that ran, counted.

The oracle is an operation counter around the construction of the trainer and its
``train()``: it knows nothing of passes, steps or trainers. What it counts falls into
three parts by the shapes of the operands: attention (batched products), the head
(products with the vocabulary) and the rest, and so does ours.

    python benchmarks/trained_runs.py        # all runs, a few minutes on two cores
"""

import contextlib
import os
import sys
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path

import torch
import transformers
from transformers import LlamaConfig, Trainer, TrainingArguments

from flops_magic.attach import attach_to_trainers
from flops_magic.profiling.op_counter import OperationCounter

VOCAB = 320  # no other width of the model
SIZES = {
    "hidden_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "intermediate_size": 128,
    "vocab_size": VOCAB,
    "max_position_embeddings": 128,
    "tie_word_embeddings": False,
    "pad_token_id": 26,
    "eos_token_id": 27,
}
HEAD = """
## Trained runs

Written with the table above by `benchmarks/trained_runs.py`: a Llama of four layers
(hidden 64, vocabulary 320) trained by real trainers, two steps each, counted by the
record and by an operation counter around the whole of it, from the trainer's
construction to the end of `train()`. *Deviation* is ours from the oracle; *head* is the
part of it that lies in the products with the vocabulary, *attention* the part in the
batched products, *rest* everything else. *total_flos* is what the Trainer reports.

- Head: the fused heads of TRL {trl} leave out the last position of each row, here,
  and compute their logits twice, the second time in backward. We count every position
  and no recomputation inside kernels. On Triton devices they score label positions
  only, which is less still.
- Attention: of packed and padding-free rows we count each sequence's own square;
  eager attention on the CPU multiplies the whole row.

{summary}

| run | forward | backward | recompute | reference | rollout | evaluation | other | executed | oracle | deviation | head | attention | rest | total_flos |
|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|"""  # noqa: E501
CATEGORIES = (
    "forward",
    "backward",
    "recompute",
    "reference",
    "rollout",
    "evaluation",
    "other",
)


class PartsCounter(OperationCounter):
    """Counts in parts: ``attention``, ``head`` and ``rest``."""

    def __init__(self):
        super().__init__()
        self.parts = dict.fromkeys(("head", "attention", "rest"), 0)

    def _count(self, func, packet, ours, args, kwargs, result):
        before = self.flops
        super()._count(func, packet, ours, args, kwargs, result)
        shapes = [tuple(a.shape) for a in args if isinstance(a, torch.Tensor)]
        part = "rest"
        if any(VOCAB in shape for shape in shapes):
            part = "head"
        elif any(len(shape) >= 3 for shape in shapes):
            part = "attention"
        self.parts[part] += self.flops - before


@dataclass
class Bench:
    """What every run needs: a folder with the model, data, settings."""

    folder: Path

    def __post_init__(self):
        self.new().save_pretrained(self.folder / "tiny")

    def new(self, cls=transformers.LlamaForCausalLM, **changes):
        torch.manual_seed(0)
        config = LlamaConfig(**SIZES | changes)
        return cls._from_config(config, attn_implementation="eager").train()

    def saved(self):
        """Return the model as loaded from a folder, for a reference to be loaded."""
        return transformers.LlamaForCausalLM.from_pretrained(
            self.folder / "tiny", attn_implementation="eager"
        )

    def settings(self, **changes):
        basic = {
            "output_dir": str(self.folder / "out"),
            "per_device_train_batch_size": 2,
            "per_device_eval_batch_size": 2,
            "max_steps": 2,
            "report_to": [],
            "save_strategy": "no",
            "disable_tqdm": True,
            "use_cpu": True,
            "logging_steps": 100,
            "gradient_checkpointing": False,
        }
        return basic | changes

    def rows(self, count=8, length=32):
        ids = torch.randint(0, 26, (count, length))
        return [{"input_ids": r, "labels": r} for r in ids]

    def tokenizer(self):
        from tokenizers import Tokenizer, models, pre_tokenizers

        words = {letter: i for i, letter in enumerate("abcdefghijklmnopqrstuvwxyz")}
        whole = Tokenizer(models.WordLevel({**words, "<pad>": 26, "<eos>": 27}, "a"))
        whole.pre_tokenizer = pre_tokenizers.Split("", "isolated")
        special = {"pad_token": "<pad>", "eos_token": "<eos>", "unk_token": "a"}
        return transformers.PreTrainedTokenizerFast(tokenizer_object=whole, **special)

    def lora(self):
        from peft import LoraConfig

        return LoraConfig(
            r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"
        )

    # -- the runs -----------------------------------------------------------------

    def trainer(self, **changes):
        arguments = TrainingArguments(**self.settings(**changes))
        return Trainer(
            self.new(),
            arguments,
            train_dataset=self.rows(),
            eval_dataset=self.rows(4),
        )

    def sft(self, peft=None, lengths=(33, 17, 20, 9), **changes):
        from datasets import Dataset
        from trl import SFTConfig, SFTTrainer

        rows = Dataset.from_dict({"input_ids": [[1] * n for n in lengths] * 4})
        return SFTTrainer(
            self.new(),
            SFTConfig(**self.settings(**changes)),
            train_dataset=rows,
            processing_class=self.tokenizer(),
            peft_config=peft,
        )

    def pairs(self):
        from datasets import Dataset

        texts = {"prompt": "abcd", "chosen": "efghij", "rejected": "klm"}
        return Dataset.from_dict({key: [text] * 8 for key, text in texts.items()})

    def dpo(self, peft=None, **changes):
        from trl import DPOConfig, DPOTrainer

        return DPOTrainer(
            self.saved(),
            args=DPOConfig(**self.settings(**changes)),
            train_dataset=self.pairs(),
            processing_class=self.tokenizer(),
            peft_config=peft,
        )

    def kto(self, **changes):
        from datasets import Dataset
        from trl import KTOConfig, KTOTrainer

        rows = {
            "prompt": ["abcd", "efgh"] * 4,
            "completion": ["efghij", "klm"] * 4,
            "label": [True, False] * 4,
        }
        return KTOTrainer(
            self.saved(),
            args=KTOConfig(**self.settings(**changes)),
            train_dataset=Dataset.from_dict(rows),
            processing_class=self.tokenizer(),
        )

    def reward(self, **changes):
        from trl import RewardConfig, RewardTrainer

        return RewardTrainer(
            self.new(transformers.LlamaForSequenceClassification, num_labels=1),
            args=RewardConfig(**self.settings(**changes)),
            train_dataset=self.pairs(),
            processing_class=self.tokenizer(),
        )

    def prompts(self):
        from datasets import Dataset

        return Dataset.from_dict({"prompt": ["abcdefgh"] * 8})

    def online(self, kind, peft=None, reward=None, **changes):
        import trl

        settings = {"num_generations": 2, "max_completion_length": 8}
        return getattr(trl, f"{kind}Trainer")(
            self.saved(),
            reward_funcs=reward or (lambda completions, **_: [1.0] * len(completions)),
            args=getattr(trl, f"{kind}Config")(**self.settings(**settings | changes)),
            train_dataset=self.prompts(),
            processing_class=self.tokenizer(),
            reward_processing_classes=self.tokenizer() if reward else None,
            peft_config=peft,
        )

    def scored(self):
        judge = self.new(
            transformers.LlamaForSequenceClassification,
            num_labels=1,
            num_hidden_layers=3,
        )
        return self.online("GRPO", reward=judge, beta=0.0)

    def distillation(self, **changes):
        from trl import DistillationConfig, DistillationTrainer

        return DistillationTrainer(
            self.saved(),
            teacher_model=self.new(num_hidden_layers=6),
            args=DistillationConfig(
                **self.settings(max_completion_length=8, **changes)
            ),
            train_dataset=self.prompts(),
            processing_class=self.tokenizer(),
        )

    def gkd(self, **changes):
        from datasets import Dataset
        from trl.experimental.gkd import GKDConfig, GKDTrainer

        tokenizer = self.tokenizer()
        tokenizer.chat_template = (
            "{% for m in messages %}{{ m['content'] }}{% endfor %}"
        )
        talk = [{"role": "user", "content": "abcd"}]
        talk += [{"role": "assistant", "content": "efghij"}]
        return GKDTrainer(
            self.saved(),
            teacher_model=self.new(num_hidden_layers=6),
            args=GKDConfig(**self.settings(max_new_tokens=8, **changes)),
            train_dataset=Dataset.from_dict({"messages": [talk] * 8}),
            processing_class=tokenizer,
        )

    def preference(self, kind, **changes):
        import importlib

        module = importlib.import_module(f"trl.experimental.{kind.lower()}")
        return getattr(module, f"{kind}Trainer")(
            self.saved(),
            args=getattr(module, f"{kind}Config")(**self.settings(**changes)),
            train_dataset=self.pairs(),
            processing_class=self.tokenizer(),
        )

    def online_dpo(self):
        from trl.experimental.online_dpo import OnlineDPOConfig, OnlineDPOTrainer

        judge = self.new(
            transformers.LlamaForSequenceClassification,
            num_labels=1,
            num_hidden_layers=3,
        )
        return OnlineDPOTrainer(
            self.saved(),
            reward_funcs=judge,
            args=OnlineDPOConfig(**self.settings(max_new_tokens=8, max_length=64)),
            train_dataset=self.prompts(),
            processing_class=self.tokenizer(),
            reward_processing_classes=self.tokenizer(),
        )


class PlainLoop:
    """Two steps of a loop of one's own, with an evaluation between them."""

    def __init__(self, bench):
        self.model = bench.new()
        self.rows = bench.rows(6)

    def train(self):
        optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)
        for start in (0, 2):
            ids = torch.stack([r["input_ids"] for r in self.rows[start : start + 2]])
            self.model(input_ids=ids, labels=ids).loss.backward()
            optimizer.step()
            with torch.no_grad():
                self.model.eval()(input_ids=ids)
            self.model.train()


def runs(bench):
    """Return every run: its name, and what makes it."""
    lora = bench.lora
    return {
        "Trainer, full": bench.trainer,
        "Trainer, evaluation inside": lambda: bench.trainer(
            eval_strategy="steps", eval_steps=1
        ),
        "Trainer, checkpointing, accumulation 2": lambda: bench.trainer(
            gradient_checkpointing=True, gradient_accumulation_steps=2
        ),
        "plain loop with evaluation": lambda: PlainLoop(bench),
        "SFT, padded": bench.sft,
        "SFT, LoRA q,v": lambda: bench.sft(lora()),
        "SFT, LoRA q,v, checkpointing": lambda: bench.sft(
            lora(), gradient_checkpointing=True
        ),
        "SFT, packed": lambda: bench.sft(packing=True, max_length=64),
        "SFT, padding-free": lambda: bench.sft(padding_free=True, max_length=None),
        "Reward": bench.reward,
        "DPO": bench.dpo,
        "DPO, LoRA q,v": lambda: bench.dpo(lora()),
        "DPO, references precomputed": lambda: bench.dpo(precompute_ref_log_probs=True),
        "KTO": bench.kto,
        "KTO, references precomputed": lambda: bench.kto(precompute_ref_log_probs=True),
        "GRPO, beta 0": lambda: bench.online("GRPO", beta=0.0),
        "GRPO, beta 0.04": lambda: bench.online("GRPO", beta=0.04),
        "GRPO, beta 0.04, LoRA q,v": lambda: bench.online("GRPO", lora(), beta=0.04),
        "GRPO, 2 iterations": lambda: bench.online("GRPO", beta=0.0, num_iterations=2),
        "GRPO, reward model": bench.scored,
        "RLOO": lambda: bench.online("RLOO"),
        "Distillation": bench.distillation,
        "GKD, on policy": lambda: bench.gkd(lmbda=1.0),
        "ORPO": lambda: bench.preference("ORPO"),
        "CPO (SimPO)": lambda: bench.preference("CPO", loss_type="simpo"),
        "Online DPO, reward model": bench.online_dpo,
    }


def parts_of(record):
    """Return our FLOPs in the oracle's parts."""
    parts = dict.fromkeys(("head", "attention", "rest"), 0)
    for use in record.models:
        for row in use.histogram:
            names = ["forward" if row.adapters else "forward_without_adapters"]
            if row.kind == "train":
                names += ["backward"]
                names += ["recompute"] if "recompute" in use.profile.costs else []
            for name in names:
                cost = use.profile.cost(name, row.shape)
                attention = cost.per_pair * row.total.pairs
                # a classifier's score is no product with the vocabulary
                head = cost.per_logit * row.total.logits
                if "Classification" in use.profile.model_class:
                    head = 0
                parts["attention"] += attention
                parts["head"] += head
                parts["rest"] += cost.flops(row.total) - attention - head
    return parts


def measure(make):
    """Return a run's record, the oracle, and the Trainer's own figure."""
    torch.manual_seed(0)
    counter = PartsCounter()
    with attach_to_trainers(original_flops="1e24") as run, counter:
        trainer = make()
        trainer.train()
    return run.record, counter, int(trainer.state.total_flos)


def measure_loop(loop):
    """The same for a loop without a Trainer."""
    counter = PartsCounter()
    with attach_to_trainers(original_flops="1e24", model=loop.model) as run, counter:
        loop.train()
    return run.record, counter, None


def line(name, record, counter, total_flos):
    """Return a line of the table, and whether the rest is exact."""
    flops, ours = record.flops, parts_of(record)
    off = {part: ours[part] - counter.parts[part] for part in ours}

    def share(difference):
        if not difference:
            return "exact"
        return f"{100 * difference / counter.flops:+.2f} %"

    cells = [f"{getattr(flops, category):,}" for category in CATEGORIES]
    cells += [f"{flops.executed:,}", f"{counter.flops:,}"]
    cells += [share(flops.executed - counter.flops)]
    cells += [share(off[part]) for part in ("head", "attention", "rest")]
    cells += ["–" if total_flos is None else f"{total_flos:,}"]
    return f"| {name} | " + " | ".join(cells) + " |", off["rest"] == 0


def table():
    """Run everything; return the section's lines, and whether it holds."""
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    lines, exact, count = [], 0, 0
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        bench = Bench(Path(folder))
        here = Path.cwd()
        os.chdir(folder)
        stack.callback(os.chdir, here)
        for name, make in runs(bench).items():
            if name.startswith("plain loop"):
                found = measure_loop(make())
            else:
                found = measure(make)
            text, holds = line(name, *found)
            count, exact = count + 1, exact + holds
            lines.append(text)
            print(text, flush=True)
            for gap in found[0].gaps:
                print("   gap:", gap, flush=True)
            if found[1].unknown:
                print("   without a formula:", dict(found[1].unknown), flush=True)
    import trl

    summary = f"{count} runs; outside of head and attention {exact} are exact."
    head = HEAD.format(trl=trl.__version__, summary=summary)
    return [*head.splitlines(), *lines], exact == count


if __name__ == "__main__":
    sys.exit(not table()[1])

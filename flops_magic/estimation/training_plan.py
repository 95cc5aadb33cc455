"""The plan of a training, as far as a Trainer or a recipe gives it.

A field that they do not give is None, and the estimate asks for it by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from flops_magic.errors import InputError, QuantityError
from flops_magic.estimation.dataset_tokens import TokenLengths, lengths_of_rows
from flops_magic.flops.units import parse_decimal

# The names that TRL's and SageMaker's recipes, axolotl and LLaMA-Factory use.
_FIELDS: dict[str, tuple[str, ...]] = {
    "model": ("model_name_or_path", "base_model", "model_id"),
    "seq_len": ("max_seq_length", "max_length", "sequence_len", "cutoff_len"),
    "epochs": ("num_train_epochs", "num_epochs"),
    "batch_size": ("per_device_train_batch_size", "micro_batch_size"),
    "lora_rank": ("lora_r", "lora_rank"),
    "lora_targets": ("lora_target_modules", "lora_target"),
    "gradient_checkpointing": ("gradient_checkpointing",),
    "packing": ("packing", "sample_packing"),
    "dataset": ("dataset_id_or_path", "dataset_name", "dataset_path"),
}


@dataclass(frozen=True)
class Plan:
    """A planned training; a field is None where nothing gives it.

    Attributes:
        model: what ``profile_model`` takes.
        methods: the method that is planned, in a tuple.
        seq_len: positions a sequence, at most.
        epochs: how often the data is seen.
        batch_size: sequences a forward call.
        lora_rank: r of the adapters.
        lora_targets: names of the adapted modules.
        trainable: patterns of the parameters that train.
        gradient_checkpointing: whether activations are computed again.
        packing: whether rows are joined to full sequences.
        lengths: tokens of every row.
        dataset: a file of rows.
        notes: where the figures come from.
    """

    model: Any
    methods: tuple[str, ...] | None = None
    seq_len: int | None = None
    epochs: Fraction | None = None
    batch_size: int | None = None
    lora_rank: int | None = None
    lora_targets: Any = None
    trainable: tuple[str, ...] | None = None
    gradient_checkpointing: bool | None = None
    packing: bool | None = None
    lengths: TokenLengths | None = None
    dataset: str | None = None
    notes: tuple[str, ...] = ()


def plan_of(source: Any) -> Plan:
    """Return the plan of a Trainer or a recipe; of anything else, the model alone.

    Raises:
        InputError: for a recipe that cannot be read.
    """
    # any trainer class: TRL's and one's own need not inherit from transformers'
    if all(hasattr(source, name) for name in ("train_dataset", "args", "model")):
        return plan_of_trainer(source)
    if isinstance(source, (str, Path)) and str(source).endswith((".yaml", ".yml")):
        return plan_of_recipe(Path(source))
    return Plan(source)


def plan_of_trainer(trainer: Any) -> Plan:
    """Return what a Trainer is set up to do; its tokenised rows are counted."""
    args = trainer.args
    rows = trainer.train_dataset
    # a list of dicts and a torch Dataset have no column_names
    named = getattr(rows, "column_names", None)
    if named is None and hasattr(rows, "__getitem__") and len(rows):
        named = list(rows[0])
    batch_size = int(args.train_batch_size)
    lengths = None
    if "input_ids" in (named or ()):
        lengths = lengths_of_rows(rows, packed="seq_lengths" in (named or ()))
    # through its text: 0.1 as a float is more than a tenth
    epochs = Fraction(str(args.num_train_epochs))
    notes = [f"{type(trainer).__name__}: epochs, batch size and rows as it has them"]
    if args.max_steps > 0:
        if lengths is None:
            raise InputError(
                f"the Trainer stops at max_steps={args.max_steps} and its data set has "
                "no 'input_ids' to count; pass tokens=, epochs=1 and the model instead"
            )
        # args.train_batch_size is of one process: all of them feed a step
        a_step = batch_size * args.gradient_accumulation_steps * args.world_size
        epochs = Fraction(args.max_steps * a_step, lengths.rows)
        notes.append(f"{args.max_steps} steps of {a_step} rows")
    # older versions of TRL call it max_seq_length
    length = getattr(args, "max_length", None) or getattr(args, "max_seq_length", None)
    return Plan(
        trainer.model,
        seq_len=length or (lengths.longest if lengths else None),
        epochs=epochs,
        batch_size=batch_size,
        gradient_checkpointing=bool(args.gradient_checkpointing),
        packing=False if lengths else None,
        lengths=lengths,
        notes=tuple(notes),
    )


def plan_of_recipe(path: Path) -> Plan:
    """Return what a recipe YAML says (TRL, SageMaker, axolotl, LLaMA-Factory).

    Raises:
        InputError: for a file that is not such a YAML, or that names no model.
    """
    tree = _read_yaml(path)
    found: dict[str, Any] = {
        field: next((tree[n] for n in names if tree.get(n) is not None), None)
        for field, names in _FIELDS.items()
    }
    if not isinstance(found["model"], str):
        raise InputError(
            f"{str(path)!r} names no model; a recipe needs one of "
            f"{', '.join(_FIELDS['model'])}"
        )
    # recipes write max_steps: -1 for "not set", as TrainingArguments does
    steps = tree.get("max_steps") or 0
    if isinstance(steps, int) and steps > 0:
        raise InputError(
            f"{str(path)!r} stops at max_steps={steps}, so its tokens depend on the "
            "devices; pass the model, tokens= of the whole run and epochs=1 instead"
        )
    method, trainable = _recipe_method(tree)
    targets = found["lora_targets"]
    if targets in ("all", "all-linear") or targets is None:
        targets = None if targets is None else "all-linear"
    elif isinstance(targets, str):
        targets = [name.strip() for name in targets.split(",")]
    return Plan(
        found["model"],
        methods=(method,),
        seq_len=_whole(path, "sequence length", found["seq_len"]),
        epochs=_epochs(path, found["epochs"]),
        batch_size=_whole(path, "batch size", found["batch_size"]),
        lora_rank=_whole(path, "rank", found["lora_rank"]),
        lora_targets=targets,
        trainable=trainable,
        gradient_checkpointing=_switch(found["gradient_checkpointing"]),
        packing=_switch(found["packing"]),
        dataset=_data_file(found["dataset"]),
        notes=(f"recipe {path.name}: {method}, and what it says of the run",),
    )


def _read_yaml(path: Path) -> Mapping[str, Any]:
    import yaml

    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = (str(error).strip().splitlines() or [""])[0]
        raise InputError(f"cannot read {str(path)!r} as a recipe: {reason}") from error
    if not isinstance(tree, dict):
        raise InputError(
            f"cannot use {str(path)!r} as a recipe: it holds a {type(tree).__name__}, "
            "not fields such as model_name_or_path"
        )
    return tree


def _recipe_method(tree: Mapping[str, Any]) -> tuple[str, tuple[str, ...] | None]:
    """Return the method of a recipe, and what Spectrum trains."""
    if tree.get("spectrum_config_path"):
        return "spectrum", (str(tree["spectrum_config_path"]),)
    if isinstance(tree.get("unfrozen_parameters"), list):
        return "spectrum", tuple(map(str, tree["unfrozen_parameters"]))
    named = str(tree.get("adapter") or tree.get("finetuning_type") or "").lower()
    # adapters on weights packed to 8 or 4 bits are QLoRA, also under 'lora'
    packed = any(
        tree.get(key) for key in ("load_in_4bit", "load_in_8bit", "quantization_bit")
    )
    if _switch(tree.get("use_peft")) or named in ("lora", "qlora"):
        return ("qlora" if packed or named == "qlora" else "lora"), None
    return "full", None


def _switch(value: Any) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    return str(value).lower() in ("true", "yes", "on", "1")


def _whole(path: Path, what: str, value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not str(value).isdigit() or int(value) < 1:
        raise InputError(
            f"{path.name}: {what} {value!r} cannot be used; write 1 or more"
        )
    return int(value)


def _epochs(path: Path, value: Any) -> Fraction | None:
    if value is None:
        return None
    try:
        epochs = parse_decimal(str(value))
    except QuantityError:
        epochs = Fraction(0)
    if epochs <= 0:
        raise InputError(f"{path.name}: epochs {value!r} cannot be used; write 3")
    return epochs


def _data_file(value: Any) -> str | None:
    """Return a data set that is a file here; a Hub id is not looked for."""
    named = isinstance(value, str) and value.endswith((".jsonl", ".txt"))
    return value if named and Path(value).is_file() else None

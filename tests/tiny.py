"""The tiny Llama of the worked examples, and what trains it."""

import torch
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

BATCH, SEQ = 2, 32


def config(**changes):
    settings = {
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "intermediate_size": 128,
        "vocab_size": 256,
        "max_position_embeddings": 128,
        "tie_word_embeddings": False,
    }
    return LlamaConfig(**settings | changes)


def llama(**changes):
    return LlamaForCausalLM._from_config(
        config(**changes), attn_implementation="eager"
    ).train()


def lora(model, targets, *, r=4, layers=None):
    from peft import LoraConfig, get_peft_model

    return get_peft_model(
        model,
        LoraConfig(r=r, target_modules=list(targets), layers_to_transform=layers),
    ).train()


def rows(count=8, length=SEQ):
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, 256, (count, length), generator=generator)
    return [
        {"input_ids": row, "labels": row, "attention_mask": torch.ones_like(row)}
        for row in ids
    ]


def arguments(folder, **changes):
    settings = {
        "output_dir": str(folder),
        "per_device_train_batch_size": BATCH,
        "per_device_eval_batch_size": BATCH,
        "max_steps": 3,
        "report_to": [],
        "save_strategy": "no",
        "disable_tqdm": True,
        "use_cpu": True,
        "logging_steps": 1000,
    }
    return TrainingArguments(**settings | changes)


def trainer(model, folder, **changes):
    return Trainer(
        model, arguments(folder, **changes), train_dataset=rows(), eval_dataset=rows(4)
    )


def measured(make):
    """Make a trainer and train it; return the meter, which found nothing amiss."""
    from flops_magic.monitoring.meter import TrainerMeter
    from flops_magic.monitoring.trainer_patches import patched_trainers

    meter = TrainerMeter()
    with patched_trainers(meter):
        make().train()
        meter.settle()
    assert meter.gaps == [], meter.gaps
    return meter

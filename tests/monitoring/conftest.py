"""The tiny Llama as TRL wants it: in a folder, with a tokenizer of letters."""

import pytest
import torch

from tests import tiny


@pytest.fixture
def tokenizer():
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {letter: i for i, letter in enumerate("abcdefghijklmnopqrstuvwxyz")}
    whole = Tokenizer(models.WordLevel({**words, "<pad>": 26, "<eos>": 27}, "a"))
    whole.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    special = {"pad_token": "<pad>", "eos_token": "<eos>", "unk_token": "a"}
    return PreTrainedTokenizerFast(tokenizer_object=whole, **special)


@pytest.fixture
def model(tmp_path):
    """The tiny Llama, in a folder, for trainers that load a reference from there."""
    torch.manual_seed(0)
    folder = tmp_path / "tiny"
    tiny.llama().save_pretrained(folder)
    return type(tiny.llama()).from_pretrained(folder, attn_implementation="eager")


@pytest.fixture
def settings(tmp_path):
    return {
        "output_dir": str(tmp_path / "out"),
        "per_device_train_batch_size": 2,
        "max_steps": 2,
        "report_to": [],
        "save_strategy": "no",
        "disable_tqdm": True,
        "use_cpu": True,
        "logging_steps": 100,
        "gradient_checkpointing": False,
    }

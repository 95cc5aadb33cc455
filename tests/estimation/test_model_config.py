"""A name's configuration: this machine, shipped shapes, the Hub, in this order."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import huggingface_hub
import pytest

from flops_magic.errors import InputError
from flops_magic.estimation.hub_config import fetch_config
from flops_magic.estimation.model_config import find_config
from tests import tiny
from tests.fake_hub import fake_hub

LLAMA = {
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "vocab_size": 256,
}


@pytest.fixture(autouse=True)
def online_with_an_empty_cache(monkeypatch, tmp_path):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.delenv("TRANSFORMERS_OFFLINE", raising=False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))


def test_a_folder_wins_over_everything_and_needs_no_note(tmp_path):
    tiny.config().save_pretrained(tmp_path)
    with fake_hub(LLAMA) as (address, asked):
        found = find_config(str(tmp_path), endpoint=address)
    assert found.config.hidden_size == tiny.config().hidden_size
    assert (found.notes, asked) == ((), [])


def test_shipped_shapes_need_no_network():
    with fake_hub(LLAMA) as (address, asked):
        found = find_config("meta-llama/Llama-3.1-8B", endpoint=address)
    assert found.config.hidden_size == 4096
    assert found.config._name_or_path == "meta-llama/Llama-3.1-8B"
    assert asked == []
    (note,) = found.notes
    assert "meta-llama/Llama-3.1-8B as published (high confidence, as of 2" in note


def test_the_hub_serves_a_config_that_nothing_else_has():
    with fake_hub(LLAMA) as (address, asked):
        path = fetch_config("somebody/model", endpoint=address)
    assert json.loads(Path(path).read_text()) == LLAMA
    assert set(asked) == {"/somebody/model/resolve/main/config.json"}


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ({"status": 401, "code": "GatedRepo"}, "gated on the Hub; accept its terms"),
        ({"status": 403, "code": "GatedRepo"}, "log in with 'hf auth login'"),
        ({"status": 404, "code": "RepoNotFound"}, "shows no model 'somebody/model'"),
        ({"status": 401}, "log in with 'hf auth login' if it is private"),
        ({"status": 404, "code": "EntryNotFound"}, "has no config.json on the Hub"),
        ({"status": 500}, "could not be reached"),
        ({"status": 503}, "could not be reached"),
        ({"status": 429}, "could not be reached"),
    ],
)
def test_what_keeps_the_hub_from_answering_is_one_line_with_what_to_do(answer, says):
    start = time.monotonic()
    with (
        fake_hub(LLAMA, **answer) as (address, _),
        pytest.raises(InputError, match=says) as caught,
    ):
        find_config("somebody/model", endpoint=address)
    assert "\n" not in str(caught.value)
    assert "folder with its config.json" in str(caught.value)
    assert time.monotonic() - start < 5


def test_a_hub_that_does_not_answer_is_given_up_at_the_deadline():
    start = time.monotonic()
    with (
        fake_hub(LLAMA, stall_s=4) as (address, _),
        pytest.raises(InputError, match="could not be reached"),
    ):
        fetch_config("somebody/model", endpoint=address, deadline_s=0.5)
    assert time.monotonic() - start < 3


def test_a_hub_that_refuses_the_connection_is_given_up_at_once():
    with fake_hub(LLAMA) as (address, _):
        pass  # its port is closed from here on
    start = time.monotonic()
    with pytest.raises(InputError, match="could not be reached"):
        fetch_config("somebody/model", endpoint=address)
    assert time.monotonic() - start < 3


@pytest.mark.parametrize("switch", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_a_hub_that_is_switched_off_is_not_asked(monkeypatch, switch):
    monkeypatch.setenv(switch, "1")
    with (
        fake_hub(LLAMA) as (address, asked),
        pytest.raises(InputError, match="HF_HUB_OFFLINE is set"),
    ):
        find_config("somebody/model", endpoint=address)
    assert asked == []


@pytest.mark.parametrize("name", ["two words", "a/b/c", "../x", ""])
def test_what_is_not_a_hub_id_is_said_without_asking(name):
    with (
        fake_hub(LLAMA) as (address, asked),
        pytest.raises(InputError, match="form of a Hub id, owner/name") as caught,
    ):
        fetch_config(name, endpoint=address)
    assert "\n" not in str(caught.value)
    assert asked == []


def test_a_folder_without_a_config_is_named(tmp_path):
    with pytest.raises(InputError, match=r"has no config\.json"):
        find_config(str(tmp_path))


def test_a_config_that_cannot_be_read_is_not_replaced_by_another(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "no_such_model"}')
    with pytest.raises(InputError, match="cannot be read by transformers"):
        find_config(str(tmp_path))


def test_code_of_the_model_s_own_is_never_run_nor_asked_about(tmp_path):
    code = {"AutoConfig": "configuration_own.OwnConfig"}
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": "own", "auto_map": code})
    )
    (tmp_path / "configuration_own.py").write_text("raise SystemExit('ran')")
    with pytest.raises(InputError, match="cannot be read by transformers"):
        find_config(str(tmp_path))


@pytest.mark.slow
def test_the_command_line_counts_a_model_that_only_the_hub_has(tmp_path):
    """In a process of its own: HF_ENDPOINT and HF_HOME are read at import."""
    with fake_hub(LLAMA) as (address, asked):
        done = subprocess.run(
            [
                *(sys.executable, "-m", "flops_magic.cli", "estimate"),
                *("somebody/model", "--tokens", "1M", "--seq-len", "128"),
                *("--original-flops", "3e24", "--method", "full"),
            ],
            env={
                **{k: v for k, v in os.environ.items() if not k.endswith("_OFFLINE")},
                "HF_ENDPOINT": address,
                "HF_HOME": str(tmp_path),
            },
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, done.stderr
    assert "full: operation count" in done.stdout
    assert "config.json from the Hub" in done.stdout
    assert asked

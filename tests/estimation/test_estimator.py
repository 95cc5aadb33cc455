"""What is told before training is what a run then costs."""

import json
import sys

import pytest

from flops_magic.errors import InputError, MissingPackageError
from flops_magic.estimation.estimator import estimate
from flops_magic.monitoring.meter import TrainerMeter
from flops_magic.monitoring.trainer_patches import patched_trainers
from flops_magic.profiling.profiler import profile_model
from tests import tiny
from tests.estimation.test_dataset_tokens import Words


def trained(trainer):
    meter = TrainerMeter()
    with patched_trainers(meter):
        trainer.train()
        meter.settle()
    return meter.flops()


def test_the_estimate_of_a_trainer_is_what_it_then_costs(tmp_path):
    trainer = tiny.trainer(tiny.llama(), tmp_path)
    told = estimate(trainer, original_flops="3e24")
    assert told["full"].flops.direct == trained(trainer).direct


def test_the_estimate_of_a_trainer_with_adapters_is_its_own_method_only(tmp_path):
    trainer = tiny.trainer(tiny.lora(tiny.llama(), ["q_proj"]), tmp_path)
    told = estimate(trainer, original_flops="3e24")
    assert [row.method for row in told.rows] == ["lora"]
    assert told["lora"].flops.direct == trained(trainer).direct


def test_a_live_model_with_adapters_is_never_costed_as_full():
    model = tiny.lora(tiny.llama(), ["q_proj"])
    told = estimate(model, tokens=64, seq_len=32, original_flops="3e24")
    profile = profile_model(model)
    assert [row.method for row in told.rows] == ["lora"]
    assert told["lora"].flops.direct == 2 * profile.training(1, 32)


def test_rows_that_are_counted_cost_what_their_shapes_cost():
    rows = [{"text": "a b"}, {"text": "a b c d"}]
    profile = profile_model(tiny.config())
    told = estimate(
        tiny.config(), dataset=rows, tokenizer=Words(), epochs=2, original_flops="3e24"
    )
    assert told["full"].flops.direct == 2 * (
        profile.training(1, 3) + profile.training(1, 5)
    )
    assert told.tokens == 16
    padded = estimate(
        tiny.config(),
        dataset=rows,
        tokenizer=Words(),
        batch_size=2,
        original_flops="3e24",
    )
    assert padded["full"].flops.direct == profile.training(2, 5)
    assert "all 2 rows" in padded.notes[0]
    assert padded.notes[0] in str(padded)


def test_a_recipe_is_estimated_as_it_says(tmp_path):
    tiny.config().save_pretrained(tmp_path / "model")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"model_name_or_path: {tmp_path / 'model'}\nuse_peft: true\nlora_r: 4\n"
        "lora_target_modules: [q_proj, v_proj]\nmax_length: 32\n"
        "per_device_train_batch_size: 2\nnum_train_epochs: 3\n"
    )
    told = estimate(str(recipe), tokens=64, original_flops="3e24")
    assert [row.method for row in told.rows] == ["lora"]
    # the worked example's LoRA on q and v: 25,526,272 for 2 × 32
    assert told["lora"].flops.direct == 3 * 25_526_272


def test_what_is_passed_wins_over_the_recipe(tmp_path):
    tiny.config().save_pretrained(tmp_path / "model")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"base_model: {tmp_path / 'model'}\nnum_epochs: 3\n")
    told = estimate(
        recipe, tokens=64, seq_len=32, epochs=1, methods=["lora"], original_flops="3e24"
    )
    assert (told.tokens, told.rows[0].method) == (64, "lora")


def test_half_an_epoch_is_half_the_tokens():
    told = estimate(
        tiny.config(), tokens=64, seq_len=32, epochs="0.5", original_flops="3e24"
    )
    assert told.tokens == 32


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({}, "pass tokens .*or a dataset"),
        ({"tokens": 64}, "pass seq_len"),
        ({"tokens": 64, "seq_len": 8, "dataset": ["a"]}, "both given"),
        ({"dataset": ["a"], "tokenizer": Words(), "packing": True}, "needs seq_len"),
        ({"dataset": ["a"]}, "pass tokenizer="),
        ({"tokens": 64, "seq_len": 8, "epochs": 0}, "above 0"),
        ({"tokens": 64, "seq_len": 8, "batch_size": 0}, "too small"),
        ({"tokens": 64, "seq_len": 8, "methods": ["lorra"]}, "no method"),
    ],
)
def test_what_is_missing_is_asked_for_by_name(asked, says):
    with pytest.raises(InputError, match=says) as caught:
        estimate(tiny.config(), original_flops="3e24", **asked)
    assert "\n" not in str(caught.value)


def test_the_chart_has_a_bar_for_each_method_and_the_line_on_a_log_scale():
    told = estimate(tiny.config(), tokens="1M", seq_len=32, original_flops="3e24")
    (axes,) = told.plot().axes
    assert axes.get_xscale() == "log"
    widths = [bar.get_width() for bar in axes.patches]
    assert widths == [float(row.flops.direct) for row in reversed(told.rows)]
    assert [line.get_xdata()[0] for line in axes.lines] == [1e24]
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "qlora",
        "lora",
        "full",
    ]


def test_a_chart_without_a_line_says_so():
    told = estimate(tiny.config(), tokens="1M", seq_len=32)
    (axes,) = told.plot().axes
    assert not axes.lines
    assert "no line" in axes.get_xlabel()


def test_the_command_line_counts_a_file_and_writes_a_chart(tmp_path, capsys):
    from flops_magic.cli import main

    tiny.config().save_pretrained(tmp_path / "model")
    chart = tmp_path / "chart.svg"
    asked = ["estimate", str(tmp_path / "model"), "--original-flops", "3e24"]
    assert (
        main([*asked, "--tokens", "1M", "--seq-len", "32", "--plot", str(chart)]) == 0
    )
    assert chart.read_text().startswith("<?xml")
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps({"text": "a b"}))
    assert main([*asked, "--dataset", str(rows)]) == 2
    assert "cannot load a tokenizer" in capsys.readouterr().err
    assert main([*asked, "--tokens", "9", "--seq-len", "3", "--plot", "a.banana"]) == 2
    assert "no chart in 'a.banana'" in capsys.readouterr().err


def test_packed_weights_cost_what_unpacked_ones_do():
    config = tiny.config()
    asked = {"tokens": 640, "seq_len": 32, "gradient_checkpointing": True}
    both = estimate(config, **asked, methods=["lora", "qlora"])
    alone = estimate(config, **asked, methods=["qlora"])
    assert both["qlora"] == alone["qlora"]
    assert both["qlora"].flops == both["lora"].flops


def test_a_model_with_adapters_of_its_own_has_one_row():
    model = tiny.lora(tiny.llama(), ["q_proj"])
    found = estimate(model, tokens=640, seq_len=32, methods=["lora", "qlora"])
    assert [row.method for row in found.rows] == ["lora"]


def test_images_without_torch_name_the_package(monkeypatch):
    # as an environment without torch: the module that needs it cannot be imported
    monkeypatch.setitem(sys.modules, "flops_magic.profiling.multimodal", None)
    monkeypatch.setitem(sys.modules, "flops_magic.profiling.profiler", None)
    with pytest.raises(MissingPackageError, match=r"flops-magic\[train\]"):
        estimate("Qwen/Qwen3-8B", tokens=64, seq_len=8, images=1)
    plain = estimate("Qwen/Qwen3-8B", tokens=64, seq_len=8)
    assert plain["full"].basis.startswith("formula 6·P·D")

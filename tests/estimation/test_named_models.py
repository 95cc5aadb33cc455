"""A model given by name alone: counted from shipped shapes, or bounded by a formula."""

import sys

import pytest

from flops_magic.errors import InputError
from flops_magic.estimation.estimator import estimate
from flops_magic.estimation.formula_profile import (
    FORMULAS,
    formula_bounds,
    formula_profile,
)

LLAMA = "meta-llama/Llama-3.1-8B"
# a row of the registry without shipped shapes; 13B parameters, dense
NO_SHAPES = "baichuan-inc/Baichuan2-13B-Base"


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def llama_3_1_8b(tokens, seq_len):
    """Forward + backward by hand: three times the forward pass.

    A position: q and o are 4096 × 4096, k and v 4096 × 1024 (8 of 32 heads), three
    matrices of 4096 × 14336, in each of 32 layers; the head is 4096 × 128256. A
    query-key pair: two products of 4096 in each layer. A multiply-add is two FLOPs.
    """
    layer = 2 * 4096 * 4096 + 2 * 4096 * 1024 + 3 * 4096 * 14336
    position = 2 * (32 * layer + 4096 * 128256)
    pair = 32 * 2 * 2 * 4096
    whole, rest = divmod(tokens, seq_len)
    pairs = whole * seq_len**2 + rest**2
    return 3 * (position * tokens + pair * pairs)


@pytest.mark.slow
def test_the_readme_s_call_is_exact_at_every_length_without_a_network():
    # 25M tokens, 3 epochs
    found = estimate(LLAMA, tokens="25M", epochs=3, seq_len=4096)
    assert found["full"].flops.direct == llama_3_1_8b(75_000_000, 4096)
    assert [row.basis for row in found.rows] == ["operation count"] * 3
    # rank 16: 16 · (a + b) for each of the seven matrices of a layer
    adapters = 32 * 16 * (2 * (4096 + 4096) + 2 * (4096 + 1024) + 3 * (4096 + 14336))
    assert found["lora"].parameters_trainable == adapters == 41_943_040
    assert "as published (high confidence" in str(found)
    for seq_len in (32_768, 131_072):
        found = estimate(LLAMA, tokens="75M", seq_len=seq_len, methods=["full"])
        assert found["full"].flops.direct == llama_3_1_8b(75_000_000, seq_len)


def test_half_of_the_work_at_long_rows_is_attention():
    """The figures that the formula of 2·P a token leaves out, by the oracle."""
    short, long = llama_3_1_8b(32_768, 1), llama_3_1_8b(32_768, 32_768)
    assert 2.1 < long / short < 2.2


def test_a_wrong_name_of_a_module_is_no_reason_for_a_formula():
    with pytest.raises(InputError, match="qq_proj"):
        estimate(
            "HuggingFaceTB/SmolLM2-135M",
            tokens="1M",
            seq_len=128,
            methods=["lora"],
            lora_targets=["qq_proj"],
        )


def test_a_model_that_nobody_knows_is_the_cause_and_not_its_original():
    with pytest.raises(InputError) as caught:
        estimate("myorg/private", tokens="1M", seq_len=128, original_flops="3e24")
    text = str(caught.value)
    assert "no configuration of 'myorg/private' on this machine" in text
    assert "HF_HUB_OFFLINE" in text
    assert "original" not in text
    assert "\n" not in text


def test_a_formula_says_why_it_is_one_and_shows_what_trains():
    found = estimate(NO_SHAPES, tokens="25M", seq_len=4096, original_flops="3e24")
    assert [row.basis for row in found.rows] == list(FORMULAS.values())
    assert all(row.parameters_trainable > 0 for row in found.rows)
    assert found["full"].parameters_trainable == found["full"].parameters_total
    text = str(found)
    assert "HF_HUB_OFFLINE" in text
    assert "P = 13,000,000,000" in text
    assert f"{found['lora'].parameters_trainable / 1e6:.0f}M" in text


def test_a_formula_grows_with_the_square_of_the_length():
    one, two = (
        estimate(NO_SHAPES, tokens="1M", seq_len=n, methods=["full"]).rows[0].flops
        for n in (50_000, 100_000)
    )
    profile = formula_profile(NO_SHAPES, "full")
    pair = sum(profile.costs[name].per_pair for name in ("forward", "backward"))
    assert two.direct - one.direct == pair * (10 * 100_000**2 - 20 * 50_000**2)
    # 0.65 · 13e9^(2/3) = 3.593e6 forward, twice that backward
    assert pair == pytest.approx(3 * 3.593e6, rel=1e-3)


def test_a_formula_gives_the_verdict_only_where_all_it_leaves_open_agrees():
    # direct about 2.1e18; the line is at a third of the original
    asked = {"tokens": "25M", "seq_len": 4096, "methods": ["full"]}
    asked["original_is_gpai"] = True  # whatever the original cost
    far = estimate(NO_SHAPES, **asked, original_flops="1e24")["full"]
    assert far.decision.verdict == "below"
    # the formula's own figure is a tenth of the line, twelve times it is above
    close = estimate(NO_SHAPES, **asked, original_flops=30 * far.flops.direct)["full"]
    assert close.decision is None
    assert "the line is in between" in close.undecided
    assert "config.json" in close.undecided
    # 24 times the line, and a quarter of it without attention is still above
    over = estimate(NO_SHAPES, **asked, original_flops=far.flops.direct // 8)["full"]
    assert over.decision.verdict == "over"
    assert "no verdict" in str(
        estimate(NO_SHAPES, **asked, original_flops=30 * far.flops.direct)
    )


def test_adapters_of_a_formula_are_counted_and_taken_off_the_model_s_size():
    lora = formula_profile(NO_SHAPES, "lora", lora_rank=8)
    full = formula_profile(NO_SHAPES, "full")
    # 7/5 · 8 · 13e9^(2/3)
    assert lora.parameters_trainable == pytest.approx(11.2 * 5.528e6, rel=1e-3)
    assert lora.parameters_active - lora.parameters_trainable == 13_000_000_000
    # 4·P and, for T adapters, 6·T
    position = sum(lora.costs[n].per_token for n in ("forward", "backward"))
    assert position == 4 * 13_000_000_000 + 6 * lora.parameters_trainable
    assert full.costs["backward"].per_token == 4 * 13_000_000_000


def test_a_formula_counts_what_checkpointing_repeats():
    found = estimate(
        NO_SHAPES,
        tokens="1M",
        seq_len=128,
        methods=["full"],
        gradient_checkpointing=True,
    )
    assert found["full"].flops.recompute == found["full"].flops.forward


def test_a_formula_with_a_target_counts_both_lengths():
    one = estimate("facebook/nllb-200-3.3B", tokens=1024, seq_len=128, methods=["full"])
    two = estimate(
        "facebook/nllb-200-3.3B",
        tokens=1024,
        seq_len=128,
        target_len=128,
        methods=["full"],
    )
    assert two["full"].flops.direct > 2 * one["full"].flops.direct


def test_the_bounds_of_a_mixture_have_all_its_experts():
    dense = formula_profile(NO_SHAPES, "full")
    _, most = formula_bounds(dense)
    assert most.costs["forward"].per_token == 12 * dense.costs["forward"].per_token
    mixture = formula_profile("meta-llama/Llama-4-Maverick-17B-128E", "full")
    _, most = formula_bounds(mixture)
    # 12 · ⌈400 / 17⌉
    assert most.costs["forward"].per_token == 288 * mixture.costs["forward"].per_token


def test_spectrum_has_no_formula():
    found = estimate(
        NO_SHAPES,
        tokens="1M",
        seq_len=128,
        trainable=["layers"],
        original_flops="3e24",
    )
    assert [row.method for row in found.rows] == ["full", "lora", "qlora"]
    (skipped,) = found.skipped
    assert "spectrum has no formula" in skipped


def test_without_torch_a_formula_names_what_to_install(monkeypatch):
    # as an environment without torch: the module that needs it cannot be imported
    monkeypatch.setitem(sys.modules, "transformers", None)
    found = estimate(LLAMA, tokens="1M", seq_len=128)
    assert found["full"].basis == FORMULAS["full"]
    assert "pip install 'flops-magic[train]'" in str(found)

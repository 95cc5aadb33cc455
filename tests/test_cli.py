"""The command line: what it prints, what it answers to a mistake, how it exits."""

import pytest

from flops_magic.cli import main
from tests.fakes import saved


def test_a_model_is_shown_with_its_chain_and_how_it_was_found(capsys):
    assert main(["models", "deepseek-ai/DeepSeek-R1-Distill-Llama-70B"]) == 0
    shown = capsys.readouterr().out
    assert "(exact)" in shown
    assert (
        "meta-llama/Llama-3.3-70B-Instruct, from meta-llama/Llama-3.1-70B (another"
        in shown
    )
    assert "the line for a modification: 2.10 × 10²⁴ FLOP" in shown


def test_a_model_of_unknown_compute_says_how_to_estimate_it(capsys):
    assert main(["models", "unsloth/mistral-7b-v0.3"]) == 0
    assert "--original-tokens" in capsys.readouterr().out


def test_models_are_searched_by_words(capsys):
    assert main(["models", "--search", "gpt-oss"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert all("openai/gpt-oss" in line for line in lines)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["models", "Qwen/Qwen3-9B"], ", Qwen/Qwen3-8B, "),
        (["models", "--search", "nonesuch"], "no base model has all the words"),
        (["modles"], "unknown 'modles'; near: models"),
        (["verify", "nowhere.ipynb"], "cannot read"),
        (["track", "x.py", "--folder", "nowhere"], "no script"),
        (
            ["track", "x.py", "--original", "unknown", "--original-flops", "1e24"],
            "contradict each other",
        ),
        (["track", "x.py", "--systemic-risk", "perhaps"], "invalid choice"),
        (["track", "x.py", "--declare", "5"], "REASON=N"),
        (["track", "--stop-att", "0.9", "x.py"], "'--stop-att'; near: --stop-at"),
        (["track", "--declar=a=5", "x.py"], "'--declar=a=5'; near: --declare"),
        (["estimate", "gpt2", "--method", "lroa"], "unknown 'lroa'; near: lora"),
        (["estimate", "gpt2", "--method", "banana"], "invalid choice"),
        (["estimate", "gpt2", "--tokns", "5"], "'--tokns'; near: --tokens"),
        (["show", "a.ipynb", "b.ipynb"], "unknown argument 'b.ipynb'"),
    ],
)
def test_a_mistake_is_answered_in_one_line(capsys, typed, said):
    try:
        code = main(typed)
    except SystemExit as ended:
        code = ended.code
    assert code in (1, 2)
    answer = capsys.readouterr().err
    assert said in answer
    assert len(answer.strip().splitlines()) == 1


@pytest.mark.slow
def test_the_original_may_be_estimated_from_its_tokens(capsys):
    asked = ["estimate", "Qwen/Qwen3-8B", "--tokens", "1M", "--seq-len", "128"]
    more = ["--original-tokens", "36T", "--original-source", "its model card"]
    assert main([*asked, *more]) == 0
    shown = capsys.readouterr().out
    assert "estimated as 6·P·D (point 129)" in shown
    assert "its model card" in shown


@pytest.mark.slow
def test_who_is_no_downstream_modifier_is_told_so(capsys):
    asked = ["estimate", "Qwen/Qwen3-8B", "--tokens", "1M", "--seq-len", "128"]
    assert main([*asked, "--same-provider"]) == 0
    assert "the original's own provider trains" in capsys.readouterr().out


def test_a_notebook_that_holds_exits_0(tmp_path, capsys):
    assert main(["verify", str(saved(tmp_path / "nb.ipynb"))]) == 0
    assert "holds; 1 record(s)" in capsys.readouterr().out

"""Rows of a data set are counted as a Trainer would feed them."""

import json
from fractions import Fraction

import pytest

from flops_magic.errors import InputError
from flops_magic.estimation import dataset_tokens
from flops_magic.estimation.dataset_tokens import (
    TokenLengths,
    filled_shape,
    lengths_of_rows,
    lengths_of_text,
)
from flops_magic.flops.profile import PassShape


class Words:
    """A tokenizer: a token a word, and one that begins the text."""

    def __call__(self, text, add_special_tokens=True):
        return {"input_ids": [1] * (len(text.split()) + add_special_tokens)}

    def apply_chat_template(self, messages, tokenize):
        assert not tokenize
        return " ".join(f"<{m['role']}> {m['content']}" for m in messages)


def test_one_row_a_call_is_not_padded():
    shape = TokenLengths((3, 5), 2).shape(
        batch_size=1, packing=False, seq_len=5, epochs=Fraction(1)
    )
    # pairs 9 + 25, causal 6 + 15
    assert shape == PassShape(2, 2, 8, 34, 21, 8)


def test_rows_of_one_call_are_padded_to_its_longest():
    shape = TokenLengths((3, 5), 2).shape(
        batch_size=2, packing=False, seq_len=5, epochs=Fraction(1)
    )
    assert shape == PassShape(1, 2, 10, 50, 30, 10)


def test_packing_fills_sequences():
    shape = TokenLengths((3, 5, 4), 3).shape(
        batch_size=2, packing=True, seq_len=5, epochs=Fraction(1)
    )
    # 12 tokens: two sequences of 5, one of 2
    assert shape == filled_shape(12, 5, 2) == PassShape(2, 3, 12, 54, 33, 12)


def test_packed_rows_cost_the_squares_of_their_sequences():
    rows = TokenLengths((8,), 1, packed=((3, 5),))
    shape = rows.shape(batch_size=1, packing=False, seq_len=8, epochs=Fraction(1))
    assert shape == PassShape(1, 2, 8, 34, 21, 8)


def test_half_an_epoch_costs_half_rounded_up():
    shape = TokenLengths((3, 5), 2).shape(
        batch_size=1, packing=False, seq_len=5, epochs=Fraction(1, 2)
    )
    assert shape == PassShape(1, 1, 4, 17, 11, 4)


def test_rows_are_cut_at_the_sequence_length():
    assert TokenLengths((3, 50), 2).truncated(10).lengths == (3, 10)


def test_a_large_data_set_is_sampled_and_the_truth_lies_in_the_interval(monkeypatch):
    monkeypatch.setattr(dataset_tokens, "COUNT_ALL_UP_TO", 1000)
    monkeypatch.setattr(dataset_tokens, "SAMPLE_ROWS", 400)
    # 1 to 60 tokens, evenly spread and in no order
    rows = [{"input_ids": [1] * (1 + 37 * i % 60)} for i in range(2040)]
    true = sum(len(row["input_ids"]) for row in rows)
    found = lengths_of_rows(rows)
    shape = found.shape(batch_size=1, packing=False, seq_len=60, epochs=Fraction(1))
    assert found.sampled
    assert len(found.lengths) == 400
    # uniform on 1..60: s = 17.3, mean 30.5; 1.96 · 17.3/20 · √0.8 / 30.5 = 5.0 %
    assert found.relative_error == pytest.approx(0.05, rel=0.1)
    assert abs(shape.tokens / true - 1) < found.relative_error


def test_all_rows_of_a_small_data_set_are_counted_without_error():
    found = lengths_of_rows([{"input_ids": [1, 2]}, {"input_ids": [1]}])
    assert (found.lengths, found.rows, found.relative_error) == ((2, 1), 2, 0.0)


@pytest.mark.parametrize(
    ("row", "tokens"),
    [
        ("two words", 3),
        ({"text": "two words"}, 3),
        ({"prompt": "a b ", "completion": "c"}, 4),
        ({"messages": [{"role": "user", "content": "hello you"}]}, 3),
    ],
    ids=["text", "field", "prompt and completion", "chat"],
)
def test_rows_are_read_in_the_forms_that_trl_knows(row, tokens):
    assert lengths_of_text([row], Words()).lengths == (tokens,)


def test_a_named_field_is_read():
    rows = [{"body": "a b c", "text": "x"}]
    assert lengths_of_text(rows, Words(), text_field="body").lengths == (4,)


def test_a_jsonl_file_is_read(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"text": "a b"}) + "\n\n" + json.dumps({"text": "a"}))
    assert lengths_of_text(path, Words()).lengths == (3, 2)


@pytest.mark.parametrize(
    ("rows", "tokenizer", "says"),
    [
        ([], Words(), "no rows"),
        ([{"body": "x"}], Words(), "prompt, completion; its fields are body"),
        (["x"], None, "pass tokenizer="),
        (["x"], "no/tokenizer", "cannot load a tokenizer 'no/tokenizer'"),
        (iter(["x"]), Words(), "stream"),
        ("rows.parquet", Words(), "cannot read .* as a data set"),
        ("missing.jsonl", Words(), "cannot read 'missing.jsonl'"),
    ],
)
def test_what_cannot_be_counted_is_one_line_that_says_what_to_pass(
    rows, tokenizer, says
):
    with pytest.raises(InputError, match=says) as caught:
        lengths_of_text(rows, tokenizer)
    assert "\n" not in str(caught.value)

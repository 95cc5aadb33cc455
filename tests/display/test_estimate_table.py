"""An estimate as a table: what it rests on, and what crossing would mean."""

import pytest

from flops_magic.estimation.estimator import estimate
from tests.displays import Tags


@pytest.mark.slow
def test_an_estimate_is_a_table_that_names_its_basis():
    est = estimate("Qwen/Qwen3-8B", tokens="25M", seq_len=4096)
    assert "full: operation count" in str(est)
    assert "shapes of Qwen/Qwen3-8B-Base as published" in str(est)
    page = est._repr_html_()
    assert not Tags(page).open
    assert "Qwen/Qwen3-8B-Base" in page


@pytest.mark.slow
def test_what_crossing_would_mean_stands_where_it_is_crossed_and_not_elsewhere():
    over = estimate("Qwen/Qwen3-8B", tokens="19T", seq_len=4096, methods=["full"])
    below = estimate("Qwen/Qwen3-8B", tokens="19M", seq_len=4096, methods=["full"])
    assert "limited to the modification" in str(over)
    assert "obligation" not in str(below)

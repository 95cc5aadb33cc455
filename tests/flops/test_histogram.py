import pytest

from flops_magic.errors import CountingError, InputError
from flops_magic.flops.histogram import (
    MERGED,
    FlopTotals,
    Histogram,
    HistogramRow,
    histogram_flops,
    row_flops,
)
from flops_magic.flops.profile import FlopsProfile, PassCost, PassShape

PROFILE = FlopsProfile(
    "Tiny",
    "lora",
    100,
    100,
    10,
    {
        "forward": PassCost(5, 3, 10, 2, 7),
        "backward": PassCost(0, 0, 20, 4, 14),
        "recompute": PassCost(0, 0, 9, 2, 0),
        "forward_without_adapters": PassCost(0, 0, 8, 2, 7),
    },
)
# by hand, 2 rows of 3: 5 + 2·3 + 6·10 + 18·2 + 6·7 = 149; 6·20 + 18·4 + 6·14 = 276
SHAPE = PassShape.dense(2, 3)


def test_a_dense_shape_counts_the_full_square_and_the_causal_half_beside_it():
    assert PassShape(1, 2, 6, 18, 12, 6) == SHAPE


def test_a_cache_adds_its_length_to_every_row():
    # one new token of 2 rows sees 5 cached and itself
    assert PassShape.dense(2, 1, cached_len=5) == PassShape(1, 2, 2, 12, 12, 2)


def test_packed_sequences_count_their_own_squares():
    shape = PassShape.packed([3, 2], positions=8)
    # 9 + 4 for the sequences, 9 for three positions of padding
    assert shape == PassShape(1, 2, 8, 22, 6 + 3 + 6, 8)


def test_a_batch_of_nothing_is_refused():
    with pytest.raises(InputError, match="batch_size=0"):
        PassShape.dense(0, 3)


def test_costs_follow_the_hand_computed_sums():
    assert PROFILE.forward(2, 3) == 149
    assert PROFILE.backward(2, 3) == 276
    assert PROFILE.recompute(2, 3) == 6 * 9 + 18 * 2
    assert PROFILE.training(2, 3) == 425


def test_a_missing_pass_is_named():
    with pytest.raises(CountingError, match="'decode'"):
        PROFILE.cost("decode")


def test_a_training_pass_is_forward_backward_and_recompute():
    totals = row_flops(HistogramRow("train", True, "2x3", SHAPE), PROFILE)
    assert (totals.forward, totals.backward, totals.recompute) == (149, 276, 90)
    assert totals.direct == 425
    assert totals.executed == 515
    # a causal mask leaves 12 of 18 pairs: 6·2 less forward, 6·4 less backward
    assert totals.direct_causal == 425 - 12 - 24


@pytest.mark.parametrize("kind", ["reference", "rollout", "evaluation", "other"])
def test_every_other_pass_lands_in_its_own_category(kind):
    totals = row_flops(HistogramRow(kind, True, "2x3", SHAPE), PROFILE)
    assert getattr(totals, kind) == totals.executed == 149
    assert totals.direct == 0


def test_only_what_contributes_is_cumulative():
    totals = FlopTotals(1, 2, 4, 8, 16, 32, 64, 128)
    assert totals.direct == 3
    assert totals.cumulative == 3 + 8 + 16 + 128
    assert totals.executed == 1 + 2 + 4 + 8 + 16 + 32 + 64


def test_a_pass_without_adapters_costs_less():
    totals = row_flops(HistogramRow("reference", False, "2x3", SHAPE), PROFILE)
    assert totals.reference == 6 * 8 + 18 * 2 + 6 * 7


def test_an_unknown_kind_of_pass_is_refused():
    with pytest.raises(InputError, match="'dream'"):
        row_flops(HistogramRow("dream", True, "2x3", SHAPE), PROFILE)


def test_counts_are_integers_beyond_what_a_float_holds():
    big = PassShape(1, 2**40, 2**70, 2**80, 2**79, 2**70)
    totals = row_flops(HistogramRow("train", True, "big", big), PROFILE)
    assert totals.forward == 5 + 3 * 2**40 + 17 * 2**70 + 2 * 2**80


def test_merging_many_shapes_keeps_the_total_exact():
    tally, expected = Histogram(), 0
    for length in range(1, 1500):
        shape = PassShape.dense(1, length)
        tally.add("train", shape, label=f"1x{length}")
        expected += PROFILE.cost("forward").flops(shape)
    rows = tally.rows()
    assert len(rows) <= 513
    assert any(row.shape == MERGED for row in rows)
    assert histogram_flops(rows, PROFILE).forward == expected


def test_a_pass_with_a_cost_of_its_own_is_never_merged():
    tally = Histogram()
    for length in range(1, 600):
        tally.add("train", PassShape.dense(1, length), label=f"1x{length}")
    tally.add("train", PassShape(calls=1), label="media ~1a2b", merges=False)
    assert any(row.shape == "media ~1a2b" for row in tally.rows())
    assert any(row.shape == MERGED for row in tally.rows())

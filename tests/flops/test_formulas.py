"""The closed forms give the products of the Guidelines' own examples, exactly."""

import pytest

from flops_magic.errors import QuantityError
from flops_magic.flops.formulas import (
    hardware_flops,
    lora_pd,
    six_pd,
    weighted_peak,
)


def test_training_every_parameter_costs_the_same_by_either_formula():
    assert lora_pd(10**9, 10**9, 10**6) == six_pd(10**9, 10**6)


def test_a_float_count_is_taken_as_the_whole_number_it_is():
    found = six_pd(3.8e9, 3.3e12)
    assert found == 7524 * 10**19
    assert type(found) is int


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: six_pd(-1, 1), "params"),
        (lambda: six_pd(1, -1), "tokens"),
        (lambda: six_pd(1, 1.5), "tokens"),
        (lambda: lora_pd(1, -1, 1), "params_trainable"),
        (lambda: hardware_flops(1, "1e12", "1.01"), "utilisation"),
        (lambda: hardware_flops(1, "1e12", "-0.1"), "utilisation"),
        (lambda: hardware_flops(-1, "1e12", "0.5"), "device_seconds"),
        (lambda: hardware_flops(1, "fast", "0.5"), "fast"),
        (lambda: weighted_peak([]), "at least one device"),
    ],
)
def test_what_cannot_be_is_refused_by_name(call, named):
    with pytest.raises(QuantityError, match=named):
        call()

"""The cost of an encoder-decoder, whose source and target have their own lengths.

A call on b rows, s positions of source and t of target a row, costs

    cost(b, s, t) = c0 + b·(cs + e1·s + e2·s² + d1·t + d2·t² + x·s·t)

e1 and e2 are the encoder's, and the keys and values that the decoder makes of the
source; d1 and d2 the decoder's and the head's; x is cross-attention. Seven walks give
the seven coefficients; two more have to agree, or the model is refused.
"""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from flops_magic.core.profile import PassCost
from flops_magic.errors import ShapeFitError

if TYPE_CHECKING:
    from flops_magic.measure.blueprint import Blueprint

Probe = tuple[int, int, int]  # batch_size, source length, target length
TWO_LENGTH_PROBES: tuple[Probe, ...] = (
    (1, 16, 16),
    (1, 32, 16),
    (1, 48, 16),
    (1, 16, 32),
    (1, 16, 48),
    (1, 32, 32),
    (2, 16, 16),
    (3, 40, 24),
)


def solve_two_lengths(costs: dict[Probe, int], plan: Blueprint) -> PassCost:
    """Return the coefficients that explain every probe exactly.

    With step n between lengths n, 2n and 3n: the second difference in s is 2·n²·e2, in
    t 2·n²·d2, the mixed one n²·x; the first differences then give e1 and d1, and a
    second row separates cs from c0.

    Raises:
        ShapeFitError: when no integers explain all probes.
    """
    n = min(s for _, s, _ in costs)
    at = {(s // n, t // n): cost for (b, s, t), cost in costs.items() if b == 1}
    e2, rest_e2 = divmod(at[3, 1] - 2 * at[2, 1] + at[1, 1], 2 * n * n)
    d2, rest_d2 = divmod(at[1, 3] - 2 * at[1, 2] + at[1, 1], 2 * n * n)
    x, rest_x = divmod(at[2, 2] - at[2, 1] - at[1, 2] + at[1, 1], n * n)
    # s from n to 2n at t = n: e1·n + 3·e2·n² + x·n²
    e1, rest_e1 = divmod(at[2, 1] - at[1, 1] - (3 * e2 + x) * n * n, n)
    d1, rest_d1 = divmod(at[1, 2] - at[1, 1] - (3 * d2 + x) * n * n, n)
    row = (e1 + d1) * n + (e2 + d2 + x) * n * n
    fixed = at[1, 1] - row  # c0 + cs
    sequence = costs[2, n, n] - at[1, 1] - row
    fitted = PassCost(
        per_call=fixed - sequence,
        per_sequence=sequence,
        per_source_token=e1,
        per_pair=e2,
        per_logit=d1,
        per_target_pair=d2,
        per_cross_pair=x,
    )
    misses = [
        probe
        for probe, cost in costs.items()
        if fitted.flops(plan.probe_shape(*probe)) != cost
    ]
    rests = (rest_e2, rest_d2, rest_x, rest_e1, rest_d1)
    negative = min(getattr(fitted, f.name) for f in fields(fitted)) < 0
    if any(rests) or misses or negative:
        raise ShapeFitError(
            f"the cost of {plan.model_class} is no polynomial c0 + b·(cs + e1·s + "
            f"e2·s² + d1·t + d2·t² + x·s·t) of its two lengths (fit {fitted}, misses "
            f"{misses}); profile it live with `%%flops_track --model`"
        )
    return fitted

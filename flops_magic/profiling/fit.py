"""Solving the FLOPs of a few probes for integer coefficients, or refusing to.

A model of one length costs, for a call on b rows of s positions of which k are scored,

    cost(b, s, k) = c0 + b·(cs + c1·s + c2·s² + ch·k)

An encoder-decoder has two lengths. A call on b rows, s positions of source and t of
target a row, costs

    cost(b, s, t) = c0 + b·(cs + e1·s + e2·s² + d1·t + d2·t² + x·s·t)

e1 and e2 are the encoder's, and the keys and values that the decoder makes of the
source; d1 and d2 the decoder's and the head's; x is cross-attention. Seven walks give
the seven coefficients; two more have to agree, or the model is refused.
"""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from flops_magic.errors import ShapeFitError
from flops_magic.flops.profile import PassCost
from flops_magic.profiling.probes import Probe

if TYPE_CHECKING:
    from flops_magic.profiling.fake_model import FakeModel


def solve(costs: dict[Probe, int], plan: FakeModel) -> PassCost:
    """Return the coefficients that explain every probe exactly.

    With k = s and ct = c1 + ch, the second difference in s gives c2, the first ct and
    c0 + cs; a second row separates cs from c0; a probe with one scored position
    separates ch from c1.

    Raises:
        ShapeFitError: when no integers explain all probes.
    """
    # Probes that score every position (k < 0) share one polynomial in b and s; the
    # probe that scores few is kept for the head below.
    by_shape = {(b, s): cost for (b, s, k), cost in costs.items() if k < 0}
    (s1, s2, s3) = sorted(s for b, s in by_shape if b == 1)
    f1, f2, f3 = (by_shape[1, s] for s in (s1, s2, s3))
    # equally spaced lengths: f3 − 2·f2 + f1 = c2·(s3² − 2·s2² + s1²) = 2·step²·c2
    pair, rest = divmod(f3 - 2 * f2 + f1, 2 * (s2 - s1) ** 2)
    # With c2 known, the first difference leaves c1 + ch: every position is scored here.
    token, rest_token = divmod(f2 - f1 - pair * (s2 * s2 - s1 * s1), s2 - s1)
    fixed = f1 - token * s1 - pair * s1 * s1
    # A second row of the same length adds what each row costs, and nothing of c0.
    sequence = by_shape[2, s2] - f2 - token * s2 - pair * s2 * s2
    scored = {k: cost for (b, s, k), cost in costs.items() if k > 0}
    # A model without a switch for scored positions has no such probe; its head's cost
    # then stays in c1, which is where every pass pays for it.
    logit, rest_logit = 0, 0
    for kept, cost in scored.items():
        logit, rest_logit = divmod(f2 - cost, s2 - kept)
    # Python integers: a float would lose the last digits of large models' counts, and a
    # miss of one FLOP is how a wrong form shows.
    fitted = PassCost(fixed - sequence, sequence, token - logit, pair, logit)
    misses = [
        probe
        for probe, cost in costs.items()
        if fitted.flops(plan.probe_shape(*probe)) != cost
    ]
    # A remainder means the cost grows in steps, a miss that another term is at work,
    # and a negative coefficient that layers switch kernels between lengths.
    if rest or rest_token or rest_logit or misses or min(_values(fitted)) < 0:
        raise ShapeFitError(
            f"the cost of {plan.model_class} does not follow the polynomial c0 + b·(cs "
            f"+ c1·s + c2·s² + ch·k) of the batch's shape (fit {fitted}, misses "
            f"{misses}); profile it live with `%%flops_track --model`"
        )
    return fitted


def solve_two_lengths(costs: dict[Probe, int], plan: FakeModel) -> PassCost:
    """Return the coefficients that explain every probe exactly.

    With step n between lengths n, 2n and 3n: the second difference in s is 2·n²·e2, in
    t 2·n²·d2, the mixed one n²·x; the first differences then give e1 and d1, and a
    second row separates cs from c0.

    Raises:
        ShapeFitError: when no integers explain all probes.
    """
    n = min(s for _, s, _ in costs)
    # The last probe's lengths are multiples of no common step; it has three rows, so it
    # stays out of this table and checks the result.
    at = {(s // n, t // n): cost for (b, s, t), cost in costs.items() if b == 1}
    e2, rest_e2 = divmod(at[3, 1] - 2 * at[2, 1] + at[1, 1], 2 * n * n)
    d2, rest_d2 = divmod(at[1, 3] - 2 * at[1, 2] + at[1, 1], 2 * n * n)
    # Mixed difference: everything of one length alone cancels, x·n·n remains.
    x, rest_x = divmod(at[2, 2] - at[2, 1] - at[1, 2] + at[1, 1], n * n)
    # s from n to 2n at t = n: e1·n + 3·e2·n² + x·n²
    e1, rest_e1 = divmod(at[2, 1] - at[1, 1] - (3 * e2 + x) * n * n, n)
    d1, rest_d1 = divmod(at[1, 2] - at[1, 1] - (3 * d2 + x) * n * n, n)
    # What one row costs besides the constants, so that c0 + cs is left over.
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
    if any(rests) or misses or min(_values(fitted)) < 0:
        raise ShapeFitError(
            f"the cost of {plan.model_class} does not follow the polynomial c0 + b·(cs "
            f"+ e1·s + e2·s² + d1·t + d2·t² + x·s·t) of its two lengths (fit {fitted}, "
            f"misses {misses}); profile it live with `%%flops_track --model`"
        )
    return fitted


def _values(cost: PassCost) -> list[int]:
    return [getattr(cost, f.name) for f in fields(cost)]

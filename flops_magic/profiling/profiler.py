"""The cost of a model's passes, by walking it dry and solving for the coefficients.

The model is built with fake tensors (shapes, no storage) and walked forward and
backward at a few small shapes under an operation counter. A pass costs

    cost(b, s, k) = c0 + b·(cs + c1·s + c2·s² + ch·k)

for b rows of s positions of which k are scored by the head, so six walks give the five
coefficients and the check that the form holds; a seventh, at a row longer than the
model's chunks and windows, has to agree too, or the model is refused: a cost that
comes in chunks looks flat at short rows. Scans are counted by the formulas of
``profiling.scan_costs``. Attention is walked in its eager form: the full square, two
products forward and four backward, without the recomputation inside fused kernels.

Deep models repeat their layers. Of many layers with the same shapes, flags and
position relative to the first trainable one, three are walked; the difference that the
third makes is the cost of each further one.

Source: design rule "cost = c0 + batch·(c1·q + c2·q·kv)"; the Guidelines' A.2.2
("number of operations per full pass").
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, fields, replace
from itertools import product
from operator import add, sub
from typing import Any

from flops_magic.errors import ShapeFitError, UnsupportedModelError
from flops_magic.flops.profile import FlopsProfile, PassCost
from flops_magic.profiling.apart import apart_from_the_caller
from flops_magic.profiling.cost_steps import walk_in_steps
from flops_magic.profiling.fake_model import MASKS, FakeModel
from flops_magic.profiling.fit import solve, solve_two_lengths
from flops_magic.profiling.model_builder import fake_model_of
from flops_magic.profiling.op_counter import OperationCounter, angles_uncounted
from flops_magic.profiling.probes import PROBES, TWO_LENGTH_PROBES, Probe


@dataclass(frozen=True)
class Walk:
    """FLOPs of one forward and one backward pass, and operations without a formula."""

    forward: int
    backward: int
    unknown: tuple[str, ...] = ()


def profile_model(
    model_or_config: Any,
    *,
    method: str = "full",
    lora_rank: int = 16,
    lora_targets: str | Sequence[str] = "all-linear",
    trainable: Sequence[str] | None = None,
    gradient_checkpointing: bool = False,
) -> FlopsProfile:
    """Return the exact cost of a model's passes, without running it.

    Args:
        model_or_config: a live ``PreTrainedModel`` or ``PeftModel`` (its adapters and
            trainable flags are taken as they are), a ``PretrainedConfig``, a folder
            with a ``config.json``, or a Hub id in the local cache.
        method: ``full``, ``lora``, ``qlora`` or ``spectrum``; for a live model that
            already carries adapters, leave it.
        lora_rank: r of the adapters that ``lora`` and ``qlora`` add.
        lora_targets: module names that get adapters, or ``all-linear``.
        trainable: with ``spectrum``, patterns (regular expressions) of the names of
            the parameters that stay trainable.
        gradient_checkpointing: whether activations are computed again in backward.

    Returns:
        A profile; its counts are FLOPs as ``int``.

    Raises:
        UnsupportedModelError: when the model cannot be built or walked dry.
        ShapeFitError: when its cost has another form.
        InputError: for an unknown method or pattern.
        MissingPackageError: when torch, transformers or peft is needed and missing.
    """
    with apart_from_the_caller():
        plan = fake_model_of(
            model_or_config,
            method=method,
            lora_rank=lora_rank,
            lora_targets=lora_targets,
            trainable=trainable,
            gradient_checkpointing=gradient_checkpointing,
        )
        return profile_fake_model(plan)


def profile_reached(model: Any) -> FlopsProfile:
    """Return a live model's profile if its inputs required a gradient.

    Raises:
        UnsupportedModelError, ShapeFitError: see ``profile_model``.
    """
    with apart_from_the_caller():
        plan = fake_model_of(model)
        plan.reach_inputs()
        return profile_fake_model(plan)


def profile_fake_model(plan: FakeModel) -> FlopsProfile:
    """Walk a fake model and return its profile."""
    with plan.adapters_disabled() if plan.merged else nullcontext():
        costs, unknown = _first_costs(plan)
        if plan.checkpointing is not None:
            again, _ = _costs(plan, checkpointing=True)
            costs["recompute"] = _combine(sub, again["backward"], costs["backward"])
    if plan.merged:
        costs["forward_without_adapters"] = costs["forward"]
    elif plan.has_adapters:
        with plan.adapters_disabled():
            bare, more = _costs(plan, checkpointing=False, forward_only=True)
        costs["forward_without_adapters"] = bare["forward"]
        unknown |= more
    return FlopsProfile(
        model_class=plan.model_class,
        method=plan.method,
        parameters_total=plan.parameters_total,
        parameters_active=plan.parameters_active,
        parameters_trainable=plan.parameters_trainable,
        costs=costs,
        unknown_ops=tuple(sorted(unknown)),
        notes=plan.notes,
    )


def _first_costs(plan: FakeModel) -> tuple[dict[str, PassCost], set[str]]:
    """Return the coefficients, with the kind of mask that the model takes.

    A model that looks its layers up by their places, or whose layers cost more the
    deeper they are, cannot be walked shortened, and is walked whole.
    """
    refusals: list[UnsupportedModelError] = []
    depths = (plan.repeats, ()) if plan.repeats else ((),)
    # a square mask of the source cannot serve the pairs of source and target
    kinds = MASKS[1:] if plan.two_lengths else MASKS
    for repeats, kind in product(depths, kinds):
        plan.repeats, plan.masks = repeats, kind
        try:
            return _costs(plan, checkpointing=False, checked=True)
        except UnsupportedModelError as error:
            refusals.append(error)
        except ShapeFitError:
            # a live model's run is counted live, which is exact at every length
            if plan.live or not walk_in_steps(plan):
                raise
            return _costs(plan, checkpointing=False, checked=True)
    raise refusals[0]


def _costs(
    plan: FakeModel,
    *,
    checkpointing: bool,
    forward_only: bool = False,
    checked: bool = False,
) -> tuple[dict[str, PassCost], set[str]]:
    """Return the coefficients at full depth, from walks at reduced depth."""
    walks: list[Walk] = []
    probes = TWO_LENGTH_PROBES if plan.two_lengths else PROBES
    solver = solve_two_lengths if plan.two_lengths else solve

    def fit(*more: Probe) -> dict[str, PassCost]:
        measured = {
            probe: _walk(plan, probe, checkpointing, forward_only)
            # the long row first: some models change their attention at a short one
            for probe in (*more, *plan.feasible(probes))
        }
        walks.extend(measured.values())
        names = ("forward",) if forward_only else ("forward", "backward")
        return {
            name: solver({p: getattr(w, name) for p, w in measured.items()}, plan)
            for name in names
        }

    long_probe = (plan.long_probe(),) if checked else ()
    with plan.layers_kept(3):
        base = fit(*long_probe)
        if checked and plan.step > 1:
            _covers(plan, base)
    totals = dict(base)
    for repeat in plan.repeats:
        with plan.layers_kept(3, except_for=repeat, keep_there=2):
            fewer = fit()
        each = {n: _combine(sub, cost, fewer[n]) for n, cost in base.items()}
        if checked:
            more = {n: _combine(add, cost, each[n]) for n, cost in base.items()}
            with plan.layers_kept(3, except_for=repeat, keep_there=4):
                _grows_evenly(plan, more)
        for name, cost in each.items():
            for _ in range(repeat.count - 3):
                totals[name] = _combine(add, totals[name], cost)
    return totals, {name for walk in walks for name in walk.unknown}


def _covers(plan: FakeModel, fitted: dict[str, PassCost]) -> None:
    """Walk at lengths between the steps, where the fit may not be too low.

    Raises:
        ShapeFitError: where the model costs more than was fitted.
    """
    for seq_len in (1, plan.step + 1, 2 * plan.step - 1):
        probe = (1, seq_len, -1)
        found, shape = _walk(plan, probe, False, False), plan.probe_shape(*probe)
        for name, cost in fitted.items():
            if cost.flops(shape) < getattr(found, name):
                raise ShapeFitError(
                    f"the cost of {plan.model_class} grows in steps, and a row of "
                    f"{seq_len} positions costs more than a polynomial says; profile "
                    "it live with `%%flops_track --model`"
                )


def _grows_evenly(plan: FakeModel, predicted: dict[str, PassCost]) -> None:
    """Walk once with the last layer too, which has to cost what the third did.

    Raises:
        UnsupportedModelError: when layers read more the deeper they are.
    """
    probe = plan.feasible(PROBES[3:4])[0]
    found, shape = _walk(plan, probe, False, False), plan.probe_shape(*probe)
    for name, cost in predicted.items():
        if cost.flops(shape) != getattr(found, name):
            raise UnsupportedModelError(
                f"the last layer of {plan.model_class} does not cost what the third "
                "does, so the cost of a few layers does not give that of all"
            )


def _walk(
    plan: FakeModel, probe: Probe, checkpointing: bool, forward_only: bool
) -> Walk:
    """Walk the fake model once; anything that torch raises names the model."""
    counter = OperationCounter()
    try:
        with _quiet(), plan.mode, counter, angles_uncounted(plan.base, counter):
            logits = plan.run(*probe, checkpointing=checkpointing)
            forward = counter.flops
            if not forward_only and logits.requires_grad:
                logits.sum().backward()
    except Exception as error:
        reason = str(error).strip().splitlines() or [""]
        raise UnsupportedModelError(
            f"{plan.model_class} cannot be walked dry at shape {probe[:2]}: "
            f"{type(error).__name__}: {reason[0][:200]}; profile it live with "
            "`%%flops_track --model`, or report the model class"
        ) from error
    finally:
        plan.clear_gradients()
    return Walk(forward, counter.flops - forward, tuple(counter.unknown))


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep torch from logging a traceback for what is reported as an error of ours."""
    # The logger of a private module of torch, tried with 2.13; without it users see
    # torch's traceback beside the one line of ours.
    logger = logging.getLogger("torch._subclasses.fake_tensor")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def _combine(
    join: Callable[[int, int], int], first: PassCost, second: PassCost
) -> PassCost:
    return replace(
        first,
        **{
            f.name: join(getattr(first, f.name), getattr(second, f.name))
            for f in fields(first)
        },
    )

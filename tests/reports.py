"""Records to report on, and the fixed days that they hold.

``FLOPS_MAGIC_RENEW_GOLDEN=1 pytest tests/report/test_pages.py`` writes the golden files
anew; look at the difference before it is committed.
"""

from dataclasses import replace
from datetime import date
from decimal import Decimal

from flops_magic.ai_act.decision_table import decide
from flops_magic.evidence.hardware import Device, Hardware
from flops_magic.evidence.record import ModelUse, Outcome, TrainingData
from flops_magic.evidence.seal import seal
from flops_magic.tracking.record_builder import UNCERTAINTY, assumptions_of
from tests import fakes

DAY = date(2026, 11, 24)
VERSIONS = {"python": "3.11.7", "torch": "2.13.0", "flops-magic": "0.1.0"}
H100 = "NVIDIA H100 80GB HBM3"
DEVICE = Device(
    name=H100,
    uuid="GPU-1",
    samples=40_000,
    longest_gap_s=Decimal("0.512"),
    memory_peak_bytes=2**36,
    busy_share=Decimal("0.9312"),
    energy_j=Decimal("5400000000.000"),
    energy_by="energy counter",
)


def decided(record, **original):
    """The record with a decision of a fixed day."""
    flops = record.flops
    decision = decide(
        flops.direct, flops_cumulative=flops.cumulative, on=DAY, **original
    )
    return replace(record, decision=decision)


def made(run_id="a" * 32, *, day=24, steps=5, **changes):
    """An undecided record of one run in November 2026."""
    model_id = changes.pop("model_id", "tiny/llama")
    record = fakes.record(run_id=run_id, steps=steps, model_id=model_id)
    run = replace(
        record.run,
        started_at=f"2026-11-{day:02d}T09:00:00.000+00:00",
        ended_at=f"2026-11-{day:02d}T09:00:12.500+00:00",
        **changes.pop("run", {}),
    )
    stated = {"assumptions": assumptions_of(record.models), "uncertainty": UNCERTAINTY}
    base = replace(record, run=run, decision=None, versions=VERSIONS, **stated)
    return replace(base, **changes)


def below(run_id="a" * 32, **changes):
    """Far below a third of an ordinary original."""
    original = changes.pop("original", {"original_flops": "3e12"})
    asked = {
        "original_is_gpai": True,
        "systemic_risk": False,
        "base_model": "tiny/llama",
    }
    return decided(made(run_id, **changes), **asked | original)


def over():
    """Over a third of an original with systemic risk, on two metered devices."""
    pair = (DEVICE, replace(DEVICE, uuid="GPU-2"))
    record = made(
        "b" * 32,
        model_id="acme/frontier-9",
        run={
            "crossing_foreseen_at": "2026-11-20T18:30:00.000+00:00",
        },
        declared={"synthetic-data": 21_000_000},
        hardware=Hardware(pair, gaps=()),
        data=TrainingData(world_size=2, num_train_epochs="1.0"),
    )
    record = replace(
        record,
        run=replace(record.run, elapsed_s=Decimal("777600.250")),
        flops=replace(record.flops, declared=21_000_000),
    )
    span = {
        "started_at": "2026-11-15T09:00:00.000+00:00",
        "ended_at": "2026-11-24T09:00:00.250+00:00",
    }
    record = replace(record, run=replace(record.run, **span))
    return decided(
        record,
        original_flops="6e8",
        original_source="the developer's statement",
        base_model="acme/frontier-9",
        systemic_risk=True,
    )


def recovered():
    """A journal of a run that died: one model was not counted, so no verdict."""
    record = made("c" * 32, run={"outcome": Outcome.RECOVERED, "steps_planned": 50})
    rows = (replace(record.models[0].histogram[0], kind="reference"),)
    lost = ModelUse("acme/unknown", "reference", None, None, None, rows)
    return replace(
        record,
        models=(*record.models, lost),
        undecided="the operations of acme/unknown could not be counted, so the total "
        "is a lower bound; see the gaps",
        gaps=("acme/unknown: its operations could not be counted",),
        hardware=None,
    )


RECORDS = {"below": below, "over": over, "recovered": recovered}


def pair(record):
    """A record as ``lineage`` takes it."""
    return seal(record).sha256, record


def sealed_pair(record):
    """A record as ``report_on`` takes it."""
    return seal(record), record

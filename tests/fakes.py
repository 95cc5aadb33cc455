"""Small real fakes: a finished record, sealed, and a notebook that carries it."""

import json
from dataclasses import replace
from datetime import date
from decimal import Decimal

from flops_magic.ai_act.decision_table import judge
from flops_magic.ai_act.original_model import OriginalModel
from flops_magic.evidence.hardware import Hardware
from flops_magic.evidence.notebook import MIME, body_sha256
from flops_magic.evidence.record import AuditRecord, ModelUse, Outcome, Run
from flops_magic.evidence.seal import Sealed, seal
from flops_magic.flops.histogram import HistogramRow, histogram_flops
from flops_magic.flops.profile import FlopsProfile, PassCost, PassShape
from flops_magic.jupyter.notebook_view import record_bundle

ORIGINAL = OriginalModel(
    original_flops=3 * 10**12, original_is_gpai=True, systemic_risk=False
)
BODY = "trainer.train()"
# the tiny Llama of the worked examples, full fine-tuning
PROFILE = FlopsProfile(
    model_class="LlamaForCausalLM",
    method="full",
    parameters_total=106_816,
    parameters_active=106_816,
    parameters_trainable=106_816,
    costs={
        "forward": PassCost(per_token=147_456, per_pair=512, per_logit=32_768),
        "backward": PassCost(per_token=294_912, per_pair=1024, per_logit=65_536),
    },
)


def record(*, steps=5, run_id="a" * 32, gaps=(), model_id="tiny/llama", **changes):
    """A run of ``steps`` batches of 2 × 32 tokens on the tiny Llama."""
    shape = PassShape()
    for _ in range(steps):
        shape += PassShape.dense(2, 32)
    rows = (HistogramRow("train", True, "2x32", shape),)
    flops = histogram_flops(rows, PROFILE)
    made = AuditRecord(
        run=Run(
            id=run_id,
            started_at="2026-11-24T09:00:00.000+00:00",
            ended_at="2026-11-24T09:00:12.500+00:00",
            elapsed_s=Decimal("12.500"),
            outcome=Outcome.COMPLETED,
            steps=steps,
            steps_planned=steps,
            source_sha256=body_sha256(BODY),
        ),
        models=(ModelUse(model_id, "trained", None, None, PROFILE, rows, 64 * steps),),
        flops=flops,
        decision=judge(ORIGINAL, flops, on=date(2026, 11, 24)),
        hardware=Hardware((), reason="no NVIDIA device"),
        gaps=gaps,
        versions={"python": "3.11"},
    )
    return replace(made, **changes)


def notebook(sealed: Sealed, body=BODY):
    """A notebook whose second cell carries the record, and its metadata too."""
    bundle = record_bundle(sealed, sealed.open())
    return {
        "cells": [
            {"cell_type": "markdown", "metadata": {}, "source": ["# run\n"], "id": "a"},
            {
                "cell_type": "code",
                "execution_count": 1,
                "id": "b",
                "metadata": {},
                "outputs": [
                    {"data": bundle, "metadata": {}, "output_type": "display_data"}
                ],
                "source": ["%%flops_track\n", body],
            },
        ],
        "metadata": {"flops_magic": {"records": [sealed.to_dict()]}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def save(path, tree):
    path.write_text(json.dumps(tree, indent=1))
    return path


def saved(path, **changes):
    """Write a notebook with a record to a file."""
    return save(path, notebook(seal(record(**changes))))


def records_in(tree):
    """Every place in a notebook that holds the sealed record."""
    return [
        tree["metadata"]["flops_magic"]["records"][0],
        tree["cells"][1]["outputs"][0]["data"][MIME],
    ]

"""The path of one number: from a batch to a verified notebook, and each way to fail."""

import json
import shutil
import subprocess
from fractions import Fraction

import pytest

from flops_magic.ai_act.original_model import OriginalModel
from flops_magic.cli import main
from flops_magic.display.gauge import gauge_html
from flops_magic.display.text import progress_line
from flops_magic.evidence.notebook import load_record
from flops_magic.evidence.seal import Sealed, seal, text_sha256
from flops_magic.evidence.verify import check, verify
from flops_magic.jupyter.notebook_view import record_bundle
from flops_magic.monitoring.meter import TrainerMeter
from flops_magic.monitoring.trainer_patches import patched_trainers
from flops_magic.tracking.progress import Progress
from flops_magic.tracking.run import TrackedRun
from tests import fakes, tiny

# one batch of 2 × 32 tokens through the tiny Llama: 12,582,912 + 25,165,824, by hand
NUMBER = 37_748_736


@pytest.fixture
def tracked(tmp_path):
    """A notebook file that a real run on a real model left behind."""
    with TrackedRun(
        OriginalModel(
            original_flops=3 * 10**9, original_is_gpai=True, systemic_risk=False
        )
    ) as run:
        tiny.trainer(tiny.llama(), tmp_path, max_steps=1).train()
    tree = fakes.notebook(run.sealed)
    # the run was no cell: give it the cell that stands for it
    tree["cells"][1]["outputs"][0]["data"] = record_bundle(run.sealed, run.record)
    return run, fakes.save(tmp_path / "run.ipynb", tree)


def test_one_number_from_batch_to_verified_notebook(tracked, tmp_path):
    run, path = tracked
    # histogram: one training pass of 2 × 32, 64 tokens, 2,048 pairs
    (row,) = run.record.models[0].histogram
    assert (row.kind, row.shape, row.total.calls) == ("train", "2x32", 1)
    assert (row.total.tokens, row.total.pairs) == (64, 2 * 32 * 32)
    # FLOPs
    assert run.record.flops.direct == NUMBER
    # ratio: a third of 3·10^9 is 10^9
    assert run.record.decision.ratio == Fraction(73728, 1953125)
    assert run.record.decision.compared == NUMBER
    # gauge
    progress = run.progress()
    assert progress.flops == NUMBER
    assert "3.77 × 10⁷ FLOP" in progress_line(progress)
    assert "3.77 × 10⁷ FLOP" in gauge_html(progress)
    assert "3.77 % of the line" in gauge_html(progress)
    # record, notebook, verify
    assert verify(path) == run.record == load_record(path)
    assert main(["verify", str(path)]) == 0


@pytest.mark.skipif(shutil.which("node") is None, reason="no node on this machine")
def test_the_number_survives_javascript(tracked):
    _, path = tracked
    script = (
        "const fs=require('fs');const f=process.argv[1];"
        "fs.writeFileSync(f,JSON.stringify(JSON.parse(fs.readFileSync(f))))"
    )
    subprocess.run(["node", "-e", script, str(path)], check=True)
    assert verify(path).flops.direct == NUMBER


def test_a_number_beyond_doubles_survives_too(tmp_path):
    big = fakes.record(steps=1)
    rows = big.models[0].histogram
    assert float(2**60 + 1) != 2**60 + 1
    path = fakes.save(tmp_path / "n.ipynb", fakes.notebook(seal(big)))
    tree = json.loads(path.read_text(), parse_int=float)
    fakes.save(path, tree)
    assert verify(path).models[0].histogram == rows


def digit_changed(tree):
    for place in fakes.records_in(tree):
        place["payload"] = place["payload"].replace('"steps":"5"', '"steps":"4"')


def resealed(tree, old, new):
    for place in fakes.records_in(tree):
        assert old in place["payload"]
        place["payload"] = place["payload"].replace(old, new)
        place["sha256"] = text_sha256(place["payload"])


def lie_about_totals(tree):
    flops = fakes.record().flops
    resealed(tree, f'"forward":"{flops.forward}"', f'"forward":"{flops.forward // 2}"')
    direct = flops.direct - flops.forward + flops.forward // 2
    for name in ("direct", "cumulative", "executed"):
        resealed(tree, f'"{name}":"{flops.direct}"', f'"{name}":"{direct}"')


def lie_about_the_verdict(tree):
    resealed(tree, '"verdict":"below"', '"verdict":"not_engaged"')


def lie_about_the_original(tree):
    resealed(
        tree, '"original_flops":"3000000000000"', '"original_flops":"9000000000000"'
    )


def swapped(tree):
    other = seal(fakes.record(run_id="b" * 32))
    tree["cells"][1]["outputs"][0]["data"] = record_bundle(other, other.open())


def moved_to_another_cell(tree):
    tree["cells"][1]["source"] = ["%%flops_track\n", "other.train()"]


def card_edited(tree):
    data = tree["cells"][1]["outputs"][0]["data"]
    figure = f"{fakes.record().flops.direct:,}"
    data["text/html"] = data["text/html"].replace(figure, "12")


def removed(tree):
    tree["metadata"] = {}
    tree["cells"][1]["outputs"] = []


def schema_broken(tree):
    resealed(tree, '"models":', '"modles":')


@pytest.mark.parametrize(
    ("spoil", "error"),
    [
        (digit_changed, "DigestError"),
        (lie_about_totals, "TotalsError"),
        (lie_about_the_verdict, "DecisionError"),
        (lie_about_the_original, "DecisionError"),
        (swapped, "MisplacedRecordError"),
        (moved_to_another_cell, "MisplacedRecordError"),
        (card_edited, "TotalsError"),
        (removed, "NoRecordError"),
        (schema_broken, "MalformedRecordError"),
    ],
)
def test_spoiled_evidence_fails_with_its_own_error(tmp_path, capsys, spoil, error):
    tree = fakes.notebook(seal(fakes.record()))
    path = fakes.save(tmp_path / "n.ipynb", tree)
    assert main(["verify", str(path)]) == 0
    spoil(tree)
    fakes.save(path, tree)
    assert type(check(path).problems[0]).__name__ == error
    assert main(["verify", str(path)]) == 1
    assert error in capsys.readouterr().err


def test_a_truncated_file_fails_with_its_own_error(tmp_path, capsys):
    path = fakes.saved(tmp_path / "n.ipynb")
    whole = path.read_text()
    path.write_text(whole[: len(whole) // 2])
    assert main(["verify", str(path)]) == 1
    assert "UnreadableFileError" in capsys.readouterr().err


def test_measured_totals_are_count_per_step_times_steps(tmp_path):
    meter = TrainerMeter()
    with patched_trainers(meter):
        tiny.trainer(tiny.llama(), tmp_path, max_steps=7).train()
    assert meter.flops().direct == 7 * NUMBER
    assert Progress(1, 1, None, "", None, 1, 0, 7, 1.0).projected is None


def test_a_sealed_record_reads_back_to_the_last_byte():
    sealed = seal(fakes.record())
    again = Sealed.from_dict(json.loads(json.dumps(sealed.to_dict())))
    assert again.open() == fakes.record()
    assert seal(again.open()) == sealed

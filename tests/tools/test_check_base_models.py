"""The check of the registry passes on it, and fails on every kind of broken row."""

import csv
import io

import pytest

from flops_magic.registry.datafile import read_text
from tools.check_base_models import check, main

SOUND = next(
    row
    for row in csv.DictReader(
        io.StringIO(read_text("flops_magic.registry", "base_models.csv"))
    )
    if row["model_id"] == "Qwen/Qwen2.5-7B"
)


def registry(*rows):
    out = io.StringIO()
    writer = csv.DictWriter(out, list(SOUND), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def test_the_registry_has_no_error():
    errors, _ = check(read_text("flops_magic.registry", "base_models.csv"))
    assert errors == []
    assert main([]) == 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"tokens": "many"}, "as a decimal number"),
        ({"tokens": "-1"}, "not positive"),
        ({"tokens": "17e12"}, "is not 6·P·D"),
        ({"params_active": "999e9"}, "more parameters active"),
        ({"method": "guess"}, "method 'guess' is none of"),
        ({"method": "unknown"}, "method unknown with a figure"),
        ({"confidence": ""}, "confidence '' is none of"),
        ({"systemic_risk": "yes"}, "far less than 10^25"),
        ({"source_1": " "}, "no source"),
        ({"as_of": ""}, "is no day"),
        ({"release": "soon"}, "is no date"),
        ({"aliases": "Qwen/Qwen2.5-7B"}, "stands on line"),
        ({"aliases": "two words"}, "has blanks"),
        ({"notes": "open_weights=yes; gpai_1e23=no"}, "flag gpai_1e23 should be yes"),
        ({"caveats": "BORDER"}, "caveats ['BORDER'] are none of LOWER BOUND"),
        ({"derived_from": "Qwen/Qwen2-7B"}, "other_provider '' is none of"),
        ({"other_provider": "no"}, "other_provider 'no' is none of"),
        ({"notes": "-"}, "do not begin with flags"),
    ],
)
def test_a_broken_row_is_named(change, said):
    errors, _ = check(registry(SOUND | change))
    assert any(said in error for error in errors), errors
    assert all("line 2 Qwen/Qwen2.5-7B" in error for error in errors)


def test_an_id_on_two_rows_is_named_with_both_lines():
    errors, _ = check(registry(SOUND, SOUND))
    assert any("line 3" in error and "on line 2 too" in error for error in errors)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"flop_published": "9e24", "method": "published"}, "times 6·P·D"),
        (
            {"derived_from": "nobody/nothing", "other_provider": "no"},
            "has no row",
        ),
    ],
)
def test_a_doubtful_row_is_a_warning(change, said):
    errors, warnings = check(registry(SOUND | change))
    assert not errors
    assert any(said in warning for warning in warnings)


def test_a_registry_with_other_columns_is_refused():
    errors, _ = check("a,b\n1,2\n")
    assert "the columns are" in errors[0]


def test_the_script_exits_1_on_an_error(tmp_path, capsys):
    file = tmp_path / "broken.csv"
    file.write_text(registry(SOUND | {"source_1": ""}))
    assert main([str(file)]) == 1
    assert "error: line 2 Qwen/Qwen2.5-7B: no source" in capsys.readouterr().out

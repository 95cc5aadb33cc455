"""Check every row of the registry of base models; exit 1 where one does not hold.

    python tools/check_base_models.py [FILE]

Errors: a number that cannot be read, an unknown word, a missing source or date, an id
that stands twice, a figure that is not 6·P·D where it says so, a flag that does not
follow from the figure. Warnings: a published figure more than twice or less than half
of 6·P·D, a base model that has no row of its own.
"""

import csv
import io
import re
import sys
from fractions import Fraction
from pathlib import Path

from flops_magic.ai_act.thresholds import law
from flops_magic.errors import QuantityError
from flops_magic.flops.formulas import six_pd
from flops_magic.flops.units import parse_decimal, short
from flops_magic.registry.base_models import Caveat
from flops_magic.registry.datafile import read_text

COUNTS = ("params_total", "params_active", "tokens", "flop_published", "flop_estimated")
METHODS = (
    "published",
    "6ND",
    "cumulative_6ND",
    "gpu_hours",
    "inherits",
    "third_party",
    "unknown",
)
SURE = ("high", "medium", "low")
RISK = ("yes", "no", "unknown")
# low confidence has a column of its own
CAVEATS = tuple(one for one in Caveat if one != Caveat.LOW_CONFIDENCE)
COLUMNS = [
    *("family", "model_id", "aliases", "developer", "release"),
    *COUNTS,
    *("method", "confidence", "systemic_risk", "derived_from"),
    *("other_provider", "caveats", "notes"),
    *("source_1", "source_2", "as_of"),
]
DATE = re.compile(r"\d{4}(-\d\d(-\d\d)?)?")
DAY = re.compile(r"\d{4}-\d\d-\d\d")
# a developer's 6·P·D is rounded to three or four figures
ROUNDING = Fraction(1, 50)
# below 10^25 by more than this, no presumption of systemic risk can be near
BORDERLINE = Fraction(9, 10)


def check(text):
    """Return the errors and the warnings of a registry's text."""
    errors, warnings = [], []
    reader = csv.DictReader(io.StringIO(text))
    if list(reader.fieldnames or ()) != COLUMNS:
        return [f"the columns are {reader.fieldnames}, not {COLUMNS}"], []
    rows = list(reader)
    known = {row["model_id"] for row in rows}
    seen = {}
    for line, row in enumerate(rows, start=2):
        where = f"line {line} {row['model_id']}: "
        if None in row or None in row.values():
            errors.append(where + "wrong number of fields")
            continue
        found, doubts = check_row(row, known)
        for name in (row["model_id"], *filter(None, row["aliases"].split(";"))):
            if name != name.strip() or " " in name:
                found.append(f"the id {name!r} has blanks")
            if name.lower() in seen:
                found.append(f"the id {name} stands on line {seen[name.lower()]} too")
            seen[name.lower()] = line
        errors += [where + one for one in found]
        warnings += [where + one for one in doubts]
    return errors, warnings


def check_row(row, known):
    """Return what is wrong with a row, and what is doubtful."""
    errors = [
        f"{name} {row[name]!r} is none of {words}"
        for name, words in (
            ("method", METHODS),
            ("confidence", SURE),
            ("systemic_risk", RISK),
        )
        if row[name] not in words
    ]
    strange = [one for one in row["caveats"].split(";") if one and one not in CAVEATS]
    if strange:
        errors.append(f"caveats {strange} are none of {', '.join(CAVEATS)}")
    # who made what it was made from decides which of the two is the original
    provider = ("yes", "no") if row["derived_from"] else ("",)
    if row["other_provider"] not in provider:
        errors.append(f"other_provider {row['other_provider']!r} is none of {provider}")
    if not row["source_1"].strip():
        errors.append("no source")
    if not DATE.fullmatch(row["release"]):
        errors.append(f"release {row['release']!r} is no date")
    if not DAY.fullmatch(row["as_of"]):
        errors.append(f"as_of {row['as_of']!r} is no day")
    counts = {}
    for name in COUNTS:
        try:
            counts[name] = parse_decimal(row[name]) if row[name] else None
        except QuantityError as error:
            return [*errors, f"{name}: {error}"], []
        if counts[name] is not None and counts[name] <= 0:
            return [*errors, f"{name} is not positive"], []
    return errors + figures(row, counts), doubts(row, counts, known)


def figures(row, counts):
    """Return what does not follow from the row's own numbers."""
    errors = []
    total, active = counts["params_total"], counts["params_active"]
    if total and active and active > total:
        errors.append("more parameters active than there are")
    best = counts["flop_published"] or counts["flop_estimated"]
    if (best is None) != (row["method"] == "unknown"):
        errors.append(f"method {row['method']} with a figure of {best}")
    numbers = law("2026-11-23")
    gpai = "unknown"
    if best is not None:
        # the flag of the source data: at or above 10^23
        gpai = "yes" if best >= numbers.gpai_flops else "no"
    if not row["notes"].startswith("open_weights="):
        errors.append("notes do not begin with flags")
    elif f"gpai_1e23={gpai}" not in row["notes"]:
        errors.append(f"the flag gpai_1e23 should be {gpai}")
    systemic = numbers.systemic_risk_flops
    if best and best >= systemic and row["systemic_risk"] != "yes":
        errors.append("at least 10^25 FLOP, and no systemic risk")
    if best and best < BORDERLINE * systemic and row["systemic_risk"] == "yes":
        errors.append("systemic risk with far less than 10^25 FLOP")
    formula = by_formula(counts)
    stated = counts["flop_estimated"]
    exact = Caveat.LOWER_BOUND in row["caveats"].split(";") or row["method"] != "6ND"
    if formula and stated and not exact and abs(formula - stated) > stated * ROUNDING:
        errors.append(f"{short(stated)} is not 6·P·D, {short(formula)}")
    return errors


def doubts(row, counts, known):
    """Return what somebody should look at."""
    warnings = []
    formula, published = by_formula(counts), counts["flop_published"]
    if formula and published and not Fraction(1, 2) <= published / formula <= 2:
        ratio = float(published / formula)
        warnings.append(f"published is {ratio:.2f} times 6·P·D")
    base = row["derived_from"]
    if re.fullmatch(r"[\w.-]+/[\w.-]+", base) and base not in known:
        warnings.append(f"{base}, which it was made from, has no row")
    return warnings


def by_formula(counts):
    """Return 6·P·D; None where P or D is unknown."""
    size = counts["params_active"] or counts["params_total"]
    tokens = counts["tokens"]
    return six_pd(int(size), int(tokens)) if size and tokens else None


def main(arguments):
    text = (
        Path(arguments[0]).read_text(encoding="utf-8")
        if arguments
        else read_text("flops_magic.registry", "base_models.csv")
    )
    errors, warnings = check(text)
    for line in warnings:
        print(f"warning: {line}")
    for line in errors:
        print(f"error: {line}")
    rows = len(text.splitlines()) - 1
    print(f"{rows} rows, {len(errors)} errors, {len(warnings)} warnings")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

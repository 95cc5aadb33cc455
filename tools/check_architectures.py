"""Build every shipped architecture, and compare it with what is recorded and published.

    python tools/check_architectures.py [--ids WORD ...] [--profile] [--formulas]

Each row's model is built with shapes and no storage. Exit 1 where a row does not build,
has other parameters than it records, holds a field that its configuration class does
not know (transformers takes those without a word), or is further from the registry's
figure than that figure's rounding without a note that says why. ``--profile`` counts
the operations too; it takes about five seconds a row on one core. ``--formulas`` adds
what the bare formulas of ``estimation.formula_profile`` rest on.
"""

import argparse
import inspect
import json
import os
import re
import sys
import time
import warnings
from collections import Counter
from fractions import Fraction
from functools import cache
from pathlib import Path

# set before transformers is imported, which reads them once
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import transformers  # noqa: TID253 a tool, not the package

from flops_magic.errors import FlopsMagicError
from flops_magic.estimation.formula_profile import (
    formula_bounds,
    formula_profile,
)
from flops_magic.profiling.model_builder import fake_model_of
from flops_magic.profiling.profiler import profile_model
from flops_magic.registry.architectures import architectures
from flops_magic.registry.base_models import registry

LENGTHS = (512, 4096, 131_072)
# fields of every configuration that no class lists
ALWAYS_KNOWN = {"model_type", "architectures", "tie_word_embeddings"}


def unknown_fields(fields, config_class, where=""):
    """Return the fields that a kind of model does not know, parts included.

    A field is known as an attribute of the class; or by name in the files of the model,
    which read older fields (``rotary_pct``) and those that are no attribute
    (``head_dim`` of qwen3_moe) by themselves.
    """
    known = {*ALWAYS_KNOWN, *vars(config_class()), *config_class.attribute_map}
    for one in config_class.__mro__:
        known |= set(getattr(one, "__annotations__", ()))
    known |= words_of(Path(inspect.getfile(config_class)).parent)
    found = []
    for name, value in fields.items():
        if name not in known:
            found.append(where + name)
        elif isinstance(value, dict) and (
            part := part_class(config_class, name, value)
        ):
            found += unknown_fields(value, part, f"{where}{name}.")
    return found


@cache
def words_of(folder):
    """Return the words in the files of a model that configure and build it."""
    files = [*folder.glob("configuration_*.py"), *folder.glob("modeling_*.py")]
    return {word for f in files for word in re.findall(r"\w+", f.read_text("utf-8"))}


def part_class(config_class, name, fields):
    """Return the class of a configuration's part; None for a plain dictionary."""
    mapping = transformers.CONFIG_MAPPING
    if (kind := fields.get("model_type")) in mapping:
        return mapping[kind]
    found = config_class.sub_configs.get(name)
    return None if found is transformers.AutoConfig else found


def rounding(published):
    """Return how far a rounded figure may be off: half of its last digit, or 1 %."""
    digits = str(published).rstrip("0")
    return max(
        Fraction(10 ** (len(str(published)) - len(digits)), 2),
        Fraction(published, 100),
    )


def check(row, published, config=None):
    """Return what does not hold for a row.

    Args:
        row: an ``Architecture``.
        published: parameters by the registry; None if unknown.
        config: its configuration; built from the row by default.
    """
    errors = []
    if not row.sources or not row.as_of:
        errors.append("no source or no date")
    config_class = transformers.CONFIG_MAPPING[row.model_type]
    if unknown := unknown_fields(row.config, config_class):
        errors.append(f"{config_class.__name__} does not know {', '.join(unknown)}")
    try:
        config = config or configuration(row)
        built = fake_model_of(config).parameters_total
    except (FlopsMagicError, ValueError, TypeError, ArithmeticError) as error:
        return [*errors, f"does not build: {error}"]
    if built != row.parameters:
        errors.append(f"records {row.parameters:,} parameters and builds {built:,}")
    if published and abs(built - published) > rounding(published) and not row.note:
        errors.append(f"{built:,} parameters, and the registry has {published:,}")
    return errors


def configuration(row):
    """Return the transformers configuration of a row."""
    return transformers.AutoConfig.for_model(row.model_type, **row.config)


def formula_ratios(row, profile):
    """Return exact over formula at each length, and what the bounds leave out."""
    target = 128 if profile.two_lengths else None
    by_formula = formula_profile(row.model_id, "full", target_len=target)
    least, most = formula_bounds(by_formula)
    ratios = []
    for length in LENGTHS:
        exact = profile.training(1, length, target)
        if not least.training(1, length, target) <= exact:
            ratios.append(f"below the least at {length}")
        if not exact <= most.training(1, length, target):
            ratios.append(f"above the most at {length}")
        ratios.append(round(exact / by_formula.training(1, length, target), 3))
    return ratios


def main(arguments):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--ids", nargs="*", default=(), help="only ids with these words"
    )
    parser.add_argument("--profile", action="store_true", help="count operations too")
    parser.add_argument("--formulas", action="store_true", help="and compare formulas")
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    published = {model.model_id: model.params_total for model in registry()}
    done = Counter()
    profiles = {}
    for row in architectures():
        if options.ids and not any(word in row.model_id for word in options.ids):
            continue
        done["rows"] += 1
        errors = check(row, published.get(row.model_id))
        if row.model_id not in published:
            errors.append("no row in base_models.csv")
        if options.profile or options.formulas:
            # fine-tuned models repeat the shapes of their bases
            key = row.model_type + json.dumps(row.config, sort_keys=True)
            try:
                if key not in profiles:
                    start = time.process_time()
                    profiles[key] = profile_model(configuration(row))
                    elapsed_s = time.process_time() - start
                    print(f"{row.model_id}: profiled in {elapsed_s:.1f} s", flush=True)
                done["profiled"] += 1
                if unknown := profiles[key].unknown_ops:
                    errors.append(f"operations without a formula: {unknown}")
                if options.formulas:
                    print(f"  exact/formula {formula_ratios(row, profiles[key])}")
            except FlopsMagicError as error:
                errors.append(f"not profiled: {error}")
        for error in errors:
            print(f"error: {row.model_id}: {error}", flush=True)
        done["errors"] += len(errors)
        done["sound"] += not errors
    print(
        f"{done['rows']} rows, {done['sound']} build and match, "
        f"{done['profiled']} profiled, {done['errors']} errors"
    )
    return 1 if done["errors"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

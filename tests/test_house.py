"""The house rules that no linter holds."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import flops_magic
from flops_magic import errors

PACKAGE = Path(flops_magic.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
HEAVY = [
    "IPython",
    "anywidget",
    "docx",
    "ipywidgets",
    "jsonschema",
    "matplotlib",
    "nbclient",
    "nbformat",
    "numpy",
    "pandas",
    "pynvml",
    "torch",
    "transformers",
]
# where stopping would destroy the user's work; each records a gap or says why
BROAD = {
    "gaps.py": 1,  # the guard
    "profiling/op_counter.py": 1,  # the operation is named as unknown
    "monitoring/nvml.py": 3,
    "cli.py": 1,  # a notebook's cell may raise anything
}


# these catch what they raise, and turn it into a gap or a MalformedRecordError
CATCHING = (
    "ai_act",
    "estimation",
    "evidence",
    "flops",
    "monitoring",
    "profiling",
    "registry",
    "report",
    "tracking",
)


def loaded_by(code):
    probe = f"{code}\nimport sys; print(*sorted(set(sys.modules) & set({HEAVY!r})))"
    done = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()[-1].split()


@pytest.mark.parametrize(
    "code",
    [
        "import flops_magic",
        "import flops_magic.cli",
        "import flops_magic; flops_magic.decide(1, original_flops=10)",
        "import flops_magic; flops_magic.verify",
    ],
)
def test_the_light_doors_load_nothing_heavy(code):
    assert loaded_by(code) == []


def test_verify_on_the_command_line_loads_nothing_heavy():
    code = (
        "from flops_magic.cli import main\n"
        "if main(['verify', 'notebooks/01_quickstart.ipynb']):\n"
        "    raise SystemExit('the evidence does not hold')"
    )
    assert loaded_by(code) == []


def test_load_ext_does_not_import_torch():
    code = (
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "shell = InteractiveShell.instance()\n"
        "shell.run_line_magic('load_ext', 'flops_magic')"
    )
    assert {"torch", "transformers", "pynvml"}.isdisjoint(loaded_by(code))


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_module_is_short_and_opens_with_its_one_idea(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 330
    assert ast.get_docstring(ast.parse(text)), path


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_module_raises_errors_of_the_tree_and_asserts_nothing(path):
    tree = ast.parse(path.read_text())
    allowed = set(errors.__all__) | {"AttributeError", "type"}
    if path.relative_to(PACKAGE).parts[0] in CATCHING:
        allowed |= {"TypeError", "ValueError", "ImportError"}
    for node in ast.walk(tree):
        assert not isinstance(node, (ast.Assert, ast.Global)), path
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            name = ast.unparse(node.exc.func).split("(")[0]
            assert name in allowed, f"{path}: raise {name}"


def test_a_broad_except_stands_only_where_the_users_work_is_at_stake():
    found = {
        str(path.relative_to(PACKAGE)): count
        for path in MODULES
        if (count := path.read_text().count("noqa: BLE001"))
    }
    assert found == BROAD


def test_no_count_is_a_float():
    pure = [*(PACKAGE / "flops").glob("*.py"), *(PACKAGE / "ai_act").glob("*.py")]
    assert len(pure) > 10
    for path in pure:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, float):
                assert node.value < 2**53, path


# modules whose rules are tested through what they serve, by the file that holds the
# tests: a value class with its user, a renderer with the document that it renders
TESTED_BY = {
    "tests/ai_act/test_decision_table.py": ["ai_act/decision", "ai_act/explanations"],
    "tests/ai_act/test_law_vectors.py": ["ai_act/flags"],
    "tests/ai_act/test_original_model.py": ["ai_act/original_options"],
    "tests/test_script.py": ["attach", "callback", "track"],
    "tests/test_cli.py": ["errors"],
    "tests/estimation/test_named_models.py": [
        "estimation/formula_profile",
        "estimation/pricing",
    ],
    "tests/estimation/test_estimator.py": [
        *("display/estimate_plot", "estimation/estimate", "estimation/run_shape"),
    ],
    "tests/estimation/test_model_config.py": ["estimation/hub_config"],
    "tests/evidence/test_notebook.py": [
        *("evidence/files", "evidence/flops_meter", "evidence/journal"),
    ],
    "tests/evidence/test_verify.py": ["evidence/record", "evidence/seal"],
    "tests/monitoring/test_nvml.py": ["evidence/hardware"],
    "tests/profiling/test_profiler.py": [
        *("flops/profile", "profiling/fake_model", "profiling/fit", "profiling/probes"),
        *("profiling/model_builder", "profiling/repeated_layers", "profiling/moe"),
        *("profiling/op_counter", "profiling/model_setup"),
    ],
    "tests/profiling/test_methods.py": ["profiling/adapters"],
    "tests/profiling/test_op_formulas.py": ["profiling/fused_layers"],
    "tests/profiling/test_multimodal.py": ["profiling/media"],
    "tests/profiling/test_scan_costs.py": ["profiling/scan_stubs"],
    "tests/jupyter/test_magics.py": ["jupyter/notebook_view"],
    "tests/jupyter/test_headless.py": ["jupyter/papermill_engine"],
    "tests/monitoring/test_witnesses.py": [
        *("monitoring/backward_passes", "monitoring/module_calls"),
        *("monitoring/monitored_models", "monitoring/passes/gradient_arrival"),
    ],
    "tests/monitoring/test_child_processes.py": [
        f"monitoring/child_processes/{name}"
        for name in (
            *("children", "commands", "findings", "follow", "living", "process"),
            *("run_folder", "share", "startup/sitecustomize", "uses"),
        )
    ],
    "tests/monitoring/test_trainer_patches.py": [
        *("monitoring/meter", "monitoring/provenance", "monitoring/trainer_info"),
    ],
    "tests/monitoring/test_segment.py": [
        *("monitoring/model_monitor", "monitoring/priced_setups"),
        "monitoring/setup_watch",
    ],
    "tests/monitoring/passes/test_live_counter.py": [
        *("monitoring/passes/pass_counter", "monitoring/passes/pass_signature"),
        "monitoring/passes/pass_totals",
    ],
    "tests/monitoring/passes/test_pass_hooks.py": [
        *("monitoring/passes/pass_reader", "monitoring/passes/profile_counter"),
    ],
    "tests/monitoring/test_loop_patches.py": ["monitoring/distributed"],
    "tests/registry/test_base_models.py": ["registry/datafile"],
    "tests/report/test_pages.py": [
        *("report/annex", "report/blocks", "report/json_tree", "report/model_card"),
        *("report/renderers/docx", "report/renderers/html", "report/renderers/svg"),
        *("report/renderers/markdown", "report/renderers/style"),
    ],
    "tests/report/test_documentation.py": [
        *("report/form_items", "report/form_precision", "report/methodology"),
        *("report/notification", "report/resources"),
    ],
    "tests/tracking/test_stop_at.py": ["tracking/line_watch"],
    "tests/tracking/test_one_number.py": ["tracking/record_builder"],
}


def test_every_module_has_a_test_file_of_its_name_or_one_that_is_named_here():
    root = PACKAGE.parent
    named = {f"{name}.py" for names in TESTED_BY.values() for name in names}
    modules = {
        str(path.relative_to(PACKAGE)) for path in MODULES if path.name != "__init__.py"
    }
    untested = {
        name
        for name in modules
        if not (
            root / "tests" / Path(name).parent / f"test_{Path(name).name}"
        ).is_file()
    }
    assert untested == named
    assert all((root / path).is_file() for path in TESTED_BY)


def test_a_folder_holds_no_more_than_eighteen_modules():
    folders = {path.parent for path in MODULES}
    assert {
        str(f): n for f in folders if (n := len(list(f.glob("*.py"))) - 1) > 18
    } == {}

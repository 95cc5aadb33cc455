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
    allowed = set(errors.__all__) | {"AttributeError", "type", "_wrong"}
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


# A module without a test file of its own name is tested by the file named here, through
# the door that users come by: what it does cannot be told apart from what that file
# checks. A folder ends in a slash.
TESTED_BY = {
    "ai_act/decision.py": "ai_act/test_decision_table.py",
    "ai_act/explanations.py": "ai_act/test_decision_table.py",
    "ai_act/flags.py": "ai_act/test_law_vectors.py",
    "ai_act/original_options.py": "ai_act/test_original_model.py",
    "ai_act/wordings.py": "test_golden_record.py",
    "attach.py": "test_script.py",
    "callback.py": "test_script.py",
    "display/estimate_plot.py": "estimation/test_estimator.py",
    "errors.py": "test_house.py",  # every raise of the package is of this tree
    "estimation/estimate.py": "estimation/test_estimator.py",
    "estimation/formula_profile.py": "estimation/test_named_models.py",
    "estimation/hub_config.py": "estimation/test_model_config.py",
    "estimation/pricing.py": "estimation/test_estimator.py",
    "estimation/run_shape.py": "estimation/test_dataset_tokens.py",
    "evidence/files.py": "evidence/test_notebook.py",
    "evidence/flops_meter.py": "evidence/test_notebook.py",
    "evidence/hardware.py": "monitoring/test_nvml.py",
    "evidence/journal.py": "evidence/test_notebook.py",
    "evidence/record.py": "evidence/test_codec.py",
    "evidence/seal.py": "evidence/test_verify.py",
    "flops/profile.py": "flops/test_histogram.py",
    "jupyter/notebook_view.py": "jupyter/test_magics.py",
    "jupyter/papermill_engine.py": "jupyter/test_headless.py",
    "monitoring/backward_passes.py": "monitoring/test_witnesses.py",
    "monitoring/child_processes/": "monitoring/test_child_processes.py",
    "monitoring/distributed.py": "test_script.py",  # it takes two processes
    "monitoring/passes/gradient_arrival.py": "monitoring/test_witnesses.py",
    "monitoring/meter.py": "monitoring/test_trainer_patches.py",
    "monitoring/model_monitor.py": "monitoring/passes/test_live_counter.py",
    "monitoring/module_calls.py": "monitoring/passes/test_recompute.py",
    "monitoring/monitored_models.py": "monitoring/test_unregistered_models.py",
    "monitoring/passes/pass_counter.py": "monitoring/passes/test_hybrid_counter.py",
    "monitoring/passes/pass_reader.py": "monitoring/passes/test_pass_hooks.py",
    "monitoring/passes/pass_signature.py": "monitoring/passes/test_live_counter.py",
    "monitoring/passes/pass_totals.py": "monitoring/passes/test_pass_hooks.py",
    "monitoring/priced_setups.py": "monitoring/test_segment.py",
    "monitoring/passes/profile_counter.py": "monitoring/passes/test_pass_hooks.py",
    "monitoring/provenance.py": "tracking/test_one_number.py",
    "monitoring/setup_watch.py": "monitoring/test_segment.py",
    "monitoring/trainer_info.py": "monitoring/test_trainer_patches.py",
    "profiling/adapters.py": "profiling/test_methods.py",
    "profiling/fake_model.py": "profiling/test_profiler.py",
    "profiling/fit.py": "profiling/test_cost_steps.py",
    "profiling/fused_layers.py": "profiling/test_op_formulas.py",
    "profiling/media.py": "profiling/test_multimodal.py",
    "profiling/model_builder.py": "profiling/test_methods.py",
    "profiling/model_setup.py": "profiling/test_methods.py",
    "profiling/moe.py": "profiling/test_methods.py",
    "profiling/op_counter.py": "profiling/test_op_formulas.py",
    "profiling/probes.py": "profiling/test_cost_steps.py",
    "profiling/repeated_layers.py": "profiling/test_profiler.py",
    "profiling/scan_stubs.py": "profiling/test_scan_costs.py",
    "registry/datafile.py": "registry/test_base_models.py",
    "report/annex.py": "report/test_pages.py",
    "report/blocks.py": "report/test_pages.py",
    "report/form_items.py": "report/test_documentation.py",
    "report/form_precision.py": "report/test_documentation.py",
    "report/json_tree.py": "report/test_documentation.py",
    "report/methodology.py": "report/test_pages.py",
    "report/model_card.py": "report/test_pages.py",
    "report/notification.py": "report/test_documentation.py",
    "report/renderers/": "report/test_pages.py",
    "report/resources.py": "report/test_documentation.py",
    "track.py": "test_script.py",
    "tracking/line_watch.py": "tracking/test_stop_at.py",
    "tracking/record_builder.py": "tracking/test_one_number.py",
}
TESTS = Path(__file__).parent


def _tested_by(module: str) -> str | None:
    """The file of ``TESTED_BY`` for a module, by its own name or a folder's."""
    folders = [f"{folder}/" for folder in Path(module).parents]
    return next((TESTED_BY[k] for k in (module, *folders) if k in TESTED_BY), None)


def own_tests(module: str) -> Path:
    path = Path(module)
    return TESTS / path.parent / f"test_{path.name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_module_has_its_test_file_or_a_named_one(path):
    if path.name == "__init__.py":
        # only the package's own has code: the lazy names of test_public_api.py
        assert path.parent == PACKAGE or len(ast.parse(path.read_text()).body) == 1
        return
    module = path.relative_to(PACKAGE).as_posix()
    other = _tested_by(module)
    if own_tests(module).exists():
        assert other is None, f"{module} has tests of its own: take it off TESTED_BY"
    else:
        assert other, f"write {own_tests(module)}, or name in TESTED_BY what tests it"
        assert (TESTS / other).exists(), f"{module}: no {other}"


def test_no_module_that_is_gone_is_said_to_be_tested():
    modules = [path.relative_to(PACKAGE).as_posix() for path in MODULES]
    for known in TESTED_BY:
        assert any(m == known or m.startswith(known) for m in modules), known


def test_a_test_file_without_a_module_of_its_name_says_what_it_is_about():
    for path in TESTS.rglob("test_*.py"):
        module = PACKAGE / path.parent.relative_to(TESTS) / path.name[len("test_") :]
        if not module.exists():
            assert ast.get_docstring(ast.parse(path.read_text())), path

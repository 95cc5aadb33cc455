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

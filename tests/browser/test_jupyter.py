"""A tracked cell in a real JupyterLab and Notebook 7, driven by a real Chromium."""

import contextlib
import importlib.util
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import nbformat
import pytest

from flops_magic.evidence.notebook import METADATA_KEY, MIME, outputs_of
from flops_magic.evidence.verify import check

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine"),
]
ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "docs" / "img"
COLLABORATIVE = importlib.util.find_spec("jupyter_collaboration") is not None
SETUP = f"""
import os, sys, tempfile, time, warnings
os.environ["HF_HUB_OFFLINE"] = "1"
warnings.simplefilter("ignore")
sys.path.insert(0, {str(ROOT)!r})
import transformers
from tests import tiny

class Slow(transformers.TrainerCallback):
    def on_step_end(self, *args, **more):
        time.sleep(0.4)
"""
TRACKED = """%%flops_track --original-flops 3.3e12 --original-is-gpai yes
trainer = tiny.trainer(tiny.llama(), tempfile.mkdtemp(), max_steps=15)
trainer.add_callback(Slow())
trainer.train();"""
MODULES = {"lab": "jupyterlab", "notebook": "notebook"}
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextlib.contextmanager
def server(app, folder):
    """Run a Jupyter application on the loopback address; yield its URL."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["--no-browser", "--allow-root", f"--ServerApp.port={port}"]
    options += ["--ServerApp.ip=127.0.0.1", "--IdentityProvider.token="]
    options += [f"--ServerApp.root_dir={folder}", "--expose-app-in-browser"]
    options += ["--LabApp.news_url=None"]
    environment = {**os.environ, "JUPYTER_CONFIG_DIR": str(folder / ".config")}
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", MODULES[app], *options],
            stdout=log,
            stderr=log,
            cwd=folder,
            env=environment,
        )
        url = f"http://127.0.0.1:{port}"
        try:
            for _ in range(120):
                with contextlib.suppress(OSError):
                    urllib.request.urlopen(f"{url}/api", timeout=1).read()  # noqa: S310
                    break
                time.sleep(0.5)
            yield url
        finally:
            process.terminate()
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


def write_notebook(path):
    cells = [SETUP, "%load_ext flops_magic", TRACKED]
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(source) for source in cells],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}},
    )
    nbformat.write(notebook, path)


def run_all_and_watch(page, name):
    """Run the notebook; return the texts that the gauge showed, in order."""
    page.wait_for_function("window.jupyterapp !== undefined", timeout=60_000)
    page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=60_000)
    page.wait_for_function(
        "document.querySelector('.jp-Notebook-ExecutionIndicator')"
        "?.getAttribute('data-status') === 'idle'",
        timeout=60_000,
    )
    run_all(page)
    seen, shot, moving = [], False, time.monotonic()
    end = time.monotonic() + 240
    while time.monotonic() < end:
        if not dropped(page):
            moving = time.monotonic()
        elif time.monotonic() - moving > 10:
            # seen once on a busy machine: the first cell ran, the queue behind it was
            # dropped by the page, with neither an error nor a dialog
            run_all(page)
            moving = time.monotonic()
        for gauge in page.query_selector_all(".flops-magic-gauge"):
            with contextlib.suppress(Exception):
                text = gauge.inner_text()
                if not seen or seen[-1] != text:
                    seen.append(text)
                if len(seen) == 10 and not shot:
                    shot = True
                    screenshot(gauge, f"gauge-{name}")
        if any(
            "sha256" in output.inner_text()
            for output in page.query_selector_all(".jp-OutputArea-output")
        ):
            return seen
        page.wait_for_timeout(100)
    raise AssertionError(f"no card in four minutes; gauge {seen}; {state_of(page)}")


def run_all(page):
    """Run every cell; ask again while a page that has just loaded drops the command."""
    for _ in range(6):
        # void: the command's promise lasts as long as the cells run
        page.evaluate("void window.jupyterapp.commands.execute('runmenu:run-all')")
        for _ in range(20):
            if not dropped(page):
                return
            page.wait_for_timeout(500)
    raise AssertionError(f"the notebook's cells do not start; {state_of(page)}")


def dropped(page):
    """Say whether a cell neither runs, nor waits, nor has run."""
    shown = [prompt.strip("[ ]:") for prompt in prompts(page)]
    return "*" not in shown and "" in shown


def prompts(page):
    return page.locator(".jp-InputArea-prompt").all_inner_texts()


def state_of(page):
    """Say what a page shows, for the message of a failed test."""
    picture = Path(tempfile.gettempdir()) / "flops_magic-browser-test.png"
    page.screenshot(path=picture)
    dialogs = page.locator(".jp-Dialog-content").all_inner_texts()
    outputs = page.locator(".jp-OutputArea-output").all_inner_texts()
    return f"{prompts(page)=}, {dialogs=}, {outputs=}, {picture}"


def screenshot(element, name):
    if os.environ.get("FLOPS_MAGIC_SCREENSHOTS"):
        IMAGES.mkdir(parents=True, exist_ok=True)
        element.screenshot(path=IMAGES / f"{name}.png")


def flops_in(text):
    return re.search(r"FLOP so far\s*(.+)", text)[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("app", "place"), [("lab", "lab/tree"), ("notebook", "notebooks")]
)
def test_the_gauge_moves_and_the_saved_notebook_is_evidence(
    browser, tmp_path, app, place
):
    path = tmp_path / "tracked.ipynb"
    write_notebook(path)
    page = browser.new_page(viewport={"width": 1100, "height": 900})
    with server(app, tmp_path) as url:
        page.goto(f"{url}/{place}/tracked.ipynb", timeout=60_000)
        try:
            seen = run_all_and_watch(page, app)
        except AssertionError as error:
            error.add_note((tmp_path / "server.log").read_text()[-5000:])
            raise
        figures = list(dict.fromkeys(map(flops_in, seen)))
        assert len(figures) >= 4, figures
        assert page.query_selector_all(".flops-magic-gauge") == []
        outputs = page.query_selector_all(".jp-OutputArea-output")
        card = next(output for output in outputs if "sha256" in output.inner_text())
        screenshot(card, f"card-{app}")
        page.evaluate("window.jupyterapp.commands.execute('docmanager:save')")
        saved = wait_for_metadata(path, page)
    page.close()
    (output,) = outputs_of(saved)
    assert output.cell == 3
    left = [o for o in saved["cells"][2]["outputs"] if MIME in o.get("data", {})]
    widgets = [o for o in saved["cells"][2]["outputs"] if "widget" in json.dumps(o)]
    assert (len(left), widgets) == (1, [])
    report = check(path)
    assert not report.problems
    (_, record), *more = report.records
    assert not more
    assert record.flops.direct == 15 * 37_748_736
    assert saved["metadata"][METADATA_KEY]["records"] == [output.tree]


def wait_for_metadata(path, page):
    for _ in range(60):
        saved = json.loads(path.read_text())
        if METADATA_KEY in saved["metadata"]:
            return saved
        page.wait_for_timeout(500)
    raise AssertionError(f"no {METADATA_KEY!r} in the saved {saved['metadata']}")

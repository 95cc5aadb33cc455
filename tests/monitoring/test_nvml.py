"""NVML through the real pynvml, against a small C library where there is no GPU."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from flops_magic.monitoring.nvml import NvmlPoller

SOURCE = Path(__file__).parents[1] / "nvml_standin" / "nvml.c"
POLL = """
import json, sys, time
from flops_magic.evidence.codec import to_tree
from flops_magic.monitoring.nvml import NvmlPoller
poller = NvmlPoller(interval_s=0.01)
poller.start()
time.sleep(0.5)
found = poller.stop()
assert "torch" not in sys.modules
print(json.dumps(to_tree(found)))
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    pytest.importorskip("pynvml")
    if shutil.which("gcc") is None:
        pytest.skip("no gcc on this machine")
    folder = tmp_path_factory.mktemp("nvml")
    target = folder / "libnvidia-ml.so.1"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", target, SOURCE], check=True)
    return folder


@pytest.fixture
def polled(library):
    """Poll in a process that finds the stand-in; return what a record would hold."""

    def polled(**environment):
        done = subprocess.run(
            [sys.executable, "-c", POLL],
            env={**os.environ, "LD_LIBRARY_PATH": str(library), **environment},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stderr == ""
        return json.loads(done.stdout)

    return polled


def test_two_devices_are_measured_by_uuid(polled):
    found = polled()
    assert [d["uuid"] for d in found["devices"]] == ["GPU-aaaa", "GPU-bbbb"]
    for device in found["devices"]:
        assert device["name"] == "NVIDIA H100 80GB HBM3"
        assert device["busy_share"] == "0.5000"
        # two reads, 1,234 mJ apart
        assert (device["energy_j"], device["energy_by"]) == ("1.234", "energy counter")
        assert int(device["samples"]) > 5
        assert device["memory_peak_bytes"] == str(2**30)
    assert found["gaps"] == []


def test_a_query_that_fails_is_named_once_and_the_others_go_on(polled):
    found = polled(NVML_STANDIN="no-utilisation")
    assert found["gaps"] == ["nvmlDeviceGetUtilizationRates: Not Supported"]
    assert found["devices"][0]["busy_share"] is None
    assert found["devices"][0]["energy_j"] == "1.234"


def test_without_a_counter_energy_is_the_integral_of_power(polled):
    device = polled(NVML_STANDIN="no-energy")["devices"][0]
    assert device["energy_by"] == "power samples"
    assert 40 < float(device["energy_j"]) < 160  # 200 W for about half a second


def test_a_device_lost_on_the_way_is_a_gap(polled):
    found = polled(NVML_STANDIN="lost")
    assert any("lost" in gap.lower() for gap in found["gaps"])
    assert len(found["devices"]) == 2


@pytest.mark.parametrize(
    ("visible", "uuids"),
    [
        ("1", ["GPU-bbbb"]),
        ("1,0", ["GPU-bbbb", "GPU-aaaa"]),
        ("GPU-aa", ["GPU-aaaa"]),
        ("-1", []),
        ("", []),
    ],
)
def test_only_the_devices_that_cuda_may_use_are_measured(polled, visible, uuids):
    found = polled(CUDA_VISIBLE_DEVICES=visible)
    assert [d["uuid"] for d in found["devices"]] == uuids
    if not uuids:
        assert "visible" in found["reason"]


def test_a_slice_is_a_gap(polled):
    found = polled(CUDA_VISIBLE_DEVICES="MIG-1234")
    assert any("slice" in gap for gap in found["gaps"])
    assert found["unmeasured"] == found["gaps"]


@pytest.mark.skipif(
    Path("/dev/nvidiactl").exists(), reason="this machine has an NVIDIA device"
)
def test_a_machine_without_a_device_says_so_and_nothing_else(capfd):
    poller = NvmlPoller()
    poller.start()
    found = poller.stop()
    assert found.devices == ()
    assert found.reason.startswith("no NVIDIA device (")
    assert capfd.readouterr() == ("", "")


def test_another_package_named_pynvml_is_no_use():
    def impostor():
        raise ImportError("another package is named pynvml; install nvidia-ml-py")

    poller = NvmlPoller(load=impostor)
    poller.start()
    assert "install nvidia-ml-py" in poller.stop().reason

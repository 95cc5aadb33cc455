"""A device name finds the peak of that device, or none."""

import re

import pytest

from flops_magic.errors import UnknownAcceleratorError
from flops_magic.registry.accelerators import FORMATS, accelerators, find_accelerator


@pytest.mark.parametrize(
    ("device", "bf16_tflops"),
    [
        ("NVIDIA H100 80GB HBM3", "989.4"),
        ("NVIDIA H100 PCIe", "756.5"),
        ("NVIDIA H100 NVL", "835.5"),
        ("NVIDIA H200", "989.4"),
        ("NVIDIA H20", "148"),
        ("NVIDIA GH200 480GB", "989.4"),
        ("NVIDIA B200", "2250"),
        ("NVIDIA A100-SXM4-80GB", "312"),
        ("NVIDIA A100 80GB PCIe", "312"),
        ("NVIDIA A100-PCIE-40GB", "312"),
        ("NVIDIA A10G", "70"),
        ("NVIDIA A10", "125"),
        ("NVIDIA L40S", "362.05"),
        ("NVIDIA L40", "181.05"),
        ("NVIDIA L4", "121"),
        ("NVIDIA GeForce RTX 4090", "165.2"),
        ("NVIDIA RTX A6000", "154.8"),
        ("NVIDIA RTX 6000 Ada Generation", "364.2"),
        ("AMD Instinct MI300X", "1307.4"),
        ("H100", "989.4"),
        ("h100", "989.4"),
        ("A10G", "70"),
    ],
)
def test_a_name_finds_its_dense_peak(device, bf16_tflops):
    peak = find_accelerator(device).peak_flops_per_s("bf16")
    whole, _, tenths = bf16_tflops.partition(".")
    assert peak == int(whole) * 10**12 + int((tenths + "00")[:2]) * 10**10
    assert type(peak) is int


@pytest.mark.parametrize("device", ["Tesla T4", "Tesla V100-SXM2-16GB"])
def test_a_format_that_a_device_lacks_has_no_peak(device):
    assert find_accelerator(device).peak_flops_per_s("bf16") is None
    assert find_accelerator(device).peak_flops_per_s("fp16")


@pytest.mark.parametrize(
    "device",
    [
        "NVIDIA L41",
        "NVIDIA RTX A1000",
        "RTX A4000",
        "NVIDIA GeForce RTX 4090 D",
        "NVIDIA A100X",
        "NVIDIA L40G",
        "NVIDIA H30",
        "Tesla K80",
        "",
        "banana",
    ],
)
def test_a_stranger_is_never_guessed(device):
    with pytest.raises(UnknownAcceleratorError, match="no accelerator"):
        find_accelerator(device)


def test_a_miss_offers_near_names():
    with pytest.raises(UnknownAcceleratorError, match="near: L4, L40"):
        find_accelerator("NVIDIA L41")


@pytest.mark.parametrize(
    "device",
    [
        "NVIDIA A100-SXM4-40GB MIG 1g.5gb",
        "NVIDIA H100 80GB HBM3 MIG 3g.40gb",
        "nvidia h100 mig 1g.10gb",
        "GRID T4-16Q",
        "NVIDIA A40-48Q",
        "NVIDIA L40S-24C",
    ],
)
def test_a_slice_has_no_known_peak(device):
    with pytest.raises(UnknownAcceleratorError, match="slice of a device"):
        find_accelerator(device)


@pytest.mark.parametrize(
    "device",
    ["NVIDIA GeForce RTX 4090 Laptop GPU", "NVIDIA RTX A5000 Laptop GPU"],
)
def test_a_laptop_part_is_not_the_card_of_that_name(device):
    with pytest.raises(UnknownAcceleratorError, match="laptop"):
        find_accelerator(device)


@pytest.mark.parametrize("row", accelerators(), ids=lambda row: row.name)
def test_every_row_is_complete_and_finds_itself(row):
    assert find_accelerator(row.name) == row
    assert row.source.strip()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", row.as_of)
    assert row.peaks
    assert set(row.peaks) <= set(FORMATS)
    assert all(type(peak) is int and peak > 0 for peak in row.peaks.values())
    assert row.tdp_w is None or row.tdp_w > 0
    if {"fp16", "fp8"} <= set(row.peaks):
        assert row.peaks["fp16"] <= row.peaks["fp8"]


def test_names_are_unique():
    names = [row.name.lower() for row in accelerators()]
    assert len(names) == len(set(names))

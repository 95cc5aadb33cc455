"""The Model Documentation Form: what each audience reads, and how precisely."""

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import pytest

from flops_magic.evidence.hardware import Hardware
from flops_magic.flops.units import significant_figures
from flops_magic.report.documentation import AUDIENCES, Documentation
from flops_magic.report.form_items import forms
from flops_magic.report.form_precision import megawatt_hours, size_range, time_range
from flops_magic.report.json_tree import report_tree
from flops_magic.report.lineage import lineage
from flops_magic.report.notification import notification
from tests.reports import DEVICE, H100, below, decided, made, over, pair, recovered

DAY_S = 86_400


def of(*records):
    return Documentation.of(lineage([pair(record) for record in records]))


def form(audience, *records):
    return {
        (item.section.split()[0], item.name): item
        for item in forms(of(*records), audience)[audience]
    }


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (24 * 10**24, 2, "2.4x10^25"),
        (90, 1, "9x10^1"),
        (Fraction(9, 1), 2, "9.0x10^0"),
        (100, 2, "1.0x10^2"),
        (96, 1, "1x10^2"),
        (0, 2, "0"),
        (Fraction(1, 400), 2, "2.5x10^-3"),
    ],
)
def test_figures_are_written_as_the_form_writes_them(value, digits, text):
    assert significant_figures(value, digits) == text


@pytest.mark.parametrize(
    ("parameters", "name"),
    [
        (1, "1-500M"),
        (500 * 10**6, "1-500M"),
        (500 * 10**6 + 1, "500M-5B"),
        (8 * 10**9, "5B-15B"),
        (10**12, "500B-1T"),
        (10**12 + 1, ">1T"),
    ],
)
def test_a_size_falls_into_the_forms_ranges(parameters, name):
    assert size_range(parameters) == name


@pytest.mark.parametrize(
    ("days", "name"),
    [
        (0, "less than 1 month"),
        (29, "less than 1 month"),
        (30, "1-3 months"),
        (90, "1-3 months"),
        (91, "3-6 months"),
        (180, "3-6 months"),
        (181, "more than 6 months"),
    ],
)
def test_a_training_time_falls_into_the_forms_ranges(days, name):
    assert time_range(Fraction(days * DAY_S)) == name


def test_the_ai_office_reads_two_significant_figures():
    fields = form("ai-office", over())
    answer = fields["Computational", "Amount of computation used for training"].answer
    # 188,743,680 direct and 21,000,000 declared; the cumulative figure was compared
    assert answer == ("2.1x10^8 floating point operations.",)
    size = fields["Model", "Total model size (exact)"]
    assert size.answer == ("1.1x10^5 parameters",)  # 106,816
    # 5 steps of 64 tokens
    assert "3.2x10^2 tokens" in fields["Data", "Number of data points"].answer[0]
    time = fields["Computational", "Training time"].answer
    assert "Wall clock: 9.0x10^0 days." in time  # 777,600.25 s
    assert f"Hardware: 1.8x10^1 {H100} days." in time
    # 2 · 5.4e9 J / 3.6e9 J a MWh
    assert fields["Energy", "Amount of energy used for training"].answer == (
        "3.0x10^0 MWh.",
    )
    assert megawatt_hours(Fraction(10_800_000_000)) == 3


def test_a_national_authority_reads_orders_and_ranges():
    fields = form("national-authority", over())
    amount = fields["Computational", "Amount of computation used for training"]
    assert amount.answer == ("10^8 floating point operations.",)
    assert any("power of ten below" in note for note in amount.notes)
    time = fields["Computational", "Training time"].answer
    assert time == ("Less than 1 month.",)
    assert fields["Model", "Total model size (range)"].answer == ("1-500M parameters",)
    assert "3x10^2 tokens" in fields["Data", "Number of data points"].answer[0]
    assert fields["Energy", "Amount of energy used for training"].answer == (
        "3.0x10^0 MWh.",
    )


def test_downstream_providers_read_no_compute_time_or_energy():
    fields = form("downstream", over())
    assert [name for _, name in fields] == [
        "Model name",
        "Model dependencies",
        "Total model size (range)",
        "Compute, training time, energy",
    ]
    text = str(fields)
    assert "no item of compute" in text
    assert "x10^" not in text
    assert "MWh" not in text


@pytest.mark.parametrize("audience", AUDIENCES)
def test_no_form_holds_an_unrounded_figure(audience):
    text = str(forms(of(over()), audience))
    for exact in ("188743680", "209743680", "188,743,680", "209,743,680", "106,816"):
        assert exact not in text


@pytest.mark.parametrize("audience", AUDIENCES)
def test_json_for_one_audience_holds_no_unrounded_figure(audience):
    text = str(report_tree(of(over()), audience))
    assert "209743680" not in text
    assert "unrounded" not in text


def test_energy_of_unmetered_hardware_is_na_and_says_what_is_lacking():
    fields = form("ai-office", below())
    assert fields["Energy", "Amount of energy used for training"].answer == ("N/A",)
    assert "no NVIDIA device" in fields["Energy", "Measurement methodology"].answer[0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"energy_j": None}, "reports neither energy nor power"),
        ({"energy_j": Decimal("-4.0")}, "did not advance"),
    ],
)
def test_one_unmetered_device_makes_the_energy_na_with_the_known_part(change, said):
    record = over()
    first, second = record.hardware.devices
    hardware = Hardware((first, replace(second, **change)), gaps=())
    answer = form("ai-office", replace(record, hardware=hardware))
    assert answer["Energy", "Amount of energy used for training"].answer == ("N/A",)
    method = answer["Energy", "Measurement methodology"].answer
    assert said in method[0]
    assert method[1] == "Known in part: 1.5x10^0 MWh, by energy counter."


def test_more_processes_than_devices_leave_hardware_days_a_lower_bound():
    record = over()
    record = replace(record, data=replace(record.data, world_size=16))
    item = form("ai-office", record)["Computational", "Training time"]
    assert f"Hardware: at least 1.8x10^1 {H100} days." in item.answer
    assert "16 processes trained, and 2 devices were seen" in item.notes[0]
    assert of(record).used.energy_j is None


def test_hardware_days_add_up_by_device_and_run():
    device = replace(DEVICE, name="A100", energy_j=Decimal("1.000"))
    runs = [
        below(c * 32, day=d, hardware=Hardware((device,) * n))
        for c, d, n in (("a", 20, 1), ("b", 21, 3))
    ]
    # 12.5 s on one device and on three
    assert of(*runs).used.device_s == {"A100": Fraction(50)}
    assert of(*runs).used.energy_j == 4


def test_runs_that_overlap_count_their_shared_time_once():
    used = of(below("a" * 32), below("b" * 32)).used
    assert used.overlapping
    assert used.wall_clock_s == Fraction(25, 2)
    assert of(below("a" * 32), below("b" * 32, day=25)).used.wall_clock_s == 25


def test_a_figure_without_a_verdict_is_the_larger_one_and_a_lower_bound():
    item = form("ai-office", recovered())[
        "Computational", "Amount of computation used for training"
    ]
    assert item.answer == ("At least 1.9x10^8 floating point operations.",)
    assert any("lower bound" in note for note in item.notes)


def test_a_run_of_which_nothing_could_be_counted_has_no_figure():
    record = recovered()
    lost = replace(record.models[0], profile=None)
    record = replace(
        record, models=(lost,), flops=replace(record.flops, forward=0, backward=0)
    )
    item = form("ai-office", record)[
        "Computational", "Amount of computation used for training"
    ]
    assert not item.filled
    assert "no pass could be counted" in item.answer[0]
    assert of(record).figure(str) == "N/A"


def test_dependencies_name_the_base_and_what_training_loaded():
    assert of(over()).dependencies == ("acme/frontier-9, revision not recorded",)
    other = decided(
        made(), base_model="big/base", original_flops="3e12", original_is_gpai=True
    )
    assert of(other).dependencies == (
        "big/base (the original that the compute is held against)",
        "tiny/llama, revision not recorded (what training loaded)",
    )


def test_the_methodology_says_what_is_counted_and_what_is_not():
    method = " ".join(of(over()).method.sentences())
    for said in (
        "counting operations",
        "cumulative training compute (point 115)",
        "Not counted: activations computed again",
        "Declared by the provider: synthetic-data.",
        "A multiply-add is two operations.",
        "element-wise work",
        "Version of the counting rules: 2026-11-23.",
        "torch 2.13.0",
    ):
        assert said in method


def test_a_notification_holds_point_31_and_both_days():
    due = notification(of(over()))
    assert due.flops == "2.1x10^8 FLOP"
    assert (due.known_on, due.deadline) == ("2026-11-24", "2026-12-08")
    # the run was projected to cross four days earlier
    assert (due.foreseen_on, due.foreseen_deadline) == ("2026-11-20", "2026-12-04")
    assert due.approach


def test_no_notification_below_the_line_or_for_an_ordinary_original():
    assert notification(of(below())) is None
    ordinary = below(original={"original_flops": "3e8"})
    assert of(ordinary).lineage.decision.verdict == "over"
    assert notification(of(ordinary)) is None


def test_json_holds_exact_integers_as_text():
    tree = report_tree(of(over()))
    assert tree["schema"] == "flops_magic.report.v1"
    assert tree["unrounded"]["cumulative"] == "209743680"
    assert tree["threshold"]["exact"] == "200000000"
    assert tree["threshold"]["original"]["status"] == "known"
    assert tree["amount_of_computation"] == {
        "aio": "2.1x10^8 floating point operations",
        "nca": "10^8 floating point operations",
        "notion": "cumulative",
        "lower_bound": False,
    }

    def numbers(node):
        if isinstance(node, dict):
            return any(map(numbers, node.values()))
        if isinstance(node, (list, tuple)):
            return any(map(numbers, node))
        return isinstance(node, (int, float)) and not isinstance(node, bool)

    assert not numbers(tree)

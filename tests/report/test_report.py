"""From files to documents: verified first, refused in one line, at every door."""

import json

import pytest

from flops_magic.cli import main
from flops_magic.errors import InputError, TotalsError, VerificationError
from flops_magic.evidence.seal import seal
from flops_magic.options import REPORT_OPTIONS
from flops_magic.report.documentation import AUDIENCES
from flops_magic.report.report import FORMATS, READERS, report
from tests import fakes
from tests.reports import below, over


def saved(path, record):
    return str(fakes.save(path, fakes.notebook(seal(record))))


@pytest.fixture
def notebook(tmp_path):
    return saved(tmp_path / "run.ipynb", below())


def test_a_report_goes_to_standard_output_as_markdown(notebook, capsys):
    assert main(["report", notebook]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("# Training compute report\n")
    assert shown == report(notebook).to_markdown()


@pytest.mark.parametrize("ending", ["html", "md", "json", "docx"])
def test_the_files_ending_chooses_the_format(notebook, tmp_path, capsys, ending):
    if ending == "docx":
        pytest.importorskip("docx")
    path = tmp_path / f"report.{ending}"
    assert main(["report", notebook, "--output", str(path)]) == 0
    assert capsys.readouterr().out == f"report: {path}\n"
    start = {"html": b"<!DOCTYPE", "md": b"# Tr", "json": b"{", "docx": b"PK"}[ending]
    assert path.read_bytes().startswith(start)


def test_records_in_several_files_are_one_lineage(notebook, tmp_path, capsys):
    other = saved(tmp_path / "second.ipynb", below("b" * 32, day=25))
    assert main(["report", notebook, other, "--format", "json"]) == 0
    tree = json.loads(capsys.readouterr().out)
    assert tree["unrounded"]["direct"] == "377487360"
    assert [row["run"][0] for row in tree["records"]] == ["a", "b"]


def test_one_audience_gets_its_form_alone(notebook, capsys):
    assert main(["report", notebook, "--audience", "downstream"]) == 0
    shown = capsys.readouterr().out
    assert "no item of compute" in shown
    assert "x10^" not in shown


def test_a_file_that_does_not_verify_is_refused_by_name(tmp_path, capsys):
    tree = fakes.notebook(seal(below()))
    for record in fakes.records_in(tree):
        record["payload"] = record["payload"].replace("tiny/llama", "tiny/lamma")
    path = str(fakes.save(tmp_path / "changed.ipynb", tree))
    assert main(["report", path]) == 1
    answer = capsys.readouterr()
    assert answer.out == ""
    assert "changed.ipynb" in answer.err
    assert "changed after it was sealed" in answer.err
    with pytest.raises(VerificationError, match="no report on"):
        report(path)


def test_totals_that_do_not_follow_are_refused(tmp_path):
    record = below()
    flops = type(record.flops)(forward=1, backward=2)
    false = type(record)(**{**vars(record), "flops": flops})
    path = saved(tmp_path / "false.ipynb", false)
    with pytest.raises(TotalsError, match="no report on"):
        report(path)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--format", "docx"], "needs a file"),
        (["--output", "report.pdf"], "does not say its format"),
        (["--format", "pdf"], "invalid choice"),
        (["--audience", "everybody"], "invalid choice"),
        (["--outpt", "x.md"], "near: --output"),
    ],
)
def test_a_mistake_is_answered_in_one_line_with_exit_2(notebook, capsys, options, said):
    try:
        code = main(["report", notebook, *options])
    except SystemExit as ended:
        code = ended.code
    assert code == 2
    answer = capsys.readouterr().err
    assert said in answer
    assert len(answer.strip().splitlines()) == 1


def test_different_originals_exit_2(notebook, tmp_path, capsys):
    other = saved(tmp_path / "other.ipynb", over())
    assert main(["report", notebook, other]) == 2
    answer = capsys.readouterr().err
    assert "different originals" in answer
    assert len(answer.strip().splitlines()) == 1


def test_a_missing_file_exits_1(capsys):
    assert main(["report", "nowhere.ipynb"]) == 1
    assert "nowhere.ipynb" in capsys.readouterr().err


def test_evidence_is_not_written_over(tmp_path):
    path = tmp_path / "flops_meter.json"
    fakes.save(path, seal(below()).to_dict())
    before = path.read_bytes()
    with pytest.raises(InputError, match="holds a record of this report"):
        report(path).write(None, path)
    assert path.read_bytes() == before


def test_a_card_that_exists_is_not_replaced_by_a_fragment(notebook, tmp_path, capsys):
    card = tmp_path / "README.md"
    asked = ["report", notebook, "--format", "model-card", "--output", str(card)]
    assert main(asked) == 0
    assert main(asked) == 2
    assert "would replace it" in capsys.readouterr().err


def test_an_unknown_format_is_refused(notebook):
    with pytest.raises(InputError, match="unknown format 'pdf'"):
        report(notebook).write("pdf")


def test_an_unknown_audience_is_refused(notebook):
    with pytest.raises(InputError, match="unknown audience 'press'"):
        report(notebook, audience="press")


def test_the_doors_offer_what_a_report_takes():
    offered = {flag: options.get("choices") for flag, options in REPORT_OPTIONS}
    assert set(offered["--format"]) == set(FORMATS)
    assert set(offered["--audience"]) == set(READERS) == {"all", *AUDIENCES}


def test_a_run_in_a_notebook_and_its_extracted_record_count_once(tmp_path, notebook):
    path = fakes.save(tmp_path / "bare.json", seal(below()).to_dict())
    assert report([notebook, path]).documentation.lineage.flops == below().flops

"""Records as the documents that the AI Act's readers ask for.

Every file is verified first; one that does not hold is refused. See ``docs/report.md``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path

from flops_magic.errors import InputError
from flops_magic.evidence.files import write_text
from flops_magic.evidence.record import AuditRecord
from flops_magic.evidence.seal import Sealed
from flops_magic.evidence.verify import check
from flops_magic.report.blocks import Document
from flops_magic.report.documentation import AUDIENCES, Documentation
from flops_magic.report.json_tree import report_tree
from flops_magic.report.lineage import lineage
from flops_magic.report.model_card import model_card
from flops_magic.report.pages import report_pages
from flops_magic.report.renderers.docx import write_docx
from flops_magic.report.renderers.html import report_html
from flops_magic.report.renderers.markdown import report_markdown

FORMATS = ("html", "md", "docx", "json", "model-card")
READERS = ("all", *AUDIENCES)


@dataclass(frozen=True)
class Report:
    """Records as a report, for the readers of the Model Documentation Form.

    Attributes:
        documentation: the content, as data.
        audience: ``all``, or the one whose form this is.
        files: where the records were read; ``write`` refuses to overwrite them.
    """

    documentation: Documentation
    audience: str = "all"
    files: tuple[Path, ...] = ()

    def pages(self) -> Document:
        """Return the report's pages, as they are before they are rendered."""
        return report_pages(self.documentation, self.audience)

    def to_html(self) -> str:
        """Return one self-contained page."""
        return report_html(self.pages())

    def to_markdown(self) -> str:
        """Return GitHub-flavoured Markdown."""
        return report_markdown(self.pages())

    def to_json(self) -> str:
        """Return ``flops_magic.report.v1``: counts are decimal text."""
        tree = report_tree(self.documentation, self.audience)
        # ASCII: whatever a record holds, surrogates too, stays valid JSON
        return json.dumps(tree, indent=2, sort_keys=True) + "\n"

    def to_docx(self, path: str | Path) -> None:
        """Write a Word document.

        Raises:
            MissingPackageError: without the extra ``docx``.
            EvidenceError: when the file cannot be written.
        """
        write_docx(self.pages(), path)

    def to_model_card(self) -> str:
        """Return front matter and a section for a model card."""
        return model_card(self.documentation)

    def write(self, kind: str | None = None, output: str | Path | None = None) -> str:
        """Write the report to a file, or return its text.

        Args:
            kind: one of ``FORMATS``; by default what the file's ending says, or md.
            output: the file; without one the text is returned.

        Returns:
            The text, or one line that names the file.

        Raises:
            InputError: for a format that needs a file, an ending that says none, and
                a file that would be lost.
            EvidenceError: when the file cannot be written.
        """
        kind = kind or _kind_of(output)
        if kind not in FORMATS:
            raise InputError(f"unknown format {kind!r}; known: {', '.join(FORMATS)}")
        if output is None:
            if kind == "docx":
                raise InputError("a .docx report needs a file; pass --output FILE.docx")
            return self._text(kind)
        self._spare(Path(output), kind)
        if kind == "docx":
            self.to_docx(output)
        else:
            write_text(output, self._text(kind))
        return f"report: {output}\n"

    def _spare(self, output: Path, kind: str) -> None:
        """Refuse to write over evidence, or over an existing model card."""
        if not output.exists():
            return
        # ``samefile`` also sees through links and other spellings of the same path.
        if any(output.samefile(path) for path in self.files if path.exists()):
            raise InputError(
                f"{str(output)!r} holds a record of this report; name another file"
            )
        if kind == "model-card":
            raise InputError(
                f"{str(output)!r} exists, and the fragment would replace it; name a "
                "new file and paste it into the card"
            )

    def _text(self, kind: str) -> str:
        return {
            "html": self.to_html,
            "md": self.to_markdown,
            "json": self.to_json,
            "model-card": self.to_model_card,
        }[kind]()

    def _repr_html_(self) -> str:
        """Return the page in a frame of its own, so that its styles stay in it."""
        return (
            f'<iframe srcdoc="{escape(self.to_html())}" sandbox="" title="Training '
            'compute report" style="width:100%;height:640px;border:1px solid #8888" '
            "></iframe>"
        )


def report(
    paths: str | Path | Iterable[str | Path], *, audience: str = "all"
) -> Report:
    """Return the report on the records of some files, verified first.

    Args:
        paths: notebooks, ``flops_meter.json`` files, journals or extracted records;
            what they hold is taken as one lineage.
        audience: ``ai-office``, ``national-authority`` or ``downstream`` for one form
            alone; ``all`` for an internal report with every form.

    Raises:
        VerificationError: when a file does not hold; the message names it.
        InputError: for records that do not belong together.
    """
    named = [paths] if isinstance(paths, (str, Path)) else list(paths)
    records: list[tuple[Sealed, AuditRecord]] = []
    for path in named:
        found = check(path)
        if found.problems:
            # The first problem gives the type, so that callers can tell a changed
            # record from an unreadable file; the message names them all.
            first = found.problems[0]
            told = "; ".join(map(str, found.problems))
            raise type(first)(f"no report on {str(path)!r}: {told}") from first
        records += found.records
    made = report_on(records, audience=audience)
    return replace(made, files=tuple(map(Path, named)))


def report_on(
    records: Iterable[tuple[Sealed, AuditRecord]], *, audience: str = "all"
) -> Report:
    """Return the report on records that hold already, such as a session's own.

    Raises:
        InputError: for an unknown audience, and for records that do not belong
            together.
    """
    if audience not in READERS:
        raise InputError(f"unknown audience {audience!r}; known: {', '.join(READERS)}")
    # The digest goes along with each record: it ties the report to the evidence.
    pairs = [(sealed.sha256, record) for sealed, record in records]
    return Report(Documentation.of(lineage(pairs)), audience)


def _kind_of(output: str | Path | None) -> str:
    """Return the format of a file's ending; md without a file."""
    if output is None:
        return "md"
    ending = Path(output).suffix.lower().removeprefix(".")
    kinds = {"html": "html", "htm": "html", "md": "md", "docx": "docx", "json": "json"}
    if ending not in kinds:
        raise InputError(
            f"{str(output)!r} does not say its format; end it in .html, .md, .docx or "
            ".json, or pass --format"
        )
    return kinds[ending]

"""A record's exact text, and the sha256 that changes when any byte of it does.

The text stays one opaque string: notebook front-ends re-save metadata through
JavaScript numbers, which turn 2^60 into 1152921504606847000. A digest shows that a
text was changed, not who wrote it; that the totals follow from the histogram is
checked by ``flops_magic.evidence.verify``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flops_magic.errors import DigestError, MalformedRecordError
from flops_magic.evidence.record import AuditRecord

FORMAT = "flops_magic.sealed.v1"


@dataclass(frozen=True)
class Sealed:
    """A payload and its digest, as a notebook or a file holds them."""

    payload: str
    sha256: str

    def to_dict(self) -> dict[str, str]:
        """Return the three strings that are embedded."""
        return {"format": FORMAT, "payload": self.payload, "sha256": self.sha256}

    @classmethod
    def from_dict(cls, tree: Any) -> Sealed:
        """Read the three strings.

        Raises:
            MalformedRecordError: when they are not what ``to_dict`` gives.
        """
        if not isinstance(tree, Mapping) or tree.get("format") != FORMAT:
            raise MalformedRecordError(
                f"expected a sealed record of format {FORMAT!r}, got {str(tree)[:80]!r}"
            )
        payload, sha256 = tree.get("payload"), tree.get("sha256")
        if not isinstance(payload, str) or not isinstance(sha256, str):
            raise MalformedRecordError("payload and sha256 of a sealed record are text")
        return cls(payload, sha256)

    def open(self) -> AuditRecord:
        """Return the record, its digest checked.

        Raises:
            DigestError: when the payload is not what was sealed.
            MalformedRecordError: when the payload does not follow the schema.
        """
        # The digest is of the text and not of the parsed values: two texts can parse to
        # the same values in one reader and to different ones in another.
        if (found := text_sha256(self.payload)) != self.sha256:
            raise DigestError(
                f"the record was changed after it was sealed: sha256 {found[:12]}… "
                f"of the text, {self.sha256[:12]!r}… in the seal"
            )
        return AuditRecord.from_json(self.payload)


def seal(record: AuditRecord) -> Sealed:
    """Seal a record."""
    payload = record.to_json()
    return Sealed(payload, text_sha256(payload))


def text_sha256(text: str) -> str:
    """Return the sha256 of a text's UTF-8 bytes, in lower-case hex."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

"""Every error that flops_magic raises on purpose, in one tree.

::

    FlopsMagicError
    ├── InputError                    what the user gave cannot be used
    │   ├── QuantityError             unreadable numbers, and numbers out of range
    │   ├── UnknownModelError         a base model that the registry does not know
    │   ├── UnknownAcceleratorError   an accelerator without a row in the table
    │   ├── UnknownOriginalError      nothing says what the original model cost
    │   └── MissingPackageError       an optional package that this call needs
    ├── CountingError                 a model whose operations cannot be counted
    │   ├── UnsupportedModelError     it cannot be built, or walked, dry
    │   └── ShapeFitError             its cost does not follow the polynomial
    ├── EvidenceError                 a record could not be written
    └── VerificationError             evidence that does not hold
        ├── NoRecordError             the file carries no record
        ├── UnreadableFileError       the file is truncated or not JSON
        ├── MalformedRecordError      the record breaks its schema
        ├── DigestError               the text is not the text that was sealed
        ├── TotalsError               the totals do not follow from histogram × profile
        ├── DecisionError             the verdict does not follow from its inputs
        └── MisplacedRecordError      the record belongs to another cell or notebook

IPython prints the errors of this tree as one line, without a traceback, and the
cell still fails.
"""

from __future__ import annotations

__all__ = [
    "CountingError",
    "DecisionError",
    "DigestError",
    "EvidenceError",
    "FlopsMagicError",
    "InputError",
    "MalformedRecordError",
    "MisplacedRecordError",
    "MissingPackageError",
    "NoRecordError",
    "QuantityError",
    "ShapeFitError",
    "TotalsError",
    "UnknownAcceleratorError",
    "UnknownModelError",
    "UnknownOriginalError",
    "UnreadableFileError",
    "UnsupportedModelError",
    "VerificationError",
]


class FlopsMagicError(Exception):
    """The root: says what was got, what would do, and what to do next."""

    def _render_traceback_(self) -> list[str]:
        """Return the one line that IPython shows in place of a traceback."""
        # A hook of IPython, private by its name and documented; tried with 9.18 and
        # 8.37. Without it a notebook shows a whole traceback; the message stays.
        return [f"{type(self).__name__}: {self}"]


class InputError(FlopsMagicError, ValueError):
    """What the user gave cannot be used as it is."""


class QuantityError(InputError):
    """A text that cannot be read as a number, or a number out of its range."""


class UnknownModelError(InputError):
    """A base model that the registry does not know; near names are offered."""


class UnknownAcceleratorError(InputError):
    """An accelerator without a row in the table; near names are offered."""


class UnknownOriginalError(InputError):
    """Nothing says what the original model's training cost."""


class MissingPackageError(InputError, ImportError):
    """An optional package is needed; the message names the extra to install."""


class CountingError(FlopsMagicError):
    """The operations of a model cannot be counted."""


class UnsupportedModelError(CountingError):
    """The model cannot be built or walked dry."""


class ShapeFitError(CountingError):
    """The model's cost does not follow the polynomial of the batch's shape."""


class EvidenceError(FlopsMagicError):
    """A record could not be written where it was to go."""


class VerificationError(FlopsMagicError):
    """Evidence that does not hold; one subclass for each way to fail."""


class NoRecordError(VerificationError):
    """The file carries no record of flops_magic."""


class UnreadableFileError(VerificationError):
    """The file is missing, truncated, or not JSON."""


class MalformedRecordError(VerificationError):
    """The record breaks its schema."""


class DigestError(VerificationError):
    """The text is not the text that was sealed."""


class TotalsError(VerificationError):
    """The totals do not follow from histogram × profile."""


class DecisionError(VerificationError):
    """The verdict does not follow from its recorded inputs."""


class MisplacedRecordError(VerificationError):
    """The record belongs to another cell or another notebook."""

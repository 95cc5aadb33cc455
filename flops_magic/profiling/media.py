"""What a training sequence carries besides text: images and sound."""

from __future__ import annotations

from dataclasses import dataclass

from flops_magic.errors import InputError

WINDOW_S = 30  # what Whisper's encoder, which speech models build on, hears at once


@dataclass(frozen=True)
class Media:
    """What a sequence carries besides its text.

    Attributes:
        images: images a sequence, as the tower sees them: where a processor cuts an
            image into tiles, each tile is one.
        image_size: (height, width) in pixels; None for the tower's own.
        audio_windows: windows of ``WINDOW_S`` seconds of sound a sequence.
    """

    images: int = 0
    image_size: tuple[int, int] | None = None
    audio_windows: int = 0

    def __bool__(self) -> bool:
        """Whether a sequence carries images or sound."""
        return bool(self.images or self.audio_windows)

    @property
    def note(self) -> str:
        """What a sequence carries, in a sentence."""
        parts = []
        if self.images:
            size = self.image_size
            pixels = f"{size[0]}×{size[1]} pixels" if size else "its tower's own size"
            parts.append(f"{self.images} image(s) of {pixels}")
        if self.audio_windows:
            parts.append(f"{self.audio_windows} window(s) of {WINDOW_S} s of sound")
        return (
            f"Each sequence carries {' and '.join(parts)}; the positions that they "
            "take in the text are part of its length."
        )


def parse_media(
    images: int | None, image_size: str | None, audio_s: float | None
) -> Media:
    """Return a sequence's images and sound, read from a user's options.

    Args:
        images: images a sequence; None or 0 for none.
        image_size: ``HEIGHTxWIDTH`` in pixels, or one number for a square.
        audio_s: seconds of sound a sequence; None or 0 for none.

    Raises:
        InputError: for what cannot be read.
    """
    count, seconds = images or 0, audio_s or 0
    if count < 0 or seconds < 0:
        raise InputError(
            "images and audio_s are what a sequence carries; pass 0 or more"
        )
    size = None
    if image_size is not None:
        # People write 896x896, 896X896 and 896×896; a single number means a square.
        sides = str(image_size).lower().replace("×", "x").split("x")
        if len(sides) > 2 or not all(s.isdigit() and int(s) for s in sides):
            raise InputError(
                f"cannot read image_size={image_size!r} as a size in pixels; write "
                "HEIGHTxWIDTH, such as 896x896"
            )
        if not count:
            raise InputError("image_size goes with images; pass --images 1 too")
        size = int(sides[0]), int(sides[-1])
    # Rounded up: the encoder pads the last window with silence and computes all of it.
    return Media(count, size, int(-(-seconds // WINDOW_S)))

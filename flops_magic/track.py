"""``python -m flops_magic.track SCRIPT``: how torchrun and accelerate launch start it."""

from __future__ import annotations

import sys

from flops_magic.cli import main

if __name__ == "__main__":
    sys.exit(main(["track", *sys.argv[1:]]))

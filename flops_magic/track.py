"""``python -m flops_magic.track SCRIPT``: for torchrun and accelerate launch."""

from __future__ import annotations

import sys

from flops_magic.cli import main

if __name__ == "__main__":
    sys.exit(main(["track", *sys.argv[1:]]))

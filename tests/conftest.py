"""What every test process needs before torch is imported."""

import os

# pytest-xdist runs one worker a core: torch's own threads would fight over the same cores
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

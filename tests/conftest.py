"""What every test process needs before torch is imported."""

import os

# pytest-xdist runs a worker a core, and torch's own threads would fight over them
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

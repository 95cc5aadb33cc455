"""Python runs this file at its start, in every process that a tracked run starts.

The folder of this file is on the ``PYTHONPATH`` of a tracked run. An interpreter knows
one ``sitecustomize`` only, so this one runs the user's own first. Whatever Python the
user starts reads it: it keeps to syntax that old versions know.
"""

import os
import sys
from importlib.machinery import PathFinder, SourceFileLoader

_HERE = os.path.dirname(os.path.abspath(__file__))


def _run_the_users_own():
    # type: () -> None
    """Run the ``sitecustomize`` that Python would have run without this one."""
    sys.path[:] = [path for path in sys.path if os.path.abspath(path) != _HERE]
    spec = PathFinder.find_spec("sitecustomize", sys.path)
    if spec is not None and spec.loader is not None:
        module = type(sys)("sitecustomize")
        module.__spec__, module.__file__ = spec, spec.origin
        sys.modules["sitecustomize"] = module
        spec.loader.exec_module(module)


def _report():
    # type: () -> None
    """Report to the run, if there is one; an old Python cannot, and stays unseen."""
    if os.environ.get("FLOPS_MAGIC_RUN"):
        path = os.path.join(os.path.dirname(_HERE), "process.py")
        module = type(sys)("flops_magic_process")
        module.__file__ = path
        SourceFileLoader("flops_magic_process", path).exec_module(module)
        module.begin()


try:
    _run_the_users_own()
finally:
    try:
        _report()
    except (ImportError, SyntaxError, AttributeError, OSError, ValueError):
        pass  # nothing is reported, so the parent finds CPU time without a share

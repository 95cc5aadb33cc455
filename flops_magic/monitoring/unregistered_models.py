"""Models outside of every Trainer: a reward function's, a copy, a judge.

Every transformers model that exists when training begins, or that is made while it
runs, carries a hook that introduces the model at its first call. Its passes are shown
under ``other``. Nothing keeps a model alive that is never called.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import torch
import transformers

# Private module of torch, tried with 2.13. Without it, models that are walked dry would
# be introduced as models that run.
from torch._subclasses.fake_tensor import FakeTensor

from flops_magic.monitoring.pass_hooks import NoHooks
from flops_magic.monitoring.torch_compile import inlined_only

Introduce = Callable[[Any, Any, Any], None]


class UnregisteredModels:
    """The hooks that introduce a model at its first call."""

    def __init__(self, introduce: Introduce) -> None:
        """Wait for the first call of a model.

        Args:
            introduce: called before a call of any transformers model with the module,
                its arguments and keyword arguments; knows which are known already.
        """
        self._introduce = introduce
        self._handles: list[Any] = []

    def look(self) -> None:
        """Find the models that exist now."""
        for found in gc.get_objects():
            # type(): asking an object for its class may run code of its own
            if issubclass(type(found), transformers.PreTrainedModel):
                self.expect(found)

    def expect(self, model: Any) -> None:
        """Hook one model, once."""
        # torch 2.13 keeps a module's hooks here. Without it a model is hooked again at
        # each look, which costs a call and counts nothing twice.
        hooks = model.__dict__.get("_forward_pre_hooks", {})
        if any(hook is self for hook in hooks.values()):
            return
        self._handles.append(
            model.register_forward_pre_hook(self, with_kwargs=True, prepend=True)
        )

    @inlined_only
    def __call__(self, module: Any, args: Any, kwargs: Any) -> None:
        """A model is called; inside a compiled graph nothing of this remains."""
        if not torch.compiler.is_compiling():
            self._meet(module, args, kwargs)

    @torch.compiler.disable
    def _meet(self, module: Any, args: Any, kwargs: Any) -> None:
        if not is_fake(module):
            self._introduce(module, args, kwargs)

    def __deepcopy__(self, memo: Any) -> UnregisteredModels:
        """A copied model is another model, which nobody named."""
        return self

    def __reduce__(self) -> Any:
        """A saved model forgets the hook."""
        return NoHooks, ()

    def close(self) -> None:
        """Take the hooks away again."""
        while self._handles:
            self._handles.pop().remove()


def is_fake(model: Any) -> bool:
    """Whether a model has no values, being walked dry."""
    first = next(model.parameters(), None)
    return first is not None and (first.is_meta or isinstance(first, FakeTensor))

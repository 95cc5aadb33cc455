"""Layers of a deep model that cost the same, so that walking three prices all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from flops_magic.errors import UnsupportedModelError

_FEWEST = 5  # below this, walking all layers is as quick


@dataclass(frozen=True)
class Repeat:
    """A group of alike layers of one ``ModuleList``.

    Attributes:
        owner: the module that holds the list.
        name: attribute of the list in its owner.
        members: positions of the alike layers in the list.
    """

    owner: Any
    name: str
    members: tuple[int, ...]

    @property
    def count(self) -> int:
        """How many layers are alike."""
        return len(self.members)


def find_repeats(model: Any, input_grads: bool) -> tuple[Repeat, ...]:
    """Return the groups of alike layers that are worth shortening.

    Two layers are alike when their classes, shapes, trainable flags and settings are,
    and when both or neither receive an input that requires a gradient: backward stops
    at the first trainable layer.
    """
    # Only backward knows a layer's place: it ends at the first trainable layer, so a
    # frozen layer below that point costs less than its twin above.
    repeats = []
    for owner, name, layers in _outer_lists(model):
        requires = input_grads or _trainable_before(model, layers)
        groups: dict[Any, list[int]] = {}
        for position, layer in enumerate(layers):
            groups.setdefault((requires, _signature(layer)), []).append(position)
            # From the first trainable layer on, every later input carries a gradient.
            requires = requires or any(p.requires_grad for p in layer.parameters())
        repeats += [
            Repeat(owner, name, tuple(members))
            for members in groups.values()
            if len(members) >= _FEWEST
        ]
    return tuple(repeats)


@contextmanager
def keep_layers(kept: Sequence[tuple[Repeat, int]]) -> Iterator[None]:
    """Shorten each repeat to its first layers for the time of the block.

    Lists of the owner's configuration with one entry a layer are shortened alike:
    models look up the kind of a layer by its place.
    """
    # One list may hold several groups (dense and mixture layers take turns), so what to
    # drop is gathered per list before any list is shortened.
    originals: dict[tuple[int, str], tuple[Any, str, Any]] = {}
    dropped: dict[tuple[int, str], set[int]] = {}
    for repeat, count in kept:
        key = (id(repeat.owner), repeat.name)
        originals[key] = (repeat.owner, repeat.name, getattr(repeat.owner, repeat.name))
        # beyond three, the last ones: they differ most from the first if any does
        last = repeat.count - max(0, count - 3)
        dropped.setdefault(key, set()).update(repeat.members[min(count, 3) : last])
    for key, (owner, name, layers) in originals.items():
        # A new list instead of deleting from the old: the old one is put back
        # untouched.
        short = [m for i, m in enumerate(layers) if i not in dropped[key]]
        setattr(owner, name, torch.nn.ModuleList(short))
    settings = []
    for key, (owner, _, layers) in originals.items():
        values = vars(owner.config) if hasattr(owner, "config") else {}
        for one, before in list(values.items()):
            # Such as ``layer_types`` of Gemma and Qwen. Without this, layer 40 of a
            # shortened model would be looked up among settings that name other kinds.
            if isinstance(before, (list, tuple)) and len(before) == len(layers):
                settings.append((values, one, before))
                values[one] = [v for i, v in enumerate(before) if i not in dropped[key]]
    try:
        yield
    finally:
        for owner, name, layers in originals.values():
            setattr(owner, name, layers)
        for values, one, before in settings:
            values[one] = before


def input_embeddings(model: Any) -> Any:
    """Return the module that a model's inputs meet first.

    Raises:
        UnsupportedModelError: when the model does not name it.
    """
    try:
        # transformers 4.57 and 5 raise NotImplementedError for models that name none.
        found = model.get_input_embeddings()
    except NotImplementedError:
        found = None
    if not isinstance(found, torch.nn.Module):
        raise UnsupportedModelError(
            f"{type(model).__name__} does not name its input embeddings, so the end of "
            "its backward pass cannot be found; count it live with "
            "`%%flops_track --model`"
        )
    return found


def _outer_lists(module: Any) -> Iterator[tuple[Any, str, Any]]:
    """Yield the module lists that are not inside another one."""
    for name, child in module.named_children():
        # Lists inside a layer (its experts, say) belong to that layer's signature.
        if isinstance(child, torch.nn.ModuleList):
            yield module, name, child
        else:
            yield from _outer_lists(child)


def _trainable_before(model: Any, layers: Any) -> bool:
    """Whether a parameter outside of the layers feeds them with a gradient.

    The input embeddings do; a trainable head or final norm comes after the layers.
    """
    inside = {id(p) for p in layers.parameters()}
    embeddings = input_embeddings(model)
    return any(p.requires_grad and id(p) not in inside for p in embeddings.parameters())


def _signature(layer: Any) -> tuple[Any, ...]:
    parameters = tuple(
        (name, tuple(p.shape), p.requires_grad) for name, p in layer.named_parameters()
    )
    settings = tuple(
        (name, type(module).__qualname__, key, value)
        for name, module in layer.named_modules()
        for key, value in sorted(vars(module).items())
        # Settings such as a sliding window change the cost at the same shapes.
        if isinstance(value, (bool, int, float, str)) and not _is_position(key)
    )
    return type(layer).__qualname__, parameters, settings


def _is_position(key: str) -> bool:
    # A layer's own number differs by design and costs nothing; cached keys use it.
    return key in ("layer_idx", "layer_id", "layer_number", "block_idx", "layer_index")

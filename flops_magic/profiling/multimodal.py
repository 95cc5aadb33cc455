"""What images and sound cost: towers and projectors, walked dry at a given size.

A vision-language or speech model turns each image, or each window of sound, into a few
positions of its text; those are part of the sequence's length. What the tower and the
projector cost besides does not depend on the text, so it is a cost a sequence. It is
found by calling the model's own ``get_image_features`` or ``get_audio_features`` with
fake weights and pixels; numbers that only say where a patch is are real, so that model
code can read them.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import torch

# Private modules of torch, tried with 2.13. FakeTensor tells fake from real values;
# ``_disable_current_modes`` lifts the modes around one call. If either goes, importing
# this module fails, and images and sound can only be counted live.
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

# Private too: opens the nested arguments of an operation.
from torch.utils._pytree import tree_leaves

from flops_magic.errors import InputError, UnsupportedModelError
from flops_magic.flops.profile import FlopsProfile
from flops_magic.profiling.apart import apart_from_the_caller
from flops_magic.profiling.fake_model import FakeModel
from flops_magic.profiling.media import Media
from flops_magic.profiling.model_builder import TEXT_ALONE, fake_model_of
from flops_magic.profiling.op_counter import OperationCounter
from flops_magic.profiling.profiler import profile_fake_model


def profile_with_media(
    model_or_config: Any, media: Media, **options: Any
) -> FlopsProfile:
    """Return ``profile_model`` with the cost of a sequence's images and sound in it.

    Args:
        model_or_config: see ``profile_model``.
        media: what each sequence carries.
        options: those of ``profile_model``.

    Raises:
        UnsupportedModelError: when the model has no such tower, or it cannot be walked.
        InputError: see ``profile_model``.
    """
    with apart_from_the_caller():
        plan = fake_model_of(model_or_config, **options)
        walks = []
        if media.images:
            walks.append((media.images, _image_inputs(plan, media.image_size)))
        if media.audio_windows:
            walks.append((media.audio_windows, _sound_inputs(plan)))
        costs: dict[str, int] = {}
        for count, (name, inputs) in walks:
            for kind, flops in _tower_costs(plan, name, inputs).items():
                costs[kind] = costs.get(kind, 0) + count * flops
        # A trainable tower makes the text's embeddings require a gradient.
        if costs["backward"]:
            plan.reach_inputs()  # the text's backward pass has to reach the tower
        profile = profile_fake_model(plan)
    notes = tuple(note for note in profile.notes if note != TEXT_ALONE)
    notes = (*notes, media.note)
    whole = {
        kind: replace(cost, per_sequence=cost.per_sequence + costs.get(kind, 0))
        for kind, cost in profile.costs.items()
    }
    bare = "forward_without_adapters"
    if bare in whole:  # adapters in a tower are few: counted with them, never too low
        own = profile.costs[bare]
        whole[bare] = replace(own, per_sequence=own.per_sequence + costs["forward"])
    return replace(profile, costs=whole, notes=notes)


class _RealPlaces(TorchDispatchMode):
    """Runs operations without a fake input for real: patch positions and their sums."""

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run one operation."""
        kwargs = kwargs or {}
        # Model code reads the grid of patches to size its loops (``.tolist()``), which
        # fake tensors refuse; the grid is small, so it is computed.
        if any(isinstance(leaf, FakeTensor) for leaf in tree_leaves((args, kwargs))):
            return func(*args, **kwargs)
        with _disable_current_modes():
            return func(*args, **kwargs)


def _tower_costs(
    plan: FakeModel, name: str, inputs: Mapping[str, Any]
) -> dict[str, int]:
    """Return FLOPs of one image or window: forward, backward, recompute."""
    forward, backward = _walk(plan, name, inputs, checkpointing=False)
    costs = {"forward": forward, "backward": backward}
    if plan.checkpointing is not None:
        _, again = _walk(plan, name, inputs, checkpointing=True)
        costs["recompute"] = again - backward
    return costs


def _walk(
    plan: FakeModel, name: str, inputs: Mapping[str, Any], *, checkpointing: bool
) -> tuple[int, int]:
    counter = OperationCounter()
    try:
        with ExitStack() as stack:
            stack.enter_context(plan.checkpointed_layers(checkpointing))
            stack.enter_context(plan.mode)
            fake = {key: _fake(value) for key, value in inputs.items()}
            stack.enter_context(_RealPlaces())
            stack.enter_context(counter)
            plan.model.train()
            features = getattr(plan.base, name)(**fake)
            forward = counter.flops
            # Sums cost no products, and reach every output: its backward is the tower's
            # own.
            sums = [t.sum() for t in _tensors(features) if t.requires_grad]
            if sums:
                torch.stack(sums).sum().backward()
    except Exception as error:
        reason = (str(error).strip().splitlines() or [""])[0][:200]
        raise UnsupportedModelError(
            f"the tower of {plan.model_class} cannot be walked dry ({name}): "
            f"{type(error).__name__}: {reason}; estimate the text alone, and track one "
            "step: images and sound are then counted by what runs"
        ) from error
    finally:
        plan.clear_gradients()
    if counter.unknown:
        raise UnsupportedModelError(
            f"the tower of {plan.model_class} has operations without a formula: "
            f"{', '.join(sorted(counter.unknown))}"
        )
    return forward, counter.flops - forward


def _fake(value: Any) -> Any:
    """Return fake zeros for a shape; a real tensor stays real."""
    return torch.zeros(value) if isinstance(value, tuple) else value


def _tensors(tree: Any) -> Iterator[torch.Tensor]:
    if isinstance(tree, torch.Tensor):
        yield tree
    elif isinstance(tree, Mapping):
        for value in tree.values():
            yield from _tensors(value)
    elif isinstance(tree, (list, tuple)):
        for value in tree:
            yield from _tensors(value)


def _image_inputs(
    plan: FakeModel, size: tuple[int, int] | None
) -> tuple[str, dict[str, Any]]:
    """Return the name of the function that makes image features, and its inputs.

    A tuple is the shape of a fake tensor: (1, C, H, W), or (patches, C·t·p·p) with grid
    of patches beside it, where a model takes images of any size.
    """
    accepted = _accepted(plan, "get_image_features", "--images 0")
    vision = _part(plan, "vision_config")
    channels = getattr(vision, "num_channels", None) or getattr(
        vision, "in_channels", 3
    )
    # Towers with a fixed size ignore what the image measures: processors rescale it.
    own = _pair(getattr(vision, "image_size", None))
    height, width = size or own or (0, 0)
    if not height:
        raise InputError(
            f"{plan.model_class} takes images of any size; pass image_size "
            "(--image-size 896x896)"
        )
    # Qwen-VL and its kin: the processor rounds to whole merged patches.
    if "image_grid_thw" in accepted:
        patch, merge = vision.patch_size, vision.spatial_merge_size
        rows, columns = (
            max(round(side / (patch * merge)), 1) * merge for side in (height, width)
        )
        pixels = channels * vision.temporal_patch_size * patch * patch
        return "get_image_features", {
            "pixel_values": (rows * columns, pixels),
            "image_grid_thw": torch.tensor([[1, rows, columns]]),
        }
    # Towers that take flat patches with a place each.
    if "image_position_ids" in accepted:
        patch = vision.patch_size
        places = torch.cartesian_prod(
            torch.arange(height // patch), torch.arange(width // patch)
        )
        return "get_image_features", {
            "pixel_values": (1, len(places), channels * patch * patch),
            "image_position_ids": places[None],
        }
    inputs: dict[str, Any] = {"pixel_values": (1, channels, height, width)}
    if "image_sizes" in accepted:
        inputs["image_sizes"] = torch.tensor([[height, width]])
    return "get_image_features", inputs


def _sound_inputs(plan: FakeModel) -> tuple[str, dict[str, Any]]:
    """Return which function makes a sound's features: (1, mel bins, frames)."""
    accepted = _accepted(plan, "get_audio_features", "--audio-s 0")
    audio = _part(plan, "audio_config")
    # Whisper's second convolution halves the frames, so its positions are half.
    frames = 2 * int(getattr(audio, "max_source_positions", 0) or 0)
    if not frames or not hasattr(audio, "num_mel_bins"):
        raise UnsupportedModelError(
            f"the configuration of {plan.model_class} does not say how much sound its "
            "tower hears at once; track one step instead"
        )
    inputs: dict[str, Any] = {"input_features": (1, audio.num_mel_bins, frames)}
    for name in ("feature_attention_mask", "input_features_mask"):
        if name in accepted:
            inputs[name] = torch.ones(1, frames, dtype=torch.long)
    return "get_audio_features", inputs


def _accepted(plan: FakeModel, name: str, instead: str) -> Mapping[str, Any]:
    function = getattr(plan.base, name, None)
    if function is None:
        raise UnsupportedModelError(
            f"{plan.model_class} has no {name}, so what it costs is not known before "
            f"it runs; estimate the text alone ({instead}), and track one step"
        )
    return inspect.signature(function).parameters


def _part(plan: FakeModel, name: str) -> Any:
    found = getattr(plan.base.config, name, None)
    if found is None:
        raise UnsupportedModelError(
            f"the configuration of {plan.model_class} has no {name}; pass one that "
            "has, or estimate the text alone"
        )
    return found


def _pair(size: Any) -> tuple[int, int] | None:
    if isinstance(size, int):
        return size, size
    if isinstance(size, (list, tuple)) and len(size) == 2:
        return int(size[0]), int(size[1])
    return None

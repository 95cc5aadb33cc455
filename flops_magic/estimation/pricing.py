"""The profile of a planned training by each method: counted, or by formula at last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from flops_magic.errors import (
    CountingError,
    InputError,
    MissingPackageError,
    UnknownModelError,
)
from flops_magic.estimation.formula_profile import FORMULAS, formula_profile
from flops_magic.estimation.model_config import ModelConfig, find_config
from flops_magic.flops.profile import FlopsProfile
from flops_magic.profiling.media import Media

COUNTED = "operation count"


@dataclass(frozen=True)
class PricedModel:
    """A profile and what it rests on.

    Attributes:
        profile: the cost of a pass.
        basis: ``COUNTED``, or one of ``FORMULAS``.
        notes: where the configuration comes from, or why there is none.
    """

    profile: FlopsProfile
    basis: str
    notes: tuple[str, ...] = ()

    @property
    def by_formula(self) -> bool:
        """Whether no operation was counted."""
        return self.basis != COUNTED


@dataclass
class Pricing:
    """Prices one model by one method after another.

    A name is resolved once: its configuration serves all methods, and so does the
    reason where there is none.

    Attributes:
        model: a model, a configuration, a folder or a Hub id.
        lora_rank: r of the adapters.
        lora_targets: names of the adapted modules, or ``all-linear``.
        trainable: for ``spectrum``, patterns of the parameters that train.
        gradient_checkpointing: whether activations are computed again.
        media: what each sequence carries beside text.
        target_len: positions of an encoder-decoder's target; None without one.
    """

    model: Any
    lora_rank: int
    lora_targets: str | Sequence[str]
    trainable: Sequence[str] | None
    gradient_checkpointing: bool
    media: Media
    target_len: int | None
    _found: ModelConfig | None = field(default=None, init=False)
    _missing: Exception | None = field(default=None, init=False)
    _lora: PricedModel | None = field(default=None, init=False)

    def price(self, method: str) -> PricedModel:
        """Return the profile of a method.

        Raises:
            InputError: naming what is missing, or what cannot be used.
            CountingError: when the model is neither counted nor in the registry.
        """
        if method == "qlora" and self._lora is not None:
            # packed weights have the same products: nothing is walked again
            return replace(
                self._lora, profile=replace(self._lora.profile, method=method)
            )
        try:
            source, notes = self._source()
            priced = PricedModel(self._count(source, method), COUNTED, notes)
        except ModuleNotFoundError as error:
            if not isinstance(self.model, str) or self.media:
                raise MissingPackageError(
                    f"counting a model's operations needs {error.name}; run pip "
                    "install 'flops-magic[train]'"
                ) from error
            why = f"{error.name} is not installed (pip install 'flops-magic[train]')"
            return self._by_formula(method, why, error)
        except _NoConfigError as error:
            # only a missing configuration leads to a formula; a typo in lora_targets,
            # which is an InputError too, has to reach the user
            return self._by_formula(method, str(error), error)
        except CountingError as error:
            if not isinstance(self.model, str) or self.media:
                raise
            return self._by_formula(method, str(error), error)
        # the adapters of a live model are its own: nothing of them may be reused
        own_adapters = hasattr(self.model, "peft_config")
        if priced.profile.method == method == "lora" and not own_adapters:
            self._lora = priced
        return priced

    def _source(self) -> tuple[Any, tuple[str, ...]]:
        """Return what is profiled, and notes; a name becomes a configuration once."""
        if not isinstance(self.model, str):
            return self.model, ()
        if self._missing is not None:
            raise self._missing
        if self._found is None:
            try:
                self._found = find_config(self.model)
            except InputError as error:
                self._missing = _NoConfigError(str(error))
                raise self._missing from error
            except ModuleNotFoundError as error:
                self._missing = error
                raise
        return self._found.config, self._found.notes

    def _count(self, source: Any, method: str) -> FlopsProfile:
        from flops_magic.profiling.profiler import profile_model

        options: dict[str, Any] = {
            "method": method,
            "lora_rank": self.lora_rank,
            "lora_targets": self.lora_targets,
            "trainable": self.trainable,
            "gradient_checkpointing": self.gradient_checkpointing,
        }
        if self.media:
            # imported late, as it loads torch
            from flops_magic.profiling.multimodal import profile_with_media

            return profile_with_media(source, self.media, **options)
        return profile_model(source, **options)

    def _by_formula(self, method: str, why: str, cause: Exception) -> PricedModel:
        """Return a profile by formula; without one, raise what was in the way first.

        Raises:
            InputError, CountingError: ``cause``, for that is what to mend.
        """
        missing = cause if isinstance(cause, CountingError) else InputError(why)
        # no formula knows what a tower costs
        if self.media:
            raise missing from cause
        try:
            profile = formula_profile(
                self.model,
                method,
                lora_rank=self.lora_rank,
                target_len=self.target_len,
                gradient_checkpointing=self.gradient_checkpointing,
            )
        except UnknownModelError as error:
            raise missing from error
        except InputError as error:
            raise InputError(f"{error}; {why}") from error
        return PricedModel(profile, FORMULAS[method], (why,))


class _NoConfigError(InputError):
    """A name that no configuration was found for."""

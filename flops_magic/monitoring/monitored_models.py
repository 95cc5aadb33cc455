"""What a meter shows of the models that it watches: FLOPs, tokens, names."""

from __future__ import annotations

from flops_magic.evidence.record import ModelUse
from flops_magic.flops.histogram import FlopTotals, histogram_flops
from flops_magic.flops.profile import parameters_without_adapters
from flops_magic.monitoring.distributed import of_the_others, world_size
from flops_magic.monitoring.model_monitor import Watched
from flops_magic.monitoring.provenance import model_id


class Readings:
    """The models under observation, and what is read off them."""

    def __init__(self) -> None:
        self._watched: dict[int, Watched] = {}

    def models(self) -> tuple[ModelUse, ...]:
        """Return what ran, model by model; the trained ones first."""
        uses = []
        for watched in self._watched.values():
            rows = watched.rows()
            if not rows and not watched.trains:
                continue
            uses.append(watched.use())
        return tuple(sorted(uses, key=lambda use: use.role != "trained"))

    def flops(self) -> FlopTotals:
        """Return the FLOPs so far; nothing is read from the device."""
        counted = (
            histogram_flops(w.rows(), profile)
            for w in list(self._watched.values())
            if (profile := w.profile) is not None
        )
        return sum(counted, FlopTotals())

    def flops_everywhere(self) -> FlopTotals:
        """Return the FLOPs so far of all processes; each of them calls this."""
        if world_size() == 1:
            return self.flops()
        mine = sum(
            (
                histogram_flops(w.observer.tally.rows(), profile)
                for w in self._watched.values()
                if (profile := w.profile) is not None
            ),
            FlopTotals(),
        )
        return sum(of_the_others(mine), mine)

    def tokens(self) -> int:
        """Return the positions processed in training so far, padding included."""
        watched = list(self._watched.values())
        return sum(w.observer.tally.total("train").tokens for w in watched)

    def uncounted(self) -> list[str]:
        """Return the names of the models that ran and cannot be counted."""
        return [
            type(watched.base).__name__
            for watched in list(self._watched.values())
            if watched.uncounted and (watched.trains or watched.observer.tally.rows())
        ]

    def trained_model_id(self) -> str | None:
        """Return the id of the first model that a Trainer holds."""
        trained = [w for w in self._watched.values() if w.observer.role == "trained"]
        started = [w for w in trained if w.trains] or trained
        return model_id(started[0].base) if started else None

    def trained_parameters(self) -> int | None:
        """Return P of the first model that trains, adapters left out; None if unknown.

        What it is before training: the size that 6·P·D of the original asks for.
        """
        for watched in list(self._watched.values()):
            if watched.trains and (profile := watched.profile) is not None:
                return parameters_without_adapters(profile)
        return None

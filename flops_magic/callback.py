"""``FlopsMeterCallback``: the meter in a script, without a notebook or a block."""

from __future__ import annotations

import atexit
import sys
from pathlib import Path
from typing import Any, Unpack

from transformers import TrainerCallback

from flops_magic.ai_act.original_model import OriginalModel
from flops_magic.ai_act.original_options import OriginalOptions
from flops_magic.display.text import TextDisplay
from flops_magic.gaps import guard
from flops_magic.monitoring.trainer_patches import stop_if_asked
from flops_magic.tracking.run import TrackedRun
from flops_magic.tracking.stop_rule import parse_share


class FlopsMeterCallback(TrainerCallback):
    """Measures one Trainer and writes ``flops_meter.json`` when training ends.

    ::

        trainer = Trainer(..., callbacks=[FlopsMeterCallback("Qwen/Qwen3-8B")])
        trainer.train()

    A run that dies leaves its journal under ``.flops_magic/``; one that raises leaves
    its record when the process ends. ``.run.record`` holds the last record.

    Args:
        base_model: id of the original model; the trained model's own name otherwise.
        output_dir: where ``flops_meter.json`` goes; the Trainer's own by default.
        quiet: True to print nothing.
        stop_at: share of the line, such as 0.9, before which training is stopped, a
            checkpoint saved.
        original: what else is known of the original model, such as ``original_flops``;
            ``flops_magic.ai_act.original_options.OriginalOptions`` has them all.

    Raises:
        UnknownModelError: when ``base_model`` is not in the registry.
    """

    def __init__(
        self,
        base_model: str | None = None,
        /,
        *,
        output_dir: str | Path | None = None,
        quiet: bool = False,
        stop_at: float | str | None = None,
        **original: Unpack[OriginalOptions],
    ) -> None:
        if base_model is not None:
            original["base_model"] = base_model
        self._original = OriginalModel.of(**original)
        self._output_dir = output_dir
        self._quiet = quiet
        self._stop_at = None if stop_at is None else parse_share(stop_at)
        self.run: TrackedRun | None = self._new_run(output_dir)

    def _new_run(self, folder: str | Path | None) -> TrackedRun:
        return TrackedRun(
            self._original,
            None if folder is None else Path(folder),
            stop_at=self._stop_at,
        )

    def on_train_begin(
        self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any
    ) -> None:
        """Begin a run; each ``train()`` is one."""
        self.run = run = self._new_run(self._output_dir or args.output_dir)
        if not self._quiet and args.process_index == 0:
            run.display = TextDisplay(sys.stderr)
        run.start()
        with guard(run.meter.gap, "the beginning of training"):
            run.meter.watch_model(model, role="trained")
            run.meter.enter_training(args, state, model, kwargs)
        # ``on_train_end`` is not called where ``train()`` raises, and transformers has
        # no event for that; the record is then written when the process ends.
        atexit.register(run.finish, "failed")
        run.meter.on_training()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Count an optimizer step."""
        if self.run is not None and self.run.record is None:
            self.run.meter.step_ended()
            stop_if_asked(self.run.meter, control)

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Read the device: the Trainer has just waited for its loss."""
        if self.run is not None and self.run.record is None:
            with guard(self.run.meter.gap, "what was summed on the device"):
                self.run.meter.read_device()

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Seal the run."""
        run = self.run
        if run is None or run.record is not None:
            return
        with guard(run.meter.gap, "the other processes"):
            run.meter.gather()
        # Before the planned end without the meter's word: another callback, or a user.
        early = state.max_steps and state.global_step < state.max_steps
        interrupted = early and not run.meter.stop_now
        run.finish("interrupted" if interrupted else "completed")
        atexit.unregister(run.finish)

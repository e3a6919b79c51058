"""Runs any scenario: clock, progress, cancelling, checkpoints, the check for not-finite fields."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from scenarios.contract import Model, Scenario, World, not_finite
from twin.errors import BadInput
from twin.model import Batch

CHECKPOINT_SECONDS = 20.0
CHECK_SECONDS = 2.0


def drive(scenario: Scenario, params: Any, world: World, progress: Callable[[float, str], None], checkpoint: Path) -> dict[str, list[Batch]]:
    """Run to the end and return the outputs by name; goes on from `checkpoint` if that file is there.

    The facts of the run are left in `world.report.facts`.

    Raises:
        BadInput: a field stopped being finite (named with its cell and time); the last good checkpoint is kept.
        Cancelled: from `progress`.
    """
    if checkpoint.exists():
        with np.load(checkpoint, allow_pickle=False) as saved:
            model = scenario.resume(params, world, {name: saved[name] for name in saved.files})
        world.report.facts["resumed_at_s"] = model.time
    else:
        model = scenario.start(params, world)
    checked = saved_at = time.monotonic()
    while model.time < model.end:
        model.step()
        now = time.monotonic()
        if now - checked > CHECK_SECONDS or model.time >= model.end:
            checked = now
            _require_finite(model)
            if now - saved_at > CHECKPOINT_SECONDS and model.time < model.end:
                saved_at = now
                _save(model, checkpoint)
        progress(model.time / model.end if model.end else 1.0, f"t = {model.time:.0f} s / {model.end:.0f} s")
    world.report.facts.update(model.facts())
    outputs = model.frame()
    declared = {output.name for output in scenario.OUTPUTS}
    if set(outputs) != declared:
        raise BadInput(f"The scenario wrote {sorted(outputs)}, but declares {sorted(declared)}.")
    return outputs


def _require_finite(model: Model) -> None:
    bad = not_finite(model.fields())
    if bad:
        raise BadInput(f"The model broke down: {bad} is not finite at t = {model.time:.3f} s.", "Reduce the time step or check the inputs there.")


def _save(model: Model, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_suffix(f".{os.getpid()}.tmp")
    with scratch.open("wb") as file:
        np.savez(file, **model.checkpoint())  # type: ignore[arg-type]
        file.flush()
        os.fsync(file.fileno())
    os.replace(scratch, path)

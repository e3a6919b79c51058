"""Runs any scenario: clock, progress, cancelling, checkpoints, the check for not-finite fields."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scenarios.contract import Model, Scenario, World, not_finite
from twin import scratch
from twin.errors import BadInput, Cancelled
from twin.model import Batch

CHECKPOINT_SECONDS = 20.0
CHECK_SECONDS = 2.0
LAST_GOOD = "last-good.npz"


def drive(scenario: Scenario, params: Any, world: World, progress: Callable[[float, str], None], checkpoint: Path,
          keep: Callable[[Mapping[str, Sequence[Batch]]], None] | None = None) -> Mapping[str, Sequence[Batch]]:  # fmt: skip
    """Run to the end and return the outputs by name; goes on from `checkpoint` if that file is there.

    The facts of the run are left in `world.report.facts`. A run that is cancelled or breaks down leaves its last good state beside the
    checkpoint (`LAST_GOOD`) and hands its outputs so far, marked as partial in the report, to `keep`.

    Raises:
        BadInput: the model broke down, or a field stopped being finite (named with its cell and time).
        Cancelled: from `progress`.
    """
    world.scratch = world.scratch or checkpoint.parent
    if checkpoint.exists():
        with np.load(checkpoint, allow_pickle=False) as saved:
            model = scenario.resume(params, world, {name: saved[name] for name in saved.files})
        world.report.facts["resumed_at_s"] = model.time
    else:
        model = scenario.start(params, world)
    try:
        _march(model, progress, checkpoint)
        world.report.facts.update(model.facts())
        outputs = model.frame()
        world.page = _page(model, outputs)
    except (BadInput, Cancelled) as error:
        _leave(model, world, error, checkpoint, keep)
        raise
    finally:
        getattr(model, "close", lambda: None)()
    declared = {output.name for output in scenario.OUTPUTS}
    if not set(outputs) <= declared:  # a run may be told to leave some out
        raise BadInput(f"The scenario wrote {sorted(outputs)}, but declares {sorted(declared)}.")
    return outputs


def _march(model: Model, progress: Callable[[float, str], None], checkpoint: Path) -> None:
    """Step to the end; looks for not-finite fields and saves from time to time."""
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


def _leave(model: Model, world: World, error: Exception, checkpoint: Path, keep: Callable[[Mapping[str, Sequence[Batch]]], None] | None) -> None:
    """What an unfinished run leaves: its last good state, and its outputs so far, marked."""
    if not 0 < model.time < model.end or not_finite(model.fields()):
        return
    _save(model, checkpoint.with_name(LAST_GOOD))
    why = "cancelled" if isinstance(error, Cancelled) else "broken down"
    world.report.facts["partial"] = {"until_s": float(model.time), "of_s": float(model.end), "why": why}
    world.report.note("warned", "run", f"partial result: {why} at t = {model.time:.0f} s of {model.end:.0f} s")
    if keep is not None:
        world.report.facts.update(model.facts())
        outputs = model.frame()
        world.page = _page(model, outputs)
        keep(outputs)


def _page(model: Model, outputs: Mapping[str, Sequence[Batch]]) -> str:
    """The report for people, of a model that writes one."""
    text: str = getattr(model, "page", lambda outputs: "")(outputs)
    return text


def _require_finite(model: Model) -> None:
    bad = not_finite(model.fields())
    if bad:
        raise BadInput(f"The model broke down: {bad} is not finite at t = {model.time:.3f} s.", "Reduce the time step or check the inputs there.")


def _save(model: Model, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(f".{os.getpid()}.tmp")
    with fresh.open("wb") as file:
        np.savez(file, **model.checkpoint())  # type: ignore[arg-type]
    scratch.publish(fresh, path)

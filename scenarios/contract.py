"""What a scenario is.

A scenario is one module with

* ``TITLE``: {"zh", "en"}, ``DESCRIPTION``: {"zh", "en"};
* ``Params``: a pydantic model (unknown names refused); fields that name an input layer are annotated with `layer_field`;
* ``OUTPUTS``: the layers it writes;
* ``start(params, world) -> Model``: read the layers, build the model at its first moment;
* ``resume(params, world, saved) -> Model``: the same from the arrays of `Model.checkpoint`.

From ``Params`` come the command's flags, the process description and the viewer's form; nothing is written twice.
The driver owns the clock, progress, cancelling, checkpoints and the check for not-finite fields; the model knows the physics.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from twin import parts
from twin.errors import BadOption
from twin.ground import Ground
from twin.lake import Lake
from twin.model import Batch, Features, Group, LayerKind, LayerVersion, Report


class Params(BaseModel):
    """Base of all scenario parameters: unknown names are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


Said = tuple[str, str]
"""For people: Chinese, English."""


def param(default: Any, zh: str, en: str, *, group: Said | None = None, when: Mapping[str, Any] | None = None, choices: Mapping[str, Said] | None = None,
          extra: Mapping[str, Any] | None = None, **limits: Any) -> Any:  # fmt: skip
    """A parameter as forms and the process description show it; what is said beyond its type are `x-` members of its JSON Schema.

    Args:
        default: `...` where it must be given.
        zh: its title in Chinese (`x-title-zh`).
        en: its title.
        group: with this one a group of the form begins (`x-group`), up to the next that begins one.
        when: other parameters by which it counts (`x-when`): a list of values, or True for any value that is not empty. Forms leave it out else.
        choices: what the values of a `Literal` are called (`x-choices`).
        extra: more `x-` members.
        limits: of pydantic (`ge`, `le`, …).
    """
    said: dict[str, Any] = {"x-title-zh": zh, **(extra or {})}
    if group:
        said["x-group"] = {"zh": group[0], "en": group[1]}
    if when:
        said["x-when"] = dict(when)
    if choices:
        said["x-choices"] = {value: {"zh": name[0], "en": name[1]} for value, name in choices.items()}
    return Field(default, title=en, json_schema_extra=said, **limits)


def layer_field(*kinds: LayerKind, zh: str, en: str, default: Any = ..., **said: Any) -> Any:
    """A parameter that names a published layer of one of these kinds; empty where it may be left out. `said` as for `param`."""
    return param(default, zh, en, extra={"x-layer-kinds": list(kinds)}, **said)


@dataclass(frozen=True, slots=True)
class Output:
    """A layer that a scenario writes.

    Attributes:
        name: its suffix: the layer is called `<run name>-<name>`.
        kind: what kind of layer.
        title: for people, {"zh", "en"}.
        unit: SI unit of its main value.
        group: CIM group.
    """

    name: str
    kind: LayerKind
    title: dict[str, str]
    unit: str = ""
    group: Group = "公共专题"


@dataclass
class World:
    """The layers a run may read, each frozen at the version published when the run began.

    Attributes:
        lake: where their parts lie.
        versions: by layer name.
        report: what the run has to say (assumed, skipped, warned); kept with every output.
        scratch: folder that outlives a killed run, for what grows with time; None: there is none (a folder of the model's own).
        page: the run's report for people, one self-contained HTML file ("" where the model has no `page(outputs) -> str`).
    """

    lake: Lake
    versions: Mapping[str, LayerVersion]
    report: Report = field(default_factory=Report)
    scratch: Path | None = None
    page: str = ""

    def version(self, layer: str) -> LayerVersion:
        """A layer by name.

        Raises:
            BadOption: it is not among the run's inputs.
        """
        if layer not in self.versions:
            raise BadOption(f"Layer {layer!r} is not an input of this run.", f"Inputs: {', '.join(self.versions) or 'none'}.")
        return self.versions[layer]

    def features(self, layer: str) -> Iterable[Features]:
        """The features of a layer, in chunks of spatially close rows."""
        return parts.read_features(self.lake, self.version(layer))

    def ground(self, layer: str) -> Ground:
        """A terrain layer as a sampler."""
        return Ground.of(self.lake, self.version(layer))


class Model(Protocol):
    """A running model. `time` and `end` in seconds of model time; `time == end` when it is done."""

    time: float
    end: float

    def step(self) -> None:
        """Advance by one step of the model's own choosing (a fraction of a second of computing, so that a run can be cancelled)."""

    def frame(self) -> Mapping[str, Sequence[Batch]]:
        """The outputs as they stand at `time`, by output name."""

    def fields(self) -> dict[str, NDArray[Any]]:
        """The arrays that must stay finite."""

    def checkpoint(self) -> dict[str, NDArray[Any]]:
        """All arrays needed to go on from here; scalars as 0-d arrays."""

    def facts(self) -> dict[str, Any]:
        """What the run found, for the report (balances, counts)."""


class Scenario(Protocol):
    """A scenario's module."""

    TITLE: dict[str, str]
    DESCRIPTION: dict[str, str]
    Params: type[Params]
    OUTPUTS: tuple[Output, ...]
    start: Callable[[Any, World], Model]
    resume: Callable[[Any, World, dict[str, NDArray[Any]]], Model]


def layer_params(model: type[BaseModel]) -> dict[str, list[LayerKind]]:
    """Which parameters name layers, and the kinds each may be."""
    found: dict[str, list[LayerKind]] = {}
    for name, info in model.model_fields.items():
        extra = info.json_schema_extra
        if isinstance(extra, dict) and "x-layer-kinds" in extra:
            found[name] = list(extra["x-layer-kinds"])  # type: ignore[arg-type]
    return found


def not_finite(fields: dict[str, NDArray[Any]]) -> str:
    """Name and index of the first value that is not finite, or ""."""
    for name, values in fields.items():
        if np.issubdtype(values.dtype, np.floating) and not np.isfinite(values).all():
            return f"{name}{list(map(int, np.argwhere(~np.isfinite(values))[0]))}"
    return ""

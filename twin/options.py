"""What a reader, tiler or scenario can be told: a model each, from which validation, flags, forms and the OpenAPI schema come."""

from __future__ import annotations

import os
from typing import Any, TypeVar

# plugins of pydantic are looked for in the metadata of every installed package, for 10 ms of every command; nothing here has any
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from twin.errors import BadOption


class Options(BaseModel):
    """Base of all option models: unknown names are errors, numbers are finite, and names and titles come from the fields."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ReaderOptions(Options):
    """What every reader understands."""

    crs: str | None = Field(None, min_length=1, description="Horizontal CRS, e.g. EPSG:4547, or compound EPSG:4547+5737; overrides the file's.")
    vertical: str | None = Field(None, description="Vertical datum: EPSG:5737 (1985), EGM96, ellipsoid, 'above ground'.")
    vertical_offset: float = Field(0.0, ge=-12_000, le=12_000, description="Metres from the geoid model's zero up to the datum's zero.")


M = TypeVar("M", bound=BaseModel)

SHOWN = 80
"""Characters of a value that does not fit, in the message about it."""


def parse_options(model: type[M], values: dict[str, Any], where: str) -> M:
    """Values from the command line or a request → the option model.

    Raises:
        BadOption: an unknown name or a value that does not fit, each named.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems = error.errors(include_url=False)
        raise BadOption(f"{where}: {'; '.join(map(_told, problems))}.", _remedy(model, problems)) from error


def _told(problem: Any) -> str:
    """What is wrong with an option: its name, what was given, what is allowed."""
    name = ".".join(str(part) for part in problem["loc"]) or "options"
    if problem["type"] == "extra_forbidden":
        return f"{name}: unknown option"
    if problem["type"] == "missing":
        return f"{name}: is not given, and has no default"
    given = problem["input"] if isinstance(problem["input"], str) else repr(problem["input"])
    said = problem["msg"].removeprefix("Value error, ").partition(", unable to")[0].replace("Input should be", "it should be").replace("String should", "it should")
    return f"{name} cannot be {given if len(given) <= SHOWN else given[:SHOWN] + '…'!r}: {said}" if problem["loc"] else said


def _remedy(model: type[BaseModel], problems: list[Any]) -> str:
    """What the options mean whose values do not fit; all their names where one of them is unknown."""
    means = {name: info.description or info.title for name, info in model.model_fields.items()}
    names = dict.fromkeys(str(problem["loc"][0]) if problem["loc"] else "" for problem in problems)
    if not all(map(means.get, names)):
        return f"Options: {', '.join(means)}."
    return " ".join(f"{name}: {str(means[name]).rstrip('.')}." for name in names)


def takes(model: type[BaseModel], name: str, value: Any) -> bool:
    """Whether an option of that name exists and accepts the value."""
    if name not in model.model_fields:
        return False
    try:
        model.model_validate({name: value})
    except ValidationError as error:
        return all(problem["loc"][:1] != (name,) for problem in error.errors())
    return True

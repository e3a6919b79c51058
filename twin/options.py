"""What a reader, tiler or scenario can be told: a model each, from which validation, flags, forms and the OpenAPI schema come."""

from __future__ import annotations

import os
from typing import Any, TypeVar

# plugins of pydantic are looked for in the metadata of every installed package, for 10 ms of every command; nothing here has any
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from twin.errors import BadOption


class Options(BaseModel):
    """Base of all option models: unknown names are errors, and names and titles come from the fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ReaderOptions(Options):
    """What every reader understands."""

    crs: str | None = Field(None, description="Horizontal CRS, e.g. EPSG:4547, or compound EPSG:4547+5737; overrides the file's.")
    vertical: str | None = Field(None, description="Vertical datum: EPSG:5737 (1985), EGM96, ellipsoid, 'above ground'.")
    vertical_offset: float = Field(0.0, description="Metres from the geoid model's zero up to the datum's zero.")


M = TypeVar("M", bound=BaseModel)


def parse_options(model: type[M], values: dict[str, Any], where: str) -> M:
    """Values from the command line or a request → the option model.

    Raises:
        BadOption: an unknown name or a value that does not fit, each named.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems = []
        for problem in error.errors():
            name = ".".join(str(part) for part in problem["loc"]) or "options"
            problems.append(f"{name}: {'unknown option' if problem['type'] == 'extra_forbidden' else problem['msg']}")
        known = ", ".join(model.model_fields)
        raise BadOption(f"{where}: {'; '.join(problems)}.", f"Options: {known}.") from error


def takes(model: type[BaseModel], name: str, value: Any) -> bool:
    """Whether an option of that name exists and accepts the value."""
    if name not in model.model_fields:
        return False
    try:
        model.model_validate({name: value})
    except ValidationError as error:
        return all(problem["loc"][:1] != (name,) for problem in error.errors())
    return True

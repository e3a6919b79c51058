"""The tables of the catalogue, as peewee models that belong to no database: a query is executed on the one that `twin.catalog` yields.

Rows leave them as plain tuples, in the order of the columns here.
"""

from __future__ import annotations

import json
from typing import Any

from peewee import AutoField, BooleanField, CompositeKey, FloatField, IntegerField, Model, TextField


class JsonField(TextField):
    """A value that is stored as JSON text."""

    field_type = "JSON"

    def db_value(self, value: Any) -> str | None:
        """As text."""
        return None if value is None else json.dumps(value)

    def python_value(self, value: str | None) -> Any:
        """From text."""
        return None if value is None else json.loads(value)


class Layers(Model):
    """Named sets: one row a layer."""

    name = TextField(primary_key=True)
    kind = TextField()
    title_zh = TextField(null=True)
    title_en = TextField(null=True)
    group = TextField(null=True)
    grade = TextField(null=True)
    licence = TextField(null=True)
    label = TextField(null=True)
    description = TextField(null=True)
    created = FloatField()
    run = TextField(null=True)


class Versions(Model):
    """Columns as in `VersionRow`, in its order."""

    layer = TextField()
    number = IntegerField()
    manifest = TextField()
    created = FloatField()
    job = TextField(null=True)
    who = TextField(null=True)
    count = IntegerField(null=True)
    pinned = BooleanField(default=False)

    class Meta:
        """A version has no name but its layer's and its number."""

        primary_key = CompositeKey("layer", "number")


class Derivations(Model):
    """Columns as in `Derivation`, in its order, and when."""

    key = TextField(primary_key=True)
    layer = TextField()
    number = IntegerField()
    tiler = TextField()
    archive = TextField()
    inputs = JsonField()
    info = JsonField()
    created = FloatField()


class Publications(Model):
    """Columns as in `Publication`, in its order."""

    id = AutoField()
    layer = TextField()
    number = IntegerField()
    manifest = TextField()
    derivation = TextField(null=True)
    at = FloatField()
    who = TextField(null=True)


class Pointers(Model):
    """What each layer shows: the `id` of a publication."""

    layer = TextField(primary_key=True)
    publication = IntegerField()


class JobRows(Model):
    """Columns as in `twin.jobs.Job`, in its order."""

    id = TextField(primary_key=True)
    kind = TextField()
    params = JsonField()
    key = TextField(null=True, unique=True)
    state = TextField()
    stage = TextField(default="")
    progress = FloatField(default=0.0)
    message = TextField(default="")
    attempts = IntegerField(default=0)
    owner = TextField(null=True)
    fence = IntegerField(default=0)
    lease = FloatField(default=0.0)
    cancel = BooleanField(default=False)
    created = FloatField()
    started = FloatField(null=True)
    finished = FloatField(null=True)
    updated = FloatField(null=True)
    result = JsonField(null=True)
    error = TextField(null=True)
    who = TextField(null=True)

    class Meta:
        """The class cannot be called Job, nor Jobs."""

        table_name = "jobs"


class Audit(Model):
    """Who did what, for good."""

    id = AutoField()
    at = FloatField()
    who = TextField(null=True)
    what = TextField()
    detail = JsonField(null=True)


TABLES: tuple[type[Model], ...] = (Layers, Versions, Derivations, Publications, Pointers, JobRows, Audit)

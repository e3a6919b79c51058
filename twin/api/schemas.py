"""The documents of the API, as the OpenAPI definition states them. The tests hold every answer against these models."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AnyUrl, BaseModel, ConfigDict, Field

from twin.model import LayerKind

Bbox = Annotated[list[float], Field(min_length=4, max_length=4, description="west, south, east, north in degrees (CRS84)")]
Heights = Annotated[list[float], Field(min_length=2, max_length=2, description="lowest and highest, metres above the WGS 84 ellipsoid")]


class Document(BaseModel):
    """Base: what is not stated is not there."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)


class Problem(Document):
    """An error (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str = Field(description="What is wrong, and what to do about it.")
    instance: str


class Link(Document):
    """A link (RFC 8288)."""

    rel: str
    href: AnyUrl
    type: str
    title: str | None = None


class Bilingual(Document):
    """A text for people."""

    zh: str | None = None
    en: str | None = None


class Landing(Document):
    """Landing page of OGC API – Common."""

    title: str
    description: str
    twin_title: Bilingual = Field(alias="twin:title")
    links: list[Link]


class Conformance(Document):
    """Conformance classes that hold."""

    conformsTo: list[AnyUrl]  # noqa: N815  the standard's name


class CityView(Document):
    """Where to look first."""

    title: Bilingual
    bbox: Bbox | None = Field(description="Around what stands in the city; null in an empty one.")
    heights: Heights | None
    terrain: str | None = Field(description="Layer of the default terrain.")
    version: str = Field(description="Release of the software.")


class Attribute(Document):
    """A column of a layer."""

    name: str
    type: str = Field(description="Arrow type.")
    unit: str | None = Field(description="SI unit, null where there is none.")
    title: Bilingual | None


class Spatial(Document):
    """Where a layer lies."""

    bbox: list[Bbox]
    crs: AnyUrl


class Extent(Document):
    """Extent of a layer."""

    spatial: Spatial


class LayerReference(Document):
    """In what the source's coordinates are stored."""

    horizontal: str = Field(description="`EPSG:n` or WKT.")
    vertical: str | None = Field(description="Vertical datum, `above ground`, or null where there are no heights.")


class GradeBasis(Document):
    """Why a layer has its CIM grade."""

    value: str = Field(description="The grade by rule, CIM1 to CIM7; empty where there is nothing to judge by.")
    name: str = Field(description="What CJJ/T 315-2022 calls it.")
    reasons: list[str]
    given: str | None = Field(None, description="The grade that a person gave in its place (`POST …/grade`).")
    by: str | None = Field(None, description="Who gave it.")


class Collection(Document):
    """A published layer."""

    id: str
    title: str
    description: str
    extent: Extent | None = None
    itemType: Literal["feature"] | None = None  # noqa: N815  the standard's name
    crs: list[AnyUrl] | None = Field(None, description="In what features may be asked for (`crs`, `bbox-crs`); the first one is what they come in.")
    storageCrs: AnyUrl | None = Field(None, description="Of these, in what they are stored.")  # noqa: N815  the standard's name
    links: list[Link] = Field(description="`items`, `tiles3d`, `terrain` and `map` where the layer has them.")
    twin_title: Bilingual = Field(alias="twin:title")
    twin_kind: LayerKind = Field(alias="twin:kind")
    twin_group: str = Field(alias="twin:group", description="Data group of CJJ/T 315-2022.")
    twin_grade: str | None = Field(alias="twin:grade", description="CIM1 to CIM7.")
    twin_grade_basis: GradeBasis | None = Field(alias="twin:gradeBasis", description="Null for results of scenarios.")
    twin_licence: str | None = Field(alias="twin:licence")
    twin_label: Literal["open", "internal", "restricted"] = Field(alias="twin:label")
    twin_version: int = Field(alias="twin:version", description="Number of the version shown.")
    twin_published: datetime = Field(alias="twin:published")
    twin_tileset: str | None = Field(alias="twin:tileset", description="Key of the tiles shown; a new key means new tiles.")
    twin_stale: bool = Field(alias="twin:stale", description="The tiles stand on a terrain that is no longer the published one, or the layer was read with another that has changed since.")
    twin_style: dict[str, Any] = Field(alias="twin:style")
    twin_schema: list[Attribute] = Field(alias="twin:schema")
    twin_count: int = Field(alias="twin:count", description="Features, points or cells.")
    twin_run: str | None = Field(alias="twin:run", description="Job of the scenario run that wrote the layer.")
    twin_heights: Heights | None = Field(alias="twin:heights")
    twin_reference: LayerReference = Field(alias="twin:reference")


class Collections(Document):
    """All published layers."""

    collections: list[Collection]
    links: list[Link]


class Geometry(BaseModel):
    """A GeoJSON geometry (RFC 7946)."""

    model_config = ConfigDict(extra="allow")

    type: Literal["Point", "MultiPoint", "LineString", "MultiLineString", "Polygon", "MultiPolygon", "GeometryCollection"]


class Feature(Document):
    """A GeoJSON feature, in the CRS of the header `Content-Crs`. Third coordinates are metres above the ellipsoid; heights that are not absolute are left out."""

    type: Literal["Feature"]
    id: str
    geometry: Geometry | None
    properties: dict[str, Any] = Field(description="Attributes under their names in the source; of a BIM product also `psets` and `quantities`.")
    links: list[Link] | None = Field(None, description="Of a feature asked for alone.")
    twin_parent: str | None = Field(None, alias="twin:parent", description="Id of the feature that this one belongs to.")


class FeatureCollection(Document):
    """A page of features."""

    type: Literal["FeatureCollection"]
    features: list[Feature]
    numberMatched: int  # noqa: N815  the standard's name
    numberReturned: int  # noqa: N815  the standard's name
    timeStamp: datetime  # noqa: N815  the standard's name
    links: list[Link] = Field(description="`next` and `prev` where there are such pages.")


class Queryables(BaseModel):
    """A JSON Schema of what a filter or `sortby` may name."""

    model_config = ConfigDict(extra="allow")

    type: Literal["object"]
    title: str
    properties: dict[str, dict[str, Any]]


class Histogram(Document):
    """How numbers are spread; `sampled` where not every value was counted."""

    edges: list[float]
    counts: list[int]
    sampled: bool


class ValueCount(Document):
    """How often a value occurs."""

    value: str
    count: int


class ColumnStatistics(Document):
    """What a column holds."""

    name: str
    type: Literal["number", "text", "boolean", "instant", "array"]
    unit: str | None
    count: int = Field(description="Values that are known.")
    nulls: int
    min: float | None = None
    max: float | None = None
    mean: float | None = None
    sum: float | None = None
    quantiles: dict[str, float] | None = None
    histogram: Histogram | None = None
    distinct: int | None = None
    values: list[ValueCount] | None = Field(None, description="The most frequent ones.")


class Statistics(Document):
    """What the matching features of a layer hold."""

    layer: str
    numberMatched: int  # noqa: N815  the standard's name
    properties: list[ColumnStatistics]


class StyleSummary(Document):
    """A column by which a layer can be coloured."""

    id: str
    title: Bilingual | None
    unit: str | None
    type: Literal["number", "text", "boolean"]
    links: list[Link]


class StyleList(Document):
    """The styles of a layer."""

    styles: list[StyleSummary]
    default: dict[str, Any]


class Place(Document):
    """A place found: a feature, or a position; without coordinates where the feature has no geometry."""

    kind: Literal["feature", "position"]
    title: str
    lon: float | None
    lat: float | None
    layer: str | None
    feature: str | None
    links: list[Link]


class Places(Document):
    """Places found, best first; `complete` is false where the time allowed did not suffice for every layer."""

    places: list[Place]
    complete: bool


class LonLat(Document):
    """Degrees."""

    lon: float
    lat: float


class Zone(Document):
    """A place in its 3-degree Gauss–Krüger zone of CGCS2000; the easting is without the zone number."""

    crs: str
    zone: int
    meridian: int
    easting: float
    northing: float


class GridPosition(Zone):
    """A place in one Gauss–Krüger zone of CGCS2000, with and without the zone number before the easting."""

    width: Literal[3, 6] = Field(description="Degrees of longitude that a zone of this kind spans.")
    numbered_crs: str = Field(description="The same zone as a CRS whose eastings begin with the zone number.")
    numbered_easting: float


class HeightDatum(Document):
    """How heights of a datum stand to ellipsoidal ones at a place: ellipsoidal = height + `separation`."""

    vertical: str
    separation: float = Field(description="Metres.")
    accuracy: float = Field(description="Metres, one standard deviation of the geoid model and the datum's offset.")


class OtherPosition(Document):
    """A place in the CRS asked for: easting or longitude first."""

    crs: str
    x: float
    y: float


class GroundHeight(Document):
    """Metres above the ellipsoid, from a terrain layer."""

    layer: str
    ellipsoidal: float


class Position(Document):
    """A place in several systems."""

    lon: float
    lat: float
    cgcs2000: LonLat
    zone: Zone | None
    zones: list[GridPosition] = Field(description="The 3-degree zone, its neighbour towards which the place lies, the 6-degree zone; empty outside China's zones.")
    datum: HeightDatum = Field(description="Of the terrain here; 1985 heights (EPSG:5737) where there is none or it is in ellipsoidal heights.")
    other: OtherPosition | None
    ground: GroundHeight | None


class Period(Document):
    """From when to when; `to` is null for what is shown now."""

    from_: datetime = Field(alias="from")
    to: datetime | None


class VersionEntry(Document):
    """One version of a layer."""

    version: int
    created: datetime
    count: int | None
    who: str | None
    pinned: bool
    current: bool
    shown: list[Period]
    links: list[Link]


class Versions(Document):
    """The versions of a layer, oldest first."""

    layer: str
    versions: list[VersionEntry]


class Alteration(Document):
    """One attribute that differs from the version before."""

    name: str
    before: Any
    after: Any


class FeatureState(Document):
    """A feature in one version of its layer; `change` is against the version before, "absent" where neither has it."""

    version: int
    created: datetime
    current: bool
    shown: list[Period]
    change: Literal["added", "changed", "same", "removed", "absent"]
    moved: bool
    alterations: list[Alteration]


class FeatureHistory(Document):
    """A feature through the versions of its layer, newest first; `whole` is false where older ones were not read."""

    layer: str
    id: str
    states: list[FeatureState]
    whole: bool


class TileContent(Document):
    """A tile's content."""

    uri: str


class RootTile(Document):
    """The one tile of the root tileset."""

    boundingVolume: dict[str, list[float]]  # noqa: N815  the standard's name
    geometricError: float  # noqa: N815  the standard's name
    refine: Literal["ADD", "REPLACE"]
    content: TileContent


class Asset(Document):
    """Metadata of a tileset."""

    version: Literal["1.1"]


class Tileset(Document):
    """Root tileset (3D Tiles 1.1) whose content is the published one."""

    asset: Asset
    geometricError: float  # noqa: N815  the standard's name
    root: RootTile
    classes: dict[str, Any] | None = Field(None, alias="schema")
    schemaUri: str | None = None  # noqa: N815  the standard's name
    groups: list[dict[str, Any]] | None = None
    statistics: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None


class LegendEntry(Document):
    """A colour and what it means: a class, a range [from, to], or a value on a ramp."""

    value: float | str | list[float] | None = None
    color: str
    label: Bilingual | None = None


class Legend(Document):
    """How to read a map."""

    type: Literal["classes", "continuous", "rgb", "vector"]
    unit: str | None = None
    title: Bilingual | None = None
    entries: list[LegendEntry] = Field(default_factory=list)


class TileJson(Document):
    """TileJSON 3.0 of a layer's map tiles (WebMercatorQuad, 256 pixels)."""

    tilejson: Literal["3.0.0"]
    name: str
    version: str
    scheme: Literal["xyz"]
    tiles: list[str]
    minzoom: int = Field(ge=0)
    maxzoom: int = Field(ge=0)
    bounds: Bbox
    twin_legend: Legend | None = Field(alias="twin:legend")
    twin_times: list[float] | None = Field(None, alias="twin:times", description="Of a layer over time: its moments, s after the start; tiles take `?time=`.")
    twin_start: str | None = Field(None, alias="twin:start", description="The start by the clock, RFC 3339; null where only seconds are known.")

/** Made from the API's OpenAPI definition by scripts/api-types.mjs; do not edit. */

export interface Schemas {
Alteration: Alteration
Asset: Asset
Attribute: Attribute
Bilingual: Bilingual
Change: Change
CityView: CityView
Collection: Collection
Collections: Collections
ColumnStatistics: ColumnStatistics
Comparison: Comparison
Conformance: Conformance
Execution: Execution
Extent: Extent
Feature: Feature
FeatureCollection: FeatureCollection
FeatureHistory: FeatureHistory
FeatureState: FeatureState
Geometry: Geometry
GivenGrade: GivenGrade
GradeBasis: GradeBasis
GridPosition: GridPosition
GroundHeight: GroundHeight
HeightDatum: HeightDatum
Histogram: Histogram
JobList: JobList
Landing: Landing
LayerReference: LayerReference
Legend: Legend
LegendEntry: LegendEntry
Link: Link
LonLat: LonLat
OtherPosition: OtherPosition
Output: Output
Period: Period
Place: Place
Places: Places
Position: Position
Problem: Problem
Process: Process
ProcessInput: ProcessInput
ProcessOutput: ProcessOutput
ProcessSummary: ProcessSummary
Processes: Processes
Queryables: Queryables
Results: Results
RootTile: RootTile
Spatial: Spatial
Statistics: Statistics
StatusInfo: StatusInfo
StyleList: StyleList
StyleSummary: StyleSummary
TableColumn: TableColumn
TableEntry: TableEntry
TableList: TableList
TableRows: TableRows
TileContent: TileContent
TileJson: TileJson
Tileset: Tileset
ValueCount: ValueCount
VersionEntry: VersionEntry
Versions: Versions
Zone: Zone
}
/**
 * One attribute that differs from the version before.
 */
export interface Alteration {
name: string
before: unknown
after: unknown
}
/**
 * Metadata of a tileset.
 */
export interface Asset {
version: "1.1"
}
/**
 * A column of a layer.
 */
export interface Attribute {
name: string
/**
 * Arrow type.
 */
type: string
/**
 * SI unit, null where there is none.
 */
unit: (string | null)
title: (Bilingual | null)
}
/**
 * A text for people.
 */
export interface Bilingual {
zh?: (string | null)
en?: (string | null)
}
/**
 * One figure of two runs.
 */
export interface Change {
quantity: string
unit: string
a: number
b: number
/**
 * b − a
 */
change: number
}
/**
 * Where to look first.
 */
export interface CityView {
title: Bilingual
/**
 * Around what stands in the city; null in an empty one.
 */
bbox: ([number, number, number, number] | null)
heights: ([number, number] | null)
/**
 * Layer of the default terrain.
 */
terrain: (string | null)
/**
 * Release of the software.
 */
version: string
}
/**
 * A published layer.
 */
export interface Collection {
id: string
title: string
description: string
extent?: (Extent | null)
itemType?: ("feature" | null)
/**
 * In what features may be asked for (`crs`, `bbox-crs`); the first one is what they come in.
 */
crs?: (string[] | null)
/**
 * Of these, in what they are stored.
 */
storageCrs?: (string | null)
/**
 * `items`, `tiles3d`, `terrain` and `map` where the layer has them.
 */
links: Link[]
"twin:title": Bilingual
"twin:kind": ("blocks" | "mesh" | "points" | "tileset" | "vector" | "raster" | "terrain" | "table")
/**
 * Data group of CJJ/T 315-2022.
 */
"twin:group": string
/**
 * CIM1 to CIM7.
 */
"twin:grade": (string | null)
/**
 * Null for results of scenarios.
 */
"twin:gradeBasis": (GradeBasis | null)
"twin:licence": (string | null)
"twin:label": ("open" | "internal" | "restricted")
/**
 * Number of the version shown.
 */
"twin:version": number
"twin:published": string
/**
 * Key of the tiles shown; a new key means new tiles.
 */
"twin:tileset": (string | null)
/**
 * The tiles stand on a terrain that is no longer the published one, or the layer was read with another that has changed since.
 */
"twin:stale": boolean
"twin:style": {
[k: string]: unknown
}
"twin:schema": Attribute[]
/**
 * Features, points or cells.
 */
"twin:count": number
/**
 * Job of the scenario run that wrote the layer.
 */
"twin:run": (string | null)
"twin:heights": ([number, number] | null)
"twin:reference": LayerReference
}
/**
 * Extent of a layer.
 */
export interface Extent {
spatial: Spatial
}
/**
 * Where a layer lies.
 */
export interface Spatial {
bbox: [number, number, number, number][]
crs: string
}
/**
 * A link (RFC 8288).
 */
export interface Link {
rel: string
href: string
type: string
title?: (string | null)
}
/**
 * Why a layer has its CIM grade.
 */
export interface GradeBasis {
/**
 * The grade by rule, CIM1 to CIM7; empty where there is nothing to judge by.
 */
value: string
/**
 * What CJJ/T 315-2022 calls it.
 */
name: string
reasons: string[]
/**
 * The grade that a person gave in its place (`POST …/grade`).
 */
given?: (string | null)
/**
 * Who gave it.
 */
by?: (string | null)
}
/**
 * In what the source's coordinates are stored.
 */
export interface LayerReference {
/**
 * `EPSG:n` or WKT.
 */
horizontal: string
/**
 * Vertical datum, `above ground`, or null where there are no heights.
 */
vertical: (string | null)
}
/**
 * All published layers.
 */
export interface Collections {
collections: Collection[]
links: Link[]
}
/**
 * What a column holds.
 */
export interface ColumnStatistics {
name: string
type: ("number" | "text" | "boolean" | "instant" | "array")
unit: (string | null)
/**
 * Values that are known.
 */
count: number
nulls: number
min?: (number | null)
max?: (number | null)
mean?: (number | null)
sum?: (number | null)
quantiles?: ({
[k: string]: number
} | null)
histogram?: (Histogram | null)
distinct?: (number | null)
/**
 * The most frequent ones.
 */
values?: (ValueCount[] | null)
}
/**
 * How numbers are spread; `sampled` where not every value was counted.
 */
export interface Histogram {
edges: number[]
counts: number[]
sampled: boolean
}
/**
 * How often a value occurs.
 */
export interface ValueCount {
value: string
count: number
}
/**
 * What changed from run A to run B.
 */
export interface Comparison {
/**
 * Job of run A.
 */
a: string
/**
 * Job of run B.
 */
b: string
rows: Change[]
}
/**
 * Conformance classes that hold.
 */
export interface Conformance {
conformsTo: string[]
}
/**
 * What a run is started with.
 */
export interface Execution {
/**
 * Values by input name.
 */
inputs?: {
[k: string]: unknown
}
/**
 * Name of the run: its layers are called NAME-<output>. Default: the process id.
 */
"twin:name"?: (string | null)
}
/**
 * A GeoJSON feature, in the CRS of the header `Content-Crs`. Third coordinates are metres above the ellipsoid; heights that are not absolute are left out.
 */
export interface Feature {
type: "Feature"
id: string
geometry: (Geometry | null)
/**
 * Attributes under their names in the source; of a BIM product also `psets` and `quantities`.
 */
properties: {
[k: string]: unknown
}
/**
 * Of a feature asked for alone.
 */
links?: (Link[] | null)
/**
 * Id of the feature that this one belongs to.
 */
"twin:parent"?: (string | null)
}
/**
 * A GeoJSON geometry (RFC 7946).
 */
export interface Geometry {
type: ("Point" | "MultiPoint" | "LineString" | "MultiLineString" | "Polygon" | "MultiPolygon" | "GeometryCollection")
[k: string]: unknown
}
/**
 * A page of features.
 */
export interface FeatureCollection {
type: "FeatureCollection"
features: Feature[]
numberMatched: number
numberReturned: number
timeStamp: string
/**
 * `next` and `prev` where there are such pages.
 */
links: Link[]
}
/**
 * A feature through the versions of its layer, newest first; `whole` is false where older ones were not read.
 */
export interface FeatureHistory {
layer: string
id: string
states: FeatureState[]
whole: boolean
}
/**
 * A feature in one version of its layer; `change` is against the version before, "absent" where neither has it.
 */
export interface FeatureState {
version: number
created: string
current: boolean
shown: Period[]
change: ("added" | "changed" | "same" | "removed" | "absent")
moved: boolean
alterations: Alteration[]
}
/**
 * From when to when; `to` is null for what is shown now.
 */
export interface Period {
from: string
to: (string | null)
}
/**
 * What a person says of a layer.
 */
export interface GivenGrade {
/**
 * The grade that holds in place of the rule's, for later deliveries too; empty: the rule's holds again.
 */
grade: (("CIM1" | "CIM2" | "CIM3" | "CIM4" | "CIM5" | "CIM6" | "CIM7") | "")
}
/**
 * A place in one Gauss–Krüger zone of CGCS2000, with and without the zone number before the easting.
 */
export interface GridPosition {
crs: string
zone: number
meridian: number
easting: number
northing: number
/**
 * Degrees of longitude that a zone of this kind spans.
 */
width: (3 | 6)
/**
 * The same zone as a CRS whose eastings begin with the zone number.
 */
numbered_crs: string
numbered_easting: number
}
/**
 * Metres above the ellipsoid, from a terrain layer.
 */
export interface GroundHeight {
layer: string
ellipsoidal: number
}
/**
 * How heights of a datum stand to ellipsoidal ones at a place: ellipsoidal = height + `separation`.
 */
export interface HeightDatum {
vertical: string
/**
 * Metres.
 */
separation: number
/**
 * Metres, one standard deviation of the geoid model and the datum's offset.
 */
accuracy: number
}
/**
 * Jobs, newest first.
 */
export interface JobList {
jobs: StatusInfo[]
links: Link[]
}
/**
 * A job (OGC API – Processes, statusInfo).
 */
export interface StatusInfo {
jobID: string
/**
 * The scenario; for other work ingest, tile or gc.
 */
processID: string
type: "process"
status: ("accepted" | "running" | "successful" | "failed" | "dismissed")
message: string
/**
 * Of the present stage.
 */
progress: number
created: string
started?: (string | null)
finished?: (string | null)
updated?: (string | null)
"twin:stage": string
links: Link[]
}
/**
 * Landing page of OGC API – Common.
 */
export interface Landing {
title: string
description: string
"twin:title": Bilingual
links: Link[]
}
/**
 * How to read a map.
 */
export interface Legend {
type: ("classes" | "continuous" | "rgb" | "vector")
unit?: (string | null)
title?: (Bilingual | null)
entries?: LegendEntry[]
}
/**
 * A colour and what it means: a class, a range [from, to], or a value on a ramp.
 */
export interface LegendEntry {
value?: (number | string | number[] | null)
color: string
label?: (Bilingual | null)
}
/**
 * Degrees.
 */
export interface LonLat {
lon: number
lat: number
}
/**
 * A place in the CRS asked for: easting or longitude first.
 */
export interface OtherPosition {
crs: string
x: number
y: number
}
/**
 * A layer that a run wrote.
 */
export interface Output {
layer: string
href: string
[k: string]: unknown
}
/**
 * A place found: a feature, or a position; without coordinates where the feature has no geometry.
 */
export interface Place {
kind: ("feature" | "position")
title: string
lon: (number | null)
lat: (number | null)
layer: (string | null)
feature: (string | null)
links: Link[]
}
/**
 * Places found, best first; `complete` is false where the time allowed did not suffice for every layer.
 */
export interface Places {
places: Place[]
complete: boolean
}
/**
 * A place in several systems.
 */
export interface Position {
lon: number
lat: number
cgcs2000: LonLat
zone: (Zone | null)
/**
 * The 3-degree zone, its neighbour towards which the place lies, the 6-degree zone; empty outside China's zones.
 */
zones: GridPosition[]
datum: HeightDatum1
other: (OtherPosition | null)
ground: (GroundHeight | null)
}
/**
 * A place in its 3-degree Gauss–Krüger zone of CGCS2000; the easting is without the zone number.
 */
export interface Zone {
crs: string
zone: number
meridian: number
easting: number
northing: number
}
/**
 * How heights of a datum stand to ellipsoidal ones at a place: ellipsoidal = height + `separation`.
 */
export interface HeightDatum1 {
vertical: string
/**
 * Metres.
 */
separation: number
/**
 * Metres, one standard deviation of the geoid model and the datum's offset.
 */
accuracy: number
}
/**
 * An error (RFC 9457).
 */
export interface Problem {
type: string
title: string
status: number
/**
 * What is wrong, and what to do about it.
 */
detail: string
instance: string
}
/**
 * A scenario with its inputs and outputs.
 */
export interface Process {
id: string
version: string
title: string
description: string
jobControlOptions: ("async-execute" | "dismiss")[]
outputTransmission: ("value")[]
links: Link[]
"x-title-zh": string
"x-description-zh": string
inputs: {
[k: string]: ProcessInput
}
outputs: {
[k: string]: ProcessOutput
}
}
/**
 * An input: its JSON Schema, and titles.
 */
export interface ProcessInput {
title: string
/**
 * JSON Schema; `x-layer-kinds` where the value names a layer of these kinds, `x-column-of` where it names a column of the layer that another input names, `x-when` the inputs (values, or true for any) by which it counts, `x-choices` what the values of an enum are called.
 */
schema: {
[k: string]: unknown
}
minOccurs: (0 | 1)
maxOccurs: 1
description?: (string | null)
"x-title-zh"?: (string | null)
"x-description-zh"?: (string | null)
"x-unit"?: (string | null)
/**
 * Part of a form to which it belongs, by language.
 */
"x-group"?: ({
[k: string]: string
} | null)
}
/**
 * An output: always a layer.
 */
export interface ProcessOutput {
title: string
schema: {
[k: string]: unknown
}
"x-title-zh": (string | null)
"x-layer-kind": ("blocks" | "mesh" | "points" | "tileset" | "vector" | "raster" | "terrain" | "table")
"x-unit"?: (string | null)
}
/**
 * A scenario.
 */
export interface ProcessSummary {
id: string
version: string
title: string
description: string
jobControlOptions: ("async-execute" | "dismiss")[]
outputTransmission: ("value")[]
links: Link[]
"x-title-zh": string
"x-description-zh": string
}
/**
 * All scenarios.
 */
export interface Processes {
processes: ProcessSummary[]
links: Link[]
}
/**
 * A JSON Schema of what a filter or `sortby` may name.
 */
export interface Queryables {
type: "object"
title: string
properties: {
[k: string]: {
[k: string]: unknown
}
}
[k: string]: unknown
}
/**
 * What a job has made; of a run: its layers by output name, and its report.
 */
export interface Results {
outputs?: ({
[k: string]: Output
} | null)
report?: ({
[k: string]: unknown
} | null)
/**
 * Address of the run's report for people (HTML).
 */
"twin:report"?: (string | null)
[k: string]: unknown
}
/**
 * The one tile of the root tileset.
 */
export interface RootTile {
boundingVolume: {
[k: string]: number[]
}
geometricError: number
refine: ("ADD" | "REPLACE")
content: TileContent
}
/**
 * A tile's content.
 */
export interface TileContent {
uri: string
}
/**
 * What the matching features of a layer hold.
 */
export interface Statistics {
layer: string
numberMatched: number
properties: ColumnStatistics[]
}
/**
 * The styles of a layer.
 */
export interface StyleList {
styles: StyleSummary[]
default: {
[k: string]: unknown
}
}
/**
 * A column by which a layer can be coloured.
 */
export interface StyleSummary {
id: string
title: (Bilingual | null)
unit: (string | null)
type: ("number" | "text" | "boolean")
links: Link[]
}
/**
 * A column: its name and Arrow type.
 */
export interface TableColumn {
name: string
type: string
}
/**
 * One table of a layer.
 */
export interface TableEntry {
name: string
count: number
columns: TableColumn[]
links: Link[]
}
/**
 * The tables of a layer.
 */
export interface TableList {
layer: string
tables: TableEntry[]
links: Link[]
}
/**
 * Rows of a table, in the order of the source.
 */
export interface TableRows {
layer: string
table: string
/**
 * Each row by column name; a null is no value.
 */
rows: {
[k: string]: unknown
}[]
numberMatched: number
numberReturned: number
links: Link[]
}
/**
 * TileJSON 3.0 of a layer's map tiles (WebMercatorQuad, 256 pixels).
 */
export interface TileJson {
tilejson: "3.0.0"
name: string
version: string
scheme: "xyz"
tiles: string[]
minzoom: number
maxzoom: number
/**
 * west, south, east, north in degrees (CRS84)
 * 
 * @minItems 4
 * @maxItems 4
 */
bounds: [number, number, number, number]
"twin:legend": (Legend | null)
/**
 * Of a layer over time: its moments, s after the start; tiles take `?time=`.
 */
"twin:times"?: (number[] | null)
/**
 * The start by the clock, RFC 3339; null where only seconds are known.
 */
"twin:start"?: (string | null)
}
/**
 * Root tileset (3D Tiles 1.1) whose content is the published one.
 */
export interface Tileset {
asset: Asset
geometricError: number
root: RootTile
schema?: ({
[k: string]: unknown
} | null)
schemaUri?: (string | null)
groups?: ({
[k: string]: unknown
}[] | null)
statistics?: ({
[k: string]: unknown
} | null)
metadata?: ({
[k: string]: unknown
} | null)
}
/**
 * One version of a layer.
 */
export interface VersionEntry {
version: number
created: string
count: (number | null)
who: (string | null)
pinned: boolean
current: boolean
shown: Period[]
links: Link[]
}
/**
 * The versions of a layer, oldest first.
 */
export interface Versions {
layer: string
versions: VersionEntry[]
}

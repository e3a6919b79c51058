"""Formats that no reader takes, by suffix: what such a file is, and how what it holds comes into the city all the same."""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Collection
from pathlib import Path, PurePosixPath

from twin import sources, zips

_GPKG = "Convert it to GeoPackage, for example with QGIS or ogr2ogr out.gpkg {name}."
_GLTF = "Export it as glTF (.glb) or OBJ, and place it with --option anchor=E,N,H."
_IFC = "Export it as IFC."
_TILES = "Give the tileset.json that refers to it, or the whole tileset as .3tz."
_POINTS = "Convert it to LAS or LAZ with its coordinate system."

_KINDS: dict[str, tuple[str, str]] = {
    "OpenStreetMap data": (".osm .pbf .o5m", "Convert the layer that you need to GeoPackage, for example with ogr2ogr out.gpkg {name} lines."),
    "a CAD drawing": (".dxf .dwg .dgn", "Convert its layers to GeoPackage with QGIS or FME, and name the CRS; a drawing states none."),
    "KML": (".kml .kmz", _GPKG),
    "GPX": (".gpx", _GPKG),
    "a MapInfo table": (".tab .mif .mid", _GPKG),
    "a part of a file geodatabase": (".gdbtable .gdbtablx", "Give the folder .gdb that it lies in."),
    "a personal geodatabase": (".mdb .accdb", "Convert the feature class that you need to GeoPackage, for example with ogr2ogr out.gpkg {name} CLASS."),
    "an ArcInfo export": (".e00", _GPKG),
    "a table": (".csv .tsv .xls .xlsx .ods", "Make points of it and save them as GeoPackage, for example with QGIS (Add Delimited Text Layer)."),
    "a member of a Shapefile": (".dbf .shx .prj .cpg .sbn .sbx .qix", "Give the .shp beside it."),
    "a 3D model": (".dae .fbx .3ds .3mf .off .x3d .wrl .blend .max .skp .usd .usdz .3dm", _GLTF),
    "a model of a BIM program": (".rvt .rfa .nwd .nwc .nwf .pln .tekla", _IFC),
    "oblique photogrammetry": (".osgb .osg .ive", "Convert it to 3D Tiles (docs/models.md names tools) and ingest the tileset.json."),
    "content of 3D Tiles": (".b3dm .i3dm .pnts .cmpt .subtree", _TILES),
    "an Esri scene layer": (".slpk", "Export it as 3D Tiles or CityGML."),
    "a SuperMap cache": (".scp .s3m .s3mb", "Export it as 3D Tiles and ingest the tileset.json."),
    "a SuperMap data source": (".udb .udd .udbx", "Export the data set that you need as GeoPackage or Shapefile, for example with SuperMap iDesktop."),
    "a MapGIS layer": (".wt .wl .wp .wat .wal .wap", "Export it as Shapefile or GeoPackage in MapGIS, with its coordinate system."),
    "data in the exchange format of GB/T 17798 (VCT)": (".vct", "Convert it to GeoPackage, for example with FME or the program that wrote it."),
    "a cloud of Gaussian splats": (".spz .splat .ksplat", "Export the points as LAS, or the surface as glTF (.glb) or OBJ."),
    "a map document": (".mxd .mapx .aprx .qgs .qgz .mpj .lyr .lyrx", "Give the data that it shows."),
    "a list of points": (".xyz .pts .ptx .txt .pcd", _POINTS),
    "a raster of another format": (".img .bil .bip .bsq .flt .adf .grd .dem .dt0 .dt1 .dt2 .bt .vrt .hdf .h5 .grib .grib2 .grb", "Convert it to GeoTIFF, for example with QGIS or gdal_translate {name} out.tif."),
    "a network of pipes (SWMM or EPANET)": (".inp", "SWMM's is given to a flood run: --set network_inp=@{name} --set network_crs=EPSG:… (docs/flood.md); EPANET's is not read."),
    "an image of a format that needs a licence": (".ecw .sid", "Convert it to GeoTIFF, for example with QGIS."),
    "a packed file": (".rar .7z .gz .bz2 .tar .tgz .xz", "Unpack it and give the file inside."),
}
KNOWN = {suffix: (kind, remedy) for kind, (suffixes, remedy) in _KINDS.items() for suffix in suffixes.split()}

#: What lies beside data and is read with it, or tells people something.
BESIDE = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".jp2", ".xml", ".txt", ".prj", ".dbf", ".shx", ".cpg", ".sbn", ".sbx", ".qix"}


def advice(source: Path) -> tuple[str, str] | None:
    """(what a file is, what to do) by its suffix; None where nothing is known of it."""
    found = next((KNOWN[suffix] for suffix in sorted(KNOWN, key=len, reverse=True) if source.name.lower().endswith(suffix)), None)
    return None if found is None else (found[0], found[1].format(name=source.name))


def inside(source: Path) -> str:
    """What a ZIP holds, by suffix, for a message ("" for what is none)."""
    return _told(Counter(name.suffix.lower() or "no suffix" for name in _names(source)[:10_000]))


def left(source: Path, taken: tuple[str, ...], others: Collection[str]) -> str:
    """What a folder or a ZIP holds that whoever reads it by the suffixes `taken` passes over, by suffix, for a message: what other readers take (`others`), and formats that none does.

    Images count as what models refer to, and not as maps; side folders of national packages are left out.
    """
    suffixes = {*others, *KNOWN} - BESIDE
    counts: Counter[str] = Counter()
    for name in _names(source):
        low = name.name.lower()
        if not low.endswith(taken) and not sources.SIDE_FOLDERS & {part.lower() for part in name.parts[:-1]}:
            counts[max((suffix for suffix in suffixes if low.endswith(suffix)), key=len, default="")] += 1
    del counts[""]
    return _told(counts)


def _told(counts: Counter[str]) -> str:
    return ", ".join(f"{count} × {suffix}" for suffix, count in counts.most_common(8))


def _names(source: Path) -> list[PurePosixPath]:
    """The files of a folder (and all below it) or of a ZIP, by their names within; none of what is neither."""
    if source.is_dir():
        return [PurePosixPath(path.relative_to(source).as_posix()) for path in source.rglob("*") if path.is_file()]
    try:
        with zipfile.ZipFile(source) as file:
            return [PurePosixPath(name.replace("\\", "/")) for name in file.namelist() if not name.endswith("/")]
    except (*zips.UNREADABLE, IsADirectoryError):
        return []

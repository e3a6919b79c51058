"""IFC models: from file to published tiles, against py3dtiles[ifc] and against the bare ifcopenshell iterator on the same file.

`ifc` measures 2,000 generated walls with property sets. For every .ifc and .ifczip in the folder that TWIN_BENCH_IFC names
there is one more work, `ifc:NAME`. Models are placed by hand, so that their own georeference does not matter here.
"""

from __future__ import annotations

import compileall
import json
import os
import sys
import tempfile
import time
import venv
from collections.abc import Callable
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import Any

from twin.bench.measure import Cost, measure
from twin.errors import TwinError

PLACE = {"crs": "EPSG:32650", "vertical": "EGM96", "anchor": os.environ.get("TWIN_BENCH_ANCHOR", "500000,2500000,0"), "confirm": "true"}
"""Where all models are put; one whose shapes are in map coordinates needs another anchor (TWIN_BENCH_ANCHOR)."""
ITERATOR = """
import sys, time, json, ifcopenshell, ifcopenshell.geom
model = ifcopenshell.open(sys.argv[1])
wall, cpu = time.perf_counter(), time.process_time()
iterator = ifcopenshell.geom.iterator(ifcopenshell.geom.settings(), model, 2)
count = triangles = 0
if iterator.initialize():
    while True:
        shape = iterator.get()
        count, triangles = count + 1, triangles + len(shape.geometry.faces) // 3
        if not iterator.next():
            break
print(json.dumps([time.perf_counter() - wall, time.process_time() - cpu, count, triangles]))
"""
LIMIT = 300  # seconds for a peer: on two of the open models the iterator never ends


def walls(size: float) -> dict[str, Any]:
    """2,000 walls with property sets and quantities (IFC4) → published 3D Tiles, against py3dtiles[ifc] and the bare iterator."""
    with tempfile.TemporaryDirectory(prefix="twin-bench-") as scratch:
        path = write_walls(Path(scratch) / "walls.ifc", max(20, int(2000 * size)))
        return model(path, size)


def model(path: Path, size: float) -> dict[str, Any]:
    """One IFC file → published 3D Tiles, against py3dtiles[ifc] and the bare iterator on the same file."""
    del size  # a file is what it is
    found = figures(path)
    ours, again, bare, peer = found["ours"], found["again"], found["bare"], found["peer"]
    details: dict[str, Any] = {
        "elements": f"{found['elements']:,}, {found['drawn']:,} drawn from {found['prototypes']:,} prototypes", "tiles": found["tiles"],
        "split (each stage alone)": ", ".join(f"{name} {seconds:.2f} s" for name, seconds in found["stages"].items()),
        "again with the cache": f"{again.wall:.2f} s wall, {again.cpu:.2f} CPU-s", "guard": "; ".join(found["guard"]) or "nothing differs",
        "bare iterator (opencascade, 2 threads)": bare if isinstance(bare, str) else
        f"{bare[0]:.2f} s wall, {bare[1]:.2f} CPU-s, {bare[2]:,} shapes, {bare[3]:,} triangles; ours takes {ours.wall / bare[0]:.2f} × its wall, {ours.cpu / bare[1]:.2f} × its CPU",
        "py3dtiles[ifc]": peer if isinstance(peer, str) else f"{peer.wall:.2f} s wall, {peer.cpu:.2f} CPU-s, {peer.peak_mb:.0f} MB",
    }  # fmt: skip
    other = peer if isinstance(peer, Cost) else None
    return {"figure": found["elements"] / ours.wall, "unit": "elements/s", "peer": "py3dtiles[ifc]" if other else None,
            "peer_figure": found["elements"] / other.wall if other else None, "ratio": other.wall / ours.wall if other else None, "cited": "",
            "wall_seconds": ours.wall, "cpu_seconds": ours.cpu, "peak_memory_mb": ours.peak_mb, "details": details}  # fmt: skip


def figures(path: Path) -> dict[str, Any]:
    """What one file costs: `ours` and `again` (with the cache) and `peer` as Cost, `bare` as (wall s, CPU-s, shapes, triangles), `stages` in seconds.

    A peer that gives no figure is the reason for it.
    """
    _compile()
    with tempfile.TemporaryDirectory(prefix="twin-bench-") as scratch:
        folder = Path(scratch)
        plain = _plain(path, folder)
        home = folder / "city"
        command = [sys.executable, "-m", "twin.cli", "ingest", str(path), "--layer", "model", "--home", str(home), "--json",
                   *(text for name, value in PLACE.items() for text in ("--option", f"{name}={value}"))]  # fmt: skip
        ours = measure(command)
        result = json.loads(ours.output.strip().splitlines()[-1])
        again = measure([*command[:6], "again", *command[7:]])  # a second layer of the same file: every shape is in the cache
        parts = json.loads(measure([sys.executable, "-c", "from twin.bench.bim import main; main()", str(path)]).output.strip().splitlines()[-1])
        geometry = result["report"]["facts"]["geometry"]
        bare = _tried([sys.executable, "-c", ITERATOR, str(plain)])
        program = peer_program()
        peer = _tried([program, "convert", str(plain), "--out", str(folder / "peer"), "--jobs", "2"]) if program else "py3dtiles is not installed"
        return {"ours": ours, "again": again, "peer": peer, "bare": json.loads(bare.output.strip().splitlines()[-1]) if isinstance(bare, Cost) else bare,
                "stages": parts, "elements": result["count"], "tiles": result["tiles"], "drawn": geometry["drawn"], "prototypes": geometry["prototypes"],
                "guard": geometry.get("guard", []), "bytes": path.stat().st_size}  # fmt: skip


def files() -> dict[str, Callable[[float], dict[str, Any]]]:
    """A work for each model in the folder TWIN_BENCH_IFC, by name."""
    folder = os.environ.get("TWIN_BENCH_IFC")
    if not folder:
        return {}
    found: dict[str, Callable[[float], dict[str, Any]]] = {}
    for path in sorted(Path(folder).iterdir()):
        if path.suffix.lower() in (".ifc", ".ifczip"):
            work = partial(model, path)
            work.__doc__ = f"{path.name} → published 3D Tiles."
            found[f"ifc:{path.stem}"] = work
    return found


WORKS: dict[str, Callable[[float], dict[str, Any]]] = {"ifc": walls, **files()}


def _tried(command: list[str]) -> Cost | str:
    """What a peer costs, or why it gives no figure."""
    try:
        return measure(["timeout", str(LIMIT), *command])
    except TwinError as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        return f"no result: {lines[-1][-160:]}" if "ended with 124" not in str(error) else f"no result in {LIMIT} s"


@cache
def _compile() -> None:
    """Python's bytecode of our own modules, which an installer writes for the peer; of an editable install nobody has."""
    for name in ("twin", "tiling", "ingest_bim"):
        compileall.compile_dir(Path(__file__).parents[2] / name, quiet=2)


@cache
def peer_program() -> str | None:
    """py3dtiles with its IFC reader: in an environment of its own, made now and kept for this run; else beside this interpreter."""
    folder = Path(tempfile.gettempdir()) / f"twin-bench-peers-{os.getuid()}"
    program = folder / "bin" / "py3dtiles"
    if not program.exists():
        try:
            venv.create(folder, with_pip=True)
            measure([str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "py3dtiles[ifc]>=12"])
        except (TwinError, OSError):
            program = Path(sys.executable).with_name("py3dtiles")
    return str(program) if program.exists() else None


def _plain(path: Path, folder: Path) -> Path:
    """The model unzipped, for the peers."""
    from ingest_bim.ifc.step_guard import guarded  # noqa: PLC0415

    if path.suffix.lower() == ".ifc":
        return path
    with guarded(path) as step:
        return Path(step.path).rename(folder / "model.ifc")


# --- the stages, each alone --------------------------------------------------------------------------------------


def stages(path: Path) -> dict[str, float]:
    """Seconds of wall time that opening, properties, geometry and tiles take, one after the other in this process."""
    from ingest_bim.ifc import materials as ifc_materials  # noqa: PLC0415
    from ingest_bim.ifc import properties as ifc_properties  # noqa: PLC0415
    from ingest_bim.ifc import reader as ifc  # noqa: PLC0415
    from ingest_bim.ifc import singles as ifc_singles  # noqa: PLC0415
    from ingest_bim.ifc import step_guard  # noqa: PLC0415
    from ingest_bim.ifc import structure as ifc_structure  # noqa: PLC0415
    from ingest_bim.ifc import units as ifc_units  # noqa: PLC0415
    from ingest_bim.ifc.step_access import parser  # noqa: PLC0415
    from ingest_bim.ifc.step_scan import StepText  # noqa: PLC0415
    from twin import parts, registry  # noqa: PLC0415
    from twin.lake import Lake  # noqa: PLC0415
    from twin.model import Report  # noqa: PLC0415
    from twin.processes import spare_pandas  # noqa: PLC0415

    found: dict[str, float] = {}
    spare_pandas()

    def timed(name: str, work: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        result = work()
        found[name] = time.perf_counter() - start
        return result

    report = Report()
    with step_guard.guarded(path) as step:
        opened = timed("open", lambda: parser().open(str(step.path)))

        def properties() -> None:
            units, structure = ifc_units.Units(opened), ifc_structure.read_structure(opened, report)
            ifc_properties.read_definitions(opened, structure, units, report, ifc_singles.Singles(StepText.of(step.path)))
            ifc_materials.Associations(opened, structure, units.length, report)

        timed("properties", properties)
    with tempfile.TemporaryDirectory(prefix="twin-bench-") as scratch:
        lake, report = Lake(Path(scratch) / "lake"), Report()
        start = time.perf_counter()
        version = parts.write_version(lake, "model", "mesh", ifc.read(path, ifc.Options.model_validate(PLACE), report), report, provenance={})
        found["geometry"] = max(time.perf_counter() - start - found["open"] - found["properties"], 0.0)
        module = import_module(registry.tilers()["mesh"].module)
        timed("tiles", lambda: module.tile(version, registry.TileJob(lake, Path(scratch) / "out.3tz", module.Options(), workers=2)))
    return found


def main() -> None:
    """What the fresh process runs: the stages of the file that is named; prints JSON."""
    print(json.dumps(stages(Path(sys.argv[1]))))  # noqa: T201


# --- the generated model -----------------------------------------------------------------------------------------

_HEAD = """ISO-10303-21;
HEADER;
FILE_DESCRIPTION(('ViewDefinition [ReferenceView]'),'2;1');
FILE_NAME('walls.ifc','2026-01-01T00:00:00',(''),(''),'','','');
FILE_SCHEMA(('IFC4'));
ENDSEC;
DATA;
#1=IFCPROJECT('{project}',$,'Walls',$,$,$,$,(#2),#3);
#2=IFCGEOMETRICREPRESENTATIONCONTEXT($,'Model',3,1.E-5,#10,$);
#3=IFCUNITASSIGNMENT((#4,#5,#6));
#4=IFCSIUNIT(*,.LENGTHUNIT.,$,.METRE.);
#5=IFCSIUNIT(*,.AREAUNIT.,$,.SQUARE_METRE.);
#6=IFCSIUNIT(*,.VOLUMEUNIT.,$,.CUBIC_METRE.);
#10=IFCAXIS2PLACEMENT3D(#11,$,$);
#11=IFCCARTESIANPOINT((0.,0.,0.));
#12=IFCDIRECTION((0.,0.,1.));
#13=IFCDIRECTION((1.,0.,0.));
#14=IFCDIRECTION((0.,1.,0.));
#15=IFCLOCALPLACEMENT($,#10);
#20=IFCSITE('{site}',$,'Site',$,$,#15,$,$,.ELEMENT.,$,$,$,$,$);
#21=IFCBUILDING('{building}',$,'Building',$,$,#15,$,$,.ELEMENT.,$,$,$);
#22=IFCBUILDINGSTOREY('{storey}',$,'EG',$,$,#15,$,$,.ELEMENT.,0.);
#30=IFCRELAGGREGATES('{r1}',$,$,$,#1,(#20));
#31=IFCRELAGGREGATES('{r2}',$,$,$,#20,(#21));
#32=IFCRELAGGREGATES('{r3}',$,$,$,#21,(#22));
#40=IFCAXIS2PLACEMENT2D(#41,$);
#41=IFCCARTESIANPOINT((0.,0.));
"""
_WALL = """#{0}=IFCCARTESIANPOINT(({x:.3f},{y:.3f},0.));
#{1}=IFCAXIS2PLACEMENT3D(#{0},#12,#{direction});
#{2}=IFCLOCALPLACEMENT(#15,#{1});
#{3}=IFCRECTANGLEPROFILEDEF(.AREA.,$,#40,{length:.3f},0.24);
#{4}=IFCEXTRUDEDAREASOLID(#{3},#10,#12,{height:.3f});
#{5}=IFCSHAPEREPRESENTATION(#2,'Body','SweptSolid',(#{4}));
#{6}=IFCPRODUCTDEFINITIONSHAPE($,$,(#{5}));
#{7}=IFCWALL('{guid}',$,'Wall {number}',$,$,#{2},#{6},'{number}',.SOLIDWALL.);
#{8}=IFCPROPERTYSINGLEVALUE('Reference',$,IFCIDENTIFIER('W-{number}'),$);
#{9}=IFCPROPERTYSINGLEVALUE('IsExternal',$,IFCBOOLEAN(.{external}.),$);
#{10}=IFCPROPERTYSINGLEVALUE('LoadBearing',$,IFCBOOLEAN(.T.),$);
#{11}=IFCPROPERTYSINGLEVALUE('FireRating',$,IFCLABEL('REI {rating}'),$);
#{12}=IFCPROPERTYSINGLEVALUE('ThermalTransmittance',$,IFCTHERMALTRANSMITTANCEMEASURE(0.{rating}),$);
#{13}=IFCPROPERTYSET('{pset}',$,'Pset_WallCommon',$,(#{8},#{9},#{10},#{11},#{12}));
#{14}=IFCRELDEFINESBYPROPERTIES('{rel}',$,$,$,(#{7}),#{13});
#{15}=IFCQUANTITYLENGTH('Length',$,$,{length:.3f},$);
#{16}=IFCQUANTITYVOLUME('NetVolume',$,$,{volume:.6f},$);
#{17}=IFCELEMENTQUANTITY('{qset}',$,'Qto_WallBaseQuantities',$,$,(#{15},#{16}));
#{18}=IFCRELDEFINESBYPROPERTIES('{qrel}',$,$,$,(#{7}),#{17});
"""


def write_walls(path: Path, count: int) -> Path:
    """`count` walls of different lengths on one storey, each with five properties and two quantities."""
    def guid(kind: int, number: int) -> str:
        digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_$"
        value, text = kind * 1_000_003 + number, ""
        for _ in range(22):
            value, digit = divmod(value, 64)
            text = digits[digit] + text
        return text

    names = dict(zip(("project", "site", "building", "storey", "r1", "r2", "r3"), (guid(1, n) for n in range(7)), strict=True))
    lines = [_HEAD.format(**names)]
    step, made = 100, []
    for number in range(count):
        length, height = 2.0 + (number * 37 % 1009) / 250, 2.6 + (number * 53 % 811) / 1000
        lines.append(_WALL.format(
            *range(step, step + 19), x=(number % 50) * 7.0, y=(number // 50) * 7.0, direction=13 + number % 2, length=length, height=height, number=number,
            external="T" if number % 3 else "F", rating=30 * (1 + number % 3), volume=length * height * 0.24, guid=guid(2, number), pset=guid(3, number),
            rel=guid(4, number), qset=guid(5, number), qrel=guid(6, number),
        ))  # fmt: skip
        made.append(f"#{step + 7}")
        step += 19
    lines.append(f"#{step}=IFCRELCONTAINEDINSPATIALSTRUCTURE('{guid(7, 0)}',$,$,$,({','.join(made)}),#22);\nENDSEC;\nEND-ISO-10303-21;\n")
    path.write_text("".join(lines), "ascii")
    return path

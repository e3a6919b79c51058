"""Small IFC models as text, so that a test can put any wrong thing into them. Lengths in the model's unit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

HEAD = "ISO-10303-21;\nHEADER;\nFILE_DESCRIPTION((''),'2;1');\nFILE_NAME('t.ifc','2024-01-01T00:00:00',(''),(''),'','','');\nFILE_SCHEMA(('{schema}'));\nENDSEC;\nDATA;\n"
TAIL = "ENDSEC;\nEND-ISO-10303-21;\n"

#: Project, contexts, site → building → storey; #40 is the storey's placement.
BASE = """#1=IFCPROJECT('0000000000000000000001',$,'P',$,$,$,$,(#2),#3);
#2=IFCGEOMETRICREPRESENTATIONCONTEXT($,'Model',3,1.E-5,#10,{true_north});
#3=IFCUNITASSIGNMENT(({units}));
#4=IFCSIUNIT(*,.LENGTHUNIT.,{prefix},.METRE.);
#5=IFCSIUNIT(*,.AREAUNIT.,$,.SQUARE_METRE.);
#6=IFCSIUNIT(*,.VOLUMEUNIT.,$,.CUBIC_METRE.);
#7=IFCSIUNIT(*,.THERMODYNAMICTEMPERATUREUNIT.,$,.DEGREE_CELSIUS.);
#10=IFCAXIS2PLACEMENT3D(#11,$,$);
#11=IFCCARTESIANPOINT((0.,0.,0.));
#12=IFCDIRECTION((0.,0.,1.));
#20=IFCSITE('0000000000000000000002',$,'S',$,$,#30,$,$,.ELEMENT.,{lat},{lon},{elevation},$,$);
#21=IFCBUILDING('0000000000000000000003',$,'B',$,$,#35,$,$,.ELEMENT.,$,$,$);
#22=IFCBUILDINGSTOREY('0000000000000000000004',$,'{storey}',$,$,#40,$,$,.ELEMENT.,3.);
#30=IFCLOCALPLACEMENT($,#10);
#35=IFCLOCALPLACEMENT(#30,#10);
#40=IFCLOCALPLACEMENT(#35,#10);
#50=IFCRELAGGREGATES('0000000000000000000005',$,$,$,#1,(#20));
#51=IFCRELAGGREGATES('0000000000000000000006',$,$,$,#20,(#21));
#52=IFCRELAGGREGATES('0000000000000000000007',$,$,$,#21,(#22));
#60=IFCRECTANGLEPROFILEDEF(.AREA.,$,#61,2.,1.);
#61=IFCAXIS2PLACEMENT2D(#62,$);
#62=IFCCARTESIANPOINT((0.,0.));
#63=IFCEXTRUDEDAREASOLID(#60,#10,#12,3.);
#64=IFCSHAPEREPRESENTATION(#2,'Body','SweptSolid',(#63));
#65=IFCREPRESENTATIONMAP(#10,#64);
"""

#: Two equal columns of one mapped shape, 10 units apart, on the storey.
COLUMNS = """#100=IFCCOLUMN('1000000000000000000001',$,'{name}',$,$,#101,#104,'T1'{predefined});
#101=IFCLOCALPLACEMENT(#40,#10);
#102=IFCMAPPEDITEM(#65,#103);
#103=IFCCARTESIANTRANSFORMATIONOPERATOR3D($,$,#11,$,$);
#104=IFCPRODUCTDEFINITIONSHAPE($,$,(#105));
#105=IFCSHAPEREPRESENTATION(#2,'Body','MappedRepresentation',(#102));
#110=IFCCOLUMN('{second_id}',$,'column 2',$,$,#111,#114,'T2'{predefined});
#111=IFCLOCALPLACEMENT(#40,#112);
#112=IFCAXIS2PLACEMENT3D(#113,$,$);
#113=IFCCARTESIANPOINT((10.,0.,0.));
#114=IFCPRODUCTDEFINITIONSHAPE($,$,(#115));
#115=IFCSHAPEREPRESENTATION(#2,'Body','MappedRepresentation',(#116));
#116=IFCMAPPEDITEM(#65,#103);
#120=IFCRELCONTAINEDINSPATIALSTRUCTURE('1000000000000000000009',$,$,$,(#100,#110),#22);
"""


def step_text(
    *extra: str, schema: str = "IFC4", name: str = "column 1", storey: str = "EG", prefix: str = "$", units: str = "#4,#5,#6,#7",
    lat: str = "$", lon: str = "$", elevation: str = "$", true_north: str = "$", second_id: str = "1000000000000000000002",
) -> str:  # fmt: skip
    """The text of a model of two columns; `extra` are more lines of its data section."""
    base = BASE.format(lat=lat, lon=lon, elevation=elevation, true_north=true_north, prefix=prefix, units=units, storey=storey)
    columns = COLUMNS.format(name=name, second_id=second_id, predefined="" if schema == "IFC2X3" else ",.COLUMN.")
    return HEAD.format(schema=schema) + base + columns + "".join(f"{line}\n" for line in extra) + TAIL


def write(folder: Path, text: str | bytes, name: str = "model.ifc") -> Path:
    """A file with this text."""
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.fixture
def step() -> Callable[..., str]:
    """`step(*lines, **changes)`: the text of a small model."""
    return step_text


@pytest.fixture
def model_file(tmp_path: Path) -> Callable[..., Path]:
    """`model_file(text, name="model.ifc")`: a file with this text."""
    return lambda text, name="model.ifc": write(tmp_path, text, name)

"""What is read of products from the text is what the parser says; what is written oddly is asked of the parser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ifcopenshell
import numpy as np
import pytest

from ingest_bim.ifc.products import Products
from ingest_bim.ifc.step_scan import StepText

LINES = """
#1=IFCPROJECT('0000000000000000000000',$,'P',$,$,$,$,(#2),$);
#2=IFCGEOMETRICREPRESENTATIONCONTEXT($,'Model',3,1.E-5,#3,$);
#3=IFCAXIS2PLACEMENT3D(#4,$,$);
#4=IFCCARTESIANPOINT((0.,0.,0.));
#5=IFCDIRECTION((0.,0.,1.));
#6=IFCDIRECTION((0.6,0.8,0.));
#7=IFCCARTESIANPOINT((1.5,-2.25E-1,3.));
#8=IFCAXIS2PLACEMENT3D(#7,#5,#6);
#9=IFCLOCALPLACEMENT($,#8);
#10=IFCLOCALPLACEMENT( #9 , #3 );
#11=IFCRECTANGLEPROFILEDEF(.AREA.,$,$,1.,2.);
#12=IFCEXTRUDEDAREASOLID(#11,#3,#5,3.);
#13=IFCSHAPEREPRESENTATION(#2,'Body','SweptSolid',(#12));
#14=IFCSHAPEREPRESENTATION(#2,'Axis','Curve2D',(#12));
#15=IFCSHAPEREPRESENTATION(#2,$,$,(#12, #12));
#16=IFCPRODUCTDEFINITIONSHAPE($,'it, said; (so)',(#14,#13,#15));
#17=IFCWALL('0000000000000000000017',$,'W',$,$,#10,#16,'t',$);
#18=IFCWALL('0000000000000000000018',$,'it''s, (#99)',$,$,#9,#16,$,$);
#19=IFCWALL('0000000000000000000019',$,$,$,$,$,$,$,$);
#20=IFCWALL('0000000000000000000020',$,$,$,$,#21,#22,$,$);
#21=IFCLOCALPLACEMENT(#21,#3);
#22=IFCPRODUCTDEFINITIONSHAPE($,$,(#23));
#23=IFCSHAPEREPRESENTATION($,'B\\X2\\00E4\\X0\\',$,(#12));
#24=IFCWALL('0000000000000000000024',$,$,$,$,#25,#98,$,$);
#25=IFCLOCALPLACEMENT(#9,#26);
#26=IFCAXIS2PLACEMENT3D(#4,#27,#28);
#27=IFCDIRECTION((0.,1.,1.));
#28=IFCDIRECTION((1.,0.,0.));
#29=IFCWALL('0000000000000000000029',$,$,$,$,#30,$,$,$);
#30=IFCLOCALPLACEMENT(#25,#31);
#31=IFCAXIS2PLACEMENT2D(#32,$);
#32=IFCCARTESIANPOINT((4.,5.));
#33=IFCWALL('0000000000000000000033',$,$,$,$,#34,$,$,$);
#34=IFCLOCALPLACEMENT(#9,#35);
#35=IFCAXIS2PLACEMENT3D(#4,#5,#5);
#36=IFCGROUP('0000000000000000000036',$,$,$,$);
"""
HEAD = "ISO-10303-21;\nHEADER;\nFILE_DESCRIPTION((''),'2;1');\nFILE_NAME('','',(''),(''),'','','');\nFILE_SCHEMA(('IFC4'));\nENDSEC;\nDATA;"


@pytest.fixture
def read(tmp_path: Path) -> tuple[Any, Products, Products]:
    """(the model, read with its text, read by the parser alone)."""
    path = tmp_path / "odd.ifc"
    path.write_text(f"{HEAD}{LINES}ENDSEC;\nEND-ISO-10303-21;\n", "ascii")
    model = ifcopenshell.open(str(path))
    return model, Products(model, StepText.of(path)), Products(model, None)


def test_the_text_says_what_the_parser_says(read: tuple[Any, Products, Products]) -> None:
    model, written, parsed = read
    walls = [wall.id() for wall in model.by_type("IfcWall")]
    assert len(walls) == 7
    assert written.cut is parsed.cut is False
    for step in (*walls, 1, 36):
        assert written.named(step) == parsed.named(step)
        assert written.bodies(step) == parsed.bodies(step)
    for step in walls:
        placement = written.named(step)[0]
        if placement:
            one, other = written.world(placement), parsed.world(placement)
            assert (one is None) == (other is None)
            assert one is None or other is None or one.tobytes() == other.tobytes(), "to the last bit"
    for name in (11, 12, 13, 17):
        assert written.kind(name) == parsed.kind(name) == model.by_id(name).is_a()
        assert written.above(name) == parsed.above(name)


def test_what_is_plain_is_not_asked_of_the_parser(read: tuple[Any, Products, Products]) -> None:
    _, written, _ = read
    written.model = None
    assert written.named(17) == (10, 16)
    assert [(part.name, part.context, part.identifier, part.items) for part in written.bodies(17)] == [(13, 2, "Body", [12]), (15, 2, None, [12, 12])]
    world = written.world(10)
    assert world is not None
    np.testing.assert_allclose(world, [[0.6, -0.8, 0, 1.5], [0.8, 0.6, 0, -0.225], [0, 0, 1, 3], [0, 0, 0, 1]], atol=1e-15)
    assert written.first(12) == 11
    assert written.first(7) == 0
    with pytest.raises(AttributeError):  # a doubled quote, a circle
        written.named(18)
    with pytest.raises(AttributeError):
        written.world(21)

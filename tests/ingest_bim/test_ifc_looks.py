"""Which look an element has where its items have none of their own, or several."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ingest_bim.ifc import reader as ifc
from twin.model import Mesh, Report

Step = Callable[..., str]
ModelFile = Callable[..., Path]
ID = "3000000000000000000001"
#: #903 is red, #913 is blue; #920 is shown in red, #930 in blue.
LOOKS = (
    "#901=IFCCOLOURRGB($,1.,0.,0.);", "#902=IFCSURFACESTYLESHADING(#901,$);", "#903=IFCSURFACESTYLE('red',.BOTH.,(#902));",
    "#911=IFCCOLOURRGB($,0.,0.,1.);", "#912=IFCSURFACESTYLESHADING(#911,$);", "#913=IFCSURFACESTYLE('blue',.BOTH.,(#912));",
    "#920=IFCMATERIAL('brick',$,$);", "#921=IFCSTYLEDITEM($,(#903),$);", "#922=IFCSTYLEDREPRESENTATION(#2,$,$,(#921));", "#923=IFCMATERIALDEFINITIONREPRESENTATION($,$,(#922),#920);",
    "#930=IFCMATERIAL('glass',$,$);", "#931=IFCSTYLEDITEM($,(#913),$);", "#932=IFCSTYLEDREPRESENTATION(#2,$,$,(#931));", "#933=IFCMATERIALDEFINITIONREPRESENTATION($,$,(#932),#930);",
)  # fmt: skip
#: Two boxes: volumes 6 (#63) and 1 (#942).
BODY = (
    "#940=IFCRECTANGLEPROFILEDEF(.AREA.,$,$,1.,1.);", "#942=IFCEXTRUDEDAREASOLID(#940,#10,#12,1.);", "#943=IFCSHAPEREPRESENTATION(#2,'Body','SweptSolid',({items}));",
    "#944=IFCPRODUCTDEFINITIONSHAPE($,$,(#943));", f"#945=IFCWINDOW('{ID}',$,'looks',$,$,#40,#944,$,$,$,$,$,$);",
)  # fmt: skip
RED, BLUE = (1.0, 0.0, 0.0, 1.0), (0.0, 0.0, 1.0, 1.0)


def areas(path: Path, kernel: str) -> dict[tuple[float, ...], float]:
    """The element's area by colour."""
    options = ifc.Options(crs="EPSG:4547", vertical="EGM96", anchor="500000,2500000,0", kernel=kernel)  # type: ignore[call-arg]
    mesh = next(b for b in ifc.read(path, options, Report()) if isinstance(b, Mesh))
    found: dict[tuple[float, ...], float] = {}
    for at in np.flatnonzero(mesh.instance_feature == mesh.ids.to_pylist().index(ID)):
        p = int(mesh.instance_prototype[at])
        span = slice(mesh.triangle_start[p], mesh.triangle_start[p + 1])
        points = mesh.positions[mesh.vertex_start[p] : mesh.vertex_start[p + 1]]
        a, b, c = (points[mesh.triangles[span, k]] for k in range(3))
        for material, area in zip(mesh.triangle_material[span], np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2, strict=True):
            color = mesh.materials[int(material)].color
            found[color] = found.get(color, 0.0) + float(area)
    return found


def body(items: str) -> list[str]:
    return [line.format(items=items) for line in BODY]


@pytest.mark.parametrize("kernel", ["auto", "opencascade"])
@pytest.mark.parametrize(
    "of",
    ["#950=IFCMATERIALPROFILESET($,$,(#951),$); #951=IFCMATERIALPROFILE($,$,#920,#940,$,$);", "#950=IFCMATERIALCONSTITUENTSET($,$,(#951)); #951=IFCMATERIALCONSTITUENT($,$,#920,$,$);",
     "#950=IFCMATERIALLAYERSET((#951),$,$); #951=IFCMATERIALLAYER(#920,0.1,$,$,$,$,$);", "#950=IFCMATERIALLIST((#920));", "#950=IFCMATERIALPROFILE($,$,#920,#940,$,$);"],
)  # fmt: skip
def test_a_set_of_one_material_looks_like_it(model_file: ModelFile, step: Step, of: str, kernel: str) -> None:
    lines = (*LOOKS, *body("#63"), of, f"#955=IFCRELASSOCIATESMATERIAL('{ID[:-1]}2',$,$,$,(#945),#950);")
    assert areas(model_file(step(*lines)), kernel) == {RED: pytest.approx(22)}


@pytest.mark.parametrize("kernel", ["auto", "opencascade"])
def test_of_two_sides_the_outer_one_is_shown(model_file: ModelFile, step: Step, kernel: str) -> None:
    lines = (*LOOKS, *body("#63"), "#950=IFCSURFACESTYLE('in',.NEGATIVE.,(#912));", "#951=IFCSURFACESTYLE('out',.POSITIVE.,(#902));", "#952=IFCSTYLEDITEM(#63,(#950,#951),$);")
    assert areas(model_file(step(*lines)), kernel) == {RED: pytest.approx(22)}


@pytest.mark.parametrize("kernel", ["auto", "opencascade"])
@pytest.mark.parametrize(("items", "assigned", "of", "seen"), [
    ("#63", "#943", "", {BLUE: 22}), ("#63", "#63", "", {BLUE: 22}),  # a representation, an item
    ("#63", "#943", "#952=IFCSTYLEDITEM(#63,(#903),$);", {RED: 22}), ("#63,#942", "#943", "#952=IFCSTYLEDITEM(#63,(#903),$);", {RED: 22, BLUE: 6}),
    ("#63", "#943", f"#955=IFCRELASSOCIATESMATERIAL('{ID[:-1]}2',$,$,$,(#945),#920);", {RED: 22}),
])  # fmt: skip
def test_the_look_of_a_layer_is_for_what_has_none(model_file: ModelFile, step: Step, items: str, assigned: str, of: str, seen: dict[tuple[float, ...], float], kernel: str) -> None:
    """IfcPresentationLayerWithStyle: a style of an item or a material comes before that of its layer."""
    lines = (*LOOKS, *body(items), of, f"#960=IFCPRESENTATIONLAYERWITHSTYLE('A',$,({assigned}),$,.T.,.F.,.F.,(#913));")
    assert areas(model_file(step(*lines)), kernel) == {color: pytest.approx(area) for color, area in seen.items()}


def test_layers_of_two_looks_change_nothing(model_file: ModelFile, step: Step) -> None:
    layer = "#96{}=IFCPRESENTATIONLAYERWITHSTYLE('A{}',$,({}),$,.T.,.F.,.F.,({}));"
    lines = (*LOOKS, *body("#63,#942"), layer.format(0, 0, "#63", "#913"), layer.format(1, 1, "#942", "#903"))
    found = areas(model_file(step(*lines)), "auto")
    assert sum(found.values()) == pytest.approx(28) and RED not in found and BLUE not in found

"""Units of an IFC model → SI, with the original kept.

IFC states units per project (IfcUnitAssignment), which a property or quantity may override. Factors follow
ISO 16739-1:2024, IfcMeasureResource: an IfcSIUnit's prefix applies to its base unit (a MILLI SQUARE_METRE is 1e-6 m²).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ingest_bim.ifc.step_access import attribute
from twin.errors import UnreadableSource

if TYPE_CHECKING:
    from twin.model import Report

PREFIX = {
    "EXA": 1e18, "PETA": 1e15, "TERA": 1e12, "GIGA": 1e9, "MEGA": 1e6, "KILO": 1e3, "HECTO": 1e2, "DECA": 1e1,
    "DECI": 1e-1, "CENTI": 1e-2, "MILLI": 1e-3, "MICRO": 1e-6, "NANO": 1e-9, "PICO": 1e-12, "FEMTO": 1e-15, "ATTO": 1e-18,
}  # fmt: skip
PREFIX_SIGN = {
    "EXA": "E", "PETA": "P", "TERA": "T", "GIGA": "G", "MEGA": "M", "KILO": "k", "HECTO": "h", "DECA": "da",
    "DECI": "d", "CENTI": "c", "MILLI": "m", "MICRO": "µ", "NANO": "n", "PICO": "p", "FEMTO": "f", "ATTO": "a",
}  # fmt: skip
#: IfcSIUnitName → (symbol, power of the prefix).
SI = {
    "METRE": ("m", 1), "SQUARE_METRE": ("m²", 2), "CUBIC_METRE": ("m³", 3), "GRAM": ("g", 1), "SECOND": ("s", 1), "AMPERE": ("A", 1),
    "KELVIN": ("K", 1), "DEGREE_CELSIUS": ("°C", 1), "MOLE": ("mol", 1), "CANDELA": ("cd", 1), "RADIAN": ("rad", 1),
    "STERADIAN": ("sr", 1), "HERTZ": ("Hz", 1), "NEWTON": ("N", 1), "PASCAL": ("Pa", 1), "JOULE": ("J", 1), "WATT": ("W", 1),
    "COULOMB": ("C", 1), "VOLT": ("V", 1), "FARAD": ("F", 1), "OHM": ("Ω", 1), "SIEMENS": ("S", 1), "WEBER": ("Wb", 1),
    "TESLA": ("T", 1), "HENRY": ("H", 1), "LUMEN": ("lm", 1), "LUX": ("lx", 1), "BECQUEREL": ("Bq", 1), "GRAY": ("Gy", 1), "SIEVERT": ("Sv", 1),
}  # fmt: skip
#: Unit type (IfcUnitEnum, IfcDerivedUnitEnum) → the SI symbol its values are given in.
SYMBOL = {
    "ABSORBEDDOSEUNIT": "Gy", "AMOUNTOFSUBSTANCEUNIT": "mol", "AREAUNIT": "m²", "DOSEEQUIVALENTUNIT": "Sv", "ELECTRICCAPACITANCEUNIT": "F",
    "ELECTRICCHARGEUNIT": "C", "ELECTRICCONDUCTANCEUNIT": "S", "ELECTRICCURRENTUNIT": "A", "ELECTRICRESISTANCEUNIT": "Ω", "ELECTRICVOLTAGEUNIT": "V",
    "ENERGYUNIT": "J", "FORCEUNIT": "N", "FREQUENCYUNIT": "Hz", "ILLUMINANCEUNIT": "lx", "INDUCTANCEUNIT": "H", "LENGTHUNIT": "m",
    "LUMINOUSFLUXUNIT": "lm", "LUMINOUSINTENSITYUNIT": "cd", "MAGNETICFLUXDENSITYUNIT": "T", "MAGNETICFLUXUNIT": "Wb", "MASSUNIT": "kg",
    "PLANEANGLEUNIT": "rad", "POWERUNIT": "W", "PRESSUREUNIT": "Pa", "RADIOACTIVITYUNIT": "Bq", "SOLIDANGLEUNIT": "sr",
    "THERMODYNAMICTEMPERATUREUNIT": "K", "TIMEUNIT": "s", "VOLUMEUNIT": "m³",
    "ACCELERATIONUNIT": "m/s²", "ANGULARVELOCITYUNIT": "rad/s", "AREADENSITYUNIT": "kg/m²", "CURVATUREUNIT": "rad/m", "DYNAMICVISCOSITYUNIT": "Pa·s",
    "HEATFLUXDENSITYUNIT": "W/m²", "HEATINGVALUEUNIT": "J/kg", "INTEGERCOUNTRATEUNIT": "1/s", "IONCONCENTRATIONUNIT": "kg/m³",
    "ISOTHERMALMOISTURECAPACITYUNIT": "m³/kg", "KINEMATICVISCOSITYUNIT": "m²/s", "LINEARFORCEUNIT": "N/m", "LINEARMOMENTUNIT": "N",
    "LINEARSTIFFNESSUNIT": "N/m", "LINEARVELOCITYUNIT": "m/s", "LUMINOUSINTENSITYDISTRIBUTIONUNIT": "cd/lm", "MASSDENSITYUNIT": "kg/m³",
    "MASSFLOWRATEUNIT": "kg/s", "MASSPERLENGTHUNIT": "kg/m", "MODULUSOFELASTICITYUNIT": "Pa", "MODULUSOFLINEARSUBGRADEREACTIONUNIT": "N/m²",
    "MODULUSOFROTATIONALSUBGRADEREACTIONUNIT": "N/rad", "MODULUSOFSUBGRADEREACTIONUNIT": "N/m³", "MOISTUREDIFFUSIVITYUNIT": "m³/s",
    "MOLECULARWEIGHTUNIT": "kg/mol", "MOMENTOFINERTIAUNIT": "m⁴", "PHUNIT": "pH", "PLANARFORCEUNIT": "N/m²", "ROTATIONALFREQUENCYUNIT": "1/s",
    "ROTATIONALMASSUNIT": "kg·m²", "ROTATIONALSTIFFNESSUNIT": "N·m/rad", "SECTIONAREAINTEGRALUNIT": "m⁵", "SECTIONMODULUSUNIT": "m³",
    "SHEARMODULUSUNIT": "Pa", "SOUNDPOWERUNIT": "W", "SOUNDPRESSUREUNIT": "Pa", "SOUNDPOWERLEVELUNIT": "dB", "SOUNDPRESSURELEVELUNIT": "dB",
    "SPECIFICHEATCAPACITYUNIT": "J/(kg·K)", "TEMPERATUREGRADIENTUNIT": "K/m", "TEMPERATURERATEOFCHANGEUNIT": "K/s",
    "THERMALADMITTANCEUNIT": "W/(m²·K)", "THERMALCONDUCTANCEUNIT": "W/(m·K)", "THERMALEXPANSIONCOEFFICIENTUNIT": "1/K",
    "THERMALRESISTANCEUNIT": "m²·K/W", "THERMALTRANSMITTANCEUNIT": "W/(m²·K)", "TORQUEUNIT": "N·m", "VAPORPERMEABILITYUNIT": "kg/(s·m·Pa)",
    "VOLUMETRICFLOWRATEUNIT": "m³/s", "WARPINGCONSTANTUNIT": "m⁶", "WARPINGMOMENTUNIT": "N·m²",
}  # fmt: skip
#: Measures that are not called after their unit's type.
MEASURES = {"MONETARY": "MONETARYUNIT", "WEIGHT": "MASSUNIT", "HEATING": "HEATINGVALUEUNIT"}
#: Metres of a unit of length that is one: from the nanometre to a thousand kilometres.
SHORTEST, LONGEST = 1e-9, 1e6
#: Radians of a unit of plane angles that is one: from a millionth of a second of arc to a turn, and a little more.
NARROWEST, WIDEST = 1e-12, 7.0
_SUPER = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True, slots=True)
class Unit:
    """SI value = value × factor + offset; `symbol` is the SI unit's, `original` the source unit's name."""

    factor: float
    symbol: str
    original: str
    offset: float = 0.0


NONE = Unit(1.0, "", "")


def read_unit(unit: Any, depth: int = 0) -> Unit:
    """An IfcUnit entity → its conversion to SI; unknown kinds keep their value (factor 1) and name."""
    if unit is None or depth > 8:
        return NONE
    kind = unit.is_a()
    if kind == "IfcSIUnit":
        return _si(unit)
    if kind in ("IfcConversionBasedUnit", "IfcConversionBasedUnitWithOffset"):
        return _converted(unit, depth)
    if kind == "IfcDerivedUnit":
        return _derived(unit, depth)
    if kind == "IfcMonetaryUnit":
        return Unit(1.0, str(unit.Currency), str(unit.Currency))
    return Unit(1.0, "", str(attribute(unit, "Name", "")))


def _converted(unit: Any, depth: int) -> Unit:
    """A conversion-based unit: SI = (value − ConversionOffset) × ConversionFactor (IFC 4.3, IfcConversionBasedUnitWithOffset: °F = 1.8 K − 459.67, factor 1/1.8).

    Of temperatures both signs of the offset are met, as if it were added first; but every scale has its zero above the absolute one and, of those built on °C,
    Fahrenheit's lies below. The documentation of IFC4 prints Fahrenheit's factor upside down.
    """
    base = unit.ConversionFactor
    inner = read_unit(base.UnitComponent, depth + 1) if base else NONE
    factor, offset = float(base.ValueComponent.wrappedValue) if base else 1.0, float(attribute(unit, "ConversionOffset", 0.0))
    if offset and unit.UnitType == "THERMODYNAMICTEMPERATUREUNIT":
        offset = abs(offset) if inner.offset else -abs(offset)
        factor = 1 / factor if math.isclose(factor, 1.8, rel_tol=1e-6) else factor
    return Unit(factor * inner.factor, inner.symbol or SYMBOL.get(unit.UnitType, ""), unit.Name or "", inner.offset - offset * factor * inner.factor)


def _si(unit: Any) -> Unit:
    symbol, power = SI.get(unit.Name, (str(unit.Name), 1))
    prefix = unit.Prefix
    factor = PREFIX.get(prefix, 1.0) ** power if prefix else 1.0
    original = PREFIX_SIGN.get(prefix, "") + symbol if prefix else symbol
    if unit.Name == "GRAM":
        return Unit(factor * 1e-3, "kg", original)
    if unit.Name == "DEGREE_CELSIUS":
        return Unit(factor, "K", original, 273.15)
    return Unit(factor, symbol, original)


def _derived(unit: Any, depth: int) -> Unit:
    factor, si, original = 1.0, [], []
    for element in unit.Elements:
        inner, power = read_unit(element.Unit, depth + 1), element.Exponent
        factor *= inner.factor**power
        sign = "" if power == 1 else str(power).translate(_SUPER)
        si.append(f"{inner.symbol}{sign}")
        original.append(f"{inner.original}{sign}")
    kind = unit.UserDefinedType if unit.UnitType == "USERDEFINED" else unit.UnitType
    return Unit(factor, SYMBOL.get(kind, "·".join(si)), "·".join(original))


class Units:
    """The units of a model: by measure type, unless a property names its own.

    Attributes:
        by_type: by type of the unit. stated: whether there is one of length. odd_angle: the instance of one of plane angles that is none, in whose place another is taken.
    """

    def __init__(self, model: Any) -> None:
        self.by_type: dict[str, Unit] = {}
        self._measures: dict[str, Unit] = {}
        self._own: dict[int, Unit] = {}
        self.stated = False
        self.odd_angle: Any = None
        for project in [*model.by_type("IfcProject"), *(model.by_type("IfcProjectLibrary") if model.schema != "IFC2X3" else [])]:
            assigned = project.UnitsInContext
            for unit in assigned.Units if assigned else ():
                kind = attribute(unit, "UnitType", "MONETARYUNIT")
                if kind == "USERDEFINED":
                    kind = str(unit.UserDefinedType)
                if kind not in self.by_type:
                    self.by_type[kind] = read_unit(unit)
                    self.stated |= kind == "LENGTHUNIT"
                    if kind == "PLANEANGLEUNIT" and (meant := angle_meant(unit)) is not None:
                        self.odd_angle, self.by_type[kind] = unit, meant

    @property
    def length(self) -> float:
        """Metres per project length unit (1 where the model states none)."""
        return self.by_type["LENGTHUNIT"].factor if "LENGTHUNIT" in self.by_type else 1.0

    def own(self, unit: Any) -> Unit:
        """A unit named by a property itself, read once."""
        key = unit.id()
        if key not in self._own:
            self._own[key] = read_unit(unit)
        return self._own[key]

    def of_measure(self, measure: str) -> Unit:
        """The unit of values of a measure type, e.g. IfcPositiveLengthMeasure → that of LENGTHUNIT."""
        if measure not in self._measures:
            self._measures[measure] = self._find(measure)
        return self._measures[measure]

    def _find(self, measure: str) -> Unit:
        if not measure.endswith("Measure"):
            return NONE
        name = measure.removeprefix("Ifc").removesuffix("Measure")
        for prefix in ("Positive", "NonNegative"):
            name = name.removeprefix(prefix)
        kind = MEASURES.get(name.upper(), name.upper() + "UNIT")
        if kind in self.by_type:
            return self.by_type[kind]
        return Unit(1.0, SYMBOL[kind], SYMBOL[kind]) if kind in SYMBOL else NONE


def angle_meant(unit: Any) -> Unit | None:
    """What a unit of plane angles that is none (of 0 rad, negative, not finite) is taken for: the degree where it is called so, else the radian. None of one that is a unit."""
    if NARROWEST <= read_unit(unit).factor <= WIDEST:
        return None
    name = str(attribute(unit, "Name", ""))
    return Unit(math.radians(1), "rad", name) if name.lower().startswith("deg") else Unit(1.0, "rad", "rad")


def one_angle(units: Units, where: str, report: Report) -> None:
    """Say what is taken for a unit of plane angles that is none."""
    unit = units.odd_angle
    if unit is not None:
        taken = "radians are taken" if units.by_type["PLANEANGLEUNIT"].factor == 1.0 else "degrees are taken, as it is called so"
        report.note("assumed", "", f"{where} states a unit of plane angles of {read_unit(unit).factor:g} rad (#{unit.id()} {attribute(unit, 'Name', '')}): {taken}. "
                                   "Correct its ConversionFactor, or export the model again, if what is revolved looks wrong.")  # fmt: skip


def one_length(model: Any, where: str, report: Report) -> None:
    """Of several projects in one file (merged models) the first one's units are taken.

    Raises:
        UnreadableSource: another one measures lengths otherwise, so that part of the model would have the wrong size; or the unit is none: 0, negative, of itself.
    """
    first, *others = model.by_type("IfcProject") or [None]
    length = _length_of(first)
    if length is not None and (not SHORTEST <= length <= LONGEST or _is_circular(_length_unit(first))):
        what = "in terms of itself" if _is_circular(_length_unit(first)) else f"of {length:g} m"
        raise UnreadableSource(f"{where} states a unit of length {what}: nothing can be drawn in it.", "Correct its IfcUnitAssignment, or export the model again.")
    for project in others:
        factors = {factor for factor in map(_length_of, (first, project)) if factor is not None}
        if len(factors) > 1:
            raise UnreadableSource(f"{where} holds {len(others) + 1} projects in different length units ({' and '.join(f'{f:g} m' for f in sorted(factors))}).",
                                   "Deliver each project as a file of its own.")  # fmt: skip
        report.note("warned", str(project.GlobalId or ""), f"#{project.id()} is a second IfcProject: units and georeference are those of the first.")


def _length_of(project: Any) -> float | None:
    unit = _length_unit(project)
    return read_unit(unit).factor if unit is not None else None


def _length_unit(project: Any) -> Any:
    assigned = attribute(project, "UnitsInContext")
    return next((unit for unit in attribute(assigned, "Units", ()) if attribute(unit, "UnitType") == "LENGTHUNIT"), None) if assigned is not None else None


def _is_circular(unit: Any) -> bool:
    """Whether a unit is, in the end, a multiple of itself."""
    seen: set[int] = set()
    while unit is not None and unit.id() not in seen:
        seen.add(unit.id())
        unit = attribute(attribute(unit, "ConversionFactor"), "UnitComponent")
    return unit is not None

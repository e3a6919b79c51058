"""SWMM input files as text: sections, node places, and the changes that a coupled run needs, each told to the user."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

from twin.errors import BadInput
from twin.model import Report

NODES = ("JUNCTIONS", "OUTFALLS", "STORAGE", "DIVIDERS")
METRIC_UNITS = ("CMS", "LPS", "MLD")
HYDROLOGY = ("SUBCATCHMENTS", "SUBAREAS", "INFILTRATION", "LID_CONTROLS", "LID_USAGE", "AQUIFERS", "GROUNDWATER", "GWF", "SNOWPACKS", "RAINGAGES", "COVERAGES",
             "LOADINGS", "RDII", "HYDROGRAPHS", "TEMPERATURE", "ADJUSTMENTS", "POLYGONS", "SYMBOLS", "TAGS")  # fmt: skip
"""Sections that turn rain into inflow inside SWMM; left out when the surface model takes the rain."""
DUAL = ("INLETS", "INLET_USAGE", "STREETS")


def sections(text: str) -> dict[str, list[str]]:
    """Lines of each section (without comments and blanks), names in capitals; a shortened name (`[COORD]`) is accepted as SWMM does.

    Raises:
        BadInput: not a SWMM file: no section of nodes or no options.
    """
    found: dict[str, list[str]] = {}
    name = ""
    for raw in text.splitlines():
        line = raw.split(";", 1)[0].rstrip()
        header = re.match(r"\s*\[\s*([A-Za-z_]+)\s*\]?", line)
        if header:
            name = header.group(1).upper()
            name = {"OUTFALL": "OUTFALLS", "JUNCTION": "JUNCTIONS", "COORDINATE": "COORDINATES", "CONDUIT": "CONDUITS", "OPTION": "OPTIONS"}.get(name, name)
            found.setdefault(name, [])
        elif line.strip() and name:
            found[name].append(line)
    if not any(found.get(section) for section in NODES) or "OPTIONS" not in found:
        raise BadInput("network_inp is not a SWMM 5 input file: it has no [OPTIONS] or no nodes.", "Give the text of an .inp file (--set network_inp=@file.inp).")
    return found


def options(found: dict[str, list[str]]) -> dict[str, str]:
    """[OPTIONS], names in capitals."""
    return {parts[0].upper(): " ".join(parts[1:]) for parts in (line.split() for line in found["OPTIONS"]) if len(parts) > 1}


def nodes(found: dict[str, list[str]]) -> dict[str, tuple[str, tuple[float, float] | None]]:
    """{name: (section, (x, y) or None)} of every node.

    Raises:
        BadInput: a coordinate that is not a number.
    """
    places: dict[str, tuple[float, float]] = {}
    for line in found.get("COORDINATES", []):
        parts = line.split()
        try:
            places[parts[0]] = float(parts[1]), float(parts[2])
        except (IndexError, ValueError) as error:
            raise BadInput(f"network_inp, [COORDINATES]: {line.strip()!r} is not a name and two numbers.") from error
    return {line.split()[0]: (section, places.get(line.split()[0])) for section in NODES for line in found.get(section, [])}


def prepare(text: str, hours: float, *, keep_hydrology: bool, report: Report) -> str:
    """The file that the coupled run gives SWMM.

    Changed, and said in the report: the end of the simulation; ponding is allowed (the coupled nodes get a small area, all others keep
    theirs, or none where the file did not allow it); kinematic or steady routing becomes dynamic, without which nothing surcharges;
    and, unless kept, rain, catchments and inlets of the file, whose water the surface model already has.

    Raises:
        BadInput: a start date that cannot be read; a part of the network that lies in another file.
    """
    found = sections(text)
    values = options(found)
    dropped = [name for name in HYDROLOGY if found.get(name)] if not keep_hydrology else []
    if any(name in dropped for name in ("SUBCATCHMENTS", "RDII")):
        report.note("skipped", "network_inp", f"its rain runoff ({len(found.get('SUBCATCHMENTS', []))} subcatchments, {len(found.get('RDII', []))} RDII inflows): "
                                                   "the rain falls on the surface model; keep it with network_runoff=subcatchments")  # fmt: skip
    if found.get("INLET_USAGE"):
        report.note("skipped", "network_inp", f"[INLET_USAGE] ({len(found['INLET_USAGE'])} street inlets): the surface model takes the place of the file's streets")
        dropped += [name for name in DUAL if name != "STREETS"]
    for name, lines in found.items():
        if name in dropped or name in ("FILES", "MAP", "BACKDROP"):
            continue
        for line in lines:
            if re.search(r"\bFILE\s+\S", line, re.IGNORECASE):
                raise BadInput(f"network_inp, [{name}]: {line.strip()!r} needs another file.", "Put the series into [TIMESERIES] itself.")
    routing = values.get("FLOW_ROUTING", "").upper()
    if routing not in ("DYNWAVE", "DW"):
        report.note("repaired", "network_inp", f"FLOW_ROUTING {routing or 'not given'} became DYNWAVE: other routings cannot surcharge a manhole")
        values["FLOW_ROUTING"] = "DYNWAVE"
    values["ALLOW_PONDING"] = "YES"
    begin = _moment(values)
    end = begin + timedelta(hours=hours) + timedelta(minutes=1)
    values |= {"START_DATE": begin.strftime("%m/%d/%Y"), "START_TIME": begin.strftime("%H:%M:%S"), "END_DATE": end.strftime("%m/%d/%Y"), "END_TIME": end.strftime("%H:%M:%S"),
               "REPORT_START_DATE": begin.strftime("%m/%d/%Y"), "REPORT_START_TIME": begin.strftime("%H:%M:%S")}  # fmt: skip
    found["OPTIONS"] = [f"{name} {value}" for name, value in values.items()]
    skip = {*dropped, "FILES", "MAP", "BACKDROP", "PROFILES", "LABELS", "VERTICES", "REPORT"}
    return "\n".join(f"[{name}]\n" + "\n".join(lines) + "\n" for name, lines in found.items() if name not in skip) + "[REPORT]\nINPUT NO\nCONTINUITY YES\nFLOWSTATS YES\n"


def ponded(found: dict[str, list[str]]) -> dict[str, float]:
    """Ponded area that the file gives each junction, in its own units; all 0 where it does not allow ponding."""
    allowed = options(found).get("ALLOW_PONDING", "NO").upper() == "YES"
    return {p[0]: float(p[5]) if allowed and len(p) > 5 else 0.0 for p in (line.split() for line in found.get("JUNCTIONS", []))}


def forbid_ponding(text: str) -> str:
    """The file with all ponded areas of junctions set to 0 (for one that did not allow ponding)."""
    found = sections(text)
    found["JUNCTIONS"] = [" ".join([*p[:5], "0"]) if len(p) > 5 else " ".join(p) for p in (line.split() for line in found.get("JUNCTIONS", []))]
    return "\n".join(f"[{name}]\n" + "\n".join(lines) + "\n" for name, lines in found.items())


def _moment(values: dict[str, str]) -> datetime:
    text = f"{values.get('START_DATE', '01/01/2000')} {values.get('START_TIME', '00:00:00')}".replace("-", "/")
    for form in ("%m/%d/%Y %H:%M:%S", "%m/%d/%Y %H:%M", "%b/%d/%Y %H:%M:%S", "%b/%d/%Y %H:%M"):
        try:
            return datetime.strptime(text, form)  # noqa: DTZ007  SWMM's clock has no zone
        except ValueError:
            continue
    raise BadInput(f"network_inp, [OPTIONS]: the start {text!r} is not a date and time of SWMM.", "Write START_DATE month/day/year and START_TIME hh:mm:ss.")


def units(found: dict[str, list[str]]) -> dict[str, Any]:
    """Flow units as written, and whether lengths are metres."""
    flow = options(found).get("FLOW_UNITS", "CFS").upper()
    return {"flow": flow, "metric": flow in METRIC_UNITS}

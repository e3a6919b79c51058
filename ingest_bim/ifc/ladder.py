"""Shaping with several engines: the quickest first, checked against the reference kernel, nothing lost, nothing hangs.

Elements are grouped by how they are built; each group climbs its ladder of engines (`ingest_bim.ifc.groups.ladder`). A few elements of
a group are also shaped by the reference kernel and compared: volume (area for open surfaces) within 0.5%, bounding box
within 1 mm. A group that differs goes to the next engine; so does every element that an engine could not shape. Groups go
their ways independently, so that no process waits for another group's slowest element. Tessellations are taken from the file
and need no guard.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol

from ingest_bim.geometry.host import CLIP, DIRECT, PLAIN, TOO_LARGE, Task
from ingest_bim.ifc.geometry import FAST, MIDDLE, REFERENCE, Shape, Shapes, compare
from ingest_bim.ifc.groups import FACES, Group, by_group, ladder

SAMPLES = 2
#: Of the time an element may take, what an engine may that is tried because it is quick, and the reference on a sample.
QUICK = 0.25
#: An engine in this process: step id → ("ok", Shape), or another state and the reason.
Local = Callable[[int], tuple[str, Any]]


class Shaper(Protocol):
    """Where tasks go: `ingest_bim.ifc.geometry.Host`."""

    def submit(self, tasks: list[Task]) -> None:
        """Queue tasks."""
        ...

    def result(self) -> tuple[int, str, Any]:
        """The next outcome."""
        ...


@dataclass
class _Climb:
    """A group on its ladder: the members that its present engine shapes, then the samples that are compared; `back`: the rung for what the reference cannot do."""

    group: Group
    members: list[int]
    rungs: tuple[str, ...]
    rung: int = 0
    back: int | None = None
    waiting: int = 0
    samples: list[int] = field(default_factory=list)
    checking: bool = False

    @property
    def kernel(self) -> str:
        return self.rungs[self.rung]

    @property
    def name(self) -> str:
        return f"{' + '.join(self.group)}, {len(self.members)} shapes: {self.kernel}"


def shape_all(
    host: Shaper, groups: dict[Group, list[int]], kernel: str, progress: Callable[[int], None] = lambda done: None, plain: Local | None = None,
    known: Mapping[Group, list[str]] = MappingProxyType({}),
) -> Shapes:  # fmt: skip
    """Shape all elements (step ids by group): `auto` (guarded), `fast` (unguarded), `opencascade`.

    `progress` is told how many are done; `plain` is the engine for plain bodies (None: they go to the kernels); `known` names by group the engines of
    the shapes that need not be made: which engine an element goes to does not depend on what a cache holds.
    """
    work = _Work(host, guard=kernel == "auto", progress=progress, plain=plain, built={step: group for group, members in groups.items() for step in members}, known=known)
    merged: dict[tuple[Group, tuple[str, ...]], list[int]] = {}
    alike: Counter[tuple[Group, tuple[str, ...]]] = Counter()
    for group in sorted({*groups, *known}):
        rungs = ladder(group, kernel)
        if plain is None and rungs[0] == PLAIN:
            rungs = rungs[1:]
        one = _alike(group, rungs[0]), rungs
        alike[one] += len(known.get(group, ()))
        if group in groups:
            merged.setdefault(one, []).extend(groups[group])
    # what is shaped in this process comes last, so that the others have begun
    for one, members in sorted(merged.items(), key=lambda item: item[0][1][0] == PLAIN):
        work.climb(one[0], members, one[1], 0, alike[one])
    work.run()
    return work.result(groups, kernel)


def _alike(group: Group, kernel: str) -> Group:
    """Groups that are checked as one: what an engine of our own could get wrong does not depend on the rest; to it a list of faces is a list of faces."""
    if kernel == CLIP:
        return (CLIP,)
    if kernel != PLAIN:
        return group
    return tuple(sorted({"faces" if kind in FACES else kind for kind in group if kind != "several"}))


@dataclass
class _Work:
    """What has been shaped so far, by (step id, engine)."""

    host: Shaper
    guard: bool
    progress: Callable[[int], None]
    plain: Local | None = None
    built: dict[int, Group] = field(default_factory=dict)
    known: Mapping[Group, list[str]] = field(default_factory=dict)
    made: dict[tuple[int, str], Shape] = field(default_factory=dict)
    lost: dict[tuple[int, str], tuple[str, str]] = field(default_factory=dict)
    tasks: dict[int, tuple[int, str, _Climb]] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)
    stalled: set[int] = field(default_factory=set)
    full: set[int] = field(default_factory=set)
    compared: int = 0
    numbers: int = 0

    def run(self) -> None:
        """Take outcomes until none is missing."""
        while self.tasks:
            number, state, value = self.host.result()
            step, kernel, climb = self.tasks.pop(number)
            if climb.checking and state == "stalled":
                self.findings.append(f"{climb.name}: #{step} is not compared, as {kernel} took too long ({value})")
            else:
                self.take(step, kernel, state, Shape(*value[:5], kernel, *value[5:]) if state == "ok" else value)  # type: ignore[call-arg]
            climb.waiting -= 1
            if climb.waiting == 0:
                self.advance(climb)

    def take(self, step: int, kernel: str, state: str, value: Any) -> None:
        """One outcome: a shape, or the reason why there is none."""
        if state == "ok":
            self.made[step, kernel] = value
        else:
            self.lost[step, kernel] = (state, value)
        self.progress(len(self.made))

    def climb(self, group: Group, members: list[int], rungs: tuple[str, ...], rung: int, others: int) -> None:
        """Send members of a group up from a rung, which `others` went up before; a group that its samples would exhaust needs no guess, and what the reference cannot do of it is tried there after all."""
        few = 1 if rung else SAMPLES
        if self.guard and len(members) + others <= few and rungs[rung] not in (DIRECT, CLIP, REFERENCE) and self.stalled.isdisjoint(members):
            self.begin(_Climb(group, members, rungs, len(rungs) - 1, rung))
        else:
            self.begin(_Climb(group, members, rungs, rung))

    def begin(self, climb: _Climb) -> None:
        """Shape a group's members with its present engine."""
        climb.checking = False
        self.submit(climb, climb.members, climb.kernel)

    def submit(self, climb: _Climb, steps: list[int], kernel: str) -> None:
        """Queue what this engine has not seen; go on at once where that is nothing."""
        tasks: list[Task] = []
        share = 1.0 if kernel == DIRECT or (kernel == REFERENCE and not climb.checking and not climb.back) else QUICK  # no other engine is better at triangles
        for step in steps:
            if (step, kernel) in self.made or (step, kernel) in self.lost:
                continue
            if kernel == PLAIN and self.plain is not None:
                self.take(step, kernel, *self.plain(step))
            else:
                if share == 1.0:
                    self.full.add(step)
                tasks.append((self.numbers, step, kernel, "+".join(climb.group), share))
                self.tasks[self.numbers] = (step, kernel, climb)
                self.numbers += 1
        climb.waiting = len(tasks)
        if tasks:
            self.host.submit(tasks)
        else:
            self.advance(climb)

    def advance(self, climb: _Climb) -> None:
        """All outcomes that a group waited for are here: check it, or send what is left to the next engine."""
        kernel = climb.kernel
        if kernel == REFERENCE:
            lost = self._lost(climb.members, kernel)
            if climb.back is not None and lost:
                for step in lost:
                    if step not in self.full and self.lost[step, kernel][0] == "stalled":  # it had a part of its time: where the others fail, it has all of it
                        del self.lost[step, kernel]
                        self.stalled.add(step)
                self.begin(_Climb(climb.group, lost, climb.rungs, climb.back))
            return
        if not climb.checking and self.guard and kernel != DIRECT:
            climb.checking, climb.samples = True, self._pick(climb.members, kernel)
            self.submit(climb, climb.samples, REFERENCE)
            return
        bad = self._worst(climb.samples, kernel) if climb.checking else ""
        lost = self._lost(climb.members, kernel)
        if bad:
            self.findings.append(f"{climb.name} differs from {REFERENCE} ({bad}): not used")
            for step in climb.members:
                self.made.pop((step, kernel), None)
            left = climb.members
        elif lost:
            states = sorted({f"{self.lost[s, kernel][0]}" for s in lost})
            self.findings.append(f"{climb.name} {' and '.join(states)} on {len(lost)}: those by another kernel")
            left = lost
        else:
            return
        for group, members in by_group(self.built, iter(left)).items() if kernel == PLAIN else ((climb.group, left),):  # to a kernel surfaces are not solids
            self.climb(group, members, climb.rungs, climb.rung + 1, sum(engine not in climb.rungs[: climb.rung + 1] for engine in self.known.get(group, ())))

    def _lost(self, members: list[int], kernel: str) -> list[int]:
        """Those that an engine could not shape.

        One of the parser's quick kernels has been seen to make nothing of a wall with a round opening, so from those nothing is not believed.
        Triangles that are too many to be taken as they are stated are so for kernels, which need several times the memory.
        """
        final = {("failed", TOO_LARGE)} if kernel == DIRECT else set()
        lost = [s for s in members if (s, kernel) in self.lost and self.lost[s, kernel] not in final]
        return [s for s in lost if kernel in (FAST, MIDDLE) or self.lost[s, kernel][0] != "empty"]

    def _pick(self, members: list[int], kernel: str) -> list[int]:
        """Samples of a group: a quarter and a third up by number of triangles (heavy ones would cost what the engine saves)."""
        shaped = sorted((len(self.made[s, kernel].triangles), s) for s in members if (s, kernel) in self.made)
        return list(dict.fromkeys(shaped[(len(shaped) - 1) // part][1] for part in (4, 3)[:SAMPLES])) if shaped else []

    def _worst(self, samples: list[int], kernel: str) -> str:
        for step in samples:
            one, other = self.made.get((step, kernel)), self.made.get((step, REFERENCE))
            if one is None or other is None:
                continue
            self.compared += 1
            if difference := compare(one, other):
                return f"#{step}: {difference}"
        return ""

    def result(self, groups: dict[Group, list[int]], kernel: str) -> Shapes:
        """Of each element the shape of the first engine that its group did not leave, or why there is none.

        Samples have it too, although the reference's is there: which elements are samples depends on the others, their shapes must not.
        """
        result = Shapes(findings=sorted(self.findings))
        counts: Counter[str] = Counter()
        for group, members in groups.items():
            rungs = ladder(group, kernel)
            for step in members:
                found = next((k for k in rungs if (step, k) in self.made), None)
                if found is not None:
                    result.shapes[step] = self.made[step, found]
                    counts[found] += 1
                else:
                    result.skipped[step] = next(self.lost[step, k] for k in reversed(rungs) if (step, k) in self.lost)
        result.facts = {"kernels": dict(sorted(counts.items())), "samples_compared": self.compared, "guard": result.findings}
        return result

"""Killed with SIGKILL at any moment, the city shows the old version or the new one, and the next start finishes the work.

Real `twin ingest` processes are killed at random points of every stage; the stage is read from the job's own row. After
each kill the published archive must hash to its name and be one of the versions that were ever completed. The test
prints how many kills landed where (run with -s to see it).
"""

from __future__ import annotations

import hashlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import geopandas
import numpy as np
import psutil
import pytest
import shapely

from twin import intake, tasks
from twin.city import City
from twin.jobs import Jobs
from twin.shell import INTERRUPTED

KILLS = 52
SECONDS = {"reading": 0.2, "encoding": 0.25, "archiving": 0.005, "publishing": 0.005}
STAGES = ("reading", "encoding", "archiving", "publishing")
TWIN = [sys.executable, "-m", "twin.cli"]


def delivery(path: Path, seed: int, count: int = 6000) -> Path:
    """A GeoPackage of square buildings with a height and an absolute base."""
    rng = np.random.default_rng(seed)
    x, y = 400_000 + (np.arange(count) % 80) * 30.0, 2_490_000 + (np.arange(count) // 80) * 30.0
    side = rng.uniform(8, 20, count)
    frame = geopandas.GeoDataFrame(
        {"id": [f"b{i:05d}" for i in range(count)], "height": rng.uniform(3, 90, count).round(2), "base": rng.uniform(1, 5, count).round(2)},
        geometry=shapely.box(x, y, x + side, y + side), crs="EPSG:4547",
    )  # fmt: skip
    frame.to_file(path, driver="GPKG", layer="buildings")
    return path


def arguments(source: Path, home: Path) -> list[str]:
    return [*TWIN, "ingest", str(source), "--layer", "buildings", "--reader", "footprints", "--vertical", "ellipsoid", "--option", "height=height",
            "--option", "base=base", "--home", str(home), "--json"]  # fmt: skip


class Watch:
    """The stage of the job that a command works on (in a fork of its process), read from outside over one open connection."""

    def __init__(self, home: Path, pid: int) -> None:
        self.database = sqlite3.connect(f"file:{home / 'catalog.sqlite'}?mode=ro", uri=True, timeout=1)
        self.forks, self.owner = Path(f"/proc/{pid}/task/{pid}/children"), ""

    def stage(self) -> str:
        """Empty before it has claimed a job, and after."""
        try:
            if not self.owner and (forks := self.forks.read_text().split()):
                self.owner = f"%|{forks[0]}|%"
        except OSError:  # it has ended
            return ""
        try:
            row = self.database.execute("select stage from jobs where state = 'running' and owner like ?", (self.owner,)).fetchone()
        except sqlite3.OperationalError:
            return ""
        return row[0] if row else ""


def reached(now: str, target: str) -> bool:
    return now in STAGES and STAGES.index(now) >= STAGES.index(target)


def published(home: Path) -> tuple[int, str]:
    """(version, checksum of the archive the layer shows); fails if the bytes are not what their name says."""
    city = City.open(home)
    publication, version, derivation = city.published("buildings")
    assert derivation is not None
    data = city.lake.path(derivation.archive).read_bytes()
    assert hashlib.sha256(data).hexdigest() == derivation.archive.split(".")[0], "a published archive is damaged"
    for part in version.parts:
        assert hashlib.sha256(city.lake.get(part.key)).hexdigest() == part.key.split(".")[0], "a published part is damaged"
    city.catalog.close()
    return publication.number, derivation.archive


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_fifty_kills(tmp_path: Path) -> None:
    rng = random.Random(20261121)
    home = tmp_path / "city"
    shown = ingest(delivery(tmp_path / "delivery0.gpkg", 0), home)
    landed: Counter[str] = Counter()
    for turn in range(1, 31):
        if sum(landed.values()) >= KILLS and min(landed[name] for name in STAGES) >= 3:
            break
        source = delivery(tmp_path / f"delivery{turn}.gpkg", turn)
        truth = ingest(source, tmp_path / f"clean{turn}")[1]  # what an undisturbed ingest gives
        for target in STAGES + STAGES:
            where = kill_at(source, home, target, rng)
            landed[where] += bool(where)
            print(where or "-", end=" ", flush=True)
            now = published(home)
            assert now == shown or now[1] == truth, "the city shows something that was never completed"
            if now != shown:
                break
        shown = ingest(source, home)
        assert shown[1] == truth, "after resuming, the tiles differ from those of an undisturbed run"
    print(f"\n{sum(landed.values())} kills landed: " + ", ".join(f"{name} {landed[name]}" for name in STAGES))
    assert sum(landed.values()) >= 50
    assert all(landed[name] for name in STAGES), landed
    city = City.open(home)
    assert not [job for job in Jobs(city.catalog).list() if not job.done], "every killed job was taken up again and ended"
    for row in city.catalog.versions("buildings"):
        city.manifest(row.manifest)


def ingest(source: Path, home: Path) -> tuple[int, str]:
    """Ingest to the end, undisturbed; what the city shows then."""
    done = subprocess.run(arguments(source, home), check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return published(home)


def kill_at(source: Path, home: Path, target: str, rng: random.Random) -> str:
    """Start an ingest and kill it at a random moment of a stage (or of a later one, where a resumed job begins); where it died, or ""."""
    process = subprocess.Popen(arguments(source, home), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    watch = Watch(home, process.pid)
    while process.poll() is None and not reached(watch.stage(), target):
        time.sleep(0.0005)
    time.sleep(rng.random() * SECONDS[target])
    children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    where = watch.stage()
    process.send_signal(signal.SIGKILL)
    killed = process.wait() == -signal.SIGKILL
    watch.database.close()
    _, alive = psutil.wait_procs(children, timeout=5)
    assert not alive, f"worker processes outlived their parent: {alive}"
    return where if killed else ""


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_two_servers_never_run_one_job_twice(tmp_path: Path) -> None:
    home = tmp_path / "city"
    city = City.open(home)
    wanted = []
    for n in range(6):
        source = delivery(tmp_path / f"d{n}.gpkg", n, count=200)
        params = intake.ingest_params(source, f"buildings{n % 2}", reader="footprints", options={"vertical": "ellipsoid", "height": "height", "base": "base"})  # of one layer they take turns
        wanted.append(tasks.submit(city, "ingest", params).id)
    workers = [subprocess.Popen([sys.executable, "-m", "twin.worker", "--home", str(home), "--parent", str(os.getpid())], stderr=subprocess.DEVNULL)
               for _ in range(2)]  # fmt: skip
    try:
        jobs, deadline = Jobs(city.catalog), time.time() + 200
        while not all(jobs.get(identifier).done for identifier in wanted) and time.time() < deadline:
            time.sleep(0.2)
        found = [jobs.get(identifier) for identifier in wanted]
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    assert [job.state for job in found] == ["successful"] * 6, [job.error for job in found]
    assert [job.attempts for job in found] == [1] * 6
    assert len({job.owner for job in found}) == 2, "both workers should have had work"
    assert [len(city.catalog.versions(f"buildings{n}")) for n in range(2)] == [3, 3]


def stopped(source: Path, home: Path, number: signal.Signals) -> str:
    """What a process of the command says that is sent a signal while it makes tiles."""
    City.open(home).catalog.close()  # so that there is something to watch
    process = subprocess.Popen(arguments(source, home), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True)
    watch = Watch(home, process.pid)
    while process.poll() is None and watch.stage() != "encoding":
        time.sleep(0.0005)
    watch.database.close()
    os.killpg(process.pid, number)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == (-number if number == signal.SIGTERM else 128 + number), said  # by the signal itself: a clean end for who manages services
    return said


def test_who_is_asked_to_end_says_so_and_leaves_the_job(tmp_path: Path) -> None:
    """SIGTERM, as of a system that shuts down: no temporary file stays, and the same command goes on with the same job."""
    source, home = delivery(tmp_path / "delivery.gpkg", 1, 20_000), tmp_path / "city"
    said = stopped(source, home, signal.SIGTERM)
    assert said == "Terminated; run the command again to go on.\n"
    assert not list((home / "lake" / "tmp").iterdir())
    ingest(source, home)
    city = City.open(home)
    (job,) = Jobs(city.catalog).list()
    assert (job.state, job.attempts) == ("successful", 2)
    city.catalog.close()


def test_who_is_interrupted_says_so(tmp_path: Path) -> None:
    """Ctrl-C goes to all processes of the terminal: one line, not a traceback of each."""
    assert stopped(delivery(tmp_path / "delivery.gpkg", 1, 20_000), tmp_path / "city", signal.SIGINT) == f"{INTERRUPTED}\n"
    (job,) = Jobs(City.open(tmp_path / "city").catalog).list()
    assert job.state == "dismissed", "as the message says: the same command makes another job"


def test_who_is_interrupted_while_the_program_is_loaded_says_so() -> None:
    code = ("import signal, sys, types\nfrom twin import cli\n"
            "class Loading(types.ModuleType):\n    def __getattr__(self, name):\n        signal.raise_signal(signal.SIGINT)\n"
            "sys.modules['twin.commands'] = Loading('twin.commands')\ncli.run()\n")  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (130, "Interrupted; run the command again to go on.\n")

"""A worker process: claims the city's jobs one after another. Started by `twin serve`; dies with it."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import click

from twin import scratch, tasks
from twin.city import City
from twin.errors import LostLease, TwinError
from twin.jobs import Jobs
from twin.processes import die_with_parent, identity

log = logging.getLogger(__name__)

ASKED = (0, -signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP)
"""Exit statuses of a worker that somebody ended: no fault of its job."""


@click.command()
@click.option("--home", type=click.Path(path_type=Path), required=True)
@click.option("--parent", type=int, required=True, help="Process to die with.")
def main(home: Path, parent: int) -> None:
    """Work until the parent dies."""
    die_with_parent(parent)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s worker %(levelname)s %(message)s")
    city = City.open(home)
    city.lake.sweep_temporary()
    scratch.sweep(Path(tempfile.gettempdir()), scratch.TWIN)  # of readers: the worker before this one may have crashed
    jobs = Jobs(city.catalog)
    while True:
        try:
            job = jobs.claim()
            if job is None:
                time.sleep(0.5)
                continue
            log.info("job %s (%s) begins, attempt %d", job.id, job.kind, job.attempts)
            done = jobs.run(job, tasks.bind(city, job))
            log.info("job %s is %s %s", done.id, done.state, done.error or "")
        except LostLease as error:
            log.warning("%s", error)
        except TwinError as error:
            log.error("%s", error)
            time.sleep(2.0)


class Supervisor:
    """Keeps one worker process alive while the server runs."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._stop = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._crashes: Counter[str] = Counter()
        self._thread = threading.Thread(target=self._keep, name="worker-supervisor", daemon=True)

    def start(self) -> None:
        """Start the worker, and again whenever it dies (a crash in native code must not stop the queue)."""
        self._thread.start()

    def stop(self) -> None:
        """End the worker; its job is taken up again at the next start."""
        self._stop.set()
        if self._process is not None:
            self._process.terminate()
        self._thread.join(timeout=5)

    def _keep(self) -> None:
        while not self._stop.is_set():
            self._process = subprocess.Popen([sys.executable, "-m", "twin.worker", "--home", str(self.home), "--parent", str(os.getpid())])
            owner, status = identity(self._process.pid), self._process.wait()
            if not self._stop.is_set() and status not in ASKED:
                try:
                    self._crashed(owner, status)
                except TwinError as error:  # its lease runs out, and the next worker takes it
                    log.error("%s", error)
            if not self._stop.wait(1.0):
                log.warning("the worker ended with %s; starting another", status)

    def _crashed(self, owner: str, status: int) -> None:
        city = City.open(self.home)
        try:
            job = Jobs(city.catalog).crashed(owner, status, self._crashes)
            if job is not None:
                log.warning("job %s (%s): %s", job.id, job.kind, job.error or job.message)
        finally:
            city.catalog.close()


if __name__ == "__main__":
    main()

"""A worker process: claims the city's jobs one after another. Started by `twin serve`; dies with it."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import click

from twin import tasks
from twin.city import City
from twin.errors import LostLease, TwinError
from twin.jobs import Jobs
from twin.processes import die_with_parent

log = logging.getLogger(__name__)


@click.command()
@click.option("--home", type=click.Path(path_type=Path), required=True)
@click.option("--parent", type=int, required=True, help="Process to die with.")
def main(home: Path, parent: int) -> None:
    """Work until the parent dies."""
    die_with_parent(parent)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s worker %(levelname)s %(message)s")
    city = City.open(home)
    city.lake.sweep_temporary()
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
            self._process.wait()
            if not self._stop.wait(1.0):
                log.warning("the worker ended with %s; starting another", self._process.returncode)


if __name__ == "__main__":
    main()

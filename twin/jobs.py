"""Durable jobs: run a task once, whatever dies.

A job is a row. A worker claims it by a lease with a heartbeat and a fencing number that grows with every claim; every
later write of that worker names its number and fails (`LostLease`) once another has claimed the job. A job whose
worker died (its process is gone, or its lease ran out) is claimed again and redone: tasks are idempotent because
everything they make is content-addressed or recorded under the job's id. A job that crashes its worker is given up after
three of them.
"""

from __future__ import annotations

import logging
import signal
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from peewee import Database

from twin import errors
from twin.catalog import Catalog
from twin.catalog_tables import JobRows
from twin.errors import Cancelled, Conflict, LostLease, NotFound, StorageError, TwinError
from twin.lake import is_full, storage_error
from twin.processes import ending, identity, is_gone

log = logging.getLogger(__name__)

LEASE = 15.0
HEARTBEAT = 3.0
THROTTLE = 0.4
MAX_ATTEMPTS = 25
CRASHES = 3
"""Workers that a job may take with it: what crashes its reader (a damaged file, one too large) does so again, and others wait."""
PAUSE = 15.0
"""Seconds after a crash in which the job is left to itself and others are worked on."""
OPEN = ("accepted", "running")
ALONE = "gc"
"""The kind of job beside which none begins: what another has just written, or found to be there already, may be among what it removes. Nor does it go on beside others (`twin.garbage`)."""


@dataclass(frozen=True, slots=True)
class Job:
    """A job as stored. `state`: accepted, running, successful, failed, dismissed (OGC API – Processes, 7.12).

    `progress` 0–1; times in Unix seconds; `fence` counts claims; `error` is what a user may read.
    """

    id: str
    kind: str
    params: dict[str, Any]
    key: str | None
    state: str
    stage: str
    progress: float
    message: str
    attempts: int
    owner: str | None
    fence: int
    lease: float
    cancel: bool
    created: float
    started: float | None
    finished: float | None
    updated: float | None
    result: dict[str, Any] | None
    error: str | None
    who: str | None

    @property
    def done(self) -> bool:
        """Whether it has ended, well or not."""
        return self.state not in OPEN


@dataclass
class Context:
    """What a running task reports to, and what guards its writes.

    Attributes:
        job: the claimed job.
        catalog: where it stands.
        listener: called with (stage, fraction, message) for a progress bar in this process.
        keeping: set while a dismissed run's partial result is being stored, which a dismissal must not interrupt.
    """

    job: Job
    catalog: Catalog
    listener: Callable[[str, float, str], None] | None = None
    _stage: str = ""
    _written: float = 0.0
    _lost: threading.Event = field(default_factory=threading.Event)
    _cancelled: threading.Event = field(default_factory=threading.Event)
    keeping: bool = False
    stop: threading.Event = field(default_factory=threading.Event)

    def stage(self, name: str, message: str = "") -> None:
        """Say which stage begins (reading, encoding, archiving, publishing, …); written at once."""
        self._stage, self._written = name, 0.0
        self.progress(0.0, message)

    def progress(self, fraction: float, message: str = "") -> None:
        """Say how far the stage is (0–1); written at most every 0.4 s.

        Raises:
            Cancelled: a user dismissed the job.
            LostLease: another worker has it now.
        """
        self.check()
        if self.listener:
            self.listener(self._stage, fraction, message)
        now = time.time()
        if now - self._written < THROTTLE:
            return
        self._written = now
        with self.catalog.write(lasting=False) as connection:
            self.guard(connection)
            told = JobRows.update(stage=self._stage, progress=min(max(fraction, 0.0), 1.0), message=message, updated=now)
            told.where(JobRows.id == self.job.id).execute(connection)

    def check(self) -> None:
        """Raise Cancelled or LostLease if so."""
        if self._lost.is_set():
            raise LostLease(f"Job {self.job.id} was taken over by another worker.")
        if self._cancelled.is_set() and not self.keeping:
            raise Cancelled(f"Job {self.job.id} was dismissed.")

    def guard(self, connection: Database) -> None:
        """Inside a write transaction: go on only if this worker still holds the job.

        Raises:
            LostLease: the fencing number has moved on.
            Cancelled: the job was dismissed.
        """
        query = JobRows.select(JobRows.fence, JobRows.state, JobRows.cancel).where(JobRows.id == self.job.id)
        row = query.tuples().first(connection)
        if row is None or row[:2] != (self.job.fence, "running"):
            self._lost.set()
            raise LostLease(f"Job {self.job.id} was taken over by another worker.")
        if row[2] and not self.keeping:
            raise Cancelled(f"Job {self.job.id} was dismissed.")

    def beat(self) -> None:
        """Renew the lease until `stop` is set; the body of the heartbeat thread."""
        while not self.stop.wait(HEARTBEAT):
            try:
                with self.catalog.write(lasting=False) as connection:
                    mine = (JobRows.id == self.job.id) & (JobRows.fence == self.job.fence) & (JobRows.state == "running")
                    if not JobRows.update(lease=time.time() + LEASE).where(mine).execute(connection):
                        self._lost.set()
                        break
                    if JobRows.select(JobRows.cancel).where(JobRows.id == self.job.id).scalar(connection):
                        self._cancelled.set()
            except TwinError as error:  # a busy catalogue: the lease lasts several beats
                log.warning("heartbeat of %s: %s", self.job.id, error)
        self.catalog.close()


Task = Callable[[Context], dict[str, Any]]


class Jobs:
    """The queue of one city."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog

    def submit(self, kind: str, params: dict[str, Any], *, key: str | None = None, who: str = "") -> Job:
        """Add a job. With a `key`, an unfinished job of the same key is returned instead of a second one."""
        with self.catalog.write() as connection:
            if key is not None:
                row = JobRows.select().where(JobRows.key == key).tuples().first(connection)
                if row is not None:
                    return Job(*row)
            identifier = uuid.uuid4().hex
            now = time.time()
            JobRows.insert(id=identifier, kind=kind, params=params, key=key, state="accepted", created=now, updated=now, who=who).execute(connection)
        return self.get(identifier)

    def get(self, identifier: str) -> Job:
        """A job by id (or an unambiguous beginning of one, ≥ 6 characters), or NotFound."""
        with self.catalog.read() as connection:
            row = JobRows.select().where(JobRows.id == identifier).tuples().first(connection)
            if row is None and len(identifier) >= 6 and identifier.isalnum():
                rows = list(JobRows.select().where(JobRows.id.startswith(identifier)).tuples().execute(connection))
                row = rows[0] if len(rows) == 1 else None
        if row is None:
            raise NotFound(f"There is no job {identifier!r}.", "twin jobs lists them.")
        return Job(*row)

    def list(self, *, limit: int = 1000) -> list[Job]:
        """Jobs, newest first."""
        with self.catalog.read() as connection:
            return [Job(*row) for row in JobRows.select().order_by(JobRows.created.desc()).limit(limit).tuples().execute(connection)]

    def cancel(self, identifier: str) -> Job:
        """Dismiss a job: at once if nobody works on it, else at its next progress report.

        Raises:
            Conflict: it has already ended.
        """
        job = self.get(identifier)
        if job.done:
            raise Conflict(f"Job {job.id} is already {job.state}.")
        with self.catalog.write() as connection:
            JobRows.update(cancel=True).where(JobRows.id == job.id).execute(connection)
            waiting = (JobRows.id == job.id) & (JobRows.state == "accepted")
            JobRows.update(state="dismissed", key=None, finished=time.time(), message="dismissed").where(waiting).execute(connection)
        return self.get(job.id)

    def claim(self, identifier: str | None = None) -> Job | None:
        """Take a waiting job (this one, or the oldest), or one whose worker has died; None when there is none.

        Jobs that write one layer take their turns: two updates, each made onto the version shown when it began, would undo each other. None begins while garbage is collected.
        """
        now = time.time()
        with self.catalog.write(lasting=False) as connection:  # who claims it does not survive what takes that back
            at_work = _at_work(connection, now)
            busy = {job.params["layer"] for job in at_work if job.params.get("layer") is not None}
            if any(job.kind == ALONE for job in at_work):
                return None
            query = JobRows.select().where(JobRows.state.in_(OPEN)).order_by(JobRows.created)
            if identifier is not None:
                query = query.where(JobRows.id == identifier)
            for row in list(query.tuples().execute(connection)):
                job = Job(*row)
                if job.state == "running" and alive(job, now):
                    continue
                if job.cancel:
                    _finish(connection, job.id, "dismissed", message="dismissed")
                    continue
                if job.attempts >= MAX_ATTEMPTS:
                    _finish(connection, job.id, "failed", error=f"{_named(job)}: its worker died {job.attempts} times, last while {job.stage or 'starting'}.")
                    continue
                if job.params.get("layer") in busy:
                    continue
                values = {"state": "running", "owner": identity(), "fence": job.fence + 1, "lease": now + LEASE, "attempts": job.attempts + 1,
                          "started": job.started or now, "updated": now}  # fmt: skip
                mine = (JobRows.id == job.id) & (JobRows.fence == job.fence)
                if JobRows.update(values).where(mine).execute(connection):
                    found = JobRows.select().where(JobRows.id == job.id).tuples().first(connection)
                    return Job(*found) if found else None
        return None

    def crashed(self, owner: str, status: int, before: Counter[str]) -> Job | None:
        """Note that a worker (its `identity`, its exit status as `subprocess` counts) ended on its own, and with it the job that it had, if any: that fails at its last try.

        Before that it is kept from all workers for a while (`PAUSE`), so that others are worked on; those of the same layer wait for it as ever.

        Args:
            before: crashes by job so far, of whoever watches workers; this one is added.
        """
        how, remedy = ending(status)
        now = time.time()
        with self.catalog.write() as connection:
            row = JobRows.select().where((JobRows.owner == owner) & (JobRows.state == "running")).tuples().first(connection)
            if row is None:
                return None
            job = Job(*row)
            before[job.id] += 1
            while_ = f"while {job.stage or 'starting'}"
            if before[job.id] < CRASHES:
                told = f"its worker {how} {while_}; it is tried again"
                JobRows.update(owner=None, lease=now + PAUSE, message=told, updated=now).where(JobRows.id == job.id).execute(connection)
            else:
                if "source" not in job.params and status != -signal.SIGKILL:
                    remedy = "Run it again, and report it if it happens again."
                error = f"{_named(job)}: the worker {how} {while_}, {before[job.id]} times by now, and it is not tried again. The city shows what it showed. {remedy}"
                _finish(connection, job.id, "failed", error=error)
        return self.get(job.id)

    def run(self, job: Job, task: Task, listener: Callable[[str, float, str], None] | None = None) -> Job:
        """Work on a claimed job until it ends; errors become its state, with a message a user can read.

        Raises:
            LostLease: another worker took over; nothing of this run was published.
        """
        context = Context(job, self.catalog, listener)
        heart = threading.Thread(target=context.beat, name=f"lease-{job.id[:8]}", daemon=True)
        heart.start()
        try:
            result = task(context)
            self._end(context, "successful", result=result, progress=1.0, message="")
        except LostLease:
            raise
        except Cancelled:
            self._end(context, "dismissed", message="dismissed")
        except TwinError as error:
            self._end(context, "failed", error=str(error), result={"error": type(error).__name__})
        except KeyboardInterrupt:
            self._end(context, "dismissed", message="interrupted")
            raise
        except Exception as error:
            kind: type[TwinError] = TwinError
            if isinstance(error, OSError) and is_full(error):
                kind = StorageError
                told = str(storage_error(f"{job.kind} (job {job.id})", error, error.filename or f"the city's folder or {tempfile.gettempdir()}"))
            else:
                log.exception("job %s failed", job.id)
                told = f"Internal error ({type(error).__name__}: {error}). Please report it; the log has the details."
            self._end(context, "failed", error=told, result={"error": kind.__name__})
        finally:
            context.stop.set()
            heart.join()
        return self.get(job.id)

    def _end(self, context: Context, state: str, **values: Any) -> None:
        with self.catalog.write() as connection:
            fence = JobRows.select(JobRows.fence).where(JobRows.id == context.job.id).scalar(connection)
            if fence != context.job.fence:
                raise LostLease(f"Job {context.job.id} was taken over by another worker.")
            _finish(connection, context.job.id, state, **values)


def failure(job: Job) -> TwinError:
    """The error of a failed job, of its own type (BadInput where a job of before, or a worker's death, tells none)."""
    kind = getattr(errors, str((job.result or {}).get("error", "")), None)
    if not (isinstance(kind, type) and issubclass(kind, TwinError)):
        kind = errors.BadInput
    return kind(job.error or f"Job {job.id} failed.")


def _named(job: Job) -> str:
    """What a job is about, for a message: the files that it reads, else its kind and its layer."""
    source = job.params.get("source", [])
    files = [Path(one).name for one in ([source] if isinstance(source, str) else source)]
    what = ", ".join(files[:3]) + (f" and {len(files) - 3} more" if len(files) > 3 else "") or job.kind
    return what + (f" (layer {job.params['layer']})" if "layer" in job.params else "")


def alive(job: Job, now: float) -> bool:
    """Whether the worker of a running job still holds it at `now` (s since 1970)."""
    return job.lease > now and not (job.owner and is_gone(job.owner))


def _at_work(connection: Database, now: float) -> list[Job]:
    """The jobs that somebody works on."""
    running = [Job(*row) for row in JobRows.select().where(JobRows.state == "running").tuples().execute(connection)]
    return [job for job in running if alive(job, now)]


def _finish(connection: Database, identifier: str, state: str, **values: Any) -> None:
    now = time.time()
    ended = JobRows.update(state=state, key=None, finished=now, updated=now, lease=0.0, **values)
    ended.where(JobRows.id == identifier).execute(connection)

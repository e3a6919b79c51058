"""Coarse work over processes, results in order: the bytes written cannot depend on how many processes there were."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import chain, islice
from types import TracebackType
from typing import Any, Self, TypeVar

from tiling.threads import in_order
from twin.errors import StorageError
from twin.processes import die_with_parent, spare_pandas

T = TypeVar("T")
R = TypeVar("R")
ALONE = 2
"""Tasks that are done here sooner than processes for them have started."""
LIVES = 3
"""Deaths of workers after which a map is given up."""


class Pool:
    """Worker processes (spawned; they die with their parent), or none at all for one worker.

    `map` keeps at most two tasks a worker in flight, so memory holds a few results however many tasks there are.
    """

    def __init__(self, workers: int) -> None:
        self.workers = max(1, workers)
        self.deaths = 0
        self._executor: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._executor is not None:
            self._executor.shutdown(wait=kind is None, cancel_futures=True)

    def map(self, function: Callable[[T], R], tasks: Iterable[T], *, alone: int = ALONE, threads: int = 0) -> Iterator[R]:
        """`function` of every task, in the order of the tasks; it must be a function of the task alone.

        Up to `alone` tasks are done here. With `threads` so many of these do the first `alone` tasks in any case, as they come: tasks that are long in
        coming, and results that are long in being used, then wait for nothing. Where a worker is killed from outside, what was under way is done again in fresh workers.

        Raises:
            StorageError: workers were killed `LIVES` times; the job can be run again.
        """
        source = iter(tasks)
        if self.workers == 1:
            yield from map(function, source)
            return
        if threads:
            with ThreadPoolExecutor(threads, "beside") as beside:
                yield from in_order(beside, function, islice(source, alone), threads + 1)
            alone = 0
        few = list(islice(source, alone + 1)) if self._executor is None else []
        if self._executor is None and len(few) <= alone:
            yield from map(function, few)
            return
        waiting: deque[tuple[T, Future[Any]]] = deque()
        try:
            for task in chain(few, source):
                waiting.append((task, self._submit(function, task)))
                if len(waiting) > 2 * self.workers:
                    yield self._first(function, waiting)
            while waiting:
                yield self._first(function, waiting)
        finally:
            for _, future in waiting:
                future.cancel()

    def _submit(self, function: Callable[[T], R], task: T) -> Future[Any]:
        if self._executor is None:
            context = multiprocessing.get_context("spawn")
            self._executor = ProcessPoolExecutor(self.workers, mp_context=context, initializer=_start, initargs=(os.getpid(),))
        try:
            return self._executor.submit(function, task)
        except BrokenProcessPool as error:  # found out by `_first`, which submits again
            lost: Future[Any] = Future()
            lost.set_exception(error)
            return lost

    def _first(self, function: Callable[[T], R], waiting: deque[tuple[T, Future[Any]]]) -> Any:
        """The result of the first task; after the death of a worker it and all behind it are submitted again."""
        while True:
            try:
                result = waiting[0][1].result()
            except BrokenProcessPool as error:
                self.deaths += 1
                if self._executor is not None:
                    self._executor.shutdown(wait=False, cancel_futures=True)
                    self._executor = None
                if self.deaths >= LIVES:
                    raise StorageError("Tiling processes were killed from outside, perhaps for want of memory.", "Run it again with fewer workers.") from error
                tasks = [task for task, _ in waiting]
                waiting.clear()
                waiting.extend((task, self._submit(function, task)) for task in tasks)
            else:
                waiting.popleft()
                return result


def _start(parent: int) -> None:
    """In a worker: die with the parent, leave Ctrl-C to it, and use one thread, since there is a process per core."""
    die_with_parent(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import pyarrow as pa  # noqa: PLC0415

    from twin import parts  # noqa: PLC0415  as slow

    spare_pandas()
    pa.set_cpu_count(1)
    parts.FOOTERS.most = 1 << 20  # what a worker reads lies in few parts; all of a large layer's would be 20 bytes a feature

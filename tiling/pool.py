"""Coarse work over processes, results in order: the bytes written cannot depend on how many processes there were."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType
from typing import Any, Self, TypeVar

from twin.errors import StorageError
from twin.processes import die_with_parent

T = TypeVar("T")
R = TypeVar("R")


class Pool:
    """Worker processes (spawned; they die with their parent), or none at all for one worker.

    `map` keeps at most two tasks a worker in flight, so memory holds a few results however many tasks there are.
    """

    def __init__(self, workers: int) -> None:
        self.workers = max(1, workers)
        self._executor: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._executor is not None:
            self._executor.shutdown(wait=kind is None, cancel_futures=True)

    def map(self, function: Callable[[T], R], tasks: Iterable[T]) -> Iterator[R]:
        """`function` of every task, in the order of the tasks.

        Raises:
            StorageError: a worker was killed from outside (out of memory); the job can be run again.
        """
        if self.workers == 1:
            yield from map(function, tasks)
            return
        if self._executor is None:
            context = multiprocessing.get_context("spawn")
            self._executor = ProcessPoolExecutor(self.workers, mp_context=context, initializer=_start, initargs=(os.getpid(),))
        waiting: deque[Future[Any]] = deque()
        try:
            for task in tasks:
                waiting.append(self._executor.submit(function, task))
                if len(waiting) > 2 * self.workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            raise StorageError("A tiling process was killed from outside, perhaps for want of memory.", "Run it again with fewer workers.") from error
        finally:
            for future in waiting:
                future.cancel()


def _start(parent: int) -> None:
    """In a worker: die with the parent, leave Ctrl-C to it, and use one thread, since there is a process per core."""
    die_with_parent(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import pyarrow as pa  # noqa: PLC0415

    pa.set_cpu_count(1)

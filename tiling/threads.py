"""Work for threads, results in order. Apart from `tiling.pool`, whose processes take a while to load."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def in_order(threads: ThreadPoolExecutor, function: Callable[[T], R], tasks: Iterable[T], ahead: int) -> Iterator[R]:
    """`function` of every task, in the order of the tasks, as soon as it is there; `ahead` of them are under way or wait to be asked for."""
    waiting: deque[Future[R]] = deque()
    try:
        for task in tasks:
            waiting.append(threads.submit(function, task))
            while waiting and (len(waiting) > ahead or waiting[0].done()):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()

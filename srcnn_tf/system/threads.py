"""Threads: how many there may be, a map that keeps the order, and BLAS that does not add its own."""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from threading import Event, Lock
from typing import Any, TypeVar

from threadpoolctl import OpenBLASController, ThreadpoolController

Item = TypeVar("Item")
Result = TypeVar("Result")

CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")  # of a container: microseconds of all cores in a period


def cores() -> int:
    """Returns the number of processor cores that this process may use.

    It is limited by the affinity and the container's quota, where the system has them, and by OMP_NUM_THREADS, if set.
    """
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = CPU_QUOTA.read_text(encoding="ascii").split()
        available = min(available, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError):  # there are no control groups of version 2, or "max", no quota
        pass
    limit = os.environ.get("OMP_NUM_THREADS", "")
    return min(available, int(limit)) if limit.isdecimal() and int(limit) else available


def map_in_threads(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int, stopped: Event | None = None
) -> Iterator[Result]:
    """Maps a function over items in threads, in order, at most `threads` items ahead of the consumer.

    `ThreadPoolExecutor.map` would compute all items at once, and hold all results in memory. A single item needs no
    thread.

    Args:
        function: called in a thread.
        items: read in the consumer's thread.
        threads: number of threads.
        stopped: set as soon as no more results are needed, so that the calls that are running can end early: Ctrl-C
            interrupts the main thread only, which then waits for the others.
    """
    remaining = iter(items)
    first = list(islice(remaining, 2))
    if len(first) < 2:
        yield from map(function, first)
        return
    with ThreadPoolExecutor(threads) as pool:
        ahead: deque[Future[Result]] = deque()
        try:
            for item in chain(first, remaining):
                ahead.append(pool.submit(function, item))
                if len(ahead) > threads:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            if stopped is not None:
                stopped.set()
            for future in ahead:
                future.cancel()


class _BlasLimit:
    """Limits BLAS to one thread as long as anybody needs that; BLAS has one limit for the whole process."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._users = 0
        self._controller: ThreadpoolController | None = None

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with self._lock:
            if self._users == 0:
                self._limits = self._by_any_thread(self._limit)
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if self._users == 0:
                    self._by_any_thread(self._limits.restore_original_limits)

    def _limit(self) -> Any:
        if self._controller is None:  # made once, as it searches all libraries of the process, which takes 1 ms
            self._controller = ThreadpoolController().select(user_api="blas")
        return self._controller.limit(limits=1)

    def _by_any_thread(self, function: Callable[[], Result]) -> Result:
        """Calls a function that sets limits, which threadpoolctl ignores from other threads than the first one."""
        OpenBLASController.clear_controlling_thread(force=True)
        result = function()
        OpenBLASController.clear_controlling_thread(force=True)
        return result


# `with one_blas_thread():` computes each matrix product in the thread that asks for it: several threads, each with
# small products of its own, are faster than one thread after the other with all cores. The former limit comes back at
# the end, of several such blocks at the end of the last one.
one_blas_thread = _BlasLimit()

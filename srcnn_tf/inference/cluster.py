"""Processes images on the workers of a Dask cluster, one task per image."""

from __future__ import annotations

import gc
import logging
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import lru_cache
from threading import Lock
from typing import Any, TypeVar

import srcnn_tf
from srcnn_tf.config import Config
from srcnn_tf.devices import cores, load_tensorflow
from srcnn_tf.errors import RunError

try:
    import distributed
except ImportError as error:
    raise RunError("--cluster needs the package distributed: pip install 'srcnn_tf[cluster]'.") from error

Item = TypeVar("Item")
Result = TypeVar("Result")

AHEAD = 4  # tasks per thread of the workers that are handed out at a time, so that no thread waits for its next one
PATIENCE = 15  # seconds to wait for a scheduler, and for its first worker

_lock = Lock()


def with_absolute_paths(config: Config) -> Config:
    """Returns a configuration whose paths mean the same in any folder; `cluster` is removed from it."""
    names = ("input", "output", "weights", "train_dir", "test_dir", "checkpoint_dir", "sample_dir", "log_dir")
    paths = {name: getattr(config, name) for name in names}
    return replace(config, cluster=None, **{name: os.path.abspath(path) for name, path in paths.items() if path})


def once_per_process(load: Callable[[Config], Result], config: Config) -> Result:
    """Returns what a function makes of a configuration: once, and by one of several threads, as long as both stay."""
    with _lock:
        return _loaded(load, config)


@lru_cache(maxsize=1)
def _loaded(load: Callable[[Config], Result], config: Config) -> Result:
    return load(config)


def map_on_cluster(
    function: Callable[[Item], Result], items: Iterable[Item], address: str
) -> Iterator[tuple[Item, Result | RunError]]:
    """Calls a function of each item on the workers; a dead worker's items go to others.

    Only a few tasks per thread of the workers are handed out at a time, so that any number of items fits in memory, and
    workers that come later get some too.

    Args:
        function: what pickle can send, and the workers can import.
        items: arguments for it.
        address: of a Dask scheduler, such as `tcp://host:8786`; `local` starts one worker per core.

    Yields:
        Each item and the result, in the order of completion; or an error that was raised.

    Raises:
        RunError: there is no such scheduler, or it has no workers.
    """
    with ExitStack() as stack:
        client = _connect(address, stack)
        client.register_plugin(TensorFlowPlugin(is_child=address == "local"))
        running: dict[str, Item] = {}
        completed = distributed.as_completed(loop=client.loop)
        remaining = iter(items)

        limit, refreshed = 0, -math.inf

        def hand_out() -> None:
            nonlocal limit, refreshed
            if time.monotonic() > refreshed + 1:  # asking the scheduler takes milliseconds
                limit, refreshed = AHEAD * max(1, sum(client.nthreads().values())), time.monotonic()
            while len(running) < limit:
                try:
                    item = next(remaining)
                except StopIteration:
                    return
                future = client.submit(_call, function, srcnn_tf.__version__, item, pure=False)
                running[future.key] = item
                completed.add(future)

        hand_out()
        for future in completed:
            item = running.pop(future.key)
            try:
                result = future.result()
            except RunError as error:
                result = error
            except distributed.KilledWorker as error:
                result = RunError(f"{_name(item)}: {error.allowed_failures + 1} workers died while they processed it.")
            except Exception as error:  # of the worker's Python, such as a package that it lacks
                result = RunError(f"{_name(item)}: a worker failed with {error!r}.")
            future.release()
            yield item, result
            hand_out()


def _connect(address: str, stack: ExitStack) -> Any:
    """Connects to a cluster with at least one worker; `stack` closes what is opened."""
    # Its own messages about workers that come and go are of no use here.
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    # The finalizer of a client that could not connect needs a lock that the next one holds while it starts.
    gc.disable()
    try:
        if address == "local":
            address = stack.enter_context(
                distributed.LocalCluster(
                    n_workers=cores(), threads_per_worker=1, dashboard_address=None, silence_logs=logging.CRITICAL
                )
            )
        client = stack.enter_context(distributed.Client(address, timeout=PATIENCE, set_as_default=False))
        client.wait_for_workers(1, timeout=PATIENCE)
    except (OSError, ValueError, TypeError) as error:
        raise RunError(
            f"--cluster={address}: no scheduler with workers found there ({error}); expected an address such as "
            "tcp://host:8786, or local. Start `dask scheduler`, and `dask worker` with its address."
        ) from error
    finally:
        gc.enable()
    return client


class TensorFlowPlugin(distributed.WorkerPlugin):
    """Loads TensorFlow when a worker starts, with as many threads as the worker has."""

    name, idempotent = "srcnn_tf", True  # once per worker, however many commands use it

    def __init__(self, is_child: bool) -> None:
        """Args: whether this process has started the worker, which then inherits its log level of TensorFlow."""
        self._is_child = is_child

    def setup(self, worker: Any) -> None:
        """Runs on the worker, before its first task."""
        with _lock:
            if self._is_child:
                os.environ.pop("TF_CPP_MIN_LOG_LEVEL", None)
            load_tensorflow(threads=worker.state.nthreads)


def _call(function: Callable[[Item], Result], version: str, item: Item) -> Result:
    """Runs on a worker."""
    if srcnn_tf.__version__ != version:
        raise RunError(
            f"{_name(item)}: worker {distributed.get_worker().address} has srcnn_tf {srcnn_tf.__version__}, expected "
            f"{version}: install it there."
        )
    return function(item)


def _name(item: Any) -> str:
    """Names what a task processes: the first path of a tuple."""
    return str(item[0] if isinstance(item, tuple) else item)

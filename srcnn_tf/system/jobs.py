"""Runs jobs, one for each image: in threads of this process, or on the workers of a Dask cluster.

Both report each problem, go on with the other jobs, and show a progress bar.
"""

from __future__ import annotations

import gc
import hashlib
import logging
import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from functools import lru_cache, partial
from pathlib import Path
from threading import Event
from typing import Any, TextIO, TypeVar

from tqdm import tqdm

import srcnn_tf
from srcnn_tf.errors import RunError, report_fault
from srcnn_tf.system.threads import cores, map_in_threads

Job = TypeVar("Job")
Result = TypeVar("Result")

SECONDS_PER_LINE = 60  # between two lines of progress where there is no terminal for a bar
MEGAPIXELS = "{n:.1f} of {total:.1f} megapixels [{elapsed}<{remaining}]"  # as tqdm formats a progress bar
AHEAD = 4  # jobs per thread of the workers that are handed out at a time, so that no thread waits for its next one
PATIENCE = 15  # seconds to wait for a scheduler, and for its first worker


class Progress(tqdm):
    """A progress bar in a terminal; elsewhere a line per minute, as in training. Without anything to count, neither."""

    def __init__(self, total: float | None, text: str) -> None:
        """Takes what is to be counted, if that is known, and the text beside the bar in tqdm's format."""
        is_off = True if total == 0 else None  # None: where there is no terminal
        super().__init__(total=total, bar_format="{l_bar}{bar}| " + text, disable=is_off, dynamic_ncols=True)
        self._text, self._start = text, time.monotonic()
        self._last_line = self._start

    def update(self, n: float | None = 1) -> bool | None:
        """Moves the bar forward by `n`, or counts it and may print a line."""
        if not self.disable:
            return super().update(n)
        self.n += n or 0
        now = time.monotonic()
        if self.total != 0 and now - self._last_line >= SECONDS_PER_LINE:
            self._last_line = now
            print(self.format_meter(self.n, self.total, now - self._start, bar_format=self._text), flush=True)
        return None


def run_jobs(
    function: Callable[..., Result],
    jobs: Mapping[Job, float],
    cluster: str | None,
    threads: int = 1,
    stopped: Event | None = None,
) -> Iterator[tuple[Job, Result]]:
    """Calls a function of each job, and yields the jobs that are done with their results.

    Args:
        function: of a job; in this process, also of `progress`, the progress bar, which it may update. It raises a
            RunError, or a MemoryError, where the job cannot be done; that is printed. For a cluster, pickle can send
            it, and the workers can import it.
        jobs: each with its megapixels. A job is a tuple that begins with a path; on a cluster, its paths are absolute.
        cluster: address of a Dask scheduler, see `map_on_cluster`; None: threads of this process.
        threads: how many jobs are done at a time in this process.
        stopped: see `threads.map_in_threads`.

    Yields:
        Jobs and results, in the order of the jobs; of a cluster, in that of completion.
    """
    with Progress(sum(jobs.values()), MEGAPIXELS) as bar:
        outcomes: Iterable[tuple[Job, Result | RunError]]
        if cluster is not None:
            originals = {_with_absolute_paths(job): job for job in jobs}
            on_cluster = map_on_cluster(partial(_attempt, function), originals, cluster)
            outcomes = ((originals[job], outcome) for job, outcome in on_cluster)
        else:
            attempt = partial(_attempt, partial(function, progress=bar))
            # In the main thread if there is one, which Ctrl-C interrupts.
            results = map(attempt, jobs) if threads == 1 else map_in_threads(attempt, jobs, threads, stopped)
            outcomes = zip(jobs, results, strict=True)
        reached = 0.0
        for job, outcome in outcomes:
            reached += jobs[job]
            bar.update(reached - bar.n)
            if isinstance(outcome, RunError):
                print_line(f"Problem: {outcome}", sys.stderr)
            else:
                yield job, outcome


def _attempt(function: Callable[[Job], Result], job: Job) -> Result | RunError:
    try:
        return function(job)
    except RunError as error:
        return error
    except MemoryError as error:
        return RunError(f"{_name(job)}: there is not enough memory for it ({error}); use a smaller image.")
    except Exception as error:
        return report_fault(error, _name(job))


def _with_absolute_paths(job: Any) -> Any:
    """Returns a job whose paths mean the same in any folder."""
    values = [value.absolute() if isinstance(value, Path) else value for value in job]
    return job._replace(**dict(zip(job._fields, values, strict=True))) if hasattr(job, "_fields") else tuple(values)


def print_line(text: str, file: TextIO | None = None) -> None:
    """Prints in one line, above a progress bar; the name of a file may contain a newline."""
    tqdm.write(" ".join(text.split()), file=file)


def map_on_cluster(
    function: Callable[[Job], Result], jobs: Iterable[Job], address: str
) -> Iterator[tuple[Job, Result | RunError]]:
    """Calls a function of each job on the workers of a Dask cluster; a dead worker's jobs go to others.

    Only a few jobs per thread of the workers are handed out at a time, so that any number of them fits in memory, and
    workers that come later get some too.

    Args:
        function: what pickle can send, and the workers can import.
        jobs: arguments for it.
        address: of a Dask scheduler, such as `tcp://host:8786`; `local` starts one worker per core.

    Yields:
        Each job and the result, in the order of completion; or an error that was raised.

    Raises:
        RunError: there is no such scheduler, or it has no workers.
    """
    distributed = _import_distributed()
    with ExitStack() as stack:
        client = _connect(address, stack)
        running: dict[str, Job] = {}
        completed = distributed.as_completed(loop=client.loop)
        remaining = iter(jobs)

        limit, refreshed = 0, -math.inf

        def hand_out() -> None:
            nonlocal limit, refreshed
            if time.monotonic() > refreshed + 1:  # asking the scheduler takes milliseconds
                limit, refreshed = AHEAD * max(1, sum(client.nthreads().values())), time.monotonic()
            while len(running) < limit:
                try:
                    job = next(remaining)
                except StopIteration:
                    return
                future = client.submit(_call, function, program_fingerprint(), job, pure=False)
                running[future.key] = job
                completed.add(future)

        hand_out()
        for future in completed:
            job = running.pop(future.key)
            try:
                result = future.result()
            except RunError as error:
                result = error
            except distributed.KilledWorker as error:
                result = RunError(f"{_name(job)}: {error.allowed_failures + 1} workers died while they processed it.")
            except Exception as error:  # of the worker's Python, such as a package that it lacks
                result = RunError(f"{_name(job)}: a worker failed with {error!r}.")
            future.release()
            yield job, result
            hand_out()


def worker_threads() -> int | None:
    """Returns how many jobs this process does at a time as a worker of a cluster; None if it is none."""
    if "distributed" not in sys.modules:
        return None
    try:
        return int(_import_distributed().get_worker().state.nthreads)
    except ValueError:  # this process is no worker
        return None


def _import_distributed() -> Any:
    try:
        import distributed
    except ImportError as error:
        raise RunError("--cluster needs the package distributed: pip install 'srcnn_tf[cluster]'.") from error
    return distributed


def _connect(address: str, stack: ExitStack) -> Any:
    """Connects to a cluster with at least one worker; `stack` closes what is opened."""
    distributed = _import_distributed()
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


def _call(function: Callable[[Job], Result], fingerprint: str, job: Job) -> Result:
    """Runs on a worker."""
    if program_fingerprint() != fingerprint:
        address = _import_distributed().get_worker().address
        raise RunError(
            f"{_name(job)}: worker {address} has other files of srcnn_tf than this machine: install the same there, "
            "and start it again."
        )
    return function(job)


@lru_cache(maxsize=1)
def program_fingerprint() -> str:
    """Returns a digest of this package's files, code and weights, by which machines know that they compute the same."""
    folder, digest = Path(srcnn_tf.__file__).parent, hashlib.sha256()
    for path in sorted(folder.rglob("*"), key=Path.as_posix):
        if path.is_file() and path.suffix != ".pyc":
            content = path.read_bytes().replace(b"\r\n", b"\n")  # as a checkout on Windows has them
            digest.update(f"{path.relative_to(folder).as_posix()} {hashlib.sha256(content).hexdigest()}\n".encode())
    return digest.hexdigest()


def _name(job: Any) -> str:
    """Names what a job processes: the first path of a tuple."""
    return str(job[0] if isinstance(job, tuple) else job)

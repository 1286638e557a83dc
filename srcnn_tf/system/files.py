"""Writes files so that they are complete or absent, and errors of writing are not lost."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from srcnn_tf.errors import RunError


class DeferredErrorFile(io.FileIO):
    """Keeps the first error of writing instead of raising it, until `check` is called.

    For the HDF5 library, which crashes the process when a write to a Python file raises an error.
    """

    error: OSError | None = None

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(path, "w+b")

    def write(self, data: Any) -> int:
        """Writes all of `data`, or keeps the error and returns as if it had."""
        rest = memoryview(data).cast("B")
        with self._deferred():
            while rest:
                rest = rest[super().write(rest) :]
        return len(data)

    def truncate(self, size: int | None = None) -> int:
        """Changes the size of the file, or keeps the error."""
        with self._deferred():
            return super().truncate(size)
        return size or 0

    @contextlib.contextmanager
    def _deferred(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.error = self.error or error

    def check(self) -> None:
        """Raises the first error that was kept, if there is one."""
        if self.error is not None:
            raise self.error


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields a temporary name beside `path`; what is written there takes the place of `path` if no error is raised.

    Parent folders are created. An incomplete file is never seen under its final name, and nothing is left of it after
    an error. What a killed process left behind is overwritten by the next write.

    Args:
        path: final name of a file or folder. A folder that exists is `.former-NAME` until the new one is there.

    Yields:
        `.writing-NAME` in the same folder, with the same extension.

    Raises:
        RunError: the file cannot be written (missing permission, disk full, ...).
    """
    path = Path(path)
    temporary = path.with_name(f".writing-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            if temporary.is_dir() and path.is_dir():  # which no other folder can take the place of
                former = path.with_name(f".former-{path.name}")
                shutil.rmtree(former, ignore_errors=True)
                os.replace(path, former)
                os.replace(temporary, path)
                shutil.rmtree(former)
            else:
                os.replace(temporary, path)
        finally:
            if temporary.is_dir():
                shutil.rmtree(temporary, ignore_errors=True)
            temporary.unlink(missing_ok=True)
    except OSError as error:
        reason = error.strerror or error
        raise RunError(
            f"{path}: cannot be written ({reason}); free space, permit writing there, or choose another path."
        ) from error

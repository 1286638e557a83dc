"""Files that are there whole, or not at all."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from srcnn_tf.errors import RunError


class LatchedFile(io.FileIO):
    """A file for the HDF5 library to write to, which crashes the process when a write fails.

    So a write never fails; the first error is kept, and `check` raises it.
    """

    error: OSError | None = None

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(path, "w+b")

    def write(self, data: Any) -> int:
        """Writes all of `data`, or keeps the error."""
        rest = memoryview(data).cast("B")
        with self._latch():
            while rest:
                rest = rest[super().write(rest) :]
        return len(data)

    def truncate(self, size: int | None = None) -> int:
        """Cuts or extends the file, or keeps the error."""
        with self._latch():
            return super().truncate(size)
        return size or 0

    @contextlib.contextmanager
    def _latch(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.error = self.error or error

    def check(self) -> None:
        """Raises the first error there was."""
        if self.error is not None:
            raise self.error


@contextlib.contextmanager
def written_whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Gives a temporary name beside `path`, with its ending, for a file (or a new folder) that is to be `path`.

    It takes that place on success alone.

    Folders are made as needed. The file is never seen half-written, and nothing is left of it after a failure; what
    a killed process left is overwritten by the next one.

    Raises:
        RunError: the file cannot be written (no such folder, no right to, no space left).
    """
    path = Path(path)
    temporary = path.with_name(f".writing-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            os.replace(temporary, path)
        finally:
            if temporary.is_dir():
                shutil.rmtree(temporary, ignore_errors=True)
            temporary.unlink(missing_ok=True)
    except OSError as error:
        reason = error.strerror or error
        raise RunError(f"{path}: cannot be written ({reason}); free the place, or name another.") from error

"""Writes files so that they are complete or absent, and errors of writing are not lost."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from srcnn_tf.errors import RunError

TEMPORARY = ".writing-"  # what temporary names begin with
LONGEST_NAME = 255  # bytes, of nearly all file systems
LONGEST_EXTENSION = 16  # bytes of an extension that a temporary name keeps
LEFTOVER_SECONDS = 86_400  # older files with temporary names are not being written any more


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
def without_patterns(path: Path) -> Iterator[Path]:
    """Yields a name of a file by which TensorFlow finds it: it takes `[`, `*` and `?` in a path for a pattern."""
    if not set("[]*?\\") & set(str(path)):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder, "link")
        link.symlink_to(path.parent.absolute(), target_is_directory=True)
        yield link / path.name


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields a temporary name beside `path`; what is written there takes the place of `path` if no error is raised.

    Parent folders are created. An incomplete file is never seen under its final name, whatever else writes it at the
    same time, and nothing is left of it after an error. What a killed process left is removed once it is a day old.

    Args:
        path: final name of a file or folder. A folder that exists has a temporary name until the new one is there.

    Yields:
        A hidden name that is not in use, in the same folder, with the same extension.

    Raises:
        RunError: the file cannot be written (missing permission, disk full, ...).
    """
    path = Path(path)
    temporary = _temporary_name(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(str(path.parent.absolute()))
        try:
            yield temporary
            if temporary.is_dir() and path.is_dir():  # which no other folder can take the place of
                former = _temporary_name(path)
                os.replace(path, former)
                os.replace(temporary, path)
                shutil.rmtree(former)
            else:
                os.replace(temporary, path)
        finally:
            _remove(temporary)
    except OSError as error:
        reason = error.strerror or error
        raise RunError(
            f"{path}: cannot be written ({reason}); free space, permit writing there, or choose another path."
        ) from error


def shortened(stem: str, ending: str) -> str:
    """Returns the beginning of a file's name, so short that a file system takes it with this ending.

    If it has to be cut, it ends with `~` and a digest of the whole, so that no two names become one.
    """
    room = LONGEST_NAME - len(os.fsencode(ending))
    if len(os.fsencode(stem)) <= room:
        return stem
    digest = "~" + hashlib.sha256(os.fsencode(stem)).hexdigest()[:8]
    return os.fsencode(stem)[: room - len(digest)].decode(errors="ignore") + digest


def _temporary_name(path: Path) -> Path:
    """Returns a name that no other process chooses; a short one, as the final name may be as long as is allowed."""
    extension = path.suffix if len(os.fsencode(path.suffix)) <= LONGEST_EXTENSION else ""
    return path.with_name(f"{TEMPORARY}{secrets.token_hex(8)}{extension}")


@lru_cache
def _remove_leftovers(folder: str) -> None:
    """Removes what killed processes left in a folder, if it is old; once per process and folder."""
    for path in Path(folder).glob(f"{TEMPORARY}*"):
        with contextlib.suppress(OSError):  # another process has removed it
            if time.time() - path.stat().st_mtime > LEFTOVER_SECONDS:
                _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    path.unlink(missing_ok=True)

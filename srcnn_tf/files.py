"""Files that are there whole, or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from srcnn_tf.errors import RunError


@contextlib.contextmanager
def written_whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Gives a temporary name beside `path`, with its ending, that takes the place of `path` on success alone.

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
            temporary.unlink(missing_ok=True)
    except OSError as error:
        reason = error.strerror or error
        raise RunError(f"{path}: cannot be written ({reason}); free the place, or name another.") from error

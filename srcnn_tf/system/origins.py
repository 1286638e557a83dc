"""What files of this program were made of: a hidden list in each folder with results.

A list beside the results is the same for all formats, and stays out of images and pages. Lines are appended, so that
commands that run at the same time, or are killed, cannot damage what others wrote.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass
from os.path import realpath  # resolves links; unlike Path.resolve, without an error where they loop
from pathlib import Path

ORIGINS = ".srcnn_tf.jsonl"  # one line per result, in the order in which they were written


@dataclass(frozen=True)
class Origin:
    """What a file was made of.

    Attributes:
        source: resolved path of the image or video; empty for a page.
        modified: when the source was last changed, in nanoseconds.
        options: flags and weights that determine the result.
    """

    source: str = ""
    modified: int = 0
    options: str = ""


def origin_of(source: Path, options: str = "") -> Origin:
    """Returns the origin of what is about to be made of a file; a file that is not there has no time."""
    try:
        modified = os.stat(source).st_mtime_ns
    except OSError:  # reported when it is read
        modified = 0
    return Origin(realpath(source), modified, options)


def write_origin(path: Path, origin: Origin) -> None:
    """Adds a complete file to the list of its folder; does nothing where that is impossible, as the file is there."""
    with contextlib.suppress(OSError):
        line = {"file": path.name, "bytes": path.stat().st_size} | vars(origin)
        source = origin.source
        with contextlib.suppress(ValueError):  # on another drive of Windows
            source = os.path.relpath(source, realpath(path.parent)) if source else ""
        line["source"] = source.replace(os.sep, "/")  # so that it holds where a tree is moved as a whole
        with open(path.parent / ORIGINS, "ab", buffering=0) as file:
            file.write(b"\n" + json.dumps(line).encode())  # a line that a full disk has cut stays one of its own


def read_origins(folder: str | os.PathLike[str]) -> dict[str, Origin]:
    """Reads what the files in a folder were made of, by name.

    A file that has another size now is somebody else's, and left out.
    """
    listed: dict[str, tuple[int, Origin]] = {}
    with contextlib.suppress(OSError), open(Path(folder, ORIGINS), "rb") as file:
        for line in file:
            with contextlib.suppress(ValueError, KeyError, TypeError):  # damaged
                values = json.loads(line)
                source = values["source"] and realpath(os.path.join(realpath(folder), values["source"]))
                origin = Origin(source, int(values["modified"]), str(values["options"]))
                listed[str(values["file"])] = int(values["bytes"]), origin
    origins = {}
    for name, (size, origin) in listed.items():
        with contextlib.suppress(OSError, ValueError):  # it is gone
            if os.stat(os.path.join(folder, name)).st_size == size:
                origins[name] = origin
    return origins

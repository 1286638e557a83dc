"""Lists the files of a folder that are meant: one walk, and one table of what is left out."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from os.path import realpath  # resolves links; unlike Path.resolve, without an error where they loop
from pathlib import Path

from srcnn_tf.system.origins import read_origins

# Where network drives and systems keep thumbnails and deleted files, beside what a person put there.
SYSTEM_FOLDERS = frozenset(
    {"@eadir", "@recycle", "@recently-snapshot", "#recycle", "#snapshot", "$recycle.bin", "__macosx"}
    | {"system volume information"}
)
SYSTEM_FILES = frozenset({"thumbs.db", "desktop.ini"})


@dataclass
class Found:
    """What is in a folder.

    Attributes:
        files: those that are looked for, sorted by path.
        others: number of other files, by ending.
        results: number of files that are looked for and that this program made.
        problems: what could not be searched.
    """

    files: list[Path] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    results: int = 0
    problems: list[str] = field(default_factory=list)

    def left_out(self, directory: str | os.PathLike[str]) -> str:
        """Says in one line what is not taken; empty if there is no such thing."""
        parts = [f"{count} {ending}" for ending, count in sorted(self.others.items())]
        if self.results:
            parts.append(f"{self.results} that this program made")
        return f"Left out of the files below {directory}: {', '.join(parts)}." if parts else ""


def find_files(
    directory: str | os.PathLike[str], is_wanted: Callable[[Path], bool], results: str | os.PathLike[str] | None = None
) -> Found:
    """Searches a folder and its subfolders.

    Linked folders are searched too, each folder once, so that a circular link ends. Not looked at are hidden files and
    folders, those of the system, and README files.

    Args:
        directory: the folder. One that does not exist holds nothing.
        is_wanted: tells whether a file is looked for, by its name, or where that says nothing by its content.
        results: a folder of this program's results. If it is below the directory, all files in it are such.
    """
    found, visited = Found(), set[str]()

    def report(error: OSError) -> None:
        if Path(error.filename) != Path(directory) or not isinstance(error, (FileNotFoundError, NotADirectoryError)):
            reason = error.strerror or error
            found.problems.append(f"{error.filename}: cannot be searched ({reason}); permit reading it, or move it.")

    for folder, subfolders, names in os.walk(directory, onerror=report, followlinks=True):
        real = realpath(folder)
        is_new = real not in visited
        visited.add(real)
        subfolders[:] = [name for name in subfolders if is_new and not _is_ignored(name, SYSTEM_FOLDERS)]
        origins = read_origins(folder) if is_new else {}
        for name in names if is_new else ():
            path = Path(folder, name)
            if _is_ignored(name, SYSTEM_FILES):
                continue
            if is_wanted(path):
                if name in origins:
                    found.results += 1
                else:
                    found.files.append(path)
            elif name not in origins and path.stem.lower() != "readme":
                found.others[path.suffix.lower() or "without an ending"] += 1
    found.files.sort(key=lambda path: path.parts)  # on Windows, paths compare without regard to case
    if results is not None and Path(realpath(directory)) in (own := Path(realpath(results))).parents:
        kept = [path for path in found.files if own not in Path(realpath(path)).parents]
        found.results += len(found.files) - len(kept)
        found.files = kept
    return found


def _is_ignored(name: str, of_the_system: Collection[str]) -> bool:
    return name[0] == "." or name.lower() in of_the_system

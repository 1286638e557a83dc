"""Keeps the finished parts of a film beside its result, so that the same command resumes it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import filelock

from srcnn_tf.errors import RunError
from srcnn_tf.system.files import atomic_write
from srcnn_tf.system.jobs import print_line

PIXELS = 1.5e9  # of the frames of a segment: two minutes or so of two cores
FEWEST_FRAMES = 250  # in a segment: as far apart as key frames are in any case


class Segments:
    """The folder of the finished segments of one video.

    A segment has a fixed number of frames and an encoder of its own, whether the program was interrupted or not. So
    what is joined of them is the same.

    Attributes:
        folder: hidden, beside the result.
        frames: in each segment but the last.
        finished: number of segments that are complete.
        end: that of the last frame, once all segments are complete.
        notes: what to say of them, likewise.
    """

    def __init__(self, folder: Path, identity: dict[str, Any], rows: int, cols: int) -> None:
        """Finds what an earlier run has finished.

        Args:
            folder: exists.
            identity: what determines the frames. Segments of anything else are removed.
            rows: of an upscaled frame.
            cols: of an upscaled frame.
        """
        self.folder = folder
        self.frames = max(FEWEST_FRAMES, round(PIXELS / (rows * cols)))
        self._identity = json.loads(json.dumps(identity | {"frames": self.frames}))
        self._record = folder / "record.json"
        record = self._read_record()
        if record.get("identity") != self._identity:
            former = list(folder.glob("*.nut"))
            for path in former:
                path.unlink()
            if former:
                print_line(f"{folder}: what was finished is removed, as flags, weights or the video were others.")
            record = {}
        self.end: int | None = record.get("end")
        self.notes: list[str] = record.get("notes", [])
        self.finished = 0
        while self.path(self.finished).is_file():
            self.finished += 1
        if not record:
            self._write_record()

    def path(self, number: int) -> Path:
        """Returns the file of a segment, which exists when it is complete."""
        return self.folder / f"{number:05}.nut"

    def complete(self, end: int, notes: list[str]) -> None:
        """Records that there are no more segments, when the last frame ends, and what to say of them."""
        self.end, self.notes = end, notes
        self._write_record()

    def remove(self) -> None:
        """Removes the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _read_record(self) -> dict[str, Any]:
        try:
            record = json.loads(self._record.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return record if isinstance(record, dict) else {}

    def _write_record(self) -> None:
        values = {"identity": self._identity, "end": self.end, "notes": self.notes}
        with atomic_write(self._record) as temporary:
            temporary.write_text(json.dumps(values), encoding="utf-8")


@contextmanager
def segments_folder(target: Path) -> Iterator[Path]:
    """Yields the folder for the segments of a result; another process that makes the same result is waited for.

    Raises:
        RunError: it cannot be made.
    """
    digest = hashlib.sha256(os.fsencode(target.name)).hexdigest()[:8]
    folder = target.with_name(f".{target.stem[:40]}-{digest}.segments")
    try:
        lock = _lock(folder, target)
    except OSError as error:
        raise RunError(
            f"{target}: cannot be written ({error.strerror or error}); permit writing there, or choose another path."
        ) from error
    try:
        yield folder
    finally:
        if any(folder.glob("*.nut")):
            print_line(f"{target}: what is finished is kept in {folder}; the same command resumes.")
        else:
            shutil.rmtree(folder, ignore_errors=True)
        lock.release()


def _lock(folder: Path, target: Path) -> filelock.BaseFileLock:
    """Locks a folder, which it creates."""
    lock, is_told = filelock.FileLock(folder / ".lock"), False
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0.1)
            if (folder / ".lock").exists():
                return lock
            lock.release()  # the process that had it has removed the folder
        except FileNotFoundError:  # likewise
            continue
        except filelock.Timeout:
            if not is_told:
                print_line(f"{target}: waiting for another process that makes it.")
            is_told = True

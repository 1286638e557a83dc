"""Writes TensorBoard logs; a log that cannot be written is reported once and stops nothing."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorboard.plugins.image.metadata import create_summary_metadata

from srcnn_tf.errors import RunError


class TensorBoardLog:
    """A folder with TensorBoard event files. The first error of writing is printed, later ones are ignored.

    Attributes:
        directory: the folder.
        problem: the error that was printed, if any.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.problem: str | None = None
        self._writer = tf.summary.create_noop_writer()

    def open(self, append: bool) -> None:
        """Creates the folder and an event file; deletes earlier ones unless `append`, as curves would overlap."""
        with self.report_errors():
            self.directory.mkdir(parents=True, exist_ok=True)
            for path in self.directory.iterdir():
                if not append and path.name.startswith("events.out.tfevents."):
                    path.unlink()
            self._writer = tf.summary.create_file_writer(str(self.directory))

    def write(self, step: int, summary: Callable[..., Any], *values: Any) -> None:
        """Calls `summary`, a function of `tf.summary`, with `values` at `step`."""
        # TensorFlow takes UTF-8 only, but a file name may hold other bytes.
        encodable = [
            value.encode(errors="backslashreplace").decode() if isinstance(value, str) else value for value in values
        ]
        with self.report_errors(), self._writer.as_default(step=step):
            summary(*encodable)

    def write_image(self, step: int, name: str, image: NDArray[np.uint8]) -> None:
        """Writes a uint8 image, `(rows, cols)` grey or `(rows, cols, 3)` RGB, as `tf.summary.image` would.

        That encodes it ten times as slowly.
        """
        rows, cols = image.shape[:2]
        png = iio.imwrite("<bytes>", image, plugin="pillow", extension=".png", compress_level=1)
        metadata = create_summary_metadata(display_name=None, description=None)
        write = partial(tf.summary.write, metadata=metadata)
        self.write(step, write, name, [str(cols), str(rows), png])

    def flush(self) -> None:
        """Writes what is still in memory to the disk."""
        with self.report_errors():
            self._writer.flush()

    def close(self) -> None:
        """Writes what is still in memory to the disk, and closes the event file."""
        with self.report_errors():
            self._writer.close()

    @contextlib.contextmanager
    def report_errors(self) -> Iterator[None]:
        """Catches errors of writing, and prints the first one."""
        try:
            yield
        except (tf.errors.OpError, OSError, RunError) as error:
            if self.problem is None:
                reason = str(getattr(error, "message", error)).split("\n")[0]
                self.problem = (
                    f"{self.directory}: the TensorBoard log cannot be written ({reason}); free space, permit writing "
                    "there, or choose another --log_dir."
                )
                print(f"Problem: {self.problem}", file=sys.stderr)


def write_scores(log: TensorBoardLog, averages: Mapping[str, Mapping[str, float]], table: str) -> None:
    """Writes the scores of a test.

    Args:
        log: an open log.
        averages: average scores by set, and by the name of the score.
        table: scores of all images as a text table.
    """
    log.write(0, tf.summary.text, "test/scores", "\n".join("    " + line for line in table.split("\n")))
    for name, scores in averages.items():
        for score, value in scores.items():
            log.write(0, tf.summary.scalar, f"test {name}/{score}", value)

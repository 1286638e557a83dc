"""What is logged for TensorBoard, and as CSV: curves, pictures, filters and weights of a training, scores of a test."""

from __future__ import annotations

import contextlib
import csv
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from srcnn_tf.config import Config
from srcnn_tf.errors import RunError
from srcnn_tf.files import atomic_write
from srcnn_tf.images.color import Floats, to_image
from srcnn_tf.inference.tiling import Reconstructor
from srcnn_tf.model import LAYERS

PREVIEW = 240  # rows and cols, at most, of the picture that sharpens as training goes on
HISTORY = "history.csv"
PICTURES = 60  # pictures of a long training, at most about; each takes some 0.3 MB of log


class Log:
    """A folder of TensorBoard's; when it cannot be written any more, that is said once, and the work goes on.

    Attributes:
        directory: where it is.
        problem: what was said, if anything.
    """

    def __init__(self, directory: Path) -> None:
        self.problem: str | None = None
        self.directory = directory
        self._writer = tf.summary.create_noop_writer()

    def open(self, anew: bool) -> None:
        """Makes the folder; `anew` deletes the logs in it, so that curves are not drawn over each other."""
        with self.noticing():
            self.directory.mkdir(parents=True, exist_ok=True)
            for path in self.directory.iterdir():
                if anew and (path.name == HISTORY or path.name.startswith("events.out.tfevents.")):
                    path.unlink()
            self._writer = tf.summary.create_file_writer(str(self.directory))

    def write(self, step: int, summary: Callable[..., Any], *values: Any) -> None:
        """Calls `summary`, a function of `tf.summary`, with `values`, at `step`."""
        with self.noticing(), self._writer.as_default(step=step):
            summary(*values)

    def flush(self) -> None:
        """Writes to the disk what is still in memory."""
        with self.noticing():
            self._writer.flush()

    @contextlib.contextmanager
    def noticing(self) -> Iterator[None]:
        """What cannot be written in this context is said, the first time."""
        try:
            yield
        except (tf.errors.OpError, OSError, RunError) as error:
            if self.problem is None:
                reason = str(getattr(error, "message", error)).split("\n")[0]
                self.problem = f"{self.directory}: the log cannot be written ({reason}); free the place."
                print(f"Problem: {self.problem}", file=sys.stderr)


class History(keras.callbacks.Callback):
    """Writes history.csv beside TensorBoard's log: a row an epoch, with all that was measured.

    Keras has `CSVLogger`, which doubles the columns of a loop without its own validation, and repeats the rows of
    epochs that a killed run did and its next one does again.
    """

    def __init__(self, log: Log, epochs: int) -> None:
        """Args: where to write, open; and how many epochs are done. Rows beyond them are of a run that was killed."""
        super().__init__()
        self._log, self._done = log, epochs
        self._path = log.directory / HISTORY
        self._columns: list[str] = []

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Keeps the rows of the epochs that are done, if there are any."""
        with self._log.noticing():
            if self._path.exists():
                header, *rows = self._path.read_text(encoding="utf-8", errors="replace").split("\n")
                done = {str(epoch + 1) for epoch in range(self._done)}
                kept = [row for row in rows if row.partition(",")[0] in done]
                with atomic_write(self._path) as temporary:
                    temporary.write_text("".join(line + "\n" for line in (header, *kept) if line), encoding="utf-8")
                self._columns = header.split(",") if header else []

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Writes the epoch's row; epochs count from 1."""
        row = {"epoch": epoch + 1} | (logs or {})
        with self._log.noticing(), open(self._path, "a", newline="", encoding="utf-8") as file:
            new = not self._columns
            self._columns = self._columns or list(row)
            # A held-out picture that cannot be read any more leaves its columns empty.
            writer = csv.DictWriter(file, self._columns, restval="", extrasaction="ignore", lineterminator="\n")
            if new:
                writer.writeheader()
            writer.writerow(row)


class Board(keras.callbacks.Callback):
    """Writes a training's log: scalars by step and by epoch, pictures, first-layer filters, histograms, the graph."""

    def __init__(
        self, log: Log, reconstruct: Reconstructor, preview: tuple[Floats, Floats], config: Config, configuration: str
    ) -> None:
        """Prepares what is shown.

        Args:
            log: where to write, open.
            reconstruct: with the model whose weights are shown; those that are published.
            preview: degraded and original channels of the picture to show, `(rows, cols, 1 or 3)` in [0, 1].
            config: of which the epochs, so that a long training does not fill the disk with pictures, and the range of
                luma and the colour space count.
            configuration: all of it, as Markdown.
        """
        super().__init__()
        self._log = log
        self._reconstruct = reconstruct
        self._degraded, self._original = (centre(channels, PREVIEW) for channels in preview)
        self._every = math.ceil(config.epoch / PICTURES)
        self._epochs, self._studio, self._rgb = config.epoch, config.studio_range, config.rgb
        self._configuration = configuration

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Writes the configuration and the graph."""
        model = self._reconstruct.model
        signature = tf.TensorSpec([None, None, None, model.input_shape[-1]], tf.float32, name="degraded")
        self._log.write(0, tf.summary.text, "configuration", self._configuration)
        self._log.write(0, tf.summary.graph, tf.function(model, autograph=False).get_concrete_function(signature).graph)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Writes the mean loss since the last call, and the rate, at step `batch`."""
        self._log.write(batch, tf.summary.scalar, "training/loss", (logs or {})["mean_loss"])
        self._log.write(batch, tf.summary.scalar, "training/learning_rate", (logs or {})["learning_rate"])

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Writes what was measured, and now and then what the weights look like and do."""
        for name, value in (logs or {}).items():
            self._log.write(epoch + 1, tf.summary.scalar, name if "/" in name else f"epoch/{name}", value)
        if epoch == 0 or (epoch + 1) % self._every == 0 or epoch + 1 == self._epochs:
            self._show_weights(epoch + 1)
        self._log.flush()

    def _show_weights(self, step: int) -> None:
        model = self._reconstruct.model
        restored = self._reconstruct(self._degraded)
        panels = [
            to_image(channels, self._studio, self._rgb) for channels in (self._degraded, restored, self._original)
        ]
        pictures = {
            "bicubic | SRCNN | original": np.concatenate(panels, axis=1),
            "first-layer filters": filters_picture(model, self._rgb),
        }
        for name, picture in pictures.items():
            self._log.write(step, tf.summary.image, name, _as_batch(picture))
        for layer in LAYERS:
            for name, weights in zip(("kernel", "bias"), model.get_layer(layer).weights, strict=True):
                self._log.write(step, tf.summary.histogram, f"{layer}/{name}", weights)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Writes what is left."""
        self._log.flush()


def write_test(
    directory: Path, averages: Sequence[tuple[str, dict[str, float]]], table: str, pictures: dict[str, NDArray]
) -> str | None:
    """Writes a test's log, in place of the last test's.

    Args:
        directory: where the log goes.
        averages: the name of each set, and its scores by name.
        table: the scores of all pictures, as text in columns.
        pictures: side-by-side uint8 RGB pictures by name.

    Returns:
        What went wrong, if anything.
    """
    log = Log(directory)
    log.open(anew=True)
    log.write(0, tf.summary.text, "test/scores", "\n".join("    " + line for line in table.split("\n")))
    for name, scores in averages:
        for key, value in scores.items():
            log.write(0, tf.summary.scalar, f"test {name}/{key}", value)
    for name, picture in pictures.items():
        log.write(0, tf.summary.image, f"test/{name}", _as_batch(picture))
    log.flush()
    return log.problem


def centre(picture: NDArray, side: int) -> NDArray:
    """The middle of a picture, at most `side` rows and cols of it."""
    rows, cols = picture.shape[:2]
    top, left = max(rows - side, 0) // 2, max(cols - side, 0) // 2
    return picture[top : top + side, left : left + side]


def filters_picture(model: keras.Model, rgb: bool = False, magnification: int = 8) -> NDArray[np.uint8]:
    """Draws the filters of the first layer on luma as the paper's figure of learned filters does.

    Of an RGB network, they are what a grey picture meets: the sum over the channels.

    Each filter is stretched to its own range; they are ordered by variance, the strongest first, in rows.

    Returns:
        uint8 `(rows, cols)`, white between the filters.
    """
    kernel = model.get_layer(LAYERS[0]).kernel.numpy()
    kernel = kernel.sum(axis=2) if rgb else kernel[:, :, 0]
    filters = np.moveaxis(kernel, -1, 0)
    filters = filters[np.argsort(-filters.var(axis=(1, 2)))]
    low, high = filters.min(axis=(1, 2), keepdims=True), filters.max(axis=(1, 2), keepdims=True)
    filters = (filters - low) / np.maximum(high - low, np.finfo(np.float32).tiny)
    filters = np.pad(filters, ((0, 0), (0, 1), (0, 1)), constant_values=1)
    columns = math.isqrt(len(filters) - 1) + 1
    missing = -len(filters) % columns
    filters = np.pad(filters, ((0, missing), (0, 0), (0, 0)), constant_values=1)
    picture = np.vstack([np.hstack(row) for row in filters.reshape(-1, columns, *filters.shape[1:])])
    return np.kron(np.rint(picture * 255).astype(np.uint8), np.ones((magnification, magnification), np.uint8))


def _as_batch(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return picture.reshape(1, *picture.shape[:2], -1)

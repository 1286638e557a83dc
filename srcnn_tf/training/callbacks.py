"""Keras callbacks that show how training goes: printed lines or a progress bar, history.csv, a TensorBoard log.

The training loop calls `on_train_batch_end(step, logs)` after a few steps at a time, where `step` counts the steps that
are done and `logs` has `loss` (of the last step), `mean_loss` (of these steps) and `learning_rate`; and
`on_epoch_end(epoch, logs)`, where `epoch` counts from 0 and `logs` has `loss` (mean of the epoch), `learning_rate`,
`seconds`, `patches_per_second` and, with validation images, `held-out/psnr`, `held-out/ssim`, `held-out/psnr_bicubic`.
"""

from __future__ import annotations

import csv
import math
import sys
import time
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tqdm import tqdm

from srcnn_tf.images.color import Floats, channels_to_image
from srcnn_tf.model import LAYERS
from srcnn_tf.spec import ColorSpace
from srcnn_tf.system.files import atomic_write
from srcnn_tf.system.jobs import SECONDS_PER_LINE
from srcnn_tf.testing.report import crop_center
from srcnn_tf.testing.tensorboard import TensorBoardLog
from srcnn_tf.testing.tiling import TiledModel
from srcnn_tf.utils import merge

PRINT_EVERY = 10  # steps between two lines of the reference
HISTORY = "history.csv"
PREVIEW = 240  # rows and columns, at most, of the preview image
PREVIEWS = 60  # preview images of a run, at most about; each takes some 0.3 MB of log

Logs = dict[str, Any]


class ReferenceLines(keras.callbacks.Callback):
    """Prints `Epoch, step, time, loss` every 10 steps, as the reference does."""

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Starts the clock."""
        self._start = time.monotonic()

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Stores the epoch."""
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Prints a line if `batch`, the number of steps, is a multiple of 10."""
        if batch % PRINT_EVERY == 0:
            seconds = time.monotonic() - self._start
            print(
                f"Epoch: [{self._epoch + 1:2d}], step: [{batch:2d}], time: [{seconds:.4f}], "
                f"loss: [{(logs or {})['loss']:.8f}]",
                flush=True,
            )


class ProgressBar(keras.callbacks.Callback):
    """Shows a progress bar in a terminal; in a log file one line per epoch, and one per minute of a long epoch."""

    def __init__(self, step: int, steps: int, batch_size: int, epochs: int) -> None:
        """Args: steps already done and in total, patches per batch, epochs in total."""
        super().__init__()
        self._step, self._steps, self._batch_size, self._epochs = step, steps, batch_size, epochs
        self._validation = ""

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Draws the bar if the output is a terminal."""
        self._bar = tqdm(
            total=self._steps * self._batch_size,
            initial=self._step * self._batch_size,
            unit=" patches",
            unit_scale=True,
            disable=None,
            dynamic_ncols=True,
        )
        self._last_line = (time.monotonic(), self._step)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Moves the bar to step `batch`."""
        logs = logs or {}
        self._bar.update((batch - self._step) * self._batch_size)
        self._step = batch
        self._bar.set_postfix_str(
            f"loss {logs['mean_loss']:.6f}, rate {logs['learning_rate']:.1e}{self._validation}", refresh=False
        )
        last_time, last_step = self._last_line
        seconds = time.monotonic() - last_time
        if self._bar.disable and seconds > SECONDS_PER_LINE:
            speed = (batch - last_step) * self._batch_size / seconds
            self._print(f"step {batch}/{self._steps}", logs["mean_loss"], logs["learning_rate"], speed)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Prints the line of the epoch."""
        logs = logs or {}
        if "held-out/psnr" in logs:
            psnr, bicubic = logs["held-out/psnr"], logs["held-out/psnr_bicubic"]
            self._validation = f"; validation {psnr:.2f} dB (bicubic {bicubic:.2f})"
        name = f"epoch {epoch + 1}/{self._epochs}"
        self._print(name, logs["loss"], logs["learning_rate"], logs["patches_per_second"])

    def _print(self, name: str, loss: float, rate: float, speed: float) -> None:
        left = tqdm.format_interval((self._steps - self._step) * self._batch_size / speed)
        self._bar.write(
            f"{name}: loss {loss:.6f}, rate {rate:.1e}, {speed:.0f} patches/s, {left} left{self._validation}"
        )
        sys.stdout.flush()
        self._last_line = (time.monotonic(), self._step)

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Closes the bar, which stays visible."""
        self._bar.close()


class HistoryFile(keras.callbacks.Callback):
    """Writes history.csv beside the TensorBoard log: one row per epoch with all its logs.

    Unlike Keras's `CSVLogger`, it does not repeat the rows of epochs that a killed run had done and that are done
    again after resuming, and does not expect validation by Keras.
    """

    def __init__(self, log: TensorBoardLog, epochs_done: int) -> None:
        """Args: an open log, and the epochs that are done, 0 for a new run; later rows are deleted."""
        super().__init__()
        self._log, self._epochs_done = log, epochs_done
        self._path = log.directory / HISTORY
        self._columns: list[str] = []

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Keeps the rows of the epochs that are done."""
        with self._log.report_errors():
            if self._epochs_done == 0:
                self._path.unlink(missing_ok=True)
            elif self._path.exists():
                header, *rows = self._path.read_text(encoding="utf-8", errors="replace").split("\n")
                done = {str(epoch + 1) for epoch in range(self._epochs_done)}
                kept = [row for row in rows if row.partition(",")[0] in done]
                with atomic_write(self._path) as temporary:
                    temporary.write_text("".join(line + "\n" for line in (header, *kept) if line), encoding="utf-8")
                self._columns = header.split(",") if header else []

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Writes the row of the epoch; in the file, epochs count from 1."""
        row = {"epoch": epoch + 1} | (logs or {})
        with self._log.report_errors(), open(self._path, "a", newline="", encoding="utf-8") as file:
            is_new = not self._columns
            self._columns = self._columns or list(row)
            # The columns of validation stay empty if its images can no longer be read.
            writer = csv.DictWriter(file, self._columns, restval="", extrasaction="ignore", lineterminator="\n")
            if is_new:
                writer.writeheader()
            writer.writerow(row)


class TrainingLog(keras.callbacks.Callback):
    """Writes a TensorBoard log: configuration, graph, scalars, and now and then images, filters and histograms."""

    def __init__(
        self,
        log: TensorBoardLog,
        restore: TiledModel,
        preview: tuple[Floats, Floats],
        epochs: int,
        configuration: str,
        space: ColorSpace,
    ) -> None:
        """Prepares the log.

        Args:
            log: an open log.
            restore: restores the degraded preview; the weights of its model are shown.
            preview: degraded and original channels of an image, `(rows, cols, 1 or 3)` in [0, 1].
            epochs: epochs in total; the more, the fewer of them have images.
            configuration: text in Markdown.
            space: what the channels of the preview are.
        """
        super().__init__()
        self._log, self._model, self._restore = log, restore.model, restore
        self._degraded, self._original = (crop_center(channels, PREVIEW) for channels in preview)
        self._epochs, self._configuration = epochs, configuration
        self._space = space

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Writes the configuration and the graph of the model."""
        signature = tf.TensorSpec([None, None, None, self._model.input_shape[-1]], tf.float32, name="degraded")
        graph = tf.function(self._model, autograph=False).get_concrete_function(signature).graph
        self._log.write(0, tf.summary.text, "configuration", self._configuration)
        self._log.write(0, tf.summary.graph, graph)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Writes the mean loss of the last steps and the learning rate at step `batch`."""
        logs = logs or {}
        self._log.write(batch, tf.summary.scalar, "training/loss", logs["mean_loss"])
        self._log.write(batch, tf.summary.scalar, "training/learning_rate", logs["learning_rate"])

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Writes all logs of the epoch and, after about one in `epochs / PREVIEWS` epochs, images and weights."""
        step = epoch + 1
        for name, value in (logs or {}).items():
            self._log.write(step, tf.summary.scalar, name if "/" in name else f"epoch/{name}", value)
        if epoch == 0 or step % math.ceil(self._epochs / PREVIEWS) == 0 or step == self._epochs:
            images = [
                channels_to_image(channels, self._space)
                for channels in (self._degraded, self._restore(self._degraded), self._original)
            ]
            self._log.write_image(step, "bicubic | SRCNN | original", np.concatenate(images, axis=1))
            self._log.write_image(step, "first-layer filters", draw_filters(self._model, self._space))
            for layer in LAYERS:
                for name, weights in zip(("kernel", "bias"), self._model.get_layer(layer).weights, strict=True):
                    self._log.write(step, tf.summary.histogram, f"{layer}/{name}", weights)
        self._log.flush()

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Closes the log."""
        self._log.close()


def draw_filters(model: keras.Model, space: ColorSpace) -> NDArray[np.uint8]:
    """Draws the filters of the first layer as in the paper's figure of learned filters.

    Each filter is stretched to its own range. They are ordered by variance, from the highest to the lowest, in rows.

    Args:
        model: the network.
        space: of R, G and B, the sum is drawn, which is the response to a grey image; otherwise the filters on luma.

    Returns:
        uint8 `(rows, cols)`, white between the filters; a weight is 8 x 8 pixels.
    """
    kernel = model.get_layer(LAYERS[0]).kernel.numpy()
    kernel = kernel.sum(axis=2) if space.channels == "rgb" else kernel[:, :, 0]
    filters = np.moveaxis(kernel, -1, 0)
    filters = filters[np.argsort(-filters.var(axis=(1, 2)))]
    low, high = filters.min(axis=(1, 2), keepdims=True), filters.max(axis=(1, 2), keepdims=True)
    filters = (filters - low) / np.maximum(high - low, np.finfo(np.float32).tiny)
    filters = np.pad(filters, ((0, 0), (0, 1), (0, 1)), constant_values=1)
    columns = math.isqrt(len(filters) - 1) + 1
    filters = np.pad(filters, ((0, -len(filters) % columns), (0, 0), (0, 0)), constant_values=1)
    image = merge(filters[..., np.newaxis], (len(filters) // columns, columns))[..., 0]
    return np.kron(np.rint(image * 255).astype(np.uint8), np.ones((8, 8), np.uint8))

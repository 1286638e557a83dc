"""What training prints: the reference's lines, or a progress bar and a line an epoch."""

from __future__ import annotations

import sys
import time
from typing import Any

import keras
from tqdm import tqdm

EVERY = 10  # steps from one of the reference's lines to the next
LINE_EVERY = 60  # seconds, at least, from one line in a log file to the next within an epoch


class ReferenceLines(keras.callbacks.Callback):
    """Prints `Epoch, step, time, loss` every 10 steps, as the reference does."""

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Starts the clock."""
        self._start = time.monotonic()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Remembers the epoch."""
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Prints the line of every tenth step."""
        if batch % EVERY == 0:
            seconds = time.monotonic() - self._start
            print(
                f"Epoch: [{self._epoch + 1:2d}], step: [{batch:2d}], time: [{seconds:.4f}], "
                f"loss: [{(logs or {})['loss']:.8f}]",
                flush=True,
            )


class ProgressBar(keras.callbacks.Callback):
    """Shows a bar on a terminal; in a log file a line an epoch, and one a minute where an epoch takes longer."""

    def __init__(self, step: int, steps: int, batch_size: int, epochs: int) -> None:
        """Args: steps done already and in all, patches in a batch, epochs in all."""
        super().__init__()
        self._step, self._steps, self._batch_size, self._epochs = step, steps, batch_size, epochs
        self._held_out = ""

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Draws the bar, where there is a terminal for it."""
        self._bar = tqdm(
            total=self._steps * self._batch_size,
            initial=self._step * self._batch_size,
            unit=" patches",
            unit_scale=True,
            disable=None,
            dynamic_ncols=True,
        )
        self._said = time.monotonic()
        self._said_at = self._step

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Moves the bar to step `batch`."""
        logs = logs or {}
        self._bar.update((batch - self._step) * self._batch_size)
        self._step = batch
        self._bar.set_postfix_str(
            f"loss {logs['mean_loss']:.6f}, rate {logs['learning_rate']:.1e}{self._held_out}", refresh=False
        )
        seconds = time.monotonic() - self._said
        if self._bar.disable and seconds > LINE_EVERY:
            speed = (batch - self._said_at) * self._batch_size / seconds
            self._say(f"step {batch}/{self._steps}", logs["mean_loss"], logs["learning_rate"], speed)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Prints the epoch's line."""
        logs = logs or {}
        if "held-out/psnr" in logs:
            self._held_out = f"; held out {logs['held-out/psnr']:.2f} dB (bicubic {logs['held-out/psnr_bicubic']:.2f})"
        name = f"epoch {epoch + 1}/{self._epochs}"
        self._say(name, logs["loss"], logs["learning_rate"], logs["patches_per_second"])

    def _say(self, name: str, loss: float, rate: float, speed: float) -> None:
        left = tqdm.format_interval((self._steps - self._step) * self._batch_size / speed)
        line = f"{name}: loss {loss:.6f}, rate {rate:.1e}, {speed:.0f} patches/s, {left} left{self._held_out}"
        self._bar.write(line)
        sys.stdout.flush()
        self._said, self._said_at = time.monotonic(), self._step

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Leaves the bar as it is."""
        self._bar.close()

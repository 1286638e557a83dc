"""What training prints: the reference's lines, or a progress bar and a line an epoch."""

from __future__ import annotations

import time
from typing import Any

import keras
from tqdm import tqdm

EVERY = 10  # steps from one of the reference's lines to the next


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
    """Shows a bar on a terminal, and prints a line an epoch there and in a log file."""

    def __init__(self, step: int, steps: int, batch_size: int, epochs: int) -> None:
        """Args: steps done already and in all, patches in a batch, epochs in all."""
        super().__init__()
        self._step, self._steps, self._batch_size, self._epochs = step, steps, batch_size, epochs

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

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Moves the bar to step `batch`."""
        logs = logs or {}
        self._bar.set_postfix_str(f"loss {logs['mean_loss']:.6f}, rate {logs['learning_rate']:.1e}", refresh=False)
        self._bar.update((batch - self._step) * self._batch_size)
        self._step = batch

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Prints the epoch's line."""
        logs = logs or {}
        left = (self._steps - self._step) * self._batch_size / logs["patches_per_second"]
        line = (
            f"epoch {epoch + 1}/{self._epochs}: loss {logs['loss']:.6f}, rate {logs['learning_rate']:.1e}, "
            f"{logs['patches_per_second']:.0f} patches/s, {tqdm.format_interval(left)} left"
        )
        if "held-out/psnr" in logs:
            line += (
                f"; held out: {logs['held-out/psnr']:.2f} dB, SSIM {logs['held-out/ssim']:.4f} "
                f"(bicubic {logs['held-out/psnr_bicubic']:.2f} dB)"
            )
        self._bar.write(line)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Leaves the bar as it is."""
        self._bar.close()

"""A training as a curve to lay beside the authors' own: PSNR of Set5's sub-images by iteration.

    python -m benchmarks.curves --recipe=paper --degradation=matlab --epoch=295 \
        --train_dir=path/to/T91 --test_dir=path/to/Set5

It takes the flags of main.py, trains as that does (295 epochs of T91 are 50,150 iterations), and writes
docs/curves/<recipe>_<network>.csv with the columns `steps,psnr`; `python -m benchmarks.reproduce` draws them all.
Checkpoints and logs go below checkpoint/curves and logs/curves. A run that was stopped goes on by the same command:
its rows stay, and those of steps that it does again are replaced.

What is measured is what the authors' solver tested: sub-images of Set5, cut as for training but side by side, with a
label's side as the stride; neither clipped nor rounded; one mean squared error over all. They are restored with the
weights as they are at that step. Recipe `modern` publishes an average of these, which is ahead of its curve until the
rate has come down.
"""

from __future__ import annotations

import csv
import dataclasses
import sys
from pathlib import Path
from typing import Any

import numpy as np
from absl import app
from numpy.typing import NDArray

from srcnn_tf import utils
from srcnn_tf.config import Config
from srcnn_tf.datasets import samples as datasets
from srcnn_tf.errors import RunError, StoppedError, UsageError
from srcnn_tf.files import atomic_write

FOLDER = Path("docs", "curves")
COLUMNS = ["steps", "psnr"]
# Steps to measure at, six in each decade, about evenly on a logarithmic axis. The authors' curve is known at 5 x 10^n.
MARKS = [round(lead * 10**decade) for decade in range(2, 9) for lead in (1, 1.5, 2, 3, 5, 7)]
BATCH = 128  # sub-images restored at once

Row = tuple[int, float]  # steps, dB


class Curve:
    """The rows of a curve, in a file that is whole at any moment."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows = read(path) if path.exists() else []

    def due(self, step: int) -> bool:
        """Whether a mark was passed since the last row before `step`.

        What rows there are decides, not which steps this process did: it may go on with another's run.
        """
        last = max((steps for steps, _ in self._rows if steps < step), default=0)
        return any(last < mark <= step for mark in MARKS)

    def add(self, step: int, psnr: float) -> None:
        """Adds a row. Those from `step` on are of a run that was killed after its last checkpoint, and go."""
        self._rows = [*(row for row in self._rows if row[0] < step), (step, psnr)]
        with atomic_write(self._path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerows([COLUMNS, *((steps, f"{value:.4f}") for steps, value in self._rows)])


def read(path: Path) -> list[Row]:
    """The rows of a curve's file."""
    with open(path, newline="", encoding="utf-8") as file:
        return [(int(row["steps"]), float(row["psnr"])) for row in csv.DictReader(file)]


def test_pairs(config: Config) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Sub-images and labels of the pictures below `config.test_dir`, cut side by side as the authors' test set is."""
    cut = dataclasses.replace(config, stride=config.label_size)
    pairs = [utils.training_pairs(path, cut) for path in datasets.find_pictures(config, "test_dir")]
    data, label = (np.concatenate(part) for part in zip(*pairs, strict=True))
    return data, label


def pooled_psnr(model: Any, data: NDArray[np.float32], label: NDArray[np.float32]) -> float:
    """PSNR in dB of all sub-images together, for values in [0, 1]."""
    squares = 0.0
    for begin in range(0, len(data), BATCH):
        restored = np.asarray(model(data[begin : begin + BATCH], training=False), np.float64)
        squares += np.sum((restored - label[begin : begin + BATCH]) ** 2)
    return float(-10 * np.log10(squares / label.size))


def bicubic_psnr(config: Config) -> float:
    """What `pooled_psnr` is without any network."""
    margin = config.border // 2
    return pooled_psnr(lambda data, training: data[:, margin:-margin, margin:-margin], *test_pairs(config))


def measure(config: Config, curve: Curve) -> None:
    """Trains as `config` says, and adds to the curve on the way, and at the end."""
    import keras

    from srcnn_tf.training.train import train

    pairs = test_pairs(config)

    class Measure(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
            self.step = batch
            if curve.due(batch):
                curve.add(batch, pooled_psnr(self.model, *pairs))

        def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
            if epoch + 1 == config.epoch:
                curve.add(self.step, pooled_psnr(self.model, *pairs))

    train(config, [Measure()])


def main(config: Config) -> int:
    """Trains, measures, and says where the curve is."""
    from srcnn_tf.devices import load_tensorflow

    name = f"{config.recipe}_{config.network_name.removeprefix('srcnn_')}"
    folders = {flag: str(Path(getattr(config, flag), "curves", name)) for flag in ("checkpoint_dir", "log_dir")}
    path = FOLDER / f"{name}.csv"
    try:
        print(f"Computing on: {load_tensorflow(is_train=True)}", flush=True)
        measure(dataclasses.replace(config, **folders), Curve(path))
    except StoppedError as error:
        print("Stopped; the same command goes on.", file=sys.stderr)
        return error.exit_status
    except (UsageError, RunError) as error:
        print(error, file=sys.stderr)
        return error.exit_status
    print(f"The curve is in {path}.")
    return 0


if __name__ == "__main__":
    Path("benchmarks").is_dir() or sys.exit("Run this from the repository's root.")
    from main import parse  # its flags are for this process alone: other benchmarks have flags of the same names

    app.run(main, flags_parser=parse)

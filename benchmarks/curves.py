"""Trains, and measures PSNR by iteration as the authors' solver did; draws the curves next to the authors' own.

    python -m benchmarks.curves --recipe=paper --degradation=matlab --epoch=295 \
        --train_dir=Train/T91 --test_dir=Test/Set5

It has the flags of main.py, trains like it (295 epochs of T91 are 50,150 iterations), and ends with

    The curve is in docs/curves/paper_x3_matlab.csv.

with the columns `steps,psnr`. `python -m benchmarks.reproduce` draws all curves. Checkpoints and logs go below
checkpoint/curves and logs/curves. The same command resumes a stopped run, and replaces rows of repeated steps.

What is measured is what the authors' solver tested: patches of Set5, extracted as for training but adjacent, with the
label's side as the stride; neither clipped nor rounded; one mean squared error over all. They are restored with the
weights of that step.
"""

from __future__ import annotations

import csv
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.common import load_patches, report_errors
from benchmarks.published import AUTHORS_CURVE
from srcnn_tf import cli
from srcnn_tf.config import Config
from srcnn_tf.datasets.samples import find_images
from srcnn_tf.errors import RunError
from srcnn_tf.system.devices import load_tensorflow
from srcnn_tf.system.files import atomic_write

FOLDER = Path("docs", "curves")
COLUMNS = ["steps", "psnr"]
# Steps to measure at, six per decade, about even on a logarithmic axis. The authors' curve is known at 5 x 10^n.
MARKS = [round(lead * 10**decade) for decade in range(2, 9) for lead in (1, 1.5, 2, 3, 5, 7)]
BATCH = 128  # patches restored at once
PSNR_RANGE = (27, 33.5)  # dB, of the figure: untrained weights begin at 12, which would hide all differences

Row = tuple[int, float]  # steps, dB


class Curve:
    """The rows of a curve, kept in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows = read(path) if path.exists() else []

    def due(self, step: int) -> bool:
        """Returns whether a mark was passed since the last row before `step`, whichever process wrote that row."""
        last = max((steps for steps, _ in self._rows if steps < step), default=0)
        return any(last < mark <= step for mark in MARKS)

    def add(self, step: int, psnr: float) -> None:
        """Adds a row, and drops those from `step` on, which a run killed after its last checkpoint has left."""
        self._rows = [*(row for row in self._rows if row[0] < step), (step, psnr)]
        with atomic_write(self._path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerows([COLUMNS, *((steps, f"{value:.4f}") for steps, value in self._rows)])


def read(path: Path) -> list[Row]:
    """Reads the rows of a curve's file."""
    with open(path, newline="", encoding="utf-8") as file:
        return [(int(row["steps"]), float(row["psnr"])) for row in csv.DictReader(file)]


def test_patches(config: Config) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Extracts the patches and labels of the images below `config.test_dir`, adjacent as in the authors' test set."""
    return load_patches(find_images(config, "test_dir"), replace(config, stride=config.label_size))


def pooled_psnr(model: Any, data: NDArray[np.float32], label: NDArray[np.float32]) -> float:
    """Returns the PSNR in dB of the mean squared error over all patches, with values in [0, 1]."""
    squares = 0.0
    for begin in range(0, len(data), BATCH):
        restored = np.asarray(model(data[begin : begin + BATCH], training=False), np.float64)
        squares += np.sum((restored - label[begin : begin + BATCH]) ** 2)
    return float(-10 * np.log10(squares / label.size))


def bicubic_psnr(config: Config) -> float:
    """Returns `pooled_psnr` without any network."""
    margin = config.network.border // 2
    return pooled_psnr(lambda data, training: data[:, margin:-margin, margin:-margin], *test_patches(config))


def measure(config: Config, curve: Curve) -> None:
    """Trains, and adds rows to the curve at `MARKS` and at the end."""
    import keras

    from srcnn_tf.model import build_model
    from srcnn_tf.training.train import train

    patches, model = test_patches(config), build_model(config.network)

    class Measure(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
            self.step = batch
            if curve.due(batch):
                self.add_row()

        def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
            if epoch + 1 == config.epoch:
                self.add_row()

        def add_row(self) -> None:
            model.set_weights(self.model.get_weights())
            curve.add(self.step, pooled_psnr(model, *patches))

    train(config, [Measure()])


def draw(target: Path, bicubic: float | None = None) -> None:
    """Draws all curves in `FOLDER`, and the authors' own, as a PNG file.

    Args:
        target: the file.
        bicubic: dB of the degraded patches, for a horizontal line.

    Raises:
        RunError: matplotlib is not installed, or the file cannot be written.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise RunError(
            f"{target}: not drawn, because matplotlib is not installed. Run `pip install -r requirements-bench.txt`, "
            "then this command again."
        ) from error
    # White, not transparent: black text must be readable on a dark page too.
    figure = Figure(figsize=(8, 4.8), facecolor="white", layout="constrained")
    axes = figure.add_subplot(xscale="log")
    axes.plot(*zip(*AUTHORS_CURVE, strict=True), "o-", color="black", label="the authors' Caffe solver, 91 images")
    for path in sorted(FOLDER.glob("*.csv")):
        recipe, _, network = path.stem.partition("_")
        axes.plot(
            *zip(*read(path), strict=True), ".-", label=f"srcnn_tf, --recipe={recipe} ({network.replace('_', ' ')})"
        )
    if bicubic is not None:
        axes.axhline(bicubic, color="gray", linestyle="--", label="bicubic")
    axes.set_ylim(PSNR_RANGE)
    axes.set_xlabel("iterations (batches of 128 patches)")
    axes.set_ylabel("PSNR of Set5's patches, pooled (dB)")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    with atomic_write(target) as temporary:
        figure.savefig(temporary, dpi=120)


def main() -> None:
    """Trains, measures, and prints where the curve is."""
    config = cli.parse(sys.argv)
    if config is None:  # --help
        return
    name = f"{config.recipe}_{config.network.name.removeprefix('srcnn_')}"
    checkpoint_dir, log_dir = (str(Path(folder, "curves", name)) for folder in (config.checkpoint_dir, config.log_dir))
    print(f"Computing on: {load_tensorflow()}", flush=True)
    path = FOLDER / f"{name}.csv"
    measure(replace(config, checkpoint_dir=checkpoint_dir, log_dir=log_dir), Curve(path))
    print(f"The curve is in {path}.")


if __name__ == "__main__":
    sys.exit(report_errors(main))

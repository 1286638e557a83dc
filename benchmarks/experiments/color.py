"""The paper's experiment on colour channels (section 4.5): trains one network per row of its table.

    python -m benchmarks.experiments.color --train_dir=Train/T91 --test_dir=Test/Set5 --epoch=10

Network 9-1-5, x3, `--degradation=matlab`. Each row is trained for the same number of epochs; the pre-trained rows spend
the first half of them on some of the channels. The same command resumes a stopped run. It prints PSNR in dB, averages
over the colour images, as Markdown:

    | | Y | Cb | Cr | YCbCr pooled | RGB | paper: Y | Cb | Cr | YCbCr pooled |
    |---|---|---|---|---|---|---|---|---|---|
    | bicubic | 30.39 | 45.45 | 45.42 | 34.57 | 28.63 | 30.39 | 45.44 | 45.42 | 34.57 |

and five more rows. The paper labels its last column RGB, but its bicubic row shows that it is the error pooled over Y,
Cb and Cr.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.common import report_errors
from srcnn_tf import utils
from srcnn_tf.config import RECIPES, Config
from srcnn_tf.devices import load_tensorflow
from srcnn_tf.images import color, metrics
from srcnn_tf.images.color import Floats


class Row(NamedTuple):
    """PSNR in dB of each channel, of the three pooled, and of R, G and B."""

    y: float
    cb: float
    cr: float
    ycbcr: float
    rgb: float = float("nan")  # not in the paper


# Table 5 of the paper: Set5, x3, 9-1-5, 91 images.
PAPER = {
    "bicubic": Row(30.39, 45.44, 45.42, 34.57),
    "Y only": Row(32.39, 45.44, 45.42, 36.37),
    "YCbCr": Row(29.25, 43.30, 43.49, 33.47),
    "Y pre-trained": Row(32.19, 46.49, 46.45, 36.32),
    "CbCr pre-trained": Row(32.14, 46.38, 45.84, 36.25),
    "RGB": Row(32.33, 46.18, 46.20, 36.44),
}
PRETRAINED_CHANNELS = {"Y pre-trained": (0, 1), "CbCr pre-trained": (1, 3)}  # see `Recipe.channels`


def row_config(row: str, train_dir: str, epoch: int, scratch: str) -> Config:
    """Returns the configuration of a row's training; `scratch` is the folder of all runs."""
    channels: dict[str, Any] = (
        {} if row == "Y only" else {"c_dim": 3, "color_space": "rgb" if row == "RGB" else "ycbcr"}
    )
    folder = Path(scratch, row.replace(" ", "_"))
    return Config(
        epoch=epoch,
        degradation="matlab",
        validation_split=0.0,  # each row is trained on all images
        train_dir=train_dir,
        checkpoint_dir=str(folder),
        log_dir=str(folder / "logs"),
        **channels,
    )


def train_row(row: str, train_dir: str, epoch: int, scratch: str) -> Config:
    """Trains a row, or resumes it; returns the configuration whose run has the weights.

    Raises:
        RunError: see `train`.
    """
    from srcnn_tf.training.train import train
    from srcnn_tf.weights.store import run_directory

    config = row_config(row, train_dir, epoch, scratch)
    if row not in PRETRAINED_CHANNELS:
        train(config)
        return config
    pretraining = row_config(f"{row} first", train_dir, epoch // 2, scratch)
    train(pretraining, recipe=replace(RECIPES["modern"], channels=PRETRAINED_CHANNELS[row]))
    train(replace(config, epoch=epoch - epoch // 2, weights=str(run_directory(pretraining))))
    return config


def score(restored: Floats, image: NDArray[np.uint8], config: Config) -> Row:
    """Scores `(rows, cols, 3)` channels in the configuration's colour space against a modcropped uint8 RGB image."""
    shaved = (slice(config.scale, -config.scale),) * 2
    found, original = color.channels_to_image(restored, True, config.rgb)[shaved], image[shaved]
    channels = color.to_channels(found, studio=True) if config.rgb else restored[shaved]
    ycbcr, expected = color.to_uint8(channels), color.to_uint8(color.to_channels(original, studio=True))
    y, cb, cr = (metrics.psnr(ycbcr[..., channel], expected[..., channel]) for channel in range(3))
    return Row(y, cb, cr, metrics.psnr(ycbcr, expected), metrics.psnr(found, original))


def measure(config: Config | None, directory: str) -> Row:
    """Averages over the colour images of a folder, restored with a run's weights; without one, the degraded images."""
    restore = None
    if config is not None:
        from srcnn_tf.inference.tiling import TiledModel
        from srcnn_tf.weights.store import find_model

        restore = TiledModel(find_model(config)[0], rgb=config.rgb)
    rows = []
    for path in utils.prepare_data(directory):
        image = utils.imread(path)
        if image.ndim == 2:
            continue
        original = utils.modcrop(image)
        if restore is not None and config is not None:
            rows.append(score(restore(utils.preprocess(image, config)[0]), original, config))
            continue
        # The degraded images of a column are degraded in its own colour space.
        spaces = [Config(c_dim=3, degradation="matlab", color_space=space) for space in ("ycbcr", "rgb")]
        ycbcr, rgb = (score(utils.preprocess(image, space)[0], original, space) for space in spaces)
        rows.append(ycbcr._replace(rgb=rgb.rgb))
    return Row(*np.mean(np.array(rows), axis=0))


def main() -> None:
    """Trains the rows one after the other and prints the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.experiments.color", allow_abbrev=False)
    parser.add_argument("--train_dir", required=True, help="Folder of training images.")
    parser.add_argument("--test_dir", required=True, help="Folder of test images.")
    parser.add_argument("--epoch", type=int, default=30, help="Of each row, pre-training included. Default: 30.")
    parser.add_argument("--scratch", default="checkpoint/color", help="Folder of the runs. Default: %(default)s.")
    given = parser.parse_args()
    if given.epoch < 2:
        parser.error(f"--epoch={given.epoch}: expected 2 or more, half of them to pre-train.")
    load_tensorflow()
    table = []
    for name, paper in PAPER.items():
        config = None if name == "bicubic" else train_row(name, given.train_dir, given.epoch, given.scratch)
        row = [*measure(config, given.test_dir), *paper[:4]]
        table.append(f"| {name} | {' | '.join(f'{psnr:.2f}' for psnr in row)} |")
    print("\n| | Y | Cb | Cr | YCbCr pooled | RGB | paper: Y | Cb | Cr | YCbCr pooled |")
    print("|---|---|---|---|---|---|---|---|---|---|", *table, sep="\n")


if __name__ == "__main__":
    sys.exit(report_errors(main))

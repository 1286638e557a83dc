"""The paper's experiment on colour channels (its section 4.5), trained here: one network a row of its table.

    python -m benchmarks.colour --train_dir=path/to/T91 --test_dir=path/to/Set5

Network 9-1-5, x3, the paper's degradation. Each row is trained for the same number of epochs; those that are
pre-trained spend the first half of them on a part of the channels. A run that was cut off goes on where it stopped, as
long as `--scratch` is the same folder.

The paper calls its last column RGB. It is the PSNR of the error of Y, Cb and Cr together, as its bicubic row shows:
here it has that name, and the PSNR of R, G and B is beside it.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from srcnn_tf import utils
from srcnn_tf.config import RECIPES, Config
from srcnn_tf.devices import load_tensorflow
from srcnn_tf.errors import RunError, StoppedError, UsageError
from srcnn_tf.images import color, metrics
from srcnn_tf.images.color import Floats
from srcnn_tf.images.read import read_image


class Row(NamedTuple):
    """PSNR in dB, the average over the pictures: of each channel, of the three together, of R, G and B."""

    y: float
    cb: float
    cr: float
    ycbcr: float
    rgb: float = float("nan")  # the paper does not have it


# Table 5 of the paper: Set5, x3, 9-1-5, 91 pictures.
PAPER = {
    "bicubic": Row(30.39, 45.44, 45.42, 34.57),
    "Y only": Row(32.39, 45.44, 45.42, 36.37),
    "YCbCr": Row(29.25, 43.30, 43.49, 33.47),
    "Y pre-trained": Row(32.19, 46.49, 46.45, 36.32),
    "CbCr pre-trained": Row(32.14, 46.38, 45.84, 36.25),
    "RGB": Row(32.33, 46.18, 46.20, 36.44),
}
# The first channel that a row is pre-trained on, and the one after the last.
PRETRAINED = {"Y pre-trained": (0, 1), "CbCr pre-trained": (1, 3)}


def configuration(row: str, train_dir: str, epoch: int, scratch: str) -> Config:
    """How a row of the table is trained, in how many epochs, and below which folder."""
    colour = {} if row == "Y only" else {"c_dim": 3, "color_space": "rgb" if row == "RGB" else "ycbcr"}
    # Nothing is held out, so that every row sees all the pictures.
    common = {"degradation": "matlab", "validation_split": 0.0, "train_dir": train_dir}
    return Config(epoch=epoch, **common, **folders(row, scratch), **colour)


def folders(name: str, scratch: str) -> dict[str, str]:
    """Where a run keeps what it makes."""
    folder = Path(scratch, name.replace(" ", "_"))
    return {"checkpoint_dir": str(folder), "log_dir": str(folder / "logs")}


def train_row(row: str, train_dir: str, epoch: int, scratch: str) -> Config:
    """Trains what a row shows, or goes on with it; returns the configuration whose run has the weights.

    Raises:
        RunError: see `train`.
    """
    from srcnn_tf.training.train import train
    from srcnn_tf.weights.checkpoint import run_directory

    config = configuration(row, train_dir, epoch, scratch)
    if row not in PRETRAINED:
        train(config)
        return config
    half = epoch // 2
    RECIPES["first"] = dataclasses.replace(RECIPES["modern"], channels=PRETRAINED[row])
    first = dataclasses.replace(config, recipe="first", epoch=half, **folders(f"{row} first", scratch))
    train(first)
    train(dataclasses.replace(config, epoch=epoch - half, weights=str(run_directory(first))))
    return config


def score(restored: Floats, picture: NDArray[np.uint8], config: Config) -> Row:
    """Scores a colour picture by the protocol.

    Args:
        restored: `(rows, cols, 3)` channels in [0, 1], in the configuration's space.
        picture: what it should be, uint8 RGB, modcropped.
        config: of which the scale and the space count.
    """
    shaved = (slice(config.scale, -config.scale),) * 2
    image, truth = color.to_image(restored, True, config.rgb)[shaved], picture[shaved]
    found = color.to_channels(image, studio=True) if config.rgb else restored[shaved]
    channels, wanted = color.to_uint8(found), color.to_uint8(color.to_channels(truth, studio=True))
    each = [metrics.psnr(channels[..., number], wanted[..., number]) for number in range(3)]
    return Row(*each, metrics.psnr(channels, wanted), metrics.psnr(image, truth))


def measure(config: Config | None, directory: str) -> Row:
    """The average over the colour pictures of a folder; of the degraded pictures if there is no configuration."""
    reconstruct = None
    if config is not None:
        from srcnn_tf.inference.tiling import Reconstructor
        from srcnn_tf.weights.checkpoint import restored_model

        reconstruct = Reconstructor(restored_model(config)[0], rgb=config.rgb)
    rows = []
    for path in utils.prepare_data(directory):
        image = read_image(path)
        if image.ndim == 2:
            continue
        if reconstruct is None:
            # Each column in the space it is about: reduced as Y, Cb and Cr, or as R, G and B.
            ycbcr, rgb = (Config(c_dim=3, degradation="matlab", color_space=space) for space in ("ycbcr", "rgb"))
            row = score(_degraded(image, ycbcr), utils.modcrop(image), ycbcr)
            row = row._replace(rgb=score(_degraded(image, rgb), utils.modcrop(image), rgb).rgb)
        else:
            row = score(reconstruct(_degraded(image, config)), utils.modcrop(image), config)
        rows.append(row)
    return Row(*np.mean(rows, axis=0).tolist())


def _degraded(image: NDArray[np.uint8], config: Config) -> Floats:
    return utils.degraded_pair(image, config.scale, config.degradation, config.color_space)[0]


def main() -> int:
    """Trains the rows one after the other and prints the table as Markdown."""
    given = _parse()
    try:
        load_tensorflow(is_train=True)
        found = {}
        for row in PAPER:
            config = None if row == "bicubic" else train_row(row, given.train_dir, given.epoch, given.scratch)
            found[row] = measure(config, given.test_dir)
    except StoppedError as error:
        print("Stopped; the same command goes on.", file=sys.stderr)
        return error.exit_status
    except (RunError, UsageError) as error:
        print(error, file=sys.stderr)
        return error.exit_status
    print("\n| | Y | Cb | Cr | YCbCr together | RGB | the paper: Y | Cb | Cr | YCbCr together (its 'RGB') |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for name, row in found.items():
        figures = [*row, *PAPER[name][:4]]
        print(f"| {name} | {' | '.join(f'{value:.2f}' for value in figures)} |")
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.colour", allow_abbrev=False)
    parser.add_argument("--train_dir", required=True, help="Folder of training pictures.")
    parser.add_argument("--test_dir", required=True, help="Folder of test pictures.")
    parser.add_argument("--epoch", type=int, default=30, help="Of each row, pre-training included. Default: 30.")
    parser.add_argument("--scratch", default="checkpoint/colour", help="Folder of the runs. Default: %(default)s.")
    given = parser.parse_args()
    if given.epoch < 2:
        parser.error(f"--epoch={given.epoch}: expected 2 or more, half of them to pre-train.")
    return given


if __name__ == "__main__":
    Path("benchmarks").is_dir() or sys.exit("Run this from the repository's root.")
    sys.exit(main())

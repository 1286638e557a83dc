"""The paper's experiment on colour channels (its section 4.5), trained here: one network a row of its table.

    python -m benchmarks.colour --train_dir=path/to/T91 --test_dir=path/to/Set5

Network 9-1-5, x3, the paper's degradation. Each row is trained for the same number of epochs; those that are
pre-trained spend the first half of them on a part of the channels. A run that was cut off goes on where it stopped, as
long as `--scratch` is the same folder.

The paper calls its last column RGB. It is the PSNR of the error of Y, Cb and Cr together, as its bicubic row shows:
here it has that name, and the PSNR of R, G and B is beside it.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import NamedTuple

import numpy as np
from absl import app, flags
from numpy.typing import NDArray

from srcnn_tf import color, metrics, utils
from srcnn_tf.color import Floats
from srcnn_tf.config import RECIPES, Config
from srcnn_tf.pictures import read_image
from srcnn_tf.startup import load_tensorflow

_TRAIN_DIR = flags.DEFINE_string("train_dir", None, "Folder of training pictures.", required=True)
_TEST_DIR = flags.DEFINE_string("test_dir", None, "Folder of test pictures.", required=True)
_EPOCH = flags.DEFINE_integer("epoch", 30, "Epochs of each row, pre-training included.")
_SCRATCH = flags.DEFINE_string("scratch", "checkpoint/colour", "Folder of the runs.")


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


def configuration(row: str) -> Config:
    """How a row of the table is trained."""
    colour = {} if row == "Y only" else {"c_dim": 3, "color_space": "rgb" if row == "RGB" else "ycbcr"}
    # Nothing is held out, so that every row sees all the pictures.
    common = {"degradation": "matlab", "validation_split": 0.0, "train_dir": _TRAIN_DIR.value}
    return Config(epoch=_EPOCH.value, **common, **folders(row), **colour)


def folders(name: str) -> dict[str, str]:
    """Where a run keeps what it makes."""
    folder = Path(_SCRATCH.value, name.replace(" ", "_"))
    return {"checkpoint_dir": str(folder), "log_dir": str(folder / "logs")}


def train_row(row: str) -> Config:
    """Trains what a row shows, or goes on with it; returns the configuration whose run has the weights."""
    from srcnn_tf.checkpoint import run_directory
    from srcnn_tf.train import train

    config = configuration(row)
    if row not in PRETRAINED:
        train(config)
        return config
    half = _EPOCH.value // 2
    RECIPES["first"] = dataclasses.replace(RECIPES["modern"], channels=PRETRAINED[row])
    first = dataclasses.replace(config, recipe="first", epoch=half, **folders(f"{row} first"))
    train(first)
    train(dataclasses.replace(config, epoch=_EPOCH.value - half, weights=str(run_directory(first))))
    return config


def score(restored: Floats, original: Floats, config: Config) -> Row:
    """Scores a colour picture's channels in the configuration's space, `(rows, cols, 3)` in [0, 1], by the protocol."""
    shaved = (slice(config.scale, -config.scale),) * 2
    image, truth = (color.to_image(channels, True, config.rgb)[shaved] for channels in (restored, original))
    pair = (restored, original)
    if config.rgb:
        pair = tuple(color.to_channels(picture, studio=True) for picture in (image, truth))
    else:
        pair = tuple(channels[shaved] for channels in pair)
    channels, wanted = map(color.to_uint8, pair)
    each = [metrics.psnr(channels[..., number], wanted[..., number]) for number in range(3)]
    return Row(*each, metrics.psnr(channels, wanted), metrics.psnr(image, truth))


def measure(config: Config | None, directory: str) -> Row:
    """The average over the colour pictures of a folder; of the degraded pictures if there is no configuration."""
    reconstruct = None
    if config is not None:
        from srcnn_tf.checkpoint import restored_model
        from srcnn_tf.infer import Reconstructor

        reconstruct = Reconstructor(restored_model(config)[0], rgb=config.rgb)
    rows = []
    for path in utils.prepare_data(directory):
        image = read_image(path)
        if image.ndim == 2:
            continue
        if reconstruct is None:
            # Each column in the space it is about: reduced as Y, Cb and Cr, or as R, G and B.
            ycbcr, rgb = (Config(c_dim=3, degradation="matlab", color_space=space) for space in ("ycbcr", "rgb"))
            row = score(*_pair(image, ycbcr), ycbcr)._replace(rgb=score(*_pair(image, rgb), rgb).rgb)
        else:
            degraded, original = _pair(image, config)
            row = score(reconstruct(degraded), original, config)
        rows.append(row)
    return Row(*np.mean(rows, axis=0).tolist())


def _pair(image: NDArray[np.uint8], config: Config) -> tuple[Floats, Floats]:
    return utils.degraded_pair(image, config.scale, config.degradation, config.color_space)


def main(_: list[str]) -> None:
    """Trains the rows one after the other and prints the table as Markdown."""
    load_tensorflow(is_train=True)
    found = {row: measure(None if row == "bicubic" else train_row(row), _TEST_DIR.value) for row in PAPER}
    print("\n| | Y | Cb | Cr | YCbCr together | RGB | the paper: Y | Cb | Cr | YCbCr together (its 'RGB') |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for name, row in found.items():
        figures = [*row, *PAPER[name][:4]]
        print(f"| {name} | {' | '.join(f'{value:.2f}' for value in figures)} |")


if __name__ == "__main__":
    app.run(main)

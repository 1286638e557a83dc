"""Compares how to train for compressed photographs: which qualities, and how many images without compression.

    python -m benchmarks.experiments.jpeg --train_dir=Train/T91 --epoch=20 --seeds=0,1

Network 9-1-5, x3; "deblocked" means that total variation denoising comes before interpolation. Every tenth image is
held out, compressed at several qualities, and scored. It prints the gain over bicubic interpolation in dB, averages
over these images, as Markdown; the same command resumes a stopped run:

    | trained on | seed | none | 95 | 90 | 80 | 70 | 50 |
    |---|---|---|---|---|---|---|---|
    | no compression | 0 | +1.91 | +1.33 | +0.94 | +0.50 | +0.23 | +0.00 |
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

import numpy as np
from skimage.restoration import denoise_tv_chambolle

from benchmarks.common import parse_experiment, report_errors
from srcnn_tf import utils
from srcnn_tf.config import Compression, Config
from srcnn_tf.devices import load_tensorflow
from srcnn_tf.images.color import Floats
from srcnn_tf.images.metrics import score_channels
from srcnn_tf.utils import jpeg

# Of denoising, per unit of the standard quantization table: within 0.06 dB of the best of 0.005, 0.01, 0.015, 0.02,
# 0.03 and 0.05 at each of qualities 95, 90, 80, 70 and 50, on small training images.
DEBLOCKING = 0.01
QUALITIES = ("none", "95", "90", "80", "70", "50")


class Variant(NamedTuple):
    """What training images are compressed with; no qualities: not at all."""

    qualities: tuple[int, int] | None
    clean_share: float = 0.0
    deblocks: bool = False  # denoise the compressed images before they are interpolated

    @property
    def name(self) -> str:
        """What the table calls it."""
        deblocked = ", deblocked" if self.deblocks else ""
        if self.qualities is None:
            return f"no compression{deblocked}"
        clean = f", {self.clean_share:.0%} without" if self.clean_share else ""
        return f"quality {self.qualities[0]} to {self.qualities[1]}{clean}{deblocked}"


VARIANTS = (
    Variant(None),
    Variant((25, 98), 0.05),
    Variant((25, 98), 0.25),
    Variant((40, 100)),
    Variant((40, 100), 0.05),
    Variant((30, 100), 0.05),
    Variant((10, 98), 0.05),
    Variant((25, 75)),
    Variant((70, 98), 0.05),
    Variant(None, deblocks=True),
    Variant((40, 100), 0.05, deblocks=True),
)


def deblocked_jpeg(channels: Floats, compression: Compression, rgb: bool = False, is_luma: bool = False) -> Floats:
    """Compresses like `utils.jpeg`, and denoises the luma as strongly as the quality asks for."""
    quality = compression.quality
    compressed = jpeg(channels, compression, rgb, is_luma)
    quantization = 50 / quality if quality < 50 else 2 - quality / 50  # as of the IJG's library
    if quantization == 0:
        return compressed
    compressed[..., 0] = denoise_tv_chambolle(compressed[..., 0], DEBLOCKING * quantization)
    return compressed


def train_variant(variant: Variant, config: Config) -> dict[str, float]:
    """Trains a variant, or resumes it; returns the gain over bicubic interpolation of each quality, in dB.

    Raises:
        RunError: see `train`.
    """
    from srcnn_tf.training.train import train

    config = dataclasses.replace(config, degradation="matlab" if variant.qualities is None else "jpeg")
    compress = deblocked_jpeg if variant.deblocks else jpeg
    with (
        patch.object(utils, "JPEG_QUALITIES", variant.qualities),
        patch.object(utils, "CLEAN_SHARE", variant.clean_share),
        patch.object(utils, "jpeg", compress),
    ):
        train(config)
    return score_weights(config, compress)


def score_weights(config: Config, compress: Callable[..., Floats]) -> dict[str, float]:
    """Returns the gain over bicubic interpolation of trained weights that are given what `compress` makes, in dB."""
    from srcnn_tf.inference.tiling import TiledModel
    from srcnn_tf.training.patches import validation_images
    from srcnn_tf.weights.store import find_model

    restore = TiledModel(find_model(config)[0])
    paths = utils.prepare_data(config.train_dir)
    held_out = [utils.imread(paths[number]) for number in validation_images(paths, config.validation_split)]
    gains = {}
    for quality in QUALITIES:
        tested = dataclasses.replace(config, degradation="jpeg", jpeg_quality=quality)
        scores = []
        for image in held_out:
            bicubic, original = utils.preprocess(image, tested, compression=tested.compression)
            with patch.object(utils, "jpeg", compress):
                degraded, _ = utils.preprocess(image, tested, compression=tested.compression)
            after, before = (
                score_channels(channels, original, config.scale, studio=True).psnr
                for channels in (restore(degraded), bicubic)
            )
            scores.append(after - before)
        gains[quality] = float(np.mean(scores))
    return gains


def main() -> None:
    """Trains the variants one after the other and prints the table."""
    given = parse_experiment("jpeg", epoch=20)
    load_tensorflow()
    rows = []
    for seed in given.seeds:
        for variant in VARIANTS:
            folder = str(Path(given.scratch, f"{variant.name.replace(' ', '_')}_seed{seed}"))
            config = Config(
                epoch=given.epoch,
                validation_split=0.1,
                train_dir=given.train_dir,
                checkpoint_dir=folder,
                log_dir=folder,
                seed=seed,
            )
            gains = train_variant(variant, config)
            rows.append(f"| {variant.name} | {seed} | {' | '.join(f'{gain:+.2f}' for gain in gains.values())} |")
            print(rows[-1], flush=True)
    print(f"\n| trained on | seed | {' | '.join(QUALITIES)} |\n|---|---|{'---|' * len(QUALITIES)}", *rows, sep="\n")


if __name__ == "__main__":
    sys.exit(report_errors(main))

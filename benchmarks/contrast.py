"""Measures what upscaling gains on data that fill a part of their range, as 12 bits in a file of 16 do.

Luma of each image is scaled to a part of 16 bits, reduced by bicubic interpolation, rounded to 16 bits, and upscaled
with the shipped weights: with all of the dtype's range, and with the data's own. PSNR is relative to the data's range.

python -m benchmarks.contrast --test_dir=../shared/data/Set14
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from absl import flags
from numpy.typing import NDArray

from benchmarks.common import report_errors
from srcnn_tf.api import upscale_image
from srcnn_tf.images.color import to_luma
from srcnn_tf.images.metrics import psnr
from srcnn_tf.images.read import read_image
from srcnn_tf.images.resize import imresize
from srcnn_tf.spec import ColorSpace
from srcnn_tf.utils import modcrop, prepare_data

FULL = 65535
# Smallest and largest value of the data, in parts of the range.
PARTS = {"full": (0, 1), "half": (0.25, 0.75), "a fifth": (0.4, 0.6), "a twentieth, near black": (0.01, 0.06)}


def main(scales: Iterable[int], folder: str) -> None:
    """Prints a table in Markdown for each scale, and the means over the images of a folder."""
    paths = prepare_data(folder)
    for scale in scales:
        print(f"\nx{scale}, means over {len(paths)} images of {Path(folder).name}, dB of the data's range\n")
        print("| part of the range | bicubic | SRCNN, --value_range=dtype | SRCNN, data (default) |\n|---|---|---|---|")
        for name, part in PARTS.items():
            scores = np.mean([score(path, scale, part) for path in paths], axis=0)
            print(f"| {name} | {' | '.join(f'{value:.2f}' for value in scores)} |", flush=True)


def score(path: Path, scale: int, part: tuple[float, float]) -> list[float]:
    """Returns the PSNR of bicubic interpolation, and of the network with both ranges."""
    luma = modcrop(to_luma(read_image(path), ColorSpace(studio=True))[..., 0], scale)
    luma = (luma - luma.min()) / np.ptp(luma)
    low, high = (float(FULL * side) for side in part)
    original = low + luma * (high - low)
    small = np.round(imresize(original, 1 / scale)).clip(low, high).astype(np.uint16)

    def relative(image: NDArray) -> float:
        inner = (slice(scale, -scale), slice(scale, -scale))
        return psnr(*(255 * (values[inner].astype(float) - low) / (high - low) for values in (image, original)))

    ranges = ("dtype", "data")
    return [relative(imresize(small.astype(float), scale))] + [
        relative(upscale_image(small, scale, value_range=setting)) for setting in ranges
    ]


if __name__ == "__main__":
    flags.DEFINE_list("scales", ["2", "3", "4"], "Factors.")
    flags.DEFINE_string("test_dir", "Test", "Folder of test images.")
    flags.FLAGS(sys.argv)
    sys.exit(report_errors(lambda: main(map(int, flags.FLAGS.scales), flags.FLAGS.test_dir)))

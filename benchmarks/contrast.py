"""Measures what upscaling gains on data that fill a part of their range, as 12 bits in a file of 16 do.

Luma of each image is scaled to a part of 16 bits, reduced by bicubic interpolation, rounded to 16 bits, and upscaled
with the shipped weights: with all of the dtype's range, and with the data's own. PSNR is relative to the data's range.

python -m benchmarks.contrast --test_dir=../shared/data/Set14
python -m benchmarks.contrast --figure     # docs/measured.png, of an anonymous slice in pydicom's wheel
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from absl import flags
from numpy.typing import NDArray
from PIL import Image

from benchmarks.common import report_errors
from srcnn_tf.api import upscale_image
from srcnn_tf.images.color import to_luma, to_uint8
from srcnn_tf.images.metrics import psnr
from srcnn_tf.images.read import read_image
from srcnn_tf.images.resize import imresize
from srcnn_tf.testing.report import side_by_side
from srcnn_tf.utils import modcrop, prepare_data

FULL = 65535
# Of the figure: factor, largest value, the part that is shown, and the value that is shown white.
SCALE, MAGNETIC_RESONANCE, PART, BRIGHT = 3, 1123, (slice(80, 260), slice(110, 290)), 800
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
    luma = modcrop(to_luma(read_image(path))[..., 0], scale)
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


def draw_figure(path: Path) -> None:
    """Writes a part of a magnetic resonance image of 12 bits, x3, beside bicubic interpolation and the original."""
    from pydicom.data import get_testdata_file

    image = read_image(str(get_testdata_file("examples_overlay.dcm")), "data")
    original = np.round(modcrop(image, SCALE) * MAGNETIC_RESONANCE).astype(np.uint16)
    small = np.round(imresize(original.astype(float), 1 / SCALE).clip(0, MAGNETIC_RESONANCE)).astype(np.uint16)
    versions = {
        "bicubic": imresize(small.astype(float), SCALE).clip(0, MAGNETIC_RESONANCE),
        "SRCNN": upscale_image(small, SCALE),
        "original": original,
    }
    inner = (slice(SCALE, -SCALE), slice(SCALE, -SCALE))
    panels = {}
    for name, version in versions.items():
        score = psnr(*(values[inner] * (255 / MAGNETIC_RESONANCE) for values in (version, original)))
        part = to_uint8(version[PART].astype(float) / BRIGHT).repeat(2, axis=0).repeat(2, axis=1)
        panels[name if version is original else f"{name}: {score:.2f} dB"] = part
    Image.fromarray(side_by_side(panels)).convert("L").save(path, optimize=True)


if __name__ == "__main__":
    flags.DEFINE_boolean("figure", False, "Draw the figure of docs/data.md.")
    flags.DEFINE_list("scales", ["2", "3", "4"], "Factors.")
    flags.DEFINE_string("test_dir", "Test", "Folder of test images.")
    flags.FLAGS(sys.argv)
    if flags.FLAGS.figure:
        sys.exit(report_errors(lambda: draw_figure(Path("docs", "measured.png"))))
    sys.exit(report_errors(lambda: main(map(int, flags.FLAGS.scales), flags.FLAGS.test_dir)))

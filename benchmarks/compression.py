"""Measures which weights gain most on images of lossy formats: what the automatic choice follows.

Images are reduced by bicubic interpolation, compressed, and their luma upscaled with each of the shipped weights. Gains
are of luma PSNR in dB over bicubic interpolation of the same pixels; `says` is what the program takes as JPEG quality.

    python -m benchmarks.compression --test_dir=../shared/data/Set14 --formats=jpg,webp,avif
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from absl import flags
from numpy.typing import NDArray
from PIL import Image

from benchmarks.common import report_errors
from srcnn_tf.api import upscale_image
from srcnn_tf.images.color import to_luma, to_uint8
from srcnn_tf.images.formats.interface import MAX_PIXELS
from srcnn_tf.images.metrics import psnr
from srcnn_tf.images.page import as_array
from srcnn_tf.images.read import read_image
from srcnn_tf.images.reader import ImageReader
from srcnn_tf.images.resize import imresize
from srcnn_tf.spec import ColorSpace
from srcnn_tf.utils import modcrop, prepare_data

QUALITIES = (40, 50, 60, 70, 75, 80, 85, 88, 90, 92, 95, 98)
DEGRADATIONS = ("matlab", "jpeg")


def main(folder: str, formats: Iterable[str], scale: int, architecture: str) -> None:
    """Prints a table in Markdown, with means over the images of a folder."""
    paths = prepare_data(folder)
    print(f"x{scale}, {architecture}, means over {len(paths)} images of {Path(folder).name}\n")
    print(f"| format | quality | says | bits per pixel | {' | '.join(DEGRADATIONS)} |")
    print(f"|{'---|' * (4 + len(DEGRADATIONS))}")
    for name in formats:
        for quality in QUALITIES:
            rows = [measure(path, name, quality, scale, architecture) for path in paths]
            says, bits, *gains = np.mean(rows, axis=0)
            cells = [f"{says:.1f}", f"{bits:.2f}", *(f"{gain:+.3f}" for gain in gains)]
            print(f"| {name} | {quality} | {' | '.join(cells)} |", flush=True)


def measure(path: Path, name: str, quality: int, scale: int, architecture: str) -> Sequence[float]:
    """Returns what the file says of its quality, its bits per pixel, and the gain with each of the weights."""
    image = modcrop(read_image(path), scale)
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch, f"small.{name}")
        Image.fromarray(imresize(image, 1 / scale)).save(file, quality=quality)
        bits = 8 * file.stat().st_size
        with ImageReader(file, MAX_PIXELS) as reader:
            page = next(iter(reader))
            small, says = as_array(page.pixels), page.jpeg_quality
    original = luma(image)

    def score(upscaled: NDArray[np.uint8]) -> float:
        inner = (slice(scale, -scale), slice(scale, -scale))
        return psnr(luma(upscaled)[inner], original[inner])

    bicubic = score(imresize(small, scale))
    results = (upscale_image(small, scale, architecture=architecture, degradation=each) for each in DEGRADATIONS)
    gains = [score(result) - bicubic for result in results]
    return [np.nan if says is None else says, bits / (small.shape[0] * small.shape[1]), *gains]


def luma(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Returns the luma `(rows, cols)` that the paper scores."""
    return to_uint8(to_luma(image, ColorSpace(studio=True))[..., 0])


if __name__ == "__main__":
    flags.DEFINE_string("test_dir", "Test/Set14", "Folder of test images.")
    flags.DEFINE_list("formats", ["jpg", "webp", "avif"], "Extensions that Pillow writes.")
    flags.DEFINE_integer("scale", 3, "Factor.")
    flags.DEFINE_string("architecture", "9-1-5", "Filter sizes.")
    flags.FLAGS(sys.argv)
    given = flags.FLAGS
    sys.exit(report_errors(lambda: main(given.test_dir, given.formats, given.scale, given.architecture)))

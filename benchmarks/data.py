"""Preparing training data next to the reference's way, and time and memory with very many images.

    python -m benchmarks.data --train_dir=Train/T91

First, both ways prepare the same folder in turns, each time in a new process; medians are printed. Then 1,000 and
10,000 synthetic images are prepared and trained on for one epoch, which takes 7 GB of disk below `--scratch`:

    | preparing | seconds | relative speed |
    | synthetic images | patches | prepared in | memory | training speed | memory |

Last, folders of 1,000, 10,000 and 100,000 images of 16 x 16 pixels: the former two are upscaled, and all of them are
skipped when their results exist:

    | small images | upscaled in | memory | skipped in | memory |

docs/benchmarks.md has the tables. Memory is the peak resident set of the process, with TensorFlow where it trains.
"""

from __future__ import annotations

import argparse
import re
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
from PIL import Image
from scipy import ndimage

from benchmarks.common import ROOT, Finished, report_errors, run_python, synthetic_image, write_small_images
from srcnn_tf import patch_file, utils
from srcnn_tf.config import Config
from srcnn_tf.datasets.samples import find_images
from srcnn_tf.errors import RunError
from srcnn_tf.images.read import fingerprint

UPSCALED = 10_000  # small images that are upscaled; more are only listed, as that takes most of an hour
SIDE, PATCHES = 128, 49  # rows and columns of a synthetic image, and its number of patches


def prepare_like_reference(paths: Sequence[Path], target: Path) -> None:
    """The reference's steps 2 to 6 in its own manner: one window at a time, all in float64 and in memory."""
    data, label = [], []
    for path in paths:
        # What SciPy's imread of that time did for flatten=True, mode='YCbCr'.
        luma = np.asarray(Image.open(path).convert("YCbCr").convert("F")).astype(np.float64)
        original = utils.modcrop(luma, 3) / 255
        degraded = ndimage.zoom(ndimage.zoom(original, 1 / 3, prefilter=False), 3, prefilter=False)
        for row in range(0, original.shape[0] - 33 + 1, 14):
            for col in range(0, original.shape[1] - 33 + 1, 14):
                data.append(degraded[row : row + 33, col : col + 33].reshape(33, 33, 1))
                label.append(original[row + 6 : row + 27, col + 6 : col + 27].reshape(21, 21, 1))
    with h5py.File(target, "w") as file:
        file.create_dataset("data", data=np.asarray(data))
        file.create_dataset("label", data=np.asarray(label))


def prepare(way: str, train_dir: str, scratch: str | None) -> float:
    """Returns the seconds that one way, `reference` or `srcnn_tf`, takes to prepare a folder."""
    with tempfile.TemporaryDirectory(dir=scratch) as directory:
        config = Config(train_dir=train_dir, checkpoint_dir=directory)
        paths = find_images(config, "train_dir")
        start = time.perf_counter()
        if way == "reference":
            prepare_like_reference(paths, Path(directory, "train.h5"))
        else:
            utils.input_setup(config, paths, fingerprint(paths, train_dir))
        return time.perf_counter() - start


def run_child(way: str, train_dir: str | Path, scratch: str | None) -> Finished:
    """Runs `prepare` in a new process."""
    options = [f"--child={way}", f"--train_dir={train_dir}", *([f"--scratch={scratch}"] if scratch else [])]
    return run_python("-m", "benchmarks.data", *options)


def print_comparison(train_dir: str, turns: int, scratch: str | None) -> None:
    """Measures both ways in turns and prints the first table."""
    seconds: dict[str, list[float]] = {"reference": [], "srcnn_tf": []}
    for _ in range(turns):
        for way, found in seconds.items():
            found.append(float(run_child(way, train_dir, scratch).output))
    reference, ours = (statistics.median(found) for found in seconds.values())
    print("| preparing | seconds | relative speed |\n|---|---|---|")
    print(f"| the reference's way | {reference:.2f} | 1.00 |")
    print(f"| srcnn_tf | {ours:.2f} | {reference / ours:.2f} |\n")


def print_many(counts: Sequence[int], scratch: str | None) -> None:
    """Prepares and trains on synthetic images, and prints the second table.

    Raises:
        RunError: there is not enough disk space.
    """
    patch_bytes = PATCHES * patch_file.patch_bytes(Config())
    needed = max(counts) * (SIDE**2 * 3 + 2 * patch_bytes)
    free = shutil.disk_usage(scratch or tempfile.gettempdir()).free
    if needed > free:
        raise RunError(
            f"This takes {needed / 1e9:.1f} GB of disk, but only {free / 1e9:.1f} GB are free: name another --scratch."
        )
    print("| synthetic images | patches | prepared in | memory | training speed | memory |\n|---|---|---|---|---|---|")
    for count in counts:
        with tempfile.TemporaryDirectory(dir=scratch) as directory:
            images = Path(directory, "images")
            images.mkdir()
            for number in range(count):
                Image.fromarray(synthetic_image(SIDE, SIDE, number)).save(images / f"{number}.bmp")
            prepared = run_child("srcnn_tf", images, scratch)
            folders = [f"--train_dir={images}", f"--checkpoint_dir={directory}", f"--log_dir={directory}/logs"]
            trained = run_python(ROOT / "main.py", *folders, "--epoch=1")
        speed = re.findall(r"epoch 1/1: .* (\d+) patches/s", trained.output)[-1]
        print(
            f"| {count:,} | {count * PATCHES:,}, {count * patch_bytes / 1e9:.2f} GB | {float(prepared.output):.1f} s "
            f"| {prepared.megabytes:.0f} MB | {speed} patches/s | {trained.megabytes:.0f} MB |",
            flush=True,
        )


def print_upscaling(counts: Sequence[int], scratch: str | None) -> None:
    """Upscales folders of small images, and skips finished ones; prints the third table."""
    print("\n| small images | upscaled in | memory | skipped in | memory |\n|---|---|---|---|---|")
    for count in counts:
        with tempfile.TemporaryDirectory(dir=scratch) as directory:
            images, results = Path(directory, "images"), Path(directory, "results")
            write_small_images(images, count)
            command = [ROOT / "main.py", f"--input={images}", f"--output={results}", "--scale=2"]
            upscaled = "not done | "
            if count <= UPSCALED:
                finished = run_python(*command)
                upscaled = f"{finished.seconds:.1f} s | {finished.megabytes:.0f} MB"
            else:
                write_small_images(results, count, "{}_x2.png")
            skipped = run_python(*command)
        print(f"| {count:,} | {upscaled} | {skipped.seconds:.1f} s | {skipped.megabytes:.0f} MB |", flush=True)


def main() -> None:
    """Measures, and prints Markdown tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.data", allow_abbrev=False)
    parser.add_argument("--train_dir", help="Folder of training images. Default: synthetic images only.")
    parser.add_argument("--turns", type=int, default=5, help="Turns to prepare `train_dir`. Default: 5.")
    parser.add_argument("--counts", type=int, nargs="*", default=[1_000, 10_000], help="Numbers of synthetic images.")
    parser.add_argument(
        "--upscaled", type=int, nargs="*", default=[1_000, 10_000, 100_000], help="Numbers of small images to upscale."
    )
    parser.add_argument("--scratch", help="Folder for temporary files. Default: the system's.")
    parser.add_argument("--child", choices=["reference", "srcnn_tf"], help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        print(prepare(given.child, given.train_dir, given.scratch))
        return
    if given.train_dir:
        print_comparison(given.train_dir, given.turns, given.scratch)
    if given.counts:
        print_many(given.counts, given.scratch)
    if given.upscaled:
        print_upscaling(given.upscaled, given.scratch)


if __name__ == "__main__":
    sys.exit(report_errors(main))

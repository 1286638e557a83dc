"""Preparing the pictures beside the reference's way, and memory with far more pictures than fit it.

    python -m benchmarks.data --train_dir=path/to/T91

First each prepares the same folder, in turns, each time in a new process. Then drawn pictures, a thousand and ten
thousand, are prepared and trained on for an epoch, and the largest resident memory of each process is printed.
"""

from __future__ import annotations

import re
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np
from absl import app, flags
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from benchmarks.process import run
from srcnn_tf import utils
from srcnn_tf.config import Config
from srcnn_tf.images.read import fingerprint

SIDE = 128  # rows and cols of a drawn picture: 49 sub-images
PICTURE_BYTES = SIDE * SIDE * 3 + 54
COUNTS = (1_000, 10_000)

_TRAIN_DIR = flags.DEFINE_string("train_dir", None, "Folder of training pictures. Default: drawn ones only.")
_TURNS = flags.DEFINE_integer("turns", 5, "Times each way of preparing is measured.")
_SCRATCH = flags.DEFINE_string("scratch", None, "Folder for what is drawn and prepared. Default: the system's.")
_CHILD = flags.DEFINE_enum("child", None, ["reference", "ours"], "Prepares `train_dir` and prints the seconds.")


# --- the two ways -----------------------------------------------------------------------------------


def prepare_as_the_reference(pictures: list[Path], target: Path) -> None:
    """The reference's steps 2 to 6 in its own manner: every window by itself, all in float64 and in memory."""
    data, label = [], []
    for path in pictures:
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


def prepare_as_we_do(pictures: list[Path], scratch: str) -> None:
    """What the program does, its fingerprint of the pictures included."""
    utils.input_setup(
        Config(train_dir=_TRAIN_DIR.value, checkpoint_dir=scratch), pictures, fingerprint(pictures, _TRAIN_DIR.value)
    )


def prepare(way: str) -> float:
    """Seconds to prepare `train_dir`."""
    pictures = utils.prepare_data(_TRAIN_DIR.value)
    with tempfile.TemporaryDirectory(dir=_SCRATCH.value) as scratch:
        start = time.perf_counter()
        if way == "reference":
            prepare_as_the_reference(pictures, Path(scratch, "train.h5"))
        else:
            prepare_as_we_do(pictures, scratch)
        return time.perf_counter() - start


# --- measuring --------------------------------------------------------------------------------------


def child(way: str, folder: str) -> tuple[float, float]:
    """Seconds to prepare a folder in a new process, and its memory in MB."""
    command = ["-m", "benchmarks.data", f"--child={way}", f"--train_dir={folder}"]
    output, memory = run(command + ([f"--scratch={_SCRATCH.value}"] if _SCRATCH.value else []))
    return float(output), memory


def compare() -> None:
    """Prints the two ways of preparing beside each other."""
    seconds: dict[str, list[float]] = {"reference": [], "ours": []}
    for _ in range(_TURNS.value):
        for way, found in seconds.items():
            found.append(child(way, _TRAIN_DIR.value)[0])
    medians = {way: statistics.median(found) for way, found in seconds.items()}
    print("| preparing | seconds | times as fast |\n|---|---|---|")
    print(f"| the reference's way | {medians['reference']:.2f} | 1.00 |")
    print(f"| srcnn_tf | {medians['ours']:.2f} | {medians['reference'] / medians['ours']:.2f} |\n")


def draw(count: int, folder: Path) -> None:
    """Draws that many pictures: a plane wave each, of its own direction and length, with noise."""
    row, col = np.mgrid[:SIDE, :SIDE]
    for number in range(count):
        rng = np.random.default_rng(number)
        across, down, shift = rng.uniform(-1, 1, 3)
        wave: NDArray = np.sin(across * row + down * col + 6 * shift)[..., np.newaxis]
        picture = 128 + 80 * wave + rng.normal(0, 8, (SIDE, SIDE, 3))
        target = folder / f"{number // 1000}" / f"{number}.bmp"
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8)).save(target)


def many() -> None:
    """Prints seconds and memory for drawn pictures, few and many."""
    needed = max(COUNTS) * (PICTURE_BYTES + 2 * 49 * utils.pair_bytes(Config()))
    free = shutil.disk_usage(_SCRATCH.value or tempfile.gettempdir()).free
    if needed > free:
        sys.exit(f"This takes {needed / 1e9:.1f} GB of disk, and {free / 1e9:.1f} GB are free: name another --scratch.")
    print("| drawn pictures | sub-images | prepared in | memory | trained at | memory |\n|---|---|---|---|---|---|")
    for count in COUNTS:
        with tempfile.TemporaryDirectory(dir=_SCRATCH.value) as scratch:
            folder = Path(scratch, "pictures")
            draw(count, folder)
            seconds, memory = child("ours", str(folder))
            folders = [f"--train_dir={folder}", f"--checkpoint_dir={scratch}", f"--log_dir={scratch}/logs"]
            output, trained_memory = run(["main.py", *folders, "--epoch=1"])
        found = re.search(r"epoch 1/1: .* (\d+) patches/s", output)
        print(
            f"| {count:,} | {count * 49:,}, {count * 49 * utils.pair_bytes(Config()) / 1e9:.2f} GB | {seconds:.1f} s "
            f"| {memory:.0f} MB | {found[1] if found else '?'} patches/s | {trained_memory:.0f} MB |",
            flush=True,
        )


def main(argv: list[str]) -> None:
    """Measures, and prints Markdown tables."""
    if _CHILD.value:
        print(prepare(_CHILD.value))
        return
    if _TRAIN_DIR.value:
        compare()
    many()


if __name__ == "__main__":
    Path("benchmarks").is_dir() or sys.exit("Run this from the repository's root.")
    app.run(main)

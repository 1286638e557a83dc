"""Enlarging x3: seconds and memory of the whole command by the size of the picture, and the network's own speed.

    python -m benchmarks.enlarge

The pictures are drawn. What else each command does stands in the table too, since files cost time as well: Pillow
reading, enlarging by its own bicubic and writing the same picture.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from absl import app, flags
from PIL import Image

from benchmarks.process import run

SCALE = 3
SIDES = (527, 1054, 1667, 2357, 3334)  # 2.5, 10, 25, 50 and 100 megapixels when enlarged

_SCRATCH = flags.DEFINE_string("scratch", None, "Folder for the pictures. Default: the system's.")
_ENDING = flags.DEFINE_string("ending", "png", "Format of the pictures.")
_SPEED_OF = flags.DEFINE_string("speed_of", None, "Prints how many megapixels a second this precision restores.")


def draw(side: int, path: Path) -> None:
    """Draws a square RGB picture with edges and fine texture."""
    row, col = np.mgrid[:side, :side].astype(np.float32)
    picture = np.empty((side, side, 3), np.uint8)
    for channel in range(3):
        wave = np.sin(row * (0.1 + 0.05 * channel)) * np.cos(col * 0.13) + (row * 0.7 > col)
        picture[..., channel] = 90 + 60 * wave
    Image.fromarray(picture).save(path)


def pillow(source: Path, target: Path) -> float:
    """Seconds that Pillow's bicubic takes, files included."""
    start = time.perf_counter()
    image = Image.open(source)
    image.resize((image.width * SCALE, image.height * SCALE), Image.Resampling.BICUBIC).save(target)
    return time.perf_counter() - start


def speed(precision: str) -> float:
    """Megapixels a second through the network of 9-1-5, on a picture of four megapixels; the median of five."""
    from srcnn_tf.devices import load_tensorflow

    load_tensorflow(is_train=False)
    import tensorflow as tf

    import srcnn_tf
    from srcnn_tf.inference.tiling import Reconstructor

    reconstruct = Reconstructor(srcnn_tf.load_model(SCALE), dtype=tf.as_dtype(precision))
    luma = np.random.default_rng(0).random((2048, 2048, 1), np.float32)
    seconds = []
    for _ in range(6):
        start = time.perf_counter()
        reconstruct(luma)
        seconds.append(time.perf_counter() - start)
    return luma.size / 1e6 / statistics.median(seconds[1:])


def main(_: list[str]) -> None:
    """Measures, and prints Markdown tables."""
    if _SPEED_OF.value:
        print(speed(_SPEED_OF.value))
        return
    print("| network alone | megapixels a second |\n|---|---|")
    for precision in ("float32", "bfloat16"):
        command = [sys.executable, "-m", "benchmarks.enlarge", f"--speed_of={precision}"]
        found = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        print(f"| {precision} | {float(found):.1f} |", flush=True)
    print("\n| enlarged, megapixels | seconds | of a megapixel | largest memory | Pillow's bicubic, seconds |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(dir=_SCRATCH.value) as scratch:
        for side in SIDES:
            source, target = (Path(scratch, f"{name}.{_ENDING.value}") for name in ("small", "large"))
            draw(side, source)
            start = time.perf_counter()
            _, memory = run(["main.py", f"--input={source}", f"--output={target}", "--overwrite"])
            seconds, size = time.perf_counter() - start, (SCALE * side) ** 2 / 1e6
            row = f"{size:.1f} | {seconds:.1f} | {seconds / size:.3f} | {memory:.0f} MB | {pillow(source, target):.1f}"
            print(f"| {row} |", flush=True)


if __name__ == "__main__":
    Path("benchmarks").is_dir() or sys.exit("Run this from the repository's root.")
    app.run(main)

"""Seconds and memory of upscaling x3, by size of the image, and the speed of the network alone.

    python -m benchmarks.upscale

The first table is of the whole command, PNG to PNG, with synthetic RGB images. The second one is of the network 9-1-5
on luma of four megapixels, median of five:

    | output, megapixels | seconds | peak memory |
    | network alone | megapixels/s |

docs/benchmarks.md has both tables. The second one has a row of float32 and one of bfloat16; the latter says
something only on a processor that does not emulate it.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.common import ROOT, report_errors, run_python, synthetic_image

SCALE = 3
SIDES = (527, 1054, 1667, 2357, 3334)  # of the input, in pixels; 2.5, 10, 25, 50 and 100 megapixels when upscaled


def network_speed(compute_dtype: str) -> float:
    """Returns the megapixels per second of the network alone."""
    from srcnn_tf.devices import load_tensorflow

    load_tensorflow(is_train=False)

    import srcnn_tf
    from srcnn_tf.inference.tiling import TiledModel

    restore = TiledModel(srcnn_tf.load_model(SCALE), compute_dtype=compute_dtype)
    luma = np.random.default_rng(0).random((2048, 2048, 1), np.float32)
    seconds = []
    for _ in range(6):  # the first one includes start-up work
        start = time.perf_counter()
        restore(luma)
        seconds.append(time.perf_counter() - start)
    return luma.size / 1e6 / statistics.median(seconds[1:])


def main() -> None:
    """Measures, and prints Markdown tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.upscale", allow_abbrev=False)
    parser.add_argument("--sides", type=int, nargs="*", default=SIDES, help="Sides of the input images, in pixels.")
    parser.add_argument("--extension", default="png", help="File format of the images. Default: png.")
    parser.add_argument("--scratch", help="Folder for the images. Default: the system's.")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        print(network_speed(given.child))
        return
    print("| output, megapixels | seconds | peak memory |\n|---|---|---|")
    with tempfile.TemporaryDirectory(dir=given.scratch) as scratch:
        for side in given.sides:
            source, target = (Path(scratch, f"{name}.{given.extension}") for name in ("input", "output"))
            Image.fromarray(synthetic_image(side, side)).save(source)
            options = [f"--input={source}", f"--output={target}", "--overwrite", f"--scale={SCALE}"]
            done = run_python(ROOT / "main.py", *options)
            print(f"| {(SCALE * side) ** 2 / 1e6:.1f} | {done.seconds:.1f} | {done.megabytes:.0f} MB |", flush=True)
    print("\n| network alone | megapixels/s |\n|---|---|")
    for compute_dtype in ("float32", "bfloat16"):
        speed = float(run_python("-m", "benchmarks.upscale", f"--child={compute_dtype}").output)
        print(f"| {compute_dtype} | {speed:.1f} |", flush=True)


if __name__ == "__main__":
    sys.exit(report_errors(main))

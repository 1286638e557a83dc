"""Speed and accuracy of inference, next to other engines: same weights, image and machine, in alternating rounds.

    python -m benchmarks.inference

For each architecture and size it prints the speed of matrix products, and a Markdown table:

    | | megapixels/s | of ONNX Runtime | of the limit | difference | dB lost |

- Rows `srcnn_tf (x3)` upscale with NumPy: small luma in, large luma out (`upscaling.polyphase`). All other rows restore
  luma that is already interpolated, which is not timed, and return an image of the same size. As that is the same work
  for every scale, it is measured at one of them (the middle one, x3). `srcnn_tf, testing` does so with TensorFlow
  (`testing.tiling`).
- Each engine is a process of its own, and all wait while one is measured; every other round has the reverse order.
- An engine that is not ours computes the whole image (above 1200 pixels, tiles of that size) with all threads, or tiles
  of 512 or 192 with one thread per tile. All are tried after a warm-up; the fastest is measured and named in the row.
  The reference has patches of 33, all in one call, whose feature maps take up to 9 GB for 12 megapixels.
- `of ONNX Runtime` is the median of the ratios in each round. `of the limit`: its multiply-adds per second, as a
  fraction of those of the fastest matrix product of its dtype, measured in the same rounds. Where the interpolation is
  merged into the first layer, only taps that have a weight are counted.
- The image is a photograph, downscaled as the paper does. For the smallest size, the last two columns compare with the
  network in float64: the largest difference of a pixel in [0, 1], and how much lower the PSNR against the photograph
  is, not rounded to 8 bits. A frame of half the network's border and `scale` pixels is left out, where
  `upscaling.polyphase` differs.

An engine that is not installed (requirements-bench.txt) or cannot run is left out, with a line that says so.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from benchmarks.common import photograph, report_errors
from benchmarks.engines import ENGINES, MATRIX, PRODUCTS, UPSCALING, Case, Run, Weights, border
from srcnn_tf.errors import RunError
from srcnn_tf.images import metrics
from srcnn_tf.images.color import to_luma
from srcnn_tf.images.resize import imresize
from srcnn_tf.spec import ColorSpace, NetworkSpec
from srcnn_tf.upscaling.interpolation import merge_interpolation
from srcnn_tf.weights.search import WeightsSearch
from srcnn_tf.weights.store import find_weights

PAUSE = 0.1  # seconds, in which threads of the engine before stop waiting actively

Row = tuple[str, int]  # name of the engine, scale

# --- In the process of an engine ---

RUNS: dict[int, Run] = {}  # what is measured, by scale


def prepare(name: str, case: Case) -> tuple[str, NDArray[np.float32]]:
    """Makes an engine ready, and warms it up; returns how it runs, and its result clipped to [0, 1].

    Raises:
        RunError: it is not installed, or cannot run; unlike its own errors, this one can be sent to another process.
    """
    scale = case.spec.scale
    RUNS.pop(scale, None)
    try:
        way, RUNS[scale] = ENGINES[name](case)
        return way, RUNS[scale]().clip(0, 1)
    except Exception as error:
        raise RunError(f"{type(error).__name__}: {error}") from error


def measure(scale: int) -> float:
    """Runs again and again for a second, so that code and data are in memory; returns the seconds of the last run."""
    end = begin = time.perf_counter()
    while end - begin < 1:
        start = time.perf_counter()
        RUNS[scale]()
        end = time.perf_counter()
    return end - start


def new_process() -> ProcessPoolExecutor:
    """Starts no process yet, but the first call does; calls run in it one after the other."""
    return ProcessPoolExecutor(1, get_context("spawn"))


# --- What is known about the network ---


def multiply_adds(weights: Weights, merged_scale: int | None = None) -> float:
    """Counts the multiply-adds per pixel; with a scale, of filters that are merged with the interpolation by it."""
    first, second, last = weights[::2]
    if merged_scale is None:
        return first.size + second.size + last.size
    used = np.abs(merge_interpolation(first, merged_scale).filters) > 1e-12  # not rounding errors
    return np.count_nonzero(used) / merged_scale**2 + second.size + last.size


def restore_in_float64(weights: Weights, padded: NDArray) -> NDArray[np.float64]:
    """Computes the network: `(rows + border, cols + border)` to `(rows, cols)`, in bands of rows that fit in memory."""
    height, margin = 32, border(weights)
    bands = []
    for begin in range(0, len(padded) - margin, height):
        features = padded[begin : begin + height + margin, :, np.newaxis].astype(np.float64)
        for layer in range(0, len(weights), 2):
            kernel, bias = weights[layer : layer + 2]
            windows = sliding_window_view(features, kernel.shape[:2], axis=(0, 1))
            features = np.tensordot(windows, kernel.astype(np.float64), ((3, 4, 2), (0, 1, 2))) + bias
            features = np.maximum(features, 0) if layer < len(weights) - 2 else features
        bands.append(features[..., 0])
    return np.concatenate(bands)


def compare(restored: NDArray, expected: NDArray, original: NDArray, frame: int) -> list[str]:
    """Returns the largest difference from `expected`, and the dB lost against `original`, inside a frame, as cells."""
    restored, expected, original = (image[frame:-frame, frame:-frame] for image in (restored, expected, original))
    lost = metrics.psnr(255 * expected, 255 * original) - metrics.psnr(255 * restored.astype(float), 255 * original)
    return [f"{np.abs(restored - expected).max():.0e}", f"{round(lost, 4) + 0.0:.4f}"]  # -0.0 becomes 0


# --- All engines, in alternation ---


def image_size(megapixels: float) -> tuple[int, int]:
    """Returns rows and columns, 3 to 4, multiples of 12, so that x2, x3 and x4 divide them."""
    unit = 12 * max(1, round((megapixels * 1e6 / 12) ** 0.5 / 12))
    return 3 * unit, 4 * unit


def print_table(
    architecture: str,
    original: NDArray[np.float64],
    scales: list[int],
    processes: dict[str, ProcessPoolExecutor],
    rounds: int,
    with_accuracy: bool,
) -> None:
    """Measures all engines on one image and prints their table.

    Args:
        architecture: of the network.
        original: luma `(rows, cols)` in [0, 1] of the photograph.
        scales: those to upscale by.
        processes: the engines' processes, by name; engines that cannot run are removed.
        rounds: how often each engine is measured.
        with_accuracy: whether the table has the last two columns.
    """
    cases = {}
    for scale in scales:
        spec = NetworkSpec(scale, "matlab", architecture)
        weights, _ = find_weights(spec, WeightsSearch())
        cases[scale] = Case(spec, weights, imresize(original, 1 / scale).astype(np.float32))
    middle = sorted(scales)[len(scales) // 2]
    margin = cases[middle].spec.border // 2
    expected = {}
    if with_accuracy:
        for scale, case in cases.items():
            interpolated = imresize(case.small.astype(np.float64), scale)
            expected[scale] = restore_in_float64(case.weights, np.pad(interpolated, margin, mode="edge")).clip(0, 1)

    labels: dict[Row, str] = {}
    accuracy: dict[Row, list[str]] = {}
    for name in list(processes):
        for scale in scales if name == UPSCALING else [middle]:
            try:
                way, restored = processes[name].submit(prepare, name, cases[scale]).result()
            except (RunError, BrokenExecutor) as error:
                print(f"{name}: left out. {' '.join(str(error).split())}", flush=True)
                del processes[name]
                break
            labels[name, scale] = f"{name} ({way})"
            accuracy[name, scale] = []
            if with_accuracy and name not in PRODUCTS:
                accuracy[name, scale] = compare(restored, expected[scale], original, margin + scale)

    seconds: dict[Row, list[float]] = {row: [] for row in labels}
    for number in range(rounds):
        for row in list(labels)[:: -1 if number % 2 else 1]:
            time.sleep(PAUSE)
            seconds[row].append(processes[row[0]].submit(measure, row[1]).result())

    print(f"\n{architecture}, {original.shape[0]} x {original.shape[1]} pixels; matrix products, GFLOP/s: ", end="")
    limits: dict[str, float] = {}
    for name, dtype in PRODUCTS.items():
        if name in processes:
            speed = 2 * MATRIX**3 / 1e9 / statistics.median(seconds.pop((name, middle)))
            print(f"{name} {speed:.0f}", end="; ")
            limits[dtype] = max(speed, limits.get(dtype, 0))
    header = ["", "megapixels/s", "of ONNX Runtime", "of the limit", *["difference", "dB lost"] * with_accuracy]
    print(f"\n\n| {' | '.join(header)} |\n|{'---|' * len(header)}")
    for (name, scale), found in seconds.items():
        speed = original.size / 1e6 / statistics.median(found)
        base = seconds.get(("ONNX Runtime", middle), [np.nan])
        ratio = statistics.median(other / own for other, own in zip(base, found, strict=False))
        products = multiply_adds(cases[scale].weights, scale if name == UPSCALING else None)
        fraction = 2 * products * speed / 1e3 / limits["bfloat16" if "bfloat16" in name else "float32"]
        cells = [labels[name, scale], f"{speed:.2f}", f"{ratio:.2f}", f"{fraction:.0%}", *accuracy[name, scale]]
        print(f"| {' | '.join(cells)} |", flush=True)


def main() -> None:
    """Measures, and prints Markdown tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.inference", allow_abbrev=False)
    parser.add_argument("--architectures", nargs="+", default=["9-1-5", "9-5-5"], help="Default: 9-1-5 9-5-5.")
    parser.add_argument("--megapixels", type=float, nargs="+", default=[1, 12], help="Of the result. Default: 1 12.")
    parser.add_argument("--scales", type=int, nargs="+", choices=[2, 3, 4], default=[2, 3, 4], help="Default: 2 3 4.")
    parser.add_argument("--rounds", type=int, default=5, help="Default: %(default)s.")
    parser.add_argument("--image", type=Path, help="A photograph. Default: one of scikit-image, mirrored.")
    given = parser.parse_args()
    processes = {name: new_process() for name in ENGINES}
    for architecture in given.architectures:
        for megapixels in given.megapixels:
            image = photograph(*image_size(megapixels), given.image)
            original = to_luma(image, ColorSpace(studio=True))[..., 0]
            with_accuracy = megapixels == min(given.megapixels)
            print_table(architecture, original, given.scales, processes, given.rounds, with_accuracy)


if __name__ == "__main__":
    sys.exit(report_errors(main))

"""Runs Python in a process of its own, makes synthetic images, and loads patches, for the other modules."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from srcnn_tf import utils
from srcnn_tf.config import Config
from srcnn_tf.errors import RunError, StoppedError, UsageError
from srcnn_tf.images.read import read_image

ROOT = Path(__file__).resolve().parent.parent


class Finished(NamedTuple):
    """What a process printed, how long it took, and its peak resident memory."""

    output: str
    seconds: float
    megabytes: float


def run_python(*arguments: str | Path, checkout: Path = ROOT) -> Finished:
    """Runs Python in a new process that imports the package of `checkout`, whatever the current folder is.

    Raises:
        RunError: it failed; the message has the last line of its errors.
    """
    command = [sys.executable, "-P", *map(str, arguments)]
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        start = time.perf_counter()
        process = subprocess.Popen(
            command, stdout=output, stderr=errors, env=os.environ | {"PYTHONPATH": str(checkout)}
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        errors.seek(0)
        if status:
            reason = errors.read().strip().splitlines() or ["no message; perhaps there was not enough memory"]
            raise RunError(f"{' '.join(command)} ended with status {process.returncode}: {reason[-1]}")
        return Finished(output.read(), seconds, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6)


def parse_experiment(name: str, epoch: int) -> argparse.Namespace:
    """Reads the flags of an experiment that trains variants with several seeds.

    Args:
        name: of its module, and of the folder of its runs.
        epoch: default number of epochs.

    Returns:
        `train_dir`, `epoch`, `seeds` (a list of numbers) and `scratch`.
    """

    def numbers(text: str) -> list[int]:
        if not re.fullmatch(r"[0-9]+(,[0-9]+)*", text):
            raise argparse.ArgumentTypeError(f"{text}: expected numbers separated by commas, such as 0,1.")
        return [int(number) for number in text.split(",")]

    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.experiments.{name}", allow_abbrev=False)
    parser.add_argument("--train_dir", required=True, help="Folder of training images, 20 or more.")
    parser.add_argument("--epoch", type=int, default=epoch, help="Of each training. Default: %(default)s.")
    parser.add_argument("--seeds", type=numbers, default="0,1", help="Default: %(default)s.")
    parser.add_argument("--scratch", default=f"checkpoint/{name}", help="Folder of the runs. Default: %(default)s.")
    return parser.parse_args()


def report_errors(main: Callable[[], None]) -> int:
    """Runs a benchmark and reports an error of the package in one line; returns the exit status."""
    try:
        main()
    except (UsageError, RunError) as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        return StoppedError.exit_status
    return 0


def synthetic_image(rows: int, cols: int, seed: int = 0) -> NDArray[np.uint8]:
    """Returns uint8 RGB `(rows, cols, 3)`: waves of random length, and an edge."""
    rng = np.random.default_rng(seed)
    row, col = np.arange(rows, dtype=np.float32)[:, np.newaxis], np.arange(cols, dtype=np.float32)
    image = np.empty((rows, cols, 3), np.uint8)
    for channel in range(3):
        down, right = rng.uniform(0.1, 0.6, 2).astype(np.float32)
        image[..., channel] = 100 + 50 * np.sin(down * row) * np.cos(right * col) + 60 * (0.7 * row > col)
    return image


def photograph(rows: int, cols: int, path: Path | None = None) -> NDArray[np.uint8]:
    """Returns a photograph `(rows, cols[, 3])`, mirrored at its edges where it is too small, cropped where too large.

    Raises:
        RunError: the file `path` cannot be read. Without it, one from scikit-image's wheel is used.
    """
    with resources.as_file(resources.files("skimage.data") / "astronaut.png") as sample:
        image = read_image(path or sample)
    missing = [(0, max(0, size - found)) for size, found in zip((rows, cols), image.shape, strict=False)]
    return np.pad(image, missing + [(0, 0)] * (image.ndim - 2), mode="symmetric")[:rows, :cols]


def load_patches(paths: Iterable[Path], config: Config) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Returns the patches `(n, image_size, image_size, c_dim)` and labels `(n, label_size, label_size, c_dim)`."""
    patches = [
        utils.extract_patches(*utils.preprocess(utils.imread(path), config, config.c_dim), config) for path in paths
    ]
    data, label = (np.concatenate(arrays) for arrays in zip(*patches, strict=True))
    return data, label

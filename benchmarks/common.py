"""Runs Python in a process of its own, makes images, and loads patches, for the other modules."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import imageio.v3 as iio
import numpy as np
from numpy.typing import NDArray

from srcnn_tf import patch_file, utils
from srcnn_tf.config import Config
from srcnn_tf.errors import RunError, StoppedError, UsageError
from srcnn_tf.images.read import read_image

ROOT = Path(__file__).resolve().parent.parent
WEIGHTS = ROOT / "srcnn_tf" / "weights"  # those of the package
# Runs a command, and ends the errors with its status, seconds and peak memory. The system counts the peak memory of the
# process that starts another one as the other's; this one has less than any.
STARTER = """
import os, sys, time
start = time.perf_counter()
_, status, usage = os.wait4(os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ), 0)
seconds = time.perf_counter() - start
print("", os.waitstatus_to_exitcode(status), seconds, usage.ru_maxrss, sep="\\n", end="", file=sys.stderr)
"""


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
    starter = [sys.executable, "-I", "-S", "-c", STARTER, *command]
    environment = os.environ | {"PYTHONPATH": str(checkout)}
    done = subprocess.run(starter, env=environment, capture_output=True, text=True, errors="replace", check=True)
    *errors, status, seconds, memory = done.stderr.splitlines()
    if int(status):
        reason = [line for line in errors if line.strip()] or ["no message; perhaps there was not enough memory"]
        raise RunError(f"{' '.join(command)} ended with status {status}: {reason[-1]}")
    return Finished(done.stdout, float(seconds), int(memory) * (1 if sys.platform == "darwin" else 1024) / 1e6)


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


def write_small_images(folder: Path, count: int, name: str = "{}.png") -> None:
    """Writes so many equal images of 16 x 16 pixels into a new folder, named by their numbers."""
    folder.mkdir()
    content = iio.imwrite("<bytes>", synthetic_image(16, 16), extension=".png")
    for number in range(count):
        (folder / name.format(number)).write_bytes(content)


def sample(name: str) -> Path:
    """Returns the path of a photograph in scikit-image's wheel."""
    return Path(str(resources.files("skimage.data") / name))


def photograph(rows: int, cols: int, path: Path | None = None) -> NDArray[np.uint8]:
    """Returns a photograph `(rows, cols[, 3])`, mirrored at its edges where it is too small, cropped where too large.

    Raises:
        RunError: the file `path` cannot be read. Without it, one of scikit-image's is used.
    """
    image = read_image(path or sample("astronaut.png"))
    missing = [(0, max(0, size - found)) for size, found in zip((rows, cols), image.shape, strict=False)]
    return np.pad(image, missing + [(0, 0)] * (image.ndim - 2), mode="symmetric")[:rows, :cols]


def load_patches(paths: Iterable[Path], config: Config) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Returns the patches `(n, image_size, image_size, c_dim)` and labels `(n, label_size, label_size, c_dim)`."""
    patches = [
        patch_file.extract_patches(*utils.preprocess(utils.imread(path), config, config.c_dim), config)
        for path in paths
    ]
    data, label = (np.concatenate(arrays) for arrays in zip(*patches, strict=True))
    return data, label

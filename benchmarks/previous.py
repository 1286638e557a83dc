"""Compares the speed of this checkout with that of another commit, in alternation on one machine.

    git worktree add ../previous COMMIT
    python -m benchmarks.previous ../previous --train_dir=Train/T91 --test_dir=Test/Set5

Each round runs main.py of both checkouts, which one first changes from round to round. It prints the medians, and the
median, smallest and largest ratio of a round; a ratio above 1 means that this checkout is faster:

    | | previous | this | ratio | of the rounds |
    | training, modern, patches/s | ... | ... | ... | ... |

with rows for the recipes `modern` and `reference` (patches/s, and the whole training command), upscaling (the command,
and `srcnn_tf.upscale_image` of an array), and testing (the command, and the network alone, float32). A round takes
several minutes.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import sys
import tempfile
from pathlib import Path

from PIL import Image

from benchmarks.common import ROOT, report_errors, run_python, synthetic_image

EPOCHS = 6  # of each training; the first one includes start-up work and is not counted in patches/s
SIDE = 1054  # rows and columns of the image that is upscaled x3, to 10 megapixels
UPSCALE_ARRAY = """
import sys, time
import numpy as np, srcnn_tf
from PIL import Image
image = np.asarray(Image.open(sys.argv[1]))
srcnn_tf.upscale_image(image[:64, :64])  # loads TensorFlow and the weights
start = time.perf_counter()
srcnn_tf.upscale_image(image)
print(time.perf_counter() - start)
"""

Measurements = dict[str, float]


def measure(checkout: Path, train_dir: Path, test_dir: Path, epochs: int, side: int) -> Measurements:
    """Runs all commands of one checkout, once each; keys are the names of the rows.

    Raises:
        RunError: a command failed.
    """
    found: Measurements = {}
    main = checkout / "main.py"
    with tempfile.TemporaryDirectory() as scratch:
        folders = [f"--{name}_dir={scratch}/{name}" for name in ("checkpoint", "log", "sample")]
        for recipe in ("modern", "reference"):
            options = [f"--recipe={recipe}", f"--epoch={epochs}", f"--train_dir={train_dir}", "--resume=False"]
            seconds = run_python(main, *folders, *options, checkout=checkout).seconds
            (history,) = Path(scratch, "log").glob("*/history.csv")
            speeds = _column(history, "patches_per_second")
            found[f"training, {recipe}, patches/s"] = statistics.median(speeds[1:] or speeds)
            found[f"training command, {recipe}, seconds"] = seconds
        image = Path(scratch, "image.png")
        Image.fromarray(synthetic_image(side, side)).save(image)
        folders[0] = f"--checkpoint_dir={scratch}/none"  # from here on, shipped weights
        upscale = [*folders, f"--input={image}", f"--output={scratch}/upscaled.png"]
        found["upscaling command, seconds"] = run_python(main, *upscale, checkout=checkout).seconds
        found["upscale_image, seconds"] = float(run_python("-c", UPSCALE_ARRAY, image, checkout=checkout).output)
        test = ["--is_train=False", f"--test_dir={test_dir}"]
        found["testing command, seconds"] = run_python(main, *folders, *test, checkout=checkout).seconds
        times = _column(Path(scratch, "sample", "results.csv"), "seconds")
        found["testing, network alone, seconds"] = sum(times[1:] or times)
    return found


def _column(path: Path, name: str) -> list[float]:
    with open(path, newline="", encoding="utf-8") as file:
        return [float(row[name]) for row in csv.DictReader(file)]


def summarize(rounds: list[tuple[Measurements, Measurements]]) -> list[str]:
    """Returns the rows of the table, from the measurements of the previous and of this checkout in each round."""
    rows = []
    for name in rounds[0][0]:
        pairs = [(previous[name], this[name]) for previous, this in rounds]
        ratios = [this / previous if name.endswith("patches/s") else previous / this for previous, this in pairs]
        before, now = (f"{statistics.median(values):.4g}" for values in zip(*pairs, strict=True))
        spread = f"{min(ratios):.2f}-{max(ratios):.2f}"
        rows.append(f"| {name} | {before} | {now} | {statistics.median(ratios):.2f} | {spread} |")
    return rows


def main() -> None:
    """Measures both checkouts in alternation, and prints a Markdown table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.previous", allow_abbrev=False)
    parser.add_argument("previous", type=Path, help="Folder of the other checkout.")
    parser.add_argument("--train_dir", type=Path, default="Train/T91", help="Default: %(default)s.")
    parser.add_argument("--test_dir", type=Path, default="Test/Set5", help="Default: %(default)s.")
    parser.add_argument("--rounds", type=int, default=3, help="Default: %(default)s.")
    parser.add_argument("--epoch", type=int, default=EPOCHS, help="Of each training. Default: %(default)s.")
    parser.add_argument("--side", type=int, default=SIDE, help="Of the upscaled image. Default: %(default)s.")
    given = parser.parse_args()
    checkouts = [given.previous.resolve(), ROOT]
    rounds = []
    for number in range(given.rounds):
        found = {
            checkout: measure(checkout, given.train_dir, given.test_dir, given.epoch, given.side)
            for checkout in (checkouts if number % 2 == 0 else reversed(checkouts))
        }
        rounds.append((found[checkouts[0]], found[checkouts[1]]))
        print(f"round {number + 1}:", *summarize(rounds[-1:]), sep="\n", file=sys.stderr, flush=True)
    print("| | previous | this | ratio | of the rounds |\n|---|---|---|---|---|")
    print(*summarize(rounds), sep="\n")


if __name__ == "__main__":
    sys.exit(report_errors(main))

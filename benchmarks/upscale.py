"""Seconds and peak memory of the commands that upscale and test, from file to file.

    git worktree add ../previous COMMIT
    python -m benchmarks.upscale --previous=../previous

Upscales a photograph x3, JPEG to JPEG and PNG to PNG, and tests 100 images of 321 x 481 pixels. Without `--previous` it
prints medians; with it, both checkouts run in alternation, and the table is that of benchmarks.previous: a ratio above
1 means that this checkout is faster, or needs less memory.

    python -m benchmarks.upscale --tiff=1000

Upscales an RGB TIFF to as many megapixels, with this checkout only. Its input is written strip by strip, and its files
are deleted afterwards: 3.4 GB, in the folder that `--scratch` names.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from benchmarks.common import ROOT, photograph, report_errors, run_python
from benchmarks.previous import Measurements, summarize

SCALE = 3
TESTED, TESTED_ROWS, TESTED_COLS = 100, 321, 481  # images, and their size


def make_commands(scratch: Path, formats: list[str], megapixels: list[float], testing: bool) -> dict[str, list[str]]:
    """Writes the images, and returns the arguments of each command, without the folders for results."""
    commands = {}
    for count in megapixels:
        side = input_side(count)
        image = Image.fromarray(photograph(side, side))
        for extension in formats:
            path = scratch / f"{side}.{extension}"
            image.save(path)
            options = [f"--input={path}", f"--output={scratch}/upscaled.{extension}", "--overwrite", f"--scale={SCALE}"]
            commands[f"{extension}, {count:g} megapixels"] = options
    if testing:
        image = photograph(TESTED_ROWS + TESTED, TESTED_COLS + TESTED)
        (scratch / "Test").mkdir()
        for number in range(TESTED):
            part = image[number : number + TESTED_ROWS, number : number + TESTED_COLS]
            Image.fromarray(part).save(scratch / "Test" / f"{number}.png")
        commands[f"testing {TESTED} images"] = ["--is_train=False", f"--test_dir={scratch}/Test"]
    return commands


def input_side(megapixels: float) -> int:
    """Returns the side of a square image that has so many megapixels when it is upscaled."""
    return round((megapixels * 1e6) ** 0.5 / SCALE)


def measure(checkout: Path, commands: dict[str, list[str]]) -> Measurements:
    """Runs all commands of a checkout once; keys are the names of the rows.

    Raises:
        RunError: a command failed.
    """
    found = {}
    for name, options in commands.items():
        with tempfile.TemporaryDirectory() as results:
            folders = [f"--{folder}_dir={results}/{folder}" for folder in ("checkpoint", "sample", "log")]
            done = run_python(checkout / "main.py", *folders, *options, checkout=checkout)
        found |= {f"{name}, seconds": done.seconds, f"{name}, peak MB": done.megabytes}
    return found


def write_tiff(path: Path, side: int) -> None:
    """Writes a square RGB TIFF of equal strips, of which only one is in memory."""
    strip = photograph(64, side)
    strips = (strip[: side - begin] for begin in range(0, side, len(strip)))
    tifffile.imwrite(path, strips, shape=(side, side, 3), dtype=np.uint8, rowsperstrip=len(strip), photometric="rgb")


def main() -> None:
    """Measures, and prints a Markdown table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.upscale", allow_abbrev=False)
    parser.add_argument("--previous", type=Path, help="Folder of another checkout, to compare with.")
    parser.add_argument("--formats", nargs="*", default=["jpg", "png"], help="Default: jpg png.")
    parser.add_argument("--megapixels", type=float, nargs="*", default=[12, 100], help="Of results. Default: 12 100.")
    parser.add_argument("--testing", action=argparse.BooleanOptionalAction, default=True, help="Default: yes.")
    parser.add_argument("--rounds", type=int, default=3, help="Default: %(default)s.")
    parser.add_argument("--tiff", type=float, metavar="MEGAPIXELS", help="Upscale a TIFF to this size only.")
    parser.add_argument("--scratch", type=Path, help="Folder for the images. Default: the system's.")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.scratch) as folder:
        scratch = Path(folder)
        if given.tiff:
            write_tiff(scratch / "input.tif", input_side(given.tiff))
            options = [f"--input={scratch}/input.tif", f"--output={scratch}/upscaled.tif", f"--scale={SCALE}"]
            commands = {f"tif, {given.tiff:g} megapixels": [*options, f"--max_megapixels={given.tiff + 1}"]}
            given.previous, given.rounds = None, 1
        else:
            commands = make_commands(scratch, given.formats, given.megapixels, given.testing)
        checkouts = [*([given.previous.resolve()] if given.previous else []), ROOT]
        rounds = []
        for number in range(given.rounds):
            found = {checkout: measure(checkout, commands) for checkout in checkouts[:: -1 if number % 2 else 1]}
            rounds.append([found[checkout] for checkout in checkouts])
            print(f"round {number + 1}:", rounds[-1], file=sys.stderr, flush=True)
    if given.previous:
        print("| | previous | this | ratio | of the rounds |\n|---|---|---|---|---|")
        print(*summarize([(previous, this) for previous, this in rounds]), sep="\n")
    else:
        print("| | this |\n|---|---|")
        for name in rounds[0][0]:
            print(f"| {name} | {statistics.median(this[name] for (this,) in rounds):.4g} |")


if __name__ == "__main__":
    sys.exit(report_errors(main))

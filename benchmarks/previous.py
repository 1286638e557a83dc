"""Compares this checkout with that of another commit, in alternation on one machine.

    git worktree add ../previous COMMIT
    python -m benchmarks.previous ../previous small_png 9-1-5_x3 jpg_100

What is named is measured in rounds, every other one of which begins with this checkout. It prints medians, with the
smallest and the largest in brackets, of each checkout and of their ratio in a round. A ratio above 1 means that this
checkout is faster, or needs less memory:

    | | previous | this | ratio |
    | small_png, seconds | median (smallest-largest) | median (smallest-largest) | median (smallest-largest) |

small_png                                   upscales a photograph of 300 x 451 pixels x3: the whole process
first_call                                  the first `srcnn_tf.upscale_image` of a new Python, with its imports
9-1-5_x2, 9-1-5_x3, 9-1-5_x4, 9-5-5_x3      the network alone on a grey float32 image, see `benchmarks.network`
jpg_12, jpg_100, png_12, png_100, tif_1000  upscales a photograph x3 to so many megapixels: the whole process
small_images                                upscales a folder of 1,000 images of 16 x 16 pixels: the whole process
video, video_variable                       upscales 300 frames of 640 x 360 pixels x2, of constant and variable rate:
                                            the whole process, which needs the packages av and imageio-ffmpeg
testing                                     tests 100 images of 321 x 481 pixels: the whole process
modern, reference                           trains with this recipe: patches/s, and the whole process
"""

from __future__ import annotations

import argparse
import csv
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from benchmarks.common import ROOT, photograph, report_errors, run_python, sample, write_small_images

SCALE = 3
EPOCHS = 6  # of each training; the first one includes start-up work and is not counted in patches/s
FIRST_CALL = """
import time
start = time.perf_counter()
import numpy, srcnn_tf
srcnn_tf.upscale_image(numpy.random.default_rng(0).random((300, 451, 3)))
print(time.perf_counter() - start)
"""

Figures = dict[str, float]  # by what was measured, which ends with its unit


class Place(NamedTuple):
    """Where to measure.

    Attributes:
        checkout: what to measure.
        inputs: a folder that is kept from round to round.
        results: a folder that is new.
        train_dir: folder of training images.
    """

    checkout: Path
    inputs: Path
    results: Path
    train_dir: Path


def whole_process(place: Place, *options: str) -> Figures:
    """Runs main.py."""
    names = ["checkpoint", "sample"]
    if not any(option.startswith("--input") for option in options):  # upscaling logs nothing, and takes no such flag
        names.append("log")
    folders = [f"--{name}_dir={place.results}/{name}" for name in names]
    done = run_python(place.checkout / "main.py", *folders, *options, checkout=place.checkout)
    return {"seconds": done.seconds, "peak MB": done.megabytes}


def upscale(find_input: Callable[[Path], Path], place: Place) -> Figures:
    """Upscales an image, or a folder of images, from file to file."""
    source = find_input(place.inputs)
    return whole_process(place, f"--input={source}", f"--scale={SCALE}", "--max_megapixels=1100")


def photograph_file(extension: str, megapixels: float, folder: Path) -> Path:
    """Writes a photograph that has so many megapixels when it is upscaled, unless it exists."""
    path, side = folder / f"photograph.{extension}", round((megapixels * 1e6) ** 0.5 / SCALE)
    if not path.exists():
        Image.fromarray(photograph(side, side)).save(path)
    return path


def small_images(folder: Path) -> Path:
    """Writes the folder of small images, unless it exists."""
    if not (images := folder / "images").exists():
        write_small_images(images, 1000)
    return images


def video(rate: str, place: Place) -> Figures:
    """Upscales a video with audio, from file to file.

    With a variable rate, 60 frames per second become 10 after two seconds.
    """
    import imageio_ffmpeg  # with FFmpeg's program; nothing else here needs it

    path = place.inputs / f"{rate}.mp4"
    if not path.exists():
        # FFmpeg's test pictures: 300 frames either way.
        frames, pattern = {"constant": (12, "1"), "variable": (20, "'lt(t,4)+not(mod(n,16))'")}[rate]
        source = f"testsrc2=s=640x360:r={25 if rate == 'constant' else 60}:d={frames}"
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-f", "lavfi", "-i", source]
        command += ["-f", "lavfi", "-i", f"sine=d={frames}", "-vf", f"select={pattern}", "-fps_mode", "vfr"]
        subprocess.run([*command, "-c:v", "libx264", "-c:a", "aac", path], check=True)
    target = place.results / "upscaled.mp4"
    figures = whole_process(place, f"--input={path}", f"--output={target}", "--scale=2")
    return {"frames/s": 300 / figures["seconds"]} | figures


def first_call(place: Place) -> Figures:
    """Upscales an array, from the start of Python."""
    done = run_python("-c", FIRST_CALL, checkout=place.checkout)
    return {"seconds": float(done.output), "peak MB": done.megabytes}


def network(architecture: str, scale: int, megapixels: float, place: Place) -> Figures:
    """Upscales an array without conversions; the other checkout may have two dtypes."""
    arguments = [architecture, str(scale), str(round(megapixels * 1e6))]
    done = run_python(ROOT / "benchmarks" / "network.py", *arguments, checkout=place.checkout)
    names = ("float32, megapixels/s", "previous in its default dtype, megapixels/s")
    return dict(zip(names, map(float, done.output.split()), strict=True))


def testing(place: Place) -> Figures:
    """Tests parts of a photograph."""
    images, rows, cols = place.inputs / "Test", 321, 481
    if not images.exists():
        images.mkdir()
        for number in range(100):
            part = photograph(number + rows, number + cols)[number:, number:]
            Image.fromarray(part).save(images / f"{number}.png")
    return whole_process(place, "--is_train=False", f"--test_dir={images}")


def training(recipe: str, place: Place) -> Figures:
    """Trains with a recipe."""
    figures = whole_process(place, f"--recipe={recipe}", f"--epoch={EPOCHS}", f"--train_dir={place.train_dir}")
    (history,) = Path(place.results, "log").glob("*/history.csv")
    with open(history, newline="", encoding="utf-8") as file:
        speeds = [float(row["patches_per_second"]) for row in csv.DictReader(file)]
    return {"patches/s": statistics.median(speeds[1:])} | figures


MEASUREMENTS: dict[str, Callable[[Place], Figures]] = {
    "small_png": partial(upscale, lambda folder: sample("chelsea.png")),
    "first_call": first_call,
    **{f"9-1-5_x{scale}": partial(network, "9-1-5", scale, 5) for scale in (2, 3, 4)},
    "9-5-5_x3": partial(network, "9-5-5", 3, 1.5),
    **{
        f"{extension}_{megapixels}": partial(upscale, partial(photograph_file, extension, megapixels))
        for extension, megapixels in (("jpg", 12), ("jpg", 100), ("png", 12), ("png", 100), ("tif", 1000))
    },
    "small_images": partial(upscale, small_images),
    "video": partial(video, "constant"),
    "video_variable": partial(video, "variable"),
    "testing": testing,
    "modern": partial(training, "modern"),
    "reference": partial(training, "reference"),
}


def measure_both(name: str, given: argparse.Namespace) -> list[list[Figures]]:
    """Returns the figures of the previous and of this checkout in each round.

    Raises:
        RunError: a command failed.
    """
    found = []
    with tempfile.TemporaryDirectory(dir=given.scratch) as inputs:
        for number in range(given.rounds):
            figures: list[Figures] = [{}, {}]
            for index in (1, 0) if number % 2 else (0, 1):
                checkout = (given.previous.resolve(), ROOT)[index]
                with tempfile.TemporaryDirectory(dir=given.scratch) as results:
                    figures[index] = MEASUREMENTS[name](Place(checkout, Path(inputs), Path(results), given.train_dir))
            found.append(figures)
            print(f"round {number + 1}:", *format_rows(name, [figures]), sep="\n", file=sys.stderr, flush=True)
    return found


def format_rows(name: str, rounds: list[list[Figures]]) -> list[str]:
    """Returns the rows of the table, one for each figure of a measurement."""
    rows = []
    for figure in rounds[0][0]:
        pairs = [(previous[figure], this[figure]) for previous, this in rounds]
        ratios = [this / previous if figure.endswith("/s") else previous / this for previous, this in pairs]
        cells = [format_spread(values, ".4g") for values in zip(*pairs, strict=True)]
        rows.append(f"| {name}, {figure} | {' | '.join(cells)} | {format_spread(ratios, '.2f')} |")
    return rows


def format_spread(values: Sequence[float], digits: str) -> str:
    """Returns the median, and in brackets the smallest and the largest."""
    median, least, most = (f"{value:{digits}}" for value in (statistics.median(values), min(values), max(values)))
    return f"{median} ({least}-{most})"


def main() -> None:
    """Measures both checkouts in alternation, and prints a Markdown table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.previous", allow_abbrev=False)
    parser.add_argument("previous", type=Path, help="Folder of the other checkout.")
    parser.add_argument("names", nargs="*", choices=MEASUREMENTS, help="Default: all but tif_1000.")
    parser.add_argument("--rounds", type=int, default=5, help="Default: %(default)s.")
    parser.add_argument("--train_dir", type=Path, default="Train/T91", help="Default: %(default)s.")
    parser.add_argument("--scratch", type=Path, help="Folder for all files. Default: the system's.")
    given = parser.parse_args()
    print("| | previous | this | ratio |\n|---|---|---|---|", flush=True)
    for name in given.names or [name for name in MEASUREMENTS if name != "tif_1000"]:
        print(*format_rows(name, measure_both(name, given)), sep="\n", flush=True)


if __name__ == "__main__":
    sys.exit(report_errors(main))

"""Tests all shipped weights on the paper's images, and writes the scores next to published ones into docs/results.md.

    python main.py --fetch=Set5,Set14
    python -m benchmarks.reproduce

It tests as main.py does, and prints and writes Markdown: averages next to published ones, all images, and how the
weights were made. It draws the curves of docs/curves (see `benchmarks.curves`; needs requirements-bench.txt).
One line must say

    Self-check: bicubic equals the paper's to the last decimal printed (Set5 x2, Set5 x3, Set5 x4, Set14 x2, ...).

The exit status is 1 if it does not, or if anything else is missing; all the rest is written.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import math
import shlex
import statistics
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks import common, curves
from benchmarks.published import BICUBIC, OTHER, PAPER, PUBLISHED, SETS, Column, Method, Score
from srcnn_tf import cli, upscale_image, utils
from srcnn_tf.config import Config
from srcnn_tf.errors import RunError
from srcnn_tf.images.color import to_luma, to_uint8
from srcnn_tf.images.metrics import psnr
from srcnn_tf.images.resize import imresize
from srcnn_tf.spec import ColorSpace
from srcnn_tf.system.devices import load_tensorflow
from srcnn_tf.system.files import atomic_write
from srcnn_tf.testing.evaluate import evaluate
from srcnn_tf.testing.report import Result, average_scores
from srcnn_tf.upscaling.image_files import upscale_files
from srcnn_tf.upscaling.sizes import factors_of_passes

FIGURE = "curves.png"
ARCHITECTURES = ("9-1-5", "9-5-5")
FACTORS = (1.5, 2.5, 3.5, 5.0, 6.0, 8.0, 12.0, 16.0)
FACTORS_TEXT = (
    "## Other factors\n\nLuma PSNR in dB on Set14 of the paper's bicubic interpolation and of `upscale_image` with the "
    "shipped weights: the passes, then an antialiased bicubic reduction to the size of the original. The images are "
    "reduced by bicubic interpolation in RGB and rounded to 8 bits; as many pixels as the factor, rounded up, are "
    "shaved from each side."
)
HERE = "here"  # the source of what is measured now
DEGRADATIONS = {
    "matlab": "`--degradation=matlab`, the paper's: MATLAB's bicubic, studio-range luma",
    "scipy": "`--degradation=scipy`, the reference's: SciPy's zoom, which loses more, full-range luma",
}
QUALITIES = (None, 95, 90, 80, 70, 50)  # of JPEG files; None: a PNG file
QUALITIES_HEADER = ["", "network", "degradation", *(str(quality or "none") for quality in QUALITIES)]
QUALITIES_TEXT = (
    "## Compressed images\n\nGain in luma PSNR, dB, over bicubic interpolation of the same file, by `--input`, with "
    "the weights that `--degradation` names. The images are reduced by bicubic interpolation in RGB, and saved as PNG "
    "(`none`) or by Pillow as JPEG files of a quality. `auto` is the default: it chooses by the file's quality."
)

Shipped = list[tuple[Config, dict[str, Any]]]  # weights: the configuration to test them, and their sidecar
Methods = dict[str, list[Method]]  # what was measured, by degradation: bicubic first, then a row per network


def shipped() -> Shipped:
    """Lists all weights of the package, by the commands in their sidecars."""
    found: Shipped = []
    for path in sorted(common.WEIGHTS.glob("*.json")):
        sidecar = json.loads(path.read_text(encoding="utf-8"))
        config = cli.parse(shlex.split(sidecar["command"])[1:])
        assert config is not None
        found.append((replace(config, is_train=False, weights=str(path.with_suffix(".weights.h5"))), sidecar))
    return found


# --- Tests ---


def find_sets(test_dir: str) -> dict[str, Path]:
    """Finds the folders of `SETS` at or below a folder; of several folders of one name, the first one with images."""
    root = Path(test_dir)
    folders = [root, *sorted(path for path in root.rglob("*") if path.is_dir())]
    found = {name: [path for path in folders if path.resolve().name == name] for name in SETS}
    with_images = {name: [path for path in paths if utils.prepare_data(path)] for name, paths in found.items()}
    return {name: paths[0] for name, paths in with_images.items() if paths}


def check_sets(sets: dict[str, Path], test_dir: str) -> list[str]:
    """Returns a message for sets that are missing, and for each set that is incomplete."""
    problems = []
    if absent := [name for name in SETS if name not in sets]:
        command = ["python", "main.py", f"--fetch={','.join(absent)}"]
        command += [f"--test_dir={test_dir}"] if test_dir != Config.test_dir else []
        problems.append(
            f"{' and '.join(absent)}: no folder of that name with images at or below {test_dir}. "
            f"`{shlex.join(command)}` downloads it."
        )
    for name, folder in sets.items():
        if (count := len(utils.prepare_data(folder))) != SETS[name]:
            problems.append(f"{folder}: expected the {SETS[name]} images of {name}, found {count}.")
    return problems


def test_set(config: Config, name: str, folder: Path) -> list[Result]:
    """Tests weights on a set as main.py does, without its output.

    Raises:
        RunError: some images could not be tested; they are reported.
    """
    with tempfile.TemporaryDirectory() as scratch, contextlib.redirect_stdout(io.StringIO()):
        results = evaluate(replace(config, test_dir=str(folder), sample_dir=scratch, log_dir=scratch))
    # The images of Set5 are called baby_GT and so on: the ground truth.
    return [replace(result, set=name, image=result.image.removesuffix("_GT")) for result in results]


def measure(sets: dict[str, Path], device: str, problems: list[str]) -> Methods:
    """Tests all weights on all sets; what could not be tested is added to `problems`."""
    rows: dict[str, dict[str, Method]] = {degradation: {} for degradation in DEGRADATIONS}
    for config, sidecar in shipped():
        if config.degradation not in DEGRADATIONS:
            continue
        spec, data = config.network, f"{sidecar['data']['images']} images"
        network = " ".join(dict.fromkeys([spec.architecture, *spec.name.split("_")[3:]]))
        for name, folder in sets.items():
            print(f"Testing {spec.name} on {name}.", file=sys.stderr, flush=True)
            try:
                results = test_set(config, name, folder)
            except RunError as error:
                problems.append(f"{spec.name} on {name}: {error}")
                continue
            methods, column = rows[config.degradation], (name, config.scale)
            label = "bicubic" if spec.color.studio else "degraded image"
            bicubic = methods.setdefault(BICUBIC, Method(label, BICUBIC, "", HERE, {}))
            srcnn = methods.setdefault(
                network, Method(f"**srcnn_tf {network}**", network, data, HERE, {}, machine=device)
            )
            for method, kind in ((bicubic, "bicubic"), (srcnn, "srcnn")):
                method.averages[column] = _score(results, kind)
                method.images[column] = {result.image: _score([result], kind) for result in results}
            if spec.color.studio:
                ensemble = f"{network} self-ensemble"
                method = methods.setdefault(
                    ensemble, Method(f"**srcnn_tf {network}** self-ensemble", ensemble, data, HERE, {})
                )
                score = _score(test_set(replace(config, self_ensemble=True), name, folder), "srcnn")
                method.averages[column] = Score(score.psnr, score.ssim)  # without seconds: eight times the network's
    return {degradation: list(methods.values()) for degradation, methods in rows.items() if methods}


def _score(results: list[Result], kind: str) -> Score:
    (means,) = average_scores(results).values()
    seconds = statistics.mean(result.seconds for result in results) if kind == "srcnn" else None
    return Score(means[f"psnr_{kind}"], means[f"ssim_{kind}"], seconds)


def measure_factors(folder: Path) -> list[list[str]]:
    """Upscales the images of a set, reduced by each of FACTORS; returns mean PSNR, a row per factor."""
    rows = []
    for factor in FACTORS:
        print(f"Upscaling {folder.name} by {factor}.", file=sys.stderr, flush=True)
        scores = np.mean([_score_factor(utils.imread(path), factor) for path in utils.prepare_data(folder)], axis=0)
        passes = ", then ".join(f"x{scale}" for scale in factors_of_passes(factor))
        rows.append([f"x{factor:g}", passes, *(f"{score:.2f}" for score in scores)])
    return rows


def _score_factor(image: NDArray[np.uint8], factor: float) -> list[float]:
    """Returns the luma PSNR of bicubic interpolation and of each of ARCHITECTURES, for an image reduced by a factor."""
    rows, cols = image.shape[:2]
    small_rows, small_cols = math.ceil(rows / factor), math.ceil(cols / factor)
    small = imresize(image, (Fraction(small_rows, rows), Fraction(small_cols, cols)))
    results = [imresize(small, (Fraction(rows, small_rows), Fraction(cols, small_cols)))]
    results += [upscale_image(small, size=(rows, cols), architecture=name) for name in ARCHITECTURES]
    shaved = (slice(math.ceil(factor), -math.ceil(factor)),) * 2
    original, *lumas = (_luma(pixels)[shaved] for pixels in (image, *results))
    return [psnr(luma, original) for luma in lumas]


def measure_qualities(sets: dict[str, Path]) -> list[list[str]]:
    """Upscales compressed images; returns the mean gain over bicubic interpolation, a row per network and weights."""
    rows = []
    configs = [config for config, _ in shipped()]
    for config in configs:
        if config.degradation != "jpeg":
            continue
        same = {"architecture": config.architecture, "scale": config.scale}
        degradations = [each.degradation for each in configs if same.items() <= asdict(each).items()]
        for name, folder in sets.items():
            for degradation in ("auto", *sorted(set(degradations) - {"scipy"}, reverse=True)):
                print(f"Upscaling {name} by {config.scale}, {degradation}.", file=sys.stderr, flush=True)
                test = replace(config, input=".", weights=None, degradation=degradation, overwrite=True)
                gains = [f"{_gain(folder, quality, test):+.2f}" for quality in QUALITIES]
                rows.append([f"{name} x{config.scale}", config.architecture, degradation, *gains])
    return rows


def _gain(folder: Path, quality: int | None, config: Config) -> float:
    """Returns the mean gain of upscaled files over bicubic interpolation, in dB."""
    scale, gains = config.scale, []
    with tempfile.TemporaryDirectory() as scratch:
        originals = {path.stem: utils.modcrop(utils.imread(path), scale) for path in utils.prepare_data(folder)}
        small, large = Path(scratch, "small"), Path(scratch, "large")
        small.mkdir()
        for name, image in originals.items():
            reduced = Image.fromarray(imresize(image, 1 / scale))
            if quality is None:
                reduced.save(small / f"{name}.png")
            else:
                reduced.save(small / f"{name}.jpg", quality=quality)
        for path in utils.prepare_data(small):
            with contextlib.redirect_stdout(io.StringIO()):
                upscale_files(replace(config, input=str(path), output=str(large / f"{path.stem}.png")))
            bicubic, srcnn = imresize(utils.imread(path), scale), utils.imread(large / f"{path.stem}.png")
            shaved = (slice(scale, -scale),) * 2
            original, *lumas = (_luma(pixels)[shaved] for pixels in (originals[path.stem], bicubic, srcnn))
            bicubic_score, srcnn_score = (psnr(luma, original) for luma in lumas)
            gains.append(srcnn_score - bicubic_score)
    return statistics.mean(gains)


def _luma(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return to_uint8(to_luma(image, ColorSpace(studio=True))[..., 0])


# --- Tables ---


def format_page(
    methods: Methods,
    weights: Shipped,
    has_figure: bool,
    factors: Sequence[Sequence[str]] = (),
    qualities: Sequence[Sequence[str]] = (),
) -> str:
    """Formats all that was measured as Markdown."""
    made = [
        [config.network.name, f"{sidecar['seconds']:.0f}", f"`{sidecar['command']}`"] for config, sidecar in weights
    ]
    parts = [
        "# Results next to published ones",
        "Generated by `python -m benchmarks.reproduce`, which tests all shipped weights; do not edit. Scores are of "
        "luma, with edge pixels replicated, results rounded to 8 bits, and `scale` pixels shaved from each side. "
        "Averages are means over the images of a set.",
        *(format_averages(degradation, measured) for degradation, measured in methods.items()),
        *([self_check(methods["matlab"])[0]] if "matlab" in methods else []),
        *([f"![PSNR by iteration: ours and the authors' own]({FIGURE})"] if has_figure else []),
        "The curves show the PSNR of the mean squared error over the 1,113 patches of Set5 that the authors' solver "
        "tested (x3; 33 x 33 pixels, adjacent labels), neither clipped nor rounded. The authors' points are the losses "
        "that they logged, as 10 log10(441 / (2 loss)). `python -m benchmarks.curves` measures ours.",
        *([FACTORS_TEXT, format_table(["factor", "passes", "bicubic", *ARCHITECTURES], factors)] if factors else []),
        *([QUALITIES_TEXT, format_table(QUALITIES_HEADER, qualities)] if qualities else []),
        "## Image by image",
        *(format_images(degradation, measured) for degradation, measured in methods.items()),
        "## How the weights were made",
        format_table(["weights", "seconds", "command"], made),
    ]
    return "\n\n".join(parts) + "\n"


def format_averages(degradation: str, measured: Sequence[Method]) -> str:
    """Formats the averages of each set and scale, one row per method: scores, then seconds."""
    methods, columns = _with_published(degradation, measured), _columns(measured)
    names = [_column_name(column) for column in columns]
    found = [(method, [method.averages.get(column) for column in columns]) for method in methods]
    scores = [[method.name, method.trained_on, method.source, *map(_format_score, row)] for method, row in found]
    seconds = [
        [method.name, method.machine, *map(_format_seconds, row)]
        for method, row in found
        if any(map(_format_seconds, row))
    ]
    return "\n\n".join(
        [
            f"{DEGRADATIONS[degradation]}. PSNR in dB (SSIM):",
            format_table(["", "trained on", "figures from", *names], scores),
            "Seconds per image, in the network:",
            format_table(["", "on", *names], seconds),
        ]
    )


def format_images(degradation: str, measured: Sequence[Method]) -> str:
    """Formats a table for each set and scale, one row per image."""
    tables = []
    for column in _columns(measured):
        methods = [method for method in _with_published(degradation, measured) if column in method.images]
        timed = [method for method in methods if method.source == HERE and method.network != BICUBIC]
        header = ["", *(f"{m.name}, {m.source}" if m.network == BICUBIC else m.name for m in methods)]
        header += [f"seconds, {method.network}" for method in timed]
        rows = [
            [name, *(_format_score(method.images[column].get(name)) for method in methods)]
            + [_format_seconds(method.images[column][name]) for method in timed]
            for name in timed[0].images[column]
        ]
        rows.append(
            ["average", *(_format_score(method.averages.get(column)) for method in methods)]
            + [_format_seconds(method.averages[column]) for method in timed]
        )
        tables.append(f"### {_column_name(column)}, {degradation}\n\n{format_table(header, rows)}")
    return "\n\n".join(tables)


def self_check(measured: Sequence[Method]) -> tuple[str, bool]:
    """Compares the bicubic scores with the paper's, which are equal if the whole protocol is.

    Returns:
        The result in words, and whether nothing is wrong.
    """
    (found,) = (method.averages for method in measured if method.network == BICUBIC)
    (printed,) = (m.averages for m in PUBLISHED["matlab"] if m.network == BICUBIC and m.source == PAPER)
    common = [column for column in _columns(measured) if column in printed]
    wrong = [
        f"{_column_name(column)} is {_format_score(found[column])}, not {_format_score(printed[column])}"
        for column in common
        if _format_score(found[column]) != _format_score(printed[column])
    ]
    if wrong:
        return f"Self-check: FAILED, bicubic is not the paper's: no score is comparable. {'; '.join(wrong)}.", False
    names = ", ".join(map(_column_name, common))
    return f"Self-check: bicubic equals the paper's to the last decimal printed ({names}).", True


def _with_published(degradation: str, measured: Sequence[Method]) -> list[Method]:
    """Inserts the published rows of the same networks, sets and scales before the measured ones."""
    columns = _columns(measured)
    networks = dict.fromkeys([BICUBIC, OTHER, *(method.network for method in measured)])
    methods = [m for m in (*PUBLISHED[degradation], *measured) if set(columns) & m.averages.keys()]
    return [method for network in networks for method in methods if method.network == network]


def _columns(methods: Iterable[Method]) -> list[Column]:
    """Returns the sets and scales of methods, in the order of papers."""
    return sorted({c for method in methods for c in method.averages}, key=lambda c: (list(SETS).index(c[0]), c[1]))


def _column_name(column: Column) -> str:
    return f"{column[0]} x{column[1]}"


def _format_score(score: Score | None) -> str:
    if score is None:
        return ""
    return f"{score.psnr:.2f}" + ("" if score.ssim is None else f" ({score.ssim:.4f})")


def _format_seconds(score: Score | None) -> str:
    return "" if score is None or score.seconds is None else f"{score.seconds:.2f}"


def format_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Formats a Markdown table whose columns are aligned as text too."""
    widths = [max(3, *map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = [header, ["-" * width for width in widths], *rows]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Tests, draws, prints and writes; reports problems and returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reproduce", allow_abbrev=False)
    parser.add_argument("--test_dir", default=Config.test_dir, help="Folder with Set5 and Set14. Default: %(default)s.")
    parser.add_argument(
        "--output", default="docs/results.md", type=Path, help="File to write, beside the figure. Default: %(default)s."
    )
    given = parser.parse_args(argv)
    sets = find_sets(given.test_dir)
    problems = check_sets(sets, given.test_dir)
    if sets:
        methods = measure(sets, load_tensorflow(), problems)
        if "matlab" in methods and not self_check(methods["matlab"])[1]:
            problems.append(self_check(methods["matlab"])[0])
        figure = given.output.with_name(FIGURE)
        bicubic = None
        if "Set5" in sets:
            bicubic = curves.bicubic_psnr(Config(degradation="matlab", test_dir=str(sets["Set5"])))
        try:
            curves.draw(figure, bicubic)
        except RunError as error:
            problems.append(str(error))
        factors = measure_factors(sets["Set14"]) if "Set14" in sets else []
        page = format_page(methods, shipped(), figure.is_file(), factors, measure_qualities(sets))
        print(page, end="")
        with atomic_write(given.output) as temporary:
            temporary.write_text(page, encoding="utf-8")
    for problem in problems:
        print(f"Problem: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())

"""Reports test results: comparison images, a table in the terminal, and a CSV file."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from srcnn_tf.system.files import atomic_write

Panels = dict[str, NDArray[np.uint8]]  # images of one size by caption, from left to right
GAP = 4  # white pixels between two panels
SCORES = ("psnr_bicubic", "psnr_srcnn", "ssim_bicubic", "ssim_srcnn")  # columns of `Result` that are averaged


@dataclass(frozen=True)
class Result:
    """Scores of one test image: one row of results.csv, in the order of its columns."""

    set: str
    image: str
    scale: int
    degradation: str
    architecture: str
    precision: str
    weights: str
    psnr_bicubic: float  # dB, of the degraded image that the network is given
    psnr_srcnn: float  # dB
    ssim_bicubic: float
    ssim_srcnn: float
    seconds: float  # in the network
    jpeg_quality: str = "none"  # of the small image; none: it was not compressed


def side_by_side(panels: Panels) -> NDArray[np.uint8]:
    """Arranges images of one size side by side, each below its caption.

    Args:
        panels: uint8 images by caption, `(rows, cols)` grey or `(rows, cols, 3)` RGB.

    Returns:
        uint8 RGB `(rows + caption, cols * panels + gaps, 3)`.
    """
    rows, cols = next(iter(panels.values())).shape[:2]
    # The largest readable font size, in pixels, at which each caption fits above its image.
    widest = max(ImageFont.load_default(20).getlength(caption) for caption in panels) / 20
    size = int(min(max(cols / widest * 0.9, 7), max(cols / 16, 12)))
    font, margin = ImageFont.load_default(size), size + size // 2
    canvas = Image.new("RGB", (len(panels) * (cols + GAP) - GAP, rows + margin), "white")
    draw = ImageDraw.Draw(canvas)
    for index, (caption, image) in enumerate(panels.items()):
        left = index * (cols + GAP)
        draw.text((left + cols / 2, margin / 2), caption, fill="black", font=font, anchor="mm")
        canvas.paste(Image.fromarray(image).convert("RGB"), (left, margin))
    return np.asarray(canvas)


def format_table(results: Sequence[Result]) -> str:
    """Formats the scores as a table: a line per image, and the average of each set below its images."""
    lines: list[tuple[str, dict[str, float]]] = []
    for name, members in _group_by_set(results).items():
        lines += [(f"{name}/{result.image}", vars(result)) for result in members]
        lines.append((f"{name}: average", _average(members, (*SCORES, "seconds"))))
    width = max(len(label) for label, _ in lines)
    table = [f"{'image':{width}}  bicubic    SRCNN    gain   SSIM bicubic  SSIM SRCNN  seconds"]
    for label, scores in lines:
        gain = scores["psnr_srcnn"] - scores["psnr_bicubic"]
        psnr_bicubic, psnr_srcnn = (f"{scores[name]:.2f}" for name in SCORES[:2])
        row = f"{label:{width}}  {psnr_bicubic:>7}  {psnr_srcnn:>7}  {f'{gain:+.2f}':>6}  "
        row += f"{scores['ssim_bicubic']:13.4f}  {scores['ssim_srcnn']:10.4f}  {scores['seconds']:7.2f}"
        table.append(re.sub(" {2}([+-]nan|[+-]inf|nan)", lambda none: "-".rjust(len(none[0])), row))
    if infinite := sum(not _has_finite_psnr(result) for result in results):
        table.append(f"Excluded from the PSNR averages: {infinite} with infinite PSNR (identical to the original).")
    if qualities := {result.jpeg_quality for result in results} - {"none"}:
        table.append(f"JPEG quality of the small images: {', '.join(qualities)}.")
    return "\n".join(table)


def average_scores(results: Sequence[Result]) -> dict[str, dict[str, float]]:
    """Averages the scores of each set.

    Returns:
        By set, the means of `SCORES`. Images with an infinite PSNR are excluded from the means of PSNR, which are NaN
        where no image is left.
    """
    return {name: _average(members, SCORES) for name, members in _group_by_set(results).items()}


def _group_by_set(results: Sequence[Result]) -> dict[str, list[Result]]:
    """Groups results by set; in the order of paths, a set may be interrupted by the sets in its subfolders."""
    sets: dict[str, list[Result]] = {}
    for result in results:
        sets.setdefault(result.set, []).append(result)
    return sets


def _average(results: Sequence[Result], names: Iterable[str]) -> dict[str, float]:
    finite = [result for result in results if _has_finite_psnr(result)]
    averages = {}
    for name in names:
        values = [getattr(result, name) for result in (finite if name.startswith("psnr") else results)]
        averages[name] = float(np.mean(values)) if values else math.nan
    return averages


def _has_finite_psnr(result: Result) -> bool:
    return math.isfinite(result.psnr_bicubic) and math.isfinite(result.psnr_srcnn)


def write_csv(results: Iterable[Result], path: Path) -> None:
    """Writes one row per image, and replaces the file if it exists.

    Raises:
        RunError: the file cannot be written.
    """
    with (
        atomic_write(path) as temporary,
        open(temporary, "w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        writer = csv.writer(file)
        writer.writerow([field.name for field in fields(Result)])
        for result in results:
            writer.writerow([f"{value:.6f}" if isinstance(value, float) else value for value in vars(result).values()])


def crop_center(image: NDArray, side: int) -> NDArray:
    """Returns the central part of an image, at most `side` rows and columns."""
    rows, cols = image.shape[:2]
    top, left = max(rows - side, 0) // 2, max(cols - side, 0) // 2
    return image[top : top + side, left : left + side]

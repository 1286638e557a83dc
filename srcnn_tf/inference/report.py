"""What a test leaves behind: side-by-side pictures, a table in the terminal, and a CSV file."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from srcnn_tf.files import atomic_write

Panels = dict[str, NDArray[np.uint8]]  # pictures of one size by caption, from left to right
GAP = 4  # white pixels between two pictures


@dataclass(frozen=True)
class Result:
    """The scores of one picture: a row of results.csv, its columns in this order."""

    set: str
    image: str
    scale: int
    degradation: str
    architecture: str
    precision: str
    weights: str
    psnr_bicubic: float  # dB, of the degraded picture as the network gets it
    psnr_srcnn: float  # dB
    ssim_bicubic: float
    ssim_srcnn: float
    seconds: float  # in the network


def side_by_side(panels: Panels) -> NDArray[np.uint8]:
    """Puts pictures of one size beside each other, each with its caption above it.

    Args:
        panels: uint8 pictures by caption, `(rows, cols)` grey or `(rows, cols, 3)` RGB.

    Returns:
        uint8 RGB `(rows + caption, cols * panels + gaps, 3)`.
    """
    rows, cols = next(iter(panels.values())).shape[:2]
    size = _font_size(panels, cols)
    font = ImageFont.load_default(size)
    strip = size + size // 2
    canvas = Image.new("RGB", (len(panels) * (cols + GAP) - GAP, rows + strip), "white")
    draw = ImageDraw.Draw(canvas)
    for number, (caption, picture) in enumerate(panels.items()):
        left = number * (cols + GAP)
        draw.text((left + cols / 2, strip / 2), caption, fill="black", font=font, anchor="mm")
        canvas.paste(Image.fromarray(picture).convert("RGB"), (left, strip))
    return np.asarray(canvas)


def _font_size(captions: Iterable[str], cols: int) -> int:
    """The largest readable size, in pixels, at which each caption fits above its picture."""
    widest = max(ImageFont.load_default(20).getlength(caption) for caption in captions) / 20
    return int(min(max(cols / widest * 0.9, 7), max(cols / 16, 12)))


def decibels(value: float) -> str:
    """A PSNR for people: two decimals, or 'inf'."""
    return f"{value:.2f}"


def table(results: Sequence[Result]) -> str:
    """The scores in columns, a line a picture, and the average of each set below its pictures."""
    rows: list[tuple[str, Result]] = []
    for name, members in _by_set(results):
        rows += [(f"{name}/{result.image}", result) for result in members]
        rows.append((f"{name}: average", _average(members)))
    width = max(len(name) for name, _ in rows)
    lines = [f"{'image':{width}}  bicubic    SRCNN    gain   SSIM bicubic  SSIM SRCNN  seconds"]
    lines += [_row(name, result, width) for name, result in rows]
    perfect = len(results) - len(_finite(results))
    if perfect:
        lines.append(f"Left out of the averages of PSNR: {perfect} without any error (inf).")
    return "\n".join(lines)


def averages(results: Sequence[Result]) -> list[tuple[str, dict[str, float]]]:
    """The mean scores of each set, by the columns of results.csv."""
    names = ("psnr_bicubic", "psnr_srcnn", "ssim_bicubic", "ssim_srcnn")
    found = [(name, _average(members)) for name, members in _by_set(results)]
    return [(name, {key: getattr(mean, key) for key in names}) for name, mean in found]


def _by_set(results: Sequence[Result]) -> list[tuple[str, list[Result]]]:
    """Each set with its results; a folder's own pictures may come before and after those of its subfolders."""
    sets: dict[str, list[Result]] = {}
    for result in results:
        sets.setdefault(result.set, []).append(result)
    return list(sets.items())


def _row(name: str, result: Result, width: int) -> str:
    gain = result.psnr_srcnn - result.psnr_bicubic
    return (
        f"{name:{width}}  {result.psnr_bicubic:7.2f}  {result.psnr_srcnn:7.2f}  {gain:+6.2f}  "
        f"{result.ssim_bicubic:13.4f}  {result.ssim_srcnn:10.4f}  {result.seconds:7.2f}"
    )


def _average(results: Sequence[Result]) -> Result:
    """The mean of each score over a set; pictures with an infinite PSNR are left out of the means of PSNR."""
    means = {name: _mean(_finite(results), name) for name in ("psnr_bicubic", "psnr_srcnn")}
    means |= {name: _mean(results, name) for name in ("ssim_bicubic", "ssim_srcnn", "seconds")}
    return replace(results[0], image="", **means)


def _finite(results: Sequence[Result]) -> list[Result]:
    return [result for result in results if math.isfinite(result.psnr_bicubic) and math.isfinite(result.psnr_srcnn)]


def _mean(results: Sequence[Result], name: str) -> float:
    return float(np.mean([getattr(result, name) for result in results])) if results else math.nan


def write_csv(results: Iterable[Result], path: Path) -> None:
    """Writes a row a picture, in place of what the file held.

    Raises:
        RunError: the file cannot be written.
    """
    names = [field.name for field in fields(Result)]
    with (
        atomic_write(path) as temporary,
        open(temporary, "w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(names)
        writer.writerows([_cell(getattr(result, name)) for name in names] for result in results)


def _cell(value: object) -> object:
    return f"{value:.6f}" if isinstance(value, float) else value

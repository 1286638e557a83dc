"""Published values: scores, seconds, and the authors' own training curve.

"The paper" is Dong et al. (TPAMI 2016). Its scores are of luma, averages over a set, for MATLAB's bicubic. Values that
it does not print say where they are from.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

SETS = {"Set5": 5, "Set14": 14}  # number of images of each test set
BICUBIC, OTHER = "bicubic", "other"

PAPER = "the paper"
MEASURED = "its weights, measured for this project"


class Score(NamedTuple):
    """Score on an image, or the average over a set; None where it is not known."""

    psnr: float  # dB
    ssim: float | None = None
    seconds: float | None = None  # per image


Column = tuple[str, int]  # set and scale


@dataclass(frozen=True)
class Method:
    """A row of a table.

    Attributes:
        name: its first cell.
        network: an SRCNN by its filters, '9-1-5' or '9-1-5 128-64'; else `BICUBIC` or `OTHER`.
        trained_on: in words.
        source: where the figures are from.
        averages: the scores of whole sets.
        images: the scores of single images, by name.
        machine: what the seconds were measured on.
    """

    name: str
    network: str
    trained_on: str
    source: str
    averages: dict[Column, Score]
    images: dict[Column, dict[str, Score]] = field(default_factory=dict)
    machine: str = ""


def _scales(name: str, *figures: tuple[float, ...]) -> dict[Column, Score]:
    """Returns the scores of a set at x2, x3 and x4."""
    return {(name, scale): Score(*figure) for scale, figure in zip((2, 3, 4), figures, strict=True)}


def _set5_x3(*psnr: float) -> dict[Column, dict[str, Score]]:
    """Returns the PSNR of each image of Set5 at x3."""
    return {("Set5", 3): dict(zip(("baby", "bird", "butterfly", "head", "woman"), map(Score, psnr), strict=True))}


# By degradation, see `spec.DEGRADATIONS`.
PUBLISHED = {
    "matlab": (
        Method(
            "bicubic",
            BICUBIC,
            "",
            PAPER,
            _scales("Set5", (33.66, 0.9299), (30.39, 0.8682), (28.42, 0.8104))
            | _scales("Set14", (30.23, 0.8687), (27.54, 0.7736), (26.00, 0.7019)),
            _set5_x3(33.91, 32.58, 24.04, 32.88, 28.56),
        ),
        Method("SC (sparse coding)", OTHER, "", PAPER, {("Set5", 3): Score(31.42), ("Set14", 3): Score(28.31)}),
        Method(
            "A+",
            OTHER,
            "",
            PAPER,
            _scales("Set5", (36.54,), (32.59,), (30.28,)) | _scales("Set14", (32.28,), (29.13,), (27.32,)),
        ),
        Method(
            "SRCNN 9-1-5",
            "9-1-5",
            "91 images",
            PAPER,
            _scales("Set5", (36.34, 0.9521), (32.39, 0.9033), (30.09, 0.8530))
            | {("Set14", 3): Score(29.00, None, 0.39)},
            _set5_x3(35.01, 34.91, 27.58, 33.55, 30.92),
            "C++ on an Intel processor, 3.1 GHz",
        ),
        Method("SRCNN 9-1-5, 15 million iterations", "9-1-5", "91 images", MEASURED, {("Set5", 3): Score(32.46)}),
        Method("SRCNN 9-1-5", "9-1-5", "ImageNet", PAPER, {("Set5", 3): Score(32.52)}),
        Method(
            "SRCNN-Ex 9-5-5",
            "9-5-5",
            "91 images",
            "the FSRCNN paper, second-hand",
            {("Set5", 3): Score(32.83), ("Set14", 3): Score(29.26)},
        ),
        Method(
            "SRCNN 9-5-5",
            "9-5-5",
            "ImageNet",
            PAPER,
            _scales("Set5", (36.66, 0.9542), (32.75, 0.9090), (30.49, 0.8628))
            | _scales("Set14", (32.45, 0.9067), (29.30, 0.8215), (27.50, 0.7513)),
        ),
    ),
    "scipy": (
        Method(
            "tegg89/SRCNN-Tensorflow 9-1-5",
            "9-1-5",
            "91 images",
            MEASURED,
            {("Set5", 3): Score(27.956), ("Set14", 3): Score(25.493)},
            _set5_x3(31.329, 29.716, 21.751, 30.790, 26.193),
        ),
    ),
}

# Loss by iteration of the authors' solver on the patches of Set5: x3, 9-1-5, trained on the 91 images.
_AUTHORS_LOSS = {
    5_000: 0.2335,
    50_000: 0.1746,
    100_000: 0.1696,
    500_000: 0.1365,
    1_000_000: 0.1284,
    2_000_000: 0.1248,
    6_250_000: 0.1214,
    15_000_000: 0.1198,
}
# Caffe's loss is half the sum of squared errors over the 21 x 21 pixels of a label.
AUTHORS_CURVE = [(steps, 10 * math.log10(21 * 21 / (2 * loss))) for steps, loss in _AUTHORS_LOSS.items()]

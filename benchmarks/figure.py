"""Draws training curves beside the authors' own."""

from __future__ import annotations

from pathlib import Path

from benchmarks import curves
from benchmarks.published import AUTHORS_CURVE
from srcnn_tf.errors import RunError
from srcnn_tf.files import atomic_write

RANGE = (27, 33)  # dB: untrained weights begin at 12, and nothing could be told apart above


def draw(target: Path, bicubic: float | None = None) -> None:
    """Draws every curve in `curves.FOLDER` as a PNG file.

    Args:
        target: the file.
        bicubic: dB of the sub-images as the networks get them, for a line across.

    Raises:
        RunError: there is no matplotlib, or the file cannot be written.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise RunError(
            f"{target}: not drawn, for want of matplotlib. Give `pip install -r requirements-bench.txt`, and this "
            "command again."
        ) from error
    # White, not transparent, so that black text can be read on a dark page too.
    figure = Figure(figsize=(8, 4.8), facecolor="white", layout="constrained")
    axes = figure.add_subplot(xscale="log")
    axes.plot(*zip(*AUTHORS_CURVE, strict=True), "o-", color="black", label="the authors' Caffe solver, 91 pictures")
    for path in sorted(curves.FOLDER.glob("*.csv")):
        recipe, _, network = path.stem.partition("_")
        label = f"srcnn_tf, --recipe={recipe} ({network.replace('_', ' ')})"
        axes.plot(*zip(*curves.read(path), strict=True), ".-", label=label)
    if bicubic is not None:
        axes.axhline(bicubic, color="gray", linestyle="--", label="bicubic")
    axes.set_ylim(RANGE)
    axes.set_xlabel("iterations (batches of 128 sub-images)")
    axes.set_ylabel("PSNR of Set5's sub-images, pooled (dB)")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    with atomic_write(target) as temporary:
        figure.savefig(temporary, dpi=120)

"""Draws the figures of docs/how-it-works.md into docs/figures: `python -m benchmarks.figures`.

They show the shipped weights at work on two photographs in scikit-image's wheel, which are free of copyright.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from benchmarks.common import sample
from srcnn_tf.config import Config
from srcnn_tf.images.color import to_uint8
from srcnn_tf.images.metrics import psnr
from srcnn_tf.images.resize import imresize
from srcnn_tf.patch_file import extract_patches
from srcnn_tf.upscaling.interpolation import merge_interpolation
from srcnn_tf.utils import imread, merge, preprocess
from srcnn_tf.weights.search import WeightsSearch
from srcnn_tf.weights.store import find_weights

FOLDER = Path("docs", "figures")
SCALE, MARGIN = 3, 6  # the factor, and half the border of 9-1-5


def layers(weights: list[NDArray], images: NDArray) -> list[NDArray]:
    """Returns the outputs of the three layers, `(n, rows, cols, channels)`, of images `(n, rows, cols, 1)`."""
    outputs = [images]
    for kernel, bias in zip(weights[::2], weights[1::2], strict=True):
        windows = np.lib.stride_tricks.sliding_window_view(outputs[-1], kernel.shape[:2], axis=(1, 2))
        output = np.einsum("nrcihw,hwio->nrco", windows, kernel, optimize=True) + bias
        outputs.append(output if len(outputs) == 3 else np.maximum(0, output))
    return outputs[1:]


def show(axes: Any, image: NDArray, title: str = "", high: float | None = 1) -> None:
    """Draws a grey image `(rows, cols)`, black at 0 and white at `high`; None: medium grey at 0."""
    limit = np.abs(image).max() if high is None else high
    axes.imshow(image, cmap="gray", vmin=-limit if high is None else 0, vmax=limit, interpolation="nearest")
    axes.set(title=title, xticks=[], yticks=[])


def draw_stages(figure: Figure, weights: list[NDArray], degraded: NDArray, original: NDArray) -> None:
    """Draws the small image, the interpolated one, what the network adds to it, their sum, and the original."""
    restored = layers(weights, degraded[np.newaxis])[-1][0]
    degraded, original = (channels[MARGIN:-MARGIN, MARGIN:-MARGIN] for channels in (degraded, original))
    before, after = (psnr(to_uint8(image), to_uint8(original)) for image in (degraded, restored))
    panels = figure.subplots(1, 5)
    show(panels[0], imresize(original, 1 / SCALE), "small image")
    show(panels[1], degraded, f"bicubic, {before:.2f} dB")
    show(panels[2], restored - degraded, "the network adds", high=None)
    show(panels[3], restored, f"SRCNN, {after:.2f} dB")
    show(panels[4], original, "original")


def draw_layers(figure: Figure, weights: list[NDArray], degraded: NDArray) -> None:
    """Draws filters of the first layer, alone and merged with the interpolation, and feature maps of two layers."""
    maps = [output[0] for output in layers(weights, degraded[np.newaxis])[:2]]
    merged, panels = merge_interpolation(weights[0], SCALE).filters[1, 1], figure.subplots(4, 8)
    # Eight from the most active map to one of the least active ones.
    chosen = [np.argsort(-features.mean((0, 1)))[:: features.shape[2] // 8] for features in maps]
    for axes, *indices in zip(panels.T, *chosen, strict=True):
        show(axes[0], weights[0][:, :, 0, indices[0]], high=None)
        show(axes[1], merged[:, :, 0, indices[0]], high=None)
        for panel, features, index in zip(axes[2:], maps, indices, strict=True):
            show(panel, features[..., index], high=np.percentile(features[..., index], 99))
    for axes, label in zip(panels[:, 0], ("filter", "merged", "layer 1", "layer 2"), strict=True):
        axes.set_ylabel(label, size=12)


def draw_phases(figure: Figure, filters: NDArray) -> None:
    """Draws what one large pixel needs of the small image, and one filter `(9, 9)`, which is nine on the small one."""
    left, right = figure.subfigures(1, 2, width_ratios=(6, 4))
    area, single = left.subplots(1, 2, width_ratios=(5, 2))
    needed = np.pad(np.pad(np.pad([[3]], 4, constant_values=2), 6, constant_values=1), 3)
    area.pcolormesh(needed, cmap=ListedColormap(["white", "moccasin", "lightskyblue", "black"]), ec="silver", lw=0.4)
    area.set(xticks=range(0, 28, 3), yticks=range(0, 28, 3), aspect="equal", title="what the black large pixel needs")
    area.tick_params(length=0, labelbottom=False, labelleft=False)
    area.grid(color="black")
    show(single, filters, "filter, 9 x 9", high=None)
    merged = merge_interpolation(filters[..., np.newaxis, np.newaxis], SCALE).filters.reshape(9, 7, 7)
    right.suptitle("merged: nine filters, 7 x 7")
    for axes, phase in zip(right.subplots(SCALE, SCALE).flat, merged, strict=True):
        show(axes, phase, high=None)


def draw_blocks(figure: Figure, weights: list[NDArray], degraded: NDArray, original: NDArray) -> None:
    """Draws restored patches side by side, at strides 14 and 21, and the whole image restored."""
    panels, padded = figure.subplots(1, 3), np.pad(degraded, [(MARGIN, MARGIN)] * 2 + [(0, 0)], mode="edge")
    show(panels[2], layers(weights, padded[np.newaxis])[-1][0], "the whole image at once")
    for axes, stride in zip(panels, (14, 21), strict=False):
        patches, _ = extract_patches(degraded, original, Config(stride=stride))
        side = (len(original) - 33) // stride + 1
        show(axes, merge(layers(weights, patches)[-1], (side, side)), f"patches, one every {stride} pixels")


def main() -> None:
    """Draws all figures."""
    paper, reference = Config(degradation="matlab"), Config(degradation="scipy")
    weights, other_weights = (find_weights(config.network, WeightsSearch())[0] for config in (paper, reference))
    face = [image[54:162, 168:276] for image in preprocess(imread(sample("astronaut.png")), paper, 1)]
    cat = [image[50:251, 90:291] for image in preprocess(imread(sample("chelsea.png")), reference, 1)]
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, height, draw, arguments in (
        ("stages", 2.25, draw_stages, (weights, *face)),
        ("layers", 5.2, draw_layers, (weights, face[0])),
        ("phases", 3.8, draw_phases, (weights[0][:, :, 0, 6],)),
        ("blocks", 3.6, draw_blocks, (other_weights, *cat)),
    ):
        figure = Figure((10, height), layout="constrained")
        draw(figure, *arguments)
        figure.savefig(FOLDER / f"{name}.png", dpi=100)


if __name__ == "__main__":
    main()

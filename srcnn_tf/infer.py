"""A whole picture through the network, tile by tile, with edge pixels replicated; used wherever one is measured."""

from __future__ import annotations

from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from srcnn_tf import metrics
from srcnn_tf.color import Floats, in_colour, luma_of, to_uint8
from srcnn_tf.config import Config
from srcnn_tf.model import border

# Side of an output tile in pixels: 17 MB of 64 float32 features, small enough for a processor's cache to help.
TILE = 256


class Reconstructor:
    """Restores degraded pictures with a model, whose weights may change between calls.

    The network has no padding of its own: each tile is given the pixels around it, and only beyond the picture's
    edge are pixels replicated. So any tiling gives what the whole picture would, to float32 rounding.

    Attributes:
        model: what it restores with.
    """

    def __init__(self, model: keras.Model, tile_size: int = TILE, rgb: bool = False) -> None:
        """Args: the model, the side of an output tile, and whether its three channels are R, G and B."""
        self.model = model
        self._rgb = rgb
        self._channels = model.input_shape[-1]
        self._margin = border(model) // 2
        self._tile_size = tile_size
        signature = [tf.TensorSpec([None, None, None, self._channels], tf.float32)]
        self._forward = tf.function(
            lambda tiles: model(tiles, training=False), input_signature=signature, autograph=False
        )
        self._forward(np.zeros((1, 2 * self._margin + 1, 2 * self._margin + 1, self._channels), np.float32))

    def __call__(self, degraded: Floats) -> NDArray[np.float32]:
        """Restores one picture.

        Args:
            degraded: `(rows, cols, 1)` luma, or `(rows, cols, 3)` Y, Cb, Cr (of an RGB network: R, G, B), in [0, 1].

        Returns:
            float32 of the same shape, clipped to [0, 1]. A network of one channel restores the luma alone, and Cb
            and Cr stay as given; one of three channels restores all, and of a grey picture the luma.
        """
        if self._channels == 1:
            luma = self._restored(degraded[..., :1])
            return np.concatenate([luma, degraded[..., 1:].astype(np.float32).clip(0, 1)], axis=-1)
        restored = self._restored(in_colour(degraded, self._rgb))
        return restored if degraded.shape[-1] == 3 else luma_of(restored, rgb=self._rgb)[..., np.newaxis]

    def _restored(self, seen: Floats) -> NDArray[np.float32]:
        """What the network makes of all the channels that it sees, tile by tile, clipped to [0, 1]."""
        rows, cols = seen.shape[:2]
        pad = (self._margin, self._margin)
        padded = np.pad(seen.astype(np.float32), (pad, pad, (0, 0)), mode="edge")
        restored = np.empty(seen.shape, np.float32)
        for row, col in _tiles(rows, cols, self._tile_size):
            bottom = min(row + self._tile_size, rows)
            right = min(col + self._tile_size, cols)
            tile = padded[row : bottom + 2 * self._margin, col : right + 2 * self._margin]
            restored[row:bottom, col:right] = self._forward(tile[np.newaxis])[0]
        return restored.clip(0, 1)


def _tiles(rows: int, cols: int, size: int) -> Iterator[tuple[int, int]]:
    """Top left corner of each tile, row by row."""
    for row in range(0, rows, size):
        for col in range(0, cols, size):
            yield row, col


def score(image: Floats, original: Floats, config: Config) -> metrics.Score:
    """Scores the luma of a picture's channels, both `(rows, cols, channels)` in [0, 1], in the configuration's space.

    Raises:
        ValueError: the picture is too small; see `metrics.score`.
    """
    lumas = (to_uint8(luma_of(channels, config.studio_range, config.rgb)) for channels in (image, original))
    return metrics.score(*lumas, config.scale)

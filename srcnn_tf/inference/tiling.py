"""Runs the network on images of any size, tile by tile, with results independent of the tiling."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from srcnn_tf.config import Config
from srcnn_tf.images.color import Floats, channels_to_luma, to_three_channels
from srcnn_tf.inference.rounding import bfloat16_model
from srcnn_tf.model import border

BAND = 2**22  # pixels of a band, at most, except for a row of tiles one pixel high

# Returns the rows `begin` to `end` of an image: float `(rows, cols, channels)` in [0, 1].
ReadRows = Callable[[int, int], Floats]


class TiledModel:
    """Restores degraded images of any size; in float32, later changes of the model's weights take effect.

    The network has no padding: each tile is read with a margin of the pixels around it, and only at the image's edges
    pixels are replicated. So the result is that of the whole image, within float32 rounding.

    Attributes:
        model: the model it was made from.
    """

    def __init__(
        self, model: keras.Model, tile_size: int = Config.tile_size, rgb: bool = False, compute_dtype: str = "float32"
    ) -> None:
        """Compiles the model for tiles.

        Args:
            model: a model of `model.srcnn` in float32.
            tile_size: side of an output tile, in pixels.
            rgb: whether the model's three channels are R, G and B.
            compute_dtype: `float32`, or `bfloat16` for all layers but the last.
        """
        self.model = model
        self._rgb = rgb
        self._channels = model.input_shape[-1]
        self._margin = border(model) // 2
        self._tile_size = tile_size
        network = model if compute_dtype == "float32" else bfloat16_model(model)
        signature = [tf.TensorSpec([1, None, None, self._channels], tf.float32)]
        # A concrete function, as TensorFlow warns of functions that are traced again and again.
        self._network = tf.function(network, input_signature=signature, autograph=False).get_concrete_function()

    def __call__(self, degraded: Floats) -> NDArray[np.float32]:
        """Restores an image.

        Args:
            degraded: `(rows, cols, 1)` luma, or `(rows, cols, 3)` Y, Cb, Cr (for an RGB network R, G, B), in [0, 1].

        Returns:
            float32 of the same shape, clipped to [0, 1]. A network of one channel restores the luma, and Cb and Cr
            stay as they are; one of three channels restores all, and of a grey image the luma.

        Raises:
            MemoryError: a tile needs more memory than there is.
        """
        restored = np.empty(degraded.shape, np.float32)
        rows, cols = degraded.shape[:2]
        for begin, end, band in self.bands(rows, cols, lambda begin, end: degraded[begin:end]):
            restored[begin:end] = band
        return restored

    def bands(self, rows: int, cols: int, read_rows: ReadRows) -> Iterator[tuple[int, int, NDArray[np.float32]]]:
        """Restores an image in bands of rows, so that only one band is in memory in floating point.

        Args:
            rows: rows of the image.
            cols: columns of the image.
            read_rows: returns rows of the degraded image, see `__call__`; called twice for some of them.

        Yields:
            The first row of a band, the row after its last, and the restored band.
        """
        height = max(1, min(self._tile_size, BAND // cols))
        for begin in range(0, rows, height):
            end = min(begin + height, rows)
            top, bottom = max(begin - self._margin, 0), min(end + self._margin, rows)
            # Rows to replicate, which only the image's own edges need.
            above, below = self._margin - (begin - top), self._margin - (bottom - end)
            yield begin, end, self._restore_band(read_rows(top, bottom), above, below)

    def _restore_band(self, band: Floats, above: int, below: int) -> NDArray[np.float32]:
        """Restores a band read with its margin, of which `above` and `below` rows are to be replicated."""
        inner = band[self._margin - above : len(band) - self._margin + below].astype(np.float32).clip(0, 1)
        channels = band[..., :1] if self._channels == 1 else to_three_channels(band, self._rgb)
        sides = (self._margin, self._margin)
        padded = np.pad(channels.astype(np.float32), ((above, below), sides, (0, 0)), mode="edge")
        restored = np.empty((*inner.shape[:2], self._channels), np.float32)
        for left in range(0, inner.shape[1], self._tile_size):
            right = min(left + self._tile_size, inner.shape[1])
            tile = padded[np.newaxis, :, left : right + 2 * self._margin]
            try:
                restored[:, left:right] = self._network(tf.constant(tile))[0]
            except tf.errors.ResourceExhaustedError as error:
                raise MemoryError(f"for tiles of {self._tile_size} x {self._tile_size} pixels") from error
        restored = restored.clip(0, 1)
        if self._channels == 1:
            return np.concatenate([restored, inner[..., 1:]], axis=-1)
        return restored if inner.shape[-1] == 3 else channels_to_luma(restored, rgb=self._rgb)[..., np.newaxis]

"""Pictures of any size through the network, in bands of tiles; used wherever one is tested, measured or enlarged."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from srcnn_tf.config import Config
from srcnn_tf.forward import forward_precisely
from srcnn_tf.images import metrics
from srcnn_tf.images.color import Floats, in_colour, luma_of, to_uint8
from srcnn_tf.inference.rounding import rounded
from srcnn_tf.model import border

BAND = 2**22  # pixels of a band, at most, but for a row of tiles one pixel high

# Gives the rows from one to before another of a picture: float `(rows, cols, channels)` in [0, 1].
Rows = Callable[[int, int], Floats]


class Reconstructor:
    """Restores degraded pictures with a model, whose weights may change between calls (in float32).

    The network has no padding of its own: each tile is given the pixels around it, and only beyond the picture's
    edge are pixels replicated. So any tiling gives what the whole picture would, to float32 rounding.

    Attributes:
        model: what it restores with.
    """

    def __init__(
        self, model: keras.Model, tile_size: int = Config.tile_size, rgb: bool = False, dtype: tf.DType = tf.float32
    ) -> None:
        """Prepares a model of `model.srcnn`.

        Args:
            model: see above.
            tile_size: side of an output tile, in pixels.
            rgb: whether the model's three channels are R, G and B.
            dtype: what all layers but the last reckon in. Only in float32 are later changes of the weights seen.
        """
        self.model = model
        self._rgb = rgb
        self._channels = model.input_shape[-1]
        self._margin = border(model) // 2
        self._tile_size = tile_size
        weights = model.weights if dtype == tf.float32 else rounded(model.get_weights(), dtype.as_numpy_dtype)
        signature = [tf.TensorSpec([1, None, None, self._channels], tf.float32)]
        # A concrete one, as TensorFlow warns of functions that are made again and again.
        self._forward = tf.function(
            lambda tile: forward_precisely(weights, tile, dtype), input_signature=signature, autograph=False
        ).get_concrete_function()

    def __call__(self, degraded: Floats) -> NDArray[np.float32]:
        """Restores one picture.

        Args:
            degraded: `(rows, cols, 1)` luma, or `(rows, cols, 3)` Y, Cb, Cr (of an RGB network: R, G, B), in [0, 1].

        Returns:
            float32 of the same shape, clipped to [0, 1]. A network of one channel restores the luma alone, and Cb
            and Cr stay as given; one of three channels restores all, and of a grey picture the luma.
        """
        restored = np.empty(degraded.shape, np.float32)
        for begin, end, band in self.bands(*degraded.shape[:2], lambda begin, end: degraded[begin:end]):
            restored[begin:end] = band
        return restored

    def bands(self, rows: int, cols: int, degraded: Rows) -> Iterator[tuple[int, int, NDArray[np.float32]]]:
        """Restores a picture band by band, so that nothing but a band is ever there in floating point.

        Args:
            rows: of the picture.
            cols: of the picture.
            degraded: gives its rows; see `__call__`. It is asked for some of them twice.

        Yields:
            The first row of a band, the one after its last, and what `__call__` returns of them.
        """
        height = max(1, min(self._tile_size, BAND // cols))
        for begin in range(0, rows, height):
            end = min(begin + height, rows)
            top, bottom = max(begin - self._margin, 0), min(end + self._margin, rows)
            band = degraded(top, bottom)
            # Only at the picture's own edge is anything replicated.
            above, below = self._margin - (begin - top), self._margin - (bottom - end)
            yield begin, end, self._restored(band, above, below)

    def _restored(self, band: Floats, above: int, below: int) -> NDArray[np.float32]:
        """Restores a band that has the rows around it, but for those to be replicated above and below."""
        own = band[self._margin - above : len(band) - self._margin + below].astype(np.float32).clip(0, 1)
        seen = band[..., :1] if self._channels == 1 else in_colour(band, self._rgb)
        sides = (self._margin, self._margin)
        found = self._tiles(np.pad(seen.astype(np.float32), ((above, below), sides, (0, 0)), mode="edge"))
        if self._channels == 1:
            return np.concatenate([found, own[..., 1:]], axis=-1)
        return found if own.shape[-1] == 3 else luma_of(found, rgb=self._rgb)[..., np.newaxis]

    def _tiles(self, padded: NDArray[np.float32]) -> NDArray[np.float32]:
        """All channels of a padded band through the network, tile by tile, clipped to [0, 1]."""
        rows, cols = (side - 2 * self._margin for side in padded.shape[:2])
        found = np.empty((rows, cols, self._channels), np.float32)
        for left in range(0, cols, self._tile_size):
            right = min(left + self._tile_size, cols)
            tile = padded[np.newaxis, :, left : right + 2 * self._margin]
            found[:, left:right] = self._forward(tf.constant(tile))[0]
        return found.clip(0, 1)


def score(image: Floats, original: Floats, config: Config) -> metrics.Score:
    """Scores the luma of a picture's channels, both `(rows, cols, channels)` in [0, 1], in the configuration's space.

    Raises:
        ValueError: the picture is too small; see `metrics.score`.
    """
    lumas = (to_uint8(luma_of(channels, config.studio_range, config.rgb)) for channels in (image, original))
    return metrics.score(*lumas, config.scale)

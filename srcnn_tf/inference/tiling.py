"""Restores interpolated images of any size in tiles: for testing, and for upscaling with networks of three channels."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from srcnn_tf.devices import cores, map_in_threads
from srcnn_tf.images.color import Floats, channels_to_luma, to_three_channels
from srcnn_tf.inference.ensemble import oriented_models
from srcnn_tf.model import border

TILE = 160  # rows and columns of a tile of the large image: a fifth faster than 192, as its features fit the cache

# Returns the rows `begin` to `end` of an image: float `(rows, cols, channels)` in [0, 1].
ReadRows = Callable[[int, int], Floats]


class TiledModel:
    """Restores degraded images, one thread per core, each with its own tiles; later changes of weights take effect.

    The network has no padding: each tile is read with a margin of the pixels around it, and only at the image's edges
    pixels are replicated. So the result is that of the whole image, within float32 rounding.

    Attributes:
        model: the model it was made from.
    """

    def __init__(
        self, model: keras.Model, rgb: bool = False, tile_size: int = TILE, self_ensemble: bool = False
    ) -> None:
        """Compiles the model for tiles.

        Args:
            model: a model of `model.srcnn` in float32.
            rgb: whether the model's three channels are R, G and B.
            tile_size: side of an output tile, in pixels.
            self_ensemble: whether to average over the eight flips and transposes; of the weights as they are now.
        """
        self.model = model
        self._rgb = rgb
        self._channels = model.input_shape[-1]
        self._margin = border(model) // 2
        self._tile = tile_size
        signature = [tf.TensorSpec([1, None, None, self._channels], tf.float32)]
        # A concrete function, as TensorFlow warns of functions that are traced again and again.
        network = _mean_of(oriented_models(model)) if self_ensemble else model
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
        rows, cols = degraded.shape[:2]
        return np.concatenate(list(self.bands(rows, cols, lambda begin, end: degraded[begin:end])))

    def bands(self, rows: int, cols: int, read_rows: ReadRows) -> Iterator[NDArray[np.float32]]:
        """Restores an image in bands of rows; the next ones are computed while a band is used.

        Args:
            rows: rows of the image.
            cols: columns of the image.
            read_rows: returns rows of the degraded image, see `__call__`; called twice for some of them.

        Yields:
            The bands from top to bottom, `(any number of rows, cols, channels)`, see `__call__`.
        """
        margin, tile = self._margin, self._tile

        def tiles() -> Iterator[Floats]:
            for begin in range(0, rows, tile):
                lines = np.arange(begin - margin, min(begin + tile, rows) + margin).clip(0, rows - 1)
                band = read_rows(lines[0], lines[-1] + 1)[lines - lines[0]].astype(np.float32)
                for left in range(0, cols, tile):
                    yield band[:, np.arange(left - margin, min(left + tile, cols) + margin).clip(0, cols - 1)]

        results = map_in_threads(self._restore, tiles(), cores())
        for _ in range(0, rows, tile):
            yield np.concatenate([next(results) for _ in range(0, cols, tile)], axis=1)

    def _restore(self, tile: NDArray[np.float32]) -> NDArray[np.float32]:
        """Restores a tile that has a margin."""
        channels = tile[..., :1] if self._channels == 1 else to_three_channels(tile, self._rgb)
        try:
            restored = self._network(tf.constant(channels[np.newaxis]))[0].numpy().clip(0, 1)
        except tf.errors.ResourceExhaustedError as error:
            raise MemoryError(f"for tiles of {self._tile} x {self._tile} pixels") from error
        if self._channels == 1:
            others = tile[self._margin : -self._margin or None, self._margin : -self._margin or None, 1:]
            return np.concatenate([restored, others.clip(0, 1)], axis=-1)
        return restored if tile.shape[-1] == 3 else channels_to_luma(restored, rgb=self._rgb)[..., np.newaxis]


def _mean_of(models: list[keras.Model]) -> Callable[[tf.Tensor], tf.Tensor]:
    def mean(images: tf.Tensor) -> tf.Tensor:
        total = models[0](images)
        for model in models[1:]:
            with tf.control_dependencies([total]):  # one after another, as the features of all would leave the cache
                total += model(tf.identity(images))
        return total / len(models)

    return mean

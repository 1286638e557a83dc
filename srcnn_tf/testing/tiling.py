"""Restores interpolated images of any size in tiles, with TensorFlow."""

from __future__ import annotations

from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from srcnn_tf.images.color import Floats, channels_to_luma, to_three_channels
from srcnn_tf.layers import forward
from srcnn_tf.model import border
from srcnn_tf.spec import LUMA, ColorSpace
from srcnn_tf.system.threads import cores, map_in_threads
from srcnn_tf.upscaling.ensemble import oriented_weights

TILE = 160  # rows and columns of a tile: a fifth faster than 192, as its features fit the cache


class TiledModel:
    """Restores degraded images, one thread per core, each with its own tiles; later changes of weights take effect.

    The network has no padding: each tile is read with a margin of the pixels around it, and only at the image's edges
    pixels are replicated. So the result is that of the whole image, within float32 rounding.

    Attributes:
        model: the model it was made from.
        threads: how many tiles are computed at a time.
    """

    def __init__(
        self,
        model: keras.Model,
        space: ColorSpace = LUMA,
        tile_size: int = TILE,
        self_ensemble: bool = False,
        threads: int | None = None,
    ) -> None:
        """Compiles the model for tiles.

        Args:
            model: a model of `model.build_model`.
            space: what its channels are.
            tile_size: side of an output tile, in pixels.
            self_ensemble: whether to average over the eight flips and transposes; of the weights as they are now.
            threads: how many tiles to compute at a time. Default: as many as there are cores.
        """
        self.model, self.threads = model, threads or cores()
        self._space, self._channels = space, model.input_shape[-1]
        self._margin, self._tile = border(model) // 2, tile_size
        variables = [variable.value for variable in model.trainable_variables]
        networks = oriented_weights(model.get_weights()) if self_ensemble else [variables]

        def mean(images: tf.Tensor) -> tf.Tensor:
            total = forward(networks[0], images)
            for weights in networks[1:]:
                with tf.control_dependencies([total]):  # one after another: the features of all would leave the cache
                    total += forward([tf.constant(values) for values in weights], tf.identity(images))
            return total / len(networks)

        # A concrete function, as TensorFlow warns of functions that are traced again and again.
        signature = [tf.TensorSpec([1, None, None, self._channels], tf.float32)]
        self._network = tf.function(mean, input_signature=signature, autograph=False).get_concrete_function()

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
        (rows, cols), margin, side = degraded.shape[:2], self._margin, self._tile

        def tiles() -> Iterator[Floats]:
            for begin in range(0, rows, side):
                lines = np.arange(begin - margin, min(begin + side, rows) + margin).clip(0, rows - 1)
                for left in range(0, cols, side):
                    columns = np.arange(left - margin, min(left + side, cols) + margin).clip(0, cols - 1)
                    yield degraded[lines[:, np.newaxis], columns].astype(np.float32)

        results = map_in_threads(self._restore, tiles(), self.threads)
        bands = [np.concatenate([next(results) for _ in range(0, cols, side)], axis=1) for _ in range(0, rows, side)]
        return np.concatenate(bands)

    def _restore(self, tile: NDArray[np.float32]) -> NDArray[np.float32]:
        """Restores a tile that has a margin."""
        channels = tile[..., :1] if self._channels == 1 else to_three_channels(tile, self._space)
        try:
            restored = self._network(tf.constant(channels[np.newaxis]))[0].numpy().clip(0, 1)
        except tf.errors.ResourceExhaustedError as error:
            raise MemoryError(f"for tiles of {self._tile} x {self._tile} pixels") from error
        if self._channels == 1:
            others = tile[self._margin : -self._margin or None, self._margin : -self._margin or None, 1:]
            return np.concatenate([restored, others.clip(0, 1)], axis=-1)
        if tile.shape[-1] == 3:
            return restored
        return channels_to_luma(restored, self._space._replace(studio=False))[..., np.newaxis]

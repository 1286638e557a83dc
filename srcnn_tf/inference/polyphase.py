"""Upscales images by a whole factor, with bicubic interpolation and the first layer merged into one convolution.

SRCNN restores an image that bicubic interpolation has upscaled (Dong et al., TPAMI 2016, section 3.1). Interpolation
and the convolution of the first layer are both linear, and nothing is rounded between them. So together they are one
linear map from the small image to the features of the large one:

- Let s be the scale. The large pixel s*i + p, with phase p in 0..s-1, lies at u = i + (p + 0.5) / s - 0.5 of the small
  image, and bicubic interpolation makes it of the small pixels k with the weights keys(u - k), by Keys' kernel.
- The first layer weights the large pixels s*i + p + r around it, |r| <= f // 2, with a filter K of f rows. With the
  interpolation inserted, each phase has a filter of its own on the small image. In one dimension, let A[p, r, a] be the
  weight of the small pixel i + a in the large pixel s*i + p + r. In two, the filter of the phase (p, q) is
  G[p, q, a, b] = sum over r and c of A[p, r, a] A[q, c, b] K[r, c].
- So the features of all s*s phases are one convolution of the small image, with s*s times as many filters. For f = 9
  they have 8 x 8 taps at x2, 7 x 7 at x3 and 6 x 6 at x4, instead of 81. At even scales, phases are counted from the
  middle between two small pixels: then all of them have the same taps.
- A second layer of 1 x 1 pixels maps each phase's features where they are. Then the phases are interleaved to the
  large image, and the remaining layers follow as they are.

Colour is a residual. The conversion from YCbCr adds the same multiple of luma to R, G and B, and luma is all that the
network changes, so RGB = bicubic RGB + gain * (restored luma - bicubic luma).

Beyond its edges, the small image is mirrored. `tiling` repeats edge pixels instead: those of the small image for the
interpolation, and those of the large one for the network. Mirroring restores the edges better. The results differ only
in a frame: half the network's border (6 large pixels for 9-1-5, 8 for 9-5-5) and 1.5 small pixels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import DTypeLike, NDArray

from srcnn_tf.devices import cores, is_bfloat16_fast, map_in_threads
from srcnn_tf.images.color import LUMA_GAIN, luma_weights
from srcnn_tf.images.page import Pixels, channels_of
from srcnn_tf.images.resize import keys_kernel
from srcnn_tf.inference.ensemble import oriented_weights
from srcnn_tf.inference.tiling import TILE
from srcnn_tf.model import LAYERS, narrow_convolution


class PolyphaseModel:
    """Upscales grey and colour images in tiles that fit a core's cache, one thread per core, each with its own tiles.

    The result does not depend on the number of threads.
    """

    def __init__(
        self,
        model: keras.Model,
        scale: int,
        studio: bool = True,
        compute_dtype: str = "float32",
        tile_size: int = TILE,
        self_ensemble: bool = False,
    ) -> None:
        """Merges the interpolation into the first layer.

        Args:
            model: a model of `model.srcnn` with one channel; its weights are copied.
            scale: the upscaling factor.
            studio: whether the network restores studio-range luma, else full-range luma (see `images.color`).
            compute_dtype: `float32`, or `bfloat16` for all layers but the last.
            tile_size: side of a tile of the upscaled image, in pixels.
            self_ensemble: whether to average over the eight flips and transposes.
        """
        self._scale, self._tile, self._dtype = scale, max(1, tile_size // scale), tf.as_dtype(compute_dtype)
        self._luma, self._gain = luma_weights(studio), LUMA_GAIN if studio else 1.0
        trained = [values for name in LAYERS for values in model.get_layer(name).get_weights()]
        networks = oriented_weights(trained) if self_ensemble else [trained]
        sides = [len(kernel) for kernel in trained[::2]]

        # Several only for the self-ensemble: the merged filters, the bias tiled for the phases, the later layers.
        self._networks = []
        for first, bias, second, *later in networks:
            merged = merge_interpolation(first, scale, sum(side // 2 for side in sides[1:]))
            if self._dtype == tf.bfloat16:
                second = _rounded(second, self._dtype.as_numpy_dtype, np.maximum(0, first.sum((0, 1, 2)) / 2 + bias))
            self._networks.append((self._by_rows(merged.filters), np.tile(bias, scale), second, *later))
        self._margins, self._crop = merged.margins, merged.crop

        # Processors without bfloat16 emulate it slowly: there, values are rounded to it, but multiplied in float32.
        self._arithmetic = self._dtype if is_bfloat16_fast() else tf.float32

        # Bicubic interpolation of a tile's rows, or columns, with the small pixels from `_bicubic_begin` on.
        weights, bicubic_tap = _phase_weights(scale, 0, 1)
        taps, self._bicubic_begin = weights.shape[2], self._margins[0] + bicubic_tap
        self._bicubic = np.zeros((scale * self._tile, self._tile + taps - 1), np.float32)
        for tap in range(taps):
            self._bicubic += np.kron(np.eye(self._tile, self._tile + taps - 1, tap), weights[:, :, tap])
        self._upscale = tf.function(self._upscale_tile, autograph=False)

    def _by_rows(self, filters: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Returns a kernel per row of phases, as they are computed together: their features are a row of the image."""
        kernels = [row.transpose(1, 2, 3, 0, 4).reshape(*row.shape[1:3], 1, -1) for row in filters]
        if self._dtype == tf.bfloat16:
            kernels = [_rounded(kernel, tf.bfloat16.as_numpy_dtype, np.ones(1)) for kernel in kernels]
        return kernels

    def bands(self, pixels: Pixels) -> Iterator[NDArray]:
        """Upscales an image in bands of rows; the next ones are computed while a band is used.

        Args:
            pixels: `(rows, cols)` grey, or `(rows, cols, channels)` with 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGBA)
                channels; unsigned integers or floats in [0, 1]. Alpha is interpolated only.

        Yields:
            The bands from top to bottom, `(any number of rows, scale * cols, channels)`, of the same dtype, clipped.

        Raises:
            MemoryError: a tile needs more memory than there is.
        """
        rows, cols = pixels.shape[:2]
        channels = channels_of(pixels)
        dtype = np.dtype(np.float32) if pixels.dtype.kind == "f" else pixels.dtype
        signature = tf.TensorSpec([None, None, channels], dtype)
        # A concrete function, as TensorFlow warns of functions that are traced again and again.
        upscale = self._upscale.get_concrete_function(signature)
        before, after = self._margins

        def tiles() -> Iterator[NDArray]:
            for top in range(0, rows, self._tile):
                lines = _mirrored(top - before, min(top + self._tile, rows) + after, rows)
                band = pixels[lines.min() : lines.max() + 1][lines - lines.min()].astype(dtype, copy=False)
                band = band.reshape(len(lines), cols, channels)
                for left in range(0, cols, self._tile):
                    yield band[:, _mirrored(left - before, min(left + self._tile, cols) + after, cols)]

        def upscaled(tile: NDArray) -> NDArray:
            try:
                return upscale(tf.constant(tile)).numpy()
            except tf.errors.ResourceExhaustedError as error:
                side = self._scale * self._tile
                raise MemoryError(f"for tiles of {side} x {side} pixels") from error

        results = map_in_threads(upscaled, tiles(), cores())
        for _ in range(0, rows, self._tile):
            band = np.concatenate([next(results) for _ in range(0, cols, self._tile)], axis=1)
            yield band.astype(pixels.dtype, copy=False)

    def _upscale_tile(self, tile: tf.Tensor) -> tf.Tensor:
        """Upscales `(rows, cols, channels)` with margins: `(scale * rows, scale * cols, channels)` without them."""
        full = 1 if tile.dtype.is_floating else tile.dtype.max
        channels = tf.transpose(tf.cast(tile, tf.float32) / full, [2, 0, 1])
        colors = 3 if tile.shape[2] >= 3 else 1
        weights, offset, gain = (*self._luma, self._gain) if colors == 3 else (np.ones(1), 0.0, 1.0)
        weights = tf.constant(weights[:, np.newaxis, np.newaxis], tf.float32)
        luma = tf.reduce_sum(weights * channels[:colors], axis=0) + offset
        result = tf.clip_by_value(self._restore(luma), 0, 1)[tf.newaxis]
        if tile.shape[2] > 1:
            # tf.slice and tf.unstack, as each index with an unknown end adds ten nodes that take longer than those.
            _, rows, cols = tf.unstack(tf.shape(result))
            taps = self._bicubic.shape[1] - self._tile
            small_rows, small_cols = rows // self._scale + taps, cols // self._scale + taps
            by_rows = tf.slice(self._bicubic, [0, 0], [rows, small_rows])
            by_cols = tf.slice(self._bicubic, [0, 0], [cols, small_cols])
            begin = [0, self._bicubic_begin, self._bicubic_begin]
            channels = tf.slice(channels, begin, [channels.shape[0], small_rows, small_cols])
            bicubic = tf.matmul(by_rows @ channels, by_cols, transpose_b=True)
            residual = result - offset - tf.reduce_sum(weights * bicubic[:colors], axis=0)
            result = tf.concat([bicubic[:colors] + gain * residual, bicubic[colors:]], axis=0)
            result = tf.clip_by_value(result, 0, 1)
        result = tf.transpose(result, [1, 2, 0])
        return result if tile.dtype.is_floating else tf.cast(result * full + 0.5, tile.dtype)

    def _restore(self, luma: tf.Tensor) -> tf.Tensor:
        """Restores the luma `(rows, cols)` of a tile with margins: `(scale * rows, scale * cols)` without them."""
        total = self._restore_with(luma, *self._networks[0])
        for network in self._networks[1:]:
            with tf.control_dependencies([total]):  # one after another, as the features of all would leave the cache
                total += self._restore_with(tf.identity(luma), *network)
        return total / len(self._networks) if len(self._networks) > 1 else total

    def _restore_with(
        self,
        luma: tf.Tensor,
        kernels: list[NDArray],
        first_bias: NDArray,
        second: NDArray,
        second_bias: NDArray,
        last: NDArray,
        last_bias: NDArray,
    ) -> tf.Tensor:
        """Restores luma with one network, see `_restore`."""

        def rounded(values: NDArray | tf.Tensor) -> tf.Tensor:
            return tf.cast(tf.cast(values, self._dtype), self._arithmetic)

        def layer(images: tf.Tensor, kernel: NDArray, bias: NDArray) -> tf.Tensor:
            if kernel.shape[:2] == (1, 1):
                images, kernel = tf.reshape(images, [-1, kernel.shape[2]]), kernel[0, 0]
                sums = tf.matmul(images, rounded(kernel))
            else:
                sums = tf.nn.conv2d(images, rounded(kernel), 1, "VALID")
            return rounded(tf.nn.relu(tf.nn.bias_add(sums, rounded(bias))))

        small = rounded(luma)
        if self._dtype == tf.bfloat16:
            # The rounded luma, and the rest of it: most of the error would come from rounding the image.
            small = tf.stack([small, rounded(luma - tf.cast(small, luma.dtype))], axis=-1)[tf.newaxis]
            kernels = [np.repeat(kernel, 2, axis=2) for kernel in kernels]
        else:
            small = small[tf.newaxis, ..., tf.newaxis]
        phases: list[tf.Tensor] = []
        channels = second.shape[3 if len(second) == 1 else 2]
        for kernel in kernels:
            features = layer(small, kernel, first_bias)
            if not phases:
                _, small_rows, small_cols, _ = tf.unstack(tf.shape(features))
                rows, cols = self._scale * small_rows, self._scale * small_cols
            if len(second) == 1:
                features = layer(features, second, second_bias)
            phases.append(tf.reshape(features, [small_rows, cols, channels]))
        image = tf.reshape(tf.stack(phases, axis=1), [1, rows, cols, channels])
        if len(second) > 1:
            image = layer(image, second, second_bias)
        restored = narrow_convolution(tf.cast(image, tf.float32), tf.constant(last)) + last_bias
        restored = tf.squeeze(restored, [0, 3])
        begin, end = self._crop
        return tf.slice(restored, [begin, begin], tf.shape(restored) - (begin + end))


class Merged(NamedTuple):
    """Bicubic interpolation and a layer in one: for each phase, the filters on the small image.

    Attributes:
        filters: float32 `(scale, scale, taps, taps, c_in, c_out)`; the first two axes are the phases.
        margins: how many small pixels the filters need before and after the image, at each side, for the layers after
            this one to have all they need.
        crop: how many large pixels to leave out at the beginning and the end, after those layers.
    """

    filters: NDArray[np.float32]
    margins: tuple[int, int]
    crop: tuple[int, int]


def merge_interpolation(first: NDArray, scale: int, later: int) -> Merged:
    """Merges bicubic interpolation into the layer after it.

    Args:
        first: the kernel of the layer, `(side, side, c_in, c_out)`.
        scale: the upscaling factor.
        later: large pixels that the layers after this one take from each side.
    """
    shift = 0 if scale % 2 else scale // 2  # of phase 0, from the first large pixel of a small one
    weights, first_tap = _phase_weights(scale, shift, len(first))
    filters = np.einsum("pra,qcb,rcif->pqabif", weights, weights, first.astype(np.float64)).astype(np.float32)
    # Small pixels whose phases include the large ones that later layers take.
    before, after = -(-(later + shift) // scale), -(-(later - shift) // scale)
    margins = before - first_tap, after + first_tap + weights.shape[2] - 1
    return Merged(filters, margins, (scale * before - shift - later, scale * after + shift - later))


def _phase_weights(scale: int, shift: int, size: int) -> tuple[NDArray[np.float64], int]:
    """Returns the bicubic weights of the large pixels around each phase.

    Args:
        scale: the upscaling factor.
        shift: large pixels from the first one of a small pixel to phase 0.
        size: number of large pixels, odd; phase p has those from `shift + p - size // 2` on.

    Returns:
        `(scale, size, taps)` weights of as many small pixels, and the offset of the first one from the phases' own.
    """
    large = shift + np.arange(scale)[:, np.newaxis] + np.arange(size) - size // 2
    position = (large + 0.5) / scale - 0.5
    small = np.arange(math.floor(position.min()) - 1, math.floor(position.max()) + 3)
    weights = keys_kernel(position[..., np.newaxis] - small)
    used = np.flatnonzero(np.abs(weights).max(axis=(0, 1)) > 1e-12)
    return weights[..., used[0] : used[-1] + 1], int(small[used[0]])


def _mirrored(begin: int, end: int, size: int) -> NDArray[np.int64]:
    """Returns the indices from `begin` to before `end`, mirrored into an image of `size` pixels."""
    index = np.arange(begin, end) % (2 * size)
    return np.minimum(index, 2 * size - 1 - index)


def _rounded(kernel: NDArray[np.float32], dtype: DTypeLike, levels: NDArray) -> NDArray[np.float32]:
    """Rounds `(rows, cols, c_in, c_out)` to values that `dtype` holds; each error is added to the next tap.

    Rounded to the nearest each, the errors would add up where the image is smooth: up to 0.01 dB on Set5.

    Args:
        kernel: the kernel.
        dtype: the type to round to.
        levels: `(c_in,)` values of the inputs where the image is mid-grey; errors of inputs near 0 do not matter there.
    """
    result, error = kernel.astype(dtype).astype(np.float32), np.zeros(kernel.shape[3], np.float32)
    for channel in np.argsort(-levels):
        if levels[channel] < levels.max() / 8:
            break
        for row in range(len(kernel)):
            for col in range(kernel.shape[1])[:: 1 if row % 2 == 0 else -1]:
                wanted = kernel[row, col, channel] + error / levels[channel]
                result[row, col, channel] = wanted.astype(dtype)
                error = (wanted - result[row, col, channel]) * levels[channel]
    return result

"""Upscales images by a whole factor in tiles, one thread per core, each with its own tiles.

Colour is a residual. The channels of the network are a linear function of the image's colours, so that bicubic
interpolation, which is linear too, gives the same before and after it. What the network adds to its interpolated
channels is therefore added to the interpolated colours, by the inverse function:

    channels = to_channels @ colours + offset
    upscaled = bicubic(colours) + to_colors @ (network(channels) - bicubic(channels))

A network of luma adds the same multiple to R, G and B. One of three channels has a square matrix, and the formula is
then the conversion back. Alpha is interpolated only.

Beyond its edges, the small image is mirrored. `testing.tiling` repeats edge pixels instead: those of the small image
for the interpolation, and those of the large one for the network. Mirroring restores the edges better. The results
differ only in a frame: half the network's border (6 large pixels for 9-1-5, 8 for 9-5-5) and 1.5 small pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from srcnn_tf.images.color import channel_matrices
from srcnn_tf.images.page import Pixels, channels_of
from srcnn_tf.spec import ColorSpace
from srcnn_tf.system.threads import cores, map_in_threads, one_blas_thread
from srcnn_tf.upscaling.ensemble import oriented_weights
from srcnn_tf.upscaling.interpolation import interpolation_matrix, mirrored
from srcnn_tf.upscaling.network import PhaseNetwork

# Rows and columns of the largest tile of the upscaled image: its planes fit the cache, its margins are a few percent.
TILE = 512, 512
WIDE_TILE = 600, 768  # the same with a second layer of more than 1 x 1 pixels, whose margins take longer


class PolyphaseModel:
    """Upscales grey and colour images with one network. The result does not depend on the number of threads.

    Attributes:
        reach: how many small pixels away a result may depend on the image, along each axis.
    """

    def __init__(
        self,
        weights: Sequence[NDArray],
        scale: int,
        color: ColorSpace,
        tile_size: tuple[int, int] | None = None,
        self_ensemble: bool = False,
    ) -> None:
        """Merges the interpolation into the first layer.

        Args:
            weights: kernels and biases of the three layers, in turn, as `weights.store.read_weights` returns them.
            scale: the upscaling factor.
            color: what the channels of the network are.
            tile_size: rows and columns of the largest tile of the upscaled image. Default: what is fast.
            self_ensemble: whether to average over the eight flips and transposes.
        """
        tile_size = tile_size or (TILE if len(weights[2]) == 1 else WIDE_TILE)
        self._scale, self._color = scale, color
        self._tile_rows, self._tile_cols = (max(1, side // scale) for side in tile_size)
        oriented = oriented_weights(list(weights)) if self_ensemble else [weights]
        self._networks = [PhaseNetwork(values, scale) for values in oriented]
        largest = max(self._tile_rows, self._tile_cols)
        self._interpolation, first_tap = interpolation_matrix(scale, largest)
        self._taps = self._interpolation.shape[1] - largest  # small pixels that a tile of one needs besides it
        self._margins = before, _ = self._networks[0].margins
        self._first_tap = before + first_tap
        self.reach = max(self._margins)

    def bands(self, pixels: Pixels) -> Iterator[NDArray]:
        """Upscales an image in bands of rows; the next ones are computed while a band is used.

        Args:
            pixels: `(rows, cols)` grey, or `(rows, cols, channels)` with 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGBA)
                channels; unsigned integers or floats. Alpha is interpolated only, as is what floats are below 0 or
                above 1.

        Yields:
            The bands from top to bottom, `(any number of rows, scale * cols, channels)`, of the same dtype.
        """
        (rows, cols), scale = pixels.shape[:2], self._scale
        before, after = self._margins
        columns_of_tiles = equal_parts(cols, self._tile_cols)

        def tiles() -> Iterator[tuple[NDArray, NDArray, slice]]:
            """Yields each tile with margins, the band that it belongs to, and its columns there."""
            for top, bottom in equal_parts(rows, self._tile_rows):
                lines = mirrored(top - before, bottom + after, rows)
                small = pixels[lines.min() : lines.max() + 1][lines - lines.min()]
                small = small.reshape(len(lines), cols, channels_of(pixels))
                band = np.empty((scale * (bottom - top), scale * cols, small.shape[2]), pixels.dtype)
                for left, right in columns_of_tiles:
                    columns = slice(scale * left, scale * right)
                    yield small[:, mirrored(left - before, right + after, cols)], band, columns

        def upscale(item: tuple[NDArray, NDArray, slice]) -> NDArray:
            tile, band, columns = item
            band[:, columns] = self._upscale(tile).transpose(1, 2, 0)
            return band

        with one_blas_thread():
            count = len(columns_of_tiles)  # of tiles of a band, which is complete with the last one
            yield from islice(map_in_threads(upscale, tiles(), cores()), count - 1, None, count)

    def _upscale(self, tile: NDArray) -> NDArray[np.float32]:
        """Upscales `(rows, cols, channels)` with margins.

        Returns:
            float32 `(channels, scale * rows, scale * cols)` without margins: of floats, or, for integers, in
            their range plus 0.5, so that cutting them rounds.
        """
        is_float = tile.dtype.kind == "f"
        full = np.float32(1 if is_float else np.iinfo(tile.dtype).max)
        image = np.ascontiguousarray(tile.transpose(2, 0, 1), np.float32)
        outside = None
        if not is_float:
            image /= full
        elif image.min() < 0 or image.max() > 1:
            inside = image.clip(0, 1)
            image, outside = inside, image - inside
        count = 3 if len(image) >= 3 else 1
        to_channels, offset, to_colors = channel_matrices(self._color, count)
        if count == 1 and self._color.channels == "luma":  # without interpolating, as the inverse is all there is
            result = self._restore(to_channels * image[:1] + offset)
            if self._color.studio:
                result -= offset
                result *= to_colors
            if len(image) > 1:
                result = np.concatenate([result, self._interpolate(image[1:])])
        else:
            channels = (to_channels @ image[:count].reshape(count, -1) + offset).reshape(-1, *image.shape[1:])
            restored = self._restore(channels)
            shape = restored.shape[1:]
            result = self._interpolate(image)
            colors = result[:count].reshape(count, -1)
            residual = restored.reshape(len(restored), -1) - offset
            residual -= to_channels @ colors
            colors += to_colors @ residual
            result[:count] = colors.reshape(count, *shape)
        np.clip(result, 0, 1, out=result)
        if outside is not None:
            result += self._interpolate(outside)
        if not is_float:
            result *= full
            result += np.float32(0.5)  # halves are rounded up
        return result

    def _restore(self, channels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Restores the network's channels of a tile with margins, clipped to [0, 1]; the mean over all networks."""
        restored = self._networks[0](channels)
        for network in self._networks[1:]:
            restored += network(channels)
        if len(self._networks) > 1:
            restored /= np.float32(len(self._networks))
        return np.clip(restored, 0, 1, out=restored)

    def _interpolate(self, channels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Interpolates a tile with margins: rows by one matrix product, columns by another."""
        begin, margins = self._first_tap, sum(self._margins)
        rows, cols = (size - margins for size in channels.shape[1:])
        by_rows, by_cols = (self._interpolation[: self._scale * size, : size + self._taps] for size in (rows, cols))
        small = channels[:, begin : begin + rows + self._taps, begin : begin + cols + self._taps]
        return np.matmul(by_rows @ small, by_cols.T, dtype=np.float32)


def equal_parts(size: int, largest: int) -> list[tuple[int, int]]:
    """Returns where each of the fewest parts of at most `largest` begins and ends; they differ by at most one.

    With one narrow tile at the end of each band, a thread would compute its margins for little, and the last one alone.
    """
    count = -(-size // largest)
    return [(size * part // count, size * (part + 1) // count) for part in range(count)]

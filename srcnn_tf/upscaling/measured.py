"""Prepares measured data for the network and puts results back: value range, pixels without data, alpha bleed."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from srcnn_tf.images.page import Pixels, RowStream, band_rows, channels_of
from srcnn_tf.images.resize import fill_nearest, nearest
from srcnn_tf.images.value_range import ValueRange, dtype_range


class ScaledRows:
    """Rows of an image scaled to [0, 1], and what is needed to scale the upscaled rows back.

    Pixels without data (masked, NaN, infinite) are filled with the nearest data for the network, and become what they
    were, enlarged by nearest neighbour. Alpha is scaled by its own range.

    Attributes:
        rows: `(rows, cols, channels)` float32; values out of the range are below 0 or above 1.
    """

    def __init__(
        self,
        pixels: Pixels,
        values: ValueRange,
        mask: Pixels | None,
        nodata: float | None,
        reach: int,
        margin: int = 0,
    ) -> None:
        """Prepares the rows.

        Args:
            pixels: the image.
            values: its range.
            mask: see `Page.mask`.
            nodata: see `Page.nodata`.
            reach: how many pixels away a result may depend on the image.
            margin: pixels at each side of the image that the result does not have.
        """
        self._margin = margin
        self._pixels, self._values, self._mask, self._nodata = pixels, values, mask, nodata
        count = channels_of(pixels)
        self._colors = count - (count in (2, 4))
        # Rows with pixels without data, until they are put back: where they begin, the pixels, and which have none.
        self._without_data: deque[tuple[int, NDArray, NDArray[np.bool_]]] = deque()
        shape = (*pixels.shape[:2], count)
        if mask is None and pixels.dtype.kind != "f":
            self.rows = RowStream(shape, np.float32, (self._scale(band) for _, band in self._split()))
        else:
            flagged = RowStream((*shape[:2], count + 1), np.float32, self._flagged())
            filled = fill_transparent(flagged, reach)
            self.rows = RowStream(shape, np.float32, (band[..., :count] for band in split(filled)))

    def restore(self, band: NDArray[np.float32], begin: int, shape: tuple[int, ...]) -> NDArray:
        """Returns upscaled rows as values of the image's dtype.

        Args:
            band: `(rows, cols, channels)` float32; no band may begin above the one before it.
            begin: the first row.
            shape: of the whole upscaled image.
        """
        dtype = self._pixels.dtype
        parts = [self._values.unscale(band[..., : self._colors], dtype)]
        if self._colors < band.shape[2]:
            parts.append(dtype_range(dtype).unscale(band[..., self._colors :].clip(0, 1), dtype))
        restored = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-1)
        if self._nodata is not None:
            restored[restored == np.array(self._nodata, dtype)] = self._beside(self._nodata)
        self._put_back(restored, begin, shape)
        return restored

    def _beside(self, nodata: float) -> NDArray:
        """Returns the value next to the one for no data, which no data may get by chance."""
        dtype = self._pixels.dtype
        is_above = nodata <= (self._values.low + self._values.high) / 2
        if dtype.kind == "f":
            return np.nextafter(np.array(nodata, dtype), np.array(np.inf if is_above else -np.inf, dtype))
        return np.array(nodata + (1 if is_above else -1)).astype(dtype)

    def _split(self) -> Iterator[tuple[int, NDArray]]:
        begin = 0
        for band in split(self._pixels):
            yield begin, band.reshape(*band.shape[:2], -1)
            begin += len(band)

    def _scale(self, band: NDArray) -> NDArray[np.float32]:
        colors = self._values.scale(band[..., : self._colors])
        if self._colors == band.shape[2]:
            return colors
        alpha = dtype_range(band.dtype).scale(band[..., self._colors :])
        return np.concatenate([colors, alpha], axis=-1)

    def _flagged(self) -> Iterator[NDArray[np.float32]]:
        """Yields scaled bands with one more channel: 1 where there are data, 0 elsewhere."""
        for begin, band in self._split():
            has_data = np.isfinite(band).all(axis=-1)
            if self._mask is not None:
                has_data &= self._mask[begin : begin + len(band)]
            scaled = np.dstack([self._scale(np.where(has_data[..., np.newaxis], band, 0)), has_data])
            if not has_data.all():
                scaled[~has_data] = 0
                self._without_data.append((begin, band, ~has_data))
            yield scaled.astype(np.float32, copy=False)

    def _put_back(self, restored: NDArray, begin: int, shape: tuple[int, ...]) -> None:
        margin = self._margin
        rows = nearest(self._pixels.shape[0] - 2 * margin, shape[0])[begin : begin + len(restored)] + margin
        cols = nearest(self._pixels.shape[1] - 2 * margin, shape[1]) + margin
        for first, band, is_empty in list(self._without_data):
            if first + len(band) <= rows[0]:
                self._without_data.popleft()
            chosen = (rows >= first) & (rows < first + len(band))
            if chosen.any():
                taken = rows[chosen] - first
                where = np.zeros(restored.shape[:2], np.bool_)
                where[chosen] = is_empty[taken][:, cols]
                source = np.zeros_like(restored)
                source[chosen] = band[taken][:, cols]
                restored[where] = source[where]


def split(pixels: Pixels) -> Iterator[NDArray]:
    """Yields an image in bands of rows."""
    step = band_rows(pixels.shape, pixels.dtype)
    return (pixels[begin : begin + step] for begin in range(0, pixels.shape[0], step))


def fill_transparent(pixels: Pixels, reach: int) -> RowStream:
    """Gives fully transparent pixels the nearest visible colour, so that none bleeds into what is visible.

    Those further from any visible pixel than `reach`, along the diagonal, keep theirs, which may have a meaning: a
    texture has a height in alpha.
    """
    margin = math.ceil(math.sqrt(2) * reach)
    step = max(margin, band_rows(pixels.shape, pixels.dtype))

    def bands() -> Iterator[NDArray]:
        for begin in range(0, pixels.shape[0], step):
            first = max(0, begin - margin)
            part = pixels[first : begin + step + margin]
            filled = fill_nearest(part, part[..., -1] == 0, margin)
            if filled is not part:
                filled[..., -1] = part[..., -1]
            yield filled[begin - first : begin - first + step]

    return RowStream(pixels.shape, pixels.dtype, bands())

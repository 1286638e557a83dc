"""The three layers in NumPy, on the phases of the small image: every layer is matrix products, and nothing is padded.

The large image never exists between the layers. Its features are kept as planes of the size of the small image, one
for each feature of each phase: `(phases, phases, features, pixels)`, with the pixels of several rows in sequence. A
neighbour of a large pixel is then in the plane of another phase, at the same small pixel or at one beside it, which is
the same plane read from another position on. So a tap of a filter is a slice, and nothing is interleaved before the
end:

    fields   what the filters see of the small image, `(taps * taps, pixels)`
    features = max(0, filters merged with the interpolation @ fields + bias)      patch extraction
    mapped   = max(0, kernel @ features + bias)                                  non-linear mapping
    products = kernel @ mapped, which are shifted and added                      reconstruction

Three things make it as fast as the processor's matrix products. A few rows at a time go through all layers, so that
their features stay in the cache of a core. What is not a product is done in place, by operations of two whole arrays,
which NumPy vectorizes; the bias of the first layer is the weight of one more input, which is 1. And in the last layer,
all taps of a phase that lie in one small pixel are in one product, so that few planes are added.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from srcnn_tf.upscaling.interpolation import merge_interpolation

FEATURES_IN_CACHE = 3 * 2**16  # values of the first layer that are computed at a time: 0.75 MB
FEATURES_OF_WIDE_LAYER = 2**19  # the same before a wide layer, whose products take far longer than its memory


class Neighbours(NamedTuple):
    """The taps of a filter that lie in one row (or column) of small pixels, as seen from one phase.

    Attributes:
        phase: that of the output.
        offset: rows from its small pixel to theirs.
        sources: their phases.
        taps: their rows of the filter.
    """

    phase: int
    offset: int
    sources: slice
    taps: slice


def neighbours(scale: int, side: int) -> list[Neighbours]:
    """Lists the neighbours of each phase under a filter of `side` rows."""
    found = []
    for phase in range(scale):
        taps = [(*divmod(phase + tap - side // 2, scale), tap) for tap in range(side)]
        for offset, group in groupby(taps, key=lambda tap: tap[0]):
            members = list(group)
            (_, first, tap), count = members[0], len(members)
            found.append(Neighbours(phase, offset, slice(first, first + count), slice(tap, tap + count)))
    return found


class PhaseNetwork:
    """Restores the image that bicubic interpolation makes of a small one.

    Attributes:
        margins: how many small pixels it needs before and after those whose restored pixels it returns.
        channels: of the image, in and out.
    """

    def __init__(self, weights: Sequence[NDArray], scale: int) -> None:
        """Prepares the matrices.

        Args:
            weights: kernels `(side, side, c_in, c_out)` and biases `(c_out,)` of the three layers, in turn.
            scale: the upscaling factor.
        """
        first, first_bias, second, second_bias, last, last_bias = (values.astype(np.float64) for values in weights)
        self._scale, self.channels = scale, last.shape[3]
        merged = merge_interpolation(first, scale)
        self._shift, self._taps = merged.shift, merged.filters.shape[2]
        filters = merged.filters.transpose(0, 1, 5, 4, 2, 3).reshape(scale * scale * len(first_bias), -1)
        bias = np.tile(first_bias, scale * scale)[:, np.newaxis]
        self._extraction = np.concatenate([filters, bias], axis=1).astype(np.float32)

        # A layer of 1 x 1 pixels is one product for all phases.
        self._is_pointwise = len(second) == 1
        self._pointwise = np.ascontiguousarray(second[0, 0].T, np.float32)  # else not used
        self._wide = WideLayer(second, scale)
        self._second_bias = second_bias[:, np.newaxis].astype(np.float32)

        self._neighbours = neighbours(scale, len(last))
        count = len(self._neighbours)
        kernel = np.zeros((count, count, self.channels, scale, scale, last.shape[2]), np.float32)
        for index, row in enumerate(self._neighbours):
            for column, col in enumerate(self._neighbours):
                values = last[row.taps, col.taps].transpose(3, 0, 1, 2)
                kernel[index, column, :, row.sources, col.sources] = values
        self._reconstruction = kernel.reshape(count * count * self.channels, -1)
        self._last_bias = last_bias[:, np.newaxis].astype(np.float32)
        self._reach = max(0, -self._neighbours[0].offset), max(0, self._neighbours[-1].offset)

        # Phases are counted from `shift` on, so that the first pixels of the image are phases of the one before it.
        before, after = (sum(pair) for pair in zip(self._wide.reach, self._reach, strict=True))
        before += self._shift > 0
        self.margins = before - merged.first_tap, after + merged.first_tap + self._taps - 1

    def __call__(self, small: NDArray[np.float32]) -> NDArray[np.float32]:
        """Restores `(channels, rows, cols)` with margins: `(channels, scale * rows, scale * cols)` without them."""
        scale, taps, (before, after) = self._scale, self._taps, self._wide.reach
        views = np.lib.stride_tricks.sliding_window_view(small, (taps, taps), axis=(1, 2)).transpose(0, 3, 4, 1, 2)
        rows, cols = views.shape[-2:]
        inputs, outputs = self._extraction.shape[1], len(self._extraction) // scale**2
        values = FEATURES_IN_CACHE if self._is_pointwise else FEATURES_OF_WIDE_LAYER
        step = min(rows, math.ceil(values / (len(self._extraction) * cols)))
        bias = np.repeat(self._second_bias, step * cols, axis=1)
        zeros = np.zeros((outputs, step * cols), np.float32)
        products = np.empty((len(self._reconstruction), (rows - before - after) * cols), np.float32)
        sums = None if self._is_pointwise else self._wide.zeros(step, cols)
        workspace = Workspace()
        for begin in range(0, rows, step):
            view = views[..., begin : begin + step, :]
            count = view.shape[-2] * cols  # of small pixels
            fields = workspace("fields", inputs, count)
            fields[-1] = 1
            fields[:-1].reshape(view.shape)[:] = view
            features = workspace("features", scale * scale * outputs, count)
            np.matmul(self._extraction, fields, out=features)
            features = features.reshape(scale, scale, outputs, count)
            np.maximum(features, zeros[:, :count], out=features)
            mapped = workspace("mapped", scale, scale, len(bias), count)
            if sums is None:
                np.matmul(self._pointwise, features, out=mapped)
            else:
                self._wide(features, sums, mapped, cols, workspace)
            mapped += bias[:, :count]
            np.maximum(mapped, zeros[: len(bias), :count], out=mapped)
            # The rows of `mapped` end `after` rows above those of the fields; its first ones are not complete.
            end = (begin - before - after) * cols + count
            complete = min(end, count)
            if complete > 0:
                products[:, end - complete : end] = self._reconstruction @ mapped.reshape(-1, count)[:, -complete:]
        return self._add_products(products, cols)

    def _add_products(self, products: NDArray[np.float32], cols: int) -> NDArray[np.float32]:
        """Adds the products of the last layer for the taps of each phase, and interleaves the phases."""
        scale, count, (before, after) = self._scale, len(self._neighbours), self._reach
        products = products.reshape(count, count, self.channels, -1)
        pixels = products.shape[-1] - (before + after) * (cols + 1)
        restored = np.empty((scale, scale, self.channels, products.shape[-1]), np.float32)
        restored[:] = self._last_bias
        for row, planes in zip(self._neighbours, products, strict=True):
            for col, plane in zip(self._neighbours, planes, strict=True):
                begin = (before + row.offset) * cols + before + col.offset
                restored[row.phase, col.phase, :, :pixels] += plane[:, begin : begin + pixels]

        # Without the last rows and columns, for which there are no neighbours.
        sides = self._wide.reach
        phases: NDArray[np.float32] = restored.reshape(scale, scale, self.channels, -1, cols)
        phases = phases[..., : phases.shape[3] - before - after, sides[0] : cols - sides[1] - before - after]
        large = np.empty((self.channels, scale * phases.shape[3], scale * phases.shape[4]), np.float32)
        for row_phase in range(scale):  # several times as fast as a transposition
            for col_phase in range(scale):
                large[:, row_phase::scale, col_phase::scale] = phases[row_phase, col_phase]
        begin = scale - self._shift if self._shift else 0
        return large[:, begin : large.shape[1] - self._shift, begin : large.shape[2] - self._shift]


class Workspace:
    """Arrays that are used again: memory that is new to a process takes longer to write than the products in it."""

    def __init__(self) -> None:
        self._arrays: dict[str, NDArray[np.float32]] = {}

    def __call__(self, name: str, *shape: int) -> NDArray[np.float32]:
        """Returns the array of a name with a shape, and values of earlier uses; the first use has the largest shape."""
        if name not in self._arrays:
            self._arrays[name] = np.zeros(math.prod(shape), np.float32)
        return self._arrays[name][: math.prod(shape)].reshape(shape)


class WideLayer:
    """A layer of more than 1 x 1 pixels and many features, on the phases.

    The features of the neighbours in a row of the filter are copied below each other, so that one product has all of
    them. It has the features for each row of the filter, which are added to the rows that they belong to.

    Attributes:
        reach: how many small pixels it needs before and after.
    """

    def __init__(self, kernel: NDArray, scale: int) -> None:
        """Prepares the matrices of a kernel `(side, side, c_in, c_out)`."""
        self._scale, self._side = scale, len(kernel)
        self._c_in, self._c_out = kernel.shape[2:]
        found = neighbours(scale, self._side)
        self.reach = max(0, -found[0].offset), max(0, found[-1].offset)
        self._columns = [[col for col in found if col.phase == phase] for phase in range(scale)]
        # For each source phase: a matrix; and, by the offset to it, the phases that it is a neighbour of, and which
        # of the products are for them.
        self._rows: list[list[tuple[int, slice, slice]]] = []
        self._matrices = []
        for source in range(scale):
            taps = sorted(
                (row.offset, row.phase, row.taps.start + source - row.sources.start)
                for row in found
                if row.sources.start <= source < row.sources.stop
            )
            groups, begin = [], 0
            for offset, group in groupby(taps, lambda tap: tap[0]):
                phases = [phase for _, phase, _ in group]
                end = begin + len(phases)
                groups.append((offset, slice(phases[0], phases[-1] + 1), slice(begin, end)))
                begin = end
            self._rows.append(groups)
            matrix = kernel[[tap for _, _, tap in taps]].transpose(0, 3, 1, 2)
            self._matrices.append(np.ascontiguousarray(matrix.reshape(-1, self._side * self._c_in), np.float32))

    def zeros(self, rows: int, cols: int) -> NDArray[np.float32]:
        """Returns the sums that `__call__` adds to, for at most so many rows at a time."""
        return np.zeros((self._scale, self._scale, self._c_out, (rows + sum(self.reach)) * cols), np.float32)

    def __call__(self, features: NDArray, sums: NDArray, mapped: NDArray, cols: int, workspace: Workspace) -> None:
        """Adds the next rows of features to the sums, and takes out as many rows, which are complete.

        Args:
            features: `(scale, scale, c_in, pixels)`.
            sums: those of the call before; they are changed.
            mapped: is set to the rows that are taken out, `(scale, scale, c_out, pixels)`. They end `reach[1]` above
                those of the features. In the first `sum(reach)` rows of all, and in the outer columns, sums are not
                complete.
            cols: pixels in a row.
            workspace: arrays of earlier calls.
        """
        count, halo = features.shape[-1], sum(self.reach) * cols
        side_by_side = workspace("side by side", self._side, self._c_in, count)
        for phase, columns in enumerate(self._columns):
            for source, (matrix, rows) in enumerate(zip(self._matrices, self._rows, strict=True)):
                for col in columns:
                    begin, end = max(0, -col.offset), count - max(0, col.offset)
                    shifted = features[source, col.sources, :, begin + col.offset : end + col.offset]
                    side_by_side[col.taps, :, begin:end] = shifted
                products = workspace("products", len(matrix) // self._c_out, self._c_out, count)
                np.matmul(matrix, side_by_side.reshape(-1, count), out=products.reshape(-1, count))
                for offset, phases, of_phases in rows:
                    begin = (self.reach[1] - offset) * cols
                    sums[phases, phase, :, begin : begin + count] += products[of_phases]
        mapped[:] = sums[..., :count]
        sums[..., :halo] = sums[..., count : count + halo]
        sums[..., halo:] = 0

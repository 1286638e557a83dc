"""The geometric self-ensemble of Lim et al. (EDSR, CVPRW 2017, section 3.4): the mean over flips and transposes.

An image is flipped or transposed in one of eight ways, restored, and put back. For convolutions that is the same as to
flip or transpose the filters instead. So the ensemble is eight networks that see the image as it is, and tiles, bands
and what happens at the edges stay what they are for one.
"""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray

# Flips and transposes: the steps through rows and columns, and whether these are exchanged afterwards.
ORIENTATIONS = tuple(product((1, -1), (1, -1), (False, True)))


def oriented_weights(weights: list[NDArray]) -> list[list[NDArray]]:
    """Returns the weights of the eight networks of the ensemble; the first ones are those given.

    Args:
        weights: kernels `(side, side, c_in, c_out)` and biases `(c_out,)`.
    """

    def oriented(values: NDArray, rows: int, cols: int, is_transposed: bool) -> NDArray:
        if values.ndim != 4:
            return values
        values = values[::rows, ::cols]
        return np.ascontiguousarray(values.swapaxes(0, 1) if is_transposed else values)

    return [[oriented(values, *orientation) for values in weights] for orientation in ORIENTATIONS]

"""The size of an upscaled image, and the whole factors it is made by."""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache
from itertools import combinations_with_replacement

from srcnn_tf.config import LARGEST_SCALE
from srcnn_tf.errors import RunError


@lru_cache  # fractions are slow, and images of a folder often have one size
def scaled_size(
    rows: int, cols: int, scale: float, width: int | None = None, height: int | None = None
) -> tuple[int, int]:
    """Returns the rows and columns of the upscaled image; halves are rounded up.

    Args:
        rows: of the image.
        cols: of the image.
        scale: the factor, if there is neither width nor height.
        width: the largest number of columns. With a width or a height, the result is the largest image of the same
            aspect ratio that fits both.
        height: the largest number of rows.

    Raises:
        RunError: see `upscaling_factor`.
    """
    limits = [Fraction(limit, side) for limit, side in ((height, rows), (width, cols)) if limit]
    factor = min(limits, default=Fraction(str(scale)))  # as written: 1.1 is 11/10
    size = math.floor(factor * rows + Fraction(1, 2)), math.floor(factor * cols + Fraction(1, 2))
    upscaling_factor((rows, cols), size)
    return size


@lru_cache
def upscaling_factor(size: tuple[int, int], target: tuple[int, int]) -> Fraction:
    """Returns how many times as large an image gets, along the axis along which it grows most.

    Args:
        size: rows and columns of the image.
        target: those wanted.

    Raises:
        RunError: the image would become smaller, or more than LARGEST_SCALE times as large.
    """
    factors = [Fraction(new, old) for new, old in zip(target, size, strict=True)]
    if min(factors) < 1 or max(factors) > LARGEST_SCALE:
        raise RunError(
            f"An image of {size[1]} x {size[0]} pixels cannot be upscaled to {target[1]} x {target[0]}: expected a "
            f"size from its own to {LARGEST_SCALE} times its own; give another scale, width or height."
        )
    return max(factors)


@lru_cache
def factors_of_passes(factor: float | Fraction) -> tuple[int, ...]:
    """Returns whole factors of 2 to 4, the largest first, whose product is the smallest one not below `factor`.

    Of several such products, the one of the fewest: x4 is not x2 twice. Nothing is needed for a factor of 1.
    """
    counts = range(1 + math.ceil(math.log2(LARGEST_SCALE)))
    choices = [choice for count in counts for choice in combinations_with_replacement((4, 3, 2), count)]
    return min((choice for choice in choices if math.prod(choice) >= factor), key=lambda c: (math.prod(c), len(c)))

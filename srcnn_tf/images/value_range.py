"""Which values of measured data become 0 and 1, between which the network works, and how results are scaled back."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import DTypeLike, NDArray

from srcnn_tf.config import parse_value_range
from srcnn_tf.errors import RunError

Setting = str | tuple[float, float] | None  # of `--value_range`
MIN_FILLED = 0.25  # part of a declared range that the data fill, for it to be used
DTYPES = ("uint8", "uint16", "uint32", "int8", "int16", "int32", "float16", "float32", "float64")  # that are upscaled


@dataclass(frozen=True)
class ValueRange:
    """The values that become 0 and 1, and those that a result may have.

    Attributes:
        low: the value that becomes 0.
        high: the value that becomes 1; that of data with one value only is `low`.
        limits: smallest and largest value of a result. Values out of `low` to `high` are kept, and interpolated only.
        words: where the range is from, for messages.
        is_of_data: whether these are the smallest and the largest value of the data.
    """

    low: float
    high: float
    limits: tuple[float, float]
    words: str
    is_of_data: bool = False

    def __str__(self) -> str:
        """Returns it for messages."""
        return f"{self.low:.6g} to {self.high:.6g} ({self.words})"

    def is_filled(self, least: float, largest: float) -> bool:
        """Tells whether data with these extremes fill enough of it for the network to work well."""
        return min(self.high, largest) - max(self.low, least) >= MIN_FILLED * (self.high - self.low)

    def scale(self, pixels: NDArray) -> NDArray[np.float32]:
        """Scales values to float32, `low` to 0 and `high` to 1."""
        values = pixels.astype(_wide(pixels.dtype))
        values -= self.low
        values /= (self.high - self.low) or 1
        return values.astype(np.float32, copy=False)

    def unscale(self, scaled: NDArray[np.float32], dtype: DTypeLike) -> NDArray:
        """Scales values back, clips them to `limits`, and rounds integers half up."""
        dtype = np.dtype(dtype)
        values = scaled.astype(_wide(dtype))
        values *= self.high - self.low
        values += self.low
        values.clip(*self.limits, out=values)
        return np.floor(values + 0.5).astype(dtype) if dtype.kind in "iu" else values.astype(dtype, copy=False)


def _wide(dtype: np.dtype) -> type[np.floating]:
    """Returns a dtype that keeps the values; float32 has 24 bits of precision."""
    return np.float32 if dtype.itemsize <= 2 else np.float64


def dtype_limits(dtype: DTypeLike) -> tuple[float, float]:
    """Returns the smallest and the largest value of a dtype."""
    dtype = np.dtype(dtype)
    info = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
    return float(info.min), float(info.max)


def dtype_range(dtype: DTypeLike) -> ValueRange:
    """Returns the range of a dtype, 0 to 1 of floats."""
    dtype = np.dtype(dtype)
    low, high = (0.0, 1.0) if dtype.kind == "f" else dtype_limits(dtype)
    return ValueRange(low, high, dtype_limits(dtype), "all of its dtype")


def fixed_range(setting: Setting, dtype: DTypeLike) -> ValueRange | None:
    """Returns the range that does not depend on the values; None if it does.

    Args:
        setting: that of `--value_range`. By default, 8 bits have all of their range.
        dtype: of the pixels.

    Raises:
        UsageError: there is no such setting.
    """
    dtype, parsed = np.dtype(dtype), parse_value_range(setting)
    if parsed == "dtype" or (parsed is None and dtype.itemsize == 1):
        return dtype_range(dtype)
    if isinstance(parsed, tuple):
        return ValueRange(*parsed, dtype_limits(dtype), "--value_range")
    return None


def data_range(low: float, high: float) -> ValueRange:
    """Returns the range of data whose smallest and largest values these are, in which results stay.

    Raises:
        RunError: the values are too far apart for floats of 64 bits.
    """
    if not np.isfinite(high - low):
        raise RunError(f"its values, {low:g} to {high:g}, are too far apart; give --value_range=LOW,HIGH.")
    return ValueRange(low, high, (low, high), "smallest and largest value", is_of_data=True)


def within(values: ValueRange, limits: tuple[float, float] | None) -> ValueRange:
    """Returns a range whose results stay within other limits, too."""
    if limits is None:
        return values
    low, high = (float(np.clip(value, *limits)) for value in values.limits)
    return replace(values, limits=(low, high))


def extremes(pixels: NDArray, mask: NDArray[np.bool_] | None = None) -> tuple[float, float]:
    """Returns the smallest and the largest finite value; infinity and minus infinity if there is none.

    Args:
        pixels: `(rows, cols)` or `(rows, cols, channels)`; of 2 or 4 channels, the last is alpha, and does not count.
        mask: `(rows, cols)`, False where there are no data.
    """
    if pixels.ndim == 3 and pixels.shape[2] in (2, 4):
        visible = pixels[..., -1] > 0
        mask = visible if mask is None else mask & visible
        pixels = pixels[..., :-1]
    values = pixels if mask is None else pixels[mask]
    if pixels.dtype.kind == "f":
        finite = np.isfinite(values)
        values = values if finite.all() else values[finite]
    return (float(values.min()), float(values.max())) if values.size else (np.inf, -np.inf)

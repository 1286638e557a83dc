"""Which values of measured data become 0 and 1, between which the network works, and how results are scaled back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import DTypeLike, NDArray

from srcnn_tf.config import parse_value_range
from srcnn_tf.errors import RunError

Setting = str | tuple[float, float] | None  # of `--value_range`
MIN_FILLED = 0.25  # part of a declared range, or of that from the smallest to the largest value, that the data fill
OUTLIERS = 0.001  # part of the values at each end that the range may leave out
MAX_GAP = 0.9  # part of the range of data in which there is no value; one for missing data, not declared, causes more
PART_SAMPLE = 10_000  # values, about, of each part of an image
DTYPES = ("uint8", "uint16", "uint32", "int8", "int16", "int32", "float16", "float32", "float64")  # that are upscaled


@dataclass(frozen=True)
class ValueRange:
    """The values that become 0 and 1, and those that a result may have.

    Attributes:
        low: the value that becomes 0.
        high: the value that becomes 1; that of data with one value only is `low`.
        limits: smallest and largest value of a result. Values out of `low` to `high` are kept, and interpolated only.
        words: where the range is from, for messages.
        is_of_data: whether it is determined by the data, whose smallest and largest value are the limits.
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


def data_range(low: float, high: float, least: float | None = None, largest: float | None = None) -> ValueRange:
    """Returns the range of data, in which results stay.

    Args:
        low: the smallest value that counts.
        high: the largest one.
        least: the smallest one of all, if it is another.
        largest: the largest one of all.

    Raises:
        RunError: the values are too far apart for floats of 64 bits.
    """
    limits = low if least is None else least, high if largest is None else largest
    if not np.isfinite(limits[1] - limits[0]):
        raise RunError(f"its values, {limits[0]:g} to {limits[1]:g}, are too far apart; give --value_range=LOW,HIGH.")
    words = "smallest and largest value"
    if limits != (low, high):
        words = f"nearly all values, without single ones of {limits[0]:.6g} to {limits[1]:.6g}"
    return ValueRange(low, high, limits, words, is_of_data=True)


def range_of(parts: Iterable[NDArray], setting: Setting = None) -> ValueRange | None:
    """Returns the range of an image's values; None if it has none.

    It is from the smallest to the largest one. By default, single values far from all others, as of a hot pixel or of
    metal, do not count: the network would see an image with hardly any contrast.

    Args:
        parts: the values that count, see `finite_values`, in any number of parts.
        setting: that of `--value_range`.
    """
    least, largest, samples = np.inf, -np.inf, list[NDArray]()
    for values in parts:
        if values.size:
            least, largest = min(least, float(values.min())), max(largest, float(values.max()))
            samples.append(values.ravel()[:: max(1, values.size // PART_SAMPLE)])
    if not samples:
        return None
    whole = data_range(least, largest)
    sample = np.sort(np.concatenate(samples).astype(np.float64))
    left_out = int(OUTLIERS * sample.size)
    low, high = float(sample[left_out]), float(sample[-1 - left_out])
    if setting is None and 0 < high - low < MIN_FILLED * (largest - least):
        margin = (high - low) / 2  # the ends of what is no outlier; data that fill half of a range gain as much
        return data_range(max(least, low - margin), min(largest, high + margin), least, largest)
    place = int(np.argmax(np.diff(sample))) if sample.size > 1 else 0
    low, high = float(sample[place]), float(sample[min(place + 1, sample.size - 1)])
    # A mask of two values is no case of it.
    if high - low > MAX_GAP * (largest - least) and max(low - least, largest - high) > 0:
        remark = f", and none between {low:.6g} and {high:.6g}: is one a value for missing data? Declare it"
        return replace(whole, words=whole.words + remark)
    return whole


def within(values: ValueRange, limits: tuple[float, float] | None) -> ValueRange:
    """Returns a range whose results stay within other limits, too."""
    if limits is None:
        return values
    low, high = (float(np.clip(value, *limits)) for value in values.limits)
    return replace(values, limits=(low, high))


def finite_values(pixels: NDArray, mask: NDArray[np.bool_] | None = None) -> NDArray:
    """Returns the finite values of all colours where there are data, in no particular shape.

    Args:
        pixels: `(rows, cols)` or `(rows, cols, channels)`; of 2 or 4 channels, the last is alpha, and does not count.
        mask: `(rows, cols)`, False where there are no data.
    """
    if pixels.ndim == 3 and pixels.shape[2] in (2, 4):
        visible = pixels[..., -1] > 0
        mask = visible if mask is None else mask & visible
        pixels = pixels[..., :-1]
    values = pixels if mask is None else pixels[mask]
    return values[np.isfinite(values)] if pixels.dtype.kind == "f" else values

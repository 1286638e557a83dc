"""What identifies a network: weights are interchangeable where all of this is the same."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import NamedTuple

from srcnn_tf.errors import UsageError

DEGRADATIONS = ("scipy", "matlab", "jpeg", "jpeg90")
JPEG_QUALITIES = {"jpeg": 80, "jpeg90": 90}  # degradations with compression: the quality of their tests
COLOR_SPACES = ("ycbcr", "rgb")


class ColorSpace(NamedTuple):
    """What a network's channels are.

    Attributes:
        channels: `luma`, `ycbcr` or `rgb`.
        studio: whether luma and chroma are in the paper's range, where white has the luma 235, and not in the
            reference's, where it has 255.
    """

    channels: str = "luma"
    studio: bool = False


LUMA = ColorSpace()  # the reference's


@dataclass(frozen=True)
class NetworkSpec:
    """Scale, degradation, architecture, number of filters, and colour space of a network.

    The fields have the names and the values of the flags.

    Raises:
        UsageError: a value is none of the flag's, or two do not fit together.
    """

    scale: int = 3
    degradation: str = "scipy"
    architecture: str = "9-1-5"
    filters: str = "64,32"
    c_dim: int = 1
    color_space: str = "ycbcr"

    def __post_init__(self) -> None:
        """Checks all values but the scale, whose limits depend on its use."""
        # An even filter would put the label half a pixel beside the centre of its input.
        if not re.fullmatch(r"([1-9]?[13579])-([1-9]?[13579])-([1-9]?[13579])", self.architecture, re.ASCII):
            raise UsageError(
                f"--architecture={self.architecture}: expected three odd filter sizes, such as 9-1-5 or 9-5-5."
            )
        if not re.fullmatch(r"[1-9][0-9]{0,3},[1-9][0-9]{0,3}", self.filters, re.ASCII):
            raise UsageError(f"--filters={self.filters}: expected two counts from 1 to 9999, such as 64,32.")
        if self.degradation not in DEGRADATIONS:
            raise UsageError(f"--degradation={self.degradation}: expected one of {', '.join(DEGRADATIONS)}.")
        if self.color_space == "rgb" and self.c_dim == 1:
            raise UsageError("--color_space=rgb needs --c_dim=3: a network of one channel restores luma.")

    @property
    def filter_sizes(self) -> tuple[int, int, int]:
        """Filter sizes of the three layers, in pixels: `(9, 1, 5)` for 9-1-5."""
        first, second, third = map(int, self.architecture.split("-"))
        return first, second, third

    @property
    def filter_counts(self) -> tuple[int, int]:
        """Number of filters in the first two layers: `(64, 32)`."""
        first, second = map(int, self.filters.split(","))
        return first, second

    @property
    def border(self) -> int:
        """Rows, and columns, by which the output of the three unpadded layers is smaller than their input."""
        return sum(size - 1 for size in self.filter_sizes)

    @property
    def color(self) -> ColorSpace:
        """What the network's channels are; only `scipy` has the reference's full range."""
        return ColorSpace("luma" if self.c_dim == 1 else self.color_space, self.degradation != "scipy")

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Shapes of the kernels and biases of the three layers, in turn."""
        counts = (self.c_dim, *self.filter_counts, self.c_dim)
        layers = zip(self.filter_sizes, counts, counts[1:], strict=False)
        return [shape for size, c_in, c_out in layers for shape in ((size, size, c_in, c_out), (c_out,))]

    @property
    def name(self) -> str:
        """The scale, the degradation, and what is not the default: `srcnn_x3_matlab_9-5-5`."""
        words = [f"srcnn_x{self.scale}_{self.degradation}"]
        if self.architecture != NetworkSpec.architecture:
            words.append(self.architecture)
        if self.filters != NetworkSpec.filters:
            words.append(self.filters.replace(",", "-"))
        if self.c_dim == 3:
            words.append(self.color_space)
        return "_".join(words)

    @property
    def flags(self) -> str:
        """The flags that describe it: `--scale=3 --degradation=matlab ...`."""
        names = [field.name for field in fields(self) if field.name != "color_space" or self.c_dim == 3]
        return " ".join(f"--{name}={getattr(self, name)}" for name in names)


class Compression(NamedTuple):
    """JPEG compression of an image: the quality, 1 to 100, and the rows and columns that its first blocks lack."""

    quality: int
    block_offset: tuple[int, int] = (0, 0)

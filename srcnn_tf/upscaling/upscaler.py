"""Upscales an image to any size: by one or several networks, each with its weights, and a reduction at the end."""

from __future__ import annotations

import math
import os
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from fractions import Fraction
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from srcnn_tf.config import Config
from srcnn_tf.images.page import Pixels, RowStream, band_rows, channels_of
from srcnn_tf.images.resize import resized_bands, wrapped
from srcnn_tf.images.value_range import ValueRange, dtype_range
from srcnn_tf.spec import JPEG_QUALITIES, ColorSpace, NetworkSpec
from srcnn_tf.upscaling.measured import ScaledRows, fill_transparent, split
from srcnn_tf.upscaling.polyphase import PolyphaseModel
from srcnn_tf.upscaling.sizes import factors_of_passes, upscaling_factor
from srcnn_tf.weights.search import WeightsSearch, shipped_weights
from srcnn_tf.weights.store import find_weights, from_bytes, to_bytes

ALPHA_REACH = 2  # pixels from a visible one up to which bicubic interpolation makes alpha that is not 0
REDUCTION_REACH = 3  # pixels of the image that an antialiased bicubic reduction by up to 2 reaches


# JPEG qualities below which weights for a degradation are best, at x2, x3 and x4: see docs/experiments.md.
AUTOMATIC_LIMITS = {"jpeg": (81.0, 78.0, 78.0), "jpeg90": (93.5, 93.5, 93.5)}


class Pass(NamedTuple):
    """A network that upscales by a whole factor, and where its weights are from."""

    spec: NetworkSpec
    network: PolyphaseModel
    source: str


class Upscaler:
    """Upscales images with the weights that are found for each factor.

    What is pickled, to be sent to another machine, has no weights: they are read there.
    """

    def __init__(
        self,
        spec: NetworkSpec,
        search: WeightsSearch,
        is_automatic: bool = False,
        self_ensemble: bool = False,
        command: str | None = None,
        edges: str = "mirror",
        is_luma: bool = False,
    ) -> None:
        """Loads nothing yet.

        Args:
            spec: the network; of any scale, as each pass has its own.
            search: where weights are searched.
            is_automatic: whether images that are compressed get weights for compression, if there are such.
            self_ensemble: whether to average over the eight flips and transposes.
            command: identifies all that it upscales, also on other machines. Default: a random one.
            edges: what is beyond the edges of an image: `mirror`, its mirror image, or `wrap`, itself again.
            is_luma: whether grey images are luma in the studio range, as of video, and no pictures.
        """
        self.command = command or secrets.token_hex(16)
        self._arguments = spec, search, is_automatic, self_ensemble, self.command, edges, is_luma
        self._spec, self._search, self._is_automatic, self._self_ensemble = self._arguments[:4]
        self._edges, self._is_luma = edges, is_luma
        self._passes: dict[tuple[float | Fraction, str | None], tuple[Pass, ...]] = {}  # by the arguments of `passes`

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles the arguments alone."""
        return Upscaler, self._arguments

    def for_luma(self) -> Upscaler:
        """Returns the same one for grey images that are luma in the studio range."""
        return Upscaler(*self._arguments[:-1], is_luma=True)

    @property
    def sources(self) -> str:
        """Where the weights that were loaded are from, separated by commas."""
        return ", ".join(dict.fromkeys(each.source for passes in self._passes.values() for each in passes))

    def describe(self, *factors: float | Fraction) -> str:
        """Names the files that the weights for factors are read from, and when they were written; loads nothing."""
        names = [None, *(JPEG_QUALITIES if self._is_automatic else ())]
        specs = dict.fromkeys(spec for factor in factors for name in names for spec in self._choose(factor, name))
        own = dict.fromkeys(path for spec in specs if (path := self._search.own(spec)) and path.exists())
        times = [f"{datetime.fromtimestamp(path.stat().st_mtime):%Y-%m-%d %H:%M:%S}" for path in own]
        files = [f"{os.path.abspath(path)} of {time}" for path, time in zip(own, times, strict=True)]
        return ", ".join(files) or "shipped weights"

    def passes(self, factor: float | Fraction, suited: str | None = None) -> tuple[Pass, ...]:
        """Loads the weights for upscaling by a factor, once.

        Args:
            factor: 1 or more.
            suited: the degradation that suits the image, see `suited_degradation`; it counts if `is_automatic`.

        Returns:
            The passes, first to last. What a pass returns has no traces of compression any more, so that only the first
            one has weights for it.

        Raises:
            RunError: there are no such weights, or they belong to another network.
        """
        key = factor, suited if self._is_automatic else None
        if key not in self._passes:
            self._passes[key] = tuple(self._load(spec) for spec in self._choose(*key))
        return self._passes[key]

    def _choose(self, factor: float | Fraction, suited: str | None) -> list[NetworkSpec]:
        """Returns the networks of the passes: those with weights of the user's own, else those with shipped ones."""
        names = sorted(JPEG_QUALITIES, key=lambda name: name != suited) if suited in JPEG_QUALITIES else []
        specs = [*(replace(self._spec, degradation=name) for name in names), self._spec]
        chains = [_chain(spec, factors_of_passes(factor)) for spec in specs]
        # Weights of the user's own may be for one factor that those of this package do not have.
        single = [[replace(chain[0], scale=max(2, math.ceil(factor)))] for chain in chains if chain]
        own = [chain for chain in single + chains if chain and self._search.own(chain[0])]
        shipped = [chain for chain in chains if chain and shipped_weights(chain[0]).is_file()]
        return [*own, *shipped, chains[-1]][0]

    def _load(self, spec: NetworkSpec) -> Pass:
        weights, source = find_weights(spec, self._search)
        color = spec.color._replace(studio=spec.color.studio and not self._is_luma)
        return Pass(spec, _network(to_bytes(weights), spec, color, self._self_ensemble), source)

    def __call__(
        self,
        pixels: Pixels,
        size: tuple[int, int],
        suited: str | None = None,
        progress: tqdm | None = None,
        values: ValueRange | None = None,
        mask: Pixels | None = None,
        nodata: float | None = None,
    ) -> RowStream:
        """Upscales one image, in bands of rows that are computed as they are read.

        It is upscaled by the next larger whole factor for which there are weights, in several passes above 4, and then
        reduced by antialiased bicubic interpolation. Between these steps values are float32 in [0, 1].

        Args:
            pixels: `(rows, cols)` grey, or `(rows, cols, channels)` with 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGBA)
                channels; one of `value_range.DTYPES`.
            size: rows and columns of the result.
            suited: see `passes`.
            progress: a progress bar that counts output megapixels.
            values: those that become 0 and 1. Default: all of the dtype's, 0 to 1 of floats.
            mask: see `Page.mask`.
            nodata: see `Page.nodata`.

        Returns:
            `(rows, cols[, channels])`, of the same dtype.

        Raises:
            RunError: the image would become smaller or too large, or there are no weights for this factor.
        """
        passes = self.passes(upscaling_factor((pixels.shape[0], pixels.shape[1]), size), suited)
        shape = (*size, *pixels.shape[2:])
        values = values or dtype_range(pixels.dtype)
        margin = _filters_reach(passes) if self._edges == "wrap" else 0
        return RowStream(shape, pixels.dtype, _bands(pixels, shape, passes, values, mask, nodata, progress, margin))


def make_upscaler(config: Config) -> Upscaler:
    """Returns the upscaler for the network that `config` describes."""
    search = config.search if config.cluster is None else config.search.absolute()
    return Upscaler(config.network, search, config.degradation == "auto", config.self_ensemble, edges=config.edges)


def suited_degradation(jpeg_quality: float | None, factor: float | Fraction) -> str:
    """Returns the degradation whose weights suit an image best that was compressed with this quality; None: not.

    Args:
        jpeg_quality: see `Page.jpeg_quality`.
        factor: by how much it is upscaled.
    """
    quality, scale = math.inf if jpeg_quality is None else jpeg_quality, max((2, *factors_of_passes(factor)))
    return next((name for name, limits in AUTOMATIC_LIMITS.items() if quality < limits[scale - 2]), "matlab")


@lru_cache(maxsize=8)
def _network(weights: bytes, spec: NetworkSpec, color: ColorSpace, self_ensemble: bool) -> PolyphaseModel:
    """Prepares a network, once in a process for the same weights, whatever file they are from."""
    return PolyphaseModel(from_bytes(weights, spec), spec.scale, color, self_ensemble=self_ensemble)


def _chain(spec: NetworkSpec, factors: Sequence[int]) -> list[NetworkSpec]:
    later = replace(spec, degradation="matlab") if spec.degradation in JPEG_QUALITIES else spec
    return [replace(later if number else spec, scale=factor) for number, factor in enumerate(factors)]


def _bands(
    pixels: Pixels,
    shape: tuple[int, ...],
    passes: Sequence[Pass],
    values: ValueRange,
    mask: Pixels | None,
    nodata: float | None,
    progress: tqdm | None,
    margin: int,
) -> Iterator[NDArray]:
    """Yields the upscaled image of a given shape, from top to bottom.

    With a margin, the image is repeated around itself so far, and the result is cut from the middle.
    """
    factor = math.prod(each.spec.scale for each in passes)
    is_reduced = (factor * pixels.shape[0], factor * pixels.shape[1]) != shape[:2]
    # The network takes these as they are; all others become floats before it.
    is_direct = pixels.dtype in (np.uint8, np.uint16) and values == dtype_range(pixels.dtype) and mask is None
    scaled = None
    if margin:
        pixels, mask = wrapped(pixels, margin), None if mask is None else wrapped(mask, margin)
    if len(passes) > 1 or is_reduced or not is_direct:
        scaled = ScaledRows(pixels, values, mask, nodata, _filters_reach(passes), margin) if passes else None
        pixels = scaled.rows if scaled else pixels
    if channels_of(pixels) in (2, 4):
        pixels = fill_transparent(pixels, _filters_reach(passes))
    bands = split(pixels)
    for each in passes:
        bands, scale = each.network.bands(pixels), each.spec.scale
        pixels = RowStream((scale * pixels.shape[0], scale * pixels.shape[1], *pixels.shape[2:]), pixels.dtype, bands)
    if is_reduced:
        bands = resized_bands(pixels, shape[0], shape[1], factor * margin)
    elif margin:
        bands = _cut(pixels, factor * margin)
    begin = 0
    for band in bands:
        if progress is not None:
            # Its total has the first page of a TIFF file only.
            progress.update(min(len(band) * shape[1] / 1e6, progress.total - progress.n))
        result = band if scaled is None else scaled.restore(band, begin, shape)
        begin += len(band)
        yield result.reshape(len(band), *shape[1:])


def _cut(pixels: Pixels, margin: int) -> Iterator[NDArray]:
    """Yields the image without a margin at each side."""
    step, end = band_rows(pixels.shape, pixels.dtype), pixels.shape[0] - margin
    for begin in range(margin, end, step):
        yield pixels[begin : min(begin + step, end)][:, margin:-margin]


def _filters_reach(passes: Sequence[Pass]) -> int:
    """Returns how many pixels away an upscaled pixel that is not fully transparent may depend on the image."""
    reach, scale = ALPHA_REACH + REDUCTION_REACH, 1
    for each in passes:
        reach += math.ceil(each.network.reach / scale)
        scale *= each.spec.scale
    return reach

"""Upscales an image to any size: by one or several networks, each with its weights, and a reduction at the end."""

from __future__ import annotations

import math
import os
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
from srcnn_tf.images.color import Floats, to_integers
from srcnn_tf.images.page import Pixels, RowStream, band_rows, channels_of
from srcnn_tf.images.resize import resized_bands, wrapped
from srcnn_tf.spec import NetworkSpec
from srcnn_tf.upscaling.polyphase import PolyphaseModel
from srcnn_tf.upscaling.sizes import factors_of_passes, upscaling_factor
from srcnn_tf.weights.search import WeightsSearch, shipped_weights
from srcnn_tf.weights.store import find_weights, from_bytes, to_bytes

ALPHA_REACH = 2  # pixels from a visible one up to which bicubic interpolation makes alpha that is not 0
REDUCTION_REACH = 3  # pixels of the image that an antialiased bicubic reduction by up to 2 reaches


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
        edges: str = "mirror",
    ) -> None:
        """Loads nothing yet.

        Args:
            spec: the network; of any scale, as each pass has its own.
            search: where weights are searched.
            is_automatic: whether images that are compressed get weights for `jpeg`, if there are such.
            self_ensemble: whether to average over the eight flips and transposes.
            edges: what is beyond the edges of an image: `mirror`, its mirror image, or `wrap`, itself again.
        """
        self._arguments = spec, search, is_automatic, self_ensemble, edges
        self._spec, self._search, self._is_automatic, self._self_ensemble, self._edges = self._arguments
        self._passes: dict[tuple[float | Fraction, bool], tuple[Pass, ...]] = {}  # by the arguments of `passes`

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles the arguments alone."""
        return Upscaler, self._arguments

    @property
    def sources(self) -> str:
        """Where the weights that were loaded are from, separated by commas."""
        return ", ".join(dict.fromkeys(each.source for passes in self._passes.values() for each in passes))

    def describe(self, factor: float) -> str:
        """Names the files that the weights for a factor are read from, and when they were written; loads nothing."""
        specs = [spec for is_compressed in (False, self._is_automatic) for spec in self._choose(factor, is_compressed)]
        own = [path for spec in dict.fromkeys(specs) if (path := self._search.own(spec)) and path.exists()]
        files = [
            f"{os.path.abspath(path)} of {datetime.fromtimestamp(path.stat().st_mtime):%Y-%m-%d %H:%M:%S}"
            for path in own
        ]
        return ", ".join(files) or "shipped weights"

    def passes(self, factor: float | Fraction, is_compressed: bool = False) -> tuple[Pass, ...]:
        """Loads the weights for upscaling by a factor, once.

        Args:
            factor: 1 or more.
            is_compressed: whether the image is, see `is_automatic`.

        Returns:
            The passes, first to last. What a pass returns has no traces of compression any more, so that only the first
            one has weights for `jpeg`.

        Raises:
            RunError: there are no such weights, or they belong to another network.
        """
        key = factor, is_compressed and self._is_automatic
        if key not in self._passes:
            self._passes[key] = tuple(self._load(spec) for spec in self._choose(*key))
        return self._passes[key]

    def _choose(self, factor: float | Fraction, is_compressed: bool) -> list[NetworkSpec]:
        """Returns the networks of the passes: those with weights of the user's own, else those with shipped ones."""
        first = [replace(self._spec, degradation="jpeg")] if is_compressed else []
        chains = [_chain(spec, factors_of_passes(factor)) for spec in [*first, self._spec]]
        # Weights of the user's own may be for one factor that those of this package do not have.
        single = [[replace(chain[0], scale=max(2, math.ceil(factor)))] for chain in chains if chain]
        own = [chain for chain in single + chains if chain and self._search.own(chain[0])]
        shipped = [chain for chain in chains if chain and shipped_weights(chain[0]).is_file()]
        return [*own, *shipped, chains[-1]][0]

    def _load(self, spec: NetworkSpec) -> Pass:
        weights, source = find_weights(spec, self._search)
        return Pass(spec, _network(to_bytes(weights), spec, self._self_ensemble), source)

    def __call__(
        self, pixels: Pixels, size: tuple[int, int], is_compressed: bool = False, progress: tqdm | None = None
    ) -> RowStream:
        """Upscales one image, in bands of rows that are computed as they are read.

        It is upscaled by the next larger whole factor for which there are weights, in several passes above 4, and then
        reduced by antialiased bicubic interpolation. Between these steps values are float32 in [0, 1].

        Args:
            pixels: see `polyphase.PolyphaseModel.bands`.
            size: rows and columns of the result.
            is_compressed: see `passes`.
            progress: a progress bar that counts output megapixels.

        Returns:
            `(rows, cols[, channels])`, of the same dtype.

        Raises:
            RunError: the image would become smaller or too large, or there are no weights for this factor.
        """
        passes = self.passes(upscaling_factor((pixels.shape[0], pixels.shape[1]), size), is_compressed)
        shape = (*size, *pixels.shape[2:])
        margin = _filters_reach(passes) if self._edges == "wrap" else 0
        return RowStream(shape, pixels.dtype, _bands(pixels, shape, passes, progress, margin))


def make_upscaler(config: Config) -> Upscaler:
    """Returns the upscaler for the network that `config` describes."""
    search = config.search if config.cluster is None else config.search.absolute()
    return Upscaler(config.network, search, config.degradation == "auto", config.self_ensemble, config.edges)


@lru_cache(maxsize=8)
def _network(weights: bytes, spec: NetworkSpec, self_ensemble: bool) -> PolyphaseModel:
    """Prepares a network, once in a process for the same weights, whatever file they are from."""
    return PolyphaseModel(from_bytes(weights, spec), spec.scale, spec.color, self_ensemble=self_ensemble)


def _chain(spec: NetworkSpec, factors: Sequence[int]) -> list[NetworkSpec]:
    later = replace(spec, degradation="matlab") if spec.degradation == "jpeg" else spec
    return [replace(later if number else spec, scale=factor) for number, factor in enumerate(factors)]


def _bands(
    pixels: Pixels, shape: tuple[int, ...], passes: Sequence[Pass], progress: tqdm | None, margin: int
) -> Iterator[NDArray]:
    """Yields the upscaled image of a given shape, from top to bottom.

    With a margin, the image is repeated around itself so far, and the result is cut from the middle.
    """
    factor = math.prod(each.spec.scale for each in passes)
    is_reduced = (factor * pixels.shape[0], factor * pixels.shape[1]) != shape[:2]
    if margin:
        pixels = wrapped(pixels, margin)
    if channels_of(pixels) in (2, 4):
        pixels = _fill_transparent(pixels[: pixels.shape[0]], _filters_reach(passes))
    dtype = pixels.dtype
    if len(passes) > 1 or is_reduced:
        pixels = _float_stream(pixels)
    bands = _split(pixels)
    for each in passes:
        bands, scale = each.network.bands(pixels), each.spec.scale
        pixels = RowStream((scale * pixels.shape[0], scale * pixels.shape[1], *pixels.shape[2:]), pixels.dtype, bands)
    if is_reduced:
        bands = resized_bands(pixels, shape[0], shape[1], factor * margin)
    elif margin:
        bands = _cut(pixels, factor * margin)
    for band in bands:
        if progress is not None:
            # Its total has the first page of a TIFF file only.
            progress.update(min(len(band) * shape[1] / 1e6, progress.total - progress.n))
        values = band if band.dtype == dtype else _from_float(band, dtype)
        yield values.reshape(len(band), *shape[1:])


def _cut(pixels: Pixels, margin: int) -> Iterator[NDArray]:
    """Yields the image without a margin at each side."""
    step, end = band_rows(pixels.shape, pixels.dtype), pixels.shape[0] - margin
    for begin in range(margin, end, step):
        yield pixels[begin : min(begin + step, end)][:, margin:-margin]


def _split(pixels: Pixels) -> Iterator[NDArray]:
    step = band_rows(pixels.shape, pixels.dtype)
    return (pixels[begin : begin + step] for begin in range(0, pixels.shape[0], step))


def _float_stream(pixels: Pixels) -> RowStream:
    """Returns `(rows, cols, channels)` in float32, converted as it is read."""
    shape = (*pixels.shape[:2], channels_of(pixels))
    bands = (_to_float(band).reshape(len(band), *shape[1:]) for band in _split(pixels))
    return RowStream(shape, np.float32, bands)


def _to_float(pixels: NDArray) -> Floats:
    """Converts pixels to float32 in [0, 1]."""
    values = pixels.astype(np.float32)
    return values if pixels.dtype.kind == "f" else values / np.float32(np.iinfo(pixels.dtype).max)


def _from_float(values: Floats, dtype: np.dtype) -> NDArray:
    """Clips values to [0, 1] and converts them to pixels."""
    return values.clip(0, 1).astype(dtype) if dtype.kind == "f" else to_integers(values, dtype)


def _filters_reach(passes: Sequence[Pass]) -> int:
    """Returns how many pixels away an upscaled pixel that is not fully transparent may depend on the image."""
    reach, scale = ALPHA_REACH + REDUCTION_REACH, 1
    for each in passes:
        reach += math.ceil(each.network.reach / scale)
        scale *= each.spec.scale
    return reach


def _fill_transparent(pixels: NDArray, reach: int) -> RowStream:
    """Gives fully transparent pixels the nearest visible colour, so that none bleeds into what is visible.

    Those further from any visible pixel than `reach`, along the diagonal, keep theirs, which may have a meaning: a
    texture has a height in alpha.
    """
    margin = math.ceil(math.sqrt(2) * reach)
    step = max(margin, band_rows(pixels.shape, pixels.dtype))

    def bands() -> Iterator[NDArray]:
        for begin in range(0, len(pixels), step):
            first = max(0, begin - margin)
            filled = _filled(pixels[first : begin + step + margin], margin)
            yield filled[begin - first : begin - first + step]

    return RowStream(pixels.shape, pixels.dtype, bands())


def _filled(pixels: NDArray, reach: int) -> NDArray:
    """Gives fully transparent pixels up to `reach` from a visible one its colour."""
    from scipy import ndimage  # takes 0.15 s, which most images do not need

    transparent = pixels[..., -1] == 0
    if not transparent.any() or transparent.all():
        return pixels
    distance, nearest = ndimage.distance_transform_edt(transparent, return_indices=True)
    is_filled = transparent & (distance <= reach)
    rows, cols = nearest[:, is_filled]
    filled = pixels.copy()
    filled[is_filled, :-1] = pixels[rows, cols, :-1]
    return filled

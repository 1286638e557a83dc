"""One's own pictures, made larger: bicubic, its luma through the network, and every band of it only once in memory."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from tqdm import tqdm

from srcnn_tf.config import Config
from srcnn_tf.devices import compute_dtype
from srcnn_tf.errors import RunError
from srcnn_tf.images.color import Floats, from_ycbcr, to_integers, to_ycbcr
from srcnn_tf.images.photo import check_format, read_photo, write_photo
from srcnn_tf.images.pictures import ENDINGS, declared_size
from srcnn_tf.images.pixels import Photo
from srcnn_tf.images.resize import imresize_rows
from srcnn_tf.inference.tiling import Reconstructor, Rows
from srcnn_tf.utils import prepare_data
from srcnn_tf.weights import checkpoint

ENLARGED = ENDINGS | {".gif"}  # which is read, and becomes .png
BAR = "{l_bar}{bar}| {n:.1f} of {total:.1f} megapixels [{elapsed}<{remaining}]"


class Upscaler:
    """Enlarges pictures with the weights that a configuration finds.

    Attributes:
        weights: where they are from.
    """

    def __init__(self, config: Config, own_runs: bool = True) -> None:
        """Loads the weights: see `checkpoint.restored_model`.

        Raises:
            RunError: there are none, or they belong to something else.
        """
        model, self.weights = checkpoint.restored_model(config, own_runs)
        self._reconstruct = Reconstructor(model, config.tile_size, config.rgb, compute_dtype(config))
        self._config = config

    def __call__(self, pixels: NDArray, tell: Callable[[int], object] = lambda made: None) -> NDArray:
        """Enlarges one picture.

        Args:
            pixels: `(rows, cols)` or `(rows, cols, channels)` with 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGBA, not
                premultiplied) channels; uint8, uint16, or floats in [0, 1].
            tell: is told how many more pixels are made, now and then.

        Returns:
            `(scale * rows, scale * cols[, channels])`, of the same dtype.
        """
        channels = pixels.reshape(*pixels.shape[:2], -1)
        shape = tuple(self._config.scale * side for side in channels.shape[:2])
        enlarged = np.empty((*shape, channels.shape[2]), pixels.dtype)
        seen = channels.shape[2] - 1 if channels.shape[2] in (2, 4) else channels.shape[2]
        if seen < channels.shape[2]:
            channels = _fringeless(channels)
        for begin, end, band in self._reconstruct.bands(*shape, self._source(channels[..., :seen])):
            enlarged[begin:end, :, :seen] = _stored(self._picture(band), pixels.dtype)
            if seen < channels.shape[2]:
                alpha = imresize_rows(channels[..., seen:], self._config.scale, begin, end, _floats)
                enlarged[begin:end, :, seen:] = _stored(alpha, pixels.dtype)
            tell((end - begin) * shape[1])
        return enlarged.reshape(*shape, *pixels.shape[2:])

    def _source(self, colour: NDArray) -> Rows:
        """What gives rows of the bicubic picture, in the network's channels."""
        config = self._config

        def convert(rows: NDArray) -> Floats:
            floats = _floats(rows)
            return floats if floats.shape[2] == 1 or config.rgb else to_ycbcr(floats, config.studio_range)

        return lambda begin, end: imresize_rows(colour, config.scale, begin, end, convert)

    def _picture(self, band: Floats) -> Floats:
        return band if band.shape[2] == 1 or self._config.rgb else from_ycbcr(band, self._config.studio_range)


def _floats(values: NDArray) -> Floats:
    """Pixels as float32 in [0, 1]."""
    if values.dtype.kind == "f":
        return values.astype(np.float32)
    return values.astype(np.float32) / np.float32(np.iinfo(values.dtype).max)


def _stored(values: Floats, dtype: np.dtype) -> NDArray:
    """Values in [0, 1], and a little outside, as pixels."""
    return values.clip(0, 1).astype(dtype) if dtype.kind == "f" else to_integers(values, dtype)


def _fringeless(channels: NDArray) -> NDArray:
    """Gives pixels that cannot be seen the colour of the nearest that can, so that no other one bleeds into it."""
    hidden = channels[..., -1] == 0
    if not hidden.any() or hidden.all():
        return channels
    rows, cols = ndimage.distance_transform_edt(hidden, return_distances=False, return_indices=True)
    filled = channels.copy()
    filled[..., :-1] = channels[rows, cols, :-1]
    return filled


def load_model(
    scale: int = 3, architecture: str = "9-1-5", degradation: str = "matlab", weights: str | None = None
) -> keras.Model:
    """Loads the network with the weights of this package, or others.

    Args:
        scale: how many times larger; 2, 3 or 4.
        architecture: sides of the filters of the three layers: 9-1-5 or 9-5-5.
        degradation: what it was trained to undo: `matlab`, the paper's bicubic, or `scipy`, the reference's zooms.
        weights: SRCNN.weights.h5, SRCNN.keras, a run's folder, or a checkpoint of the reference.

    Returns:
        A model from `(batch, rows, cols, 1)`, luma in [0, 1] of a picture that was enlarged already (in the studio
        range for `matlab`, see `color.to_ycbcr`), to as much without a border of 6 pixels (9-1-5) or 8 (9-5-5).

    Raises:
        UsageError: there is no such architecture or degradation.
        RunError: there are no such weights.
    """
    config = Config(is_train=False, scale=scale, architecture=architecture, degradation=degradation, weights=weights)
    return checkpoint.restored_model(config, own_runs=False)[0]


def upscale_image(
    image: ArrayLike, scale: int = 3, architecture: str = "9-1-5", weights: str | None = None, precision: str = "auto"
) -> NDArray:
    """Makes a picture larger and sharper: bicubic, with its luma through the network.

    Args:
        image: `(rows, cols)` or `(rows, cols, channels)` with 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGBA, not
            premultiplied) channels; uint8, uint16, or floats in [0, 1].
        scale: how many times as large; 2, 3 or 4.
        architecture: see `load_model`.
        weights: see `load_model`.
        precision: of all layers but the last: `float32`, `bfloat16`, or `auto`, which is bfloat16 where the processor
            gains by it.

    Returns:
        `(scale * rows, scale * cols[, channels])`, of the same dtype.

    Raises:
        ValueError: `image` is not such an array.
        UsageError: there is no such architecture or precision.
        RunError: there are no weights for this scale.
    """
    pixels = _checked(np.asarray(image))
    # A file of one's own may change between calls.
    upscaler = _upscaler if weights is None else _upscaler.__wrapped__
    return upscaler(scale, architecture, weights, precision)(pixels)


@lru_cache(maxsize=8)
def _upscaler(scale: int, architecture: str, weights: str | None, precision: str) -> Upscaler:
    return Upscaler(
        Config(
            is_train=False,
            scale=scale,
            architecture=architecture,
            degradation="matlab",
            weights=weights,
            precision=precision,
        ),
        own_runs=False,
    )


def _checked(pixels: NDArray) -> NDArray:
    found = f"found shape {pixels.shape}, dtype {pixels.dtype}"
    if pixels.ndim not in (2, 3) or pixels.size == 0 or (pixels.ndim == 3 and pixels.shape[2] not in (1, 2, 3, 4)):
        raise ValueError(f"expected a picture (rows, cols) or (rows, cols, channels) of 1 to 4 channels, {found}")
    if pixels.dtype not in (np.uint8, np.uint16) and pixels.dtype.kind != "f":
        raise ValueError(f"expected uint8, uint16 or floats in [0, 1], {found}")
    if pixels.dtype.kind == "f" and not (pixels.min() >= 0 and pixels.max() <= 1):  # NaN is neither
        raise ValueError(f"expected floats in [0, 1], found {pixels.min()} to {pixels.max()}; divide them first")
    return pixels


# --- from the command line --------------------------------------------------------------------------


class Job(NamedTuple):
    """A picture to enlarge, and the file that it becomes."""

    source: Path
    target: Path


def enlarge(config: Config) -> None:
    """Enlarges `config.input`, a picture or a folder of them with its subfolders, into `config.output`.

    What is there already stays, unless `config.overwrite` is set. A bar counts megapixels, of what is made.

    Raises:
        RunError: there is no picture, or some could not be enlarged; each is named, and the rest is done.
    """
    sources, left_out = _sources(config)
    if left_out:
        print(f"{len(left_out)} pictures have the names of what is made of others, and are left out.")
    jobs, problems = _jobs(config, sources, left_out)
    waiting = [job for job in jobs if config.overwrite or not job.target.is_file()]
    if len(waiting) < len(jobs):
        print(f"{len(jobs) - len(waiting)} of {len(jobs)} are there already; --overwrite makes them again.")
    if waiting:
        problems += _enlarge_all(config, waiting)
    if problems:
        raise RunError(f"{problems} of {len(sources)} pictures could not be enlarged; they are named above.")


def _sources(config: Config) -> tuple[list[Path], list[Path]]:
    """The pictures to enlarge, and those that an earlier run seems to have made of them."""
    given = Path(config.input)
    if not given.is_dir():
        return [given], []
    output = _place(_folder(config))
    pictures = prepare_data(given, ENLARGED)
    if _place(given) in output.parents:  # what earlier runs made is there
        pictures = [path for path in pictures if output not in _place(path).parents]
    made = {_place(_target(config, path)) for path in pictures}
    sources = [path for path in pictures if _place(path) not in made]
    if not sources:
        raise RunError(f"--input={given} has no pictures: expected {', '.join(sorted(ENLARGED))} in it or below.")
    return sources, [path for path in pictures if _place(path) in made]


def _place(path: Path | str) -> Path:
    """Where a path leads; `Path.resolve` raises an error where links loop."""
    return Path(os.path.realpath(path))


def _target(config: Config, source: Path) -> Path:
    """The file that a picture becomes."""
    given, output = Path(config.input), _folder(config)
    ending = source.suffix if source.suffix.lower() in ENDINGS else ".png"
    name = f"{source.stem}_x{config.scale}{ending}"
    if given.is_dir():
        return Path(output, source.relative_to(given)).with_name(name)
    is_file = config.output is not None and Path(output).suffix and not output.endswith("/")
    return Path(output) if is_file and not Path(output).is_dir() else Path(output, name)


def _jobs(config: Config, sources: Sequence[Path], left_out: Sequence[Path]) -> tuple[list[Job], int]:
    """What there is to do, and how many pictures are refused, which are named."""
    kept = {_place(path): path for path in left_out}  # they may be someone's own
    jobs: dict[Path, Job] = {}
    problems = 0
    for source in sources:
        target = _target(config, source)
        place = _place(target)
        if place == _place(source):
            problems += _complain(f"{source} would be overwritten by what is made of it; name another --output.")
        elif config.overwrite and place in kept:
            problems += _complain(
                f"{kept[place]}, a picture below --input, would be overwritten by what is made of {source}; name "
                "another --output, or remove it."
            )
        elif place in jobs:
            problems += _complain(f"{source} would become {target}, as {jobs[place].source} does; rename one of them.")
        else:
            jobs[place] = Job(source, target)
    return list(jobs.values()), problems


def _complain(problem: object) -> int:
    tqdm.write(_line(f"Problem: {problem}"), file=sys.stderr)
    return 1


def _line(text: str) -> str:
    """A text in one line: a name may hold a newline."""
    return " ".join(text.split())


def _enlarge_all(config: Config, jobs: Sequence[Job]) -> int:
    """Does the jobs, and returns how many could not be done, which are named."""
    upscaler = Upscaler(config)
    print(f"Weights: {upscaler.weights}", flush=True)
    sizes = [math.prod(declared_size(job.source)) * config.scale**2 / 1e6 for job in jobs]
    problems = 0
    with tqdm(total=sum(sizes), bar_format=BAR, disable=None, dynamic_ncols=True) as bar:
        for job, reached in zip(jobs, accumulate(sizes), strict=True):
            try:
                _enlarge(config, upscaler, job, lambda made: bar.update(made / 1e6))
            except (RunError, MemoryError) as error:
                problems += _complain(error if isinstance(error, RunError) else _too_large(job, error))
            bar.update(reached - bar.n)  # what failed, or has other pages
    done = len(jobs) - problems
    if done:
        print(_line(f"{done} of {len(jobs)} enlarged, to {jobs[0].target if len(jobs) == 1 else _folder(config)}."))
    return problems


def _too_large(job: Job, error: MemoryError) -> str:
    return f"{job.source}: there is not enough memory for it ({error}); give a smaller --max_megapixels."


def _folder(config: Config) -> str:
    return config.output or str(Path(config.sample_dir, "enlarged"))


def _enlarge(config: Config, upscaler: Upscaler, job: Job, tell: Callable[[int], object]) -> None:
    """Makes one picture, or every page of one; a page is in memory only while it is made and written."""
    pages, notices = read_photo(job.source, most_pixels=int(config.max_megapixels * 1e6) // config.scale**2)

    def enlarged() -> Iterator[Photo]:
        for page in pages:
            rows, cols, *channels = page.pixels.shape
            shape = (config.scale * rows, config.scale * cols, *channels)
            check_format(job.target, shape, page.pixels.dtype, len(pages))  # else it would be made in vain
            yield replace(page, pixels=upscaler(page.pixels, tell))

    notices += write_photo(enlarged(), job.target, config.quality, len(pages))
    for notice in dict.fromkeys(notices):
        tqdm.write(_line(f"{job.source}: {notice}"))

"""Upscales arrays and image files: the network restores luma, other channels are bicubic. The public Python API."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from os.path import realpath  # resolves links; unlike Path.resolve, without an error where they loop
from pathlib import Path
from typing import TextIO

import keras
import numpy as np
from numpy.typing import ArrayLike, NDArray
from tqdm import tqdm

from srcnn_tf.config import Config
from srcnn_tf.datasets.samples import exclude_results
from srcnn_tf.devices import compute_dtype
from srcnn_tf.errors import RunError
from srcnn_tf.images.color import Floats, rgb_to_ycbcr, to_integers, ycbcr_to_rgb
from srcnn_tf.images.page import Pixels, RowStream, as_array, channels_of
from srcnn_tf.images.read import IMAGE_EXTENSIONS, declared_size
from srcnn_tf.images.reader import ImageReader
from srcnn_tf.images.resize import imresize_rows
from srcnn_tf.images.writer import OUTPUT_EXTENSIONS, ImageWriter
from srcnn_tf.inference.polyphase import PolyphaseModel
from srcnn_tf.inference.report import BAR
from srcnn_tf.inference.tiling import TiledModel
from srcnn_tf.model import plain_keras
from srcnn_tf.utils import prepare_data
from srcnn_tf.weights.store import find_model

INPUT_EXTENSIONS = IMAGE_EXTENSIONS | {".gif"}  # what is read but not written becomes .png
Outcome = tuple[bool, list[str]]  # of an image: whether it is done, and what to report


class Upscaler:
    """Upscales images with the weights that a configuration selects, which are named in the attribute `weights`."""

    def __init__(self, config: Config, search_runs: bool = True) -> None:
        """Loads the weights; `search_runs` says whether to look for them in `config.checkpoint_dir`.

        Raises:
            RunError: there are no such weights, or they belong to another network.
        """
        model, self.weights = find_model(config, search_runs)
        self._scale, self._studio, self._rgb = config.scale, config.studio_range, config.rgb
        self._network: PolyphaseModel | TiledModel
        if config.c_dim == 1:
            self._network = PolyphaseModel(
                model, config.scale, config.studio_range, compute_dtype=compute_dtype(config)
            )
        else:
            self._network = TiledModel(model, config.rgb)

    def __call__(self, pixels: Pixels, progress: tqdm | None = None) -> RowStream:
        """Upscales one image, in bands of rows that are computed as they are read.

        Args:
            pixels: see `upscale_image`.
            progress: a progress bar that counts output megapixels.

        Returns:
            `(scale * rows, scale * cols[, channels])`, of the same dtype.
        """
        shape = (self._scale * pixels.shape[0], self._scale * pixels.shape[1], *pixels.shape[2:])
        return RowStream(shape, pixels.dtype, self._bands(pixels, shape, progress))

    def _bands(self, pixels: Pixels, shape: tuple[int, ...], progress: tqdm | None) -> Iterator[NDArray]:
        if channels_of(pixels) in (2, 4):
            pixels = _fill_transparent(pixels[: pixels.shape[0]])
        if isinstance(self._network, PolyphaseModel):
            bands = self._network.bands(pixels)
        else:
            bands = self._restored_bands(self._network, pixels, shape)
        for band in bands:
            if progress is not None:
                # Its total has the first page of a TIFF file only.
                progress.update(min(len(band) * shape[1] / 1e6, progress.total - progress.n))
            yield band.reshape(len(band), *shape[1:])

    def _restored_bands(self, network: TiledModel, pixels: Pixels, shape: tuple[int, ...]) -> Iterator[NDArray]:
        """Interpolates all channels, and restores the colours with a network of three channels."""
        colors = 3 if channels_of(pixels) >= 3 else 1
        is_ycbcr = colors == 3 and not self._rgb

        def as_channels(rows: NDArray) -> Floats:
            values = _to_float(rows).reshape(*rows.shape[:2], -1)[..., :colors]
            return rgb_to_ycbcr(values, self._studio) if is_ycbcr else values

        def bicubic_rows(begin: int, end: int) -> Floats:
            return imresize_rows(pixels, self._scale, begin, end, as_channels)

        def alpha_of(rows: NDArray) -> Floats:
            return _to_float(rows[..., -1:])

        begin = 0
        for band in network.bands(shape[0], shape[1], bicubic_rows):
            if is_ycbcr:
                band = ycbcr_to_rgb(band, self._studio)
            if channels_of(pixels) > colors:
                alpha = imresize_rows(pixels, self._scale, begin, begin + len(band), alpha_of)
                band = np.concatenate([band, alpha], axis=-1)
            begin += len(band)
            yield _from_float(band, pixels.dtype)


def _to_float(pixels: NDArray) -> Floats:
    """Converts pixels to float32 in [0, 1]."""
    values = pixels.astype(np.float32)
    return values if pixels.dtype.kind == "f" else values / np.float32(np.iinfo(pixels.dtype).max)


def _from_float(values: Floats, dtype: np.dtype) -> NDArray:
    """Clips values to [0, 1] and converts them to pixels."""
    return values.clip(0, 1).astype(dtype) if dtype.kind == "f" else to_integers(values, dtype)


def _fill_transparent(pixels: NDArray) -> NDArray:
    """Gives fully transparent pixels the nearest visible colour, so that none bleeds into what is visible."""
    from scipy import ndimage  # takes 0.15 s, which most images need not wait for

    transparent = pixels[..., -1] == 0
    if not transparent.any() or transparent.all():
        return pixels
    # Of the whole image, since the nearest visible pixel may be anywhere.
    rows, cols = ndimage.distance_transform_edt(transparent, return_distances=False, return_indices=True)
    return np.concatenate([pixels[rows, cols, :-1], pixels[..., -1:]], axis=-1)


# --- Python API ---------------------------------------------------------------------------------------


def load_model(
    scale: int = 3, architecture: str = "9-1-5", degradation: str = "matlab", weights: str | None = None
) -> keras.Model:
    """Loads the network with the weights of this package, or with others.

    Args:
        scale: upscaling factor; 2, 3 or 4.
        architecture: filter sizes of the three layers: 9-1-5 or 9-5-5.
        degradation: `matlab`, the paper's bicubic, or `scipy`, the reference's zooms; what the network was trained on.
        weights: SRCNN.weights.h5, SRCNN.keras, a run's folder, or a checkpoint of the reference.

    Returns:
        A model of standard Keras layers. Its input `(batch, rows, cols, 1)` is luma in [0, 1] of an image that was
        already upscaled (in the studio range for `matlab`, see `color.rgb_to_ycbcr`). Its output is restored luma
        without a border of 6 pixels (9-1-5) or 8 (9-5-5).

    Raises:
        UsageError: there is no such architecture or degradation.
        RunError: there are no such weights.
    """
    config = Config(scale=scale, architecture=architecture, degradation=degradation, weights=weights)
    return plain_keras(find_model(config, search_runs=False)[0])


def upscale_image(
    image: ArrayLike, scale: int = 3, architecture: str = "9-1-5", weights: str | None = None, precision: str = "auto"
) -> NDArray:
    """Upscales an image: bicubic, with its luma restored by the network.

    Args:
        image: `(rows, cols)` or `(rows, cols, channels)` with 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGBA, not
            premultiplied) channels; uint8, uint16, or floats in [0, 1].
        scale: upscaling factor; 2, 3 or 4.
        architecture: see `load_model`.
        weights: see `load_model`.
        precision: dtype of all layers but the last: `float32`, `bfloat16`, or `auto`, which is bfloat16 where the
            processor is faster with it.

    Returns:
        `(scale * rows, scale * cols[, channels])`, of the same dtype.

    Raises:
        ValueError: `image` is not such an array.
        UsageError: there is no such architecture or precision.
        RunError: there are no weights for this scale.
    """
    pixels = np.asarray(image)
    actual = f"found shape {pixels.shape}, dtype {pixels.dtype}"
    if pixels.ndim not in (2, 3) or pixels.size == 0 or (pixels.ndim == 3 and pixels.shape[2] not in (1, 2, 3, 4)):
        raise ValueError(f"expected an image (rows, cols) or (rows, cols, channels) of 1 to 4 channels, {actual}")
    if pixels.dtype not in (np.uint8, np.uint16) and pixels.dtype.kind != "f":
        raise ValueError(f"expected uint8, uint16 or floats in [0, 1], {actual}")
    if pixels.dtype.kind == "f" and not (pixels.min() >= 0 and pixels.max() <= 1):  # false for NaN as well
        raise ValueError(f"expected floats in [0, 1], found {pixels.min()} to {pixels.max()}; divide them first")
    # The user's own weights may change between calls.
    upscaler = _cached_upscaler if weights is None else _cached_upscaler.__wrapped__
    return as_array(upscaler(scale, architecture, weights, precision)(pixels))


@lru_cache(maxsize=8)
def _cached_upscaler(scale: int, architecture: str, weights: str | None, precision: str) -> Upscaler:
    config = Config(scale=scale, architecture=architecture, degradation="matlab", weights=weights, precision=precision)
    return Upscaler(config, search_runs=False)


# --- files --------------------------------------------------------------------------------------------


def upscale_files(config: Config) -> None:
    """Upscales `config.input`, an image or a folder of images with its subfolders, into `config.output`.

    Existing files are kept unless `config.overwrite` is set. A progress bar counts output megapixels.

    Raises:
        RunError: there is no image, or some could not be upscaled; each is reported, and the others are complete.
    """
    all_jobs, refused = _find_jobs(config)
    jobs = [(source, target) for source, target in all_jobs if config.overwrite or not target.is_file()]
    if len(jobs) < len(all_jobs):
        print(f"{len(all_jobs) - len(jobs)} of {len(all_jobs)} already exist; --overwrite upscales them again.")
    done = 0
    if jobs:
        upscaler = Upscaler(config)
        print(f"Weights: {upscaler.weights}", flush=True)
        megapixels = {source: math.prod(declared_size(source)) * config.scale**2 / 1e6 for source, _ in jobs}
        reached = 0.0
        with tqdm(total=sum(megapixels.values()), bar_format=BAR, disable=None, dynamic_ncols=True) as bar:
            outcomes: Iterable[tuple[tuple[Path, Path], Outcome | RunError]]
            if config.cluster is None:
                outcomes = ((job, upscale_file(job, upscaler, config, bar)) for job in jobs)
            else:
                outcomes = _outcomes_of_cluster(jobs, config)
            for (source, _), outcome in outcomes:
                is_done, messages = (False, [f"Problem: {outcome}"]) if isinstance(outcome, RunError) else outcome
                done += is_done
                for message in messages:
                    _print_line(message, sys.stdout if is_done else sys.stderr)
                reached += megapixels[source]
                bar.update(reached - bar.n)  # after a failure, or for pages of other sizes
    if done:
        destination = jobs[0][1] if len(jobs) == 1 else _output_folder(config)
        _print_line(f"{done} of {len(jobs)} upscaled, to {destination}.")
    if failed := len(jobs) - done + refused:
        total = len(all_jobs) + refused
        raise RunError(f"{failed} of {total} images could not be upscaled; see the messages above.")


def upscale_file(
    job: tuple[Path, Path], upscaler: Upscaler, config: Config, bar: tqdm | None = None
) -> tuple[bool, list[str]]:
    """Reads, upscales and writes one file, page by page.

    Args:
        job: the file to read, and the one to write.
        upscaler: for `config`.
        config: gives the scale, the quality and the largest size.
        bar: a progress bar that counts output megapixels.

    Returns:
        Whether it is done, and what to report: what was left out or changed, or the problem.
    """
    source, target = job
    max_pixels = int(config.max_megapixels * 1e6) // config.scale**2
    try:
        with ImageReader(source, max_pixels) as reader, ImageWriter(target, len(reader), config.quality) as writer:
            for page in reader:
                rows, cols, *channels = page.pixels.shape
                # A page that the format cannot hold is refused before it is upscaled.
                writer.check((config.scale * rows, config.scale * cols, *channels), page.pixels.dtype)
                writer.write(replace(page, pixels=upscaler(page.pixels, bar)))
                del page  # one page at a time is in memory
    except RunError as error:
        return False, [f"Problem: {error}"]
    except MemoryError as error:
        return False, [f"Problem: {source}: not enough memory to upscale it ({error}); use a smaller image."]
    return True, [f"{source}: {warning}" for warning in dict.fromkeys(reader.warnings + writer.warnings)]


def _outcomes_of_cluster(
    jobs: Sequence[tuple[Path, Path]], config: Config
) -> Iterator[tuple[tuple[Path, Path], Outcome | RunError]]:
    """Yields each job and the result of `upscale_file` on a worker, in the order of completion."""
    from srcnn_tf.inference.cluster import map_on_cluster, with_absolute_paths

    originals = {(source.absolute(), target.absolute()): (source, target) for source, target in jobs}
    function = partial(_upscale_on_worker, with_absolute_paths(config))
    for job, outcome in map_on_cluster(function, originals, config.cluster or ""):
        yield originals[job], outcome


def _upscale_on_worker(config: Config, job: tuple[Path, Path]) -> Outcome:
    from srcnn_tf.inference.cluster import once_per_process

    return upscale_file(job, once_per_process(_upscaler_of_worker, config), config)


_upscaler_of_worker = lru_cache(maxsize=1)(Upscaler)


def _find_jobs(config: Config) -> tuple[list[tuple[Path, Path]], int]:
    """Pairs each image with the file to write.

    Returns:
        Sources and targets, and how many images are refused as a file would be overwritten; each is reported.

    Raises:
        RunError: there is no image.
    """
    given = Path(config.input or "")
    sources, ignored = [given], {}
    if given.is_dir():
        sources = exclude_results(prepare_data(given, INPUT_EXTENSIONS), given, _output_folder(config))
        results = {realpath(_target(path, config)) for path in sources}
        ignored = {realpath(path): path for path in sources if realpath(path) in results}
        sources = [path for path in sources if realpath(path) not in results]
        if not sources:
            raise RunError(f"--input={given} has no images: expected {', '.join(sorted(INPUT_EXTENSIONS))} in it.")
        if ignored:
            print(f"Images ignored because upscaled images have these names: {len(ignored)}.")

    jobs: dict[str, tuple[Path, Path]] = {}
    for source in sources:
        target = _target(source, config)
        resolved, problem = realpath(target), None
        if resolved == realpath(source):
            problem = f"{source} would be overwritten by the upscaled image; choose another --output."
        elif config.overwrite and resolved in ignored:
            problem = (
                f"{ignored[resolved]}, an image below --input, would be overwritten by the upscaled {source}; choose "
                "another --output, or remove it."
            )
        elif resolved in jobs:
            problem = f"{source} would become {target}, as would {jobs[resolved][0]}; rename one of them."
        if problem is None:
            jobs[resolved] = source, target
        else:
            _print_line(f"Problem: {problem}", sys.stderr)
    return list(jobs.values()), len(sources) - len(jobs)


def _target(source: Path, config: Config) -> Path:
    """Returns the file that an upscaled image is written to."""
    given, output = Path(config.input or ""), _output_folder(config)
    extension = source.suffix if source.suffix.lower() in OUTPUT_EXTENSIONS else ".png"
    name = f"{source.stem}_x{config.scale}{extension}"
    if given.is_dir():
        return Path(output, source.relative_to(given)).with_name(name)
    is_file = config.output is not None and Path(output).suffix and not output.endswith("/")
    return Path(output) if is_file and not Path(output).is_dir() else Path(output, name)


def _output_folder(config: Config) -> str:
    return config.output or str(Path(config.sample_dir, "enlarged"))


def _print_line(text: str, file: TextIO | None = None) -> None:
    """Prints in one line, above the progress bar; the name of a file may contain a newline."""
    tqdm.write(" ".join(text.split()), file=file)

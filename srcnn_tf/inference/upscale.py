"""Upscales arrays and image files: the network restores luma, other channels are bicubic. The public Python API."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache, partial
from itertools import chain
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
from srcnn_tf.images.page import Pixels, RowStream, as_array, block_rows, channels_of
from srcnn_tf.images.read import IMAGE_EXTENSIONS, declared_size
from srcnn_tf.images.reader import ImageReader
from srcnn_tf.images.resize import imresize_rows, resized_bands
from srcnn_tf.images.writer import OUTPUT_EXTENSIONS, ImageWriter
from srcnn_tf.inference.polyphase import PolyphaseModel
from srcnn_tf.inference.report import BAR
from srcnn_tf.inference.sizes import factors_of_passes, target_size, upscaling_factor
from srcnn_tf.inference.tiling import TiledModel
from srcnn_tf.model import plain_keras
from srcnn_tf.utils import prepare_data
from srcnn_tf.weights.store import find_model, own_weights, shipped_weights

INPUT_EXTENSIONS = IMAGE_EXTENSIONS | {".gif"}  # what is read but not written becomes .png
VIDEO_OUTPUT_EXTENSIONS = frozenset({".mp4", ".m4v", ".mov", ".mkv"})
VIDEO_EXTENSIONS = VIDEO_OUTPUT_EXTENSIONS | {
    *(".3gp", ".asf", ".avi", ".flv", ".m2ts", ".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".vob", ".webm", ".wmv", ".y4m")
}
# Of files compressed more, `jpeg` weights restore more than `matlab` ones: chosen on validation images, see
# docs/training.md.
JPEG_QUALITY_LIMIT = 91.5
Outcome = tuple[bool, list[str]]  # of an image: whether it is done, and what to report


class Upscaler:
    """Upscales images with the weights that a configuration selects."""

    def __init__(self, config: Config, search_runs: bool = True) -> None:
        """Loads nothing yet.

        Args:
            config: describes the network; gives the factor or the size.
            search_runs: whether to look for weights in `config.checkpoint_dir`.
        """
        self._config, self._search_runs = config, search_runs
        self._networks: dict[Config, tuple[PolyphaseModel | TiledModel, str]] = {}  # and where the weights are from
        self._passes: dict[tuple[float | Fraction, bool], tuple[Config, ...]] = {}  # by what `load` was asked for

    @property
    def weights(self) -> str:
        """The sources of the loaded weights, separated by commas."""
        return ", ".join(dict.fromkeys(weights for _, weights in self._networks.values()))

    def load(self, factor: float | Fraction, is_compressed: bool = False) -> tuple[Config, ...]:
        """Loads the weights for upscaling by a factor, once.

        Args:
            factor: 1 or more.
            is_compressed: whether `--degradation=auto` means `jpeg`, if there are such weights, and not `matlab`.
                A run in `config.checkpoint_dir` comes before shipped weights, whichever it was trained for.

        Returns:
            The configuration of each pass, first to last: its whole factor, and the degradation of its weights. What a
            pass returns has no traces of compression any more, so that only the first pass has `jpeg`.

        Raises:
            RunError: there are no such weights, or they belong to another network.
        """
        if (factor, is_compressed) in self._passes:
            return self._passes[factor, is_compressed]
        degradations = [self._config.degradation]
        if degradations == ["auto"]:
            degradations = ["jpeg", "matlab"] if is_compressed else ["matlab"]
        found = self._find_passes(factor, degradations)
        for config in found:
            if config not in self._networks:
                self._networks[config] = self._build(config)
        self._passes[factor, is_compressed] = found
        return found

    def _find_passes(self, factor: float | Fraction, degradations: Sequence[str]) -> tuple[Config, ...]:
        """Returns the passes with the first of the degradations that has weights: of one's own, else shipped."""
        configs = [replace(self._config, degradation=degradation) for degradation in degradations]
        passes = [_passes_of(factor, config) for config in configs]
        # Weights of one's own may be for one factor that those of this package do not have.
        scale = max(2, math.ceil(factor))
        single = [(replace(config, scale=scale),) for config in configs] if factor > 1 else []
        own = (p for p in single + passes if p and own_weights(p[0], self._search_runs))
        shipped = (p for p in passes if p and shipped_weights(p[0]).is_file())
        return next(chain(own, shipped), passes[-1])

    def _build(self, config: Config) -> tuple[PolyphaseModel | TiledModel, str]:
        model, weights = find_model(config, self._search_runs)
        if config.c_dim == 3:
            return TiledModel(model, config.rgb, self_ensemble=config.self_ensemble), weights
        network = PolyphaseModel(
            model,
            config.scale,
            config.studio_range,
            compute_dtype=compute_dtype(config),
            self_ensemble=config.self_ensemble,
        )
        return network, weights

    def __call__(
        self,
        pixels: Pixels,
        progress: tqdm | None = None,
        size: tuple[int, int] | None = None,
        is_compressed: bool = False,
    ) -> RowStream:
        """Upscales one image, in bands of rows that are computed as they are read.

        It is upscaled by the next larger whole factor for which there are weights, in several passes above 4, and then
        reduced by antialiased bicubic interpolation. Between these steps values are float32 in [0, 1].

        Args:
            pixels: see `upscale_image`.
            progress: a progress bar that counts output megapixels.
            size: rows and columns of the result. Default: what the configuration asks for.
            is_compressed: see `load`.

        Returns:
            `(rows, cols[, channels])`, of the same dtype.

        Raises:
            RunError: the image would become smaller or too large, or there are no weights for this factor.
        """
        rows, cols = pixels.shape[:2]
        size = size or target_size(rows, cols, self._config)
        passes = self.load(upscaling_factor((rows, cols), size), is_compressed)
        shape = (*size, *pixels.shape[2:])
        return RowStream(shape, pixels.dtype, self._bands(pixels, shape, passes, progress))

    def _bands(
        self, pixels: Pixels, shape: tuple[int, ...], passes: Sequence[Config], progress: tqdm | None
    ) -> Iterator[NDArray]:
        if channels_of(pixels) in (2, 4):
            pixels = _fill_transparent(pixels[: pixels.shape[0]])
        dtype, factor = pixels.dtype, math.prod(config.scale for config in passes)
        is_reduced = (factor * pixels.shape[0], factor * pixels.shape[1]) != shape[:2]
        if len(passes) > 1 or is_reduced:
            pixels = _float_stream(pixels)
        blocks = _blocks(pixels)
        for config in passes:
            network = self._networks[config][0]
            if isinstance(network, PolyphaseModel):
                blocks = network.bands(pixels)
            else:
                blocks = self._restored_bands(network, pixels, config.scale)
            pixels = RowStream(_times(pixels.shape, config.scale), pixels.dtype, blocks)
        if is_reduced:
            blocks = resized_bands(pixels, shape[0], shape[1])
        for band in blocks:
            if progress is not None:
                # Its total has the first page of a TIFF file only.
                progress.update(min(len(band) * shape[1] / 1e6, progress.total - progress.n))
            values = band if band.dtype == dtype else _from_float(band, dtype)
            yield values.reshape(len(band), *shape[1:])

    def _restored_bands(self, network: TiledModel, pixels: Pixels, scale: int) -> Iterator[NDArray]:
        """Interpolates all channels, and restores the colours with a network of three channels."""
        colors = 3 if channels_of(pixels) >= 3 else 1
        is_ycbcr, studio = colors == 3 and not self._config.rgb, self._config.studio_range
        if channels_of(pixels) > colors:
            pixels = pixels[: pixels.shape[0]]  # as alpha is interpolated after the colours of the next rows

        def as_channels(rows: NDArray) -> Floats:
            values = _to_float(rows).reshape(*rows.shape[:2], -1)[..., :colors]
            return rgb_to_ycbcr(values, studio) if is_ycbcr else values

        def bicubic_rows(begin: int, end: int) -> Floats:
            return imresize_rows(pixels, scale, begin, end, as_channels)

        def alpha_of(rows: NDArray) -> Floats:
            return _to_float(rows[..., -1:])

        begin = 0
        for band in network.bands(scale * pixels.shape[0], scale * pixels.shape[1], bicubic_rows):
            if is_ycbcr:
                band = ycbcr_to_rgb(band, studio)
            if channels_of(pixels) > colors:
                alpha = imresize_rows(pixels, scale, begin, begin + len(band), alpha_of)
                band = np.concatenate([band, alpha], axis=-1)
            begin += len(band)
            yield _from_float(band, pixels.dtype)


def _times(shape: tuple[int, ...], scale: int) -> tuple[int, ...]:
    return scale * shape[0], scale * shape[1], *shape[2:]


def _blocks(pixels: Pixels) -> Iterator[NDArray]:
    step = block_rows(pixels.shape, pixels.dtype)
    return (pixels[begin : begin + step] for begin in range(0, pixels.shape[0], step))


def _float_stream(pixels: Pixels) -> RowStream:
    """Returns `(rows, cols, channels)` in float32, converted as it is read."""
    shape = (*pixels.shape[:2], channels_of(pixels))
    blocks = (_to_float(block).reshape(len(block), *shape[1:]) for block in _blocks(pixels))
    return RowStream(shape, np.float32, blocks)


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
        degradation: `matlab`, the paper's bicubic; `jpeg`, the same with JPEG compression; or `scipy`, the reference's
            zooms: what the network was trained on.
        weights: SRCNN.weights.h5, SRCNN.keras, a run's folder, or a checkpoint of the reference.

    Returns:
        A model of standard Keras layers. Its input `(batch, rows, cols, 1)` is luma in [0, 1] of an image that was
        already upscaled (in the studio range but for `scipy`, see `color.rgb_to_ycbcr`). Its output is restored luma
        without a border of 6 pixels (9-1-5) or 8 (9-5-5).

    Raises:
        UsageError: there is no such architecture or degradation.
        RunError: there are no such weights.
    """
    config = Config(scale=scale, architecture=architecture, degradation=degradation, weights=weights)
    return plain_keras(find_model(config, search_runs=False)[0])


def upscale_image(
    image: ArrayLike,
    scale: float = 3,
    architecture: str = "9-1-5",
    weights: str | None = None,
    precision: str = "auto",
    size: tuple[int, int] | None = None,
    self_ensemble: bool = False,
    degradation: str = "matlab",
) -> NDArray:
    """Upscales an image: bicubic, with its luma restored by the network.

    Args:
        image: `(rows, cols)` or `(rows, cols, channels)` with 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGBA, not
            premultiplied) channels; uint8, uint16, or floats in [0, 1].
        scale: upscaling factor; any number above 1, up to 16.
        architecture: see `load_model`.
        weights: see `load_model`.
        precision: dtype of all layers but the last: `float32`, `bfloat16`, or `auto`, which is bfloat16 where the
            processor or GPU is faster with it.
        size: rows and columns of the result, instead of `scale`; the aspect ratio may change.
        self_ensemble: average over the eight flips and transposes of the image; takes 8 times as long.
        degradation: see `load_model`; `jpeg` for an image that was compressed.

    Returns:
        `(scale * rows, scale * cols[, channels])`, halves rounded up, or of `size`; of the same dtype.

    Raises:
        ValueError: `image` is not such an array.
        UsageError: there is no such architecture or precision, or the scale is out of range.
        RunError: the size is smaller than the image, or there are no weights.
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
    return as_array(upscaler(scale, architecture, weights, precision, self_ensemble, degradation)(pixels, size=size))


@lru_cache(maxsize=8)
def _cached_upscaler(
    scale: float, architecture: str, weights: str | None, precision: str, self_ensemble: bool, degradation: str
) -> Upscaler:
    config = Config(
        input="an array",
        scale=scale,  # type: ignore[arg-type]  # a fraction, in upscaling only
        architecture=architecture,
        weights=weights,
        precision=precision,
        self_ensemble=self_ensemble,
        degradation=degradation,
    )
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
        if config.width is config.height is None:
            upscaler.load(config.scale)  # if there are no weights, that is one error, and not one per image
        megapixels = {source: _declared_megapixels(source, upscaler, config) for source, _ in jobs}
        print(f"Weights: {upscaler.weights or 'none needed'}", flush=True)
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
    if config.page is not None:
        from srcnn_tf.inference.gallery import write_upscaling_page

        folder = all_jobs[0][1].parent if len(all_jobs) == 1 else Path(_output_folder(config))
        _print_line(f"Page: {write_upscaling_page(all_jobs, folder, config)}")
    if failed := len(jobs) - done + refused:
        total = len(all_jobs) + refused
        raise RunError(f"{failed} of {total} images could not be upscaled; see the messages above.")


def _declared_megapixels(source: Path, upscaler: Upscaler, config: Config) -> float:
    """Returns the megapixels of the upscaled image, and loads the weights; 0 where it cannot be upscaled."""
    rows, cols = declared_size(source)
    try:
        size = target_size(rows, cols, config)
        upscaler.load(upscaling_factor((rows, cols), size))
    except (RunError, ZeroDivisionError):  # reported when it is upscaled; of a damaged file, rows and columns are 0
        return 0.0
    return math.prod(size) / 1e6


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
    (source, target), choices = job, list[str]()
    max_pixels = int(config.max_megapixels * 1e6)
    # That of a size is checked with each page.
    declared = max_pixels if config.width or config.height else math.floor(max_pixels / config.scale**2)
    try:
        with ImageReader(source, declared) as reader, ImageWriter(target, len(reader), config.quality) as writer:
            for page in reader:
                try:
                    rows, cols = page.pixels.shape[:2]
                    size = target_size(rows, cols, config)
                    is_compressed = page.jpeg_quality is not None and page.jpeg_quality < JPEG_QUALITY_LIMIT
                    upscaled = upscaler(page.pixels, bar, size, is_compressed)
                    if config.degradation == "auto" and page.jpeg_quality is not None:
                        passes = upscaler.load(upscaling_factor((rows, cols), size), is_compressed)
                        choices += [_explain(page.jpeg_quality, passes[0].degradation)] if passes else []
                except RunError as error:
                    raise RunError(f"{source}: {error}") from error
                if math.prod(upscaled.shape[:2]) > max_pixels:
                    raise RunError(
                        f"{source}: would have {upscaled.shape[1]} x {upscaled.shape[0]} pixels, expected at most "
                        f"{max_pixels / 1e6:,.1f} megapixels; allow more with --max_megapixels."
                    )
                # A page that the format cannot hold is refused before it is upscaled.
                writer.check(upscaled.shape, upscaled.dtype)
                writer.write(replace(page, pixels=upscaled))
                del upscaled
                del page  # one page at a time is in memory
    except RunError as error:
        return False, [f"Problem: {error}"]
    except MemoryError as error:
        return False, [f"Problem: {source}: not enough memory to upscale it ({error}); use a smaller image."]
    return True, [f"{source}: {warning}" for warning in dict.fromkeys(choices + reader.warnings + writer.warnings)]


def _passes_of(factor: float | Fraction, config: Config) -> tuple[Config, ...]:
    later = replace(config, degradation="matlab") if config.degradation == "jpeg" else config
    factors = factors_of_passes(factor)
    return tuple(replace(later if number else config, scale=scale) for number, scale in enumerate(factors))


def _explain(jpeg_quality: float, degradation: str) -> str:
    """Says which weights `--degradation=auto` has chosen, and why."""
    quality = f"JPEG quality {jpeg_quality:.0f}"
    if degradation == "jpeg":
        return f"jpeg weights, as it is compressed ({quality})"
    if jpeg_quality < JPEG_QUALITY_LIMIT:
        return f"{degradation} weights, as no run has --degradation=jpeg, although it is compressed ({quality})"
    return f"{degradation} weights, as it is hardly compressed ({quality})"


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

    return upscale_file(job, once_per_process(Upscaler, config), config)


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
        results = {realpath(target_path(path, config)) for path in sources}
        ignored = {realpath(path): path for path in sources if realpath(path) in results}
        sources = [path for path in sources if realpath(path) not in results]
        if not sources:
            raise RunError(f"--input={given} has no images: expected {', '.join(sorted(INPUT_EXTENSIONS))} in it.")
        if ignored:
            print(f"Images ignored because upscaled images have these names: {len(ignored)}.")

    jobs: dict[str, tuple[Path, Path]] = {}
    for source in sources:
        target = target_path(source, config)
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


def target_path(source: Path, config: Config) -> Path:
    """Returns the file that an upscaled image is written to."""
    given, output = Path(config.input or ""), _output_folder(config)
    extension = source.suffix
    if extension.lower() not in OUTPUT_EXTENSIONS | VIDEO_OUTPUT_EXTENSIONS:
        extension = ".mkv" if extension.lower() in VIDEO_EXTENSIONS else ".png"  # which hold everything
    name = f"{source.stem}_{_size_name(config)}{extension}"
    if given.is_dir():
        return Path(output, source.relative_to(given)).with_name(name)
    is_file = config.output is not None and Path(output).suffix and not output.endswith("/")
    return Path(output) if is_file and not Path(output).is_dir() else Path(output, name)


def _size_name(config: Config) -> str:
    if config.width and config.height:
        return f"{config.width}x{config.height}"
    sizes = [f"{name}{value}" for name, value in (("width", config.width), ("height", config.height)) if value]
    return sizes[0] if sizes else f"x{config.scale}"


def _output_folder(config: Config) -> str:
    return config.output or str(Path(config.sample_dir, "enlarged"))


def _print_line(text: str, file: TextIO | None = None) -> None:
    """Prints in one line, above the progress bar; the name of a file may contain a newline."""
    tqdm.write(" ".join(text.split()), file=file)

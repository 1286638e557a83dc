"""Upscales image files: one, or all of a folder."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from tqdm import tqdm

from srcnn_tf.config import Config
from srcnn_tf.errors import RunError
from srcnn_tf.images.read import declared_size
from srcnn_tf.images.reader import ImageReader
from srcnn_tf.images.writer import ImageWriter
from srcnn_tf.system.jobs import print_line, run_jobs
from srcnn_tf.system.threads import cores
from srcnn_tf.upscaling.sizes import scaled_size, upscaling_factor
from srcnn_tf.upscaling.targets import Job, find_jobs, output_folder
from srcnn_tf.upscaling.upscaler import Pass, Upscaler

# Of files compressed more, `jpeg` weights restore more than `matlab` ones: chosen on validation images, see
# docs/experiments.md.
JPEG_QUALITY_LIMIT = 91.5


def upscale_files(config: Config) -> None:
    """Upscales `config.input`, an image or a folder of images with its subfolders, into `config.output`.

    Existing files are kept unless `config.overwrite` is set. A progress bar counts output megapixels.

    Raises:
        RunError: there is no image, or some could not be upscaled; each is reported, and the others are complete.
    """
    print(f"Computing on: processor, {cores()} cores", flush=True)
    all_jobs, refused = find_jobs(config)
    jobs = [(source, target) for source, target in all_jobs if config.overwrite or not target.is_file()]
    if len(jobs) < len(all_jobs):
        print(f"{len(all_jobs) - len(jobs)} of {len(all_jobs)} already exist; --overwrite upscales them again.")
    done = 0
    if jobs:
        upscaler = make_upscaler(config)
        if not (config.width or config.height):
            upscaler.passes(config.scale)  # if there are no weights, that is one error, and not one per image
        megapixels = {job: _declared_megapixels(job[0], upscaler, config) for job in jobs}
        print(f"Weights: {upscaler.sources or 'none needed'}", flush=True)
        for _, messages in run_jobs(partial(upscale_file, upscaler, config), megapixels, config.cluster):
            done += 1
            for message in messages:
                print_line(message)
    if done:
        destination = jobs[0][1] if len(jobs) == 1 else output_folder(config)
        print_line(f"{done} of {len(jobs)} upscaled, to {destination}.")
    if config.page is not None:
        from srcnn_tf.upscaling.gallery import write_upscaling_page

        folder = all_jobs[0][1].parent if len(all_jobs) == 1 else Path(output_folder(config))
        print_line(f"Page: {write_upscaling_page(all_jobs, folder, config)}")
    if failed := len(jobs) - done + refused:
        total = len(all_jobs) + refused
        raise RunError(f"{failed} of {total} images could not be upscaled; see the messages above.")


def make_upscaler(config: Config) -> Upscaler:
    """Returns the upscaler for the network that `config` describes."""
    search = config.search if config.cluster is None else config.search.absolute()
    return Upscaler(config.network, search, config.degradation == "auto", config.self_ensemble)


def _declared_megapixels(source: Path, upscaler: Upscaler, config: Config) -> float:
    """Returns the megapixels of the upscaled image, and loads the weights; 0 where it cannot be upscaled."""
    rows, cols = declared_size(source)
    try:
        size = target_size(rows, cols, config)
        upscaler.passes(upscaling_factor((rows, cols), size))
    except (RunError, ZeroDivisionError):  # reported when it is upscaled; of a damaged file, rows and columns are 0
        return 0.0
    return math.prod(size) / 1e6


def target_size(rows: int, cols: int, config: Config) -> tuple[int, int]:
    """Returns the rows and columns of the upscaled image that `config` asks for, see `sizes.scaled_size`."""
    return scaled_size(rows, cols, config.scale, config.width, config.height)


def upscale_file(upscaler: Upscaler, config: Config, job: Job, progress: tqdm | None = None) -> list[str]:
    """Reads, upscales and writes one file, page by page.

    Args:
        upscaler: what upscales it.
        config: gives the size, the quality and the largest size.
        job: the file to read, and the one to write.
        progress: a progress bar that counts output megapixels.

    Returns:
        What to report: what was left out or changed, and which weights were chosen.

    Raises:
        RunError: it cannot be upscaled; nothing is written.
        MemoryError: it is too large for the memory.
    """
    (source, target), choices = job, list[str]()
    max_pixels = int(config.max_megapixels * 1e6)
    # That of a size is checked with each page.
    declared = max_pixels if config.width or config.height else math.floor(max_pixels / config.scale**2)
    with ImageReader(source, declared) as reader, ImageWriter(target, len(reader), config.quality) as writer:
        for page in reader:
            try:
                rows, cols = page.pixels.shape[:2]
                size = target_size(rows, cols, config)
                is_compressed = page.jpeg_quality is not None and page.jpeg_quality < JPEG_QUALITY_LIMIT
                upscaled = upscaler(page.pixels, size, is_compressed, progress)
                if config.degradation == "auto" and page.jpeg_quality is not None:
                    passes = upscaler.passes(upscaling_factor((rows, cols), size), is_compressed)
                    choices += _explain(page.jpeg_quality, passes)
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
    return [f"{source}: {message}" for message in dict.fromkeys(choices + reader.warnings + writer.warnings)]


def _explain(jpeg_quality: float, passes: Sequence[Pass]) -> list[str]:
    """Says which weights `--degradation=auto` has chosen, and why."""
    quality = f"JPEG quality {jpeg_quality:.0f}"
    if not passes:
        return []
    degradation = passes[0].spec.degradation
    if degradation == "jpeg":
        return [f"jpeg weights, as it is compressed ({quality})"]
    if jpeg_quality < JPEG_QUALITY_LIMIT:
        return [f"{degradation} weights, as no run has --degradation=jpeg, although it is compressed ({quality})"]
    return [f"{degradation} weights, as it is hardly compressed ({quality})"]

"""Upscales files: those that are named, and all of a folder."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from tqdm import tqdm

import srcnn_tf
from srcnn_tf.config import LARGEST_SCALE, Config
from srcnn_tf.errors import RunError, UsageError
from srcnn_tf.images.formats.interface import Kind
from srcnn_tf.images.formats.registry import FORMATS, PNG
from srcnn_tf.images.library_errors import quiet
from srcnn_tf.images.page import Pixels, without_opaque_alpha
from srcnn_tf.images.read import declared_size
from srcnn_tf.images.reader import ImageReader
from srcnn_tf.images.value_range import within
from srcnn_tf.images.writer import ImageWriter
from srcnn_tf.spec import JPEG_QUALITIES
from srcnn_tf.system.jobs import print_line, run_jobs
from srcnn_tf.system.origins import write_origin
from srcnn_tf.system.threads import cores
from srcnn_tf.upscaling.sizes import upscaling_factor
from srcnn_tf.upscaling.targets import (
    Job,
    Plan,
    find_jobs,
    fitting_extension,
    is_file_named,
    largest_input,
    output_folder,
    target_size,
    wanted_extension,
)
from srcnn_tf.upscaling.upscaler import Pass, Upscaler, make_upscaler, suited_degradation
from srcnn_tf.upscaling.video.recognize import VIDEO_EXTENSIONS, is_video


@quiet()
def upscale_files(config: Config) -> None:
    """Upscales the images and videos that `config.input` names, or that are below folders, into `config.output`.

    Results that exist are kept, unless their image has changed or `config.overwrite` is set. A progress bar counts
    output megapixels of images; videos have bars of their own.

    Raises:
        UsageError: a flag does not apply to what is upscaled.
        RunError: there is nothing to upscale, or some could not be; each is reported, and the others are complete.
    """
    print(f"Computing on: processor, {cores()} cores", flush=True)
    upscaler, has_size = make_upscaler(config), bool(config.width or config.height)
    factors = range(2, LARGEST_SCALE + 1) if has_size else [config.scale]  # of a size, that of each image is its own
    options = " ".join([*_options(config), f"({upscaler.describe(*factors)})"])
    plan = find_jobs(config, options)
    everything = [*plan.jobs, *plan.finished]
    videos = {job for job in everything if is_video_job(job)}
    if len(videos) == len(everything):
        for name in ("page", "format", "edges", "value_range"):
            if everything and getattr(config, name) != getattr(Config, name):
                raise UsageError(f"--{name} is for images, and only videos are to be upscaled: leave it out.")
    if not has_size:
        upscaler.passes(config.scale)  # if there are no weights, that is one error, and not one per image
    elif not plan.jobs and plan.finished and (size := declared_size(plan.finished[0][0])) != (0, 0):
        upscaler.passes(upscaling_factor(size, target_size(*size, config)))
    for problem in plan.problems:
        print_line(f"Problem: {problem}", sys.stderr)
    for note in plan.notes:
        print_line(note)
    if plan.finished:
        print(f"{len(plan.finished)} of {len(everything)} already exist; --overwrite upscales them again.")
    if plan.other_options:
        print(f"Of these, {len(plan.other_options)} were made otherwise: {plan.other_options[0]}; now {options}.")
    done = 0
    if plan.jobs:
        megapixels = {job: 0.0 if job in videos else _megapixels(job[0], plan, upscaler, config) for job in plan.jobs}
        unknown = "those for the size of each video" if videos & plan.jobs.keys() else "none needed"
        print(f"Weights: {upscaler.sources or unknown}", flush=True)
        for job, messages in run_jobs(partial(_upscale, upscaler, config), megapixels, config.cluster):
            write_origin(job[1], plan.jobs[job])
            done += 1
            for message in messages:
                print_line(message)
    if done:
        destination = next(iter(plan.jobs))[1] if len(plan.jobs) == 1 else output_folder(config)
        print_line(f"{done} of {len(plan.jobs)} upscaled, to {destination}.")
    if config.page is not None and everything:
        from srcnn_tf.upscaling.gallery import write_upscaling_page

        images = sorted(job for job in everything if job not in videos)
        folder = images[0][1].parent if len(images) == 1 else Path(output_folder(config))
        print_line(f"Page: {write_upscaling_page(images, folder, config)}")
    if failed := len(plan.jobs) - done + len(plan.problems):
        total = len(everything) + len(plan.problems)
        raise RunError(f"{failed} of {total} files could not be upscaled; see the messages above.")


def _options(config: Config) -> list[str]:
    """Lists the flags that determine the results: the scale, and what else is given."""
    scale = [] if config.width or config.height else [f"--scale={config.scale}"]
    names = "width height architecture filters c_dim color_space degradation weights self_ensemble edges format"
    names += " quality value_range codec deinterlace"
    return scale + [word for word in config.flags if word.removeprefix("--").partition("=")[0] in names.split()]


def _upscale(upscaler: Upscaler, config: Config, job: Job, progress: tqdm | None = None) -> list[str]:
    """Upscales an image or a video; returns what to report."""
    if not is_video_job(job):
        try:
            return upscale_file(upscaler, config, job, progress)
        except RunError as error:
            if is_video(job[0]):
                expected = "name the result with --output, or rename the video, to end with .mkv or .mp4"
                raise RunError(f"{job[0]}: is a video, and {job[1].name} would be an image; {expected}.") from error
            raise
    if config.edges != Config.edges:
        raise RunError(f"{job[0]}: --edges={config.edges} is for images; leave the video or the flag out.")
    try:
        from srcnn_tf.upscaling.video.upscale import upscale_video
    except RunError as error:  # its library is missing
        raise RunError(f"{job[0]}: {error}") from error
    return upscale_video(upscaler, config, job)


def is_video_job(job: Job) -> bool:
    """Tells whether a job makes a video: of a video, or of an animated image where the result has such a name.

    A damaged image may look like a video; what is to become an image is one.
    """
    extension = job[1].suffix.lower()
    return extension not in FORMATS and is_video(job[0], is_animation_wanted=extension in VIDEO_EXTENSIONS)


def _megapixels(source: Path, plan: Plan, upscaler: Upscaler, config: Config) -> float:
    """Returns the megapixels of the result of an image, and loads the weights; 0 where it cannot be upscaled."""
    kinds = plan.kinds.get(source)
    rows, cols = kinds[0].shape[:2] if kinds else declared_size(source)
    try:
        size = target_size(rows, cols, config)
        upscaler.passes(upscaling_factor((rows, cols), size))
    except (RunError, ZeroDivisionError):  # reported when it is upscaled; of a damaged file, rows and columns are 0
        return 0.0
    return math.prod(size) / 1e6


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
    with (
        ImageReader(source, largest_input(config)) as reader,
        ImageWriter(target, len(reader), config.quality, reader.images) as writer,
    ):
        for kind in reader.kinds:  # before any page is decoded
            _checked_size(source, target, kind.shape, config)
        ranges = reader.value_ranges(config.value_range)
        for page, values in zip(reader, ranges, strict=True):
            rows, cols = page.pixels.shape[:2]
            pixels = _held_pixels(page.pixels, target, choices)
            size = _checked_size(source, target, pixels.shape, config)
            factor = upscaling_factor((rows, cols), size)
            suited = suited_degradation(page.jpeg_quality, factor)
            try:
                values = within(values, page.limits)
                upscaled = upscaler(pixels, size, suited, progress, values, page.mask, page.nodata)
                passes = upscaler.passes(factor, suited)
                if pixels.dtype.itemsize > 1 or config.value_range is not None:
                    weights = ", ".join(dict.fromkeys(each.source for each in passes))
                    choices.append(f"{page.name}value range {values}; weights: {weights}")
                if config.degradation == "auto" and page.jpeg_quality is not None:
                    choices += _explain(page.jpeg_quality, suited, passes)
            except RunError as error:
                raise RunError(f"{source}: {error}") from error
            # A page that the format cannot hold is refused before it is upscaled.
            writer.check(upscaled.shape, upscaled.dtype)
            derivation = _derivation(upscaled.shape, (rows, cols), passes)
            writer.write(replace(page, pixels=upscaled, derivation=derivation, command=upscaler.command))
            del upscaled
            del page, pixels  # one page at a time is in memory
        choices += _other_format(source, target, reader.kinds, config)
    return [f"{source}: {message}" for message in dict.fromkeys(choices + reader.warnings + writer.warnings)]


def _checked_size(source: Path, target: Path, shape: tuple[int, ...], config: Config) -> tuple[int, int]:
    """Returns the rows and columns that an image of this shape gets; raises a RunError if they are too many."""
    held = FORMATS.get(target.suffix.lower(), PNG)
    limit = held.max_pixels if config.max_megapixels is None else config.max_megapixels * 1e6
    try:
        rows, cols = target_size(shape[0], shape[1], config)
    except RunError as error:
        raise RunError(f"{source}: {error}") from error
    if rows * cols > limit:
        raise RunError(
            f"{source}: would have {cols} x {rows} pixels, {rows * cols / 1e6:,.2f} megapixels; expected at most "
            f"{limit / 1e6:,.2f} in {held.name}; allow more with --max_megapixels."
        )
    return rows, cols


def _held_pixels(pixels: Pixels, target: Path, warnings: list[str]) -> Pixels:
    """Returns the pixels, without alpha that is opaque throughout if the format of the target has none."""
    held = FORMATS.get(target.suffix.lower(), PNG)
    result = pixels if held.alpha else without_opaque_alpha(pixels)
    if result.shape != pixels.shape:
        warnings.append(f"its alpha, opaque throughout, is left out, as {held.name} holds none")
    return result


def _other_format(source: Path, target: Path, kinds: Sequence[Kind], config: Config) -> list[str]:
    """Says why the result has another format than the one that is wanted."""
    wanted = wanted_extension(source, config)
    if wanted.lower() == target.suffix.lower() or is_file_named(config):
        return []
    return [f"{fitting_extension(wanted, kinds, config)[1]}: written as {target.name}"]


def _derivation(shape: tuple[int, ...], size: tuple[int, int], passes: Sequence[Pass]) -> str:
    """Says how an image was upscaled, for formats that record it."""
    weights = ", ".join(f"x{each.spec.scale} {each.spec.degradation}: {each.source}" for each in passes)
    networks = ", ".join(dict.fromkeys(each.spec.architecture for each in passes)) or "none"
    return (
        f"Upscaled {shape[0] / size[0]:.4g} times, from {size[1]} x {size[0]} to {shape[1]} x {shape[0]} pixels, by "
        f"srcnn_tf {srcnn_tf.__version__}, network SRCNN {networks}, weights {weights or 'none'}. Not for diagnosis."
    )


def _explain(jpeg_quality: float, suited: str, passes: Sequence[Pass]) -> list[str]:
    """Says which weights `--degradation=auto` has chosen, and why."""
    quality = f"JPEG quality {jpeg_quality:.0f}"
    if not passes:
        return []
    degradation = passes[0].spec.degradation
    if degradation in JPEG_QUALITIES:
        return [f"{degradation} weights, as it is compressed ({quality})"]
    if suited in JPEG_QUALITIES:
        return [f"{degradation} weights, as no run has --degradation={suited}, although it is compressed ({quality})"]
    return [f"{degradation} weights, as it is hardly compressed ({quality})"]

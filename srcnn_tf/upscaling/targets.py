"""Finds the images to upscale, and names the files that they become."""

from __future__ import annotations

import mimetypes
import os
import sys
from collections.abc import Sequence
from functools import partial
from os.path import realpath  # resolves links; unlike Path.resolve, without an error where they loop
from pathlib import Path

from srcnn_tf.config import Config
from srcnn_tf.datasets.samples import exclude_results
from srcnn_tf.errors import RunError
from srcnn_tf.images.formats.interface import MAX_PIXELS, Kind
from srcnn_tf.images.formats.registry import FORMATS, OUTPUT_EXTENSIONS, holding_extension, output_extension
from srcnn_tf.images.read import IMAGE_EXTENSIONS
from srcnn_tf.images.reader import page_kinds
from srcnn_tf.system.jobs import print_line
from srcnn_tf.upscaling.sizes import scaled_size
from srcnn_tf.utils import prepare_data

INPUT_EXTENSIONS = IMAGE_EXTENSIONS | {".gif"}  # what is read but not written becomes .png
VIDEO_OUTPUT_EXTENSIONS = frozenset({".mp4", ".m4v", ".mov", ".mkv"})
VIDEO_EXTENSIONS = VIDEO_OUTPUT_EXTENSIONS | {
    *(".3gp", ".asf", ".avi", ".flv", ".m2ts", ".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".vob", ".webm", ".wmv", ".y4m")
}
Job = tuple[Path, Path]  # the file to read, and the one to write


def find_jobs(config: Config) -> tuple[list[Job], int]:
    """Pairs each image of `config.input` with the file to write.

    Returns:
        The jobs, and how many images are refused as a file would be overwritten; each is reported.

    Raises:
        RunError: there is no image.
    """
    given = Path(config.input or "")
    sources, ignored, targets = [given], {}, {}
    if given.is_dir():
        sources = exclude_results(prepare_data(given, INPUT_EXTENSIONS), given, output_folder(config))
        targets = {path: target_path(path, config) for path in sources}
        results = {realpath(target) for target in targets.values()}
        ignored = {realpath(path): path for path in sources if realpath(path) in results}
        sources = [path for path in sources if realpath(path) not in results]
        if not sources:
            raise RunError(f"--input={given} has no images: expected {', '.join(sorted(INPUT_EXTENSIONS))} in it.")
        if ignored:
            print(f"Images ignored because upscaled images have these names: {len(ignored)}.")

    jobs: dict[str, Job] = {}
    for source in sources:
        target = targets.get(source) or target_path(source, config)
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
            print_line(f"Problem: {problem}", sys.stderr)
    return list(jobs.values()), len(sources) - len(jobs)


def target_path(source: Path, config: Config) -> Path:
    """Returns the file that an upscaled image is written to.

    By default, its format is that of the image's name; or, if that cannot hold the result, PNG or TIFF.
    """
    given, output = Path(config.input or ""), output_folder(config)
    extension = source.suffix
    if extension.lower() not in VIDEO_OUTPUT_EXTENSIONS:
        extension = ".mkv" if extension.lower() in VIDEO_EXTENSIONS else output_extension(source)
    stem = source.name if source.suffix[1:].isdecimal() else source.stem  # an identifier, of DICOM
    name = f"{stem}_{_size_name(config)}{extension}"
    if is_file_named(config):
        return Path(output)
    target = Path(output, source.relative_to(given) if given.is_dir() else name).with_name(name)
    held = FORMATS.get(extension.lower())
    # A video, what holds every image, or made by an earlier run.
    if held is None or held.has_pages or (target.is_file() and not config.overwrite):
        return target
    kinds = page_kinds(source, largest_input(config), without_alpha=not held.alpha)
    return target.with_suffix(fitting_extension(extension, kinds, config)[0])


def is_file_named(config: Config) -> bool:
    """Tells whether `--output` names a file, whose format is kept whatever the image is."""
    output = config.output
    if not output or Path(config.input or "").is_dir() or Path(output).is_dir():
        return False
    if output.endswith(("/", os.sep)):
        return False
    kind = mimetypes.guess_type(output)[0] or ""
    is_known = Path(output).suffix.lower() in OUTPUT_EXTENSIONS | VIDEO_EXTENSIONS
    return is_known or kind.startswith(("image/", "video/"))


def fitting_extension(extension: str, kinds: Sequence[Kind], config: Config) -> tuple[str, str]:
    """Returns the extension of a format that holds the upscaled pages, see `formats.holding_extension`."""
    size = partial(scaled_size, scale=config.scale, width=config.width, height=config.height)
    try:
        larger = [Kind((*size(*shape[:2]), *shape[2:]), dtype) for shape, dtype in kinds]
    except RunError:  # reported when it is upscaled
        return extension, ""
    return holding_extension(extension, larger, has_limit=config.max_megapixels is None)


def largest_input(config: Config) -> int:
    """Returns the pixels up to which an image is read."""
    return max(MAX_PIXELS, int((config.max_megapixels or 0) * 1e6))


def output_folder(config: Config) -> str:
    """Returns `--output`, or the default for it."""
    return config.output or str(Path(config.sample_dir, "enlarged"))


def _size_name(config: Config) -> str:
    if config.width and config.height:
        return f"{config.width}x{config.height}"
    sizes = [f"{name}{value}" for name, value in (("width", config.width), ("height", config.height)) if value]
    return sizes[0] if sizes else f"x{config.scale}"

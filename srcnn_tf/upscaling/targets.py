"""Finds the images to upscale, and names the files that they become."""

from __future__ import annotations

import mimetypes
import os
import sys
from os.path import realpath  # resolves links; unlike Path.resolve, without an error where they loop
from pathlib import Path

from srcnn_tf.config import Config
from srcnn_tf.datasets.samples import exclude_results
from srcnn_tf.errors import RunError
from srcnn_tf.images.read import IMAGE_EXTENSIONS
from srcnn_tf.images.writer import OUTPUT_EXTENSIONS
from srcnn_tf.system.jobs import print_line
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
    sources, ignored = [given], {}
    if given.is_dir():
        sources = exclude_results(prepare_data(given, INPUT_EXTENSIONS), given, output_folder(config))
        results = {realpath(target_path(path, config)) for path in sources}
        ignored = {realpath(path): path for path in sources if realpath(path) in results}
        sources = [path for path in sources if realpath(path) not in results]
        if not sources:
            raise RunError(f"--input={given} has no images: expected {', '.join(sorted(INPUT_EXTENSIONS))} in it.")
        if ignored:
            print(f"Images ignored because upscaled images have these names: {len(ignored)}.")

    jobs: dict[str, Job] = {}
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
            print_line(f"Problem: {problem}", sys.stderr)
    return list(jobs.values()), len(sources) - len(jobs)


def target_path(source: Path, config: Config) -> Path:
    """Returns the file that an upscaled image is written to."""
    given, output = Path(config.input or ""), output_folder(config)
    extension = source.suffix
    if extension.lower() not in OUTPUT_EXTENSIONS | VIDEO_OUTPUT_EXTENSIONS:
        extension = ".mkv" if extension.lower() in VIDEO_EXTENSIONS else ".png"  # which hold everything
    name = f"{source.stem}_{_size_name(config)}{extension}"
    if given.is_dir():
        return Path(output, source.relative_to(given)).with_name(name)
    kind = mimetypes.guess_type(output)[0] or ""
    is_known = Path(output).suffix.lower() in OUTPUT_EXTENSIONS | VIDEO_EXTENSIONS or kind.startswith(
        ("image/", "video/")
    )
    is_file = config.output is not None and is_known and not output.endswith(("/", os.sep))
    return Path(output) if is_file and not Path(output).is_dir() else Path(output, name)


def output_folder(config: Config) -> str:
    """Returns `--output`, or the default for it."""
    return config.output or str(Path(config.sample_dir, "enlarged"))


def _size_name(config: Config) -> str:
    if config.width and config.height:
        return f"{config.width}x{config.height}"
    sizes = [f"{name}{value}" for name, value in (("width", config.width), ("height", config.height)) if value]
    return sizes[0] if sizes else f"x{config.scale}"

"""Finds the images and videos to upscale, and names the files that they become."""

from __future__ import annotations

import glob
import itertools
import mimetypes
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from os.path import realpath  # resolves links; unlike Path.resolve, without an error where they loop
from pathlib import Path

from srcnn_tf.config import Config
from srcnn_tf.errors import RunError, UsageError
from srcnn_tf.images.formats.interface import MAX_PIXELS, Kind
from srcnn_tf.images.formats.registry import FORMATS, OUTPUT_EXTENSIONS, holding_extension, output_extension
from srcnn_tf.images.read import IMAGE_EXTENSIONS, is_image_file
from srcnn_tf.images.reader import page_kinds
from srcnn_tf.system.files import shortened
from srcnn_tf.system.folders import find_files
from srcnn_tf.system.origins import Origin, origin_of, read_origins
from srcnn_tf.upscaling.sizes import scaled_size
from srcnn_tf.upscaling.video.recognize import VIDEO_EXTENSIONS, VIDEO_FORMATS, is_video

Job = tuple[Path, Path]  # the file to read, and the one to write
Origins = Callable[[Path], dict[str, Origin]]  # of a folder, see `system.origins.read_origins`


@dataclass
class Plan:
    """What to upscale.

    Attributes:
        jobs: what is to be done, with what each result is made of.
        finished: jobs whose results are there already.
        other_options: how some of these were made, if not as now.
        notes: what is left out or named otherwise, a line each.
        problems: what cannot be done, a line each.
        kinds: what the pages of an image are like, where its result's format depends on that.
    """

    jobs: dict[Job, Origin] = field(default_factory=dict)
    finished: list[Job] = field(default_factory=list)
    other_options: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    kinds: dict[Path, list[Kind]] = field(default_factory=dict)


def find_jobs(config: Config, options: str) -> Plan:
    """Pairs each image and video of `config.input` with the file to write.

    A result stays if it is of the same file as it is now. A file that another one's result has the name of gets another
    name.

    Args:
        config: names the files, and the output.
        options: what determines the results, for `Origin.options`.

    Raises:
        UsageError: several images are to become one file.
        RunError: there is nothing to upscale.
    """
    plan, origins = Plan(), lru_cache(maxsize=None)(read_origins)
    sources = _find_sources(config, plan, origins)
    if not sources:
        raise RunError(" ".join([*plan.notes, *plan.problems]))
    _check_output(config, sources)
    targets = {source: _target(source, folder, config, origins, plan) for source, folder in sources.items()}
    ignored: dict[str, Path] = {}
    if len(sources) > 1:
        results = {realpath(target) for target in targets.values()}
        ignored = {resolved: source for source in sources if (resolved := realpath(source)) in results}
    if ignored:
        targets = {source: target for source, target in targets.items() if realpath(source) not in ignored}
        plan.notes.append(f"Images ignored because upscaled images have these names: {len(ignored)}.")

    taken: dict[str, str] = {}  # resolved paths of the results, with those of the files they are made of
    # Those whose endings stay come first, so that of a.gif and a.png the latter becomes a_x3.png.
    for source, wanted in sorted(targets.items(), key=lambda pair: pair[0].suffix != pair[1].suffix):
        origin = origin_of(source, options)
        target, owner = _free_target(wanted, source, config, lambda path: taken.get(realpath(path)), origins)
        resolved, listed = realpath(target), origins(target.parent).get(target.name)
        if taken.get(resolved) == origin.source:
            continue  # named twice, as by two paths
        if resolved == origin.source:
            plan.problems.append(f"{source} would be overwritten by the upscaled image; choose another --output.")
        elif owner is not None and target == wanted and not config.overwrite:
            plan.problems.append(
                f"{source}: {target} is the upscaled {owner}; --overwrite replaces it, or choose another --output."
            )
        elif config.overwrite and resolved in ignored and listed is None:
            plan.problems.append(
                f"{ignored[resolved]}, an image below --input, would be overwritten by the upscaled {source}; choose "
                "another --output, or remove it."
            )
        else:
            taken[resolved] = origin.source
            _add(plan, (source, target), origin, listed, target.is_file() and not config.overwrite)
            if owner is not None and target != wanted and (source, target) in plan.jobs:
                plan.notes.append(f"{source}: written as {target.name}, as {wanted.name} is the upscaled {owner}")
    return plan


def _add(plan: Plan, job: Job, origin: Origin, listed: Origin | None, is_there: bool) -> None:
    """Adds a job to those that are to be done, or to those that are finished."""
    has_changed = listed is not None and listed.source == origin.source and listed.modified != origin.modified
    if is_there and not has_changed:
        plan.finished.append(job)
        if listed is not None and listed.options != origin.options:
            plan.other_options.append(listed.options)
        return
    plan.jobs[job] = origin
    if is_there:
        plan.notes.append(f"{job[0]}: has changed since {job[1]} was made of it, and is upscaled again")


def _find_sources(config: Config, plan: Plan, origins: Origins) -> dict[Path, Path | None]:
    """Lists the files that are named, with None, and those below folders that are named, with these."""

    def is_taken(path: Path) -> bool:
        return path.suffix.lower() in VIDEO_EXTENSIONS or is_image_file(path)

    sources: dict[Path, Path | None] = {}
    for given in config.input or ():
        path = Path(given)
        matches = [] if os.path.lexists(path) else [Path(name) for name in sorted(glob.glob(given, recursive=True))]
        results = [match for match in matches if match.name in origins(match.parent)]
        if results:
            plan.notes.append(f"Left out of {given}: {len(results)} that this program made.")
        if not os.path.lexists(path) and not matches:
            plan.problems.append(f"--input={given}: there is no such file or folder.")
        for named in [match for match in matches if match not in results] or [path] * os.path.lexists(path):
            if not named.is_dir():
                sources.setdefault(named, None)
                continue
            found = find_files(named, is_taken, output_folder(config))
            sources |= dict.fromkeys((file for file in found.files if file not in sources), named)
            plan.problems += found.problems
            if left_out := found.left_out(named):
                plan.notes.append(left_out)
            if not found.files and not found.problems:
                expected = ", ".join(sorted(IMAGE_EXTENSIONS))
                plan.problems.append(f"--input={named} has no images: expected {expected}, or videos, in it.")
    # A shell's pattern names results beside their sources; alone, they are upscaled again.
    made = {source: origins(source.parent).get(source.name) for source, folder in sources.items() if folder is None}
    paths = {realpath(source) for source in made}
    remade = {source for source, origin in made.items() if origin is not None and origin.source in paths}
    if remade:
        plan.notes.append(f"Left out of the files that are named: {len(remade)} that this program made of the others.")
    return {source: folder for source, folder in sources.items() if source not in remade}


def _check_output(config: Config, sources: dict[Path, Path | None]) -> None:
    """Raises a UsageError if `--output` names a file, and several are to be written or another format."""
    output = config.output or ""
    if not _is_file_name(output):
        return
    if len(sources) > 1 or list(sources.values()) != [None]:
        raise UsageError(
            f"--output={output} is one file, and several are to be upscaled: name a folder, or end its name with '/'."
        )
    if config.format and FORMATS.get(Path(output).suffix.lower()) is not FORMATS.get(f".{config.format}"):
        raise UsageError(f"--output={output} and --format={config.format} are two formats: give one of them.")


def _free_target(
    wanted: Path, source: Path, config: Config, planned: Callable[[Path], str | None], origins: Origins
) -> tuple[Path, str | None]:
    """Returns the first name that is not of another file's result; and that other file, if it has the name wanted."""
    size = f"_{_size_name(config)}"
    first_owner: str | None = None
    same_names = (f"{size}_{number}" for number in itertools.count(2))
    for number, ending in enumerate(itertools.chain([size, f"_{source.suffix[1:]}{size}"], same_names)):
        if number == 1 and Path(first_owner or "").suffix.lower() == source.suffix.lower():
            continue  # its ending does not tell them apart
        target = wanted if number == 0 else wanted.with_name(_name(source, ending, wanted.suffix))
        listed = origins(target.parent).get(target.name)
        owner = planned(target) or (listed.source if listed and not _was_moved(listed, source) else None)
        if owner is None or owner == realpath(source):
            return target, first_owner and _relative(first_owner)
        first_owner = first_owner or owner
        if is_file_named(config):
            break
    return wanted, first_owner and _relative(first_owner)


def _was_moved(listed: Origin, source: Path) -> bool:
    """Tells whether a result is of this file, which was in another folder then."""
    if os.path.lexists(listed.source):
        return False
    return os.path.basename(listed.source) == source.name and listed.modified == origin_of(source).modified


def _relative(path: str) -> str:
    """Returns a path from the current folder if that is shorter."""
    try:
        return min(path, os.path.relpath(path), key=len)
    except ValueError:  # on another drive of Windows
        return path


def _target(source: Path, folder: Path | None, config: Config, origins: Origins, plan: Plan) -> Path:
    """Returns the file that an upscaled image is written to, unless that is another one's.

    By default, its format is that of the image's name; or, if that cannot hold the result, PNG or TIFF.
    """
    if is_file_named(config):
        return Path(config.output or "")
    output, extension = Path(output_folder(config)), wanted_extension(source, config)
    parent = output / source.relative_to(folder).parent if folder else output
    target = parent / _name(source, f"_{_size_name(config)}", extension)
    held, listed = FORMATS.get(extension.lower()), origins(parent).get(target.name)
    # A video, what holds every image, or made by an earlier run.
    is_made = target.is_file() and (listed is None or listed.modified == origin_of(source).modified)
    if held is None or held.has_pages or (is_made and not config.overwrite):
        return target
    plan.kinds[source] = page_kinds(source, largest_input(config), without_alpha=not held.alpha)
    return target.with_suffix(fitting_extension(extension, plan.kinds[source], config)[0])


def _name(source: Path, ending: str, extension: str) -> str:
    stem = source.name if source.suffix[1:].isdecimal() else source.stem  # an identifier, of DICOM
    return shortened(stem, ending + extension) + ending + extension


def wanted_extension(source: Path, config: Config) -> str:
    """Returns the extension of the result, if its format can hold it: that of `--format`, else the image's."""
    extension = source.suffix
    if extension.lower() in VIDEO_FORMATS:
        return extension
    if extension.lower() in VIDEO_EXTENSIONS or (extension.lower() not in IMAGE_EXTENSIONS and is_video(source)):
        return ".mkv"  # which holds everything
    if config.format:
        return f".{config.format}"
    return ".jpg" if extension.lower() == ".mpo" else output_extension(source)  # JPEG with further images


def is_file_named(config: Config) -> bool:
    """Tells whether `--output` names a file, whose format is kept whatever the image is."""
    return _is_file_name(config.output or "")


def _is_file_name(output: str) -> bool:
    if not output or output.endswith(("/", os.sep)) or Path(output).is_dir():
        return False
    kind = mimetypes.guess_type(output)[0] or ""
    is_known = Path(output).suffix.lower() in OUTPUT_EXTENSIONS | VIDEO_EXTENSIONS
    return is_known or kind.startswith(("image/", "video/"))


def fitting_extension(extension: str, kinds: Sequence[Kind], config: Config) -> tuple[str, str]:
    """Returns the extension of a format that holds the upscaled pages, see `registry.holding_extension`."""
    size = partial(scaled_size, scale=config.scale, width=config.width, height=config.height)
    try:
        larger = [Kind((*size(*shape[:2]), *shape[2:]), dtype) for shape, dtype in kinds]
    except RunError:  # reported when it is upscaled
        return extension, ""
    return holding_extension(extension, larger, has_limit=config.max_megapixels is None)


def largest_input(config: Config) -> int:
    """Returns the pixels up to which an image is read."""
    return max(MAX_PIXELS, int((config.max_megapixels or 0) * 1e6))


def target_size(rows: int, cols: int, config: Config) -> tuple[int, int]:
    """Returns the rows and columns of the upscaled image that `config` asks for, see `sizes.scaled_size`."""
    return scaled_size(rows, cols, config.scale, config.width, config.height)


def output_folder(config: Config) -> str:
    """Returns `--output`, or the default for it."""
    return config.output or str(Path(config.sample_dir, "enlarged"))


def _size_name(config: Config) -> str:
    if config.width and config.height:
        return f"{config.width}x{config.height}"
    sizes = [f"{name}{value}" for name, value in (("width", config.width), ("height", config.height)) if value]
    return sizes[0] if sizes else f"x{config.scale}"

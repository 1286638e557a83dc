"""Finds the families of formats: which one reads a file, which one writes it, and which format holds an image."""

from __future__ import annotations

import math
import os
import pkgutil
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import BinaryIO

from srcnn_tf.errors import RunError
from srcnn_tf.images import formats
from srcnn_tf.images.formats.interface import Family, Format, Images, Kind

_MODULES = [import_module(f"{formats.__name__}.{found.name}") for found in pkgutil.iter_modules(formats.__path__)]
FAMILIES: tuple[Family, ...] = tuple(
    sorted((module.FAMILY for module in _MODULES if hasattr(module, "FAMILY")), key=lambda family: family.rank)
)
# The format of each extension; of one that several families write, the one that holds images from any file.
FORMATS: dict[str, Format] = {}
for _family in sorted(FAMILIES, key=lambda family: not family.needs_source):
    FORMATS |= _family.outputs
INPUT_EXTENSIONS = frozenset().union(*(family.extensions for family in FAMILIES))
OUTPUT_EXTENSIONS = frozenset(FORMATS)
PNG = FORMATS[".png"]


def family_of(file: BinaryIO, path: str | os.PathLike[str]) -> Family:
    """Returns the family of an open file, by its content; the last one if none recognizes it, which then says so."""
    return next((family for family in FAMILIES if family.recognizes(file, path)), FAMILIES[-1])


def writing_family(path: Path, source: Images | None) -> Family:
    """Returns the family that writes a file: that of the source if it can, else the one of the extension.

    Raises:
        RunError: none does.
    """
    extension = path.suffix.lower()
    families = [family for family in FAMILIES if extension in family.outputs]
    own = [family for family in families if source is not None and source.family is family]
    general = [family for family in families if not family.needs_source]
    if not families:
        known = ", ".join(sorted(name for each in FAMILIES if not each.needs_source for name in each.outputs))
        raise RunError(f"{path}: no image format to write has this extension; use one of {known}.")
    if not own and not general:
        name = FORMATS[extension].name
        raise RunError(f"{path}: {name} is written only of {name}, whose attributes it keeps; use .png or .tif.")
    return [*own, *general][0]


def output_extension(source: Path) -> str:
    """Returns the extension of the upscaled image by default: that of the image itself if its format is written."""
    extension = source.suffix
    if extension.lower() in FORMATS:
        return extension
    families = [family for family in FAMILIES if extension.lower() in family.extensions]
    if not families:
        try:
            with open(source, "rb") as file:
                families = [family_of(file, source)]
        except OSError:  # reported when it is upscaled
            families = [FAMILIES[-1]]
    return next(iter(families[0].outputs))


def holding_extension(extension: str, kinds: Sequence[Kind], has_limit: bool = True) -> tuple[str, str]:
    """Finds a format for pages of these kinds.

    Args:
        extension: of the format that is wanted.
        kinds: of the result's pages.
        has_limit: whether `Format.max_pixels` counts.

    Returns:
        The extension itself if its format holds them, else that of PNG or TIFF; and, then, the reason.
    """
    reasons: list[str] = []
    for name in (extension, ".png", ".tif"):
        held = FORMATS[name.lower()]
        limit = held.max_pixels if has_limit else math.inf
        problems = [held.problem_with(*kind, len(kinds), limit) for kind in kinds]
        if not any(problems):
            return name, reasons[0] if reasons else ""
        reasons += [f"{held.name} holds {problem[0]}" for problem in problems if problem]
    return extension, ""  # too large for each of them

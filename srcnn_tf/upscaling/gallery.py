"""Writes a page that compares images in a browser: a line to drag between two versions, zoom, and a table of scores."""

from __future__ import annotations

import base64
import mimetypes
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from urllib.parse import quote

import jinja2

from srcnn_tf.config import Config
from srcnn_tf.errors import RunError
from srcnn_tf.images.formats.registry import FORMATS
from srcnn_tf.images.page import RowStream, without_opaque_alpha
from srcnn_tf.images.read import declared_size
from srcnn_tf.images.reader import ImageReader
from srcnn_tf.images.resize import resized_bands
from srcnn_tf.images.writer import ImageWriter
from srcnn_tf.system.files import atomic_write

PAGE = "index.html"
BICUBIC = ".bicubic"  # folder beside upscaled images; hidden, so that its images are never upscaled
# Formats that browsers show, besides which only TIFF is written.
BROWSER_EXTENSIONS = frozenset({".avif", ".bmp", ".jpeg", ".jpg", ".png", ".webp"})


@dataclass(frozen=True)
class Entry:
    """An image on the page.

    Attributes:
        name: shown above it.
        cells: its cells in the table, after the name.
        files: its versions, all of one size, by their names; the first is at the left, the second at the right.
        note: shown if there are no versions.
    """

    name: str
    cells: Sequence[str]
    files: dict[str, Path]
    note: str = ""


def write_upscaling_page(jobs: Iterable[tuple[Path, Path]], folder: Path, config: Config) -> Path:
    """Writes `index.html` beside upscaled images, and interpolated images for it below `BICUBIC`; returns its path.

    Args:
        jobs: files and the upscaled images; those that could not be upscaled are left out.
        folder: that of the upscaled images.
        config: says whether images are embedded, and whether existing files are replaced.

    Raises:
        RunError: a file cannot be written.
    """
    entries = []
    for source, target in jobs:
        if not target.is_file():
            continue
        name, (rows, cols) = os.path.relpath(target, folder), declared_size(target)
        interpolated, note = folder / BICUBIC / name, ""
        if target.suffix.lower() not in BROWSER_EXTENSIONS:
            note = "Browsers do not show this format."
        elif config.overwrite or not interpolated.is_file():
            try:
                _interpolate(source, interpolated, (rows, cols), config.quality)
            except (RunError, MemoryError) as error:  # the others are shown
                note = f"There is no bicubic image: {error}"
        files = {} if note else {"bicubic": interpolated, "SRCNN": target}
        entries.append(Entry(name, [f"{cols} x {rows}", f"{rows * cols / 1e6:.2f}"], files, note))
    if not entries:
        raise RunError(f"{folder / PAGE}: there is no upscaled image to show.")
    return write_page("Upscaled by SRCNN", ["image", "size", "megapixels"], entries, folder, config)


def _interpolate(source: Path, target: Path, size: tuple[int, int], quality: int) -> None:
    """Writes an image of a given size by bicubic interpolation."""
    with ImageReader(source, sys.maxsize) as reader, ImageWriter(target, 1, quality) as writer:
        page = next(iter(reader))
        pixels = page.pixels if FORMATS[target.suffix.lower()].alpha else without_opaque_alpha(page.pixels)
        shape = (*size, *pixels.shape[2:])
        writer.write(replace(page, pixels=RowStream(shape, pixels.dtype, resized_bands(pixels, *size))))


def write_page(title: str, columns: Sequence[str], entries: Sequence[Entry], folder: Path, config: Config) -> Path:
    """Writes `index.html` into a folder, image by image; returns its path.

    Args:
        title: of the page.
        columns: heads of the table.
        entries: the images.
        folder: where the page is written.
        config: says whether images are embedded.

    Raises:
        RunError: it cannot be written.
    """

    def source(path: Path) -> str:
        """Returns the address of a file: relative to the page, or with the file in it."""
        if config.page == "embedded":
            kind = mimetypes.guess_type(path.name)[0] or "image/png"
            return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
        return quote(os.fsencode(os.path.relpath(path, folder).replace(os.sep, "/")))

    template = (resources.files("srcnn_tf.upscaling") / "gallery.html").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    html = environment.from_string(template).generate(
        title=title, columns=columns, entries=entries, source=source, size=declared_size
    )
    with atomic_write(folder / PAGE) as temporary, open(temporary, "w", encoding="utf-8", errors="replace") as file:
        file.writelines(html)
    return folder / PAGE

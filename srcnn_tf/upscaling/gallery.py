"""Writes a page that compares images in a browser: a line to drag between two versions, zoom, and a table of scores."""

from __future__ import annotations

import base64
import itertools
import mimetypes
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
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
from srcnn_tf.images.resize import resized_bands, wrapped
from srcnn_tf.images.writer import ImageWriter
from srcnn_tf.system.files import atomic_write
from srcnn_tf.system.origins import Origin, origin_of, read_origins, write_origin

PAGE = "index.html"
BROWSER_FORMATS = frozenset({"AVIF", "BMP", "JPEG", "PNG", "WebP"})  # which browsers show
REACH = 2  # pixels that bicubic interpolation reaches
BICUBIC = ".bicubic"  # folder beside upscaled images; hidden, so that its images are never upscaled


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
    """Writes a page beside upscaled images, and interpolated images for it below `BICUBIC`; returns its path.

    Args:
        jobs: files and the upscaled images; those that could not be upscaled are left out.
        folder: that of the upscaled images.
        config: says whether images are embedded, and whether existing files are replaced.

    Raises:
        RunError: a file cannot be written.
    """
    entries, origins = [], lru_cache(maxsize=None)(read_origins)
    for source, target in jobs:
        if not target.is_file():
            continue
        name, (rows, cols) = os.path.relpath(target, folder), declared_size(target)
        interpolated, note = folder / BICUBIC / name, ""
        origin = origin_of(source, f"--edges={config.edges}")
        if FORMATS[target.suffix.lower()].name not in BROWSER_FORMATS:
            note = "Browsers do not show this format."
        elif config.overwrite or origins(interpolated.parent).get(interpolated.name) != origin:
            try:
                _interpolate(source, interpolated, (rows, cols), config)
                write_origin(interpolated, origin)
            except (RunError, MemoryError) as error:  # the others are shown
                note = f"There is no bicubic image: {error}"
        files = {} if note else {"bicubic": interpolated, "SRCNN": target}
        entries.append(Entry(name, [f"{cols} x {rows}", f"{rows * cols / 1e6:.2f}"], files, note))
    if not entries:
        raise RunError(f"{folder / PAGE}: there is no upscaled image to show.")
    return write_page("Upscaled by SRCNN", ["image", "size", "megapixels"], entries, folder, config)


def _interpolate(source: Path, target: Path, size: tuple[int, int], config: Config) -> None:
    """Writes an image of a given size by bicubic interpolation."""
    margin = REACH if config.edges == "wrap" else 0
    with ImageReader(source, sys.maxsize) as reader, ImageWriter(target, 1, config.quality) as writer:
        page = next(iter(reader))
        pixels = page.pixels if FORMATS[target.suffix.lower()].alpha else without_opaque_alpha(page.pixels)
        shape = (*size, *pixels.shape[2:])
        bands = resized_bands(wrapped(pixels, margin) if margin else pixels, *size, margin)
        writer.write(replace(page, pixels=RowStream(shape, pixels.dtype, bands)))


def write_page(title: str, columns: Sequence[str], entries: Sequence[Entry], folder: Path, config: Config) -> Path:
    """Writes `index.html` into a folder, image by image; returns its path.

    If there is a file of that name that is not from here, it stays, and the page gets another name.

    Args:
        title: of the page.
        columns: heads of the table.
        entries: the images.
        folder: where the page is written.
        config: says whether images are embedded, and whether a page of somebody else is replaced.

    Raises:
        RunError: it cannot be written.
    """
    own = read_origins(folder)
    names = itertools.chain([PAGE, "srcnn_tf.html"], (f"srcnn_tf_{number}.html" for number in itertools.count(2)))
    paths = (folder / name for name in names)
    target = next(path for path in paths if config.overwrite or path.name in own or not os.path.lexists(path))

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
    with atomic_write(target) as temporary, open(temporary, "w", encoding="utf-8", errors="replace") as file:
        file.writelines(html)
    write_origin(target, Origin())
    if target.name != PAGE:
        print(f"{folder / PAGE} is not from this program, and stays; --overwrite replaces it.")
    return target

"""Writes a page that compares images in a browser: a line to drag between two versions, zoom, and a table of scores."""

from __future__ import annotations

import base64
import mimetypes
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from urllib.parse import quote

import jinja2
from numpy.typing import NDArray

from srcnn_tf.config import Config
from srcnn_tf.errors import RunError
from srcnn_tf.files import atomic_write
from srcnn_tf.images.page import RowStream, block_rows
from srcnn_tf.images.read import declared_size
from srcnn_tf.images.reader import ImageReader
from srcnn_tf.images.resize import imresize_rows
from srcnn_tf.images.writer import ImageWriter
from srcnn_tf.inference.report import Result

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
        embedded: whether the page holds the files, or links to them.
        folder: of the page.
        note: shown if there are no versions.
    """

    name: str
    cells: Sequence[str]
    files: dict[str, Path]
    embedded: bool
    folder: Path
    note: str = ""

    @property
    def versions(self) -> list[str]:
        """The names of the versions."""
        return list(self.files)

    @property
    def rows(self) -> int:
        """Rows of the versions, in pixels."""
        return declared_size(next(iter(self.files.values())))[0]

    @property
    def cols(self) -> int:
        """Columns of the versions, in pixels."""
        return declared_size(next(iter(self.files.values())))[1]

    def sources(self) -> Iterator[str]:
        """Yields the address of each version: relative to the page, or with the file in it."""
        for path in self.files.values():
            if self.embedded:
                kind = mimetypes.guess_type(path.name)[0] or "image/png"
                yield f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
            else:
                yield quote(os.fsencode(os.path.relpath(path, self.folder)))


def write_test_page(results: Sequence[Result], config: Config) -> Path:
    """Writes `index.html` in `config.sample_dir`, with the images and scores of a test; returns its path.

    Raises:
        RunError: it cannot be written.
    """
    folder = Path(config.sample_dir)
    columns = ["image", "bicubic dB", "SRCNN dB", "gain dB", "bicubic SSIM", "SRCNN SSIM", "seconds"]

    def entries() -> Iterator[Entry]:
        for result in results:
            gain = result.psnr_srcnn - result.psnr_bicubic
            scores = [result.psnr_bicubic, result.psnr_srcnn, gain]
            cells = [f"{score:.2f}" for score in scores]
            cells += [f"{result.ssim_bicubic:.4f}", f"{result.ssim_srcnn:.4f}", f"{result.seconds:.2f}"]
            versions = {"bicubic": "bicubic", "SRCNN": "srcnn", "original": "original"}
            images = folder / result.set
            files = {name: images / f"{result.image}_{ending}.png" for name, ending in versions.items()}
            yield Entry(f"{result.set}/{result.image}", cells, files, config.page == "embedded", folder)

    return _write(f"SRCNN x{config.scale}: test", columns, entries, folder)


def write_upscaling_page(jobs: Iterable[tuple[Path, Path]], folder: Path, config: Config) -> Path:
    """Writes `index.html` beside upscaled images, and interpolated images for it below `BICUBIC`; returns its path.

    Args:
        jobs: files and the upscaled images; those that could not be upscaled are left out.
        folder: that of the upscaled images.
        config: says whether images are embedded, and whether existing files are replaced.

    Raises:
        RunError: a file cannot be written.
    """
    done = [(source, target) for source, target in jobs if target.is_file()]
    notes: dict[Path, str] = {}  # of images that cannot be compared
    for source, target in done:
        interpolated = folder / BICUBIC / os.path.relpath(target, folder)
        if target.suffix.lower() not in BROWSER_EXTENSIONS:
            notes[target] = "Browsers do not show this format."
        elif config.overwrite or not interpolated.is_file():
            try:
                _interpolate(source, interpolated, declared_size(target), config.quality)
            except (RunError, MemoryError) as error:  # the others are shown
                notes[target] = f"There is no bicubic image: {error}"

    def entries() -> Iterator[Entry]:
        for _, target in done:
            rows, cols = declared_size(target)
            name = os.path.relpath(target, folder)
            cells = [f"{cols} x {rows}", f"{rows * cols / 1e6:.2f}"]
            files = {} if target in notes else {"bicubic": folder / BICUBIC / name, "SRCNN": target}
            yield Entry(name, cells, files, config.page == "embedded", folder, notes.get(target, ""))

    if not done:
        raise RunError(f"{folder / PAGE}: there is no upscaled image to show.")
    return _write("Upscaled by SRCNN", ["image", "size", "megapixels"], entries, folder)


def _interpolate(source: Path, target: Path, size: tuple[int, int], quality: int) -> None:
    """Writes an image of a given size by bicubic interpolation."""
    with ImageReader(source, 2**62) as reader, ImageWriter(target, 1, quality) as writer:
        page = next(iter(reader))
        pixels, shape = page.pixels, (*size, *page.pixels.shape[2:])
        scale = size[0] / pixels.shape[0], size[1] / pixels.shape[1]
        step = block_rows(shape, pixels.dtype)

        def blocks() -> Iterator[NDArray]:
            for begin in range(0, size[0], step):
                yield imresize_rows(pixels, scale, begin, min(begin + step, size[0]))[:, : size[1]]

        writer.write(replace(page, pixels=RowStream(shape, pixels.dtype, blocks())))


def _write(title: str, columns: Sequence[str], entries: object, folder: Path) -> Path:
    """Renders the template, image by image."""
    template = (resources.files("srcnn_tf.inference") / "gallery.html").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, trim_blocks=False, undefined=jinja2.StrictUndefined)
    parts = environment.from_string(template).generate(title=title, columns=columns, entries=entries)
    with atomic_write(folder / PAGE) as temporary, open(temporary, "w", encoding="utf-8", errors="replace") as file:
        file.writelines(parts)
    return folder / PAGE

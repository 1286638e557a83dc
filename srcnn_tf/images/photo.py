"""One's own pictures, read as faithfully as they are stored, and written whole with what belongs to them."""

from __future__ import annotations

import functools
import io
import itertools
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import DTypeLike, NDArray
from PIL import Image, UnidentifiedImageError

from srcnn_tf.config import Config
from srcnn_tf.errors import RunError
from srcnn_tf.files import atomic_write
from srcnn_tf.images import jpeg, png, tiff, webp
from srcnn_tf.images.exif import Block, sensible
from srcnn_tf.images.pixels import Photo, channels_of, check_size, fitting, refusal, rgb_of_cmyk, turned
from srcnn_tf.images.quiet import encoding, reading


@dataclass(frozen=True)
class Format:
    """What a picture format can hold."""

    name: str
    longest: int  # rows or columns
    alpha: bool = True
    deep: bool = False  # 16 bits
    keeps: tuple[str, ...] = ("profile", "exif", "resolution")  # of Photo


PNG = Format("PNG", 1_000_000, deep=True)  # libpng's limit
JPEG = Format("JPEG", 65_500, alpha=False)  # libjpeg's limit
WEBP = Format("WebP", 16_383, keeps=("profile", "exif"))
BMP = Format("BMP", 2**31 - 1, alpha=False, keeps=("resolution",))
TIFF = Format("TIFF", 2**31 - 1, deep=True)
FORMATS = {".bmp": BMP, ".png": PNG, ".jpg": JPEG, ".jpeg": JPEG, ".tif": TIFF, ".tiff": TIFF, ".webp": WEBP}

BY_PILLOW = ("JPEG", "BMP", "GIF", "WEBP")  # the last as Pillow loads plugins for 45 formats when it is looked for
GREY_MODES = frozenset({"1", "L", "LA", "La"})
COLOR_MODES = frozenset({"P", "PA", "RGB", "RGBX", "RGBA", "RGBa", "YCbCr"})
IN_WORDS = {"profile": "colour profile", "exif": "EXIF data", "resolution": "resolution"}


def read_photo(
    path: str | os.PathLike[str],
    most_pixels: int,
    advice: str = "Allow more with --max_megapixels, or make it smaller.",
) -> tuple[list[Photo] | tiff.Pages, list[str]]:
    """Reads a BMP, GIF, JPEG, PNG, TIFF or WebP file, whatever its name ends with.

    Grey, grey and alpha, RGB and RGBA are given as they are, of 8 or 16 bits; a palette as RGB, or RGBA if it has
    transparency; 1-bit and the like as grey of 8 bits, 9 to 15 bits as 16; CMYK as RGB. Pictures are turned as their
    EXIF data says.

    Args:
        path: the file.
        most_pixels: how many pixels a picture may say it has; it is looked at before anything is decoded.
        advice: what to do about one that has more, for the error.

    Returns:
        The pages, one but for a TIFF file, whose pages are decoded as one iterates, to have one in memory at a time;
        and notices of what was left out, to which iterating may add.

    Raises:
        RunError: the file is not a picture, is damaged, too large, or of a kind that would be read wrongly. Iterating
            over the pages of a TIFF file may raise it, too.
    """
    check = functools.partial(check_size, path, most_pixels, advice)
    with reading(path):
        if not stat.S_ISREG(os.stat(path).st_mode):  # reading a pipe would wait for ever
            raise ValueError("it is not a file")
        with open(path, "rb") as file:
            start = file.read(32)
            file.seek(0)
            if not start:
                raise ValueError("it is empty")
            if start.startswith(tiff.SIGNATURES):
                notices: list[str] = []
                return tiff.Pages(path, check, notices), notices
            if start.startswith(png.SIGNATURE):
                photo, notices = png.read(file, check)
            else:
                photo, notices = _read_by_pillow(path, file, start, check)
        return [_upright(photo, notices)], notices


def check_format(
    path: str | os.PathLike[str], shape: tuple[int, ...], dtype: DTypeLike = np.uint8, pages: int = 1
) -> None:
    """Checks that the format of the name's ending can hold a picture, so that none is computed in vain.

    Args:
        path: the name.
        shape: that of `Photo.pixels`.
        dtype: uint8 or uint16.
        pages: how many pictures of the kind there are.

    Raises:
        RunError: it cannot; the message says which one can.
    """
    form = FORMATS.get(Path(path).suffix.lower())
    if form is None:
        raise RunError(f"{path}: its ending names no format that is written; name one of {', '.join(sorted(FORMATS))}.")
    if pages > 1 and form is not TIFF:
        raise RunError(f"{path}: {form.name} holds one page, and there are {pages}; name a .tif.")
    if np.dtype(dtype) == np.uint16 and not form.deep:
        raise RunError(f"{path}: {form.name} holds 8 bits, and the picture has 16; name a .png or a .tif.")
    if len(shape) == 3 and shape[2] in (2, 4) and not form.alpha:
        raise RunError(f"{path}: {form.name} holds no transparency, and the picture has it; name a .png or a .tif.")
    if max(shape[:2]) > form.longest:
        raise RunError(
            f"{path}: {form.name} holds up to {form.longest} rows and columns, and the picture has {shape[0]} and "
            f"{shape[1]}; name a .tif."
        )


def write_photo(
    pages: Iterable[Photo], path: str | os.PathLike[str], quality: int = Config.quality, count: int | None = None
) -> list[str]:
    """Writes a picture in the format of the name's ending, or several as the pages of a TIFF file; or nothing at all.

    Args:
        pages: the pages; they may be made as they are taken.
        path: the name.
        quality: of JPEG and WebP, 1 to 100. The other formats lose nothing.
        count: how many pages there are, if `len` cannot tell.

    Returns:
        Notices of what the format does not hold, and was left out.

    Raises:
        RunError: the format cannot hold the picture, see `check_format`; or the file cannot be written, see
            `files.atomic_write`.
        ValueError: there are no pages.
    """
    count = len(pages) if count is None and hasattr(pages, "__len__") else count or 1
    notices: list[str] = []
    ready = _made_ready(pages, path, count, notices)
    first = next(ready, None)  # what cannot be written is refused before there is a file
    if first is None:
        raise ValueError(f"{path}: no page to write")
    form = FORMATS[Path(path).suffix.lower()]
    with atomic_write(path) as temporary:
        if form is TIFF:
            ready = itertools.chain([first], ready)
            del first
            notices += tiff.write(ready, count, temporary, path)
        else:
            with encoding(path, form.name):
                notices += _write_one(first, form, temporary, quality)
            if next(ready, None) is not None:
                check_format(path, (1, 1), pages=2)
    return list(dict.fromkeys(notices))


def _made_ready(
    pages: Iterable[Photo], path: str | os.PathLike[str], count: int, notices: list[str]
) -> Iterator[Photo]:
    """The pages, checked, without what the format does not hold, and with their size in their EXIF data."""
    for photo in pages:
        check_format(path, photo.pixels.shape, photo.pixels.dtype, count)
        form = FORMATS[Path(path).suffix.lower()]
        parts = {name: getattr(photo, name) for name in IN_WORDS}
        for name in IN_WORDS:
            if parts[name] is not None and name not in form.keeps:
                parts[name] = None
                notices.append(f"{form.name} holds no {IN_WORDS[name]}: left out")
        if parts["exif"] is not None:
            block = Block(parts["exif"])
            block.set_size(*photo.pixels.shape[:2])
            parts["exif"] = bytes(block)
        ready = Photo(np.ascontiguousarray(photo.pixels), **parts)
        del photo  # a page is let go of before the next one is made
        yield ready
        del ready


def _write_one(photo: Photo, form: Format, path: Path, quality: int) -> list[str]:
    if form is PNG:
        png.write(photo, path)
        return []
    if form is JPEG:
        return jpeg.write(photo, path, quality)
    if form is WEBP:
        return webp.write(photo, path, quality)
    with _Numberless(io.FileIO(path, "w")) as file:
        Image.fromarray(photo.pixels).save(file, "BMP", **({"dpi": photo.resolution} if photo.resolution else {}))
    return []


class _Numberless(io.BufferedWriter):
    """A file that Pillow writes to by `write`: to its number, it writes past Python, and misses that a disk is full."""

    def fileno(self) -> int:
        raise io.UnsupportedOperation("fileno")


def _read_by_pillow(
    path: str | os.PathLike[str], file: BinaryIO, start: bytes, check: Callable[[int, int], None]
) -> tuple[Photo, list[str]]:
    """The first picture of a JPEG, WebP, BMP or GIF file, its EXIF block as it stands in the file, and notices."""
    if start[:4] + start[8:12] == b"RIFFWEBP":
        webp.check_file(file, check)
    try:
        picture = Image.open(file, formats=BY_PILLOW)
    except UnidentifiedImageError:
        raise ValueError("not BMP, GIF, JPEG, PNG, TIFF or WebP, or damaged at its beginning") from None
    with picture:
        check(picture.height, picture.width)
        info = picture.info
        pixels, profile, notices = _pixels(path, picture, info.get("icc_profile"))
        # In a JPEG file without a resolution, Pillow has one of 72.
        said = picture.format == "BMP" or info.get("jfif_unit") in (1, 2)
        resolution = sensible(info["dpi"]) if said and "dpi" in info else None
        frames = getattr(picture, "n_frames", 1)
        if frames > 1:
            what = "pictures" if picture.format == "MPO" else "frames"
            about = "" if what == "pictures" else "animated: "
            notices.append(f"{about}only the first of {frames} {what} is read")
        return Photo(pixels, profile, info.get("exif"), resolution), notices


def _pixels(
    path: str | os.PathLike[str], picture: Image.Image, profile: bytes | None
) -> tuple[NDArray[np.uint8], bytes | None, list[str]]:
    """The pixels, the ICC profile if it is still theirs, and notices."""
    if picture.mode == "CMYK":
        pixels, notices = rgb_of_cmyk(picture, profile)
        return pixels, None, notices
    if picture.mode not in GREY_MODES | COLOR_MODES:
        raise refusal(path, f"Pillow mode {picture.mode!r}")
    mode = "L" if picture.mode in GREY_MODES else "RGB"
    mode += "A" if picture.has_transparency_data else ""
    return np.asarray(picture if picture.mode == mode else picture.convert(mode)), profile, []


def _upright(photo: Photo, notices: list[str]) -> Photo:
    """The picture turned as its EXIF data says, without what is damaged or does not fit it; adds to the notices."""
    exif, orientation, resolution = None, 1, photo.resolution
    if photo.exif:
        try:
            block = Block(photo.exif)
            orientation, resolution = block.orientation, resolution or block.resolution
            block.set_upright()
            exif = bytes(block)
        except ValueError:
            notices.append("its EXIF data is damaged and left out")
    profile, said = fitting(photo.profile, channels_of(photo.pixels))
    notices += said
    if resolution and orientation >= 5:
        resolution = resolution[::-1]
    return Photo(turned(photo.pixels, orientation), profile, exif, resolution)

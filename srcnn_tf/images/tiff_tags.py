"""EXIF data in TIFF files, where it is not a block but tags of the page, with directories beside it."""

from __future__ import annotations

from typing import Any

from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2
from tifffile import TiffFile, TiffPage, TiffWriter

from srcnn_tf.images.exif import EXIF_TAGS, GPS_TAGS, INCHES, sensible

DESCRIPTION = 270
# What a page says of itself in words: description, make, model, software, date, artist, computer, copyright.
TEXTS = (DESCRIPTION, 271, 272, 305, 306, 315, 316, 33432)
DIRECTORIES = {EXIF_TAGS: "ExifTag", GPS_TAGS: "GPSTag"}  # tifffile's names
INTEROPERABILITY = 0xA005  # a place in the file, which another file has not


def exif_of(tiff: TiffFile, page: TiffPage) -> tuple[bytes | None, list[str]]:
    """An EXIF block of a page's words and of its directories, and what there is to say about it."""
    try:
        stored, block = Image.Exif(), Image.Exif()
        stored.endian, block.endian = tiff.byteorder, "<"
        stored.bigtiff = tiff.is_bigtiff
        stored.load_from_fp(tiff.filehandle, page.offset)
        for tag in TEXTS:
            if isinstance(text := stored.get(tag), str):
                block[tag] = text
        if page.is_ome or page.is_imagej or page.is_shaped:  # of sizes and planes, which readers go by
            block.pop(DESCRIPTION, None)
        for tag in DIRECTORIES:
            kept = {key: value for key, value in stored.get_ifd(tag).items() if key != INTEROPERABILITY}
            if kept:
                block.get_ifd(tag).update(kept)
                block[tag] = block.get_ifd(tag)
        return (block.tobytes()[6:] if len(block) else None), []
    except Exception:  # as Pillow does of damaged ones: SyntaxError, struct.error and more
        return None, ["its EXIF data is damaged and left out"]


def add_exif(writer: TiffWriter, exif: bytes) -> tuple[list[tuple[Any, ...]], list[str]]:
    """Writes the directories of an EXIF block to the end of the file.

    Returns:
        The tags of the block, those that say where these directories are among them, for the page that is written next;
        and what there is to say about it.

    Raises:
        OSError: the file cannot be written.
    """
    try:
        return _added(writer, exif), []
    except OSError:
        raise
    except Exception:  # what Pillow raises at damaged values: TypeError, struct.error and more
        return [], ["some of its EXIF data is damaged, and all of it left out"]


def _added(writer: TiffWriter, exif: bytes) -> list[tuple[Any, ...]]:
    block = Image.Exif()
    block.load(exif)
    tags: list[tuple[Any, ...]] = []
    for tag in TEXTS:
        if isinstance(text := block.get(tag), str):
            content = text.encode("latin-1", "replace") + b"\0"  # Pillow reads bytes as Latin-1, whatever they are
            tags.append((tag, "s", len(content), content, False))
    file = writer.filehandle
    for tag, name in DIRECTORIES.items():
        values = block.get_ifd(tag)
        if not values:
            continue
        directory = ImageFileDirectory_v2(_header(writer), group=tag)
        for key, value in values.items():
            if key != INTEROPERABILITY:
                directory[key] = value
        file.seek(0, 2)
        file.write(b"\0" * (file.tell() % 2))
        place = file.tell()
        file.write(directory.tobytes(place))
        tags.append((name, "Q" if writer.tiff.is_bigtiff else "I", 1, place, False))
    return tags


def resolution_of(page: TiffPage, orientation: int) -> tuple[float, float] | None:
    """Pixels per inch, horizontal and vertical, of the page when it is turned from that orientation."""
    tags = (282, 283) if orientation in (1, 2, 3, 4) else (283, 282)
    try:
        inches = INCHES[int(page.tags.valueof(296, 2))]
        (across, one), (down, other) = map(page.tags.valueof, tags)
        return sensible((across / one * inches, down / other * inches))
    except (TypeError, ValueError, LookupError, ZeroDivisionError):  # not there, none, or nonsense
        return None


def _header(writer: TiffWriter) -> bytes:
    """A file header, by which Pillow tells the byte order and the length of places in the file."""
    if writer.tiff.is_bigtiff:
        return b"II+\0\x08\0\0\0" + bytes(8)
    return b"II*\0" + bytes(4)

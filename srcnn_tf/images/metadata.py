"""Reads and rewrites the resolution and the EXIF data of images.

TIFF has no EXIF block: there, the texts are tags of the page, and the camera and GPS data are directories beside it.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import IO, Any, cast

from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2
from tifffile import TiffPage, TiffWriter

from srcnn_tf.images.page import Dpi, Page

EXIF, GPS, INTEROPERABILITY, SUB_IFDS = 0x8769, 0x8825, 0xA005, 0x014A  # directories within EXIF data
ORIENTATION, WIDTH, HEIGHT = 0x0112, 0xA002, 0xA003
DESCRIPTION = 0x010E
TEXTS = (
    DESCRIPTION,
    0x010F,
    0x0110,
    0x0131,
    0x0132,
    0x013B,
    0x013C,
    0x8298,
)  # make, model, software, date, artist, ...
DAMAGED = "its EXIF data is damaged and left out"


def image_dpi(image: Image.Image) -> Dpi:
    """Returns the resolution of an image that Pillow opened."""
    info = image.info
    if image.format in ("JPEG", "MPO") and info.get("jfif_unit") not in (1, 2) and "exif" not in info:
        return None  # Pillow makes one up
    return _plausible(*info["dpi"]) if "dpi" in info else None


def tiff_dpi(page: TiffPage) -> Dpi:
    """Returns the resolution of a TIFF page."""
    try:
        per_inch = {2: 1, 3: 2.54}[int(page.tags.valueof(296, 2))]
        (across, one), (down, other) = page.tags.valueof(282), page.tags.valueof(283)
        return _plausible(across / one * per_inch, down / other * per_inch)
    except (TypeError, ValueError, KeyError, ZeroDivisionError):  # missing or damaged
        return None


def _plausible(horizontal: float, vertical: float) -> Dpi:
    dpi = round(float(horizontal), 2), round(float(vertical), 2)
    return dpi if all(0 < value < 1e6 for value in dpi) else None


def updated_exif(page: Page, warnings: list[str]) -> Image.Exif | None:
    """Returns the page's EXIF data for its pixels: upright, with their size, and without the thumbnail."""
    if page.exif is None:
        return None
    exif = Image.Exif()
    rows, cols = page.pixels.shape[:2]
    try:
        exif.load(page.exif)
        details = exif.get_ifd(EXIF) if EXIF in exif else {}
        for tags, tag, value in ((exif, ORIENTATION, 1), (details, WIDTH, cols), (details, HEIGHT, rows)):
            if tag in tags:
                tags[tag] = value
        exif.pop(SUB_IFDS, None)  # offsets in the file that it was read from
        for tags in (exif, details, exif.get_ifd(GPS) if GPS in exif else {}):
            _keep_accents(tags)
        exif.tobytes()
    except Exception:  # what Pillow raises on damaged data: SyntaxError, struct.error and more
        warnings.append(DAMAGED)
        return None
    if not exif:
        warnings.append(DAMAGED)
    return exif or None


def _keep_accents(tags: MutableMapping[int, Any]) -> None:
    """Gives texts that are not ASCII as the bytes that Pillow read, since it would write a question mark for each."""
    for tag, value in list(tags.items()):
        if isinstance(value, str) and not value.isascii():
            tags[tag] = value.encode("latin-1")


def tiff_exif(page: TiffPage, warnings: list[str]) -> bytes | None:
    """Returns the texts and the EXIF and GPS directories of a TIFF page as EXIF data."""
    stored, exif = Image.Exif(), Image.Exif()
    try:
        stored.endian, stored.bigtiff = page.parent.byteorder, page.parent.is_bigtiff
        stored.load_from_fp(cast(IO[bytes], page.parent.filehandle), page.offset)
        exif.update({tag: stored[tag] for tag in TEXTS if isinstance(stored.get(tag), str)})
        if page.is_ome or page.is_imagej or page.is_shaped:  # which describe planes and sizes, not the subject
            exif.pop(DESCRIPTION, None)
        _keep_accents(exif)
        for directory in (EXIF, GPS):
            tags = {tag: value for tag, value in stored.get_ifd(directory).items() if tag != INTEROPERABILITY}
            _keep_accents(tags)
            if tags:
                exif[directory] = tags
        return exif.tobytes() if exif else None
    except Exception:  # as in `updated_exif`
        warnings.append(DAMAGED)
        return None


def write_tiff_exif(writer: TiffWriter, exif: Image.Exif) -> list[tuple]:
    """Writes the EXIF and GPS directories to the end of a TIFF file.

    Returns:
        Tags for the page that is written next: its texts, and where these directories are; tifffile's `extratags`.
    """
    tags: list[tuple] = []
    for tag in TEXTS:
        if text := exif.get(tag):
            content = (text if isinstance(text, bytes) else str(text).encode()) + b"\0"
            tags.append((tag, "s", len(content), content, False))
    big, file = writer.tiff.is_bigtiff, writer.filehandle
    header = b"II+\0\x08\0\0\0" + bytes(8) if big else b"II*\0" + bytes(4)  # which Pillow takes the layout from
    for code, name in ((EXIF, "ExifTag"), (GPS, "GPSTag")):
        if code not in exif:
            continue
        directory = ImageFileDirectory_v2(header, group=code)
        for tag, value in exif.get_ifd(code).items():
            if tag != INTEROPERABILITY:  # an offset in the file that it was read from
                directory[tag] = value
        file.seek(0, 2)
        file.write(b"\0" * (file.tell() % 2))
        offset = file.tell()
        file.write(directory.tobytes(offset))
        tags.append((name, "Q" if big else "I", 1, offset, False))
    return tags

"""Writes images page by page, with all their bits, alpha and metadata, to files that are complete or absent."""

from __future__ import annotations

import contextlib
import io
import math
import os
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, Self

from numpy.typing import DTypeLike
from PIL import Image, PngImagePlugin
from tifffile import TiffWriter

from srcnn_tf.config import Config
from srcnn_tf.errors import FaultError, RunError
from srcnn_tf.images.encode import encode_jpeg, encode_png, encode_tiff_strips, png_chunk
from srcnn_tf.images.formats import AVIF, FORMATS, JPEG, PNG, TIFF, WEBP, Format, problem_with
from srcnn_tf.images.library_errors import library_errors
from srcnn_tf.images.metadata import IPTC_TAG, XMP_TAG, selected_colors, updated_exif, updated_xmp, write_tiff_exif
from srcnn_tf.images.page import Page, RowStream, as_array, band_rows, channels_of, matching_profile
from srcnn_tf.system.files import atomic_write

METADATA_NAMES = {
    "icc_profile": "colour profile",
    "exif": "EXIF data",
    "dpi": "resolution",
    "aspect": "aspect ratio of pixels",
    "xmp": "XMP",
    "iptc": "IPTC data",
    "texts": "texts",
}
COMMENT = "Comment"  # the only text of JPEG files, by its keyword in PNG files

MAX_SEGMENT = 65_533  # bytes of metadata in a segment of a JPEG file
SEGMENT_HEAD = 40  # bytes that begin a segment with XMP or IPTC data, at most
TOO_LARGE = "its {} larger than JPEG holds (64 kB), and left out"
MAX_CLASSIC_TIFF = 2**32 - 2**25  # bytes of pixels, with room for tags, up to which BigTIFF is not needed
# Pixels of a WebP file up to which libwebp's method 4 is used, half a decibel better at the same size than method 2;
# for 100 megapixels it would take a minute.
MAX_WEBP_METHOD_4 = 25_000_000

WEBP_EFFORT = 75  # of a lossless file, 0 to 100: libwebp's default


class ImageWriter:
    """Writes a file in the format of its extension: `with ImageWriter(path) as writer: writer.write(page)`.

    The file appears when the context is left without an exception; otherwise nothing is left behind.

    Args:
        path: the file; its folder is created if necessary.
        page_count: number of pages; more than one for TIFF only.
        quality: of JPEG, WebP and AVIF, 1 to 100. The other formats are lossless, as is WebP of a lossless WebP file.

    Attributes:
        warnings: what the format cannot hold and was left out.

    Raises:
        RunError: the format cannot hold the image, or the file cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str], page_count: int = 1, quality: int = Config.quality) -> None:
        self._path, self._page_count, self._quality = Path(path), page_count, quality
        self._temporary: Path | None = None
        self._tiff: TiffWriter | None = None
        self._stack = contextlib.ExitStack()
        self._written = 0
        self.warnings: list[str] = []

    def __enter__(self) -> Self:
        """Returns the writer; no file is created before the first page."""
        return self

    def __exit__(self, *error: Any) -> None:
        """Completes the file, or removes what there is of it after an exception."""
        self._stack.__exit__(*error)

    def check(self, shape: tuple[int, ...], dtype: DTypeLike) -> None:
        """Raises a RunError if the format cannot hold such pixels; to be called before they are computed."""
        file_format = FORMATS.get(self._path.suffix.lower())
        if file_format is None:
            known = ", ".join(sorted(FORMATS))
            raise RunError(f"{self._path}: no image format to write has this extension; use one of {known}.")
        problem = problem_with(file_format, shape, dtype, max(self._page_count, self._written + 1))
        if problem is not None:
            raise RunError(f"{self._path}: {file_format.name} holds {problem[0]}; use the extension {problem[1]}.")

    def write(self, page: Page) -> None:
        """Writes a page. Rows that are computed when they are read are, once from top to bottom."""
        self.check(page.pixels.shape, page.pixels.dtype)
        file_format = FORMATS[self._path.suffix.lower()]
        warnings: list[str] = []
        if self._temporary is None:
            self._temporary = self._stack.enter_context(atomic_write(self._path))
        # An OSError is left to `atomic_write`; the others come from computing the rows.
        passed = (RunError, OSError, MemoryError, FaultError)
        try:
            with library_errors(self._path, f"written as {file_format.name}", "use the extension .png or .tif", passed):
                page, exif = _select_metadata(page, file_format, warnings)
                if file_format is TIFF:
                    self._write_tiff(page, exif, self._temporary)
                else:
                    # Pillow misses that a disk is full when it writes to a file descriptor, so it gets none.
                    with _NoDescriptor(io.FileIO(self._temporary, "w")) as file:
                        self._write_single(page, file_format, exif, file)
        finally:
            if isinstance(page.pixels, RowStream):
                page.pixels.close()
        self._written += 1
        self.warnings += [warning for warning in warnings if warning not in self.warnings]

    def _write_tiff(self, page: Page, exif: Image.Exif | None, path: Path) -> None:
        shape, dtype = page.pixels.shape, page.pixels.dtype
        if self._tiff is None:
            big = self._page_count * math.prod(shape) * dtype.itemsize > MAX_CLASSIC_TIFF
            self._tiff = self._stack.enter_context(TiffWriter(path, bigtiff=big, byteorder="<"))
        channels = channels_of(page.pixels)
        step = band_rows(shape, dtype)
        with contextlib.closing(encode_tiff_strips(page.pixels, step)) as strips:
            self._tiff.write(
                strips,
                shape=shape,
                dtype=dtype,
                rowsperstrip=step,
                photometric="minisblack" if channels < 3 else "rgb",
                planarconfig="contig" if channels > 1 else None,
                extrasamples=["unassalpha"] if channels in (2, 4) else None,
                compression="adobe_deflate",
                predictor=True,
                resolution=page.dpi or page.aspect,
                resolutionunit="inch" if page.dpi else "none" if page.aspect else None,
                iccprofile=page.icc_profile,
                extratags=[*(write_tiff_exif(self._tiff, exif) if exif else ()), *_tiff_tags(page)],
                software=False,
                metadata=None,
            )

    def _write_single(self, page: Page, file_format: Format, exif: Image.Exif | None, file: BinaryIO) -> None:
        metadata: dict[str, Any] = {"icc_profile": page.icc_profile, "dpi": page.dpi or page.aspect}
        metadata["exif"] = exif.tobytes() if exif else None
        if file_format is PNG:
            metadata["pnginfo"] = _png_texts(page)
        else:
            metadata["xmp"] = page.xmp
        if file_format is JPEG:
            metadata["comment"] = page.texts and page.texts[COMMENT].encode()
            metadata["extra"] = page.iptc and _iptc_segment(page.iptc)
        metadata = {name: value for name, value in metadata.items() if value}
        if file_format in (PNG, JPEG):
            encoded = encode_png(page.pixels) if file_format is PNG else encode_jpeg(page.pixels, self._quality)
            with contextlib.closing(encoded) as parts:
                file.write(next(parts))
                if file_format is PNG:
                    file.writelines(_color_chunks(page))
                file.write(_encode_metadata(file_format, metadata, has_unit=page.dpi is not None))
                file.writelines(parts)
        else:
            image = Image.fromarray(as_array(page.pixels))
            if file_format is WEBP:
                metadata["method"] = 4 if image.width * image.height <= MAX_WEBP_METHOD_4 else 2
            options: dict[str, Any] = {"quality": self._quality, "exact": True}  # of WebP: keep colours below alpha 0
            if page.is_lossless and file_format is WEBP:
                options |= {"quality": WEBP_EFFORT, "lossless": True}
            if page.colors:  # of AVIF
                file.write(_with_codes(page.colors[b"cICP"], image, options | metadata))
            else:
                image.save(file, file_format.name.upper(), **options, **metadata)


class _NoDescriptor(io.BufferedWriter):
    def fileno(self) -> int:
        raise io.UnsupportedOperation("fileno")


def _select_metadata(page: Page, file_format: Format, warnings: list[str]) -> tuple[Page, Image.Exif | None]:
    """Returns the page without the metadata that the format does not hold, and its EXIF data for these pixels."""
    left_out: dict[str, Any] = {}
    for part, words in METADATA_NAMES.items():
        if part not in file_format.metadata and getattr(page, part) is not None:
            warnings.append(f"{file_format.name} holds no {words}: left out")
            left_out[part] = None
    page = replace(page, **left_out)
    page = replace(page, colors=selected_colors(page, file_format.colors, warnings), xmp=updated_xmp(page, warnings))
    exif = updated_exif(page, warnings)
    if file_format is WEBP or (file_format is AVIF and channels_of(page.pixels) == 2):  # which store it as RGB
        page = replace(page, icc_profile=matching_profile(page.icc_profile, 3, warnings))
    if file_format is JPEG:
        if exif and len(exif.tobytes()) > MAX_SEGMENT:
            exif = None
            warnings.append(TOO_LARGE.format("EXIF data is"))
        for part, words in (("xmp", "XMP is"), ("iptc", "IPTC data is")):
            if len(getattr(page, part) or b"") > MAX_SEGMENT - SEGMENT_HEAD:
                left_out[part] = None
                warnings.append(TOO_LARGE.format(words))
        page = replace(page, texts=_comment_alone(page.texts or {}, warnings), **left_out)
        if page.dpi and not 1 <= min(page.dpi) <= max(page.dpi) < 2**16:  # whole numbers of 16 bits
            page = replace(page, dpi=None)
    return page, exif


def _color_chunks(page: Page) -> Iterator[bytes]:
    """Yields the chunks with the colour space; of sRGB and a profile, PNG allows one."""
    for name, content in (page.colors or {}).items():
        if name != b"sRGB" or not page.icc_profile:
            yield png_chunk(name, content)


def _with_codes(codes: bytes, image: Image.Image, options: dict[str, Any]) -> bytes:
    """Returns an AVIF file with these codes for primaries and transfer, which Pillow writes as those of sRGB."""
    encoded = io.BytesIO()
    image.save(encoded, "AVIF", **options)
    content = encoded.getvalue()
    begin = content.index(b"colrnclx") + 8
    return content[:begin] + bytes([0, codes[0], 0, codes[1]]) + content[begin + 4 :]


def _png_texts(page: Page) -> PngImagePlugin.PngInfo | None:
    texts = PngImagePlugin.PngInfo()
    for name, text in (page.texts or {}).items():
        texts.add_text(name, text)
    if page.xmp:
        texts.add_itxt("XML:com.adobe.xmp", page.xmp.decode(errors="replace"))
    return texts if texts.chunks else None


def _iptc_segment(records: bytes) -> bytes:
    """Returns a segment of a JPEG file with IPTC data as a resource of Photoshop's."""
    resource = b"8BIM\x04\x04\0\0" + len(records).to_bytes(4) + records + bytes(len(records) % 2)
    content = b"Photoshop 3.0\0" + resource
    return b"\xff\xed" + (2 + len(content)).to_bytes(2) + content


def _tiff_tags(page: Page) -> list[tuple]:
    """Returns XMP and IPTC data as tifffile's `extratags`, of types BYTE and UNDEFINED."""
    tags = ((XMP_TAG, 1, page.xmp), (IPTC_TAG, 7, page.iptc))
    return [(tag, kind, len(content), content, True) for tag, kind, content in tags if content]


def _comment_alone(texts: dict[str, str], warnings: list[str]) -> dict[str, str] | None:
    """Returns of all texts the one that JPEG holds."""
    kept = {name: text for name, text in texts.items() if name == COMMENT and len(text.encode()) <= MAX_SEGMENT}
    if left_out := [name for name in texts if name not in kept]:
        warnings.append(f"JPEG holds no text but a comment of 64 kB: {', '.join(left_out)} left out")
    return kept or None


def _encode_metadata(file_format: Format, metadata: dict[str, Any], has_unit: bool) -> bytes:
    """Returns metadata as it stands in a PNG or JPEG file: in one of a single pixel, which Pillow writes with it.

    Args:
        file_format: PNG or JPEG.
        metadata: options of Pillow.
        has_unit: whether the resolution is per inch; else it is the aspect ratio of pixels, and of no unit.
    """
    if file_format is PNG and not has_unit and (aspect := metadata.pop("dpi", None)):
        return png_chunk(b"pHYs", struct.pack(">IIB", *aspect, 0)) + _encode_metadata(file_format, metadata, has_unit)
    small = io.BytesIO()
    Image.new("L", (1, 1)).save(small, file_format.name, **metadata)
    head = small.getvalue()
    if file_format is PNG:
        return head[33 : head.rindex(b"IDAT") - 4]  # after the signature and the header chunk, before the data chunk
    unit = head.index(b"JFIF\0") + 7
    head = head if has_unit else head[:unit] + b"\0" + head[unit + 1 :]
    return head[2 : head.rindex(b"\xff\xdb")]  # after the first marker, before the tables

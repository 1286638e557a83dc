"""BMP, GIF, JPEG, PNG, WebP, AVIF and HEIC: photographs and graphics, which Pillow knows."""

from __future__ import annotations

import contextlib
import io
import os
import struct
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image, PngImagePlugin

from srcnn_tf.images.decode import AVIF as HAS_AVIF
from srcnn_tf.images.decode import decode, kind_of, open_image, orientation_of
from srcnn_tf.images.encode import encode_jpeg, encode_png, png_chunk
from srcnn_tf.images.formats.interface import MAX_PIXELS, Family, Format, Images, Writer
from srcnn_tf.images.metadata import image_metadata, select_metadata
from srcnn_tf.images.page import COLOR_CHUNKS, Page, as_array, channels_of, matching_profile, upright_page

EVERYWHERE = ("icc_profile", "exif", "xmp")
PNG_METADATA = (*EVERYWHERE, "dpi", "aspect", "texts")
DEEP = ("uint8", "uint16")
PNG = Format("PNG", 1_000_000, dtypes=DEEP, metadata=PNG_METADATA, colors=COLOR_CHUNKS)  # libpng's limit
JPEG = Format("JPEG", 65_500, alpha=False, metadata=(*EVERYWHERE, "dpi", "aspect", "texts", "iptc"))  # libjpeg's limit
WEBP = Format("WebP", 16_383, MAX_PIXELS, metadata=EVERYWHERE)
AVIF = Format("AVIF", 65_536, MAX_PIXELS, metadata=EVERYWHERE, colors=frozenset({b"cICP"}))
BMP = Format("BMP", 2**31 - 1, MAX_PIXELS, alpha=False, metadata=("dpi",))
COMMENT = "Comment"  # the only text of JPEG files, by its keyword in PNG files
MAX_SEGMENT = 65_533  # bytes of metadata in a segment of a JPEG file
SEGMENT_HEAD = 40  # bytes that begin a segment with XMP or IPTC data, at most
TOO_LARGE = "its {} larger than JPEG holds (64 kB), and left out"
# Pixels of a WebP file up to which libwebp's method 4 is used, half a decibel better at the same size than method 2;
# for 100 megapixels it would take a minute.
MAX_WEBP_METHOD_4 = 25_000_000
WEBP_EFFORT = 75  # of a lossless file, 0 to 100: libwebp's default


class PhotoImages(Images):
    """A file with one image; of an animation, the first frame."""

    def __init__(
        self, file: BinaryIO, path: str | os.PathLike[str], max_pixels: int, advice: str, warnings: list[str]
    ) -> None:
        """See `Family.open`."""
        self._file, self._limits, self._warnings = file, (path, max_pixels, advice), warnings
        image = open_image(file, *self._limits)
        self.kinds = [kind_of(image, file).upright(orientation_of(image, file))]

    def pages(self) -> Iterator[Page]:
        """Decodes the image, oriented by its EXIF data."""
        file = self._file
        image = open_image(file, *self._limits)
        pixels = decode(image, file, self._limits[0], self._warnings)
        metadata = image_metadata(image, file, self._warnings)
        profile = metadata.pop("icc_profile")
        if image.mode == "CMYK":  # whose pixels are RGB now
            profile = None
        yield upright_page(pixels, orientation_of(image, file), profile, metadata, self._warnings)


class PhotoWriter(Writer):
    """Writes a file with one image."""

    def __init__(self, path: Path, file_format: Format, quality: int) -> None:
        """Takes the file, its format, and the quality of JPEG, WebP and AVIF."""
        self._path, self._format, self._quality = path, file_format, quality

    def write(self, page: Page, warnings: list[str]) -> None:
        """Writes the image with its metadata."""
        page, exif = _fit_metadata(*select_metadata(page, self._format, warnings), self._format, warnings)
        # Pillow misses that a disk is full when it writes to a file descriptor, so it gets none.
        with _NoDescriptor(io.FileIO(self._path, "w")) as file:
            self._write(page, exif, file)

    def _write(self, page: Page, exif: Image.Exif | None, file: BinaryIO) -> None:
        file_format = self._format
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


class PhotoFamily(Family):
    """The formats of photographs and graphics; the last family, which says what else would be read."""

    rank = 90
    # Also those whose library may be missing: the error then names it.
    extensions = frozenset(
        {".bmp", ".dib", ".gif", ".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".webp"}
        | {".avif", ".heic", ".heif", ".hif"}
    )
    outputs = (
        {".png": PNG, ".apng": PNG, ".bmp": BMP, ".dib": BMP, ".webp": WEBP}
        | dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif"), JPEG)
        | ({".avif": AVIF} if HAS_AVIF else {})
    )

    def recognizes(self, file: BinaryIO, path: str | os.PathLike[str]) -> bool:
        """Takes what no other family recognizes."""
        return True

    def size(self, file: BinaryIO, path: str | os.PathLike[str]) -> tuple[int, int]:
        """Returns rows and columns."""
        with open_image(file, path, sys.maxsize, "") as image:
            rows, cols = kind_of(image, file).upright(orientation_of(image, file)).shape[:2]
            return rows, cols

    @contextlib.contextmanager
    def open(
        self, file: BinaryIO, path: str | os.PathLike[str], max_pixels: int, advice: str, warnings: list[str]
    ) -> Iterator[PhotoImages]:
        """Opens the file with Pillow."""
        yield PhotoImages(file, path, max_pixels, advice, warnings)

    def create(self, path: Path, extension: str, page_count: int, quality: int, source: Images | None) -> PhotoWriter:
        """Begins a file."""
        return PhotoWriter(path, self.outputs[extension], quality)


class _NoDescriptor(io.BufferedWriter):
    def fileno(self) -> int:
        raise io.UnsupportedOperation("fileno")


def _fit_metadata(
    page: Page, exif: Image.Exif | None, file_format: Format, warnings: list[str]
) -> tuple[Page, Image.Exif | None]:
    """Returns what is left of a page's metadata and EXIF data within the limits of WebP, AVIF and JPEG."""
    left_out: dict[str, Any] = {}
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
    if file_format is PNG and not metadata:
        return b""
    small = io.BytesIO()
    Image.new("L", (1, 1)).save(small, file_format.name, **metadata)
    head = small.getvalue()
    if file_format is PNG:
        return head[33 : head.rindex(b"IDAT") - 4]  # after the signature and the header chunk, before the data chunk
    unit = head.index(b"JFIF\0") + 7
    head = head if has_unit else head[:unit] + b"\0" + head[unit + 1 :]
    return head[2 : head.rindex(b"\xff\xdb")]  # after the first marker, before the tables


FAMILY = PhotoFamily()

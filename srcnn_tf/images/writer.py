"""Writes images page by page, with all their bits, alpha and metadata, to files that are complete or absent."""

from __future__ import annotations

import contextlib
import io
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Self

import imagecodecs
import numpy as np
from numpy.typing import DTypeLike
from PIL import Image
from tifffile import TiffWriter

from srcnn_tf.config import Config
from srcnn_tf.errors import RunError
from srcnn_tf.files import atomic_write
from srcnn_tf.images.library_errors import library_errors
from srcnn_tf.images.metadata import updated_exif, write_tiff_exif
from srcnn_tf.images.page import Page, channels_of, matching_profile


@dataclass(frozen=True)
class Format:
    """What an image format can hold."""

    name: str
    max_side: int  # rows or columns
    alpha: bool = True
    has_16_bits: bool = False
    metadata: tuple[str, ...] = ("icc_profile", "exif", "dpi")  # of Page


PNG = Format("PNG", 1_000_000, has_16_bits=True)  # libpng's limit
JPEG = Format("JPEG", 65_500, alpha=False)  # libjpeg's limit
WEBP = Format("WebP", 16_383, metadata=("icc_profile", "exif"))
BMP = Format("BMP", 2**31 - 1, alpha=False, metadata=("dpi",))
TIFF = Format("TIFF", 2**31 - 1, has_16_bits=True)
FORMATS = {".bmp": BMP, ".png": PNG, ".jpg": JPEG, ".jpeg": JPEG, ".tif": TIFF, ".tiff": TIFF, ".webp": WEBP}
OUTPUT_EXTENSIONS = frozenset(FORMATS)
METADATA_NAMES = {"icc_profile": "colour profile", "exif": "EXIF data", "dpi": "resolution"}

# zlib takes most of libpng's time: this level with this one filter is seven times as fast as the default (level 6, the
# best of five filters for each row), for files that are 13 % larger.
ZLIB_LEVEL, PNG_FILTER = 2, imagecodecs.PNG.FILTER.PAETH
FULL_COLOR = 90  # from this JPEG quality on, colour has the resolution of luma, as in Adobe's programs and ImageMagick
MAX_JPEG_EXIF = 65_533  # bytes in a segment
MAX_CLASSIC_TIFF = 2**32 - 2**25  # bytes of pixels, with room for tags, up to which BigTIFF is not needed
# Pixels of a WebP file up to which libwebp's method 4 is used, half a decibel better at the same size than method 2;
# for 100 megapixels it would take a minute.
MAX_WEBP_METHOD_4 = 25_000_000


class ImageWriter:
    """Writes a file in the format of its extension: `with ImageWriter(path) as writer: writer.write(page)`.

    The file appears when the context is left without an exception; otherwise nothing is left behind.

    Args:
        path: the file; its folder is created if necessary.
        page_count: number of pages; more than one for TIFF only.
        quality: of JPEG and WebP, 1 to 100. The other formats are lossless.

    Attributes:
        warnings: what the format cannot hold and was left out.

    Raises:
        RunError: the format cannot hold the image, or the file cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str], page_count: int = 1, quality: int = Config.quality) -> None:
        self._path, self._page_count, self._quality = Path(path), page_count, quality
        self._temporary: Path | None = None
        self._tiff: TiffWriter | None = None
        self._written = 0
        self.warnings: list[str] = []

    def __enter__(self) -> Self:
        """Prepares writing; no file is created before the first page."""
        self._stack = contextlib.ExitStack()
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
        pages = max(self._page_count, self._written + 1)
        if pages > 1 and file_format is not TIFF:
            problem = f"one page, and there are {pages}; use the extension .tif"
        elif np.dtype(dtype) == np.uint16 and not file_format.has_16_bits:
            problem = "8 bits, and the image has 16; use the extension .png or .tif"
        elif len(shape) == 3 and shape[2] in (2, 4) and not file_format.alpha:
            problem = "no transparency, and the image has it; use the extension .png or .tif"
        elif max(shape[:2]) > file_format.max_side:
            size = f"{shape[0]} and {shape[1]}"
            problem = f"up to {file_format.max_side} rows and columns, and the image has {size}; use the extension .tif"
        else:
            return
        raise RunError(f"{self._path}: {file_format.name} holds {problem}.")

    def write(self, page: Page) -> None:
        """Writes a page."""
        self.check(page.pixels.shape, page.pixels.dtype)
        file_format = FORMATS[self._path.suffix.lower()]
        warnings: list[str] = []
        if self._temporary is None:
            self._temporary = self._stack.enter_context(atomic_write(self._path))
        # An OSError is left to `atomic_write`.
        passed = (RunError, OSError)
        with library_errors(self._path, f"written as {file_format.name}", "use the extension .png or .tif", passed):
            page, exif = _select_metadata(page, file_format, warnings)
            if file_format is TIFF:
                self._write_tiff(page, exif, self._temporary)
            else:
                # Pillow misses that a disk is full when it writes to a file descriptor, so it gets none.
                with _NoDescriptor(io.FileIO(self._temporary, "w")) as file:
                    self._write_single(page, file_format, exif, file)
        self._written += 1
        self.warnings += [warning for warning in warnings if warning not in self.warnings]

    def _write_tiff(self, page: Page, exif: Image.Exif | None, path: Path) -> None:
        if self._tiff is None:
            big = self._page_count * page.pixels.nbytes > MAX_CLASSIC_TIFF
            self._tiff = self._stack.enter_context(TiffWriter(path, bigtiff=big, byteorder="<"))
        channels = channels_of(page.pixels)
        self._tiff.write(
            page.pixels,
            photometric="minisblack" if channels < 3 else "rgb",
            planarconfig="contig" if channels > 1 else None,
            extrasamples=["unassalpha"] if channels in (2, 4) else None,
            compression="adobe_deflate",
            predictor=True,
            resolution=page.dpi,
            resolutionunit="inch" if page.dpi else None,
            iccprofile=page.icc_profile,
            extratags=write_tiff_exif(self._tiff, exif) if exif else [],
            software=False,
            metadata=None,
        )

    def _write_single(self, page: Page, file_format: Format, exif: Image.Exif | None, file: BinaryIO) -> None:
        pixels = page.pixels
        metadata = {"icc_profile": page.icc_profile, "dpi": page.dpi, "exif": exif.tobytes() if exif else None}
        metadata = {name: value for name, value in metadata.items() if value}
        if file_format is PNG:
            encoded = imagecodecs.png_encode(pixels, level=ZLIB_LEVEL, filter=PNG_FILTER)
            file.writelines(_with_metadata(encoded, file_format, metadata))
        elif file_format is JPEG:
            sampling = "444" if self._quality >= FULL_COLOR else "420"
            encoded = imagecodecs.jpeg8_encode(pixels, level=self._quality, subsampling=sampling)
            file.writelines(_with_metadata(encoded, file_format, metadata))
        else:
            method = 4 if pixels.shape[0] * pixels.shape[1] <= MAX_WEBP_METHOD_4 else 2
            image = Image.fromarray(pixels)
            image.save(file, file_format.name.upper(), quality=self._quality, method=method, **metadata)


class _NoDescriptor(io.BufferedWriter):
    def fileno(self) -> int:
        raise io.UnsupportedOperation("fileno")


def _select_metadata(page: Page, file_format: Format, warnings: list[str]) -> tuple[Page, Image.Exif | None]:
    """Returns the page without the metadata that the format does not hold, and its EXIF data for these pixels."""
    for part, words in METADATA_NAMES.items():
        if part not in file_format.metadata and getattr(page, part) is not None:
            warnings.append(f"{file_format.name} holds no {words}: left out")
    page = Page(np.ascontiguousarray(page.pixels), **{part: getattr(page, part) for part in file_format.metadata})
    exif = updated_exif(page, warnings)
    if file_format is WEBP:  # which stores grey as RGB
        page = replace(page, icc_profile=matching_profile(page.icc_profile, 3, warnings))
    if file_format is JPEG:
        if exif and len(exif.tobytes()) > MAX_JPEG_EXIF:
            exif = None
            warnings.append("its EXIF data is larger than JPEG holds (64 kB), and left out")
        if page.dpi and not 1 <= min(page.dpi) <= max(page.dpi) < 2**16:  # whole numbers of 16 bits
            page = replace(page, dpi=None)
    return page, exif


def _with_metadata(
    encoded: bytes | bytearray, file_format: Format, metadata: dict[str, Any]
) -> list[bytes | bytearray | memoryview]:
    """Inserts metadata into a PNG or JPEG file: that of a file of one pixel, which Pillow writes with it.

    imagecodecs encodes the pixels, since Pillow loses 16 bits, would copy them to four bytes each (300 MB more for 100
    megapixels) and takes 1.7 times as long for PNG.
    """
    small = io.BytesIO()
    Image.new("L", (1, 1)).save(small, file_format.name, **metadata)
    head = small.getvalue()
    if file_format is PNG:  # after the signature and the header chunk, before the data chunk
        begin, end, rest = 33, head.rindex(b"IDAT") - 4, 33
    else:  # after the first marker, before the quantization tables; the encoder's own JFIF header is left out
        begin, end, rest = 2, head.rindex(b"\xff\xdb"), encoded.index(b"\xff\xdb")
    return [encoded[:begin], head[begin:end], memoryview(encoded)[rest:]]

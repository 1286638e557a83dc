"""One image with its metadata, and the conversions that give images of all formats the same form."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray
from PIL import Image, ImageCms

from srcnn_tf.errors import FaultError, RunError
from srcnn_tf.images.value_range import ValueRange, dtype_range

MAX_SIDE = 200_000  # rows or columns; resizing longer ones takes gigabytes, and no real image has them
Dpi = tuple[float, float] | None  # pixels per inch, horizontal and vertical
COLOR_CHUNKS = frozenset({b"gAMA", b"cHRM", b"sRGB", b"cICP", b"mDCV", b"cLLI"})  # of PNG, see `Page.colors`
BAND_BYTES = 2**20  # of pixels that are encoded, decoded or converted at once
CONVERT = "convert it to grey or RGB of 8 or 16 bits, or of floats, first"


class RowStream:
    """Rows of an image that are computed in bands from top to bottom, and kept only as long as they are needed.

    `stream[begin:end]` returns rows like an array does. No slice may begin above the one before it.

    Attributes:
        shape: `(rows, cols[, channels])`.
        dtype: of the pixels.
    """

    def __init__(self, shape: tuple[int, ...], dtype: DTypeLike, bands: Iterator[NDArray]) -> None:
        """Takes bands `(any number of rows, cols[, channels])`, which have all rows together."""
        self.shape, self.dtype = shape, np.dtype(dtype)
        self._bands = bands
        self._first = 0  # row of the image that `_kept` begins with
        self._kept: list[NDArray] = []

    def __getitem__(self, rows: slice) -> NDArray:
        """Returns the rows from `rows.start` to before `rows.stop`; computes bands until it has them."""
        begin, end, _ = rows.indices(self.shape[0])
        if begin < self._first:
            raise ValueError(f"row {begin} was asked for after row {self._first}")
        while self._kept and self._first + len(self._kept[0]) <= begin:
            self._first += len(self._kept.pop(0))
        last = self._first + sum(map(len, self._kept))
        while last < end:
            band = self._next_band()
            last += len(band)
            if last <= begin:
                self._first = last
            else:
                self._kept.append(band)
        if last == self.shape[0]:
            next(self._bands, None)  # ends it; a Ctrl-C during `close` could be lost, as errors there are ignored
        kept = self._kept[0] if len(self._kept) == 1 else np.concatenate(self._kept)
        return kept[begin - self._first : end - self._first]

    def _next_band(self) -> NDArray:
        """Returns the next band; makes whatever is unexpected a FaultError, which is none of the file's format."""
        try:
            return next(self._bands)
        except (RunError, OSError, MemoryError):
            raise
        except Exception as error:
            raise FaultError("while rows were computed") from error

    def close(self) -> None:
        """Ends the threads that compute bands ahead, if there are any; needed only before the last row."""
        if isinstance(self._bands, Generator):
            self._bands.close()


Pixels = NDArray | RowStream  # what can be sliced by rows from top to bottom


def band_rows(shape: tuple[int, ...], dtype: np.dtype) -> int:
    """Returns how many rows of such an image have BAND_BYTES; at least 1."""
    return max(1, BAND_BYTES // (math.prod(shape[1:]) * dtype.itemsize))


def as_array(pixels: Pixels) -> NDArray:
    """Returns all rows at once."""
    if not isinstance(pixels, RowStream):
        return pixels
    array = np.empty(pixels.shape, pixels.dtype)
    step = band_rows(pixels.shape, pixels.dtype)
    for begin in range(0, len(array), step):
        array[begin : begin + step] = pixels[begin : begin + step]
    return array


@dataclass(frozen=True, eq=False)
class Page:
    """One image, or one of several in a file, with its metadata.

    Attributes:
        pixels: `(rows, cols)` is grey, `(rows, cols, 2)` grey and alpha, 3 RGB, 4 RGBA; one of `value_range.DTYPES`.
            Colour is not premultiplied by alpha. An array, or rows that are computed when they are sliced.
        mask: `(rows, cols)` bool, False where there are no data; rows to be sliced like those of `pixels`.
        nodata: the value that says that there are no data.
        declared: the range of values that the file declares.
        limits: smallest and largest value that a result may have, if it is not the dtype's.
        name: of one page of several, for messages.
        derivation: how the pixels were made, of an upscaled image.
        command: identifies the command that made them.
        icc_profile: for grey or RGB, as the pixels are.
        exif: as `PIL.Image.Exif.tobytes` returns it. Its orientation has been applied to the pixels already.
        dpi: pixels per inch, horizontal and vertical.
        aspect: pixels per unit, horizontal and vertical, of pixels that are not square, where the unit is not known.
        xmp: the packet of XMP as it was read, of an image of `size`.
        iptc: records as IPTC-IIM defines them.
        texts: keywords with texts; "Comment" is that of a JPEG or GIF file.
        colors: what the values mean, as PNG chunks: their names (gAMA, cHRM, sRGB, cICP) with their contents.
        size: rows and columns that the image had in the file, upright.
        jpeg_quality: how strongly a JPEG or WebP file is compressed, see `decode.jpeg_quality`.
        is_lossless: whether it is from a lossless file of a format that is mostly lossy (WebP), and stays so there.
    """

    pixels: Pixels
    icc_profile: bytes | None = None
    exif: bytes | None = None
    dpi: Dpi = None
    aspect: Dpi = None
    xmp: bytes | None = None
    iptc: bytes | None = None
    texts: dict[str, str] | None = None
    colors: dict[bytes, bytes] | None = None
    size: tuple[int, int] | None = None
    jpeg_quality: float | None = None
    is_lossless: bool = False
    mask: Pixels | None = None
    nodata: float | None = None
    declared: ValueRange | None = None
    limits: tuple[float, float] | None = None
    name: str = ""
    derivation: str = ""
    command: str = ""


def channels_of(pixels: Pixels) -> int:
    """Returns 1 for grey, 2 for grey and alpha, 3 for RGB, 4 for RGBA."""
    return 1 if len(pixels.shape) == 2 else pixels.shape[2]


def without_opaque_alpha(pixels: Pixels) -> Pixels:
    """Returns grey or RGB alone if there is alpha and it is opaque throughout, else what is given."""
    if channels_of(pixels) not in (2, 4):
        return pixels
    array = as_array(pixels)
    if array[..., -1].min() < dtype_range(array.dtype).high:
        return array
    return np.ascontiguousarray(array[..., 0] if array.shape[2] == 2 else array[..., :3])


def check_size(path: str | os.PathLike[str], rows: int, cols: int, max_pixels: int, advice: str) -> None:
    """Raises a RunError if a file declares more pixels than allowed; called before anything is decoded."""
    if rows * cols > max_pixels:
        raise RunError(
            f"{path}: declares {cols} x {rows} pixels ({rows * cols / 1e6:,.1f} megapixels); at most "
            f"{max_pixels / 1e6:,.1f} megapixels are read. {advice}"
        )
    if max(rows, cols) > MAX_SIDE:
        raise RunError(
            f"{path}: declares {cols} x {rows} pixels; at most {MAX_SIDE:,} rows and columns are read. Cut it into "
            "parts."
        )


def unsupported(path: str | os.PathLike[str], kind: str, advice: str = CONVERT) -> RunError:
    """Returns the error for an intact image of a kind that would be read wrongly."""
    return RunError(f"{path}: this kind of image ({kind}) is not supported; {advice}.")


def raw_file(path: str | os.PathLike[str], camera: str = "") -> RunError:
    """Returns the error for the raw data of a camera, beside which there may be a thumbnail."""
    of = f" {' '.join(camera.split())}" if camera.strip(" \0") else ""
    return RunError(
        f"{path}: holds the raw data of a camera{of}, which have to be developed: expected an image. Save it as TIFF "
        "of 16 bits with darktable, RawTherapee or the camera maker's program, and upscale that."
    )


def oriented(pixels: NDArray, orientation: int) -> NDArray:
    """Returns the upright image, of the one stored with this EXIF orientation (1 to 8)."""
    if orientation in (5, 6, 7, 8):  # stored with rows and columns swapped
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def unpremultiplied(pixels: NDArray[np.uint8 | np.uint16]) -> NDArray[np.uint8 | np.uint16]:
    """Divides colour by alpha, the last channel, and rounds it; colour is black where alpha is 0."""
    full = np.iinfo(pixels.dtype).max
    color, alpha = pixels[..., :-1].astype(np.uint32), pixels[..., -1:]  # 65535 x 65535 + 32767 still fits
    divided = np.minimum((color * full + alpha // 2) // np.maximum(alpha, 1), full) * (alpha > 0)
    return np.concatenate([divided.astype(pixels.dtype), alpha], axis=-1)


def to_full_range(samples: NDArray, bits: int) -> NDArray[np.uint8 | np.uint16]:
    """Scales samples to 0..255, or to 0..65535 if they have more than eight bits."""
    full, dtype = (255, np.uint8) if bits <= 8 else (65535, np.uint16)
    if bits in (8, 16):
        return samples.astype(dtype, copy=False)
    table = np.floor(np.arange(2**bits) * (full / (2**bits - 1)) + 0.5).astype(dtype)
    return table[samples.astype(np.uint16)]


def cmyk_to_rgb(image: Image.Image, profile: bytes | None, warnings: list[str]) -> NDArray[np.uint8]:
    """Converts CMYK to sRGB by its ICC profile, or by the plain formula if it has none; uint8 `(rows, cols, 3)`."""
    if profile is None:
        return np.asarray(image.convert("RGB"))
    try:
        converted = ImageCms.profileToProfile(
            image,
            io.BytesIO(profile),
            ImageCms.createProfile("sRGB"),
            # The defaults of Adobe's programs for photographs.
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            outputMode="RGB",
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError, ValueError):
        warnings.append("its CMYK profile is damaged and not used")
        converted = image.convert("RGB")
    return np.asarray(converted)


def matching_profile(profile: bytes | None, channels: int, warnings: list[str]) -> bytes | None:
    """Returns the ICC profile if it is for images with so many channels."""
    if profile is None:
        return None
    # ICC.1:2010, section 7.2: the size, the colour space at byte 16, the signature at byte 36.
    complete = 128 <= int.from_bytes(profile[:4], "big") <= len(profile) and profile[36:40] == b"acsp"
    if complete and profile[16:20] == (b"GRAY" if channels < 3 else b"RGB "):
        return profile
    warnings.append("its colour profile is damaged or for another kind of image, and left out")
    return None


def upright_page(
    pixels: Pixels, orientation: int, profile: bytes | None, metadata: dict[str, Any], warnings: list[str]
) -> Page:
    """Returns the upright page, with the profile if it fits the pixels."""
    if orientation > 1:
        pixels = oriented(as_array(pixels), orientation)
        if metadata.get("mask") is not None:
            metadata["mask"] = oriented(as_array(metadata["mask"]), orientation)
    if orientation >= 5:
        metadata |= {name: metadata[name][::-1] for name in ("dpi", "aspect") if metadata.get(name)}
    size = pixels.shape[0], pixels.shape[1]
    return Page(pixels, matching_profile(profile, channels_of(pixels), warnings), size=size, **metadata)

"""Decodes BMP, GIF, JPEG, PNG, WebP, AVIF and HEIC files with Pillow, and PNG files of 16 bits with imagecodecs."""

from __future__ import annotations

import contextlib
import os
import stat
from importlib.util import find_spec
from typing import BinaryIO

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError, features

from srcnn_tf.images.formats import Kind
from srcnn_tf.images.page import check_size, cmyk_to_rgb, unsupported

AVIF = features.check("avif")
HEIC = find_spec("pillow_heif") is not None
PILLOW_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "WEBP", *(["AVIF"] if AVIF else []))  # by content, not by extension
HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}  # ISO/IEC 23008-12, annex B
ORIENTATION = 0x0112  # EXIF tag
GREY_MODES = frozenset({"1", "L", "LA", "La"})
COLOR_MODES = frozenset({"P", "PA", "RGB", "RGBX", "RGBA", "RGBa", "YCbCr"})


def open_file(path: str | os.PathLike[str]) -> BinaryIO:
    """Opens a regular file that is not empty; opening a pipe would wait forever."""
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("it is not a file")
    if status.st_size == 0:
        raise ValueError("it is empty")
    return open(path, "rb")


def open_image(file: BinaryIO, path: str | os.PathLike[str], max_pixels: int, advice: str) -> Image.Image:
    """Opens an image with Pillow, which decodes no pixel yet, and checks the size that the file declares."""
    if os.fstat(file.fileno()).st_size > 8 * max_pixels + 2**30:  # some decoders read the whole file first
        raise ValueError(f"a file of {os.fstat(file.fileno()).st_size / 1e9:.1f} GB is too large")
    file.seek(0)
    head, formats = file.read(12), PILLOW_FORMATS
    if head[4:8] == b"ftyp" and head[8:] in HEIC_BRANDS:
        _register_heic()
        formats = ("HEIF",)
    file.seek(0)
    try:
        image = Image.open(file, formats=formats)
    except UnidentifiedImageError:
        names = "AVIF, BMP" if AVIF else "BMP"
        raise ValueError(f"not {names}, GIF, JPEG, PNG, TIFF or WebP, or damaged at its beginning") from None
    check_size(path, image.height, image.width, max_pixels, advice)
    return image


def _register_heic() -> None:
    """Makes Pillow read HEIC; only done when there is such a file, as loading the library takes time."""
    if not HEIC:
        raise ValueError("HEIC needs another package: pip install 'srcnn_tf[heic]'")
    import pillow_heif

    pillow_heif.register_heif_opener()


def kind_of(image: Image.Image, file: BinaryIO) -> Kind:
    """Returns what `decode` will return of an image that Pillow opened, which has no pixel decoded yet."""
    file.seek(24)
    is_deep = image.format == "PNG" and file.read(1) == b"\x10"  # the bit depth in its header
    is_grey = image.mode in GREY_MODES or image.mode.startswith("I")
    channels = (1 if is_grey else 3) + image.has_transparency_data
    shape = (image.height, image.width, channels)[: 2 if channels == 1 else 3]
    return Kind(shape, np.dtype(np.uint16 if is_deep else np.uint8))


def decode(
    image: Image.Image, file: BinaryIO, path: str | os.PathLike[str], warnings: list[str]
) -> NDArray[np.uint8 | np.uint16]:
    """Decodes the first frame to pixels as `Page` has them, not yet oriented.

    A palette becomes RGB, or RGBA if it has transparency; 1 to 7 bits become 8; CMYK becomes RGB.
    """
    image.load()  # also where Pillow's pixels are not used: it reads the metadata that follows them
    file.seek(24)
    if image.format == "PNG" and file.read(1) != b"\x08":  # the bit depth in its header
        # Pillow reduces 16-bit colour to 8 bits, and mistakes which grey of 2 or 4 bits is transparent.
        file.seek(0)
        pixels = imagecodecs.png_decode(file.read())
    elif image.mode == "CMYK":
        pixels = cmyk_to_rgb(image, image.info.get("icc_profile"), warnings)
    elif image.mode in GREY_MODES | COLOR_MODES:
        mode = ("L" if image.mode in GREY_MODES else "RGB") + ("A" if image.has_transparency_data else "")
        pixels = np.asarray(image if image.mode == mode else image.convert(mode))
    else:
        raise unsupported(path, f"Pillow mode {image.mode!r}")
    if (frames := getattr(image, "n_frames", 1)) > 1:
        warnings.append(f"only the first of {frames} frames is read")
    return pixels


def load_exif(data: bytes | None) -> Image.Exif:
    """Parses EXIF data; of damaged data, returns what can be read."""
    exif = Image.Exif()
    with contextlib.suppress(Exception):  # SyntaxError, struct.error and more
        exif.load(data or b"")
        dict(exif)  # which decodes the values
        return exif
    return Image.Exif()


def exif_orientation(exif: bytes | None) -> int:
    """Returns the orientation in EXIF data, 1 to 8; 1 if there is none or an impossible one."""
    value = load_exif(exif).get(ORIENTATION)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1

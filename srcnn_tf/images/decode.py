"""Decodes BMP, GIF, JPEG, PNG, WebP, AVIF and HEIC files.

Pillow does it. Files that it would reduce to 8 bits go to imagecodecs or pillow-heif.

Damage that costs no pixel is mended first: a JPEG file without its end marker, a PNG file with a wrong checksum of a
part that it can do without.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
import stat
import zlib
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any, BinaryIO

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError, features

from srcnn_tf.images.formats import vp8
from srcnn_tf.images.formats.interface import Kind
from srcnn_tf.images.page import check_size, cmyk_to_rgb, raw_file, to_full_range, unsupported

AVIF = features.check("avif")
HEIC = find_spec("pillow_heif") is not None
PILLOW_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "WEBP", *(["AVIF"] if AVIF else []))  # by content, not by extension
HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}  # ISO/IEC 23008-12, annex B
AVIF_BRANDS = {b"avif", b"avis"}
COMMON_BRANDS = {b"mif1", b"msf1"}  # of AVIF and HEIC: the compatible brands decide
# Raw files of cameras that are not TIFF: Fujifilm, Olympus, Panasonic, Sigma, Minolta, Canon; "crx " is a brand of it.
RAW_SIGNATURES = (b"FUJIFILMCCD-RAW", b"IIRO", b"IIRS", b"MMOR", b"IIU\0", b"FOVb", b"\0MRM", b"II\x1a\0\0\0HEAPCCDR")
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# Markers of JPEG (ITU-T T.81, table B.1).
END_OF_IMAGE, START_OF_SCAN = 0xD9, 0xDA
START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
MARKER = re.compile(rb"\xff[^\x00\xd0-\xd8\xff]")  # that cannot stand within coded data
# In XMP by Adobe and Google, in XMP by Apple, in the segment that ISO 21496-1 defines.
GAIN_MAP = re.compile(rb"hdrgm:|HDRGainMap|urn:iso:std:iso:ts:21496")
LUMA_TABLE_SUM = 3688  # of the 64 numbers in table K.1 of the JPEG standard
# JPEG quality = 99 - 0.39 * quantizer of WebP: there, weights for compression gain as much or as little, see
# docs/experiments.md.
WEBP_QUALITY, WEBP_QUALITY_PER_STEP = 99.0, 0.39
WEBP_FRAME_HEADER = 16  # bytes
ORIENTATION = 0x0112  # EXIF tag
GREY_MODES = frozenset({"1", "L", "LA", "La"})
COLOR_MODES = frozenset({"P", "PA", "RGB", "RGBX", "RGBA", "RGBa", "YCbCr"})


def open_file(path: str | os.PathLike[str], warnings: list[str]) -> BinaryIO:
    """Opens a regular file that is not empty, or a mended copy in memory; opening a pipe would wait forever."""
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("it is not a file")
    if status.st_size == 0:
        raise ValueError("it is empty")
    file = open(path, "rb")  # noqa: SIM115 - the caller closes it
    try:
        mended = _without_damaged_chunks(file, warnings)
    except BaseException:
        file.close()
        raise
    if mended is None:
        return file
    file.close()
    return mended


def png_chunks(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """Yields the name of each chunk of a PNG file, where its content begins, and its length; of other files, none."""
    file.seek(0)
    position = len(PNG_SIGNATURE)
    if file.read(position) != PNG_SIGNATURE:
        return
    while len(head := file.read(8)) == 8:
        length, name = int.from_bytes(head[:4]), head[4:]
        yield name, position + 8, length
        position += 12 + length
        file.seek(position)


def _without_damaged_chunks(file: BinaryIO, warnings: list[str]) -> BinaryIO | None:
    """Returns a copy of a PNG file without ancillary chunks whose checksum is wrong; None if there are none."""
    damaged = []
    for name, begin, length in png_chunks(file):
        if name[0] & 0x20:  # ancillary: the image can be decoded without it (PNG specification, section 5.4)
            file.seek(begin)
            content, checksum = file.read(length), file.read(4)
            if len(checksum) == 4 and zlib.crc32(name + content) != int.from_bytes(checksum):
                damaged.append((begin - 8, begin + length + 4))
                warnings.append(f"the checksum of its {name.decode('latin-1')} chunk is wrong: left out")
    if not damaged:
        return None
    file.seek(0)
    content, kept, position = file.read(), [], 0
    for begin, end in damaged:
        kept.append(content[position:begin])
        position = end
    return io.BytesIO(b"".join([*kept, content[position:]]))


def open_image(file: BinaryIO, path: str | os.PathLike[str], max_pixels: int, advice: str) -> Image.Image:
    """Opens an image with Pillow, which decodes no pixel yet, and checks the size that the file declares."""
    size = file.seek(0, os.SEEK_END)
    if size > 8 * max_pixels + 2**30:  # some decoders read the whole file first
        raise ValueError(f"a file of {size / 1e9:.1f} GB is too large")
    formats, brands = PILLOW_FORMATS, brands_of(file)
    is_avif = bool(AVIF_BRANDS & set(brands)) and brands[0] not in HEIC_BRANDS - COMMON_BRANDS
    if is_avif and not AVIF:
        raise ValueError("AVIF needs a Pillow that supports it: pip install --upgrade pillow")
    if brands and brands[0] in HEIC_BRANDS and not is_avif:
        _register_heic()
        formats = ("HEIF",)
    elif is_avif and brands[0] not in COMMON_BRANDS | AVIF_BRANDS:  # which Pillow does not accept
        file.seek(0)
        content = file.read()
        file = io.BytesIO(content[:8] + b"avif" + content[12:])
    file.seek(0)
    head = file.read(16)
    if head.startswith(RAW_SIGNATURES) or b"crx " in brands:
        raise raw_file(path)
    file.seek(0)
    try:
        image = Image.open(file, formats=formats)
    except UnidentifiedImageError:
        raise ValueError("not AVIF, BMP, GIF, JPEG, PNG, TIFF or WebP, or damaged at its beginning") from None
    check_size(path, image.height, image.width, max_pixels, advice)
    return image


def brands_of(file: BinaryIO) -> list[bytes]:
    """Returns the major brand of an ISO base media file and those it is compatible with; of other files, none."""
    file.seek(0)
    head = file.read(16)
    if head[4:8] != b"ftyp":
        return []
    compatible = file.read(min(int.from_bytes(head[:4]), 1024) - 16)
    return [head[8:12], *(compatible[begin : begin + 4] for begin in range(0, len(compatible), 4))]


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
    is_deep = is_deep or coded_bits(image, file) > 8
    is_grey = image.mode in GREY_MODES or image.mode.startswith("I")
    channels = (1 if is_grey else 3) + image.has_transparency_data
    shape = (image.height, image.width, channels)[: 2 if channels == 1 else 3]
    return Kind(shape, np.dtype(np.uint16 if is_deep else np.uint8))


def decode(
    image: Image.Image, file: BinaryIO, path: str | os.PathLike[str], warnings: list[str]
) -> NDArray[np.uint8 | np.uint16]:
    """Decodes the first frame to pixels as `Page` has them, not yet oriented.

    A palette becomes RGB, or RGBA if it has transparency; 1 to 7 bits become 8, 10 and 12 bits 16; CMYK becomes RGB.
    """
    bits = coded_bits(image, file)
    if image.format in ("JPEG", "MPO"):
        image = _completed(image, file, warnings)
    if bits <= 8:
        image.load()  # also where Pillow's pixels are not used: it reads the metadata that follows them
    file.seek(24)
    if bits > 8:
        pixels = _decode_deep(image, file, bits)
    elif image.format == "PNG" and file.read(1) != b"\x08":  # the bit depth in its header
        # Pillow reduces 16-bit colour to 8 bits, and mistakes which grey of 2 or 4 bits is transparent.
        file.seek(0)
        pixels = imagecodecs.png_decode(file.read())
    elif image.mode == "CMYK":
        pixels = cmyk_to_rgb(image, image.info.get("icc_profile"), warnings)
    elif image.mode in GREY_MODES | COLOR_MODES:
        mode = ("L" if image.mode in GREY_MODES else "RGB") + ("A" if image.has_transparency_data else "")
        pixels = np.asarray(image if image.mode == mode else image.convert(mode))
        if image.format == "BMP" and mode == "RGBA" and not pixels[..., 3].any():  # as browsers read it
            pixels = pixels[..., :3]
            warnings.append("its alpha, 0 throughout, is left out")
    else:
        raise unsupported(path, f"Pillow mode {image.mode!r}")
    if (frames := getattr(image, "n_frames", 1)) > 1 and not any("gain map" in warning for warning in warnings):
        has_video = image.format in ("GIF", "PNG", "WEBP")
        advice = "; upscaling with --output=NAME.mp4 makes a video of all" if has_video else ""
        warnings.append(f"only the first of {frames} frames is read{advice}")
    return pixels


def coded_bits(image: Image.Image, file: BinaryIO) -> int:
    """Returns the bits of each sample of an AVIF or HEIC file, 8, 10 or 12; of others, 8."""
    if image.format == "HEIF":
        return int(image.info.get("bit_depth", 8))
    flags = image_properties(file, b"av1C")[2:3] if image.format == "AVIF" else b""  # AV1 in ISOBMFF, section 2.3
    return 8 if not flags or not flags[0] & 0x40 else 12 if flags[0] & 0x20 else 10


def image_properties(file: BinaryIO, name: bytes) -> bytes:
    """Returns what follows a name in the first megabyte of an AVIF file, where its properties are; else nothing."""
    file.seek(0)
    return file.read(2**20).partition(name)[2]


def _decode_deep(image: Image.Image, file: BinaryIO, bits: int) -> NDArray[np.uint8 | np.uint16]:
    """Decodes 10 or 12 bits, which Pillow reduces to 8, to 16 bits of full range."""
    file.seek(0)
    if image.format == "AVIF":
        samples = imagecodecs.avif_decode(file.read(), index=0)
    else:
        import pillow_heif

        samples = np.asarray(pillow_heif.open_heif(file, convert_hdr_to_8bit=False, hdr_to_16bit=False))
    if samples.shape[:2] != (image.height, image.width):
        raise ValueError(f"it declares {image.width} x {image.height} pixels, and has another size")
    return to_full_range(samples, bits)


def _completed(image: Image.Image, file: BinaryIO, warnings: list[str]) -> Image.Image:
    """Opens a JPEG file that lacks its end marker, or has other bytes in its place, with one; returns others as given.

    Raises:
        ValueError: it lacks blocks too. What follows the last block does not count, while bits that are missing from a
            block are taken from it. So it is complete if it decodes to the same pixels whatever follows.
    """
    file.seek(0)
    content = file.read()
    end, after, has_all_scans = _end_of_scans(content)
    if after is not None:
        _report_rest(image, content[after:].strip(b"\0\xff"), warnings)
        return image
    begun = content[:end].rstrip(b"\0\xff")
    while content[len(begun) : end].startswith(b"\xff\0"):  # a byte of 255 within the coded data
        begun += b"\xff\0"
    decoded, completed = set(), []
    for filling in (b"", *(np.random.default_rng(seed).bytes(256).replace(b"\xff", b"") for seed in range(2))):
        completed.append(Image.open(io.BytesIO(begun + filling + b"\xff\xd9"), formats=("JPEG",)))
        decoded.add(hashlib.sha256(completed[-1].tobytes()).digest())
    if not has_all_scans or len(decoded) > 1:
        raise ValueError("its image data is truncated")
    warnings.append("it has no end marker, but all of its pixels")
    return completed[0]


def _report_rest(image: Image.Image, rest: bytes, warnings: list[str]) -> None:
    """Says what follows the image in a JPEG file: a gain map, other images, the video of a motion photo."""
    has_gain_map = bool(rest) and any(GAIN_MAP.search(part) for part in (rest, image.info.get("xmp") or b""))
    if has_gain_map:
        warnings.append("its gain map, for displays of high dynamic range, is left out")
    if b"ftyp" in rest:
        warnings.append("the video after its end is left out")
    elif rest and not has_gain_map and getattr(image, "n_frames", 1) == 1:
        warnings.append(f"{len(rest):,} bytes after its end are left out")


def _end_of_scans(content: bytes) -> tuple[int, int | None, bool]:
    """Finds the end of a JPEG file's coded data (ITU-T T.81, B.2).

    Returns:
        Where it is; where the end marker ends, or None if there is none; whether there is a scan for all bits of all
        coefficients.
    """
    position, end, count = 2, len(content), 0
    bits: dict[int, list[int]] = {}  # of each component: the lowest bit of each coefficient, once it is known
    while (found := MARKER.search(content, position)) and content[found.start() + 1] != END_OF_IMAGE:
        position = found.start()
        marker, begin = content[position + 1], position + 4
        position += 2 + int.from_bytes(content[position + 2 : begin])
        if marker == START_OF_SCAN and position <= len(content):
            first, last, lowest = content[position - 3 : position]
            for name in content[begin + 1 : position - 3 : 2]:
                bits.setdefault(name, [1] * 64)[first : last + 1] = [lowest & 15] * (last + 1 - first)
            found = MARKER.search(content, position)
            end = found.start() if found else len(content)
        elif marker in START_OF_FRAME:
            count = content[begin + 5] if begin + 5 < len(content) else 0
    is_complete = count == len(bits) and not any(map(any, bits.values()))
    return end, found.end() if found else None, is_complete


def jpeg_quality(image: Image.Image, file: BinaryIO) -> float | None:
    """Estimates how strongly an image that Pillow opened is compressed.

    Returns:
        Of a JPEG file the quality, 1 to 100, at which the tables of the JPEG standard (its annex K), scaled as the
        Independent JPEG Group's library does, have the same sum as the file's for luma. Of a lossy WebP file
        the one that does as much harm. None for all others.
    """
    tables = getattr(image, "quantization", None)
    if image.format in ("JPEG", "MPO") and tables:
        percent = 100 * sum(next(iter(tables.values()))) / LUMA_TABLE_SUM
        return max(1.0, (200 - percent) / 2 if percent <= 100 else 5000 / percent)
    frame = _vp8_frame(file) if image.format == "WEBP" else None
    return None if frame is None else WEBP_QUALITY - WEBP_QUALITY_PER_STEP * vp8.quantizer(frame)


def _vp8_frame(file: BinaryIO) -> bytes | None:
    """Returns the first image of a WebP file, after chunks such as a colour profile; None if it is lossless."""
    file.seek(12)
    while len(header := file.read(8)) == 8:
        name, size = header[:4], int.from_bytes(header[4:], "little")
        if name in (b"VP8 ", b"VP8L"):
            return file.read(size) if name == b"VP8 " else None
        # A frame of an animation has chunks within it.
        file.seek(WEBP_FRAME_HEADER if name == b"ANMF" else size + size % 2, os.SEEK_CUR)
    return None


def load_exif(data: bytes | None) -> Image.Exif:
    """Parses EXIF data; of damaged data, returns what can be read."""
    exif = Image.Exif()
    with contextlib.suppress(Exception):  # SyntaxError, struct.error and more
        exif.load(data or b"")
        dict(exif)  # which decodes the values
        return exif
    return Image.Exif()


def orientation_of(image: Image.Image, file: BinaryIO) -> int:
    """Returns the orientation where Pillow finds it, 1 to 8; 1 if there is none or an impossible one.

    That is in EXIF data, also those in a text of a PNG file, or else in XMP. No pixel is decoded for it, but of a PNG
    file in which these follow the pixels.
    """
    with contextlib.suppress(Exception):  # SyntaxError, struct.error and more
        is_known = image.format == "PNG" and not _has_late_metadata(file)
        exif = Image.Image.getexif(image) if is_known else image.getexif()  # PNG's own decodes the image
        return valid_orientation(exif.get(ORIENTATION))
    return 1


def _has_late_metadata(file: BinaryIO) -> bool:
    """Tells whether EXIF data or XMP follow the pixels of a PNG file."""
    has_pixels = False
    for name, _, _ in png_chunks(file):
        has_pixels = has_pixels or name == b"IDAT"
        if has_pixels and (name == b"eXIf" or file.read(17) in (b"Raw profile type ", b"XML:com.adobe.xmp")):
            return True
    return False


def valid_orientation(value: Any) -> int:
    """Returns an orientation, or 1 in place of an impossible one."""
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def xmp_orientation(packet: Any) -> int | None:
    """Returns the orientation in XMP, found as Pillow finds it; None if there is none."""
    found = re.search(rb'tiff:Orientation(?:="|>)([0-9])', packet) if isinstance(packet, bytes) else None
    return int(found[1]) if found else None

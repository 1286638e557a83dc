"""Reads and rewrites the resolution and the EXIF data of images.

TIFF has no EXIF block: there, the texts are tags of the page, and the camera and GPS data are directories beside it.
"""

from __future__ import annotations

import contextlib
import re
import struct
from collections.abc import MutableMapping
from dataclasses import replace
from fractions import Fraction
from typing import IO, Any, BinaryIO, cast

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2
from tifffile import TiffPage, TiffWriter

from srcnn_tf.images.decode import ORIENTATION, brands_of, image_properties, jpeg_quality, load_exif, png_chunks
from srcnn_tf.images.formats.interface import Format
from srcnn_tf.images.library_errors import MAX_PROFILE
from srcnn_tf.images.page import COLOR_CHUNKS, Dpi, Page

EXIF, GPS, INTEROPERABILITY, SUB_IFDS = 0x8769, 0x8825, 0xA005, 0x014A  # directories within EXIF data
WIDTH, HEIGHT, DESCRIPTION = 0xA002, 0xA003, 0x010E
# Also make, model, software, date, artist, computer and copyright.
TEXTS = (DESCRIPTION, 0x010F, 0x0110, 0x0131, 0x0132, 0x013B, 0x013C, 0x8298)
# What says of a PNG file (its specification, section 11.3.2) that its values are sRGB's, as those of a file without it.
SRGB_CHUNKS = {
    b"gAMA": (45455).to_bytes(4),
    b"cHRM": struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000),
    b"cICP": bytes([1, 13, 0, 1]),
}
BMP_V5_HEADER = 124  # bytes
UNKNOWN_OR_SRGB = ((0, 0), (2, 2), (1, 13))  # codes of primaries and transfer
HIGH_DYNAMIC_RANGE = (16, 18)  # codes of transfer: PQ and HLG
XMP_TAG, IPTC_TAG, IPTC_RESOURCE = 700, 33723, 0x0404
CLIPPING_PATHS = range(2000, 2999)  # among Photoshop's resources
TIFF_TAGS_LEFT_OUT = {
    "georeference is left out: pip install 'srcnn_tf[geo]' keeps it": (33550, 33922, 34264, 34735),  # GeoTIFF 1.1, 7.1
    "layers are left out": (37724,),  # of Photoshop
    "colour space (TIFF tags 301, 318, 319) is left out": (301, 318, 319),
}
EXTENDED_XMP = b"http://ns.adobe.com/xmp/extension/"
# In XMP, by the prefixes that all programs use: sizes of the image, places and sizes in it (of panoramas, and of the
# image that faces were found in), and what refers to other images in the file.
XMP_VALUE = rb"""\s*(?:=\s*["']|>)\s*"""  # what precedes the value of an attribute or of an element
XMP_SIZES = (b"tiff:ImageLength", b"tiff:ImageWidth", b"exif:PixelYDimension", b"exif:PixelXDimension")
XMP_SCALED = re.compile(
    rb"((?:GPano:(?:FullPano|CroppedAreaImage|CroppedArea|LargestValidInteriorRect)(?:Width|Height|Left|Top)(?:Pixels)?"
    rb"|stDim:[wh])" + XMP_VALUE + rb")(\d{1,9})(?!\d)"
)
XMP_ROWS = (b"Height", b"Top", b"stDim:h")
XMP_REMOVED = re.compile(
    rb"""\s(?:xmpNote:HasExtendedXMP|hdrgm:\w+|HDRGainMap:\w+|G(?:Depth|Image|Audio):\w+|GCamera:(?:MotionPhoto|MicroVideo)\w*)\s*=\s*"""
    rb"""(?:"[^"]*"|'[^']*')|<(Container:Directory|hdrgm:\w+|HDRGainMap:\w+)\b(?:[^>]*/>|[^>]*>.*?</\1>)""",
    re.DOTALL,
)
# Texts of PNG files that hold what is read as EXIF data, colour profiles and XMP.
TEXTS_READ = {"XML:com.adobe.xmp", *(f"Raw profile type {kind}" for kind in ("exif", "APP1", "icc", "icm", "xmp"))}
# What a format may hold, by the attributes of `Page`.
METADATA_NAMES = {
    "icc_profile": "colour profile",
    "exif": "EXIF data",
    "dpi": "resolution",
    "aspect": "aspect ratio of pixels",
    "xmp": "XMP",
    "iptc": "IPTC data",
    "texts": "texts",
    "nodata": "value for missing data",
}
DAMAGED = "some or all of its EXIF data is damaged and left out"


def image_metadata(image: Image.Image, file: BinaryIO, warnings: list[str]) -> dict[str, Any]:
    """Returns what `Page` has besides pixels, of an image that Pillow decoded from a file."""
    info, texts = image.info, dict(getattr(image, "text", {}))
    quality, comment = jpeg_quality(image, file), info.get("comment")
    if isinstance(comment, bytes) and comment.strip(b" \0"):
        texts["Comment"] = _decoded(comment)
    exif = info.get("exif") or _raw_profile(texts, "exif") or _raw_profile(texts, "APP1")
    exif = info.get("exif") if exif is None else exif  # b"" if it is damaged
    profile = info.get("icc_profile") or _bmp_profile(file) or _raw_profile(texts, "icc") or _raw_profile(texts, "icm")
    if not profile and "icc_profile" in info:  # None if it is damaged
        profile = b""
    xmp = info.get("xmp") or _raw_profile(texts, "xmp")
    warnings += [f"{words} left out" for words in _parts_left_out(image, file)]
    return {
        "exif": exif,
        "icc_profile": profile,
        "dpi": _image_dpi(image, exif),
        "aspect": _aspect(info.get("aspect") or (info.get("jfif_unit") == 0 and info.get("jfif_density"))),
        "xmp": xmp.encode() if isinstance(xmp, str) else xmp,
        "colors": _colors(image, file),
        "iptc": _iptc(info.get("photoshop")),
        "texts": {name: text for name, text in texts.items() if name not in TEXTS_READ} or None,
        "jpeg_quality": quality,
        "is_lossless": image.format == "WEBP" and quality is None,
    }


def _parts_left_out(image: Image.Image, file: BinaryIO) -> list[str]:
    """Names what is in a file besides the image, and is not true of others or is not read."""
    segments = [part for _, part in getattr(image, "applist", ()) if isinstance(part, bytes)]
    chunks = {name for name, _, _ in png_chunks(file)}
    auxiliary = " ".join(map(str, image.info.get("aux") or ()))  # of HEIC
    parts = {
        "its extended XMP (depth maps, histories and other large parts) is": any(
            part.startswith(EXTENDED_XMP) for part in segments
        ),
        "its content credentials (C2PA) are": b"caBX" in chunks or any(b"c2pa" in part[:200] for part in segments),
        "its gain map, for displays of high dynamic range, is": "gainmap" in auxiliary or b"tmap" in brands_of(file),
        "its clipping paths are": any(code in CLIPPING_PATHS for code in image.info.get("photoshop") or ()),
        "its depth map is": bool(image.info.get("depth_images")),
    }
    return [words for words, is_there in parts.items() if is_there]


def _decoded(text: bytes) -> str:
    """Decodes a text whose encoding is not known."""
    try:
        return text.rstrip(b"\0").decode()
    except UnicodeDecodeError:
        return text.rstrip(b"\0").decode("latin-1")


def _bmp_profile(file: BinaryIO) -> bytes | None:
    """Returns the colour profile in a bitmap whose header is a BITMAPV5HEADER; None if it or that is missing."""
    file.seek(0)
    head = file.read(14 + BMP_V5_HEADER)
    if head[:2] != b"BM" or head[14:18] != BMP_V5_HEADER.to_bytes(4, "little") or head[70:74] != b"DEBM":
        return None
    begin, length = struct.unpack("<II", head[126:134])
    file.seek(14 + begin)
    return file.read(min(length, MAX_PROFILE))


def _raw_profile(texts: dict[str, str], kind: str) -> bytes | None:
    """Returns metadata that ImageMagick writes as a text of hexadecimal digits, after the kind and the length."""
    with contextlib.suppress(ValueError):
        return bytes.fromhex("".join(texts.get(f"Raw profile type {kind}", "").split("\n")[3:])) or None
    return None


def _colors(image: Image.Image, file: BinaryIO) -> dict[bytes, bytes] | None:
    """Returns the colour space as `Page.colors`, of PNG, AVIF and HEIC; None if it is sRGB or not known."""
    colors = {}
    for name, begin, length in png_chunks(file):
        if name in COLOR_CHUNKS and length <= 32:
            file.seek(begin)
            colors[name] = file.read(length)
    codes = _coded_colors(image, file)
    # A profile says more than the codes, but for high dynamic range.
    if codes not in UNKNOWN_OR_SRGB and (codes[1] in HIGH_DYNAMIC_RANGE or not image.info.get("icc_profile")):
        colors[b"cICP"] = bytes([*codes, 0, 1])  # RGB, full range
    return colors or None


def selected_colors(page: Page, held: frozenset[bytes], warnings: list[str]) -> dict[bytes, bytes] | None:
    """Returns of a page's colour space the parts that a format holds; the others are named if they are not sRGB's."""
    colors = page.colors or {}
    left_out = {name: content for name, content in colors.items() if name not in held}
    if page.icc_profile:  # which says the same as the first three
        left_out = {name: content for name, content in left_out.items() if name == b"cICP"}
    if any(SRGB_CHUNKS.get(name) not in (None, content) for name, content in left_out.items()):
        warnings.append(f"its colour space ({', '.join(sorted(map(bytes.decode, left_out)))}) is left out")
    return {name: content for name, content in colors.items() if name in held} or None


def _coded_colors(image: Image.Image, file: BinaryIO) -> tuple[int, int]:
    """Returns the codes of an AVIF or HEIC file for primaries and transfer (ITU-T H.273); else 0 and 0."""
    if image.format == "HEIF":
        profile = image.info.get("nclx_profile") or {}
        return profile.get("color_primaries", 0), profile.get("transfer_characteristics", 0)
    codes = image_properties(file, b"colrnclx") if image.format == "AVIF" else b""
    return int.from_bytes(codes[:2]), int.from_bytes(codes[2:4])


def _iptc(resources: Any) -> bytes | None:
    """Returns the IPTC records among Photoshop's resources in a JPEG file."""
    records = resources.get(IPTC_RESOURCE) if isinstance(resources, dict) else None
    return records if isinstance(records, bytes) and records else None


def _image_dpi(image: Image.Image, exif: bytes | None) -> Dpi:
    """Returns the resolution of an image that Pillow opened: the format's own, or else that of the EXIF data."""
    info = image.info
    # Of a JPEG file that states no unit, Pillow gives the EXIF data's resolution, or one that it assumes.
    if "dpi" in info and (image.format not in ("JPEG", "MPO") or info.get("jfif_unit") in (1, 2)):
        return _dpi(*info["dpi"])
    return _exif_dpi(load_exif(exif))


def _aspect(densities: Any) -> Dpi:
    """Returns pixels per an unknown length as the smallest whole numbers; None if they are equal, or impossible."""
    try:
        ratio = Fraction(float(densities[0]) / float(densities[1])).limit_denominator(2**15)
    except (TypeError, ValueError, ArithmeticError, LookupError):
        return None
    return (ratio.numerator, ratio.denominator) if ratio != 1 and 0 < ratio < 2**16 else None


def _exif_dpi(exif: Image.Exif) -> Dpi:
    inch = {2: 1.0, 3: 2.54}.get(exif.get(0x0128, 2), 0.0)  # of the unit: none, inch, centimetre
    return _dpi(exif.get(0x011A), exif.get(0x011B), inch)


def _dpi(horizontal: Any, vertical: Any, inch: float = 1) -> Dpi:
    """Returns pixels per inch, rounded since units are converted; None if they are missing or impossible."""
    try:
        dpi = round(float(horizontal) * inch, 2), round(float(vertical) * inch, 2)
    except (TypeError, ValueError):
        return None
    return dpi if all(0 < value < 1e6 for value in dpi) else None


def select_metadata(page: Page, file_format: Format, warnings: list[str]) -> tuple[Page, Image.Exif | None]:
    """Returns the page without the metadata that the format does not hold, and its EXIF data for these pixels."""
    left_out = [part for part in METADATA_NAMES if part not in file_format.metadata and getattr(page, part) is not None]
    warnings += [f"{file_format.name} holds no {METADATA_NAMES[part]}: left out" for part in left_out]
    none: dict[str, Any] = dict.fromkeys(left_out)
    page = replace(page, **none)
    page = replace(page, colors=selected_colors(page, file_format.colors, warnings), xmp=updated_xmp(page, warnings))
    exif = updated_exif(page, warnings)
    return page, exif


def updated_exif(page: Page, warnings: list[str]) -> Image.Exif | None:
    """Returns the page's EXIF data for its pixels: upright, with their size, and without the thumbnail."""
    if page.exif is None:
        return None
    exif, (rows, cols) = load_exif(page.exif), page.pixels.shape[:2]
    intact = len(exif) > 0
    try:
        details = exif.get_ifd(EXIF) if EXIF in exif else {}
        for tags, tag, value in ((exif, ORIENTATION, 1), (details, WIDTH, cols), (details, HEIGHT, rows)):
            if tag in tags:
                tags[tag] = value
        exif.pop(SUB_IFDS, None)  # offsets in the file that it was read from
        gps = exif.get_ifd(GPS) if GPS in exif else {}
        for group, tags in ((None, exif), (EXIF, details), (GPS, gps)):
            intact = _make_writable(tags, group) and intact
        exif.tobytes()
    except Exception:  # SyntaxError, struct.error and more
        exif, intact = Image.Exif(), False
    if not intact:
        warnings.append(DAMAGED)
    return exif or None


def updated_xmp(page: Page, warnings: list[str]) -> bytes | None:
    """Returns the page's XMP for its pixels: upright, with their size, and without what is no longer there."""
    if page.xmp is None:
        return None
    packet = page.xmp.rstrip(b"\0")
    if b"\0" in packet or b"<" not in packet:
        warnings.append("its XMP is damaged or not in UTF-8, and left out")
        return None
    size = page.pixels.shape[:2]
    scales = [new / old for new, old in zip(size, page.size or size, strict=True)]

    def scaled(found: re.Match[bytes]) -> bytes:
        is_row = any(word in found[1] for word in XMP_ROWS)
        return found[1] + str(round(int(found[2]) * scales[0 if is_row else 1])).encode()

    packet = XMP_SCALED.sub(scaled, packet)
    for name, value in ((b"tiff:Orientation", 1), *zip(XMP_SIZES, (*size, *size), strict=True)):
        packet = re.sub(rb"(%s%s)\d+" % (name, XMP_VALUE), rb"\g<1>%d" % value, packet)
    return XMP_REMOVED.sub(b"", packet)


def _make_writable(tags: MutableMapping[int, Any], group: int | None = None) -> bool:
    """Removes what Pillow cannot write, and encodes texts that are not ASCII; returns whether nothing was removed."""
    intact = True
    for tag, value in list(tags.items()):
        try:
            if isinstance(value, str) and not value.isascii():  # Pillow would write a question mark for each accent
                tags[tag] = value.encode("latin-1")
            directory = ImageFileDirectory_v2(group=group)
            directory[tag] = tags[tag]
            directory.tobytes()
        except Exception:  # TypeError, struct.error and more
            del tags[tag]
            intact = False
    return intact


def tiff_metadata(page: TiffPage, warnings: list[str]) -> dict[str, Any]:
    """Returns what `Page` has besides pixels and colour profile, of a TIFF page."""
    exif, dpi = _tiff_exif(page, warnings)
    resolutions = [page.tags.valueof(code) for code in (282, 283)]  # fractions
    has_unit = page.tags.valueof(296, 2) != 1
    aspect = None if has_unit or None in resolutions else _aspect([Fraction(*each) for each in resolutions])
    lost = (words for words, codes in TIFF_TAGS_LEFT_OUT.items() if any(code in page.tags for code in codes))
    warnings += [f"its {words}" for words in lost]
    if page.is_imagej or page.is_ome:
        warnings.append("its description of planes and sizes (ImageJ, OME) is left out")
    tags = {"xmp": page.tags.valueof(XMP_TAG), "iptc": page.tags.valueof(IPTC_TAG)}
    if isinstance(tags["iptc"], tuple):  # stored as numbers of 32 bits, as Adobe's programs do
        tags["iptc"] = np.array(tags["iptc"], f"{page.parent.byteorder}u4").tobytes()
    return {"exif": exif, "dpi": dpi, "aspect": aspect} | {
        name: tag or None for name, tag in tags.items() if isinstance(tag, bytes)
    }


def _tiff_exif(page: TiffPage, warnings: list[str]) -> tuple[bytes | None, Dpi]:
    """Returns the texts and the EXIF and GPS directories of a TIFF page as EXIF data; and its resolution."""
    stored, exif, dpi = Image.Exif(), Image.Exif(), None
    try:
        stored.endian, stored.bigtiff = page.parent.byteorder, page.parent.is_bigtiff
        stored.load_from_fp(cast(IO[bytes], page.parent.filehandle), page.offset)
        dpi = _exif_dpi(stored)
        exif.update({tag: stored[tag] for tag in TEXTS if isinstance(stored.get(tag), str)})
        if page.is_ome or page.is_imagej or page.is_shaped:  # which describe planes and sizes, not the subject
            exif.pop(DESCRIPTION, None)
        _make_writable(exif)
        for directory in (EXIF, GPS):
            tags = {tag: value for tag, value in stored.get_ifd(directory).items() if tag != INTEROPERABILITY}
            _make_writable(tags, directory)
            if tags:
                exif[directory] = tags
        return (exif.tobytes() if exif else None), dpi
    except Exception:  # as in `updated_exif`
        warnings.append(DAMAGED)
        return None, dpi


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


def tiff_tags(page: Page) -> list[tuple]:
    """Returns XMP and IPTC data as tifffile's `extratags`, of types BYTE and UNDEFINED."""
    tags = ((XMP_TAG, 1, page.xmp), (IPTC_TAG, 7, page.iptc))
    return [(tag, kind, len(content), content, True) for tag, kind, content in tags if content]

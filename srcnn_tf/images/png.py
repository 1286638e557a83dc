"""PNG files, of 8 and of 16 bits, with what belongs to the picture.

The chunks are read and written here, and libpng (of imagecodecs) sees the pixels alone: Pillow gives 16-bit colour as
8 bits and says nothing, and imagecodecs gives no metadata. The chunks are those of the PNG specification (third
edition).
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO

import imagecodecs
import numpy as np

from srcnn_tf.images.exif import sensible
from srcnn_tf.images.pixels import Photo

SIGNATURE = b"\x89PNG\r\n\x1a\n"
HEADER_END = 33  # of the signature and IHDR
CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}  # of each colour type, without the alpha that tRNS adds
METRES = 0.0254  # an inch
MOST_PROFILE = 2**24  # bytes of an unpacked ICC profile; large ones have 3 MB
# libpng's time goes into zlib: level 2 with this one filter is seven times as fast as the default (level 6, the best
# of five filters for each row; 3.6 megapixels a second) for files that are 13 % larger.
LEVEL, FILTER = 2, imagecodecs.PNG.FILTER.PAETH


def read(file: BinaryIO, check: Callable[[int, int], None]) -> tuple[Photo, list[str]]:
    """Reads a PNG file whose signature has been seen.

    Args:
        file: the file, from its beginning.
        check: raises an error if the rows and columns are too many.

    Returns:
        The picture, its EXIF block as it stands in the file, and what there is to say about it.

    Raises:
        RunError: `check` says so.
        Exception: of many kinds; the file is damaged.
    """
    rows, cols, depth, color = _header(file.read(HEADER_END))
    check(rows, cols)
    size = os.fstat(file.fileno()).st_size
    if size > 8 * rows * cols + 2**30:
        raise ValueError(f"{size} bytes are too many for {cols} x {rows} pixels")
    file.seek(0)
    kept, found = [SIGNATURE], {}
    for kind, chunk in _chunks(memoryview(file.read())):
        if kind in (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"):
            kept.append(chunk)
        elif kind[0] & 0x20 == 0:  # a capital: the picture cannot be understood without it
            raise ValueError(f"chunk {kind!r} is unknown")
        found.setdefault(kind, chunk[8:-4])
    pixels = imagecodecs.png_decode(b"".join(kept))
    channels = CHANNELS[color] + (b"tRNS" in found and color in (0, 2, 3))
    shape = (rows, cols) if channels == 1 else (rows, cols, channels)
    # Against a library that would do otherwise one day.
    if pixels.shape != shape or pixels.dtype != (np.uint16 if depth == 16 else np.uint8):
        raise ValueError(f"decoded as {pixels.shape} {pixels.dtype}, expected {shape} of {depth} bits")
    exif = bytes(found[b"eXIf"]) if b"eXIf" in found else None
    return Photo(pixels, _profile(found), exif, _resolution(found)), _notices(found)


def write(photo: Photo, path: str | os.PathLike[str]) -> None:
    """Writes a PNG file of the picture's own bits and channels; a lossless one, so what is read is what was written.

    Raises:
        OSError: the file cannot be written.
    """
    encoded = memoryview(imagecodecs.png_encode(photo.pixels, level=LEVEL, filter=FILTER))
    with open(path, "wb") as file:
        file.write(encoded[:HEADER_END])
        if photo.profile:
            file.write(_chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(photo.profile)))
        if photo.resolution:
            file.write(_chunk(b"pHYs", struct.pack(">IIB", *(round(value / METRES) for value in photo.resolution), 1)))
        if photo.exif:
            file.write(_chunk(b"eXIf", photo.exif))
        file.write(encoded[HEADER_END:])


def _header(data: bytes) -> tuple[int, int, int, int]:
    """Rows, columns, bits of a sample, and colour type."""
    length, kind, cols, rows, depth, color = struct.unpack(">I4sIIBB", data[8:26])
    if (length, kind) != (13, b"IHDR") or color not in CHANNELS or not rows or not cols:
        raise ValueError("its header is damaged")
    return rows, cols, depth, color


def _chunks(data: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Each chunk's kind, and the whole of it: its length, kind, content and checksum.

    One that the pixels do not depend on is left out if its checksum is wrong.
    """
    place = len(SIGNATURE)
    kind = b""
    while kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", data, place)
        chunk = data[place : place + length + 12]
        if len(chunk) < length + 12:
            raise ValueError(f"it ends within chunk {kind!r}")
        place += length + 12
        if zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:], "big"):
            yield kind, chunk
        elif kind[0] & 0x20 == 0 or kind == b"tRNS":
            raise ValueError(f"the checksum of chunk {kind!r} is wrong")


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _profile(found: dict[bytes, memoryview]) -> bytes | None:
    if b"iCCP" not in found:
        return None
    name, _, packed = bytes(found[b"iCCP"]).partition(b"\0")
    unpack = zlib.decompressobj()
    try:
        profile = unpack.decompress(packed[1:], MOST_PROFILE)
    except zlib.error:
        profile = b""
    return profile if name and unpack.eof else b"damaged"  # which fits no picture, and is said so


def _resolution(found: dict[bytes, memoryview]) -> tuple[float, float] | None:
    if len(found.get(b"pHYs", b"")) != 9:
        return None
    across, down, unit = struct.unpack(">IIB", found[b"pHYs"])
    # Whole pixels a metre cannot say 300 an inch: two decimals are what they are good for.
    return sensible((round(across * METRES, 2), round(down * METRES, 2))) if unit == 1 else None


def _notices(found: dict[bytes, memoryview]) -> list[str]:
    if len(found.get(b"acTL", b"")) != 8:
        return []
    frames = int.from_bytes(found[b"acTL"][:4], "big")
    return [f"animated: only the first of {frames} frames is read"] if frames > 1 else []

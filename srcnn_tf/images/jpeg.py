"""JPEG files, written with what belongs to the picture.

The encoder takes the array as it is; Pillow would copy it first, to four bytes a pixel.
"""

from __future__ import annotations

import os
import struct

import imagecodecs

from srcnn_tf.images.pixels import Photo

FULL_COLOR = 90  # from this quality on, as Adobe's programs and ImageMagick do, colour has the resolution of luma
MOST_IN_SEGMENT = 65533


def write(photo: Photo, path: str | os.PathLike[str], quality: int) -> list[str]:
    """Writes a JPEG file.

    Args:
        photo: grey or RGB, uint8.
        path: the file.
        quality: 1 to 100.

    Returns:
        What there is to say about it.

    Raises:
        OSError: the file cannot be written.
    """
    encoded = memoryview(
        imagecodecs.jpeg8_encode(photo.pixels, level=quality, subsampling="444" if quality >= FULL_COLOR else "420")
    )
    begin, notices = 2, []
    if encoded[2:4] == b"\xff\xe0":  # the encoder's JFIF header, which ours takes the place of
        begin = 4 + int.from_bytes(encoded[4:6], "big")
    with open(path, "wb") as file:
        file.write(encoded[:2])
        file.write(_jfif(photo.resolution))
        if photo.exif:
            content = b"Exif\0\0" + photo.exif
            if len(content) <= MOST_IN_SEGMENT:
                file.write(_segment(0xE1, content))
            else:
                notices.append("its EXIF data is larger than JPEG holds (64 kB), and left out")
        for segment in _profile_segments(photo.profile):
            file.write(segment)
        file.write(encoded[begin:])
    return notices


def _segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def _jfif(resolution: tuple[float, float] | None) -> bytes:
    """The JFIF 1.01 header: without a resolution, that pixels are square."""
    across, down = (round(value) for value in resolution or (0, 0))
    unit = 1
    if not (0 < across < 2**16 and 0 < down < 2**16):
        unit, across, down = 0, 1, 1
    return _segment(0xE0, struct.pack(">5sBBBHHBB", b"JFIF\0", 1, 1, unit, across, down, 0, 0))


def _profile_segments(profile: bytes | None) -> list[bytes]:
    """The ICC profile in numbered parts (ICC.1:2010, annex B.4)."""
    size = MOST_IN_SEGMENT - 14
    parts = [profile[begin : begin + size] for begin in range(0, len(profile), size)] if profile else []
    head = b"ICC_PROFILE\0"
    return [_segment(0xE2, head + bytes((number, len(parts))) + part) for number, part in enumerate(parts, 1)]

r"""EXIF blocks, changed in place: all that is not changed stays byte for byte as the camera wrote it.

A block is a TIFF header and directories of tags of twelve bytes each (EXIF 2.3, section 4.5), without the six bytes
`Exif\0\0` that some formats put before it.
"""

from __future__ import annotations

import struct

ORIENTATION, X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 0x0112, 0x011A, 0x011B, 0x0128
EXIF_TAGS, GPS_TAGS = 0x8769, 0x8825
COLS, ROWS = 0xA002, 0xA003  # the names in the standard are PixelXDimension and PixelYDimension
BYTE, SHORT, LONG, RATIONAL = 1, 3, 4, 5
INCHES = {2: 1.0, 3: 2.54}  # of a resolution's unit: how many of them an inch has


class Block:
    r"""An EXIF block that is read and changed tag by tag.

    Args:
        data: the block, with or without `Exif\0\0` before it.

    Raises:
        ValueError: it has no directory of tags, or one that goes beyond its end.
    """

    def __init__(self, data: bytes) -> None:
        while data.startswith(b"Exif\0\0"):
            data = data[6:]
        self._data = bytearray(data)
        orders = {b"II*\0": "<", b"MM\0*": ">"}
        if data[:4] not in orders:
            raise ValueError("no EXIF header")
        self._order = orders[data[:4]]
        self._main, self._thumbnail = self._directory(self._at("I", 4))
        pointer = self._whole(self._main, EXIF_TAGS)
        self._exif = {} if pointer is None else self._directory(pointer)[0]

    def __bytes__(self) -> bytes:
        """The block as it is by now, without `Exif` and two zeros before it."""
        return bytes(self._data)

    @property
    def orientation(self) -> int:
        """1 to 8: how the picture was turned when it was stored; 1 if nothing, or nothing sensible, is said."""
        value = self._whole(self._main, ORIENTATION)
        return value if value in range(1, 9) else 1

    @property
    def resolution(self) -> tuple[float, float] | None:
        """Pixels per inch, horizontal and vertical, if they are said."""
        entries = [self._main.get(tag) for tag in (X_RESOLUTION, Y_RESOLUTION)]
        if None in entries or any(self._at("HI", entry + 2) != (RATIONAL, 1) for entry in entries):
            return None
        try:
            ratios = [self._at("II", self._at("I", entry + 8)) for entry in entries]
        except ValueError:
            return None
        unit = self._whole(self._main, RESOLUTION_UNIT)
        across, down = (top / bottom * INCHES.get(unit or 2, 0) if bottom else 0 for top, bottom in ratios)
        return sensible((across, down))

    def set_upright(self) -> None:
        """Says that the picture is stored as it is to be seen, and lets go of the thumbnail, which is not."""
        if (entry := self._main.get(ORIENTATION)) is not None:
            self._put("HIHH", entry + 2, SHORT, 1, 1, 0)
        self._put("I", self._thumbnail, 0)

    def set_size(self, rows: int, cols: int) -> None:
        """Gives the picture's size, where the block gives one."""
        for tag, value in ((ROWS, rows), (COLS, cols)):
            if tag in self._exif:
                self._put("HII", self._exif[tag] + 2, LONG, 1, value)

    def _directory(self, place: int) -> tuple[dict[int, int], int]:
        """Where each tag of the directory is, and where the place of the next directory stands."""
        entries = range(place + 2, place + 2 + 12 * self._at("H", place), 12)
        if entries.stop + 4 > len(self._data):
            raise ValueError("EXIF tags beyond the end")
        return {self._at("H", entry): entry for entry in entries}, entries.stop

    def _whole(self, directory: dict[int, int], tag: int) -> int | None:
        """The tag's value, if it has one and it is a single whole number."""
        entry = directory.get(tag)
        if entry is None:
            return None
        kind, count = self._at("HI", entry + 2)
        code = {BYTE: "B", SHORT: "H", LONG: "I"}.get(kind)
        return self._at(code, entry + 8) if code and count == 1 else None

    def _at(self, code: str, place: int) -> int | tuple[int, ...]:
        try:
            found = struct.unpack_from(self._order + code, self._data, place)
        except struct.error as error:
            raise ValueError("EXIF data beyond the end") from error
        return found if len(code) > 1 else found[0]

    def _put(self, code: str, place: int, *values: int) -> None:
        struct.pack_into(self._order + code, self._data, place, *values)


def sensible(resolution: tuple[float, float]) -> tuple[float, float] | None:
    """The resolution in pixels per inch, or None for one that no picture has."""
    across, down = resolution
    return (float(across), float(down)) if 0.01 < across < 1e6 and 0.01 < down < 1e6 else None

"""TIFF files, of 8 and of 16 bits and of many pages, with what belongs to each.

tifffile reads and writes them: Pillow gives 16-bit colour as 8 bits, does not turn 16-bit pictures whose 0 is white,
and says nothing of either. tifffile gives what is stored; what that means is worked out here, by TIFF 6.0.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tifffile import TiffFile, TiffPage, TiffWriter

from srcnn_tf.images.pixels import Photo, channels_of, fitting, refusal, rgb_of_cmyk, turned, unmultiplied
from srcnn_tf.images.quiet import encoding, reading
from srcnn_tf.images.tiff_tags import add_exif, exif_of, resolution_of

SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
MOST_PAGES = 4096
MOST_TAGS = 500  # of a page; satellite pictures have some sixty
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR = 0, 1, 2, 3, 5, 6  # photometric interpretations
COLORS = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 3, PALETTE: 1, CMYK: 4, YCBCR: 3}  # samples without the extra ones
JPEG = 7
# Those that tifffile decodes into as many bytes as were asked for. What is missing unpacks pictures within the picture,
# whose own size would have to be checked first (JPEG 2000 and WebP among them), or is obsolete.
COMPRESSIONS = {1: "none", 2: "CCITT RLE", 3: "CCITT 3", 4: "CCITT 4", 5: "LZW", JPEG: "JPEG", 8: "deflate"} | {
    32773: "PackBits", 32946: "deflate", 34925: "LZMA", 50000: "Zstandard"
}  # fmt: skip
MULTIPLIED, ALPHA = 1, 2  # kinds of extra samples
REDUCED, MASK = 1, 4  # bits of NewSubfileType
MOST_CLASSIC = 2**32 - 2**25  # bytes, with room for tags, that the usual header has places for
TILE_SLACK = 4096  # rows and columns that tiles may have beyond the picture's


class Pages:
    """The pages of a TIFF file: as many as `len` says, decoded as they are taken.

    Args:
        path: the file.
        check: raises an error if the rows and columns are too many.
        notices: gets what there is to say, of each page when it is taken.

    Raises:
        RunError: `check` says so of a page, or the file is damaged, or has a page of a kind that would be read wrongly.
    """

    def __init__(self, path: str | os.PathLike[str], check: Callable[[int, int], None], notices: list[str]) -> None:
        self._path, self._notices = path, notices
        self._numbers: list[int] = []
        with reading(path), _opened(path) as (tiff, size):
            stored = 0
            count = _count_pages(tiff, size)
            for number in range(count):
                page = tiff.pages[number]
                if page.subfiletype & (REDUCED | MASK):
                    continue
                check(page.imagelength, page.imagewidth)
                _check_kind(path, page)
                stored += _check_segments(page, size)
                if stored > 16 * size:  # many pages, or parts of one, that are all the same bytes
                    raise ValueError(f"its parts have {stored} bytes, the file has {size}")
                if page.compression == JPEG:
                    _check_jpegs(page)
                self._numbers.append(number)
            if not self._numbers:
                raise ValueError("no page in it is a picture of full size")
        if left_out := count - len(self._numbers):
            notices.append(f"{left_out} of its {count} pages are reduced copies or masks, and left out")

    def __len__(self) -> int:
        """How many pages there are to take."""
        return len(self._numbers)

    def __iter__(self) -> Iterator[Photo]:
        """The pages, each decoded when it is taken."""
        with contextlib.ExitStack() as stack:
            with reading(self._path):
                tiff, _ = stack.enter_context(_opened(self._path))
            for number in self._numbers:
                with reading(self._path):
                    photo, notices = _read(self._path, tiff, tiff.pages[number])
                about = f"page {number + 1}: " if len(self) > 1 else ""
                self._notices.extend(about + notice for notice in notices)
                yield photo


@contextlib.contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[tuple[TiffFile, int]]:
    """The open file, and its size in bytes."""
    with open(path, "rb") as file, TiffFile(file) as tiff:
        yield tiff, os.fstat(file.fileno()).st_size


def _count_pages(tiff: TiffFile, size: int) -> int:
    """Goes along the chain of pages without reading them, so that one without an end is found."""
    form, file = tiff.tiff, tiff.filehandle

    def number(place: int, length: int) -> int:
        if place + length > size:
            raise ValueError("a page is beyond its end")
        file.seek(place)
        return int.from_bytes(file.read(length), "little" if form.byteorder == "<" else "big")

    places: set[int] = set()
    place = number(8 if form.is_bigtiff else 4, form.offsetsize)
    while place:
        if place in places:
            raise ValueError("its pages go round in a circle")
        places.add(place)
        if len(places) > MOST_PAGES:
            raise ValueError(f"more than {MOST_PAGES} pages")
        tags = number(place, form.tagnosize)
        if tags > MOST_TAGS:
            raise ValueError(f"a page has {tags} tags")
        place = number(place + form.tagnosize + tags * form.tagsize, form.offsetsize)
    return len(places)


def _check_kind(path: str | os.PathLike[str], page: TiffPage) -> None:
    """Refuses what would be read wrongly."""
    color, bits, samples = int(page.photometric), page.bitspersample, page.samplesperpixel
    if 262 not in page.tags:
        raise ValueError("it does not say what its colours are")
    if page.imagedepth != 1 or page.tiledepth > 1:
        raise refusal(path, "a volume")
    if color not in COLORS:
        raise refusal(path, f"photometric interpretation {page.photometric!r}")
    if page.sampleformat == 3:
        raise refusal(path, f"{bits}-bit floating point, mode 'F'")
    if page.sampleformat not in (1, 4):
        raise refusal(path, f"numbers with a sign, sample format {page.sampleformat}")
    deep = {WHITE_IS_ZERO: range(1, 17), BLACK_IS_ZERO: range(1, 17), PALETTE: (1, 2, 4, 8)}
    if bits not in deep.get(color, (8,) if color in (CMYK, YCBCR) else (8, 16)):
        raise refusal(path, f"{page.photometric.name} of {bits} bits")
    if page.compression not in COMPRESSIONS:
        raise refusal(path, f"compression {page.compression!r}")
    if color == YCBCR and page.compression != JPEG:
        raise refusal(path, "YCbCr that is not JPEG")
    if color == CMYK and page.tags.valueof(332, 1) != 1:
        raise refusal(path, "inks other than CMYK")
    extra = samples - COLORS[color]
    if extra < 0 or (extra and color not in (BLACK_IS_ZERO, RGB)) or (extra > 1 and color != RGB):
        raise refusal(path, f"{page.photometric.name} with {samples} samples a pixel")
    if page.predictor not in (1, 2):
        raise refusal(path, f"predictor {page.predictor!r}")


def _check_segments(page: TiffPage, size: int) -> int:
    """Checks where the strips or tiles are, since tifffile takes what it does not find for black.

    Returns:
        How many bytes they have.
    """
    rows, cols = page.imagelength, page.imagewidth
    if rows < 1 or cols < 1:
        raise ValueError("it has no pixels")
    if page.tilewidth > cols + TILE_SLACK or page.tilelength > rows + TILE_SLACK:
        raise ValueError("its tiles are much larger than the picture")
    places, counts = page.dataoffsets, page.databytecounts
    if not len(places) == len(counts) == int(np.prod(page.chunked)):
        raise ValueError("parts of it are missing")
    ends = [place + count for place, count in zip(places, counts, strict=True)]
    if min(counts) < 1 or min(places) < 8 or max(ends) > size:
        raise ValueError("it ends within the picture")
    stored = sum(counts)
    if page.compression == 1 and 8 * stored < rows * cols * page.samplesperpixel * page.bitspersample:
        raise ValueError("it has fewer bytes than pixels")
    return stored


def _check_jpegs(page: TiffPage) -> None:
    """Checks that each strip or tile holds a JPEG picture of its size: the decoder believes what that one says."""
    rows, cols = page.imagelength, page.imagewidth
    down, across = (page.tilelength, page.tilewidth) if page.is_tiled else (min(page.rowsperstrip, rows), cols)
    for place, count in zip(page.dataoffsets, page.databytecounts, strict=True):
        page.parent.filehandle.seek(place)
        size = _jpeg_size(page.parent.filehandle.read(count))
        if size[0] not in {down, rows % down} or size[1] not in {across, cols % across}:
            raise ValueError(f"a part of {across} x {down} pixels holds a JPEG picture of {size[1]} x {size[0]}")


def _jpeg_size(data: bytes) -> tuple[int, int]:
    """Rows and columns in the frame header of a JPEG picture of eight bits (ITU T.81, section B.2.2)."""
    place = 2
    while data[place : place + 1] == b"\xff":
        marker, length = data[place + 1], int.from_bytes(data[place + 2 : place + 4], "big")
        if marker in (0xC0, 0xC1, 0xC2) and data[place + 4] == 8:
            if not data.rstrip(b"\0\xff").endswith(b"\xd9"):
                raise ValueError("a JPEG picture in it has no end")
            rows, cols = struct.unpack_from(">HH", data, place + 5)
            return rows, cols
        place += 2 + length
    raise ValueError("a JPEG picture in it is damaged, or not of eight bits")


def write(pages: Iterable[Photo], count: int, temporary: Path, path: str | os.PathLike[str]) -> list[str]:
    """Writes pages of the pictures' own bits and channels, one by one as they come, deflated.

    Args:
        pages: the pages.
        count: how many there are, about: files that may grow beyond 4 GB have another header.
        temporary: the file to write.
        path: its name in errors.

    Returns:
        What there is to say about it.

    Raises:
        RunError: a page cannot be written.
        OSError: the file cannot be written.
    """
    writer, notices = None, []
    with contextlib.ExitStack() as stack:
        for photo in pages:
            if writer is None:
                large = count * photo.pixels.nbytes > MOST_CLASSIC
                writer = stack.enter_context(TiffWriter(temporary, bigtiff=large, byteorder="<"))
            with encoding(path, "TIFF"):
                notices += _write(writer, photo)
            del photo  # before the next one is made
    return notices


def _write(writer: TiffWriter, photo: Photo) -> list[str]:
    channels = channels_of(photo.pixels)
    tags, notices = add_exif(writer, photo.exif) if photo.exif else ([], [])
    writer.write(
        photo.pixels,
        photometric="minisblack" if channels < 3 else "rgb",
        planarconfig="contig" if channels > 1 else None,
        extrasamples=["unassalpha"] if channels in (2, 4) else None,
        compression="adobe_deflate",
        predictor=True,
        resolution=photo.resolution,
        resolutionunit="inch" if photo.resolution else None,
        iccprofile=photo.profile,
        extratags=tags,
        software=False,
        metadata=None,
    )
    return notices


def _read(path: str | os.PathLike[str], tiff: TiffFile, page: TiffPage) -> tuple[Photo, list[str]]:
    """A page that has been checked, as it is meant to be seen, and what there is to say about it."""
    # One thread: the others have pictures of their own to read. (part, depth, rows, columns, samples).
    stored = page.asarray(squeeze=False, maxworkers=1)
    samples = np.moveaxis(stored[:, 0, :, :, 0], 0, -1) if len(stored) > 1 else stored[0, 0]
    profile, kept = page.tags.valueof(34675), None
    if not isinstance(profile, bytes):
        profile = None
    pixels, notices = _colors(samples, page, profile)
    if pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    if page.photometric != CMYK:  # whose pixels are not CMYK any more
        kept, said = fitting(profile, channels_of(pixels))
        notices += said
    exif, said = exif_of(tiff, page)
    orientation = page.tags.valueof(274, 1)
    photo = Photo(turned(pixels, orientation), kept, exif, resolution_of(page, orientation))
    return photo, notices + said


def _colors(samples: NDArray, page: TiffPage, profile: bytes | None) -> tuple[NDArray[np.uint8 | np.uint16], list[str]]:
    """Grey or RGB, with the alpha there may be, of samples `(rows, cols, n)`; and what there is to say about it."""
    if page.photometric == PALETTE:
        # Of the sixteen bits of its colours, writers fill the upper eight, or both halves alike.
        colors = (np.asarray(page.colormap, np.uint16) >> 8).astype(np.uint8)
        return colors.T[samples[..., 0].astype(np.intp)], []
    pixels = _full_range(samples, page.bitspersample)
    if page.photometric == CMYK:
        return rgb_of_cmyk(_cmyk(pixels), profile)
    if page.photometric == WHITE_IS_ZERO:
        return np.iinfo(pixels.dtype).max - pixels, []
    return _with_alpha(pixels, COLORS[page.photometric], [int(kind) for kind in page.extrasamples])


def _cmyk(pixels: NDArray[np.uint8]) -> Image.Image:
    rows, cols = pixels.shape[:2]
    return Image.frombytes("CMYK", (cols, rows), pixels.tobytes())


def _full_range(samples: NDArray, bits: int) -> NDArray[np.uint8 | np.uint16]:
    """The samples in all of 0..255, or of 0..65535 if they have more than eight bits."""
    most, kind = (255, np.uint8) if bits <= 8 else (65535, np.uint16)
    if bits in (8, 16):
        return samples.astype(kind, copy=False)
    return (np.arange(2**bits) * most / (2**bits - 1) + 0.5).astype(kind)[samples.astype(np.uint16)]


def _with_alpha(pixels: NDArray, colors: int, kinds: Sequence[int]) -> tuple[NDArray, list[str]]:
    """The colours, and of the samples beside them, alpha."""
    extra = pixels.shape[2] - colors
    if not kinds and extra == 1:
        kinds = [ALPHA]  # one sample more without a word of what it is, is alpha by custom
    alphas = [number for number, kind in enumerate(kinds[:extra]) if kind in (MULTIPLIED, ALPHA)]
    left_out = extra - len(alphas[:1])
    notices = [f"{left_out} channels beside its colours are left out"] if left_out else []
    if not alphas:
        return pixels[..., :colors], notices
    pixels = pixels[..., [*range(colors), colors + alphas[0]]] if extra > 1 else pixels
    return unmultiplied(pixels) if kinds[alphas[0]] == MULTIPLIED else pixels, notices

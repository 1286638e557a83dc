"""TIFF: reads and writes its pages with tifffile.

tifffile returns what is stored; what it means is worked out here by TIFF 6.0. tifffile also takes missing data for
black, believes any size, and follows endless chains of pages. So that damaged or hostile files neither give wrong
images nor exhaust the memory, everything a file declares is checked before a page is decoded.
"""

from __future__ import annotations

import contextlib
import copy
import math
import os
import re
import struct
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image
from tifffile import TiffFile, TiffPage, TiffPages
from tifffile.tifffile import jpeg_shape

from srcnn_tf.images.decode import valid_orientation, xmp_orientation
from srcnn_tf.images.encode import encode_tiff_strips
from srcnn_tf.images.formats.interface import Family, Format, Images, Kind, Writer
from srcnn_tf.images.library_errors import library_errors
from srcnn_tf.images.metadata import select_metadata, tiff_metadata, tiff_tags, write_tiff_exif
from srcnn_tf.images.page import (
    Page,
    Pixels,
    RowStream,
    as_array,
    band_rows,
    channels_of,
    check_size,
    cmyk_to_rgb,
    raw_file,
    to_full_range,
    unpremultiplied,
    unsupported,
    upright_page,
)
from srcnn_tf.images.value_range import DTYPES, ValueRange, dtype_limits
from srcnn_tf.system.threads import cores, map_in_threads

SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
MAX_PAGES = 65_536  # docs/flags.md names it
MAX_TAGS = 30 * MAX_PAGES  # of all pages; one has about twenty
TILE_SLACK = 4096  # rows and columns that tiles may have beyond the image
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR = 0, 1, 2, 3, 5, 6  # photometric interpretations
SAMPLES = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 3, PALETTE: 1, CMYK: 4, YCBCR: 3}  # of a pixel, without extra ones
# Of unsigned integers, else 8; of 9 to 15 bits, the largest value becomes that of 16 bits.
BITS = {WHITE_IS_ZERO: (*range(1, 17), 32), BLACK_IS_ZERO: (*range(1, 17), 32), RGB: (8, 16, 32), PALETTE: (1, 2, 4, 8)}
UNSIGNED, SIGNED, FLOAT = "u", "i", "f"  # kinds of numbers, as NumPy names them
SAMPLE_FORMATS = {1: UNSIGNED, 2: SIGNED, 3: FLOAT, 4: UNSIGNED}  # 4 is not known
OTHER_BITS = {SIGNED: (8, 16, 32), FLOAT: (16, 32, 64)}
FLOAT_PREDICTOR = 3
MAX_EXTRA = {BLACK_IS_ZERO: 1, RGB: 65535}  # extra samples, else 0
JPEG = 7
# None, CCITT RLE, 3 and 4, LZW, JPEG, deflate, PackBits, deflate, LZMA, Zstandard: those that tifffile decodes into as
# many bytes as were asked for. JPEG 2000, WebP and others hold images whose own size would have to be checked.
COMPRESSIONS = frozenset({1, 2, 3, 4, 5, JPEG, 8, 32773, 32946, 34925, 50000})
PREMULTIPLIED, ALPHA = 1, 2  # kinds of extra samples
REDUCED, MASK = 1, 4  # bits of NewSubfileType
MAKER, MODEL, XMP, DNG_VERSION = 271, 272, 700, 50706  # tags
SMALLEST, LARGEST, NODATA = 340, 341, 42113  # tags: SMinSampleValue, SMaxSampleValue, GDAL_NODATA
DECLARED = "SMinSampleValue, SMaxSampleValue"
RAW_COLORS = (32803, 34892)  # photometric interpretations: a colour filter array, and linear raw data
CR2_HEAD = b"\x10\0\0\0CR\2"  # after the first four bytes of Canon's files
MAX_SUB_DIRECTORIES = 16
MAX_CLASSIC_TIFF = 2**32 - 2**25  # bytes of pixels, with room for tags, up to which BigTIFF is not needed
TIFF = Format(
    "TIFF",
    2**31 - 1,
    dtypes=DTYPES,
    has_pages=True,
    metadata=("icc_profile", "exif", "xmp", "dpi", "aspect", "iptc", "nodata"),
)


def is_tiff(file: BinaryIO) -> bool:
    """Tells whether the content is TIFF."""
    file.seek(0)
    return file.read(4) in SIGNATURES


@contextlib.contextmanager
def open_tiff(
    file: BinaryIO, path: str | os.PathLike[str], max_pixels: int, advice: str, warnings: list[str]
) -> Iterator[list[TiffPage]]:
    """Opens a TIFF file, checks all its pages and yields those that are full-size images.

    Raises:
        RunError: a page is too large or of a kind that would be read wrongly.
        Exception: of many kinds; the file is damaged.
    """
    file.seek(0)
    with TiffFile(file) as tiff:
        size = os.fstat(file.fileno()).st_size
        pages, stored = [], 0
        count = _count_pages(tiff)
        for index in range(count):
            page = cast(TiffPage, tiff.pages[index])
            _refuse_raw(path, page)
            if page.subfiletype & (REDUCED | MASK):
                continue
            check_size(path, page.imagelength, page.imagewidth, max_pixels, advice)
            _check_kind(path, page)
            stored += _check_segments(page, size)
            if stored > 16 * size:  # many pages, or parts of one, that share the same bytes
                raise ValueError(f"its parts have {stored} bytes, the file has {size}")
            pages += _planes(tiff, page, size) if count == 1 else [page]
        if not pages:
            raise ValueError("no page in it is an image of full size")
        if skipped := count - len(pages):
            warnings.append(f"{skipped} of its {count} pages are reduced copies or masks, and left out")
        yield pages


def _refuse_raw(path: str | os.PathLike[str], page: TiffPage) -> None:
    """Raises a RunError for raw files of cameras (DNG, NEF, CR2, ARW, PEF, ...), whose pages are but thumbnails."""
    pages, file = [page], page.parent.filehandle
    with contextlib.suppress(Exception):  # damaged sub-directories, which are not needed
        for index in range(min(len(page.subifds or ()), MAX_SUB_DIRECTORIES)):
            pages.append(cast(TiffPage, cast(TiffPages, page.pages)[index]))
    file.seek(4)
    is_raw = DNG_VERSION in page.tags or file.read(7) == CR2_HEAD
    is_raw = is_raw or any(262 in each.tags and each.photometric in RAW_COLORS for each in pages)
    full = [each for each in pages[1:] if not each.subfiletype & (REDUCED | MASK)]
    is_thumbnail = any(each.imagelength * each.imagewidth > page.imagelength * page.imagewidth for each in full)
    camera = page.tags.valueof(MODEL) or page.tags.valueof(MAKER)
    if is_raw or (is_thumbnail and camera):
        raise raw_file(path, str(camera or ""))
    if is_thumbnail:
        raise unsupported(path, "a thumbnail of an image in a sub-directory")


def _planes(tiff: TiffFile, page: TiffPage, size: int) -> list[TiffPage]:
    """Returns the only page of a file, once for each plane of a stack that is stored under it, as ImageJ does."""
    count = 1
    with contextlib.suppress(Exception):  # the description, a text, may say anything
        if page.is_imagej:
            found = re.search(r"^images=(\d+)", page.description, re.M)
            count = int(found[1]) if found else 1
        elif page.is_shaped and tiff.series[0].dataoffset == page.dataoffsets[0]:
            count = tiff.series[0].size // page.size
    if count <= 1:
        return [page]
    if not page.is_final:
        raise ValueError(f"it says that it has {count} planes under one compressed page; expected one page each")
    plane_size = math.prod(page.shaped) * page.bitspersample // 8
    if count > MAX_PAGES or page.dataoffsets[0] + count * plane_size > size:
        raise ValueError(f"it says that it has {count} planes: more than are in it, or than {MAX_PAGES}")
    planes = [page]
    for index in range(1, count):
        plane = copy.copy(page)
        plane._index, plane.dataoffsets = (index,), (page.dataoffsets[0] + index * plane_size,)
        planes.append(plane)
    return planes


def _count_pages(tiff: TiffFile) -> int:
    """Follows the chain of pages to its end."""
    layout, file = tiff.tiff, tiff.filehandle
    offsets: set[int] = set()
    tags = 0
    file.seek(8 if layout.is_bigtiff else 4)
    while offset := struct.unpack(layout.offsetformat, file.read(layout.offsetsize))[0]:
        if offset in offsets:
            raise ValueError("its chain of pages is circular")
        offsets.add(offset)
        file.seek(offset)
        page_tags = struct.unpack(layout.tagnoformat, file.read(layout.tagnosize))[0]
        tags += page_tags
        if len(offsets) > MAX_PAGES or tags > MAX_TAGS:
            raise ValueError(f"it has more than {MAX_PAGES:,} pages or {MAX_TAGS:,} tags: split it")
        file.seek(page_tags * layout.tagsize, os.SEEK_CUR)
    return len(offsets)


def _check_kind(path: str | os.PathLike[str], page: TiffPage) -> None:
    """Refuses images that would be read wrongly."""
    if 262 not in page.tags:
        raise ValueError("it does not say what its colours are")
    color, bits, samples = int(page.photometric), page.bitspersample, page.samplesperpixel
    number = SAMPLE_FORMATS.get(int(page.sampleformat), "")
    known_bits = BITS.get(color, (8,)) if number == UNSIGNED else OTHER_BITS.get(number, ())
    extra = samples - SAMPLES.get(color, samples)
    kinds = {
        "a volume": page.imagedepth != 1 or page.tiledepth > 1,
        f"photometric interpretation {page.photometric!r}": color not in SAMPLES,
        f"complex numbers, sample format {page.sampleformat}": not number,
        f"{page.photometric!r} of {bits} bits": not isinstance(bits, int) or bits not in known_bits,
        f"{page.photometric!r} with a sign": number != UNSIGNED and color not in (BLACK_IS_ZERO, RGB),
        f"premultiplied alpha of sample format {page.sampleformat}, {bits} bits": PREMULTIPLIED in page.extrasamples
        and (number != UNSIGNED or bits not in range(1, 17)),
        f"compression {page.compression!r}": page.compression not in COMPRESSIONS,
        "YCbCr that is not JPEG": color == YCBCR and page.compression != JPEG,
        "inks other than CMYK": color == CMYK and page.tags.valueof(332, 1) != 1,
        f"{page.photometric!r} with {samples} samples per pixel": not 0 <= extra <= MAX_EXTRA.get(color, 0),
        f"predictor {page.predictor!r}": page.predictor not in (1, FLOAT_PREDICTOR if number == FLOAT else 2),
    }
    for kind, is_found in kinds.items():
        if is_found:
            raise unsupported(path, kind)


def _check_segments(page: TiffPage, size: int) -> int:
    """Checks that the strips or tiles are complete and within the file; returns their number of bytes."""
    rows, cols = page.imagelength, page.imagewidth
    if rows < 1 or cols < 1:
        raise ValueError("it has no pixels")
    if page.tilewidth > cols + TILE_SLACK or page.tilelength > rows + TILE_SLACK:
        raise ValueError("its tiles are much larger than the image")
    offsets, counts = page.dataoffsets, page.databytecounts
    if not len(offsets) == len(counts) == int(np.prod(page.chunked)):
        raise ValueError("parts of it are missing")
    stored = [segment for segment in zip(offsets, counts, strict=True) if segment != (0, 0)]  # (0, 0): a sparse file
    if any(count < 1 or offset < 8 or offset + count > size for offset, count in stored):
        raise ValueError("the file ends within the image")
    if page.compression == 1 and len(stored) < len(counts):
        _check_sparse(page)
    elif page.compression == 1 and 8 * sum(counts) < rows * cols * page.samplesperpixel * page.bitspersample:
        raise ValueError("it has fewer bytes than pixels")
    if page.compression == JPEG:
        for offset, count in stored:
            page.parent.filehandle.seek(offset)
            _check_jpeg(page, page.parent.filehandle.read(count))
    return sum(counts)


def _check_sparse(page: TiffPage) -> None:
    """Checks that each strip or tile that is stored, not compressed, has as many bytes as pixels."""
    samples = page.samplesperpixel if page.shaped[0] == 1 else 1
    height, width = (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, page.imagewidth)
    across = page.chunked[1 if page.shaped[0] == 1 else 2] if page.is_tiled else 1
    down = len(page.databytecounts) // page.shaped[0] // across
    for number, count in enumerate(page.databytecounts):
        first = number // across % down * height
        rows = height if page.is_tiled else min(height, page.imagelength - first)
        if count and 8 * count < rows * width * samples * page.bitspersample:
            raise ValueError("it has fewer bytes than pixels")


def _check_jpeg(page: TiffPage, content: bytes) -> None:
    """Checks that a strip or tile holds a complete JPEG image of its size, which the decoder would not."""
    rows, cols = page.imagelength, page.imagewidth
    height, width = (page.tilelength, page.tilewidth) if page.is_tiled else (min(page.rowsperstrip, rows), cols)
    bits, jpeg_rows, jpeg_cols, _ = jpeg_shape(content)
    if bits != 8 or jpeg_rows not in {height, rows % height} or jpeg_cols not in {width, cols % width}:
        size = f"{jpeg_cols} x {jpeg_rows} pixels, {bits} bits"
        raise ValueError(f"a part of {width} x {height} pixels holds a JPEG image of {size}")
    if not content.rstrip(b"\0\xff").endswith(b"\xd9"):
        raise ValueError("a JPEG image in it is incomplete")


def decode_page(path: str | os.PathLike[str], page: TiffPage, warnings: list[str]) -> Pixels:
    """Decodes a page that has been checked to pixels as `Page` has them, not yet oriented.

    Returns:
        Rows that are read from the file and decoded as they are needed, by strips or rows of tiles, which can raise a
        RunError; an array if the page is CMYK or has alpha.
    """
    channels, is_premultiplied = _select_channels(page, warnings)
    shape, dtype = kind_of(page)
    if page.photometric == CMYK:
        shape = (*shape[:2], SAMPLES[CMYK])
    palette = None
    if page.photometric == PALETTE:
        # Of the 16 bits of its colours, some writers fill the upper eight, others repeat them in the lower ones.
        palette = (np.asarray(page.colormap, np.uint16) >> 8).astype(np.uint8).T

    def convert(samples: NDArray) -> NDArray:
        if palette is not None:
            return palette[samples[..., 0].astype(np.intp)]
        is_scaled = dtype.kind == UNSIGNED and page.bitspersample <= 16
        pixels = to_full_range(samples, page.bitspersample) if is_scaled else samples.astype(dtype, copy=False)
        if len(channels) < page.samplesperpixel:
            pixels = pixels[..., channels]
        if page.photometric == WHITE_IS_ZERO:
            pixels = np.iinfo(pixels.dtype).max - pixels
        if is_premultiplied:
            pixels = unpremultiplied(pixels)
        return pixels[..., 0] if len(channels) == 1 else pixels

    def bands() -> Iterator[NDArray]:
        with library_errors(path):
            if page.is_final and min(page.databytecounts) > 0:
                yield from map_in_threads(convert, _read_rows(page, step), cores())
            else:
                # tifffile reads some tags when they are asked for: that and all other reading is in this thread.
                decode = partial(page.decode, jpegtables=page.jpegtables, jpegheader=page.jpegheader)
                join = partial(_join_parts, page, decode)
                yield from map_in_threads(lambda parts: convert(join(parts)), _read_parts(page, step), cores())

    step = band_rows(shape, dtype)
    pixels = RowStream(shape, dtype, bands())
    if page.photometric == CMYK:
        image = Image.frombytes("CMYK", (page.imagewidth, page.imagelength), as_array(pixels).tobytes())
        return cmyk_to_rgb(image, profile_of(page), warnings)
    return as_array(pixels) if len(channels) in (2, 4) else pixels


def kind_of(page: TiffPage) -> Kind:
    """Returns the shape and dtype of what `decode_page` returns."""
    count = 3 if page.photometric in (PALETTE, CMYK) else len(_select_channels(page, [])[0])
    shape = (page.imagelength, page.imagewidth, count)[: 2 if count == 1 else 3]
    bits = next(bits for bits in (8, 16, 32, 64) if bits >= page.bitspersample)
    return Kind(shape, np.dtype(f"{SAMPLE_FORMATS[int(page.sampleformat)]}{bits // 8}"))


def _select_channels(page: TiffPage, warnings: list[str]) -> tuple[list[int], bool]:
    """Returns the samples with the colours and, if there is one, the first alpha channel; is it premultiplied?"""
    colors = SAMPLES[page.photometric]
    extra = page.samplesperpixel - colors
    kinds = [int(kind) for kind in page.extrasamples][:extra]
    if not kinds and extra == 1:
        kinds = [ALPHA]  # by custom, if the file does not say what the sample is
    alphas = [colors + index for index, kind in enumerate(kinds) if kind in (PREMULTIPLIED, ALPHA)][:1]
    if extra > len(alphas):
        warnings.append(f"{extra - len(alphas)} channels besides its colours are left out")
    return [*range(colors), *alphas], any(kinds[index - colors] == PREMULTIPLIED for index in alphas)


def _read_rows(page: TiffPage, step: int) -> Iterator[NDArray]:
    """Reads samples that are not compressed, `step` rows at once, however large the strips are."""
    planes, _, rows, cols, samples = page.shaped
    dtype, read = kind_of(page).dtype.newbyteorder(page.parent.byteorder), page.parent.filehandle.read_array
    for begin in range(0, rows, step):
        shape = min(step, rows - begin), cols, samples
        offsets = [(plane * rows + begin) * cols * samples * dtype.itemsize for plane in range(planes)]
        parts = [read(dtype, math.prod(shape), page.dataoffsets[0] + offset).reshape(shape) for offset in offsets]
        yield np.concatenate(parts, axis=2)


def _read_parts(page: TiffPage, step: int) -> Iterator[list[tuple[bytes, int]]]:
    """Reads strips or tiles with their numbers, those of at least `step` rows at once."""
    planes, file = page.shaped[0], page.parent.filehandle
    numbers = np.arange(len(page.dataoffsets)).reshape(planes, page.chunked[planes > 1], -1)
    count = math.ceil(step / (page.tilelength if page.is_tiled else page.rowsperstrip))
    for begin in range(0, numbers.shape[1], count):
        parts = []
        for number in numbers[:, begin : begin + count].ravel():
            file.seek(page.dataoffsets[number])
            parts.append((file.read(page.databytecounts[number]), int(number)))
        yield parts


def _join_parts(page: TiffPage, decode: Callable[..., Any], parts: list[tuple[bytes, int]]) -> NDArray:
    """Decodes strips or tiles and joins them to the samples of whole rows."""
    rows, cols = page.imagelength, page.imagewidth
    decoded = []
    for content, number in parts:
        part, (plane, _, row, col, _), shape = decode(content or None, number)
        if part is None:  # it is not in a sparse file
            part = np.full(shape, nodata_of(page) or 0, kind_of(page).dtype)
        decoded.append((part[0, : rows - row, : cols - col], plane, row, col))
    begin, end = decoded[0][2], max(row + len(part) for part, _, row, _ in decoded)
    samples = np.empty((end - begin, cols, page.samplesperpixel), decoded[0][0].dtype)
    for part, plane, row, col in decoded:
        height, width, count = part.shape
        samples[row - begin : row - begin + height, col : col + width, plane : plane + count] = part
    return samples


def nodata_of(page: TiffPage) -> float | None:
    """Returns the value that GDAL's tag says is no data; None if it says none, or one that no pixel can have."""
    try:
        value = float(page.tags.valueof(NODATA))
    except (TypeError, ValueError):
        return None
    dtype = kind_of(page).dtype
    is_possible = dtype.kind == FLOAT or (value.is_integer() and np.iinfo(dtype).min <= value <= np.iinfo(dtype).max)
    return value if is_possible else None


def declared_range(page: TiffPage) -> ValueRange | None:
    """Returns the range of values that a page's tags declare; None if they declare none."""
    try:
        lows, highs = (np.ravel(page.tags.valueof(code)).astype(float) for code in (SMALLEST, LARGEST))
        low, high = float(lows.min()), float(highs.max())
    except (TypeError, ValueError):
        return None
    is_range = low < high and np.isfinite(high - low)
    return ValueRange(low, high, dtype_limits(kind_of(page).dtype), DECLARED) if is_range else None


def orientation_of(page: TiffPage) -> int:
    """Returns the orientation tag, or else that in XMP, 1 to 8."""
    return valid_orientation(page.tags.valueof(274) or xmp_orientation(page.tags.valueof(XMP)))


def profile_of(page: TiffPage) -> bytes | None:
    """Returns the ICC profile, if the tag has the right type."""
    profile = page.tags.valueof(34675)
    return profile if isinstance(profile, bytes) else None


class TiffImages(Images):
    """The pages of a TIFF file that are full-size images."""

    def __init__(self, pages: list[TiffPage], path: str | os.PathLike[str], warnings: list[str]) -> None:
        """Takes pages that were checked."""
        self._pages, self._path, self._warnings = pages, path, warnings
        self.kinds = [kind_of(page).upright(orientation_of(page)) for page in pages]

    def pages(self) -> Iterator[Page]:
        """Yields the pages; the rows of each are to be read before the next one is."""
        for page in self._pages:
            warnings: list[str] = []
            pixels, nodata = decode_page(self._path, page, warnings), nodata_of(page)
            profile = None if page.photometric == CMYK else profile_of(page)
            metadata = tiff_metadata(page, warnings) | {"nodata": nodata, "declared": declared_range(page)}
            if nodata is not None and not math.isnan(nodata):
                if isinstance(pixels, RowStream):
                    metadata["mask"] = _mask(decode_page(self._path, page, []), nodata)
                else:  # an array is read more than once, and so is its mask
                    metadata["mask"] = as_array(_mask(pixels, nodata))
            upright = upright_page(pixels, orientation_of(page), profile, metadata, warnings)
            prefix = f"page {page.index + 1}: " if len(self._pages) > 1 else ""
            self._warnings += [prefix + warning for warning in warnings]
            yield upright


def _mask(pixels: Pixels, nodata: float) -> RowStream:
    """Returns where any colour has another value than the one for no data."""
    step = band_rows(pixels.shape, pixels.dtype)
    bands = (pixels[begin : begin + step] != nodata for begin in range(0, pixels.shape[0], step))
    flat = (band if band.ndim == 2 else band[..., : 3 if band.shape[2] > 2 else 1].any(axis=-1) for band in bands)
    return RowStream(pixels.shape[:2], np.bool_, flat)


class TiffWriter(Writer):
    """Writes a TIFF file page by page, each in strips that are encoded in parallel."""

    def __init__(self, path: Path, page_count: int) -> None:
        """Begins no file before the first page."""
        self._path, self._page_count = path, page_count
        self._file: tifffile.TiffWriter | None = None

    def __exit__(self, *error: object) -> None:
        """Closes the file."""
        if self._file is not None:
            self._file.close()

    def write(self, page: Page, warnings: list[str]) -> None:
        """Writes a page with its metadata."""
        page, exif = select_metadata(page, TIFF, warnings)
        extra = [*_measured_tags(page), *tiff_tags(page)]
        shape, dtype = page.pixels.shape, page.pixels.dtype
        if self._file is None:
            big = self._page_count * math.prod(shape) * dtype.itemsize > MAX_CLASSIC_TIFF
            self._file = tifffile.TiffWriter(self._path, bigtiff=big, byteorder="<")
        channels = channels_of(page.pixels)
        step = band_rows(shape, dtype)
        with contextlib.closing(encode_tiff_strips(page.pixels, step)) as strips:
            self._file.write(
                strips,
                shape=shape,
                dtype=dtype,
                rowsperstrip=step,
                photometric="minisblack" if channels < 3 else "rgb",
                planarconfig="contig" if channels > 1 else None,
                extrasamples=["unassalpha"] if channels in (2, 4) else None,
                compression="adobe_deflate",
                predictor=True,
                resolution=page.dpi or page.aspect,
                resolutionunit="inch" if page.dpi else "none" if page.aspect else None,
                iccprofile=page.icc_profile,
                extratags=[*extra, *(write_tiff_exif(self._file, exif) if exif else ())],
                software=False,
                metadata=None,
            )


def _measured_tags(page: Page) -> list[tuple]:
    """Returns the value of missing data, and the declared range, as tifffile's `extratags`."""
    tags: list[tuple] = []
    if page.nodata is not None:
        tags.append((NODATA, "s", 0, f"{page.nodata:.17g}", True))
    if page.declared is not None and page.declared.words == DECLARED:
        tags += [(SMALLEST, "d", 1, page.declared.low, True), (LARGEST, "d", 1, page.declared.high, True)]
    return tags


class TiffFamily(Family):
    """TIFF."""

    rank = 30
    extensions = frozenset({".tif", ".tiff"})
    outputs = dict.fromkeys((".tif", ".tiff"), TIFF)

    def recognizes(self, file: BinaryIO, path: str | os.PathLike[str]) -> bool:
        """Looks at the signature."""
        return is_tiff(file)

    def size(self, file: BinaryIO, path: str | os.PathLike[str]) -> tuple[int, int]:
        """Returns the rows and columns of the first page."""
        file.seek(0)
        with TiffFile(file) as tiff:
            page = cast(TiffPage, tiff.pages[0])
            rows, cols = int(page.imagelength), int(page.imagewidth)
            return (rows, cols) if orientation_of(page) < 5 else (cols, rows)

    @contextlib.contextmanager
    def open(
        self, file: BinaryIO, path: str | os.PathLike[str], max_pixels: int, advice: str, warnings: list[str]
    ) -> Iterator[TiffImages]:
        """Opens the file with tifffile and checks all its pages."""
        with open_tiff(file, path, max_pixels, advice, warnings) as pages:
            yield TiffImages(pages, path, warnings)

    def create(self, path: Path, extension: str, page_count: int, quality: int, source: Images | None) -> TiffWriter:
        """Begins a file."""
        return TiffWriter(path, page_count)


FAMILY = TiffFamily()

"""Makes image files for the tests, byte by byte where no library writes what is needed."""

import io
import itertools
import struct
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image, ImageCms

from srcnn_tf.images.page import Page, RowStream, as_array
from srcnn_tf.images.reader import ImageReader
from srcnn_tf.images.writer import ImageWriter

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
GREY = SRGB[:16] + b"GRAY" + SRGB[20:]


def read(path, max_pixels=10**6):
    """The only page of a file, or of these bytes, and the warnings."""
    if isinstance(path, bytes):
        Path("a.img").write_bytes(path)
        path = "a.img"
    with ImageReader(path, max_pixels) as pages:
        (page,) = pages
        page = replace(page, pixels=as_array(page.pixels))
    return page, pages.warnings


def write(path, *pages, **options):
    """Writes pages, or their pixels, and returns the warnings."""
    with ImageWriter(path, len(pages), **options) as writer:
        for page in pages:
            writer.write(page if isinstance(page, Page) else Page(page))
    return writer.warnings


def row_stream(pixels, error=None):
    """Rows that come in blocks of odd heights, and an error instead of the last block."""

    def blocks():
        begin = 0
        for height in itertools.cycle((1, 7, 3, 20)):
            if begin + height >= len(pixels) and error:
                raise error
            yield pixels[begin : begin + height]
            begin += height

    return RowStream(pixels.shape, pixels.dtype, blocks())


def noise(channels, dtype=np.uint8, rows=40, cols=50):
    shape = (rows, cols) if channels == 1 else (rows, cols, channels)
    return np.random.default_rng(channels).integers(0, np.iinfo(dtype).max + 1, shape).astype(dtype)


def smooth(channels, rows=40, cols=50):
    """An image that a lossy format changes little."""
    row, col = np.mgrid[:rows, :cols]
    pixels = np.dstack([row * 3 + col, 200 - row - col, 2 * col + 30, 255 - row])[..., :channels].astype(np.uint8)
    return pixels[..., 0] if channels == 1 else pixels


def exif(tags=(), details=(), gps=(), endian="<"):
    """EXIF data, of its main tags, those of the camera and GPS."""
    made = Image.Exif()
    made.endian = endian
    made[0x010F] = "A maker"
    made.update(dict(tags))
    for directory, values in ((0x8769, {0x9003: "2020:02:02 02:02:02"} | dict(details)), (0x8825, dict(gps))):
        if values:
            made.get_ifd(directory).update(values)
    return made.tobytes()


def exif_tags(data):
    """The tags in EXIF data: main, camera and GPS, without where the latter are."""
    parsed = Image.Exif()
    parsed.load(data)
    main = {tag: value for tag, value in parsed.items() if tag not in (0x8769, 0x8825)}
    return main, parsed.get_ifd(0x8769), parsed.get_ifd(0x8825)


def encoded(image, format_name, **options):
    written = io.BytesIO()
    image.save(written, format_name, **options)
    return written.getvalue()


def by_tifffile(pixels, **options):
    written = io.BytesIO()
    tifffile.imwrite(written, pixels, metadata=None, **options)
    return written.getvalue()


# Of Adam7: first row, first column, and the steps of each (PNG specification, section 8.1).
PASSES = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(samples, depth, color, before=b"", after=b"", interlaced=False, data=None, size=None):
    """A PNG file of these samples `(rows, cols[, channels])`, with other chunks before and after the pixels."""
    parts = [samples[row::down, col::across] for row, col, down, across in PASSES] if interlaced else [samples]
    lines = []
    for row in (row for part in parts if part.size for row in part.reshape(len(part), -1)):
        bits = "".join(f"{value:0{depth}b}" for value in row)
        bits += "0" * (-len(bits) % 8)
        lines.append(b"\0" + int(bits, 2).to_bytes(len(bits) // 8, "big"))  # filter 0
    rows, cols = size or samples.shape[:2]
    head = struct.pack(">IIBBBBB", cols, rows, depth, color, 0, 0, interlaced)
    pixels = zlib.compress(b"".join(lines) if data is None else data)
    parts = [chunk(b"IHDR", head), before, chunk(b"IDAT", pixels), after, chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def tiff(rows, cols, strips, bits=(8,), photometric=1, compression=1, rows_per_strip=None, order="<", more=()):
    """A TIFF file of one page. Tags are `(tag, type, values)`; types 3 and 4 are whole numbers of 16 and 32 bits."""
    offsets = [8 + sum(map(len, strips[:number])) for number in range(len(strips))]
    tags = {
        256: (4, [cols]),
        257: (4, [rows]),
        258: (3, bits),
        259: (3, [compression]),
        262: (3, [photometric]),
        273: (4, offsets),
        277: (3, [len(bits)]),
        278: (4, [rows_per_strip or rows]),
        279: (4, [len(strip) for strip in strips]),
    } | {tag: (kind, values) for tag, kind, values in more}
    pixels = b"".join(strips)
    start = 8 + len(pixels) + len(pixels) % 2
    table, beside = struct.pack(order + "H", len(tags)), b""
    for tag, (kind, values) in sorted(tags.items()):
        content = struct.pack(f"{order}{len(values)}{'HI'[kind - 3]}", *values)
        if len(content) > 4:
            where = struct.pack(order + "I", start + 6 + 12 * len(tags) + len(beside))
            beside, content = beside + content + bytes(len(content) % 2), where
        table += struct.pack(order + "HHI", tag, kind, len(values)) + content.ljust(4, b"\0")
    head = b"II*\0" if order == "<" else b"MM\0*"
    return head + struct.pack(order + "I", start) + pixels + bytes(len(pixels) % 2) + table + bytes(4) + beside


def tiff_pages(count, last=0, side=10):
    """A TIFF file with so many pages of the same pixels, the last of which continues with page `last`."""
    one = tiff(side, side, [bytes(side * side)])
    start = struct.unpack_from("<I", one, 4)[0]
    page = one[start:-4]
    offsets = [len(one) + number * (len(page) + 4) for number in range(count)]
    parts = [page + struct.pack("<I", follower) for follower in [*offsets[1:], offsets[last] if last else 0]]
    return one[:4] + struct.pack("<I", offsets[0]) + one[8:] + b"".join(parts)


def cmyk_profile(lightness_without_ink, lightness_with_black):
    """An ICC profile of CMYK in which only black counts (ICC.1:2001, lut8Type)."""

    def fixed(*values):
        return b"".join(struct.pack(">i", round(value * 65536)) for value in values)

    ramp, white = bytes(range(256)), fixed(0.9642, 1, 0.8249)
    colors = (bytes((lightness_without_ink, 128, 128)) + bytes((lightness_with_black, 128, 128))) * 8
    head = b"mft1" + bytes(4) + bytes((4, 3, 2, 0)) + fixed(1, 0, 0, 0, 1, 0, 0, 0, 1)
    parts = {b"A2B0": head + ramp * 4 + colors + ramp * 3, b"wtpt": b"XYZ " + bytes(4) + white}
    table, content = struct.pack(">I", len(parts)), b""
    for name, part in parts.items():
        table += name + struct.pack(">II", 132 + 12 * len(parts) + len(content), len(part))
        content += part + bytes(-len(part) % 4)
    head = b"lcms" + struct.pack(">I", 0x02400000) + b"prtrCMYKLab " + bytes(12) + b"acsp" + bytes(28) + white
    head = struct.pack(">I", 128 + len(table) + len(content)) + head
    return head.ljust(128, b"\0") + table + content

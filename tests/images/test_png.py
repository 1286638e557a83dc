import io
import struct
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image, ImageCms

from srcnn_tf.errors import RunError
from srcnn_tf.images.photo import Photo, read_photo, write_photo

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
# Of Adam7: first row, first column, and the steps of each (PNG specification, section 8.1).
PASSES = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def packed(samples, depth):
    """Rows of samples, each with filter 0 before it."""
    lines = []
    for row in samples.reshape(len(samples), -1):
        bits = "".join(f"{value:0{depth}b}" for value in row)
        bits += "0" * (-len(bits) % 8)
        lines.append(b"\0" + int(bits, 2).to_bytes(len(bits) // 8, "big"))
    return b"".join(lines)


def by_hand(samples, depth, color, before=b"", after=b"", interlaced=False, data=None):
    """A PNG file of these samples `(rows, cols[, channels])`, with other chunks before and after the pixels."""
    if data is None:
        parts = [samples]
        if interlaced:
            parts = [samples[row::down, col::across] for row, col, down, across in PASSES]
        data = b"".join(packed(part, depth) for part in parts if part.size)
    rows, cols = samples.shape[:2]
    head = struct.pack(">IIBBBBB", cols, rows, depth, color, 0, 0, interlaced)
    parts = [chunk(b"IHDR", head), before, chunk(b"IDAT", zlib.compress(data)), after, chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def read(content):
    Path("a.png").write_bytes(content)
    pages, notices = read_photo("a.png", 10**6)
    return pages[0], notices


def sampled(depth, channels, rows=11, cols=13):
    shape = (rows, cols) if channels == 1 else (rows, cols, channels)
    return np.random.default_rng(depth + channels).integers(0, 2**depth, shape)


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(
    ("depth", "color", "channels"),
    [
        *((depth, 0, 1) for depth in (1, 2, 4, 8, 16)),
        *((depth, color, channels) for depth in (8, 16) for color, channels in ((2, 3), (4, 2), (6, 4))),
    ],
)
def test_every_kind_of_pixel_is_read_with_all_its_bits(depth, color, channels, interlaced):
    samples = sampled(depth, channels)
    photo, notices = read(by_hand(samples, depth, color, interlaced=interlaced))
    np.testing.assert_array_equal(photo.pixels, samples * (255 // (2**depth - 1)) if depth < 8 else samples)
    assert photo.pixels.dtype == (np.uint16 if depth == 16 else np.uint8)
    assert notices == []


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
@pytest.mark.parametrize("alphas", [b"", b"\0", b"\x80\x05"])
def test_a_palette_becomes_its_colours(depth, alphas):
    samples = sampled(depth, 1) % 10
    palette = np.random.default_rng(1).integers(0, 256, (10, 3)).astype(np.uint8)
    photo, _ = read(
        by_hand(samples, depth, 3, chunk(b"PLTE", palette.tobytes()) + (chunk(b"tRNS", alphas) if alphas else b""))
    )
    expected = palette[samples]
    if alphas:
        expected = np.dstack([expected, np.frombuffer(alphas.ljust(10, b"\xff"), np.uint8)[samples]])
    np.testing.assert_array_equal(photo.pixels, expected)


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize(("color", "channels"), [(0, 1), (2, 3)])
def test_a_transparent_colour_becomes_alpha(depth, color, channels):
    samples = sampled(depth, channels)
    key = samples[3, 4]
    photo, _ = read(by_hand(samples, depth, color, chunk(b"tRNS", np.atleast_1d(key).astype(">u2").tobytes())))
    there = (samples != key) if channels == 1 else (samples != key).any(2)
    np.testing.assert_array_equal(photo.pixels, np.dstack([samples, there * (2**depth - 1)]))


def test_a_transparent_colour_of_the_wrong_length_is_an_error():
    with pytest.raises(RunError, match=r"a\.png: cannot be read as a picture"):
        read(by_hand(sampled(8, 3), 8, 2, chunk(b"tRNS", b"\0\1")))


@pytest.mark.parametrize("damage", ["early end", "bit", "no end", "no data", "bad filter", "unknown", "no palette"])
def test_damage_is_an_error(damage):
    samples = sampled(16, 3)
    content = by_hand(samples, 16, 2)
    place = content.index(b"IDAT") + 50
    content = {
        "early end": content[:place],
        "bit": content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :],
        "no end": content[:-12],
        "no data": by_hand(samples, 16, 2, data=bytes(100)),
        "bad filter": by_hand(samples, 16, 2, data=b"\x07" * (11 * (13 * 6 + 1))),
        "unknown": by_hand(samples, 16, 2, chunk(b"CgBI", bytes(4))),  # Apple's, whose pixels are other ones
        "no palette": by_hand(sampled(8, 1), 8, 3),
    }[damage]
    with pytest.raises(RunError, match=r"^a\.png: cannot be read as a picture \([^\n]*\); replace or remove it\.$"):
        read(content)


def test_a_file_cut_anywhere_is_an_error():
    content = by_hand(sampled(8, 3, 5, 4), 8, 2)
    for length in range(len(content)):
        with pytest.raises(RunError, match=r"a\.png"):
            read(content[:length])


def test_what_belongs_to_the_picture_is_read():
    exif = Image.Exif()
    exif[0x010F] = "A maker"
    stored = exif.tobytes()[6:]
    before = chunk(b"iCCP", b"name\0\0" + zlib.compress(SRGB)) + chunk(b"pHYs", struct.pack(">IIB", 11811, 5906, 1))
    photo, notices = read(by_hand(sampled(16, 3), 16, 2, before, after=chunk(b"eXIf", stored)))
    assert (photo.profile, photo.exif, photo.resolution, notices) == (SRGB, stored, (300.0, 150.01), [])


@pytest.mark.parametrize(
    ("extra", "notices"),
    [
        (chunk(b"pHYs", struct.pack(">IIB", 3, 2, 0)), 0),  # a ratio, not a length
        (chunk(b"pHYs", b"short"), 0),
        (chunk(b"eXIf", b"nonsense"), 1),
        (chunk(b"iCCP", b"name\0\0" + zlib.compress(SRGB)[:300]), 1),
        (chunk(b"iCCP", b"name\0\0nonsense"), 1),
        (chunk(b"iCCP", b""), 1),
        (chunk(b"iCCP", b"name\0\0" + zlib.compress(bytes(2**25))), 1),
        (chunk(b"tEXt", b"Comment\0x")[:-4] + b"bad!", 0),
        (chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(2**25))), 0),
    ],
)
def test_damage_beside_the_pixels_costs_no_more_than_what_is_damaged(extra, notices, capfd):
    samples = sampled(16, 3)
    photo, found = read(by_hand(samples, 16, 2, extra))
    np.testing.assert_array_equal(photo.pixels, samples)
    assert (photo.profile, photo.exif, photo.resolution) == (None, None, None)
    assert len(found) == notices
    assert capfd.readouterr() == ("", "")


def test_of_an_animation_the_first_frame_is_read():
    first, second = np.zeros((6, 7, 3), np.uint8), np.full((6, 7, 3), 200, np.uint8)
    written = io.BytesIO()
    Image.fromarray(first).save(written, "PNG", save_all=True, append_images=[Image.fromarray(second)])
    photo, notices = read(written.getvalue())
    np.testing.assert_array_equal(photo.pixels, first)
    assert notices == ["animated: only the first of 2 frames is read"]


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_sixteen_bits_are_written_as_others_read_them(channels):
    pixels = sampled(16, channels).astype(np.uint16)
    write_photo([Photo(pixels)], "b.png")
    content = Path("b.png").read_bytes()
    assert content[24:26] == bytes([16, {1: 0, 2: 4, 3: 2, 4: 6}[channels]])
    np.testing.assert_array_equal(imagecodecs.png_decode(content), pixels)


def test_what_belongs_to_the_picture_is_written_as_pillow_reads_it():
    exif = Image.Exif()
    exif[0x010F] = "A maker"
    write_photo([Photo(np.zeros((5, 4, 3), np.uint8), SRGB, exif.tobytes()[6:], (300.0, 72.0))], "b.png")
    with Image.open("b.png") as picture:
        picture.verify()  # the checksums
    with Image.open("b.png") as picture:
        assert picture.info["icc_profile"] == SRGB
        assert dict(picture.getexif()) == {0x010F: "A maker"}
        assert picture.info["dpi"] == pytest.approx((300, 72), abs=0.02)

"""Damage that costs no pixel is mended with a line; what is cut short is an error."""

import numpy as np
import pytest
from conftest import synthetic_image
from image_files import chunk, encoded, exif, noise, png, read
from PIL import Image

from srcnn_tf.errors import RunError
from srcnn_tf.images.decode import AVIF
from srcnn_tf.images.read import read_image

NO_END = "it has no end marker, but all of its pixels"
JPEGS = [{}, {"progressive": True}, {"restart_marker_blocks": 3}, {"quality": 100}, {"subsampling": "4:4:4"}]


@pytest.mark.parametrize("end", [b"", b"\xff", b"\0" * 100, b"trailing \xff\xe1 bytes \xff\xda\0\x08", b"\xff\xfe\0\2"])
@pytest.mark.parametrize("options", JPEGS, ids=repr)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_jpeg_that_lacks_only_its_end_marker_is_read(mode, options, end):
    content = encoded(Image.fromarray(synthetic_image(41, 50)).convert(mode), "JPEG", exif=exif({0x0112: 6}), **options)
    expected, _ = read(content)
    page, warnings = read(content[:-2] + end)
    np.testing.assert_array_equal(page.pixels, expected.pixels)
    assert (page.exif, page.jpeg_quality, warnings) == (expected.exif, expected.jpeg_quality, [NO_END])
    np.testing.assert_array_equal(read_image("a.img"), expected.pixels)


@pytest.mark.parametrize("end", [b"", b"\0" * 500, b"\xff" * 20])
@pytest.mark.parametrize("options", JPEGS, ids=repr)
def test_a_jpeg_whose_blocks_are_cut_is_an_error(options, end):
    content = encoded(Image.fromarray(synthetic_image(41, 50)), "JPEG", **options)
    for missing in (3, 4, 5, 10, 30, 100, 400):
        with pytest.raises(RunError, match="truncated"):
            read(content[:-missing] + end)


def test_a_progressive_jpeg_that_lacks_its_last_scans_is_an_error():
    content = encoded(Image.fromarray(synthetic_image(41, 50)), "JPEG", progressive=True)
    assert content.count(b"\xff\xda") > 3
    with pytest.raises(RunError, match="truncated"):
        read(content[: content.rindex(b"\xff\xda")])


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("after", [False, True])
def test_a_png_is_read_without_a_chunk_whose_checksum_is_wrong(depth, after):
    samples = np.random.default_rng(0).integers(0, 2**depth, (11, 13, 3))
    damaged = bytearray(chunk(b"pHYs", bytes(9)) + chunk(b"tEXt", b"a\0b"))
    damaged[10] ^= 1
    parts = (chunk(b"eXIf", exif()[6:]), bytes(damaged)) if after else (bytes(damaged), chunk(b"eXIf", exif()[6:]))
    page, warnings = read(png(samples, depth, 2, *parts))
    np.testing.assert_array_equal(page.pixels, samples)
    assert (page.dpi, warnings) == (None, ["the checksum of its pHYs chunk is wrong: left out"])
    assert page.exif is not None


@pytest.mark.parametrize("name", [b"IHDR", b"IDAT", b"PLTE"])
def test_a_png_with_a_wrong_checksum_of_a_chunk_that_it_needs_is_an_error(name):
    content = bytearray(png(noise(1) % 3, 2, 3, chunk(b"PLTE", bytes(9))))
    content[content.index(name) + 4] ^= 1
    with pytest.raises(RunError, match="cannot be read as an image"):
        read(bytes(content))


@pytest.mark.skipif(not AVIF, reason="Pillow was built without AVIF")
@pytest.mark.parametrize("brand", [b"mif1", b"msf1", b"miaf", b"MA1B"])
def test_avif_is_known_by_any_of_its_brands(brand, monkeypatch):
    content = encoded(Image.fromarray(synthetic_image(40, 50)), "AVIF")
    expected, _ = read(content)
    for has_heic in (True, False):
        monkeypatch.setattr("srcnn_tf.images.decode.HEIC", has_heic)
        page, warnings = read(content[:8] + brand + content[12:])
        np.testing.assert_array_equal(page.pixels, expected.pixels)
        assert warnings == []

import io
import itertools
import struct
import weakref
import zlib

import imagecodecs
import numpy as np
import pytest
from conftest import synthetic_image
from image_files import noise, row_stream
from PIL import Image

from srcnn_tf.images.encode import encode_jpeg, encode_png, encode_tiff_strips
from srcnn_tf.images.page import RowStream
from srcnn_tf.system.devices import cores

SHAPES = [(1, 1), (8, 8), (9, 17), (16, 16), (33, 1), (1, 300), (200, 64), (261, 53)]


def image(channels, rows, cols):
    pixels = synthetic_image(rows, cols)
    return pixels[..., 0].copy() if channels == 1 else pixels


@pytest.mark.parametrize("block_bytes", [1, 5000, 2**20])
@pytest.mark.parametrize("quality", [100, 90, 89, 30, 1])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("rows", "cols"), SHAPES)
def test_strips_of_jpeg_decode_to_the_pixels_of_the_whole(rows, cols, channels, quality, block_bytes, monkeypatch):
    monkeypatch.setattr("srcnn_tf.images.page.BAND_BYTES", block_bytes)
    pixels = image(channels, rows, cols)
    strips = b"".join(encode_jpeg(row_stream(pixels), quality))
    whole = imagecodecs.jpeg8_encode(pixels, level=quality, subsampling="444" if quality >= 90 else "420")
    for decode in (imagecodecs.jpeg8_decode, lambda encoded: np.asarray(Image.open(io.BytesIO(encoded)))):
        np.testing.assert_array_equal(decode(strips), decode(whole))
    assert len(strips) <= len(whole) + rows * 8


@pytest.mark.parametrize(("quality", "side"), [(95, 8), (80, 16)])
@pytest.mark.parametrize(("rows", "cols"), [(300, 65_500), (65_500, 20)])
def test_restart_intervals_of_the_largest_jpegs_have_16_bits(rows, cols, quality, side, monkeypatch):
    monkeypatch.setattr("srcnn_tf.images.page.BAND_BYTES", 2**40)
    pixels = np.tile(image(3, 10, 20), (rows // 10, cols // 20, 1))
    strips = b"".join(encode_jpeg(pixels, quality))
    whole = imagecodecs.jpeg8_encode(pixels, level=quality, subsampling="444" if quality >= 90 else "420")
    np.testing.assert_array_equal(imagecodecs.jpeg8_decode(strips), imagecodecs.jpeg8_decode(whole))
    groups = -(-cols // side)
    assert struct.unpack(">HHH", strips[2:8]) == (0xFFDD, 4, 65_535 // groups * groups)


def png_chunks(content):
    begin = 8
    while begin < len(content):
        size, kind = struct.unpack_from(">I4s", content, begin)
        data = content[begin + 8 : begin + 8 + size]
        assert struct.unpack_from(">I", content, begin + 8 + size)[0] == zlib.crc32(kind + data)
        yield kind, data
        begin += 12 + size


@pytest.mark.parametrize("block_bytes", [1, 1000, 2**20])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize(("rows", "cols"), [(1, 1), (2, 1), (5000, 1), (1, 5000), (61, 47)])
def test_strips_of_png_are_one_image(rows, cols, channels, dtype, block_bytes, monkeypatch):
    monkeypatch.setattr("srcnn_tf.images.page.BAND_BYTES", block_bytes if rows < 100 else 3000)
    pixels = noise(channels, dtype, rows, cols)
    content = b"".join(encode_png(row_stream(pixels)))
    np.testing.assert_array_equal(imagecodecs.png_decode(content).reshape(pixels.shape), pixels)
    if dtype == np.uint8:
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(content))), pixels)
    chunks = list(png_chunks(content))
    assert [kind for kind, _ in itertools.groupby(chunks, lambda chunk: chunk[0])] == [b"IHDR", b"IDAT", b"IEND"]
    inflate = zlib.decompressobj()  # which compares the checksum
    filtered = inflate.decompress(b"".join(data for kind, data in chunks if kind == b"IDAT"))
    assert (len(filtered), inflate.eof, inflate.unused_data) == (pixels.nbytes + rows, True, b"")


def test_a_png_is_no_larger_than_one_of_a_single_stream():
    upscaled = np.asarray(Image.fromarray(synthetic_image(400, 300)).resize((900, 1200), Image.Resampling.BICUBIC))
    grey = upscaled[..., :1]
    for pixels in (upscaled, np.dstack([grey] * 3), upscaled * np.uint16(257), np.zeros((1000, 1000), np.uint8)):
        whole = imagecodecs.png_encode(pixels, level=2, filter=imagecodecs.PNG.FILTER.PAETH)
        assert len(b"".join(encode_png(pixels))) <= 1.03 * len(whole)


@pytest.mark.parametrize(
    "encode",
    [lambda pixels: encode_jpeg(pixels, 90), encode_png, lambda pixels: encode_tiff_strips(pixels, 8)],
    ids=["jpeg", "png", "tiff"],
)
def test_only_a_few_blocks_are_in_memory(encode, monkeypatch):
    monkeypatch.setattr("srcnn_tf.images.page.BAND_BYTES", 8 * 50)  # strips of eight rows
    made = []

    def blocks():
        for _ in range(800):
            block = np.zeros((5, 50), np.uint8)
            made.append(weakref.ref(block))
            yield block

    stream = RowStream((4000, 50), np.uint8, blocks())
    most = max(sum(block() is not None for block in made) for _ in encode(stream))
    assert len(made) == 800
    assert 5 * most <= 8 * (cores() + 4)

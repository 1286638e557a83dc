"""Encodes JPEG, PNG and TIFF band by band, in parallel threads, while later rows are still computed.

Each band is encoded by itself. Together they are one ordinary image:

- JPEG: restart markers divide the coded data. After one, the prediction of mean values starts anew, and nothing else in
  baseline JPEG depends on earlier blocks (ITU-T T.81, F.1.1.5). So bands of whole blocks decode to the very pixels
  that the encoder gives for the whole image.
- PNG: the one zlib stream is made of parts that end with an empty block at a byte boundary, after which another can
  follow (RFC 1951, 3.2.4). A filter needs one row above the band.
- TIFF stores bands as its strips.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Generator, Iterator

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from srcnn_tf.images.page import Pixels, band_rows, channels_of
from srcnn_tf.system.threads import cores, map_in_threads

FULL_COLOR = 90  # from this JPEG quality on, colour has the resolution of luma, as in Adobe's programs and ImageMagick
MAX_RESTART_INTERVAL = 65_535  # a number of 16 bits
# Two to four times as fast as libdeflate's default, 6; TIFF files of upscaled photographs are 1 to 16 % larger with 8
# bits, and 1 to 4 % smaller with 16.
DEFLATE_LEVEL = 1
SAMPLE_BYTES = 2**13  # of a band, to select how to deflate it
PNG_COLORS = {1: 0, 2: 4, 3: 2, 4: 6}  # colour types, by number of channels


def encode_jpeg(pixels: Pixels, quality: int) -> Generator[bytes]:
    """Yields the parts of a JPEG file; metadata belongs between the first and the second.

    Args:
        pixels: uint8, grey or RGB.
        quality: 1 to 100.
    """
    rows, cols = pixels.shape[:2]
    sampling = "444" if quality >= FULL_COLOR else "420"
    side = 16 if sampling == "420" and channels_of(pixels) == 3 else 8  # of a group of blocks (MCU)
    groups = math.ceil(cols / side)
    step = side * min(max(1, band_rows(pixels.shape, pixels.dtype) // side), MAX_RESTART_INTERVAL // groups)

    def encode(band: NDArray) -> bytes:  # with the standard Huffman tables, so that one header is for all bands
        return bytes(imagecodecs.jpeg8_encode(band, level=quality, subsampling=sampling))

    segments: dict[int, int] = {}  # where those of the header begin, by their markers
    data = 2
    for number, encoded in enumerate(map_in_threads(encode, _split(pixels, step), cores())):
        if number == 0:
            while 0xDA not in segments:  # the start of scan, after which the data follow
                segments.setdefault(encoded[data + 1], data)
                data += 2 + int.from_bytes(encoded[data + 2 : data + 4])
            height = segments[0xC0] + 5  # in the frame header
            yield encoded[:2]
            yield struct.pack(">HHH", 0xFFDD, 4, step // side * groups)  # the restart interval
            # From the quantization tables on: the encoder's JFIF header is left out.
            yield encoded[segments[0xDB] : height] + struct.pack(">H", rows) + encoded[height + 2 : data]
        else:
            yield bytes([0xFF, 0xD0 + (number - 1) % 8])
        yield encoded[data:-2]
    yield b"\xff\xd9"


def encode_png(pixels: Pixels) -> Generator[bytes]:
    """Yields the parts of a PNG file; metadata belongs between the first and the second.

    Args:
        pixels: uint8 or uint16 of 1 to 4 channels.
    """
    rows, cols = pixels.shape[:2]
    bits, color = 8 * pixels.dtype.itemsize, PNG_COLORS[channels_of(pixels)]
    yield b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", struct.pack(">IIBBBBB", cols, rows, bits, color, 0, 0, 0))
    yield png_chunk(b"IDAT", b"\x78\x01")  # the header of a zlib stream
    checksum = 1
    bands = _split(pixels, band_rows(pixels.shape, pixels.dtype), above=1)
    for filtered, chunk in map_in_threads(_encode_png_band, bands, cores()):
        checksum = zlib.adler32(filtered, checksum)
        yield chunk
    yield png_chunk(b"IDAT", b"\x03\x00" + checksum.to_bytes(4))  # the last block, an empty one
    yield png_chunk(b"IEND", b"")


def _encode_png_band(band: NDArray) -> tuple[bytes, bytes]:
    """Returns the rows of a band but its first one as PNG filters them, and a chunk with them deflated."""
    # libpng filters far faster than NumPy. At level 0 it stores the result, a byte per row larger, in chunks of 8 kB
    # with 17 bytes for their headers; imagecodecs reserves too little for that if the rows are short.
    size = band.nbytes + len(band)
    options = {"filter": imagecodecs.PNG.FILTER.PAETH, "out": size + size // 256 + 1024}
    encoded = imagecodecs.png_encode(band, level=0, **options)
    parts, begin = [], 8
    while begin < len(encoded):
        end = begin + 8 + int.from_bytes(encoded[begin : begin + 4])
        if encoded[begin + 4 : begin + 8] == b"IDAT":
            parts.append(encoded[begin + 8 : end])
        begin = end + 4
    filtered = zlib.decompress(b"".join(parts))
    filtered = filtered[len(filtered) // len(band) :]
    # In photographs, repetitions of more than a byte cost more than they save; in grey stored as RGB, they do not.
    samples = {strategy: _deflate(filtered[:SAMPLE_BYTES], strategy) for strategy in (zlib.Z_RLE, zlib.Z_FILTERED)}
    strategy = min(samples, key=lambda strategy: len(samples[strategy]))
    is_whole = len(filtered) <= SAMPLE_BYTES
    return filtered, png_chunk(b"IDAT", samples[strategy] if is_whole else _deflate(filtered, strategy))


def _deflate(content: bytes, strategy: int) -> bytes:
    compressor = zlib.compressobj(2, wbits=-15, strategy=strategy)
    return compressor.compress(content) + compressor.flush(zlib.Z_SYNC_FLUSH)


def png_chunk(kind: bytes, content: bytes) -> bytes:
    """Returns a chunk of a PNG file, with its length and checksum."""
    return struct.pack(">I", len(content)) + kind + content + zlib.crc32(kind + content).to_bytes(4)


def encode_tiff_strips(pixels: Pixels, step: int) -> Generator[bytes]:
    """Yields strips of `step` rows, deflated with predictor 2 (TIFF 6.0, section 14), or 3 of floats (Note 3)."""

    def encode(band: NDArray) -> bytes:
        predict = imagecodecs.floatpred_encode if band.dtype.kind == "f" else imagecodecs.delta_encode
        differences = predict(band.reshape(*band.shape[:2], -1), axis=1)
        return bytes(imagecodecs.deflate_encode(differences.tobytes(), level=DEFLATE_LEVEL))

    yield from map_in_threads(encode, _split(pixels, step), cores())


def _split(pixels: Pixels, step: int, above: int = 0) -> Iterator[NDArray]:
    """Yields bands of `step` rows, with the rows above; above the image, they are 0."""
    first = pixels[:step]
    yield np.concatenate([np.zeros((above, *pixels.shape[1:]), pixels.dtype), first]) if above else first.copy()
    for begin in range(step, pixels.shape[0], step):
        yield pixels[begin - above : begin + step].copy()  # contiguous, as encoders need it

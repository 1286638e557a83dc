import contextlib
import io
import itertools
import lzma
import struct
import threading
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from conftest import as_stored, synthetic_image
from image_files import SRGB, by_tifffile, encoded, exif, exif_tags, noise, read, smooth, tiff, tiff_pages
from PIL import Image

from srcnn_tf.api import upscale_image
from srcnn_tf.config import Config
from srcnn_tf.errors import RunError
from srcnn_tf.images.formats.tiff import MAX_PAGES
from srcnn_tf.images.page import RowStream, as_array
from srcnn_tf.images.reader import ImageReader
from srcnn_tf.images.value_range import DTYPES
from srcnn_tf.system.devices import cores
from srcnn_tf.upscaling.image_files import upscale_files


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """A few rows are decoded at once, also of the small images of these tests."""
    monkeypatch.setattr("srcnn_tf.images.page.BAND_BYTES", 500)


def pixels_of(content):
    page, warnings = read(content)
    assert warnings == []
    return page.pixels


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"byteorder": ">"},
        {"bigtiff": True},
        {"byteorder": ">", "compression": "zlib", "predictor": True},
        {"compression": "lzw", "rowsperstrip": 7},
        {"tile": (16, 32), "compression": "zstd", "predictor": True},
        {"tile": (32, 16)},
        {"planarconfig": "separate", "compression": "packbits"},
        {"planarconfig": "separate", "tile": (16, 16), "byteorder": ">"},
    ],
    ids=str,
)
def test_every_layout_is_read_with_all_its_bits(dtype, channels, options):
    pixels = noise(channels, dtype)
    options = {"planarconfig": "contig"} | options if channels > 1 else options | {"planarconfig": None}
    if channels in (2, 4):
        options["extrasamples"] = ["unassalpha"]
    stored = np.moveaxis(pixels, -1, 0) if options["planarconfig"] == "separate" else pixels
    actual = pixels_of(by_tifffile(stored, photometric="rgb" if channels > 2 else "minisblack", **options))
    np.testing.assert_array_equal(actual, pixels)
    assert (actual.dtype, actual.dtype.isnative) == (dtype, True)


@pytest.mark.parametrize(
    ("mode", "compression"),
    [
        *itertools.product(
            ["1", "P", "L", "RGB", "RGBA", "LA", "CMYK"],
            [None, "tiff_lzw", "tiff_adobe_deflate", "packbits", "lzma", "zstd"],
        ),
        *itertools.product(["L", "RGB", "RGBA", "LA", "CMYK"], ["jpeg"]),
        *itertools.product(["1"], ["tiff_ccitt", "group3", "group4"]),
    ],
)
@pytest.mark.parametrize("photometric", [None, 0])
def test_what_pillow_writes_is_read_as_pillow_reads_it(mode, compression, photometric):
    options = {"tiffinfo": {262: photometric}} if photometric == 0 and mode == "1" else {}
    image = Image.fromarray(synthetic_image(40, 61)).convert(mode)
    pixels = pixels_of(encoded(image, "TIFF", compression=compression, **options))
    with Image.open("a.img") as image:
        expected = image.convert({"1": "L", "P": "RGB", "CMYK": "RGB"}.get(mode, mode))
    # Two decoders of JPEG need not round alike.
    np.testing.assert_allclose(pixels.astype(int), np.asarray(expected), atol=2 if compression == "jpeg" else 0)


@pytest.mark.parametrize("subsampling", [(1, 1), (2, 2)])
@pytest.mark.parametrize("tile", [None, (16, 16)])
def test_jpeg_with_its_own_colours_becomes_rgb(subsampling, tile):
    pixels = np.asarray(Image.fromarray(synthetic_image(8, 9)).resize((90, 80)))
    options = {"compressionargs": {"level": 98}, "subsampling": subsampling, "tile": tile}
    decoded = pixels_of(by_tifffile(pixels, photometric="rgb", compression="jpeg", **options))
    assert np.abs(decoded.astype(int) - pixels).mean() < 3


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("bits", range(1, 17))
def test_any_number_of_bits_fills_the_whole_range(bits, order):
    samples = np.random.default_rng(bits).integers(0, 2**bits, (5, 8))
    samples[0, :2] = 0, 2**bits - 1
    if bits == 16:
        packed = samples.astype(order + "u2").tobytes()
    else:
        packed = int("".join(f"{value:0{bits}b}" for value in samples.ravel()), 2).to_bytes(5 * bits, "big")
    full = 255 if bits <= 8 else 65535
    expected = np.rint(samples * (full / (2**bits - 1)))
    np.testing.assert_array_equal(pixels_of(tiff(5, 8, [packed], (bits,), order=order)), expected)
    inverted = pixels_of(tiff(5, 8, [packed], (bits,), photometric=0, order=order))
    np.testing.assert_array_equal(inverted, full - expected)


@pytest.mark.parametrize("factor", [256, 257])
def test_palettes_of_both_customs_give_eight_bits(factor):
    indices, colors = noise(1, rows=6, cols=7) % 4, noise(3, rows=4, cols=1)[:, 0]
    table = np.zeros((256, 3), np.uint16)
    table[:4] = colors.astype(np.uint16) * factor
    content = tiff(6, 7, [indices.tobytes()], photometric=3, more=[(320, 3, table.T.ravel().tolist())])
    np.testing.assert_array_equal(pixels_of(content), colors[indices])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [2, 4])
def test_premultiplied_alpha_is_divided_out(dtype, channels):
    full = np.iinfo(dtype).max
    alpha = noise(1, dtype, 300, 5)[..., np.newaxis].astype(np.int64)
    alpha[:2] = [[[0]], [[full]]]
    color = np.rint(np.random.default_rng(1).random((300, 5, channels - 1)) * alpha).astype(np.int64)
    options = {"photometric": "rgb" if channels == 4 else "minisblack", "extrasamples": ["assocalpha"]}
    stored = np.concatenate([color, alpha], 2).astype(dtype)
    pixels = pixels_of(by_tifffile(stored, planarconfig="contig", **options))
    np.testing.assert_array_equal(pixels[..., -1:], alpha)
    with np.errstate(invalid="ignore"):
        expected = np.where(alpha > 0, color * full / alpha, 0)
    np.testing.assert_allclose(pixels[..., :-1], expected, atol=0.5)


def test_channels_besides_colour_and_alpha_are_left_out_with_a_warning():
    pixels = noise(6, np.uint16)
    options = {"planarconfig": "contig", "extrasamples": ["unspecified", "unassalpha", "unspecified"]}
    page, warnings = read(by_tifffile(pixels, photometric="rgb", **options))
    np.testing.assert_array_equal(page.pixels, pixels[..., [0, 1, 2, 4]])
    assert warnings == ["2 channels besides its colours are left out"]
    for extra in ((), (0,)):  # a fourth sample is alpha, unless the file says that it is not
        more = [(338, 3, extra)] if extra else []
        page, _ = read(tiff(40, 50, [noise(4).tobytes()], (8,) * 4, 2, more=more))
        np.testing.assert_array_equal(page.pixels, noise(4)[..., :3] if extra else noise(4))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pages_are_oriented(orientation):
    upright = noise(3, np.uint16, 12, 20)
    options = {"resolution": (300, 100), "resolutionunit": 2, "extratags": [(274, "H", 1, orientation, False)]}
    page, _ = read(by_tifffile(as_stored(upright, orientation), photometric="rgb", **options))
    np.testing.assert_array_equal(page.pixels, upright)
    assert page.dpi == ((300, 100) if orientation < 5 else (100, 300))


def test_metadata_is_read_wherever_libraries_write_it():
    gps = {1: "N", 2: (52.0, 30.0, 15.5)}
    stored = Image.Exif()
    stored.load(exif({0x010E: "Words", 0x8298: "nobody"}, {0x829A: 0.004}, gps))
    options = {"exif": stored, "icc_profile": SRGB, "dpi": (300, 150)}
    page, warnings = read(encoded(Image.fromarray(synthetic_image(6, 7)), "TIFF", **options))
    assert (page.icc_profile, page.dpi, warnings) == (SRGB, (300, 150), [])
    main, details, found_gps = exif_tags(page.exif)
    assert main == {0x010E: "Words", 0x010F: "A maker", 0x8298: "nobody"}
    assert (details, found_gps) == ({0x9003: "2020:02:02 02:02:02", 0x829A: 0.004}, gps)
    # Sizes and planes, which would be wrong for the upscaled image.
    assert read(by_tifffile(noise(1), description="ImageJ=1.53\nimages=1\n", software=False))[0].exif is None
    centimetres = {"resolution": (118.11, 59.06), "resolutionunit": "centimeter"}
    assert read(by_tifffile(noise(1), **centimetres))[0].dpi == pytest.approx((300, 150), abs=0.02)


def test_damaged_metadata_does_not_cost_the_pixels(capfd):
    more = [(296, 4, [9]), (282, 4, [0]), (283, 3, [1, 2])]
    more += [(34665, 4, [4_000_000]), (34675, 4, [1, 2, 3]), (274, 3, [77])]
    page, _ = read(tiff(40, 50, [noise(1).tobytes()], more=more))
    np.testing.assert_array_equal(page.pixels, noise(1))
    assert (page.icc_profile, page.dpi) == (None, None)
    assert capfd.readouterr() == ("", "")


UNSUPPORTED = {
    "of 64 bits": lambda: by_tifffile(np.zeros((4, 5), np.int64)),
    "with a sign": lambda: by_tifffile(np.zeros((4, 5), np.float32), photometric="miniswhite"),
    "premultiplied alpha": lambda: by_tifffile(np.zeros((4, 5, 4), np.float32), photometric="rgb", extrasamples=[1]),
    "sample format 6": lambda: by_tifffile(np.zeros((4, 5), np.complex64)),
    "CIELAB": lambda: encoded(Image.fromarray(synthetic_image(4, 5)).convert("LAB"), "TIFF"),
    "YCbCr that is not JPEG": lambda: by_tifffile(synthetic_image(4, 5), photometric="ycbcr"),
    "JPEG2000": lambda: by_tifffile(synthetic_image(16, 16), photometric="rgb", compression="jpeg2000"),
    "WEBP": lambda: by_tifffile(synthetic_image(16, 16), photometric="rgb", compression="webp"),
    "SEPARATED: 5> of 16 bits": lambda: by_tifffile(np.zeros((4, 5, 4), np.uint16), photometric="separated"),
    "SEPARATED: 5> with 5 samples": lambda: tiff(4, 5, [bytes(100)], (8,) * 5, 5),
    "inks other than CMYK": lambda: tiff(4, 5, [bytes(80)], (8,) * 4, 5, more=[(332, 3, [2])]),
    "MINISBLACK: 1> with 5 samples": lambda: tiff(4, 5, [bytes(100)], (8,) * 5),
    "of (5, 6, 5) bits": lambda: tiff(4, 5, [bytes(40)], (5, 6, 5), 2),
    "photometric interpretation <PHOTOMETRIC.CIELAB": lambda: tiff(4, 5, [bytes(60)], (8,) * 3, 8),
    "a volume": lambda: tiff(4, 5, [bytes(20)], more=[(32997, 4, [2])]),
}


@pytest.mark.parametrize("kind", UNSUPPORTED)
def test_what_would_be_read_wrongly_is_refused(kind, capfd, monkeypatch):
    monkeypatch.setattr("srcnn_tf.images.formats.raster.RASTERIO", False)  # which reads any number of bands
    with pytest.raises(RunError, match=r"^a\.img: this kind of image .* is not supported; convert it to gr") as error:
        read(UNSUPPORTED[kind]())
    assert kind in str(error.value)
    assert capfd.readouterr() == ("", "")


NOISE = np.random.default_rng(0).bytes(10_000)
HALF = zlib.compress(NOISE)


def jpeg(rows, cols):
    return encoded(Image.new("L", (cols, rows)), "JPEG")


@pytest.mark.parametrize(
    "content",
    [
        tiff(10, 10, [bytes(50)]),  # fewer bytes than pixels
        tiff(10, 10, [bytes(50)], rows_per_strip=5),  # a strip is missing
        tiff(10, 10, [bytes(50), b""], rows_per_strip=5),  # a strip is empty
        tiff(10, 10, [bytes(100)], more=[(279, 4, [4_000_000_000])]),
        tiff(10, 10, [bytes(100)], more=[(273, 4, [4_000_000_000])]),
        tiff(10, 10, [bytes(100)], more=[(273, 4, [0])]),
        tiff(0, 10, [bytes(100)]),
        tiff(100, 100, [HALF[: len(HALF) // 2]], compression=8),
        tiff(100, 100, [HALF[:500] + bytes([HALF[500] ^ 1]) + HALF[501:]], compression=8),
        tiff(10, 10, [zlib.compress(bytes(50))], compression=8),
        tiff(100, 100, [imagecodecs.lzw_encode(NOISE)[:500]], compression=5),
        tiff(100, 100, [lzma.compress(NOISE)[:500]], compression=34925),
        tiff(10, 10, [jpeg(1000, 1000)], compression=7),  # which holds a larger image
        tiff(10, 10, [jpeg(10, 10)[:-2]], compression=7),
        tiff(10, 10, [b"nothing"], compression=7),
        tiff(10, 10, [bytes(100)], more=[(322, 4, [100_000]), (323, 4, [100_000])]),  # gigantic tiles
        tiff(10, 10, [bytes(100)], photometric=3),  # no palette
        tiff(10, 10, [bytes(range(100))], photometric=3, more=[(320, 3, [0] * 30)]),  # a short palette
        tiff(10, 10, [bytes(100)], more=[(256, 4, [10, 10])]),
        tiff(10, 10, [bytes(100)], more=[(254, 4, [1])]),  # a reduced copy of nothing
        tiff_pages(5, last=2),  # a circle
        tiff_pages(MAX_PAGES + 1),
        tiff_pages(30, side=100),  # of the same bytes
        b"II*\0\x08\0\0\0",
        b"II*\0\xff\xff\xff\xff",
        b"II*\0\0\0\0\0",
        b"MM\0+\0\x08\0\0",
    ],
)
def test_damage_is_an_error(content, capfd):
    with pytest.raises(RunError, match=r"^a\.img: cannot be read as an image \([^\n]*\); replace or remove it\.$"):
        read(content)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("compression", [5, 8, 34925, 50000, 32773])
def test_what_unpacks_to_far_more_than_the_image_is_not_unpacked(compression):
    pack = {
        5: imagecodecs.lzw_encode,
        8: zlib.compress,
        34925: lzma.compress,
        50000: imagecodecs.zstd_encode,
        32773: lambda zeros: b"\x81\0" * (len(zeros) // 128),
    }[compression]
    with contextlib.suppress(RunError):
        assert read(tiff(10, 10, [pack(bytes(5_000_000))], compression=compression))[0].pixels.shape == (10, 10)


def test_pages_are_checked_first_and_decoded_one_by_one(monkeypatch):
    pages = [noise(3, rows=6), noise(1, np.uint16), noise(4, rows=3), np.zeros((200, 200, 6), np.uint8)]
    with tifffile.TiffWriter("a.tif") as writer:
        for page in pages:
            kind = "rgb" if page.ndim == 3 else "minisblack"
            extra = [2] + [0] * (page.shape[2] - 4) if page.shape[2:] > (3,) else None
            writer.write(page, photometric=kind, metadata=None, extrasamples=extra, planarconfig=1)
    reads = []
    read_array = tifffile.FileHandle.read_array
    monkeypatch.setattr(tifffile.FileHandle, "read_array", lambda *given: reads.append(1) or read_array(*given))
    with pytest.raises(RunError, match=r"a\.tif: declares 200 x 200 pixels.*--max_megapixels"):
        ImageReader("a.tif", 39_999).__enter__()
    with ImageReader("a.tif", 40_000) as reader:
        assert len(reader) == 4
        for page, expected in zip(reader, pages, strict=True):
            count = len(reads)
            assert (count > 0) == (expected is not pages[0])
            expected = expected[..., :4] if expected.ndim == 3 else expected
            np.testing.assert_array_equal(as_array(page.pixels), expected)
            assert (len(reads) > count) == isinstance(page.pixels, RowStream)
        assert reader.warnings == ["page 4: 2 channels besides its colours are left out"]


LAYOUTS = [
    {},
    {"compression": "lzw", "rowsperstrip": 1},
    {"compression": "zlib", "rowsperstrip": 7, "predictor": True},
    {"compression": "zstd", "tile": (16, 32)},
    {"compression": "zlib", "planarconfig": "separate", "rowsperstrip": 3},
    {"planarconfig": "separate"},
    {"planarconfig": "separate", "tile": (16, 32), "byteorder": ">"},
]


@pytest.mark.parametrize("options", LAYOUTS, ids=str)
def test_rows_are_decoded_when_they_are_needed(options, monkeypatch):
    pixels, size = noise(3, np.uint16, 1000, 60), []
    stored = np.moveaxis(pixels, -1, 0) if "planarconfig" in options else pixels
    content = by_tifffile(stored, photometric="rgb", **({"planarconfig": "contig"} | options))
    Path("a.tif").write_bytes(content)
    threads = threading.active_count()
    read, read_array = tifffile.FileHandle.read, tifffile.FileHandle.read_array
    with ImageReader("a.tif", 10**6) as reader:
        for page in reader:
            monkeypatch.setattr(tifffile.FileHandle, "read", lambda *given: size.append(given[1]) or read(*given))
            monkeypatch.setattr(
                tifffile.FileHandle,
                "read_array",
                lambda *given: size.append(given[2] * 2) or read_array(*given),
            )
            for begin, end in ((0, 1), (0, 40), (33, 34), (500, 517), (990, 1000)):
                np.testing.assert_array_equal(page.pixels[begin:end], pixels[begin:end])
                assert sum(size) <= len(content) * (end + 40 * (cores() + 2)) / 1000
            assert threading.active_count() == threads


def test_a_damaged_strip_is_an_error_when_its_rows_are_needed_and_no_thread_survives():
    content = bytearray(by_tifffile(noise(3, rows=1000), photometric="rgb", compression="zlib", rowsperstrip=5))
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        content[file.pages[0].dataoffsets[150] + 50] ^= 1
    Path("a.tif").write_bytes(content)
    threads = threading.active_count()
    with ImageReader("a.tif", 10**6) as reader:
        (page,) = reader
        np.testing.assert_array_equal(page.pixels[:700], noise(3, rows=1000)[:700])
        with pytest.raises(RunError, match=r"^a\.tif: cannot be read as an image \([^\n]*\); replace or remove it\.$"):
            page.pixels[700:1000]
        assert threading.active_count() == threads
    with ImageReader("a.tif", 10**6) as reader:
        (page,) = reader
        page.pixels[:10]
    assert threading.active_count() == threads


def test_reduced_copies_and_masks_are_left_out_with_a_warning():
    with tifffile.TiffWriter("a.tif") as writer:
        for size, kind in ((40, 0), (20, 1), (40, 4), (30, 2)):
            page = np.zeros((size, size), np.bool_ if kind == 4 else np.uint8)
            writer.write(page, photometric=1, metadata=None, subfiletype=kind)
    with ImageReader(Path("a.tif"), 10**6) as reader:
        assert [page.pixels.shape for page in reader] == [(40, 40), (30, 30)]
    assert reader.warnings == ["2 of its 4 pages are reduced copies or masks, and left out"]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("options", [{"imagej": True}, {}, {"byteorder": ">"}, {"imagej": True, "byteorder": ">"}])
@pytest.mark.parametrize("shape", [(5, 40, 50), (5, 40, 50, 3), (5, 1, 40, 50)])
def test_each_plane_of_a_stack_under_one_directory_is_a_page(shape, options, dtype):
    stack = np.random.default_rng(0).integers(0, 256, shape).astype(dtype)
    if options.get("imagej") and shape[-1] == 3 and dtype == np.uint16:
        return  # which it does not hold
    for count in (5, 1):
        tifffile.imwrite("stack.tif", stack[:count], truncate=True, **options)
        with tifffile.TiffFile("stack.tif") as file:
            assert len(file.pages) == 1
        with ImageReader("stack.tif", 10**6) as reader:
            assert len(reader) == len(reader.kinds) == count
            for page, expected in zip(reader, stack, strict=False):
                np.testing.assert_array_equal(as_array(page.pixels), np.squeeze(expected))
    content = by_tifffile(stack[0]).replace(b"", b"")
    tifffile.imwrite("stack.tif", stack, truncate=True, **options)
    content = Path("stack.tif").read_bytes()
    with pytest.raises(RunError, match=r"planes|within"):
        read(content[: -stack[0].nbytes // 2])


def test_the_planes_of_a_stack_are_upscaled():
    stack = np.stack([np.full((40, 50), value, np.uint8) for value in (10, 60, 110, 160, 210)])
    tifffile.imwrite("stack.tif", stack, imagej=True, truncate=True)
    upscale_files(Config(input="stack.tif", output="out"))
    with tifffile.TiffFile("out/stack_x3.tif") as file:
        assert [page.asarray().mean().round() for page in file.pages] == [10, 60, 110, 160, 210]


def test_a_stack_of_planes_under_a_compressed_page_is_an_error():
    content = by_tifffile(noise(1), description="ImageJ=1.53\nimages=7\n", software=False, compression="zlib")
    with pytest.raises(RunError, match="7 planes under one compressed page"):
        read(content)
    content = by_tifffile(noise(1), description="ImageJ=1.53\nimages=7\n", software=False)
    with pytest.raises(RunError, match="7 planes: more than are in it"):
        read(content)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "options", [{}, {"byteorder": ">"}, {"compression": "zlib", "predictor": True}, {"tile": (16, 32)}]
)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_numbers_of_any_kind_are_read_upscaled_and_written(dtype, options, channels):
    info = np.finfo(dtype) if dtype[0] == "f" else np.iinfo(dtype)
    span = min(float(info.max), 1e6)
    pixels = (smooth(channels) / 255 * span - (span / 2 if info.min < 0 else 0)).astype(dtype)
    kind = {"photometric": "minisblack"} if channels == 1 else {"photometric": "rgb", "planarconfig": "contig"}
    content = by_tifffile(pixels, **kind, **options, **({"extrasamples": [2]} if channels == 4 else {}))
    page, warnings = read(content)
    np.testing.assert_array_equal(page.pixels, pixels)
    assert (page.pixels.dtype, page.pixels.dtype.isnative, warnings) == (dtype, True, [])
    Path("a.tif").write_bytes(content)
    upscale_files(Config(input="a.tif", output="b.tif", scale=2))
    written = tifffile.imread("b.tif")
    assert (written.dtype, written.shape[:2]) == (dtype, (80, 100))
    np.testing.assert_array_equal(written, upscale_image(pixels, 2))


def test_the_range_that_a_file_declares_is_used_and_kept(capsys):
    pixels = smooth(1).astype(np.float32) * 10
    tags = [(340, "f", 1, 100.0, True), (341, "f", 1, 900.0, True)]
    Path("a.tif").write_bytes(by_tifffile(pixels, extratags=tags))
    upscale_files(Config(input="a.tif", output="b.tif"))
    assert (
        "a.tif: value range 100 to 900 (SMinSampleValue, SMaxSampleValue); weights: shipped" in capsys.readouterr().out
    )
    np.testing.assert_array_equal(tifffile.imread("b.tif"), upscale_image(pixels, value_range=(100, 900)))
    with tifffile.TiffFile("b.tif") as file:
        assert [file.pages[0].tags[code].value for code in (340, 341)] == [100, 900]
    upscale_files(Config(input="a.tif", output="c.tif", value_range="data"))
    assert f"value range {pixels.min():g} to {pixels.max():g} (smallest and largest value)" in capsys.readouterr().out
    np.testing.assert_array_equal(tifffile.imread("c.tif"), upscale_image(pixels))


def test_a_declared_range_that_the_data_hardly_fill_is_not_used(capsys):
    """Many programs write the whole range of 16 bits there, also for cameras of 12 bits."""
    pixels = smooth(1).astype(np.uint16) * 16
    tags = [(340, "H", 1, 0, True), (341, "H", 1, 65535, True)]
    Path("a.tif").write_bytes(by_tifffile(pixels, extratags=tags))
    upscale_files(Config(input="a.tif", output="b.tif"))
    assert "(smallest and largest value)" in capsys.readouterr().out
    np.testing.assert_array_equal(tifffile.imread("b.tif"), upscale_image(pixels))


def test_the_pages_of_a_stack_have_one_range(capsys):
    stack = np.stack([np.full((40, 50), value, np.int16) for value in (-300, 700, 200)])
    stack[1, 10:20] = 100
    tifffile.imwrite("a.tif", stack, photometric="minisblack")
    upscale_files(Config(input="a.tif", output="b.tif"))
    assert capsys.readouterr().out.count("value range -300 to 700") == 1
    with tifffile.TiffFile("b.tif") as file:
        expected = [upscale_image(page, value_range=(-300, 700)) for page in stack]
        np.testing.assert_array_equal([page.asarray() for page in file.pages], np.clip(expected, -300, 700))


@pytest.mark.parametrize("channels", [2, 4])
def test_missing_data_of_an_image_with_alpha_stay_however_many_rows_there_are(channels, monkeypatch):
    monkeypatch.setattr("srcnn_tf.images.page.BAND_BYTES", 500)
    pixels = smooth(channels).astype(np.uint16) * 200 + 300
    pixels[..., -1], pixels[:5, :, :-1] = 65535, 0
    kind = {"photometric": "rgb" if channels == 4 else "minisblack", "planarconfig": "contig"}
    tags = [(42113, "s", 0, "0", True)]
    Path("a.tif").write_bytes(by_tifffile(pixels, **kind, extrasamples=[2], extratags=tags))
    upscale_files(Config(input="a.tif", output="b.tif", scale=2))
    is_missing = (tifffile.imread("b.tif")[..., 0] == 0).all(axis=1)
    np.testing.assert_array_equal(is_missing, np.arange(80) < 10)


@pytest.mark.parametrize("nodata", [None, -9999])
@pytest.mark.parametrize(
    "options", [{"tile": (16, 16)}, {"tile": (16, 16), "compression": "zlib"}, {"rowsperstrip": 16}]
)
def test_what_is_missing_in_a_sparse_file_is_nodata_or_0(nodata, options, capsys):
    pixels = (smooth(1, 48, 64) + 1).astype(np.int16)
    tags = [] if nodata is None else [(42113, "s", 0, str(nodata), True)]
    content = bytearray(by_tifffile(pixels, extratags=tags, **options))
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        page = file.pages[0]
        for tag in (page.tags[324 if page.is_tiled else 273], page.tags[325 if page.is_tiled else 279]):
            size = 2 if tag.dtype == 3 else 4
            content[tag.valueoffset + size : tag.valueoffset + 2 * size] = bytes(size)
    expected = pixels.copy()
    expected[:16, 16:32] = nodata or 0
    if "tile" not in options:
        expected[:], expected[16:32] = pixels, nodata or 0
    np.testing.assert_array_equal(pixels_of(bytes(content)), expected)
    Path("a.tif").write_bytes(content)
    upscale_files(Config(input="a.tif", output="b.tif"))
    with tifffile.TiffFile("b.tif") as file:
        upscaled, tag = file.asarray(), file.pages[0].tags.valueof(42113)
    if nodata is None:
        assert (upscaled.min() < 20, tag) == (True, None)
    else:
        np.testing.assert_array_equal(upscaled == nodata, np.kron(expected == nodata, np.ones((3, 3), bool)))
        assert (upscaled[upscaled != nodata].min() > 0, tag) == (True, "-9999")


def test_more_pages_than_any_limit_of_old_are_read():
    with ImageReader(Path("a.tif").write_bytes(tiff_pages(5000, side=1)) and "a.tif", 10**6) as reader:
        assert len(reader) == 5000
    with pytest.raises(RunError, match=r"more than 65,536 pages or [0-9,]+ tags: split it"):
        read(tiff_pages(MAX_PAGES + 1))


def raw(sub=(), main=(), size=(60, 80)):
    """A TIFF file whose first page is a thumbnail, and the full image a page of its sub-directory."""
    written = io.BytesIO()
    with tifffile.TiffWriter(written) as file:
        file.write(noise(3, rows=24, cols=32), photometric="rgb", subifds=1, metadata=None, **dict(main))
        file.write(noise(1, np.uint16, *size), metadata=None, **dict(sub))
    return written.getvalue()


def cr2():
    """A TIFF file with Canon's signature after its head, of pages with nothing unusual."""
    content = tiff(10, 10, [b"CR\2\0" + bytes(4 + 100)])
    start = struct.unpack_from("<I", content, 4)[0]
    return content[:4] + struct.pack("<I", 16) + b"CR\2\0" + bytes(4) + content[start:] + bytes(100)


CAMERA_TAGS = {"extratags": [(271, "s", 0, "NIKON CORPORATION", True), (272, "s", 0, "NIKON  D850", True)]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (raw({"photometric": "cfa"}, CAMERA_TAGS), "raw data of a camera NIKON D850, which have to be developed.*dark"),
        (raw({"photometric": "cfa"}, CAMERA_TAGS | {"subfiletype": 1}), "raw data of a camera NIKON D850"),
        (raw({"photometric": "minisblack"}, CAMERA_TAGS), "raw data of a camera NIKON D850"),
        (raw({"photometric": "minisblack"}), "a thumbnail of an image in a sub-directory"),
        (by_tifffile(noise(1), photometric="cfa"), "raw data of a camera, which"),
        (by_tifffile(noise(3), photometric="rgb", extratags=[(50706, 1, 4, b"\1\4\0\0", True)]), "raw data"),
        (cr2(), "raw data"),
        (b"FUJIFILMCCD-RAW 0201" + bytes(100), "raw data"),
        (b"IIRO\x08\0\0\0" + bytes(100), "raw data"),
        (b"IIU\0\x18\0\0\0" + bytes(100), "raw data"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom" + bytes(100), "raw data"),
    ],
)
def test_raw_files_of_cameras_are_refused_by_name(content, message):
    with pytest.raises(RunError, match=rf"^a\.img: .*{message}"):
        read(content)


def test_smaller_copies_in_sub_directories_are_left_out():
    content = raw({"photometric": "minisblack"}, CAMERA_TAGS, (12, 16))
    np.testing.assert_array_equal(read(content)[0].pixels, noise(3, rows=24, cols=32))

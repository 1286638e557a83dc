import itertools
import os
import threading
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from conftest import full_disk, synthetic_image
from image_files import GREY, SRGB, exif, exif_tags, noise, read, row_stream, smooth, write
from PIL import Image, JpegImagePlugin

from srcnn_tf.errors import RunError
from srcnn_tf.images.formats.registry import OUTPUT_EXTENSIONS
from srcnn_tf.images.page import Page, RowStream, as_array
from srcnn_tf.images.reader import ImageReader
from srcnn_tf.images.writer import ImageWriter
from srcnn_tf.system.threads import map_in_threads

DETAILS = {0xA002: 7, 0xA003: 9, 0x829A: 0.004, 0xA432: (24.0, 70.0, 2.8, 4.0)}
GPS = {1: "N", 2: (52.0, 30.0, 15.5)}
SHAPES = [(1, 1), (1, 1, 2), (1, 1, 3), (1, 1, 4), (3, 3, 3), (1, 300), (300, 1, 4), (40, 50), (40, 50, 2), (40, 50, 3)]


def all_at_once(pixels):
    return pixels


@pytest.mark.parametrize("given", [all_at_once, row_stream])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("extension", [".png", ".tif", ".TIFF", ".bmp"])
def test_lossless_formats_keep_every_bit(shape, dtype, extension, given, monkeypatch):
    monkeypatch.setattr("srcnn_tf.images.page.BAND_BYTES", 1000)
    if extension == ".bmp" and (dtype == np.uint16 or shape[2:] in ((2,), (4,))):
        return
    pixels = np.random.default_rng(0).integers(0, np.iinfo(dtype).max + 1, shape).astype(dtype)
    if shape[0] > 1:
        pixels = np.repeat(pixels, 2, axis=1)[::-1, ::2]  # a view
    assert write(f"a{extension}", given(pixels)) == []
    page, warnings = read(f"a{extension}")
    np.testing.assert_array_equal(page.pixels, pixels)
    assert (page.pixels.dtype, warnings, os.listdir()) == (dtype, [], [f"a{extension}"])
    if dtype == np.uint8:
        with Image.open(f"a{extension}") as image:
            np.testing.assert_array_equal(np.asarray(image), pixels)
    elif extension == ".png":
        content = Path("a.png").read_bytes()
        assert content[24:26] == bytes([16, {1: 0, 2: 4, 3: 2, 4: 6}[(*shape, 1)[2]]])
        np.testing.assert_array_equal(imagecodecs.png_decode(content), pixels)
    else:
        np.testing.assert_array_equal(tifffile.imread(f"a{extension}").ravel(), pixels.ravel())


@pytest.mark.parametrize("given", [all_at_once, row_stream])
@pytest.mark.parametrize(
    ("extension", "channels"),
    [*itertools.product([".jpg", ".JPEG"], [1, 3]), *itertools.product([".webp", ".avif"], [1, 2, 3, 4])],
)
def test_lossy_formats_keep_images_nearly_and_alpha_exactly(extension, channels, given):
    expected = smooth(channels)
    write(f"a{extension}", given(expected))
    page, _ = read(f"a{extension}")
    if (extension, channels) in ((".webp", 1), (".webp", 2), (".avif", 2)):  # there is no such grey
        grey = expected if channels == 1 else expected[..., 0]
        expected = np.dstack([grey, grey, grey, *([expected[..., 1]] if channels == 2 else [])])
    assert page.pixels.shape == expected.shape
    assert np.abs(page.pixels.astype(int) - expected).max() <= 8
    if channels in (2, 4):
        np.testing.assert_allclose(page.pixels[..., 3], expected[..., 3], rtol=0, atol=1 if extension == ".avif" else 0)
    with Image.open(f"a{extension}") as image:
        assert image.format == {".webp": "WEBP", ".avif": "AVIF"}.get(extension, "JPEG")


@pytest.mark.parametrize("extension", [".jpg", ".webp"])
def test_quality_is_what_is_asked_for(extension):
    sizes = []
    for options in ({"quality": 10}, {"quality": 60}, {"quality": 95}, {"quality": 100}, {}):
        write(f"a{extension}", synthetic_image(100, 100), **options)
        sizes.append(Path(f"a{extension}").stat().st_size)
    assert sizes[:4] == sorted(set(sizes[:4]))
    assert sizes[4] == sizes[2]
    for quality, sampling in ((95, 0), (90, 0), (89, 2), (10, 2)):
        write("a.jpg", synthetic_image(20, 20), quality=quality)
        with Image.open("a.jpg") as image:
            assert JpegImagePlugin.get_sampling(image) == sampling


@pytest.mark.parametrize(
    ("shape", "dtype", "name", "message"),
    [
        ((4, 5, 4), np.uint8, "a.jpg", "JPEG holds no transparency, and the image has it; use the extension .png or"),
        ((4, 5, 2), np.uint8, "a.bmp", "BMP holds no transparency"),
        ((4, 5), np.uint16, "a.jpg", "JPEG holds 8 bits, and the image has 16; use the extension .png or .tif"),
        ((4, 5, 3), np.uint16, "a.webp", "WebP holds 8 bits"),
        ((4, 5, 3), np.uint16, "a.bmp", "BMP holds 8 bits"),
        ((16_384, 1, 3), np.uint8, "a.webp", "WebP holds up to 16383 rows and columns, and the image has 16384 and 1"),
        ((1, 65_501), np.uint8, "a.jpeg", "JPEG holds up to 65500"),
        (
            (4, 5),
            np.uint8,
            "a.gif",
            "no image format to write has this extension; use one of .apng, .avif, .bmp",
        ),
        ((4, 5), np.uint8, "a", "no image format to write has this extension"),
    ],
)
def test_what_a_format_cannot_hold_is_refused_before_anything_is_written(shape, dtype, name, message):
    with ImageWriter(f"out/{name}") as writer:
        for refused in (lambda: writer.check(shape, dtype), lambda: writer.write(Page(np.zeros(shape, dtype)))):
            with pytest.raises(RunError, match=f"^out/{name}: ") as error:
                refused()
            assert message in str(error.value)
    assert os.listdir() == []


def test_several_pages_are_for_tiff_only_and_written_one_at_a_time():
    pages = [noise(1), noise(4, np.uint16, 100, 100), noise(3, rows=100)]
    with pytest.raises(RunError, match=r"a\.png: PNG holds one page, and there are 3; use the extension \.tif"):
        write("a.png", *pages)

    with pytest.raises(RunError, match=r"b\.png: PNG holds one page, and there are 2"), ImageWriter("b.png") as writer:
        list(map(writer.write, [Page(pages[0])] * 2))
    assert os.listdir() == []
    sizes = []
    with ImageWriter("a.tif", len(pages)) as writer:
        for page in pages:
            writer.write(Page(page))
            sizes.append(next(Path().glob(".writing-*.tif")).stat().st_size)
    assert sizes[0] < 10_000 < 80_000 < sizes[1] < sizes[2]
    assert os.listdir() == ["a.tif"]
    with ImageReader("a.tif", 10**6) as reader:
        for stored, page in zip(reader, pages, strict=True):
            np.testing.assert_array_equal(as_array(stored.pixels), page)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(("channels", "profile"), [(1, GREY), (3, SRGB)])
@pytest.mark.parametrize("extension", [".png", ".jpg", ".webp", ".tif"])
def test_metadata_is_kept(extension, channels, profile, dtype):
    if dtype == np.uint16 and extension in (".jpg", ".webp"):
        return
    artist = "M\u00e4ker".encode()  # as many cameras do, though EXIF knows ASCII only
    stored = exif({0x0112: 6, 0x013B: artist}, DETAILS, GPS)
    warnings = write(f"a{extension}", Page(smooth(channels).astype(dtype), profile, stored, (300.0, 150.0)))
    page, found_warnings = read(f"a{extension}")
    main, details, gps = exif_tags(page.exif)
    assert main.pop(0x0112, 1) == 1
    assert main == {0x010F: "A maker", 0x013B: artist.decode("latin-1")}
    assert details == {0x9003: "2020:02:02 02:02:02"} | DETAILS | {0xA002: 50, 0xA003: 40}  # the image's own size
    assert (gps, found_warnings) == (GPS, [])
    if extension == ".webp":
        assert "WebP holds no resolution: left out" in warnings
        assert page.icc_profile == (SRGB if channels == 3 else None)  # its grey is RGB
    else:
        assert (warnings, page.icc_profile) == ([], profile)
        assert page.dpi == pytest.approx((300, 150), abs=0.02)
    with Image.open(f"a{extension}") as image:  # as others read it
        assert image.info.get("icc_profile") == page.icc_profile
        assert image.info.get("dpi", (300, 150)) == pytest.approx((300, 150), abs=0.02)
        assert image.getexif()[0x010F] == "A maker"
        assert image.getexif().get_ifd(0x8825) == GPS
        image.load()


@pytest.mark.parametrize("big", [False, True])
def test_metadata_of_each_page_is_kept_in_small_and_big_tiff(big, monkeypatch):
    # More than 4 GB of pixels.
    monkeypatch.setattr("srcnn_tf.images.formats.tiff.MAX_CLASSIC_TIFF", 0 if big else 2**32)
    page = Page(noise(3, np.uint16), SRGB, exif({0x010E: "Words"}, DETAILS, GPS), (300.0, 150.0))
    write("a.tif", page, page)
    assert Path("a.tif").read_bytes()[:4] == (b"II+\0" if big else b"II*\0")
    with Image.open("a.tif") as image:
        for number in range(2):
            image.seek(number)
            assert (image.info["icc_profile"], image.info["dpi"]) == (SRGB, (300, 150))
            assert image.getexif()[0x010E] == "Words"
            assert image.getexif().get_ifd(0x8769)[0x829A] == 0.004
            assert image.getexif().get_ifd(0x8825) == GPS
    with tifffile.TiffFile("a.tif") as file:
        assert [(stored.compression, stored.predictor) for stored in file.pages] == [(8, 2), (8, 2)]


def test_large_profiles_are_kept_and_large_exif_data_is_left_out_of_jpeg():
    profile = SRGB + np.random.default_rng(0).bytes(2_000_000)
    for extension in ("jpg", "png", "webp", "tif"):
        write(f"a.{extension}", Page(smooth(3), profile))
        assert read(f"a.{extension}")[0].icc_profile == profile
    warnings = write("a.jpg", Page(smooth(3), exif=exif({0x010E: "x" * 70_000}), dpi=(1e5, 1e5)))
    assert warnings == ["its EXIF data is larger than JPEG holds (64 kB), and left out"]
    page, _ = read("a.jpg")
    assert (page.exif, page.dpi) == (None, None)


def test_what_bmp_does_not_hold_is_left_out_with_a_warning():
    warnings = write("a.bmp", Page(smooth(3), SRGB, exif(), (300.0, 150.0)))
    assert warnings == ["BMP holds no colour profile: left out", "BMP holds no EXIF data: left out"]
    assert read("a.bmp")[0].dpi == pytest.approx((300, 150), abs=0.02)


@pytest.mark.parametrize(
    "data", [b"", b"nothing", b"Exif\0\0II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\xff\xff", exif()[:20], exif()[:-30]]
)
@pytest.mark.parametrize("extension", ["png", "jpg", "webp", "tif"])
def test_damaged_exif_data_is_left_out_with_a_warning(data, extension):
    warnings = write(f"a.{extension}", Page(smooth(3), exif=data))
    assert warnings in ([], ["some or all of its EXIF data is damaged and left out"])
    page, found_warnings = read(f"a.{extension}")
    assert found_warnings == []
    if page.exif:
        assert set(exif_tags(page.exif)[0].items()) <= {(0x010F, "A maker")}
    else:
        assert warnings


def test_a_damaged_tag_is_left_out_alone():
    resolution = b"\x1a\x01\x02\x00\x08\x00\x00\x00"  # a text, where a fraction belongs
    data = exif({0x011A: 300.0}).replace(b"\x1a\x01\x05\x00\x01\x00\x00\x00", resolution)
    assert resolution in data
    assert write("a.jpg", Page(smooth(3), exif=data)) == ["some or all of its EXIF data is damaged and left out"]
    assert exif_tags(read("a.jpg")[0].exif)[0] == {0x010F: "A maker"}


@pytest.mark.parametrize("given", [all_at_once, row_stream])
@pytest.mark.parametrize("missing", [1, 1000, None])
@pytest.mark.parametrize("extension", sorted(OUTPUT_EXTENSIONS - {".dcm"}))
def test_a_full_disk_leaves_nothing_behind(extension, missing, given, monkeypatch):
    monkeypatch.setattr("srcnn_tf.images.page.BAND_BYTES", 5000)
    write(f"c{extension}", noise(3, rows=300))
    size = Path(f"c{extension}").stat().st_size
    Path(f"c{extension}").unlink()
    Path(f"b{extension}").write_bytes(b"what was there")
    threads = threading.active_count()
    for name in ("a", "b"):
        message = rf"{name}\{extension}: cannot be written \(File too large\)"
        with full_disk(size - (missing or size)), pytest.raises(RunError, match=message):
            write(f"{name}{extension}", given(noise(3, rows=300)))
    assert threading.active_count() == threads
    assert os.listdir() == [f"b{extension}"]
    assert Path(f"b{extension}").read_bytes() == b"what was there"


@pytest.mark.parametrize("error", [RunError("a strip is damaged"), MemoryError(), KeyboardInterrupt()], ids=repr)
@pytest.mark.parametrize("extension", sorted(OUTPUT_EXTENSIONS - {".dcm"}))
def test_an_error_while_rows_are_computed_comes_through_and_leaves_nothing_behind(extension, error, monkeypatch):
    monkeypatch.setattr("srcnn_tf.images.page.BAND_BYTES", 1000)

    def compute(number):
        if number == 25:
            raise error
        return noise(3, rows=10)

    threads = threading.active_count()
    rows = RowStream((300, 50, 3), np.uint8, map_in_threads(compute, range(30), 3))
    with pytest.raises(type(error)) as raised:
        write(f"new/a{extension}", rows)
    assert raised.value is error
    assert threading.active_count() == threads
    assert os.listdir("new") == []


def test_an_exception_between_pages_leaves_nothing_behind():
    def pages(error):
        yield Page(noise(3))
        raise error

    for error in (RunError("the second page is damaged"), KeyboardInterrupt()):
        with pytest.raises(type(error)), ImageWriter("new/a.tif", 2) as writer:
            list(map(writer.write, pages(error)))
    assert os.listdir("new") == []


@pytest.mark.parametrize(
    ("extension", "name"), [(".webp", "WebP"), (".jpg", "JPEG"), (".png", "PNG"), (".bmp", "BMP"), (".tif", "TIFF")]
)
def test_what_an_encoder_refuses_is_reported(extension, name, monkeypatch):
    def refuse(*_, **__):
        raise RuntimeError("encoding\nerror 6")

    for encoder in ("jpeg8_encode", "png_encode", "deflate_encode"):
        monkeypatch.setattr(imagecodecs, encoder, refuse)
    monkeypatch.setattr(Image.Image, "save", refuse)
    with pytest.raises(RunError, match=rf"a\{extension}: cannot be written as {name} \(encoding error 6\); use the ex"):
        write(f"a{extension}", noise(3))
    assert os.listdir() == []

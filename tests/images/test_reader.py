"""All formats but TIFF, and what is common to all."""

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from conftest import as_stored, synthetic_image
from image_files import GREY, SRGB, chunk, cmyk_profile, encoded, exif, exif_tags, noise, png, read, smooth, write
from PIL import Image, ImageFile

from srcnn_tf.errors import RunError
from srcnn_tf.images.decode import AVIF
from srcnn_tf.images.page import RowStream
from srcnn_tf.images.reader import ImageReader

FORMATS = ["PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", *(["AVIF"] if AVIF else [])]
CAMERA = exif({0x0110: "A camera", 0x0112: 6}, {0xA002: 56, 0xA003: 40})
PROFILE_LEFT_OUT = "its colour profile is damaged or for another kind of image, and left out"


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
def test_every_kind_of_png_is_read_with_all_its_bits(depth, color, channels, interlaced):
    samples = sampled(depth, channels)
    expected = samples * (255 // (2**depth - 1)) if depth < 8 else samples
    page, messages = read(png(samples, depth, color, interlaced=interlaced))
    np.testing.assert_array_equal(page.pixels, expected)
    assert (page.pixels.dtype, messages) == (np.uint16 if depth == 16 else np.uint8, [])
    if color in (0, 2):  # a transparent grey or colour
        key = samples[3, 4]
        before = chunk(b"tRNS", np.atleast_1d(key).astype(">u2").tobytes())
        page, _ = read(png(samples, depth, color, before, interlaced=interlaced))
        opaque = (samples != key) if channels == 1 else (samples != key).any(2)
        np.testing.assert_array_equal(page.pixels, np.dstack([expected, opaque * np.iinfo(page.pixels.dtype).max]))


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
@pytest.mark.parametrize("alphas", [b"", b"\0", b"\x80\x05"])
def test_a_png_palette_becomes_its_colours(depth, alphas):
    samples = sampled(depth, 1) % 10
    palette = np.random.default_rng(1).integers(0, 256, (10, 3)).astype(np.uint8)
    page, _ = read(png(samples, depth, 3, chunk(b"PLTE", palette.tobytes()) + (chunk(b"tRNS", alphas) * bool(alphas))))
    expected = palette[samples]
    if alphas:
        expected = np.dstack([expected, np.frombuffer(alphas.ljust(10, b"\xff"), np.uint8)[samples]])
    np.testing.assert_array_equal(page.pixels, expected)


@pytest.mark.parametrize("format_name", ["PNG", "BMP", "GIF", "TIFF"])
@pytest.mark.parametrize("mode", ["P", "1"])
def test_palettes_and_one_bit_are_read_as_pillow_reads_them(mode, format_name):
    image = Image.fromarray(synthetic_image(20, 30))
    image = image.quantize(7) if mode == "P" else image.convert("1")
    page, _ = read(encoded(image, format_name))
    if (mode, format_name) != ("1", "GIF"):  # a palette, too
        np.testing.assert_array_equal(page.pixels, np.asarray(image.convert("RGB" if mode == "P" else "L")))
    if mode == "P" and format_name in ("PNG", "GIF"):
        page, _ = read(encoded(image, format_name, transparency=3))
        opaque = np.asarray(image) != 3
        np.testing.assert_array_equal(page.pixels[..., 3], opaque * 255)
        np.testing.assert_array_equal(page.pixels[opaque][:, :3], np.asarray(image.convert("RGB"))[opaque])


@pytest.mark.parametrize("format_name", ["JPEG", "TIFF"])
def test_cmyk_becomes_rgb_by_its_profile(format_name):
    image = Image.new("CMYK", (32, 16))
    image.paste((0, 0, 0, 255), (16, 0, 32, 16))
    page, messages = read(encoded(image, format_name, icc_profile=cmyk_profile(0, 255)))
    assert page.pixels[8, 8].tolist() == [0, 0, 0]
    assert page.pixels[8, 24].tolist() == [255, 255, 255]
    assert (page.icc_profile, messages) == (None, [])
    for profile in (None, b"nonsense"):
        content = encoded(Image.fromarray(smooth(3)).convert("CMYK"), format_name, icc_profile=profile)
        page, messages = read(content)
        with Image.open("a.img") as image:
            np.testing.assert_array_equal(page.pixels, np.asarray(image.convert("RGB")))
        assert (page.icc_profile, messages) == (None, ["its CMYK profile is damaged and not used"] if profile else [])


@pytest.mark.parametrize("format_name", ["GIF", "WEBP", "PNG", "MPO"])
def test_of_an_animation_the_first_frame_is_read(format_name):
    frames = [Image.fromarray(np.full((20, 30, 3), value, np.uint8)) for value in (0, 100, 200)]
    page, messages = read(encoded(frames[0], format_name, save_all=True, append_images=frames[1:]))
    assert page.pixels.max() == 0
    advice = "; upscaling with --output=NAME.mp4 makes a video of all" if format_name != "MPO" else ""
    assert messages == [f"only the first of 3 frames is read{advice}"]


@pytest.mark.parametrize("format_name", FORMATS)
def test_the_content_decides_and_not_the_name(format_name):
    for name in ("a.jpg", "a.tif", "a.txt", "a b\n\u00e9", "a"):
        Path(name).write_bytes(encoded(Image.fromarray(smooth(1)), format_name))
        page, messages = read(name)
        assert (page.pixels.shape[:2], messages) == ((40, 50), [])


@pytest.mark.skipif(not AVIF, reason="Pillow was built without AVIF")
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_avif_is_read_with_its_metadata(channels):
    options = {"icc_profile": SRGB, "exif": exif({0x0112: 6}), "quality": 100, "subsampling": "4:4:4"}
    page, messages = read(encoded(Image.fromarray(smooth(channels)), "AVIF", **options))
    expected = np.rot90(np.dstack([smooth(channels)] * 3) if channels == 1 else smooth(channels), -1)
    assert np.abs(page.pixels[..., :3].astype(int) - expected[..., :3]).max() <= 8
    assert page.pixels.shape == expected.shape
    assert (page.icc_profile, exif_tags(page.exif)[0][0x010F], messages) == (SRGB, "A maker", [])


def heic(pixels, **options):
    """A HEIC file, by the library that reads it too."""
    path = Path("made.heic")
    pillow_heif.from_pillow(Image.fromarray(pixels)).save(path, **options)
    return path.read_bytes()


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_heic_is_read_with_its_metadata(channels):
    content = heic(smooth(channels), quality=100, chroma=444, exif=exif({0x0112: 1}))
    page, messages = read(content)
    expected = smooth(channels)
    assert page.pixels.shape == expected.shape
    assert np.abs(page.pixels.astype(int) - expected).max() <= 8
    assert (exif_tags(page.exif)[0][0x010F], messages) == ("A maker", [])


def test_without_its_library_heic_is_an_error_that_names_it(monkeypatch):
    content = heic(smooth(3))
    monkeypatch.setattr("srcnn_tf.images.decode.HEIC", False)
    with pytest.raises(RunError, match=r"pip install 'srcnn_tf\[heic\]'"):
        read(content)


@pytest.mark.parametrize("endian", ["<", ">"])
@pytest.mark.parametrize("format_name", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("orientation", range(10))
def test_the_orientation_is_applied_once(format_name, orientation, endian):
    upright = np.repeat(np.repeat(noise(3, rows=4, cols=6), 16, 0), 16, 1)  # blocks, which JPEG keeps nearly
    stored = Image.fromarray(as_stored(upright, orientation if orientation in range(1, 9) else 1))
    options = {"lossless": True} if format_name == "WEBP" else {"quality": 98, "subsampling": 0, "dpi": (300, 100)}
    page, _ = read(encoded(stored, format_name, exif=exif({0x0112: orientation}, endian=endian), **options))
    np.testing.assert_allclose(page.pixels.astype(int), upright, atol=12 if format_name == "JPEG" else 0)
    if format_name != "WEBP":
        assert page.dpi == ((100, 300) if orientation in (5, 6, 7, 8) else (300, 100))
    write("b.png", page)
    again, _ = read("b.png")
    np.testing.assert_array_equal(again.pixels, page.pixels)
    assert exif_tags(again.exif)[0][0x0112] == 1


@pytest.mark.parametrize("format_name", [name for name in FORMATS if name != "TIFF"])
def test_no_pixel_is_decoded_before_the_first_page_is_asked_for(format_name, monkeypatch):
    Path("a.img").write_bytes(encoded(Image.fromarray(synthetic_image(20, 30)), format_name))
    decoded = []
    load = ImageFile.ImageFile.load
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda image: decoded.append(image) or load(image))
    with ImageReader("a.img", 10**6) as reader:
        assert (reader.kinds[0].shape, decoded) == ((20, 30, 3), [])
        next(iter(reader))
        assert decoded != []


@pytest.mark.parametrize("after", [False, True])
def test_metadata_of_png_is_read_before_and_after_the_pixels(after):
    metadata = chunk(b"eXIf", exif({0x0112: 3})[6:])
    head = chunk(b"iCCP", b"name\0\0" + zlib.compress(SRGB)) + chunk(b"pHYs", struct.pack(">IIB", 11811, 5906, 1))
    samples = sampled(16, 3)
    parts = (head, metadata) if after else (head + metadata,)
    page, messages = read(png(samples, 16, 2, *parts))
    np.testing.assert_array_equal(page.pixels, samples[::-1, ::-1])
    assert (page.icc_profile, page.dpi, messages) == (SRGB, (300.0, 150.01), [])
    assert exif_tags(page.exif)[0][0x010F] == "A maker"


@pytest.mark.parametrize(
    ("tags", "options", "dpi"),
    [
        ({}, {}, None),
        ({}, {"dpi": (300, 150)}, (300, 150)),
        ({0x011A: 240.0, 0x011B: 120.0, 0x0128: 2}, {}, (240, 120)),
        ({0x011A: 100.0, 0x011B: 100.0, 0x0128: 3}, {}, (254, 254)),
        ({0x011A: 240.0, 0x011B: 120.0, 0x0128: 1}, {}, None),
        ({0x011A: 0.0, 0x011B: 120.0, 0x0128: 2}, {}, None),
        ({0x011A: 240.0, 0x0128: 2}, {}, None),
    ],
)
@pytest.mark.parametrize("format_name", ["JPEG", "PNG"])
def test_a_resolution_is_the_formats_or_that_of_the_exif_data(tags, options, dpi, format_name):
    page, _ = read(encoded(Image.fromarray(smooth(3)), format_name, exif=exif(tags), **options))
    assert page.dpi == (dpi and pytest.approx(dpi, abs=0.02))


@pytest.mark.parametrize("profile", [GREY, b"nonsense", SRGB[:100], SRGB[:300]])
@pytest.mark.parametrize("format_name", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_a_profile_that_is_not_for_the_image_is_left_out_with_a_warning(format_name, profile):
    page, messages = read(encoded(Image.fromarray(smooth(3)), format_name, icc_profile=profile))
    assert (page.icc_profile, messages) == (None, [PROFILE_LEFT_OUT])


@pytest.mark.parametrize(
    ("extra", "messages"),
    [
        (chunk(b"pHYs", struct.pack(">IIB", 3, 2, 0)), []),  # a ratio, not a length
        (chunk(b"eXIf", b"nonsense"), []),  # the writer says so
        (chunk(b"iCCP", b"name\0\0" + zlib.compress(SRGB)[:300]), [PROFILE_LEFT_OUT]),
        (chunk(b"iCCP", b"name\0\0nonsense"), [PROFILE_LEFT_OUT]),
        (chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(2**22))), []),
    ],
)
@pytest.mark.parametrize("depth", [8, 16])
def test_damaged_metadata_does_not_cost_the_pixels(extra, messages, depth, capfd):
    samples = sampled(depth, 3)
    page, warnings = read(png(samples, depth, 2, extra))
    np.testing.assert_array_equal(page.pixels, samples)
    assert (page.icc_profile, page.dpi, warnings) == (None, None, messages)
    assert capfd.readouterr() == ("", "")


def webp(cols, rows):
    """A lossless file of one colour, which declares this size."""
    content = encoded(Image.new("RGB", (50, 40)), "WEBP", lossless=True)
    return content[:21] + struct.pack("<I", cols - 1 | (rows - 1) << 14) + content[25:]


def with_size(format_name, code, old, new):
    """A small file in whose header the size is another."""
    content = encoded(Image.fromarray(smooth(3, 40, 57)), format_name)
    assert struct.pack(code, *old) in content
    return content.replace(struct.pack(code, *old), struct.pack(code, *new), 1)


GIGANTIC = [
    png(sampled(8, 3), 8, 2, size=(30_000, 30_000)),
    png(sampled(16, 3), 16, 2, size=(2**31 - 1, 2**31 - 1)),
    webp(16_000, 16_000),
    with_size("JPEG", ">HH", (40, 57), (60_000, 60_000)),
    with_size("BMP", "<II", (57, 40), (2**30, 2**30)),
    with_size("GIF", "<HH", (57, 40), (65_000, 65_000)),
    with_size("TIFF", "<HHII", (257, 4, 1, 40), (257, 4, 1, 2**32 - 1)),
    *([with_size("AVIF", ">II", (57, 40), (16_000, 16_000))] if AVIF else []),
]


@pytest.mark.linux
@pytest.mark.parametrize("content", GIGANTIC)
def test_a_gigantic_declared_size_is_refused_before_anything_is_allocated(content, capfd):
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    message = r"declares \d+ x \d+ pixels \([\d,]+\.\d megapixels\); at most 1\.0 megapixels are read\. Allow"
    with pytest.raises(RunError, match=rf"^a\.img: {message}"):
        read(content)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kilobytes
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("format_name", FORMATS)
def test_the_limit_is_the_callers_and_not_pillows(format_name, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    Path("a.img").write_bytes(encoded(Image.fromarray(smooth(3)), format_name))
    assert read("a.img", 40 * 50)[0].pixels.shape == (40, 50, 3)
    with pytest.raises(RunError, match="declares 50 x 40 pixels"):
        read("a.img", 40 * 50 - 1)
    assert Image.MAX_IMAGE_PIXELS == 100


def test_very_long_images_and_very_large_files_are_refused():
    with pytest.raises(RunError, match=r"declares 200001 x 1 pixels; at most 200,000 rows and columns are read\. Cut"):
        read(png(np.zeros((1, 200_001), int), 1, 0))
    with open("a.webp", "wb") as file:
        file.write(webp(50, 40))
        file.truncate(2**31)  # sparse: takes no space on the disk
    with pytest.raises(RunError, match=r"a file of 2\.1 GB is too large"):
        read("a.webp")


@pytest.mark.parametrize("part", [0, 0.02, 0.3, 0.6, 0.95])
@pytest.mark.parametrize("format_name", FORMATS)
def test_a_file_that_ends_early_is_an_error(format_name, part, capfd):
    options = {"compression": "tiff_lzw"} if format_name == "TIFF" else {}
    content = encoded(Image.fromarray(synthetic_image(40, 50)), format_name, **options)
    with pytest.raises(RunError, match=r"^a\.img: cannot be read as an image \([^\n]+\); replace or remove it\.$"):
        read(content[: int(len(content) * part)])
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("damage", ["bit", "end", "no data", "bad filter", "no palette", "bad transparency", "bomb"])
def test_a_damaged_png_is_an_error(damage, depth):
    samples = sampled(depth, 3)
    content = png(samples, depth, 2)
    index = content.index(b"IDAT") + 50
    content = {
        "bit": content[:index] + bytes([content[index] ^ 4]) + content[index + 1 :],
        "end": content[:-22],
        "no data": png(samples, depth, 2, data=bytes(100)),
        "bad filter": png(samples, depth, 2, data=b"\x07" * (11 * (13 * 3 * depth // 8 + 1))),
        "no palette": png(sampled(8, 1), 8, 3),
        "bad transparency": png(samples, depth, 2, chunk(b"tRNS", b"\0\1")),
        "bomb": png(samples, depth, 2, chunk(b"iCCP", b"name\0\0" + zlib.compress(bytes(2**24 + 1)))),
    }[damage]
    with pytest.raises(RunError, match=r"^a\.img: cannot be read as an image \([^\n]*\); replace or remove it\.$"):
        read(content)


@pytest.mark.linux
def test_what_is_no_image_or_no_file_is_an_error():
    for content in (b"\n", b"no image", bytes(1000), b"%!PS-Adobe-3.0 EPSF-3.0\n"):
        with pytest.raises(RunError, match=r"a\.img: cannot be read as an image \(not (AVIF, )?BMP, GIF"):
            read(content)
    os.mkfifo("pipe")
    os.mkdir("folder")
    os.symlink("loop", "loop")
    Path("empty").touch()
    for name, reason in {
        "pipe": "it is not a file",
        "folder": "it is not a file",
        "loop": "Too many levels of symbolic links",
        "nowhere": "No such file or directory",
        "empty": "it is empty",
    }.items():
        with pytest.raises(RunError, match=rf"^{name}: cannot be read as an image \({reason}\)"):
            read(name)


def test_rows_that_are_computed_end_with_the_last_one():
    # And are not closed before: an exception in a generator that is being closed may be ignored, such as Ctrl-C.
    ended = []

    def blocks():
        yield np.zeros((3, 2), np.uint8)
        ended.append(True)

    assert RowStream((3, 2), np.uint8, blocks())[:3].shape == (3, 2)
    assert ended


@pytest.mark.parametrize("quality", [20, 50, 75, 90, 95, 98])
@pytest.mark.parametrize(
    "options",
    [{"subsampling": "4:4:4"}, {"subsampling": "4:2:0"}, {"progressive": True}, {"optimize": True}, {"exif": CAMERA}],
    ids=repr,
)
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_the_quality_of_jpeg_files_is_estimated(mode, quality, options):
    Image.fromarray(synthetic_image(40, 56)).convert(mode).save("a.jpg", quality=quality, **options)
    assert read("a.jpg")[0].jpeg_quality == pytest.approx(quality, abs=0.5)


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("a.webp", {"quality": 0}, 99 - 0.39 * 127),
        ("a.webp", {"quality": 100}, 99),
        ("a.webp", {"quality": 90, "icc_profile": SRGB, "exif": CAMERA}, 99 - 0.39 * 9.1),
        ("a.webp", {"quality": 75, "save_all": True, "append_images": [Image.new("RGB", (56, 40))]}, 99 - 0.39 * 26.2),
        ("a.webp", {"lossless": True}, None),
        ("a.webp", {"lossless": True, "icc_profile": SRGB}, None),
        ("a.png", {}, None),
        ("a.tif", {}, None),
        ("a.tif", {"compression": "jpeg", "quality": 50}, None),
        ("a.bmp", {}, None),
        ("a.gif", {}, None),
    ],
)
def test_of_other_files_only_lossy_webp_has_a_quality(name, options, expected):
    Image.fromarray(synthetic_image(40, 56)).save(name, **options)
    """Expected of libwebp's `quality`: its formula for the quantizer, which it varies by segments of the image."""
    assert read(name)[0].jpeg_quality == (None if expected is None else pytest.approx(expected, abs=2))

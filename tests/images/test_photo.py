import io
import os
import random
import re
import resource
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from conftest import drawn
from PIL import Image, ImageCms

from srcnn_tf.errors import RunError
from srcnn_tf.images import photo
from srcnn_tf.images.photo import Photo, check_format, read_photo, write_photo
from srcnn_tf.images.pixels import turned

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
GREY = SRGB[:16] + b"GRAY" + SRGB[20:]
CHANNELS = {"grey": 1, "grey and alpha": 2, "RGB": 3, "RGBA": 4}


def read(path, most_pixels=10**6):
    pages, notices = read_photo(path, most_pixels)
    pages = list(pages)
    assert len(pages) == 1
    return pages[0], notices


def sampled(channels, kind=np.uint8, rows=40, cols=50):
    shape = (rows, cols) if channels == 1 else (rows, cols, channels)
    return np.random.default_rng(channels).integers(0, np.iinfo(kind).max + 1, shape).astype(kind)


def smooth(channels, rows=40, cols=50):
    """A picture that a lossy format changes little."""
    row, col = np.mgrid[:rows, :cols]
    pixels = np.dstack([row * 3 + col, 200 - row - col, 2 * col + 30, 255 - row])[..., :channels].astype(np.uint8)
    return pixels[..., 0] if channels == 1 else pixels


def exif_block(orientation=None, **sizes):
    exif = Image.Exif()
    exif[0x010F] = "A maker"
    if orientation is not None:
        exif[0x0112] = orientation
    exif.get_ifd(0x8769)[0x9003] = "2020:02:02 02:02:02"
    exif.get_ifd(0x8769).update({int(tag[1:], 16): size for tag, size in sizes.items()})
    return exif.tobytes()[6:]


# --- every kind in every format -------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("ending", [".png", ".tif", ".tiff", ".TIF", ".PNG"])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_lossless_formats_keep_every_kind_and_every_bit(channels, ending, kind):
    pixels = sampled(channels, kind)
    assert write_photo([Photo(pixels)], f"a{ending}") == []
    found, notices = read(f"a{ending}")
    np.testing.assert_array_equal(found.pixels, pixels)
    assert (found.pixels.dtype, notices) == (kind, [])
    assert os.listdir() == [f"a{ending}"]


@pytest.mark.parametrize("channels", [1, 3])
def test_bmp_keeps_grey_and_rgb(channels):
    write_photo([Photo(sampled(channels), resolution=(300.0, 150.0))], "a.bmp")
    found, _ = read("a.bmp")
    np.testing.assert_array_equal(found.pixels, sampled(channels))
    assert found.resolution == pytest.approx((300, 150), abs=0.02)


@pytest.mark.parametrize("ending", [".jpg", ".jpeg", ".JPG"])
@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_keeps_grey_and_rgb_nearly(channels, ending):
    write_photo([Photo(smooth(channels))], f"a{ending}")
    found, _ = read(f"a{ending}")
    assert found.pixels.shape == smooth(channels).shape
    assert np.abs(found.pixels.astype(int) - smooth(channels)).max() <= 3
    with Image.open(f"a{ending}") as picture:
        assert picture.format == "JPEG"


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_webp_keeps_all_nearly_but_has_no_grey(channels):
    write_photo([Photo(smooth(channels))], "a.webp")
    found, _ = read("a.webp")
    expected = smooth(channels)
    if channels < 3:
        grey = expected if channels == 1 else expected[..., 0]
        expected = np.dstack([grey, grey, grey, *([expected[..., 1]] if channels == 2 else [])])
    assert found.pixels.shape == expected.shape
    assert np.abs(found.pixels.astype(int) - expected).max() <= 8
    if channels in (2, 4):
        np.testing.assert_array_equal(found.pixels[..., 3], expected[..., 3])


@pytest.mark.parametrize("ending", [".jpg", ".webp"])
def test_quality_is_what_is_asked_for(ending):
    sizes = []
    for quality in (10, 60, 95, 100):
        write_photo([Photo(drawn(100, 100))], f"a{ending}", quality)
        sizes.append(Path(f"a{ending}").stat().st_size)
    assert sizes == sorted(set(sizes))
    write_photo([Photo(drawn(100, 100))], f"a{ending}")
    assert Path(f"a{ending}").stat().st_size == sizes[2]


@pytest.mark.parametrize(("quality", "sampling"), [(95, 0), (90, 0), (89, 2), (10, 2)])
def test_good_jpeg_has_colour_at_full_resolution(quality, sampling):
    from PIL.JpegImagePlugin import get_sampling

    write_photo([Photo(drawn(20, 20))], "a.jpg", quality)
    with Image.open("a.jpg") as picture:
        assert get_sampling(picture) == sampling


def test_arrays_that_are_views_are_written_as_they_look():
    pixels = sampled(3)[::-1, ::2]
    for ending in ("png", "tif", "bmp"):
        write_photo([Photo(pixels)], f"a.{ending}")
        np.testing.assert_array_equal(read(f"a.{ending}")[0].pixels, pixels)


@pytest.mark.parametrize(
    ("shape", "kind", "name", "message"),
    [
        ((4, 5, 4), np.uint8, "a.jpg", "JPEG holds no transparency, and the picture has it; name a .png or a .tif"),
        ((4, 5, 2), np.uint8, "a.bmp", "BMP holds no transparency"),
        ((4, 5), np.uint16, "a.jpg", "JPEG holds 8 bits, and the picture has 16; name a .png or a .tif"),
        ((4, 5, 3), np.uint16, "a.webp", "WebP holds 8 bits"),
        ((4, 5, 3), np.uint16, "a.bmp", "BMP holds 8 bits"),
        (
            (16_384, 1, 3),
            np.uint8,
            "a.webp",
            "WebP holds up to 16383 rows and columns, and the picture has 16384 and 1",
        ),
        ((1, 65_501), np.uint8, "a.jpeg", "JPEG holds up to 65500"),
        ((4, 5), np.uint8, "a.gif", "its ending names no format that is written; name one of .bmp, .jpeg, .jpg, .png"),
        ((4, 5), np.uint8, "a", "its ending names no format"),
    ],
)
def test_what_a_format_cannot_hold_is_refused_before_anything_is_written(shape, kind, name, message):
    for refused in (
        lambda: check_format(f"out/{name}", shape, kind),
        lambda: write_photo([Photo(np.zeros(shape, kind))], f"out/{name}"),
    ):
        with pytest.raises(RunError, match=f"^out/{name}: ") as error:
            refused()
        assert message in str(error.value)
    assert os.listdir() == []


def test_several_pages_are_for_tiff_alone():
    pages = [Photo(sampled(1)), Photo(sampled(4, np.uint16))]
    assert check_format("a.tiff", (4, 5), pages=2) is None
    for given in (pages, iter(pages)):
        with pytest.raises(RunError, match=r"a\.png: PNG holds one page, and there are 2; name a \.tif"):
            write_photo(given, "a.png")
    assert os.listdir() == []
    write_photo(pages, "a.tif")
    for found, page in zip(read_photo("a.tif", 10**6)[0], pages, strict=True):
        np.testing.assert_array_equal(found.pixels, page.pixels)


def test_no_pages_are_no_picture():
    with pytest.raises(ValueError, match=r"a\.tif: no page to write"):
        write_photo([], "a.tif")


# --- what belongs to a picture --------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".png", ".jpg", ".webp", ".tif"])
@pytest.mark.parametrize(("channels", "profile"), [(1, GREY), (3, SRGB)])
def test_what_belongs_to_a_picture_is_kept_from_reading_to_writing(ending, channels, profile):
    stored = Photo(smooth(channels), profile, exif_block(xA002=7, xA003=9), (300.0, 150.0))
    notices = write_photo([stored], f"a{ending}")
    found, said = read(f"a{ending}")
    exif = Image.Exif()
    exif.load(found.exif)
    assert exif[0x010F] == "A maker"
    # The picture's own size, whatever was said.
    assert exif.get_ifd(0x8769) == {0x9003: "2020:02:02 02:02:02", 0xA002: 50, 0xA003: 40}
    assert said == []
    if ending == ".webp":
        assert "WebP holds no resolution: left out" in notices
        assert found.profile == (SRGB if channels == 3 else None)  # its grey is RGB
        return
    assert notices == []
    assert found.profile == profile
    assert found.resolution == pytest.approx((300, 150), abs=0.02)


def test_what_bmp_does_not_hold_is_said():
    notices = write_photo([Photo(smooth(3), SRGB, exif_block())], "a.bmp")
    assert notices == ["BMP holds no colour profile: left out", "BMP holds no EXIF data: left out"]


def test_large_profiles_are_written_to_jpeg_in_parts():
    profile = SRGB + np.random.default_rng(0).bytes(200_000)
    write_photo([Photo(smooth(3), profile)], "a.jpg")
    assert read("a.jpg")[0].profile == profile


def test_exif_data_too_large_for_jpeg_is_left_out_with_a_word():
    exif = Image.Exif()
    exif[0x010E] = "x" * 70_000
    notices = write_photo([Photo(smooth(3), exif=exif.tobytes()[6:])], "a.jpg")
    assert notices == ["its EXIF data is larger than JPEG holds (64 kB), and left out"]
    assert read("a.jpg")[0].exif is None


@pytest.mark.parametrize("ending", ["png", "jpg", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_turned_once(ending, orientation):
    stored = Image.fromarray(smooth(3, 32, 48))
    exif = Image.Exif()
    exif.load(exif_block(orientation))
    stored.save(f"a.{ending}", exif=exif.tobytes(), quality=98)
    with Image.open(f"a.{ending}") as picture:
        from PIL import ImageOps

        expected = np.asarray(ImageOps.exif_transpose(picture))
    found, _ = read(f"a.{ending}")
    np.testing.assert_array_equal(found.pixels, expected)
    exif.load(found.exif)
    assert exif[0x0112] == 1
    write_photo([found], "b.png")
    np.testing.assert_array_equal(read("b.png")[0].pixels, expected)


def test_a_resolution_turns_with_the_picture():
    exif = Image.Exif()
    exif.load(exif_block(6))
    Image.fromarray(smooth(3)).save("a.png", exif=exif.tobytes(), dpi=(300, 100))
    assert read("a.png")[0].resolution == pytest.approx((100, 300), abs=0.02)
    assert turned(np.zeros((2, 3, 4)), 6).shape == (3, 2, 4)


@pytest.mark.parametrize(("said", "resolution"), [({"dpi": (300, 150)}, (300, 150)), ({}, None)])
def test_a_jpeg_without_a_resolution_gets_none(said, resolution):
    Image.fromarray(smooth(3)).save("a.jpg", exif=b"Exif\0\0" + exif_block(), **said)
    assert read("a.jpg")[0].resolution == resolution


def test_a_jpeg_may_have_its_resolution_in_its_exif_data():
    exif = Image.Exif()
    exif[0x011A], exif[0x011B], exif[0x0128] = 240.0, 120.0, 2
    Image.fromarray(smooth(3)).save("a.jpg", exif=exif.tobytes())
    assert read("a.jpg")[0].resolution == (240, 120)


@pytest.mark.parametrize("ending", ["png", "jpg", "webp"])
def test_damaged_exif_data_is_left_out_with_a_word(ending):
    Image.fromarray(smooth(3)).save(f"a.{ending}", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    found, notices = read(f"a.{ending}")
    assert (found.exif, notices) == (None, ["its EXIF data is damaged and left out"])


@pytest.mark.parametrize("ending", ["png", "jpg", "webp", "tif"])
@pytest.mark.parametrize("profile", [GREY, b"nonsense", SRGB[:100]])
def test_a_profile_that_is_not_for_the_picture_is_left_out_with_a_word(ending, profile):
    Image.fromarray(smooth(3)).save(f"a.{ending}", icc_profile=profile)
    found, notices = read(f"a.{ending}")
    assert found.profile is None
    assert notices == ["its colour profile is damaged, or for pictures of another kind, and left out"]


# --- kinds that become others ---------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["png", "bmp", "gif", "tif"])
def test_palettes_become_their_colours(ending):
    picture = Image.fromarray(drawn(20, 30)).quantize(7)
    picture.save(f"a.{ending}")
    np.testing.assert_array_equal(read(f"a.{ending}")[0].pixels, np.asarray(picture.convert("RGB")))


@pytest.mark.parametrize("ending", ["png", "gif"])
def test_palettes_with_transparency_become_rgba(ending):
    picture = Image.fromarray(drawn(20, 30)).quantize(7)
    picture.save(f"a.{ending}", transparency=3)
    found, _ = read(f"a.{ending}")
    np.testing.assert_array_equal(found.pixels[..., 3], (np.asarray(picture) != 3) * 255)
    np.testing.assert_array_equal(
        found.pixels[found.pixels[..., 3] > 0][:, :3],
        np.asarray(picture.convert("RGB"))[np.asarray(picture) != 3],
    )


@pytest.mark.parametrize("ending", ["png", "bmp", "tif"])
def test_one_bit_becomes_grey(ending):
    picture = Image.fromarray(drawn(20, 30)).convert("1")
    picture.save(f"a.{ending}")
    np.testing.assert_array_equal(read(f"a.{ending}")[0].pixels, np.asarray(picture.convert("L")))


def cmyk_profile(lightness_without_ink, lightness_with_black):
    """An ICC profile of CMYK in which only black counts (ICC.1:2001, lut8Type)."""

    def fixed(*values):
        return b"".join(struct.pack(">i", round(value * 65536)) for value in values)

    ramp, white = bytes(range(256)), fixed(0.9642, 1, 0.8249)
    colors = b"".join(
        bytes((lightness_with_black if ink % 2 else lightness_without_ink, 128, 128)) for ink in range(16)
    )
    head = b"mft1" + bytes(4) + bytes((4, 3, 2, 0)) + fixed(1, 0, 0, 0, 1, 0, 0, 0, 1)
    parts = {b"A2B0": head + ramp * 4 + colors + ramp * 3, b"wtpt": b"XYZ " + bytes(4) + white}
    table, content = struct.pack(">I", len(parts)), b""
    for name, part in parts.items():
        table += name + struct.pack(">II", 132 + 12 * len(parts) + len(content), len(part))
        content += part + bytes(-len(part) % 4)
    head = b"lcms" + struct.pack(">I", 0x02400000) + b"prtrCMYKLab " + bytes(12) + b"acsp" + bytes(28) + white
    head = struct.pack(">I", 128 + len(table) + len(content)) + head
    return head.ljust(128, b"\0") + table + content


@pytest.mark.parametrize("ending", ["jpg", "tif"])
def test_cmyk_becomes_rgb_by_its_profile(ending):
    picture = Image.new("CMYK", (32, 16))
    picture.paste((0, 0, 0, 255), (16, 0, 32, 16))
    picture.save(f"a.{ending}", icc_profile=cmyk_profile(0, 255))
    found, notices = read(f"a.{ending}")
    assert found.pixels[8, 8].tolist() == [0, 0, 0]
    assert found.pixels[8, 24].tolist() == [255, 255, 255]
    assert (found.profile, notices) == (None, [])


@pytest.mark.parametrize("ending", ["jpg", "tif"])
@pytest.mark.parametrize("profile", [None, b"nonsense"])
def test_cmyk_becomes_rgb_without_a_profile(ending, profile):
    Image.fromarray(smooth(3)).convert("CMYK").save(f"a.{ending}", icc_profile=profile)
    found, notices = read(f"a.{ending}")
    with Image.open(f"a.{ending}") as picture:
        np.testing.assert_array_equal(found.pixels, np.asarray(picture.convert("RGB")))
    assert found.profile is None
    assert notices == (["its CMYK profile is damaged and not used"] if profile else [])


@pytest.mark.parametrize("ending", ["gif", "webp", "png"])
def test_of_an_animation_the_first_frame_is_read(ending):
    frames = [Image.fromarray(np.full((20, 30, 3), value, np.uint8)) for value in (0, 100, 200)]
    frames[0].save(f"a.{ending}", save_all=True, append_images=frames[1:])
    found, notices = read(f"a.{ending}")
    assert found.pixels.max() == 0
    assert notices == ["animated: only the first of 3 frames is read"]


def test_of_a_jpeg_file_with_more_pictures_the_first_is_read():
    first, second = Image.fromarray(smooth(3)), Image.fromarray(255 - smooth(3))
    first.save("a.jpg", "MPO", save_all=True, append_images=[second])
    found, notices = read("a.jpg")
    assert np.abs(found.pixels.astype(int) - smooth(3)).max() < 30
    assert notices == ["only the first of 2 pictures is read"]


# --- files that are not what they seem ------------------------------------------------------------


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF"])
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif", "a.txt", "a b\n\u00e9", "a"])
def test_the_content_decides_and_not_the_name(form, name):
    Image.fromarray(smooth(1)).save(name, form)
    assert read(name)[0].pixels.shape[:2] == (40, 50)


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (2, 2)])
@pytest.mark.parametrize("ending", ["png", "jpg", "webp", "bmp", "tif"])
def test_the_smallest_pictures_are_pictures(size, ending):
    write_photo([Photo(smooth(3, *size))], f"a.{ending}")
    assert read(f"a.{ending}")[0].pixels.shape == (*size, 3)


def png_head(cols, rows):
    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", cols, rows, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


def webp_heads(cols, rows):
    sizes = struct.pack("<I", cols - 1)[:3] + struct.pack("<I", rows - 1)[:3]
    yield b"RIFF\x80\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + sizes + bytes(100)
    yield b"RIFF\x80\0\0\0WEBPVP8L\x64\0\0\0\x2f" + struct.pack("<I", cols - 1 | (rows - 1) << 14) + bytes(100)
    yield b"RIFF\x80\0\0\0WEBPVP8 \x64\0\0\0\x10\0\0\x9d\x01\x2a" + struct.pack("<HH", cols, rows) + bytes(100)


def resized_head(form, old, new):
    """A small file in whose header one number is another."""
    written = io.BytesIO()
    Image.fromarray(smooth(3, 40, 57)).save(written, form)
    assert old in written.getvalue()
    return written.getvalue().replace(old, new, 1)


GIGANTIC = [
    png_head(30_000, 30_000),
    png_head(2**31 - 1, 2**31 - 1),
    *webp_heads(16_000, 16_000),
    resized_head("JPEG", struct.pack(">HH", 40, 57), struct.pack(">HH", 60_000, 60_000)),
    resized_head("BMP", struct.pack("<II", 57, 40), struct.pack("<II", 2**30, 2**30)),
    resized_head("GIF", struct.pack("<HH", 57, 40), struct.pack("<HH", 65_000, 65_000)),
    resized_head("TIFF", struct.pack("<HHII", 257, 4, 1, 40), struct.pack("<HHII", 257, 4, 1, 2**32 - 1)),
]


@pytest.mark.parametrize("content", GIGANTIC)
def test_a_gigantic_declared_size_is_refused_before_anything_is_made(content, capfd):
    Path("a.png").write_bytes(content)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(
        RunError,
        match=r"^a\.png: says it has \d+ x \d+ pixels, that is [\d,]+\.\d megapixels; at most 1\.0 are read\. ",
    ) as error:
        read_photo("a.png", 10**6)
    assert str(error.value).endswith("Allow more with --max_megapixels, or make it smaller.")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kilobytes
    assert capfd.readouterr() == ("", "")


def test_the_limit_is_the_callers_and_not_pillows(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    for ending in ("png", "jpg", "webp", "bmp", "gif", "tif"):
        Image.fromarray(smooth(3)).save(f"a.{ending}")
        assert read(f"a.{ending}", 40 * 50)[0].pixels.shape == (40, 50, 3)
        with pytest.raises(RunError, match="says it has 50 x 40 pixels"):
            read(f"a.{ending}", 40 * 50 - 1)
    assert Image.MAX_IMAGE_PIXELS == 100


def contents(form):
    picture = Image.fromarray(drawn(40, 50))
    written = io.BytesIO()
    picture.save(written, form, **({"compression": "tiff_lzw"} if form == "TIFF" else {}))
    return written.getvalue()


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF"])
@pytest.mark.parametrize("part", [0, 0.02, 0.3, 0.6, 0.95])
def test_a_file_that_ends_early_is_an_error(form, part, capfd):
    content = contents(form)
    Path("a.img").write_bytes(content[: int(len(content) * part)])
    with pytest.raises(RunError, match=r"^a\.img: cannot be read as a picture \([^\n]+\); replace or remove it\.$"):
        read("a.img")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"no picture", bytes(1000), b"%!PS-Adobe-3.0 EPSF-3.0\n", b"P5 2 2 255\n\0\0\0\0"]
)
def test_what_is_no_picture_is_an_error(content):
    Path("a.png").write_bytes(content)
    with pytest.raises(RunError, match=r"a\.png: cannot be read as a picture \((it is empty|not BMP, GIF)"):
        read("a.png")


def test_what_is_no_file_is_an_error():
    os.mkfifo("pipe")
    os.mkdir("folder")
    os.symlink("loop", "loop")
    for name, reason in {
        "pipe": "it is not a file",
        "folder": "it is not a file",
        "loop": "Too many levels of symbolic links",
        "nowhere": "No such file or directory",
    }.items():
        with pytest.raises(RunError, match=rf"^{name}: cannot be read as a picture \({reason}\)"):
            read_photo(name, 10**6)


def mutants():
    """Files of every format, each damaged in a way that a seed decides."""
    rng = random.Random(0)
    seeds = {form: contents(form) for form in ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")}
    seeds["deep PNG"] = imagecodecs.png_encode(sampled(4, np.uint16))
    written = io.BytesIO()
    tifffile.imwrite(written, sampled(3, np.uint16), photometric="rgb", compression="zlib", tile=(16, 16))
    seeds["deep TIFF"] = written.getvalue()
    for form, seed in seeds.items():
        for number in range(60):
            content = bytearray(seed)
            for _ in range(rng.choice((1, 1, 3, 10))):
                place = rng.randrange(rng.choice((60, 400, len(content))))
                content[place % len(content)] = rng.choice((0, 255, rng.randrange(256)))
            yield f"{form} {number}", bytes(content[: rng.choice((len(content), rng.randrange(1, len(content))))])


def test_damaged_files_are_read_or_named(capfd):
    outcomes = []
    for name, content in mutants():
        Path("a.img").write_bytes(content)
        problem = None
        try:
            pages = list(read_photo("a.img", 10**6)[0])
        except RunError as error:
            pages, problem = [], str(error)
        assert all(page.pixels.dtype in (np.uint8, np.uint16) for page in pages), name
        assert problem is None or re.fullmatch(r"a\.img: .+", problem), name
        outcomes.append(problem is None)
    assert 20 < sum(outcomes) < len(outcomes) - 200
    assert capfd.readouterr() == ("", "")


def test_threads_leave_the_settings_of_others_alone():
    for ending in ("png", "jpg", "tif"):
        Image.fromarray(drawn(40, 50)).save(f"a.{ending}")
    before, limit = list(warnings.filters), Image.MAX_IMAGE_PIXELS
    with ThreadPoolExecutor(8) as pool:
        found = pool.map(lambda number: read(f"a.{('png', 'jpg', 'tif')[number % 3]}")[0].pixels.shape, range(96))
    assert set(found) == {(40, 50, 3)}
    assert (warnings.filters, Image.MAX_IMAGE_PIXELS) == (before, limit)


# --- whole or not at all --------------------------------------------------------------------------


@pytest.mark.parametrize("ending", list(photo.FORMATS))
def test_a_full_disk_leaves_nothing_behind(ending):
    Path(f"b{ending}").write_bytes(b"what was there")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
    try:
        for name in ("a", "b"):
            with pytest.raises(RunError, match=rf"{name}\{ending}: cannot be written \(File too large\)"):
                write_photo([Photo(sampled(3, rows=300))], f"{name}{ending}")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert os.listdir() == [f"b{ending}"]
    assert Path(f"b{ending}").read_bytes() == b"what was there"


def test_a_place_that_cannot_be_written_is_named():
    Path("file").touch()
    with pytest.raises(RunError, match=r"file/a\.png: cannot be written \(.*\); free space, permit"):
        write_photo([Photo(sampled(3))], "file/a.png")


def test_a_page_that_cannot_be_made_leaves_nothing_behind():
    def made():
        yield Photo(sampled(3))
        raise RunError("the second page is damaged")

    with pytest.raises(RunError, match="the second page"):
        write_photo(made(), "a.tif", count=2)
    assert os.listdir() == []


@pytest.mark.parametrize(("ending", "name"), [(".webp", "WebP"), (".jpg", "JPEG"), (".png", "PNG"), (".bmp", "BMP")])
def test_what_an_encoder_refuses_is_named(ending, name, monkeypatch):
    def refuse(*_, **__):
        raise RuntimeError("encoding\nerror 6")

    for encoder in ("webp_encode", "jpeg8_encode", "png_encode"):
        monkeypatch.setattr(imagecodecs, encoder, refuse)
    monkeypatch.setattr(Image.Image, "save", refuse)
    with pytest.raises(RunError, match=rf"a\{ending}: cannot be written as {name} \(encoding error 6\); name a \.png"):
        write_photo([Photo(sampled(3))], f"a{ending}")
    assert os.listdir() == []

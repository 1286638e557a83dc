"""Which format results get: that of the image's name, unless it cannot hold them."""

import math
import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile
from conftest import synthetic_image
from image_files import by_tifffile, encoded
from image_files import png as png_file
from PIL import Image

from srcnn_tf.api import upscale_image
from srcnn_tf.config import Config
from srcnn_tf.errors import RunError
from srcnn_tf.images.formats.registry import FORMATS
from srcnn_tf.images.read import read_image
from srcnn_tf.upscaling.image_files import upscale_files
from srcnn_tf.upscaling.targets import find_jobs


def png(alpha=None, bits=8):
    image = synthetic_image(12, 16)
    if alpha is not None:
        image = np.dstack([image, np.full((12, 16), alpha, np.uint8)])
    if bits == 16:
        return by_tifffile(image * np.uint16(257), photometric="rgb")
    return encoded(Image.fromarray(image), "PNG")


def names():
    return sorted(path.name for path in Path("out").glob("[!.]*"))


def test_what_the_named_format_cannot_hold_becomes_png_or_tiff_with_a_line(capsys, monkeypatch):
    Path("in").mkdir()
    Path("in/a.jpg").write_bytes(png(alpha=128))
    Path("in/b.jpeg").write_bytes(png(bits=16))
    Path("in/c.webp").write_bytes(encoded(Image.new("L", (6000, 2)), "PNG"))
    Path("in/d.png").write_bytes(by_tifffile(np.zeros((2, 12, 12), np.uint8), photometric="minisblack"))
    Path("in/e.bmp").write_bytes(png(alpha=0))
    for overwrite in (False, False, True):
        upscale_files(Config(input="in", output="out", overwrite=overwrite))
        assert names() == ["a_x3.png", "b_x3.png", "c_x3.png", "d_x3.tif", "e_x3.png"]
        printed = capsys.readouterr().out
        assert ("5 of 5 already exist" in printed) != ("a_x3.png" in printed)
    for line in (
        "in/a.jpg: JPEG holds no transparency, and the image has it: written as a_x3.png",
        "in/b.jpeg: JPEG holds 8 bits, and the image has 16: written as b_x3.png",
        "in/c.webp: WebP holds up to 16383 rows and columns, and the image has 6 and 18000: written as c_x3.png",
        "in/d.png: PNG holds one page, and there are 2: written as d_x3.tif",
        "in/e.bmp: BMP holds no transparency, and the image has it: written as e_x3.png",
    ):
        assert line in printed
    with Image.open("out/a_x3.png") as image:
        assert (image.mode, image.getextrema()[3]) == ("RGBA", (128, 128))


@pytest.mark.parametrize("channels", [2, 4])
@pytest.mark.parametrize("alpha", [0.5, 1])
def test_floats_with_alpha_become_tiff_where_the_format_holds_none(channels, alpha, capsys):
    floats = np.random.default_rng(0).random((12, 16, channels), np.float32)
    floats[..., -1] = alpha
    photometric = "rgb" if channels == 4 else "minisblack"
    Path("a.tif").write_bytes(by_tifffile(floats, photometric=photometric, extrasamples=["unassalpha"]))
    upscale_files(Config(input="a.tif", output="out", format="jpg"))
    assert names() == ["a_x3.tif"]
    assert "a.tif: JPEG holds uint8, and the image has float32: written as a_x3.tif" in capsys.readouterr().out


@pytest.mark.parametrize("output", ["out/", "out/a_x3.jpg"])
@pytest.mark.parametrize("channels", [2, 4])
def test_alpha_that_is_opaque_throughout_is_left_out_where_the_format_has_none(channels, output, capsys):
    image = synthetic_image(12, 16)
    image = image[..., 0] if channels == 2 else image
    Path("a.jpg").write_bytes(encoded(Image.fromarray(np.dstack([image, np.full((12, 16), 255, np.uint8)])), "PNG"))
    upscale_files(Config(input="a.jpg", output=output))
    assert names() == ["a_x3.jpg"]
    assert "a.jpg: its alpha, opaque throughout, is left out, as JPEG holds none" in capsys.readouterr().out
    assert read_image("out/a_x3.jpg").shape == (36, 48, 3)[: 2 if channels == 2 else 3]


def test_a_file_that_output_names_is_refused_if_its_format_cannot_hold_the_result(capsys):
    Path("a.jpg").write_bytes(png(alpha=128))
    with pytest.raises(RunError, match="1 of 1"):
        upscale_files(Config(input="a.jpg", output="out/b.jpg"))
    assert "out/b.jpg: JPEG holds no transparency" in capsys.readouterr().err
    assert not Path("out").exists()


@pytest.mark.parametrize("alpha", [0.5, 1])
def test_floats_with_alpha_stay_tiff_where_the_format_holds_neither(alpha, capsys):
    pixels = np.dstack([synthetic_image(12, 16) / 255, np.full((12, 16), alpha)]).astype(np.float32)
    tifffile.imwrite("a.tif", pixels, photometric="rgb", extrasamples=["unassalpha"])
    upscale_files(Config(input="a.tif", output="out/", format="jpg"))
    assert tifffile.imread("out/a_x3.tif").dtype == np.float32
    assert "JPEG holds uint8, and the image has float32: written as a_x3.tif" in capsys.readouterr().out


def declared(rows, cols):
    """A PNG file that declares a size, and has no pixels: what is refused for its size is not decoded."""
    return png_file(np.zeros((1, 1, 3), int), 8, 2, size=(rows, cols), data=b"")


@pytest.mark.parametrize(
    ("size", "flags", "problem"),
    [
        ((4000, 6000), {}, "cannot be read as an image"),  # 216 megapixels, encoded in bands
        ((4000, 6000), {"output": "b.jpg"}, "cannot be read as an image"),
        ((4000, 6000), {"max_megapixels": 216}, "cannot be read as an image"),
        ((4000, 6000), {"max_megapixels": 215}, "would have 18000 x 12000 pixels, 216.00 megapixels; expected"),
        (
            (4000, 6000),
            {"output": "b.avif"},
            "216.00 megapixels; expected at most 200.00 in AVIF; allow",
        ),
        (
            (5000, 5000),
            {"output": "b.webp"},
            "225.00 megapixels; expected at most 200.00 in WebP; allow",
        ),
        (
            (9000, 9000),
            {"scale": 5},
            "2,025.00 megapixels; expected at most 2,000.00 in PNG; allow",
        ),
        ((15_000, 15_000), {}, "declares 15000 x 15000 pixels (225.0 megapixels); at most 200.0 megapixels are read"),
        ((15_000, 15_000), {"max_megapixels": 2026}, "cannot be read as an image"),
    ],
)
def test_the_largest_size_depends_on_the_memory_that_a_format_needs(size, flags, problem, capsys):
    Path("a.png").write_bytes(declared(*size))
    with pytest.raises(RunError, match="1 of 1"):
        upscale_files(Config(input="a.png", **flags))
    assert problem in capsys.readouterr().err


@pytest.mark.skipif(".avif" not in FORMATS, reason="Pillow was built without AVIF")
def test_a_result_too_large_to_be_encoded_as_a_whole_becomes_one_in_bands():
    Path("a.avif").write_bytes(declared(4000, 6000))
    Path("a.webp").write_bytes(declared(4000, 6000))
    for name in ("a.avif", "a.webp"):
        ((_, target),) = find_jobs(Config(input=name), "").jobs
        assert target.name == "a_x3.png"
    ((_, target),) = find_jobs(Config(input="a.avif", max_megapixels=300), "").jobs
    assert target.name == "a_x3.avif"


@pytest.mark.parametrize("alpha", [128, 0])
def test_a_bitmap_with_alpha_becomes_png(alpha, capsys):
    pixels = np.dstack([synthetic_image(12, 16), np.full((12, 16), alpha, np.uint8)])
    content = np.ascontiguousarray(pixels[::-1, :, [2, 1, 0, 3]]).tobytes()
    head = struct.pack("<IiiHHIIiiII", 108, 16, 12, 1, 32, 3, len(content), 2835, 2835, 0, 0)
    head += struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000) + b"BGRs" + bytes(48)
    Path("a.bmp").write_bytes(b"BM" + struct.pack("<IHHI", 122 + len(content), 0, 0, 122) + head + content)
    upscale_files(Config(input="a.bmp", output="out"))
    if alpha == 0:  # a channel that was never filled
        assert "a.bmp: its alpha, 0 throughout, is left out" in capsys.readouterr().out
        assert read_image("out/a_x3.bmp").min() < 255
        return
    assert "written as a_x3.png" in capsys.readouterr().out
    Image.fromarray(pixels).save("b.png")
    upscale_files(Config(input="b.png", output="out"))
    np.testing.assert_array_equal(Image.open("out/a_x3.png"), Image.open("out/b_x3.png"))


def test_lossless_webp_stays_lossless():
    image = np.dstack([synthetic_image(12, 16), synthetic_image(12, 16, seed=1)[..., :1]])
    image[:6, :, 3] = 0
    for name, options in (("a.webp", {"lossless": True, "exact": True}), ("b.png", {}), ("c.webp", {"quality": 90})):
        Image.fromarray(image).save(name, **options)
        upscale_files(Config(input=name, output="out", degradation="matlab"))
    content = Path("out/a_x3.webp").read_bytes()
    assert b"VP8L" in content
    assert b"VP8L" not in Path("out/c_x3.webp").read_bytes()
    np.testing.assert_array_equal(Image.open("out/a_x3.webp"), Image.open("out/b_x3.png"))


@pytest.mark.parametrize(("scale", "reach"), [(2, 25), (3, 25), (4.5, 30)])
def test_colours_below_alpha_0_are_replaced_beside_visible_pixels_only(scale, reach, monkeypatch):
    monkeypatch.setattr("srcnn_tf.images.page.BAND_BYTES", 3000)
    colors = np.random.default_rng(0).integers(0, 256, (130, 90, 3), np.uint8)
    alpha = np.full((130, 90), 255, np.uint8)
    alpha[20:, 20:] = 0
    upscaled = upscale_image(np.dstack([colors, alpha]), scale)
    expected = upscale_image(colors, scale)
    far = math.ceil((20 + reach) * scale)
    np.testing.assert_array_equal(upscaled[far:, far:, :3], expected[far:, far:])
    # No colour below alpha 0 comes into what is visible, even in part.
    others = colors.copy()
    others[20:, 20:] = 255 - others[20:, 20:]
    visible = upscaled[..., 3] > 0
    np.testing.assert_array_equal(upscale_image(np.dstack([others, alpha]), scale)[visible], upscaled[visible])
    assert not np.array_equal(upscaled[..., :3], expected)


def test_an_image_that_is_transparent_throughout_keeps_its_colours():
    colors = synthetic_image(30, 40)
    upscaled = upscale_image(np.dstack([colors, np.zeros((30, 40), np.uint8)]), 2)
    np.testing.assert_array_equal(upscaled[..., :3], upscale_image(colors, 2))

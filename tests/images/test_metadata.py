"""Metadata is kept where the format of the result holds it and it stays true, else a line names it."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from conftest import as_stored, synthetic_image
from image_files import encoded, exif, exif_tags, noise, read, smooth, write
from PIL import Image, ImageOps, PngImagePlugin

from srcnn_tf.config import Config
from srcnn_tf.images.page import Page
from srcnn_tf.images.read import read_image
from srcnn_tf.upscaling.image_files import upscale_files

PARAMETERS = "a castle\nSteps: 20, Seed: 7"


def upscale(content, name, output, capsys):
    """Upscales a file of these bytes, and returns what is printed about it."""
    Path(name).write_bytes(content)
    upscale_files(Config(input=name, output=output, scale=2, degradation="matlab", overwrite=True))
    return [line.partition(": ")[2] for line in capsys.readouterr().out.splitlines() if line.startswith(f"{name}: ")]


def stored(name):
    """The metadata in a file, as Pillow finds them, with all texts of a PNG file."""
    with Image.open(name) as image:
        image.load()
        return image.info | {"text": getattr(image, "text", {})}


def png_with_texts(**texts):
    info = PngImagePlugin.PngInfo()
    for name, text in texts.items():
        info.add_text(name, text)
    return encoded(Image.fromarray(smooth(3)), "PNG", pnginfo=info)


def test_texts_of_png_files_are_kept(capsys):
    texts = {"parameters": PARAMETERS, "Title": "\u56fe \u00e4", "Comment": "A comment"}
    content = png_with_texts(**texts)
    assert upscale(content, "a.png", "b.png", capsys) == []
    assert stored("b.png")["text"] == texts
    lines = {
        "b.jpg": "JPEG holds no text but a comment of 64 kB: parameters, Title left out",
        "b.webp": "WebP holds no texts: left out",
        "b.tif": "TIFF holds no texts: left out",
        "b.bmp": "BMP holds no texts: left out",
    }
    for name, line in lines.items():
        assert upscale(content, "a.png", name, capsys) == [line]
    assert stored("b.jpg")["comment"] == b"A comment"


def test_comments_are_kept(capsys):
    for comment, text in (
        (b"hello", "hello"),
        ("gr\u00fc\u00df".encode(), "gr\u00fc\u00df"),
        (b"gr\xfc\xdf", "gr\u00fc\u00df"),
    ):
        content = encoded(Image.fromarray(smooth(3)), "JPEG", comment=comment)
        assert upscale(content, "a.jpg", "b.jpg", capsys) == []
        assert stored("b.jpg")["comment"] == text.encode()
        assert upscale(content, "a.jpg", "b.png", capsys) == []
        assert stored("b.png")["text"] == {"Comment": text}
        content = encoded(Image.fromarray(smooth(1)), "GIF", comment=comment)
        assert upscale(content, "a.gif", "b.png", capsys) == []
        assert stored("b.png")["text"] == {"Comment": text}
    assert write("a.jpg", Page(smooth(3), texts={"Comment": "x" * 70_000})) == [
        "JPEG holds no text but a comment of 64 kB: Comment left out"
    ]


def raw_profile(content, kind="exif"):
    """How ImageMagick writes metadata into a text of a PNG file."""
    digits = content.hex()
    lines = [digits[begin : begin + 72] for begin in range(0, len(digits), 72)]
    return {f"Raw profile type {kind}": "\n".join(["", kind, f"{len(content):8}", *lines, ""])}


XMP = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description {}/></x:xmpmeta>'


def with_orientation(place, orientation, pixels):
    """A file whose orientation stands in one of the places where Pillow finds it."""
    image, xmp = Image.fromarray(as_stored(pixels, orientation)), XMP.format(f'tiff:Orientation="{orientation}"')
    if place == "text":
        info = PngImagePlugin.PngInfo()
        info.add_text(*next(iter(raw_profile(exif({0x0112: orientation})).items())))
        return encoded(image, "PNG", pnginfo=info)
    if place == "XMP text":
        info = PngImagePlugin.PngInfo()
        info.add_itxt("XML:com.adobe.xmp", xmp)
        return encoded(image, "PNG", pnginfo=info)
    if place == "element":
        xmp = f"<x><tiff:Orientation>{orientation}</tiff:Orientation></x>"
        return encoded(image, "WEBP", lossless=True, xmp=xmp.encode())
    if place == "tag":
        tifffile.imwrite("made.tif", np.asarray(image), extratags=[(700, 1, len(xmp), xmp.encode(), True)])
        return Path("made.tif").read_bytes()
    return encoded(image, "WEBP", lossless=True, xmp=xmp.encode())


@pytest.mark.parametrize("place", ["text", "XMP text", "element", "tag", "XMP"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_the_orientation_counts_wherever_pillow_finds_it(place, orientation):
    upright = noise(3)
    content = with_orientation(place, orientation, upright)
    page, warnings = read(content)
    np.testing.assert_array_equal(page.pixels, upright)
    np.testing.assert_array_equal(read_image("a.img"), upright)
    with Image.open("a.img") as image:
        np.testing.assert_array_equal(np.asarray(ImageOps.exif_transpose(image)), upright)
    assert warnings == []
    write("b.png", page)
    again, _ = read("b.png")
    np.testing.assert_array_equal(again.pixels, upright)


def test_exif_data_in_a_text_are_kept_as_exif_data():
    info = PngImagePlugin.PngInfo()
    info.add_text(*next(iter(raw_profile(exif({0x0110: "A camera"})).items())))
    page, _ = read(encoded(Image.fromarray(synthetic_image(20, 30)), "PNG", pnginfo=info))
    assert (exif_tags(page.exif)[0][0x0110], page.texts) == ("A camera", None)

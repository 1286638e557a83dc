"""Metadata is kept where the format of the result holds it and it stays true, else a line names it."""

import io
import struct
from pathlib import Path

import imagecodecs
import numpy as np
import pillow_heif
import pytest
import tifffile
from conftest import as_stored, synthetic_image
from image_files import SRGB, by_tifffile, chunk, encoded, exif, exif_tags, noise, read, smooth, write
from PIL import Image, ImageOps, PngImagePlugin

from srcnn_tf.config import Config
from srcnn_tf.images.decode import AVIF, png_chunks
from srcnn_tf.images.metadata import image_metadata
from srcnn_tf.images.page import Page
from srcnn_tf.images.read import read_image
from srcnn_tf.images.reader import ImageReader
from srcnn_tf.upscaling.image_files import upscale_files

PARAMETERS = "a castle\nSteps: 20, Seed: 7"


def upscale(content, name, output, capsys):
    """Upscales a file of these bytes, and returns what is printed about it, but for its value range."""
    Path(name).write_bytes(content)
    upscale_files(Config(input=name, output=output, scale=2, degradation="matlab", overwrite=True))
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith(f"{name}: ")]
    return [line.partition(": ")[2] for line in lines if "; weights: " not in line]


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


@pytest.mark.parametrize("is_late", [False, True])
@pytest.mark.parametrize("place", ["text", "XMP text", "element", "tag", "XMP"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_the_orientation_counts_wherever_pillow_finds_it(place, orientation, is_late):
    upright = noise(3)
    content = with_orientation(place, orientation, upright)
    if is_late and content[1:4] == b"PNG":  # the signature and the header; metadata; pixels; the end
        begin = content.index(b"IDAT") - 4
        content = content[:33] + content[begin:-12] + content[33:begin] + content[-12:]
    page, warnings = read(content)
    with ImageReader("a.img", 10**6) as reader:
        assert reader.kinds[0].shape == upright.shape
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


SUBJECT = XMP.format('xmlns:dc="http://purl.org/dc/elements/1.1/" dc:subject="\u00e4 cat"').encode()
IPTC = b"\x1c\x02\x78\x00\x05A cat\x1c\x02\x05\x00\x01T"


def with_xmp(name, xmp=SUBJECT):
    image = Image.fromarray(smooth(3))
    if name == "PNG":
        info = PngImagePlugin.PngInfo()
        info.add_itxt("XML:com.adobe.xmp", xmp.decode(), zip=True)
        return encoded(image, "PNG", pnginfo=info)
    if name == "ImageMagick":
        return png_with_texts(**raw_profile(xmp, "xmp"))
    if name == "TIFF":
        return by_tifffile(smooth(3), extratags=[(700, 1, len(xmp), xmp, True)])
    return encoded(image, name, xmp=xmp)


@pytest.mark.parametrize("output", ["png", "jpg", "webp", "avif", "tif", "bmp"])
@pytest.mark.parametrize("name", ["PNG", "ImageMagick", "JPEG", "WEBP", "TIFF", *(["AVIF"] if AVIF else [])])
def test_xmp_is_kept(name, output, capsys):
    if output == "avif" and not AVIF:
        return
    lines = upscale(with_xmp(name), "a.img", f"b.{output}", capsys)
    lines = [line for line in lines if "EXIF" not in line]  # tifffile writes its own name
    assert lines == (["BMP holds no XMP: left out"] if output == "bmp" else [])
    if output != "bmp":
        assert bytes(stored(f"b.{output}")["xmp"]) == SUBJECT


def test_xmp_says_the_size_and_orientation_of_the_result(capsys):
    before = """<rdf:Description tiff:ImageWidth="50" tiff:ImageLength='40'
      exif:PixelXDimension = "50" tiff:Orientation="1"
      xmpNote:HasExtendedXMP="0123" GPano:FullPanoWidthPixels="100" GPano:InitialViewHeadingDegrees="90"
      hdrgm:Version="1.0" dc:x="hdrgm">
      <exif:PixelYDimension> 40 </exif:PixelYDimension><GPano:CroppedAreaTopPixels>13</GPano:CroppedAreaTopPixels>
      <GPano:CroppedAreaLeftPixels>7</GPano:CroppedAreaLeftPixels>
      <GPano:FullPanoHeightPixels>50</GPano:FullPanoHeightPixels>
      <mwg-rs:AppliedToDimensions stDim:w="50" stDim:h="40" stDim:unit="pixel"/><stArea:x>0.5</stArea:x>
      <Container:Directory><rdf:Seq><Container:Item Item:Length="99"/></rdf:Seq></Container:Directory>
      <hdrgm:GainMapMax>2</hdrgm:GainMapMax></rdf:Description>"""
    after = """<rdf:Description tiff:ImageWidth="100" tiff:ImageLength='80'
      exif:PixelXDimension = "100" tiff:Orientation="1"
      GPano:FullPanoWidthPixels="200" GPano:InitialViewHeadingDegrees="90" dc:x="hdrgm">
      <exif:PixelYDimension> 80 </exif:PixelYDimension><GPano:CroppedAreaTopPixels>26</GPano:CroppedAreaTopPixels>
      <GPano:CroppedAreaLeftPixels>14</GPano:CroppedAreaLeftPixels>
      <GPano:FullPanoHeightPixels>100</GPano:FullPanoHeightPixels>
      <mwg-rs:AppliedToDimensions stDim:w="100" stDim:h="80" stDim:unit="pixel"/><stArea:x>0.5</stArea:x>
      </rdf:Description>"""
    upscale(with_xmp("WEBP", before.encode()), "a.webp", "b.webp", capsys)
    assert stored("b.webp")["xmp"].split() == after.encode().split()


@pytest.mark.parametrize("xmp", [b"nonsense", SUBJECT.decode().encode("utf-16")])
def test_xmp_that_is_damaged_is_left_out_with_a_line(xmp, capsys):
    lines = upscale(with_xmp("JPEG", xmp), "a.jpg", "b.jpg", capsys)
    assert "its XMP is damaged or not in UTF-8, and left out" in lines
    assert "xmp" not in stored("b.jpg")


def segment(marker, content):
    return bytes([0xFF, marker]) + (2 + len(content)).to_bytes(2) + content


def with_iptc(content):
    resources = b"8BIM\x04\x25\0\0\0\0\0\x02ab8BIM\x04\x04\0\0" + len(IPTC).to_bytes(4) + IPTC + b"\0" * (len(IPTC) % 2)
    return content[:2] + segment(0xED, b"Photoshop 3.0\0" + resources) + content[2:]


@pytest.mark.parametrize("kind", ["JPEG", "bytes", "numbers"])
def test_iptc_data_are_kept(kind, capsys):
    padded = IPTC + bytes(-len(IPTC) % 4)
    if kind == "JPEG":
        content = with_iptc(encoded(Image.fromarray(smooth(3)), "JPEG", quality=95))
    elif kind == "bytes":
        content = by_tifffile(smooth(3), extratags=[(33723, 7, len(padded), padded, True)])
    else:
        numbers = tuple(np.frombuffer(padded, "<u4").tolist())
        content = by_tifffile(smooth(3), byteorder="<", extratags=[(33723, 4, len(numbers), numbers, True)])
    for output in ("b.jpg", "b.tif"):
        upscale(content, "a.img", output, capsys)
        assert read(Path(output).read_bytes())[0].iptc.rstrip(b"\0") == IPTC
    assert stored("b.jpg")["photoshop"][0x0404].rstrip(b"\0") == IPTC
    assert stored("b.tif") is not None
    assert "PNG holds no IPTC data: left out" in upscale(content, "a.img", "b.png", capsys)


def test_what_is_too_large_for_a_segment_or_extended_is_left_out_of_jpeg_with_a_line(capsys):
    large = Page(smooth(3), xmp=b"<" + b"x" * 65_500, iptc=bytes(65_500))
    assert write("a.jpg", large) == [
        "its XMP is larger than JPEG holds (64 kB), and left out",
        "its IPTC data is larger than JPEG holds (64 kB), and left out",
    ]
    content = encoded(Image.fromarray(smooth(3)), "JPEG", quality=95)
    content = content[:2] + segment(0xE1, b"http://ns.adobe.com/xmp/extension/\0" + bytes(50)) + content[2:]
    message = "its extended XMP (depth maps, histories and other large parts) is left out"
    assert message in upscale(content, "a.jpg", "b.jpg", capsys)


LINEAR = {b"gAMA": struct.pack(">I", 100_000), b"cHRM": struct.pack(">8I", *range(30_000, 38_000, 1000))}
HDR = {b"cICP": bytes([9, 16, 0, 1])}
STANDARD = {b"gAMA": struct.pack(">I", 45_455), b"sRGB": b"\0", b"cICP": bytes([1, 13, 0, 1])}


def chunks_of(name):
    with open(name, "rb") as file:
        found = {}
        for kind, begin, length in list(png_chunks(file)):
            file.seek(begin)
            found[kind] = file.read(length)
        return found


def png_with_chunks(chunks, **options):
    content = encoded(Image.fromarray(smooth(3)), "PNG", **options)
    return content[:33] + b"".join(chunk(name, part) for name, part in chunks.items()) + content[33:]


@pytest.mark.parametrize(
    ("chunks", "options", "lines"),
    [
        (LINEAR, {}, ["its colour space (cHRM, gAMA) is left out"]),
        (HDR, {}, ["its colour space (cICP) is left out"]),
        (HDR | {b"mDCV": bytes(24), b"cLLI": bytes(8)}, {}, ["its colour space (cICP, cLLI, mDCV) is left out"]),
        (LINEAR | HDR, {"icc_profile": SRGB}, ["its colour space (cICP) is left out"]),
        (LINEAR, {"icc_profile": SRGB}, []),
        (STANDARD, {}, []),
    ],
)
def test_the_colour_space_of_png_files_is_kept(chunks, options, lines, capsys):
    content = png_with_chunks(chunks, **options)
    assert upscale(content, "a.png", "b.png", capsys) == []
    assert chunks.items() <= chunks_of("b.png").items()
    assert stored("b.png").get("icc_profile") == options.get("icc_profile")
    for output in ("b.jpg", "b.webp", "b.tif", *([] if options else ["b.bmp"])):  # BMP holds no profile
        assert [line for line in upscale(content, "a.png", output, capsys) if "colour space" in line] == lines


@pytest.mark.skipif(not AVIF, reason="Pillow was built without AVIF")
def test_the_colour_space_of_avif_files_is_kept(capsys):
    codes = {"primaries": 9, "transfer": 16, "matrix": 9, "level": 95}
    content = imagecodecs.avif_encode(smooth(3), **codes)
    assert upscale(content, "a.avif", "b.png", capsys) == []
    assert chunks_of("b.png")[b"cICP"] == HDR[b"cICP"]
    assert upscale(content, "a.avif", "b.jpg", capsys) == ["its colour space (cICP) is left out"]
    assert upscale(content, "a.avif", "b.avif", capsys) == []
    assert read(Path("b.avif").read_bytes())[0].colors == HDR
    assert upscale(png_with_chunks(LINEAR | HDR), "a.png", "c.avif", capsys) == [
        "its colour space (cHRM, gAMA) is left out"
    ]
    assert read(Path("c.avif").read_bytes())[0].colors == HDR
    assert read(encoded(Image.fromarray(smooth(3)), "AVIF"))[0].colors is None


@pytest.mark.skipif(not AVIF, reason="Pillow was built without AVIF")
@pytest.mark.parametrize("bits", [10, 12])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_all_bits_of_avif_files_are_read(channels, bits, capsys):
    samples = smooth(channels).astype(np.uint16) * 2 ** (bits - 8) + 1
    lossless = {"pixelformat": "444", "matrix": 0} if channels > 1 else {}
    page, warnings = read(imagecodecs.avif_encode(samples, bitspersample=bits, level=100, **lossless))
    expected = np.round(samples * (65535 / (2**bits - 1)))
    assert (page.pixels.dtype, warnings) == (np.uint16, [])
    np.testing.assert_array_equal(page.pixels, expected)
    lines = upscale(Path("a.img").read_bytes(), "a.avif", "out/", capsys)
    assert lines == ["AVIF holds 8 bits, and the image has 16: written as a_x2.png"]


def test_the_bits_and_colour_space_of_heic_files_are_kept(capsys):
    image = pillow_heif.from_bytes("RGB;16", (50, 40), (smooth(3).astype(np.uint16) * 257).tobytes())
    codes = {"color_primaries": 9, "transfer_characteristics": 16, "matrix_coefficients": 9}
    image.save("made.heic", quality=100, chroma=444, **codes)
    page, _ = read(Path("made.heic").read_bytes())
    assert np.abs(page.pixels - smooth(3) * 257.0).max() < 700
    assert upscale(Path("made.heic").read_bytes(), "a.heic", "b.png", capsys) == []
    assert chunks_of("b.png")[b"cICP"] == HDR[b"cICP"]
    assert Path("b.png").read_bytes()[24] == 16
    image = pillow_heif.from_pillow(Image.fromarray(smooth(3)))
    image.save("made.heic", color_primaries=12, transfer_characteristics=13, matrix_coefficients=6)
    assert upscale(Path("made.heic").read_bytes(), "a.heic", "b.png", capsys) == []
    assert chunks_of("b.png")[b"cICP"] == bytes([12, 13, 0, 1])
    assert Path("b.png").read_bytes()[24] == 8


GAIN_MAP = "its gain map, for displays of high dynamic range, is left out"
HDRGM = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description hdrgm:Version="1.0" dc:x="1"/></x:xmpmeta>'


def mpo(xmp=b"", second=b""):
    """A JPEG file with another image, of metadata of its own, as phones write gain maps."""
    image, gains = Image.fromarray(smooth(3)), Image.fromarray(smooth(1)).resize((25, 20))
    content = encoded(image, "MPO", save_all=True, append_images=[gains], **({"xmp": xmp} if xmp else {}))
    end = content.rindex(b"\xff\xd8") + 2
    return content[:end] + segment(0xE1, second) + content[end:] if second else content


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (mpo(HDRGM), GAIN_MAP),
        (mpo(second=b"http://ns.adobe.com/xap/1.0/\0<x HDRGainMap:HDRGainMapVersion='1'/>"), GAIN_MAP),
        (mpo(second=b"urn:iso:std:iso:ts:21496:-1\0"), GAIN_MAP),
        (
            encoded(Image.fromarray(smooth(3)), "JPEG", xmp=HDRGM) + encoded(Image.fromarray(smooth(1)), "JPEG"),
            GAIN_MAP,
        ),
        (mpo(), "only the first of 2 frames is read"),
        (
            encoded(Image.fromarray(smooth(3)), "JPEG") + b"\0\0\0\x18ftypmp42" + bytes(50),
            "the video after its end is left out",
        ),
        (encoded(Image.fromarray(smooth(3)), "JPEG") + b"maker's own", "11 bytes after its end are left out"),
        (encoded(Image.fromarray(smooth(3)), "JPEG") + bytes(100), None),
    ],
)
def test_what_follows_the_image_in_a_jpeg_file_is_named(content, line, capsys):
    lines = [line for line in upscale(content, "a.jpg", "b.jpg", capsys) if "weights" not in line]
    assert lines == ([line] if line else [])
    assert b"hdrgm:" not in Path("b.jpg").read_bytes()


def test_other_parts_of_a_file_are_named(capsys):
    credentials = "its content credentials (C2PA) are left out"
    assert upscale(png_with_chunks({b"caBX": b"\0\0\0\x10jumb"}), "a.png", "b.png", capsys) == [credentials]
    content = encoded(Image.fromarray(smooth(3)), "JPEG")
    content = content[:2] + segment(0xEB, b"JP\0\1\0\0\0\1\0\0\0\x28jumb\0\0\0\x20jumdc2pa") + content[2:]
    assert credentials in upscale(content, "a.jpg", "b.jpg", capsys)
    for tag, line in ((37724, "its layers are left out"),):
        content = by_tifffile(smooth(3), extratags=[(tag, 12, 6, (0.0,) * 6, True)])
        assert line in upscale(content, "a.tif", "b.tif", capsys)
    tifffile.imwrite("a.tif", smooth(1), imagej=True)
    line = "its description of planes and sizes (ImageJ, OME) is left out"
    assert line in upscale(Path("a.tif").read_bytes(), "a.tif", "b.tif", capsys)
    path = b"Photoshop 3.0\0" + b"8BIM\x07\xd0\0\0\0\0\0\x02ab"
    content = encoded(Image.fromarray(smooth(3)), "JPEG")
    content = content[:2] + segment(0xED, path) + content[2:]
    assert "its clipping paths are left out" in upscale(content, "a.jpg", "b.jpg", capsys)
    content = encoded(Image.fromarray(smooth(3)), "HEIF")
    with Image.open(io.BytesIO(content)) as image:
        image.info |= {"aux": {"urn:com:apple:photo:2020:aux:hdrgainmap": [3]}, "depth_images": [object()]}
        warnings = []
        image_metadata(image, io.BytesIO(content), warnings)
    assert warnings == [GAIN_MAP, "its depth map is left out"]


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("source", ["PNG", "JPEG", "TIFF"])
def test_the_aspect_ratio_of_pixels_is_kept(source, orientation, capsys):
    ratio = (8, 5) if orientation == 1 else (5, 8)
    image, metadata = Image.fromarray(smooth(3)), {"exif": exif({0x0112: orientation})}
    if source == "PNG":
        content = png_with_chunks({b"pHYs": struct.pack(">IIB", 16, 10, 0)}, **metadata)
    elif source == "JPEG":
        content = bytearray(encoded(image, "JPEG", quality=95, dpi=(16, 10), **metadata))
        content[content.index(b"JFIF\0") + 7] = 0
    else:
        tags = [(274, 3, 1, orientation, True)]
        content = by_tifffile(smooth(3), resolution=(16, 10), resolutionunit="none", extratags=tags)
    for output in ("b.png", "b.jpg", "b.tif"):
        lines = upscale(bytes(content), "a.img", output, capsys)
        assert not any("aspect" in line for line in lines)
        page, _ = read(Path(output).read_bytes())
        assert (page.aspect, page.dpi) == (ratio, None)
    assert stored("b.png")["aspect"] == ratio
    for output, name in (("b.webp", "WebP"), ("b.bmp", "BMP")):
        lines = upscale(bytes(content), "a.img", output, capsys)
        assert f"{name} holds no aspect ratio of pixels: left out" in lines


def test_square_pixels_have_no_aspect_ratio():
    for content in (
        png_with_chunks({b"pHYs": struct.pack(">IIB", 7, 7, 0)}),
        encoded(Image.fromarray(smooth(3)), "JPEG"),
    ):
        assert read(content)[0].aspect is None


def test_the_colour_profile_of_a_bitmap_is_read(capsys):
    pixels = smooth(3, cols=52)
    content = encoded(Image.fromarray(pixels), "BMP")[54:]
    head = struct.pack("<IiiHHIIiiII", 124, 52, 40, 1, 24, 0, len(content), 2835, 2835, 0, 0) + bytes(16) + b"DEBM"
    head += bytes(36 + 12 + 4) + struct.pack("<III", 124 + len(content), len(SRGB), 0)
    content = b"BM" + struct.pack("<IHHI", 138 + len(content) + len(SRGB), 0, 0, 138) + head + content + SRGB
    assert upscale(content, "a.bmp", "b.png", capsys) == []
    assert stored("b.png")["icc_profile"] == SRGB
    assert upscale(content, "a.bmp", "b.bmp", capsys) == ["BMP holds no colour profile: left out"]

"""TIFF files that hold more than their pages say: stacks under one directory, raw images of cameras."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile
from image_files import by_tifffile, noise, read, tiff

from srcnn_tf.config import Config
from srcnn_tf.errors import RunError
from srcnn_tf.images.page import as_array
from srcnn_tf.images.reader import ImageReader
from srcnn_tf.upscaling.image_files import upscale_files


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

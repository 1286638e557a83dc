"""Internals of libraries that the package relies on. Where one changes, a test here says which module has to change."""

import functools
import inspect
import io
import struct
import zipfile
import zlib
from importlib import resources

import h5py
import imagecodecs
import keras
import numpy as np
import PIL.TiffImagePlugin
import pytest
import tensorflow as tf
import tifffile
from conftest import ROOT
from PIL import Image, PngImagePlugin

IMAGE = np.random.default_rng(0).integers(0, 256, (40, 56), np.uint8)
EXIF = 0x8769


def used_by(*paths):
    """Makes a failure name the files of the package that rely on what a test checks, and its docstring says."""

    def decorate(test):
        @functools.wraps(test)
        def checked(**fixtures):
            for path in paths:
                assert (ROOT / "srcnn_tf" / path).is_file(), f"srcnn_tf/{path} is gone: who uses this now?"
            try:
                test(**fixtures)
            except Exception as error:
                reason = f"No longer true: {test.__doc__} ({error!r})"
                pytest.fail(f"{' and '.join(f'srcnn_tf/{path}' for path in paths)} must change. {reason}")

        return checked

    return decorate


def open_tiff(**options):
    file = io.BytesIO()
    tifffile.imwrite(file, IMAGE, metadata=None, **options)
    file.seek(0)
    return tifffile.TiffFile(file)


def test_a_canary_names_the_module():
    @used_by("images/formats/tiff.py")
    def canary():
        """One is two."""
        raise AttributeError("two")

    message = r"^srcnn_tf/images/formats/tiff\.py must change\. No longer true: One is two\. "
    message += r"\(AttributeError\('two'\)\)$"
    with pytest.raises(pytest.fail.Exception, match=message):
        canary()


# --- tifffile, imagecodecs ---


@used_by("images/formats/tiff.py")
def test_layout_of_a_tiff_file():
    """`TiffFile.tiff` has the formats and sizes of offsets and tags, and `filehandle.read_array` reads at an offset."""
    with open_tiff() as tiff:
        layout, file = tiff.tiff, tiff.filehandle
        file.seek(4)
        assert struct.unpack(layout.offsetformat, file.read(layout.offsetsize)) == (tiff.pages[0].offset,)
        file.seek(tiff.pages[0].offset)
        assert struct.unpack(layout.tagnoformat, file.read(layout.tagnosize))[0] == len(tiff.pages[0].tags)
        assert (layout.tagsize, layout.is_bigtiff, tiff.byteorder) == (12, False, "<")
        pixels = file.read_array(np.dtype("<u1"), IMAGE.size, tiff.pages[0].dataoffsets[0])
        assert tiff.pages[0].is_final
        np.testing.assert_array_equal(pixels, IMAGE.ravel())


@used_by("images/formats/tiff.py")
def test_parts_of_a_tiff_page():
    """`TiffPage.decode` decodes each strip or tile from its bytes, and says where it belongs."""
    with open_tiff(tile=(16, 32), compression="adobe_deflate", predictor=True) as tiff:
        page, pixels = tiff.pages[0], np.zeros((48, 64), np.uint8)
        assert (page.shaped, page.chunked, page.is_final) == ((1, 1, 40, 56, 1), (3, 2), False)
        for number, (offset, count) in enumerate(zip(page.dataoffsets, page.databytecounts, strict=True)):
            tiff.filehandle.seek(offset)
            content = tiff.filehandle.read(count)
            part, place, _ = page.decode(content, number, jpegtables=page.jpegtables, jpegheader=page.jpegheader)
            _, _, row, col, _ = place
            pixels[row : row + 16, col : col + 32][: part.shape[1], : part.shape[2]] = part[0, ..., 0]
        np.testing.assert_array_equal(pixels[:40, :56], IMAGE)


@used_by("images/formats/tiff.py")
def test_shape_of_a_jpeg_image():
    """`tifffile.tifffile.jpeg_shape` returns bits, rows, columns and samples."""
    assert tifffile.tifffile.jpeg_shape(imagecodecs.jpeg8_encode(IMAGE)) == (8, 40, 56, 1)


@used_by("images/encode.py")
def test_header_of_a_jpeg_image():
    """`imagecodecs.jpeg8_encode` writes a JFIF header, tables, a baseline frame and the standard Huffman tables."""
    headers = [imagecodecs.jpeg8_encode(strip, level=80).partition(b"\xff\xda")[0] for strip in (IMAGE, 255 - IMAGE)]
    assert headers[0] == headers[1]
    markers, position = [], 2
    while position < len(headers[0]):
        markers.append(headers[0][position + 1])
        position += 2 + int.from_bytes(headers[0][position + 2 : position + 4])
    assert (markers[0], sorted(set(markers))) == (0xE0, [0xC0, 0xC4, 0xDB, 0xE0])
    assert markers.index(0xDB) == 1


@used_by("images/encode.py", "utils.py")
def test_filters_of_a_png_image():
    """`imagecodecs.png_encode` has the constants PNG.FILTER.PAETH and PNG.STRATEGY.RLE, and stores rows at level 0."""
    content = imagecodecs.png_encode(
        IMAGE, level=0, filter=imagecodecs.PNG.FILTER.PAETH, strategy=imagecodecs.PNG.STRATEGY.RLE, out=4096
    )
    begin = content.index(b"IDAT")
    rows = zlib.decompress(content[begin + 4 : begin + 4 + int.from_bytes(content[begin - 4 : begin])])
    assert len(rows) == 40 * 57
    assert set(rows[::57]) == {4}


# --- Pillow ---


@used_by("images/metadata.py")
def test_exif_directories():
    """`Image.Exif` loads a directory of a TIFF file by its offset, and keeps EXIF data in a dictionary by their tag."""
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        directory = PIL.TiffImagePlugin.ImageFileDirectory_v2(b"II*\0" + bytes(4), group=EXIF)
        directory[0x8827] = 400
        writer.filehandle.seek(0, 2)
        offset = writer.filehandle.tell()
        writer.filehandle.write(directory.tobytes(offset))
        assert not writer.tiff.is_bigtiff
        writer.write(IMAGE, metadata=None, extratags=[("ExifTag", "I", 1, offset, False)])
    file.seek(0)
    with tifffile.TiffFile(file) as tiff:
        stored, exif = Image.Exif(), Image.Exif()
        stored.endian, stored.bigtiff = "<", False
        stored.load_from_fp(tiff.filehandle, tiff.pages[0].offset)
        exif[EXIF] = dict(stored.get_ifd(EXIF))
    again = Image.Exif()
    again.load(exif.tobytes())
    assert again.get_ifd(EXIF) == {0x8827: 400}


@used_by("images/library_errors.py")
def test_limits_and_loggers():
    """Pillow's limits are MAX_IMAGE_PIXELS and MAX_TEXT_CHUNK, and loggers have the names of their modules."""
    assert Image.MAX_IMAGE_PIXELS
    assert PngImagePlugin.MAX_TEXT_CHUNK
    assert (PIL.TiffImagePlugin.logger.name, tifffile.logger().name) == ("PIL.TiffImagePlugin", "tifffile")


@used_by("images/formats/photo.py")
def test_where_pillow_writes_metadata():
    """Pillow writes all metadata of a PNG file between IHDR and IDAT, and that of a JPEG file before its one table."""
    exif = Image.Exif()
    exif[0x010F] = "maker"
    content = {}
    for name in ("PNG", "JPEG"):
        Image.new("L", (1, 1)).save(file := io.BytesIO(), name, dpi=(72, 72), exif=exif, icc_profile=b"profile")
        content[name] = file.getvalue()
    png, jpeg = content["PNG"], content["JPEG"]
    assert png[12:16] == b"IHDR"
    begin, end = png.index(b"IDAT"), jpeg.index(b"\xff\xdb")
    assert all(33 < png.index(name) < begin for name in (b"pHYs", b"eXIf", b"iCCP"))
    assert all(jpeg.index(name) < end for name in (b"JFIF", b"Exif", b"ICC_PROFILE"))
    assert (png.rindex(b"IDAT"), jpeg.rindex(b"\xff\xdb")) == (begin, end)


# --- Keras, TensorFlow, TensorBoard ---


def convolutions():
    image = features = keras.Input((None, None, 1))
    for number in range(3):
        features = keras.layers.Conv2D(1, 1, name=f"layer_{number}")(features)
    return keras.Model(image, features)


@used_by("weights/store.py")
def test_groups_of_a_weights_file(tmp_path):
    """A .keras file holds `model.weights.h5`, where Keras names layers by their class and number."""
    model = convolutions()
    model.save(tmp_path / "a.keras")
    with zipfile.ZipFile(tmp_path / "a.keras") as archive:
        content = io.BytesIO(archive.read("model.weights.h5"))
    with h5py.File(content) as file:
        for group, layer in zip(("conv2d", "conv2d_1", "conv2d_2"), model.layers[1:], strict=True):
            for number, values in enumerate(layer.get_weights()):
                np.testing.assert_array_equal(file[f"layers/{group}/vars/{number}"][()], values)


@used_by("training/soap.py")
def test_hooks_of_keras_optimizers():
    """An optimizer finds a variable by `_get_variable_index`, and has `add_variable`, `assign` and `assign_sub`."""
    variables, optimizer = convolutions().trainable_variables, keras.optimizers.SGD()
    optimizer.build(variables)
    state = optimizer.add_variable((2, 2), "identity", dtype="float32", name="basis")
    optimizer.assign(state, 2 * state)
    optimizer.assign_sub(state, np.ones((2, 2), np.float32))
    assert state.numpy().tolist() == [[1, -1], [-1, 1]]
    assert [optimizer._get_variable_index(variable) for variable in variables] == list(range(6))


@used_by("training/checkpoint.py")
def test_names_of_a_checkpoint(tmp_path):
    """TensorFlow writes a checkpoint as `<prefix>.index` and `<prefix>.data-...`, and nothing else."""
    tf.train.Checkpoint(step=tf.Variable(1)).write(str(tmp_path / "SRCNN.model-1"))
    assert {path.name for path in tmp_path.iterdir()} == {
        "SRCNN.model-1.index",
        "SRCNN.model-1.data-00000-of-00001",
    }


@used_by("testing/tensorboard.py")
def test_image_summaries(tmp_path):
    """TensorBoard's image plugin has `create_summary_metadata`, and event files begin with `events.out.tfevents.`."""
    from tensorboard.plugins.image.metadata import create_summary_metadata

    assert create_summary_metadata(display_name=None, description=None).plugin_data.plugin_name == "images"
    tf.summary.create_file_writer(str(tmp_path)).close()
    assert all(path.name.startswith("events.out.tfevents.") for path in tmp_path.iterdir())


# --- Others ---


@used_by("datasets/samples.py")
def test_sample_images():
    """scikit-image's package has these images in its folder `data`."""
    from srcnn_tf.datasets.samples import SAMPLES  # not above: where an import of the package fails, a canary says why

    for name in (*SAMPLES["train_dir"], *SAMPLES["test_dir"]):
        assert (resources.files("skimage.data") / name).is_file(), name


@used_by("system/jobs.py")
def test_attributes_of_dask():
    """`as_completed` takes a loop, `KilledWorker` has `allowed_failures`, and a worker's state has `nthreads`."""
    import distributed
    from distributed.worker_state_machine import WorkerState

    assert "loop" in inspect.signature(distributed.as_completed).parameters
    assert "allowed_failures" in inspect.signature(distributed.KilledWorker).parameters
    assert "nthreads" in WorkerState.__slots__

import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from conftest import as_stored, drawn
from PIL import Image, ImageFile
from PIL.BmpImagePlugin import BmpImageFile

from srcnn_tf.errors import RunError
from srcnn_tf.images import pictures
from srcnn_tf.images.photo import Photo, write_photo


@pytest.mark.parametrize(
    ("mode", "ending"),
    [("L", "png"), ("RGB", "png"), ("RGB", "bmp"), ("RGBA", "png"), ("LA", "png"), ("RGB", "tiff"), ("RGB", "webp")],
)
def test_pictures_of_eight_bits_are_read_as_stored(mode, ending):
    truth = drawn(20, 30)
    picture = Image.fromarray(truth).convert(mode)
    options = {"lossless": True} if ending == "webp" else {}
    picture.save(f"a.{ending}", **options)
    expected = np.asarray(picture.convert("L")) if mode in ("L", "LA") else truth
    np.testing.assert_array_equal(pictures.read_image(f"a.{ending}"), expected)


def test_colour_under_transparency_is_kept():
    rgba = np.dstack([drawn(8, 9), np.full((8, 9), 7, np.uint8)])
    Image.fromarray(rgba).save("a.png")
    np.testing.assert_array_equal(pictures.read_image("a.png"), rgba[..., :3])


def test_palette_picture_is_read_in_its_colours():
    colours = np.array([[250, 10, 20], [5, 200, 100], [30, 40, 220]], np.uint8)
    places = np.arange(12).reshape(3, 4) % 3
    picture = Image.fromarray(places.astype(np.uint8), mode=None).convert("P")
    picture.putpalette(colours.tobytes())
    picture.putdata(places.ravel().tolist())
    picture.save("a.png")
    np.testing.assert_array_equal(pictures.read_image("a.png"), colours[places])


def test_one_bit_picture_is_black_and_white():
    bits = (np.arange(30).reshape(5, 6) % 3 == 0).astype(np.uint8) * 255
    Image.fromarray(bits).convert("1").save("a.png")
    np.testing.assert_array_equal(pictures.read_image("a.png"), bits)


def test_sixteen_bits_are_rounded_to_eight():
    values = np.array([[0, 128, 129, 257], [65535, 65407, 65406, 32896]], np.uint16)
    Image.fromarray(values).save("a.png")
    np.testing.assert_array_equal(pictures.read_image("a.png"), [[0, 0, 1, 1], [255, 255, 254, 128]])


@pytest.mark.parametrize("ending", ["png", "tif"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_sixteen_bits_of_any_channels_are_rounded_to_eight(ending, channels):
    values = np.random.default_rng(0).integers(0, 65536, (5, 7, channels)).astype(np.uint16)
    write_photo([Photo(values if channels > 1 else values[..., 0])], f"a.{ending}")
    expected = np.rint(values[..., :3] / 257) if channels > 2 else np.rint(values[..., 0] / 257)
    np.testing.assert_array_equal(pictures.read_image(f"a.{ending}"), expected)


def test_a_picture_too_large_to_train_on_is_named(make_picture, monkeypatch):
    monkeypatch.setattr(pictures, "MOST_PIXELS", 1000)
    with pytest.raises(RunError, match=r"a\.png: says it has 54 x 48 pixels.* Make it smaller, or remove it\.$"):
        pictures.read_image(make_picture("a.png"))


def test_cmyk_is_read_as_rgb():
    cmyk = Image.fromarray(drawn(10, 12)).convert("CMYK")
    cmyk.save("a.tiff")
    np.testing.assert_array_equal(pictures.read_image("a.tiff"), np.asarray(cmyk.convert("RGB")))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_are_applied(orientation):
    upright = drawn(12, 20)
    stored = as_stored(upright, orientation)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(stored).save("a.png", exif=exif)
    np.testing.assert_array_equal(pictures.read_image("a.png"), upright)


def test_kinds_that_would_be_read_wrongly_are_refused():
    Image.fromarray(np.linspace(0, 1, 20, dtype=np.float32).reshape(4, 5)).save("a.tiff")
    with pytest.raises(RunError, match=r"a\.tiff.*mode 'F'.*convert it"):
        pictures.read_image("a.tiff")


@pytest.mark.parametrize("damage", ["empty", "text", "truncated"])
def test_broken_pictures_are_named(damage, make_picture):
    path = make_picture("a.png")
    whole = path.read_bytes()
    path.write_bytes({"empty": b"", "text": b"no picture", "truncated": whole[: len(whole) // 2]}[damage])
    with pytest.raises(RunError, match=r"a\.png: cannot be read as a picture"):
        pictures.read_image(path)


def test_no_warning_reaches_the_user():
    # Pillow warns of a palette with a transparency for each colour.
    picture = Image.fromarray(drawn(8, 9)).quantize(4)
    picture.save("a.png", transparency=bytes([0, 128, 255, 255]))
    assert pictures.read_image("a.png").shape == (8, 9, 3)


def test_fingerprint_is_of_names_and_contents(make_picture, tmp_path):
    paths = [make_picture("a/1.png"), make_picture("a/2.png", seed=2)]
    copies = [make_picture("b/1.png"), make_picture("b/2.png", seed=2)]
    assert pictures.fingerprint(paths, tmp_path / "a") == pictures.fingerprint(copies, tmp_path / "b")
    assert pictures.fingerprint(paths[:1], tmp_path / "a") != pictures.fingerprint(paths, tmp_path / "a")


def test_threads_decode_side_by_side(make_picture, monkeypatch):
    path = make_picture("a.bmp")
    together = threading.Barrier(2, timeout=10)
    load = ImageFile.ImageFile.load

    def meeting(self):
        together.wait()
        return load(self)

    monkeypatch.setattr(BmpImageFile, "load", meeting)
    with ThreadPoolExecutor(2) as pool:
        assert [image.shape for image in pool.map(pictures.read_image, [path, path])] == [(48, 54, 3)] * 2


def test_reading_leaves_the_warnings_of_others_alone():
    picture = Image.fromarray(drawn(8, 9)).quantize(4)
    picture.save("a.png", transparency=bytes([0, 128, 255, 255]))
    before = list(warnings.filters)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: pictures.read_image("a.png").shape, range(64)))
    assert found == [(8, 9, 3)] * 64
    assert warnings.filters == before


def test_declared_size_is_rows_and_columns_and_nothing_of_a_broken_file(make_picture):
    assert pictures.declared_size(make_picture("a.png", rows=20, cols=30)) == (20, 30)
    Path("broken.png").write_bytes(b"nothing")
    assert pictures.declared_size("broken.png") == (0, 0)
    assert pictures.declared_size("nowhere.png") == (0, 0)

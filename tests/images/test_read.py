import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tifffile
from conftest import as_stored, synthetic_image
from image_files import by_tifffile, cmyk_profile, encoded, exif, noise, png, tiff, write
from PIL import Image

from srcnn_tf.errors import RunError
from srcnn_tf.images import metadata, read


@pytest.mark.parametrize(
    ("mode", "name"),
    [
        *((mode, "a.png") for mode in ("1", "L", "LA", "P", "RGB", "RGBA")),
        *(("RGB", f"a.{extension}") for extension in ("bmp", "tiff", "webp", "tif")),
        ("CMYK", "a.tif"),
        ("CMYK", "a.jpg"),
    ],
)
def test_images_of_eight_bits_are_read_as_stored(mode, name, monkeypatch):
    monkeypatch.delattr(metadata, "updated_exif")  # no metadata is needed
    alpha = synthetic_image(20, 30, 1)[..., :1] // 200  # often 0
    image = Image.fromarray(np.dstack([synthetic_image(20, 30), alpha]))
    image = image.convert("RGB").quantize(9) if mode == "P" else image.convert(mode)
    image.save(name, **({"lossless": True} if name == "a.webp" else {}))
    with Image.open(name) as stored:
        expected = np.asarray(stored.convert("L" if mode in ("1", "L", "LA") else "RGB"))
    np.testing.assert_array_equal(read.read_image(name), expected)
    assert read.read_image(name).flags.c_contiguous


@pytest.mark.parametrize("extension", ["png", "tif"])
@pytest.mark.parametrize("channels", [3, 4])
def test_colour_of_sixteen_bits_is_rounded_to_eight(extension, channels):
    values = noise(channels, np.uint16)
    values[0, :6] = np.resize([0, 128, 129, 65407, 65406, 65535], values[0, :6].shape[::-1]).T
    write(f"a.{extension}", values)
    np.testing.assert_array_equal(read.read_image(f"a.{extension}"), np.rint(values[..., :3] / 257))


def test_colour_of_twelve_bits_in_sixteen_keeps_all_levels_of_eight():
    write("a.tif", synthetic_image(40, 50).astype(np.uint16) * 16)
    image = synthetic_image(40, 50).astype(float)
    expected = (image - image.min()) / np.ptp(image) * 255
    np.testing.assert_allclose(read.read_image("a.tif"), expected, atol=0.501)


@pytest.mark.parametrize(("extension", "dtype"), [("png", np.uint16), ("tif", np.uint16), ("tif", np.float32)])
def test_measured_data_are_scaled_and_not_rounded(extension, dtype):
    values = (np.arange(2000).reshape(40, 50) * 2 + 700).astype(dtype)
    write(f"a.{extension}", values)
    scaled = read.read_image(f"a.{extension}")
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled, (values.astype(float) - 700) / 3998, atol=1e-6)
    assert len(np.unique(scaled)) == 2000
    np.testing.assert_allclose(read.read_image(f"a.{extension}", "0,1000"), np.clip(values / 1000, 0, 1), atol=1e-6)
    if dtype == np.float32:
        values[3:5, 7] = np.nan
        write("a.tif", values)
        assert np.abs(read.read_image("a.tif") - scaled)[3:5, 7].max() < 60 / 3998
        write("a.tif", np.full((9, 9), np.nan, np.float32))
        assert not read.read_image("a.tif").any()


def test_missing_data_get_the_nearest_values_however_many_rows_there_are(monkeypatch):
    monkeypatch.setattr("srcnn_tf.images.page.BAND_BYTES", 500)
    values = (np.arange(2000).reshape(40, 50) * 2 + 700).astype(np.uint16)
    values[5:8] = 0
    tifffile.imwrite("a.tif", values, extratags=[(42113, "s", 0, "0", True)])
    values[5], values[7] = values[4], values[8]
    np.testing.assert_allclose(read.read_image("a.tif")[[5, 7]], (values[[5, 7]] - 700) / 3998, atol=1e-6)


def test_orientation_and_profiles_are_applied_and_the_first_page_is_read():
    upright = synthetic_image(12, 20)
    stored = as_stored(upright, 6)
    options = {"exif": exif({0x0112: 6}), "save_all": True, "append_images": [Image.fromarray(stored[::-1])]}
    Image.fromarray(stored).save("a.png", **options)
    Path("a.tif").write_bytes(by_tifffile(stored, photometric="rgb", extratags=[(274, "H", 1, 6, False)]))
    Image.fromarray(upright).save("pages.tif", save_all=True, append_images=[Image.fromarray(upright[::-1])])
    for name in ("a.png", "a.tif", "pages.tif"):
        np.testing.assert_array_equal(read.read_image(name), upright)
    Image.new("CMYK", (32, 16)).save("a.jpg", icc_profile=cmyk_profile(0, 255))
    assert read.read_image("a.jpg").max() == 0  # white without the profile


def test_what_cannot_be_used_is_reported(monkeypatch):
    content = encoded(Image.fromarray(synthetic_image(48, 54)), "PNG")
    Path("a.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(RunError, match=r"a\.png: cannot be read as an image"):
        read.read_image("a.png")
    Path("a.tiff").write_bytes(by_tifffile(np.zeros((4, 5), np.complex64)))
    with pytest.raises(RunError, match=r"a\.tiff.*complex numbers.*convert it"):
        read.read_image("a.tiff")
    Path("a.png").write_bytes(png(np.zeros((1, 1, 3), int), 8, 2, size=(14_000, 15_000), data=b""))
    with pytest.raises(RunError, match=r"\(210\.0 megapixels\); at most 200\.0 megapixels are read"):  # as in upscaling
        read.read_image("a.png")
    Path("a.png").write_bytes(content)
    monkeypatch.setattr(read, "MAX_PIXELS", 1000)
    with pytest.raises(RunError, match=r"a\.png: declares 54 x 48 pixels.* Make it smaller, or remove it\.$"):
        read.read_image("a.png")


def test_no_warning_reaches_the_user_and_those_of_others_are_left_alone():
    # Pillow warns of a palette with a transparency for each colour.
    Image.fromarray(synthetic_image(8, 9)).quantize(4).save("a.png", transparency=bytes([0, 128, 255, 255]))
    before, limit = list(warnings.filters), Image.MAX_IMAGE_PIXELS
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda _: read.read_image("a.png").shape, range(64))) == [(8, 9, 3)] * 64
    assert (warnings.filters, Image.MAX_IMAGE_PIXELS) == (before, limit)


@pytest.mark.linux
def test_a_named_pipe_is_refused_and_does_not_hang(tmp_path):
    pipe = tmp_path / "a.png"
    os.mkfifo(pipe)
    assert len(read.fingerprint([pipe], tmp_path)) == 64
    with pytest.raises(RunError, match="it is not a file"):
        read.read_image(pipe)


def test_fingerprint_is_of_names_and_contents(tmp_path):
    for folder in "ab":
        Path(folder).mkdir()
        for number in (1, 2):
            Path(folder, f"{number}.png").write_bytes(bytes([number - 1]))
    first, second = [[tmp_path / folder / f"{number}.png" for number in (1, 2)] for folder in "ab"]
    known = "659f2bbffa9e706cedce0a80e684094d04c4556f1877a9c58f60a5b4e727914b"  # shipped sidecars hold such sums
    assert read.fingerprint(first, tmp_path / "a") == read.fingerprint(second, tmp_path / "b") == known
    assert read.fingerprint(first[:1], tmp_path / "a") != known


def test_declared_size_is_rows_and_columns_and_zero_of_a_broken_file(capfd):
    Image.fromarray(synthetic_image(20, 30)).save("a.png")
    assert read.declared_size("a.png") == (20, 30)
    # Pillow does not identify TIFF of grey with alpha of 16 bits, or of 10 bits.
    Path("alpha.tif").write_bytes(tiff(4, 5, [bytes(80)], bits=(16, 16), more=[(338, 3, [2])]))
    Path("ten.tif").write_bytes(tiff(4, 5, [bytes(28)], bits=(10,)))
    samples = by_tifffile(synthetic_image(4, 5)).replace(b"\x15\1\3\0\1\0\0\0\3\0", b"\x15\1\3\0\1\0\0\0\xff\xff")
    Path("samples.tif").write_bytes(samples)  # 65,535 of them in a pixel
    for name in ("alpha.tif", "ten.tif", "samples.tif"):
        assert read.declared_size(name) == (4, 5)
    assert read.read_image("alpha.tif").shape == read.read_image("ten.tif").shape == (4, 5)
    Path("broken.png").write_bytes(b"nothing")
    Path("broken.tif").write_bytes(samples[:12])
    for name in ("broken.png", "broken.tif", "nowhere.png", "."):
        assert read.declared_size(name) == (0, 0)
    assert capfd.readouterr() == ("", "")

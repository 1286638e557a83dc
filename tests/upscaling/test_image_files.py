import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
from conftest import full_disk, synthetic_image
from networks import save
from PIL import Image, ImageCms

import srcnn_tf
from srcnn_tf.config import Config
from srcnn_tf.errors import RunError, UsageError
from srcnn_tf.images.page import RowStream
from srcnn_tf.images.read import read_image
from srcnn_tf.model import build_model
from srcnn_tf.system import jobs
from srcnn_tf.system.origins import ORIGINS
from srcnn_tf.upscaling import image_files
from srcnn_tf.upscaling.network import PhaseNetwork
from srcnn_tf.upscaling.upscaler import Upscaler


def test_the_self_ensemble_does_not_depend_on_the_orientation(make_image):
    image = synthetic_image(20, 25, seed=2)
    differences = []
    for self_ensemble in (True, False):
        upscaled, turned = (
            srcnn_tf.upscale_image(pixels, 2, self_ensemble=self_ensemble).astype(int)
            for pixels in (image, np.rot90(image))
        )
        differences.append(np.abs(np.rot90(upscaled) - turned).max())
    assert differences[0] <= 1 < 3 < differences[1]  # without it, the result does depend on the orientation
    make_image("a.png", rows=20, cols=25, seed=2)
    upscale_files(input="a.png", scale=2, self_ensemble=True)
    expected = srcnn_tf.upscale_image(image, 2, self_ensemble=True)
    np.testing.assert_array_equal(read_image("sample/enlarged/a_x2.png"), expected)


def save_jpeg_weights(scale=3):
    """Weights of a run, which are not the shipped ones."""
    config = Config(degradation="jpeg", scale=scale)
    save(build_model(config.network, "he"), config)


@pytest.mark.parametrize(
    ("name", "options", "degradation", "reason"),
    [
        ("a.jpg", {"quality": 60}, "jpeg", "jpeg weights, as it is compressed (JPEG quality 60)"),
        ("a.jpg", {"quality": 99}, "matlab", "matlab weights, as it is hardly compressed (JPEG quality 99)"),
        ("a.jpg", {"quality": 80, "progressive": True, "subsampling": "4:4:4"}, "jpeg", "jpeg weights"),
        ("a.webp", {"quality": 10}, "jpeg", "jpeg weights, as it is compressed (JPEG quality "),
        ("a.webp", {"lossless": True}, "matlab", ""),
        ("a.png", {}, "matlab", ""),
        ("a.tif", {}, "matlab", ""),
        ("a.bmp", {}, "matlab", ""),
    ],
)
def test_compressed_files_are_upscaled_with_jpeg_weights(name, options, degradation, reason, capsys):
    save_jpeg_weights()
    Image.fromarray(synthetic_image(24, 32)).save(name, **options)
    upscale_files(input=name, output="auto.png")
    printed = capsys.readouterr().out
    assert (f"{name}: {reason}" in printed) if reason else ("weights," not in printed)
    for given in ("matlab", "jpeg"):
        upscale_files(input=name, output=f"{given}.png", degradation=given)
        assert "weights," not in capsys.readouterr().out
        is_same = np.array_equal(read_image("auto.png"), read_image(f"{given}.png"))
        assert is_same == (given == degradation)


def test_matlab_weights_are_used_for_compressed_files_where_there_are_no_others(capsys):
    Image.fromarray(synthetic_image(24, 32)).save("a.jpg", quality=60)
    config = Config(degradation="matlab", architecture="9-3-5")
    save(build_model(config.network), config)
    upscale_files(input="a.jpg", architecture="9-3-5")
    expected = "matlab weights, as no run has --degradation=jpeg, although it is compressed (JPEG quality 60)"
    assert f"a.jpg: {expected}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "name", "size"),
    [
        ({"scale": 2.5}, "a_x2.5.png", (43, 35)),  # 42.5
        ({"scale": 2.0}, "a_x2.png", (34, 28)),
        ({"width": 40}, "a_width40.png", (40, 33)),
        ({"height": 21}, "a_height21.png", (26, 21)),  # 25.5
        ({"width": 100, "height": 100}, "a_100x100.png", (100, 82)),
    ],
)
def test_files_get_exact_sizes_and_names_that_tell_them(make_image, flags, name, size):
    make_image("a.png", rows=14, cols=17)
    upscale_files(input="a.png", **flags)
    assert written() == [name]
    with Image.open(f"sample/enlarged/{name}") as image:
        assert image.size == size


def test_a_size_that_is_smaller_or_too_large_is_refused_and_leaves_no_file(make_image, capsys):
    make_image("a.png", rows=14, cols=17)
    for flags, problem in (
        ({"width": 16}, "a.png: An image of 17 x 14 pixels cannot be upscaled to 16 x 13"),
        ({"width": 200, "max_megapixels": 0.032}, "a.png: would have 200 x 165 pixels, 0.03 megapixels; expected"),
    ):
        with pytest.raises(RunError, match="1 of 1 files could not be upscaled"):
            upscale_files(input="a.png", **flags)
        assert problem in capsys.readouterr().err
    assert written() == []


def test_a_large_tiff_is_upscaled_in_bands_in_several_passes(tmp_path, monkeypatch):
    """Never more rows than a few bands are kept, of the image and of each intermediate one."""
    tifffile.imwrite("a.tif", np.tile(synthetic_image(500, 16), (6, 1, 1)), rowsperstrip=16)
    kept = []
    original = RowStream.__getitem__

    def measured(stream, rows):
        values = original(stream, rows)
        kept.append(len(values))
        return values

    monkeypatch.setattr(RowStream, "__getitem__", measured)
    upscale_files(input="a.tif", scale=4.5)
    assert tifffile.imread("sample/enlarged/a_x4.5.tif").shape == (13500, 72, 3)
    assert max(kept) < 5000


def test_other_networks_are_refused_by_name(make_image):
    with pytest.raises(UsageError, match=r"--scale=17: expected a number above 1, up to 16"):
        srcnn_tf.upscale_image(np.zeros((5, 5), np.uint8), scale=17)
    with pytest.raises(AttributeError, match="no attribute 'upscale_files'"):
        srcnn_tf.upscale_files  # noqa: B018
    with pytest.raises(UsageError, match="--architecture=9-2-5"):
        srcnn_tf.load_model(architecture="9-2-5")
    make_image("a.png", rows=12, cols=12)
    with pytest.raises(RunError, match=r"No weights for --scale=2 --degradation=matlab .*--c_dim=3"):
        upscale_files(input="a.png", scale=2, c_dim=3)


def upscale_files(**flags):
    image_files.upscale_files(Config(**flags))


def written(folder="sample/enlarged"):
    paths = [path for path in Path(folder).rglob("*") if not path.is_dir() and path.name != ORIGINS]
    return sorted(str(path.relative_to(folder)) for path in paths)


def test_one_image_is_upscaled_with_shipped_weights_into_the_sample_folder(make_image, capsys):
    with pytest.raises(RunError, match=r"--input=\. has no images"):
        upscale_files(input=".")
    make_image("my photo.png", rows=20, cols=31)
    upscale_files(input="my photo.png", scale=2)
    assert written() == ["my photo_x2.png"]
    expected = srcnn_tf.upscale_image(read_image("my photo.png"), scale=2)
    np.testing.assert_array_equal(np.asarray(Image.open("sample/enlarged/my photo_x2.png")), expected)
    output = capsys.readouterr().out
    assert "Weights: shipped" in output
    assert "1 of 1 upscaled, to sample/enlarged/my photo_x2.png" in output
    assert not Path("logs").exists()


def test_output_is_a_file_or_a_folder(make_image):
    make_image("a.png", rows=12, cols=12)
    Path("there.d").mkdir()
    names = {
        "large.jpg": "",
        "new/folder": "/a_x3.png",
        "there.d": "/a_x3.png",
        "x.d/": "a_x3.png",
        "v1.2": "/a_x3.png",
    }
    for output, rest in names.items():
        upscale_files(input="a.png", output=output)
        assert read_image(output + rest).shape == (36, 36, 3)


@pytest.mark.linux
def test_a_folder_keeps_its_tree_and_existing_files(make_image, capsys):
    names = ["a.png", "sub/a.png", "sub/b.jpg", "ä 图.png", "line\nbreak.png", "-x.png", "a.b.PNG"]
    for name in names:
        make_image(f"in/{name}", rows=12, cols=15)
    upscale_files(input="in", output="out")
    assert written("out") == sorted(f"{name[:-4]}_x3{name[-4:]}" for name in names)
    Path("out/a_x3.png").write_bytes(b"mine")
    Path("out/sub/b_x3.jpg").unlink()
    capsys.readouterr()
    upscale_files(input="in", output="out")
    output = capsys.readouterr().out
    assert "6 of 7 already exist; --overwrite upscales them again." in output
    assert "1 of 1 upscaled" in output
    assert Path("out/a_x3.png").read_bytes() == b"mine"
    upscale_files(input="in", output="out", overwrite=True)
    assert read_image("out/a_x3.png").shape == (36, 45, 3)


@pytest.mark.parametrize("output", [".", None, "out"])
def test_results_in_the_same_tree_are_not_upscaled_again(output, make_image):
    make_image("a.png", rows=12, cols=12)
    for scale in (2, 2, 3) if output != "." else (3, 3):
        upscale_files(input=".", output=output, scale=scale)
    expected = ["a.png", "a_x2.png", "a_x3.png"] if output != "." else ["a.png", "a_x3.png"]
    assert sorted(path.name for path in Path().rglob("*.png")) == expected


@pytest.mark.linux
def test_images_that_cannot_be_upscaled_are_reported_and_the_others_are_upscaled(make_image, capsys):
    make_image("in/a.png", rows=12, cols=12)
    Path("in/broken.png").write_bytes(b"nothing")
    Path("in/empty.jpg").touch()
    Path("in/line\nbreak.png").touch()
    os.mkfifo("in/pipe.png")
    Path("in/nowhere.png").symlink_to("nothing.png")
    Path("in/self.png").symlink_to("self.png")
    Path("in/loop").symlink_to(".")
    Path("out").mkdir()
    Path("out/self_x3.png").symlink_to("self_x3.png")
    Image.new("L", (200_001, 1)).save("in/wide.png")
    with pytest.raises(RunError, match="7 of 8 files could not be upscaled; see the messages above"):
        upscale_files(input="in", output="out")
    problems = capsys.readouterr().err
    for name in ("broken.png", "empty.jpg", "line break.png", "pipe.png", "nowhere.png", "self.png", "wide.png"):
        assert f"Problem: in/{name}: " in problems
    assert "in/wide.png: declares 200001 x 1 pixels; at most 200,000 rows and columns" in problems
    assert problems.count("\n") == 7
    assert written("out") == ["a_x3.png", "self_x3.png"]
    assert read_image("out/a_x3.png").shape == (36, 36, 3)


def test_no_image_is_overwritten(make_image, capsys):
    make_image("in/a.png", rows=12, cols=12)
    with pytest.raises(RunError, match="1 of 1"):
        upscale_files(input="in/a.png", output="in/a.png", overwrite=True)
    assert "in/a.png would be overwritten" in capsys.readouterr().err
    assert read_image("in/a.png").shape == (12, 12, 3)


def test_an_image_with_the_name_of_a_result_is_not_overwritten(make_image, capsys):
    make_image("a.png", rows=12, cols=12)
    make_image("a_x2.png", rows=13, cols=13)
    upscale_files(input=".", output=".", scale=2)
    output = capsys.readouterr().out
    assert "Images ignored because upscaled images have these names: 1." in output
    assert "1 of 1 already exist" in output
    with pytest.raises(RunError, match="1 of 1"):
        upscale_files(input=".", output=".", scale=2, overwrite=True)
    assert "a_x2.png, an image below --input, would be overwritten by the upscaled a.png" in capsys.readouterr().err
    assert read_image("a_x2.png").shape == (13, 13, 3)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"output": "large.gif"}, "Problem: large.gif: "),
        ({"max_megapixels": 0.08}, "--max_megapixels"),
    ],
)
def test_output_that_cannot_be_written_or_is_too_large_is_reported(flags, message, make_image, capsys):
    make_image("a.png", rows=100, cols=100)
    with pytest.raises(RunError, match="1 of 1"):
        upscale_files(input="a.png", **flags)
    assert message in capsys.readouterr().err
    assert sorted(path.name for path in Path().rglob("*") if path.is_file()) == ["a.png"]
    upscale_files(input="a.png", max_megapixels=0.09)


def test_a_full_disk_is_reported_and_leaves_no_partial_file(make_image, capsys):
    make_image("in/a.png", rows=90, cols=90)
    make_image("in/b.png", rows=12, cols=12)
    with full_disk(5_000), pytest.raises(RunError, match="1 of 2"):
        upscale_files(input="in", output="out")
    assert "Problem: out/a_x3.png: cannot be written (File too large)" in capsys.readouterr().err
    assert written("out") == ["b_x3.png"]


def test_a_bar_counts_megapixels_within_an_image_and_no_more_than_declared(make_image, monkeypatch):
    make_image("in/a.png", rows=200, cols=100)
    Path("in/broken.png").touch()
    pages = [Image.fromarray(synthetic_image(250, 250))] * 2  # 0.5625 megapixels each; the second is not declared
    pages[0].save("pages.tif", save_all=True, append_images=pages[1:])
    updates = []

    class Bar(jobs.Progress):
        def update(self, n=1):
            updates.append(n)
            return super().update(n)

    monkeypatch.setattr(jobs, "Progress", Bar)
    with pytest.raises(RunError, match="1 of 2"):
        upscale_files(input="in", output="out")
    np.testing.assert_allclose(updates, [300 * 0.0003, 300 * 0.0003, 0, 0], atol=1e-9)
    upscale_files(input="pages.tif", output="out")
    counted = updates[4:]
    assert sum(counted) == pytest.approx(0.5625)
    assert counted[:2] == pytest.approx([375 * 750 / 1e6, 375 * 750 / 1e6])


def test_too_little_memory_is_reported(make_image, monkeypatch, capsys):
    def fail(*arguments):
        raise MemoryError("Unable to allocate 9 GiB")

    make_image("a.png", rows=12, cols=12)
    monkeypatch.setattr(Upscaler, "__call__", fail)
    with pytest.raises(RunError, match="1 of 1"):
        upscale_files(input="a.png")
    message = "Problem: a.png: there is not enough memory for it (Unable to allocate 9 GiB); use a smaller image"
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("extension", ["png", "jpg", "tif", "bmp", "webp"])
def test_a_fault_of_the_program_is_named_as_one_and_the_others_are_done(extension, make_image, monkeypatch, capsys):
    """Not as one of the image's format, whose rows are computed while they are encoded."""

    def fail(network, tile):
        if tile.shape[-1] > 30:
            raise IndexError("a bug")
        return compute(network, tile)

    make_image(f"in/a.{extension}", rows=12, cols=40)
    make_image(f"in/b.{extension}", rows=12, cols=12)
    compute = PhaseNetwork.__call__
    monkeypatch.setattr(PhaseNetwork, "__call__", fail)
    monkeypatch.setattr("tempfile.tempdir", os.getcwd())
    with pytest.raises(RunError, match="1 of 2"):
        upscale_files(input="in", output="out")
    assert written("out") == [f"b_x3.{extension}"]
    problem = capsys.readouterr().err
    assert problem.startswith(
        f"Problem: in/a.{extension}: this is a fault of srcnn_tf (IndexError: a bug); please report"
    )
    assert problem.count("\n") == 1
    report = Path(problem.rpartition("traceback in ")[2].strip(". \n")).read_text()
    assert report.count('raise IndexError("a bug")') == 1
    assert "upscaler.py" in report


def test_weights_are_those_named_else_of_the_run_else_shipped(make_image, capsys):
    make_image("a.png", rows=12, cols=12)
    config = Config(degradation="matlab")
    save(build_model(config.network), config)
    upscale_files(input="a.png")
    assert "Weights: checkpoint/srcnn_21_x3_matlab/SRCNN.weights.h5" in capsys.readouterr().out
    assert read_image("sample/enlarged/a_x3.png").mean() < read_image("a.png").mean() / 2  # random weights
    weights = "mine/SRCNN.weights.h5"
    save(build_model(config.network), config, Path("mine"))
    upscale_files(input="a.png", weights=weights, overwrite=True)
    assert f"Weights: {weights}" in capsys.readouterr().out
    # In Python, the user's weights are read again by each call.
    first = srcnn_tf.upscale_image(synthetic_image(9, 9), weights=weights)
    save(srcnn_tf.load_model(3), config, Path("mine"))
    assert not np.array_equal(srcnn_tf.upscale_image(synthetic_image(9, 9), weights=weights), first)


def test_metadata_is_kept_and_quality_applies(capsys):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "A maker", 6  # to be rotated by 90 degrees
    Image.fromarray(synthetic_image(12, 20)).save("a.jpg", exif=exif, icc_profile=profile, dpi=(300, 300), quality=98)
    for quality in (30, 90):
        upscale_files(input="a.jpg", output=f"{quality}.jpg", quality=quality)
    assert Path("30.jpg").stat().st_size < Path("90.jpg").stat().st_size
    with Image.open("90.jpg") as image:
        assert (image.size, image.info["icc_profile"], image.info["dpi"]) == ((36, 60), profile, (300, 300))
        assert (image.getexif()[0x010F], image.getexif().get(0x0112, 1)) == ("A maker", 1)
    assert "left out" not in capsys.readouterr().out


def test_sixteen_bits_alpha_and_pages_are_kept_and_of_an_animation_the_first_frame(capsys):
    pages = (synthetic_image(12, 20).astype(np.uint16) * 257, 65535 - synthetic_image(15, 10).astype(np.uint16) * 200)
    with tifffile.TiffWriter("pages.tif") as file:
        for page in pages:
            file.write(page, photometric="rgb")
    Image.fromarray(np.dstack([synthetic_image(12, 20), synthetic_image(12, 20, seed=1)[..., :1]])).save("alpha.png")
    frames = [Image.new("L", (20, 12), grey) for grey in (50, 100)]
    frames[0].save("frames.gif", save_all=True, append_images=frames[1:])
    upscale_files(input=".", output="out", scale=2, value_range="dtype")
    with tifffile.TiffFile("out/pages_x2.tif") as file:
        for upscaled, page in zip(file.pages, pages, strict=True):
            np.testing.assert_array_equal(upscaled.asarray(), srcnn_tf.upscale_image(page, 2, value_range="dtype"))
    with Image.open("out/alpha_x2.png") as upscaled, Image.open("alpha.png") as image:
        assert upscaled.mode == "RGBA"
        expected = srcnn_tf.upscale_image(np.asarray(image), 2)
        np.testing.assert_array_equal(np.asarray(upscaled), expected)
    assert abs(read_image("out/frames_x2.png").mean() - 50) < 2
    assert "frames.gif: only the first of 2 frames is read" in capsys.readouterr().out

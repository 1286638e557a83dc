import math
import os
import resource
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
import tifffile
from conftest import ROOT, drawn
from PIL import Image, ImageCms
from skimage.color import rgb2ycbcr, ycbcr2rgb
from test_infer import random_model
from test_model import convolved

import srcnn_tf
from srcnn_tf import utils
from srcnn_tf.config import Config
from srcnn_tf.errors import RunError, UsageError
from srcnn_tf.images import metrics
from srcnn_tf.images.color import to_uint8
from srcnn_tf.images.pictures import read_image
from srcnn_tf.images.resize import imresize
from srcnn_tf.inference import upscale
from srcnn_tf.inference.tiling import Reconstructor
from srcnn_tf.weights import checkpoint


def restored(luma, scale=3):
    """The shipped network on a bicubic picture, in NumPy and SciPy, in one piece."""
    bicubic = imresize(luma, scale)
    padded = np.pad(bicubic, ((6, 6), (6, 6)), mode="edge")[..., np.newaxis]
    return np.clip(convolved(padded, srcnn_tf.load_model(scale))[..., 0], 0, 1)


# --- arrays ---


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_grey_is_bicubic_through_the_network(scale):
    grey = drawn(21, 30)[..., 0]
    found = srcnn_tf.upscale_image(grey, scale, precision="float32")
    expected = 255 * restored(grey / 255, scale)
    assert found.dtype == np.uint8
    assert found.shape == (21 * scale, 30 * scale)
    assert np.abs(found - expected).max() < 0.51
    assert np.abs(found - 255.0 * imresize(grey / 255, scale)).max() > 2


def test_colour_has_restored_luma_and_bicubic_chroma():
    image = drawn(21, 30)
    channels = rgb2ycbcr(image)
    expected = np.dstack([255 * restored(channels[..., 0] / 255), imresize(channels[..., 1:], 3)])
    found = srcnn_tf.upscale_image(image, precision="float32")
    np.testing.assert_allclose(found / 255, np.clip(ycbcr2rgb(expected), 0, 1), atol=0.6 / 255)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
@pytest.mark.parametrize("channels", [None, 1, 2, 3, 4])
def test_every_kind_of_array_keeps_its_kind(dtype, channels):
    image = np.dstack([drawn(14, 17), 255 - drawn(14, 17, seed=1)[..., 0]])
    image = image[..., 0] if channels is None else image[..., 4 - channels :]
    largest = 1 if np.dtype(dtype).kind == "f" else np.iinfo(dtype).max
    found = srcnn_tf.upscale_image((image / 255 * largest).astype(dtype), scale=2, precision="float32")
    assert found.dtype == dtype
    assert found.shape == (28, 34, *image.shape[2:])
    eight = srcnn_tf.upscale_image(image, scale=2, precision="float32")
    np.testing.assert_allclose(found / largest, eight / 255, atol=1.1 / 255)


def test_sixteen_bits_are_not_eight():
    ramp = np.linspace(20000, 24000, 40 * 40).reshape(40, 40).astype(np.uint16)
    found = srcnn_tf.upscale_image(ramp)
    assert len(np.unique(found)) > 2000
    expected = np.floor(65535 * restored(ramp / 65535) + 0.5)
    np.testing.assert_allclose(srcnn_tf.upscale_image(ramp, precision="float32"), expected, atol=1)


def test_alpha_is_bicubic_and_hidden_colours_do_not_bleed():
    row, col = np.mgrid[:30, :30]
    alpha = (255 * ((row - 15) ** 2 + (col - 15) ** 2 < 100)).astype(np.uint8)
    red = np.zeros((30, 30, 4), np.uint8)
    red[..., 0], red[..., 3] = 200 * (alpha > 0), alpha
    found = srcnn_tf.upscale_image(red)
    np.testing.assert_array_equal(found[..., 3], to_uint8(imresize(alpha / 255, 3)))
    plain = srcnn_tf.upscale_image(np.full((30, 30, 3), (200, 0, 0), np.uint8))
    assert np.abs(found[..., :3].astype(int) - plain).max() <= 1
    nothing = np.zeros((10, 10, 4), np.uint8)
    assert not srcnn_tf.upscale_image(nothing)[..., 3].any()


@pytest.mark.parametrize("architecture", ["9-1-5", "9-5-5"])
def test_any_tile_size_gives_the_same_picture(architecture):
    image = drawn(40, 50)
    found = []
    for tile_size in (21, 33, 64, 1000):
        config = Config(degradation="matlab", tile_size=tile_size, architecture=architecture, precision="float32")
        found.append(upscale.Upscaler(config, own_runs=False)(image))
    assert all(np.array_equal(found[0], other) for other in found[1:])


@pytest.mark.parametrize("color_space", ["ycbcr", "rgb"])
def test_a_network_of_three_channels_restores_them_all(color_space):
    config = Config(degradation="matlab", c_dim=3, color_space=color_space, precision="float32")
    model = checkpoint.build(config)
    model.set_weights(random_model(c_dim=3).get_weights())
    checkpoint.publish(model, config, checkpoint.run_directory(config))
    image = drawn(21, 30)
    bicubic = imresize(image / 255 if color_space == "rgb" else rgb2ycbcr(image) / 255, 3)
    expected = np.clip(convolved(np.pad(bicubic, ((6, 6), (6, 6), (0, 0)), mode="edge"), model), 0, 1)
    if color_space == "ycbcr":
        expected = np.clip(ycbcr2rgb(255 * expected), 0, 1)
    found = upscale.Upscaler(config)(image)
    assert np.ptp(expected) > 0.2
    np.testing.assert_allclose(found / 255, expected, atol=0.6 / 255)


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (np.zeros(5), "found shape \\(5,\\)"),
        (np.zeros((5, 5, 5), np.uint8), "1 to 4 channels, found shape \\(5, 5, 5\\)"),
        (np.zeros((0, 5), np.uint8), "found shape \\(0, 5\\)"),
        (np.zeros((5, 5), np.int32), "dtype int32"),
        (np.full((5, 5), np.nan), "found nan to nan"),
        (np.full((5, 5), 255.0), "found 255.0 to 255.0; divide"),
    ],
)
def test_other_arrays_are_refused(image, said):
    with pytest.raises(ValueError, match=said):
        srcnn_tf.upscale_image(image)


def test_other_networks_are_refused_by_name():
    with pytest.raises(RunError, match=r"No weights for .*--scale=7.*ships only"):
        srcnn_tf.upscale_image(np.zeros((5, 5), np.uint8), scale=7)
    with pytest.raises(UsageError, match="--architecture=9-2-5"):
        srcnn_tf.load_model(architecture="9-2-5")


def test_load_model_is_the_shipped_network_wherever_one_is():
    model = srcnn_tf.load_model(scale=3)
    assert isinstance(model, keras.Model)
    assert model.name == "srcnn_x3_matlab"
    checkpoint.publish(checkpoint.build(Config(degradation="matlab")), Config(degradation="matlab"), Path("checkpoint"))
    for one, other in zip(srcnn_tf.load_model(3).get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert srcnn_tf.load_model(3, degradation="scipy").name == "srcnn_x3_scipy"


def test_importing_the_package_loads_no_tensorflow():
    code = "import sys, srcnn_tf; dir(srcnn_tf); sys.exit('tensorflow' in sys.modules or 'numpy' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
    with pytest.raises(AttributeError, match="no attribute 'enlarge'"):
        srcnn_tf.enlarge  # noqa: B018


# --- on the paper's photographs ---


@pytest.mark.parametrize(("scale", "gain"), [(2, 2.5), (3, 2.0), (4, 1.5)])
def test_what_matlab_reduced_comes_back_better_than_bicubic(shared, scale, gain):
    gains = []
    for path in utils.prepare_data(shared / "data" / "Set5"):
        original = utils.modcrop(read_image(path), scale)
        small = imresize(original, 1 / scale)
        truth = np.rint(rgb2ycbcr(original)[..., 0]).astype(np.uint8)
        scores = [
            metrics.score(np.rint(rgb2ycbcr(image)[..., 0]).astype(np.uint8), truth, scale).psnr
            for image in (srcnn_tf.upscale_image(small, scale), imresize(small, scale))
        ]
        gains.append(scores[0] - scores[1])
    assert np.mean(gains) > gain


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_bfloat16_costs_next_to_nothing(scale, shared):
    config = Config(is_train=False, scale=scale, degradation="matlab")
    model = checkpoint.restored_model(config, own_runs=False)[0]
    reconstruct = [Reconstructor(model, dtype=dtype) for dtype in (tf.float32, tf.bfloat16)]
    for name in ("Set5", "Set14"):
        scores = []
        for path in utils.prepare_data(shared / "data" / name):
            degraded, original = utils.degraded_pair(read_image(path), scale, "matlab")
            truth = to_uint8(original[..., 0])
            lumas = [to_uint8(run(degraded[..., :1])[..., 0]) for run in reconstruct]
            scores.append([metrics.score(luma, truth, scale).psnr for luma in lumas])
        exact, fast = np.mean(scores, axis=0)
        assert exact != fast
        assert exact - fast <= 0.005


# --- files ---


def enlarge(**changes):
    upscale.enlarge(Config(**changes))


def written(folder="sample/enlarged"):
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*") if not path.is_dir())


def test_a_picture_becomes_a_larger_one(make_picture, run_main):
    make_picture("my photo.png", rows=20, cols=31)
    finished = run_main("--input=my photo.png", "--scale=2")
    assert written() == ["my photo_x2.png"]
    expected = srcnn_tf.upscale_image(read_image("my photo.png"), scale=2)
    np.testing.assert_array_equal(np.asarray(Image.open("sample/enlarged/my photo_x2.png")), expected)
    assert "Weights: shipped" in finished.stdout
    assert "1 of 1 enlarged, to sample/enlarged/my photo_x2.png" in finished.stdout
    assert not Path("logs").exists()


@pytest.mark.parametrize(
    ("output", "made"),
    [
        ("large.jpg", "large.jpg"),
        ("new/folder", "new/folder/a_x3.png"),
        ("there", "there/a_x3.png"),
        ("x/", "x/a_x3.png"),
    ],
)
def test_output_is_a_file_or_a_folder(output, made, make_picture):
    make_picture("a.png", rows=12, cols=12)
    Path("there").mkdir()
    enlarge(input="a.png", output=output)
    assert read_image(made).shape == (36, 36, 3)


def test_a_folder_keeps_its_tree_and_what_is_done_stays(make_picture, capsys):
    for name in ("in/a.png", "in/sub/a.png", "in/sub/b.jpg"):
        make_picture(name, rows=12, cols=15)
    enlarge(input="in", output="out")
    assert written("out") == ["a_x3.png", "sub/a_x3.png", "sub/b_x3.jpg"]
    Path("out/a_x3.png").write_bytes(b"mine")
    Path("out/sub/b_x3.jpg").unlink()
    capsys.readouterr()
    enlarge(input="in", output="out")
    said = capsys.readouterr().out
    assert "2 of 3 are there already; --overwrite makes them again." in said
    assert "1 of 1 enlarged" in said
    assert Path("out/a_x3.png").read_bytes() == b"mine"
    enlarge(input="in", output="out", overwrite=True)
    assert read_image("out/a_x3.png").shape == (36, 45, 3)


@pytest.mark.parametrize("output", [".", None])
def test_what_is_made_in_the_same_tree_is_not_enlarged_again(output, make_picture):
    make_picture("a.png", rows=12, cols=12)
    for _ in range(3):
        enlarge(input=".", output=output)
    assert sorted(path.name for path in Path().rglob("*.png")) == ["a.png", "a_x3.png"]


def test_a_broken_picture_is_named_and_the_rest_is_done(make_picture, capsys):
    make_picture("in/a.png", rows=12, cols=12)
    Path("in/broken.png").write_bytes(b"nothing")
    Path("in/empty.jpg").touch()
    Path("in/line\nbreak.png").touch()
    with pytest.raises(RunError, match="3 of 4 pictures could not be enlarged; they are named above"):
        enlarge(input="in", output="out")
    problems = capsys.readouterr().err
    assert "Problem: in/broken.png" in problems
    assert "Problem: in/empty.jpg" in problems
    assert "Problem: in/line break.png: " in problems
    assert written("out") == ["a_x3.png"]


def test_two_pictures_of_one_output_and_one_that_is_its_own(make_picture, capsys):
    make_picture("in/a.png", rows=12, cols=12)
    make_picture("in/A.png", rows=15, cols=12)
    Path("in/link.png").symlink_to("a.png")
    Path("out").mkdir()
    Path("out/A_x3.png").symlink_to("a_x3.png")
    with pytest.raises(RunError, match="1 of 3"):
        enlarge(input="in", output="out")
    assert "in/a.png would become out/a_x3.png, as in/A.png does" in capsys.readouterr().err
    with pytest.raises(RunError, match="1 of 1"):
        enlarge(input="in/a.png", output="in/a.png", overwrite=True)
    assert "in/a.png would be overwritten" in capsys.readouterr().err
    assert read_image("in/a.png").shape == (12, 12, 3)


def test_too_large_a_picture_is_refused_before_it_is_read(make_picture, capsys):
    make_picture("a.png", rows=100, cols=100)
    with pytest.raises(RunError, match="1 of 1"):
        enlarge(input="a.png", max_megapixels=0.08)
    assert "--max_megapixels" in capsys.readouterr().err
    enlarge(input="a.png", max_megapixels=0.09)


def test_a_run_of_ones_own_comes_first(make_picture, capsys):
    make_picture("a.png", rows=12, cols=12)
    config = Config(degradation="matlab")
    checkpoint.publish(checkpoint.build(config), config, checkpoint.run_directory(config))
    enlarge(input="a.png")
    assert "Weights: checkpoint/srcnn_21_x3_matlab/SRCNN.weights.h5" in capsys.readouterr().out
    assert read_image("sample/enlarged/a_x3.png").mean() < read_image("a.png").mean() / 2  # random ones


@pytest.mark.parametrize("name", ["a b.png", "ä 图.png", "line\nbreak.png", "-x.png", "a.b.PNG"])
def test_odd_names(name, make_picture):
    make_picture("in/" + name, rows=12, cols=12)
    enlarge(input="in", output="out")
    stem, _, ending = name.rpartition(".")
    assert written("out") == [f"{stem}_x3.{ending}"]


def test_links_that_loop_and_lead_nowhere(make_picture, capsys):
    make_picture("in/a.png", rows=12, cols=12)
    Path("in/loop").symlink_to(".")
    Path("in/nowhere.png").symlink_to("nothing.png")
    with pytest.raises(RunError, match="1 of 2"):
        enlarge(input="in", output="out")
    assert "Problem: in/nowhere.png" in capsys.readouterr().err
    assert written("out") == ["a_x3.png"]


def test_an_output_that_cannot_be_written_is_named(make_picture, capsys):
    make_picture("a.png", rows=12, cols=12)
    Path("file").touch()
    with pytest.raises(RunError, match="1 of 1"):
        enlarge(input="a.png", output="file/a.png")
    assert "Problem: file/a.png: cannot be written" in capsys.readouterr().err


def test_a_bar_counts_megapixels_within_a_picture_too(make_picture, monkeypatch, capsys):
    make_picture("in/a.png", rows=200, cols=100)
    Path("in/broken.png").touch()
    made = []

    class Bar(upscale.tqdm):
        def __init__(self, **options):
            super().__init__(**options | {"disable": False})

        def update(self, n=1):
            made.append(n)
            return super().update(n)

    monkeypatch.setattr(upscale, "tqdm", Bar)
    with pytest.raises(RunError, match="1 of 2"):
        enlarge(input="in", output="out", tile_size=300)
    np.testing.assert_allclose(made, [0.09, 0.09, 0, 0], atol=1e-9)


def test_pipes_and_links_to_themselves_are_named(make_picture, capsys):
    make_picture("in/a.png", rows=12, cols=12)
    os.mkfifo("in/pipe.png")
    Path("in/self.png").symlink_to("self.png")
    Path("out").mkdir()
    Path("out/self_x3.png").symlink_to("self_x3.png")
    with pytest.raises(RunError, match="2 of 3"):
        enlarge(input="in", output="out")
    problems = capsys.readouterr().err
    assert "Problem: in/pipe.png" in problems
    assert "Problem: in/self.png" in problems
    assert read_image("out/a_x3.png").shape == (36, 36, 3)


def test_too_long_a_side_is_refused_at_once(capsys):
    Image.new("L", (200_001, 1)).save("a.png")
    with pytest.raises(RunError, match="1 of 1"):
        enlarge(input="a.png")
    assert "a.png: says it has 200001 x 1 pixels; at most 200,000 rows and columns" in capsys.readouterr().err


@pytest.mark.parametrize("output", [None, "out"])
def test_what_is_in_the_output_below_the_input_is_not_enlarged(output, make_picture):
    make_picture("a.png", rows=12, cols=12)
    for scale in (2, 3):
        enlarge(input=".", output=output, scale=scale)
    assert written(output or "sample/enlarged") == ["a_x2.png", "a_x3.png"]


def test_a_picture_with_the_name_of_a_result_is_never_overwritten(make_picture, capsys):
    make_picture("a.png", rows=12, cols=12)
    make_picture("a_x2.png", rows=13, cols=13)
    enlarge(input=".", output=".", scale=2)
    said = capsys.readouterr().out
    assert "1 pictures have the names of what is made of others, and are left out." in said
    assert "1 of 1 are there already" in said
    with pytest.raises(RunError, match="1 of 1"):
        enlarge(input=".", output=".", scale=2, overwrite=True)
    assert "a_x2.png, a picture below --input, would be overwritten by what is made of a.png" in capsys.readouterr().err
    assert read_image("a_x2.png").shape == (13, 13, 3)


def test_a_format_that_is_not_written_is_refused(make_picture, capsys):
    make_picture("a.png", rows=12, cols=12)
    with pytest.raises(RunError, match="1 of 1"):
        enlarge(input="a.png", output="large.gif")
    assert "large.gif: its ending names no format that is written" in capsys.readouterr().err
    assert not Path("large.gif").exists()


def test_an_animation_becomes_its_first_frame(capsys):
    Path("in").mkdir()
    frames = [Image.new("L", (20, 12), grey) for grey in (50, 100)]
    frames[0].save("in/a.gif", save_all=True, append_images=frames[1:])
    enlarge(input="in", scale=2)
    assert "in/a.gif: animated: only the first of 2 frames is read" in capsys.readouterr().out
    assert abs(read_image("sample/enlarged/a_x2.png").mean() - 50) < 2


def test_what_belongs_to_a_picture_is_kept(capsys):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "A maker", 6  # to be turned by a quarter
    Image.fromarray(drawn(12, 20)).save("a.jpg", exif=exif, icc_profile=profile, dpi=(300, 300), quality=98)
    for quality in (30, 90):
        enlarge(input="a.jpg", output=f"{quality}.jpg", quality=quality)
    assert Path("30.jpg").stat().st_size < Path("90.jpg").stat().st_size
    with Image.open("90.jpg") as found:
        assert found.size == (36, 60)
        assert found.info["icc_profile"] == profile
        assert found.info["dpi"] == (300, 300)
        assert found.getexif()[0x010F] == "A maker"
        assert found.getexif().get(0x0112, 1) == 1
    assert "left out" not in capsys.readouterr().out


def test_sixteen_bits_transparency_and_pages_are_kept():
    deep = (drawn(12, 20).astype(np.uint16) * 257, 65535 - drawn(15, 10).astype(np.uint16) * 200)
    with tifffile.TiffWriter("pages.tif") as file:
        for page in deep:
            file.write(page, photometric="rgb")
    Image.fromarray(np.dstack([drawn(12, 20), drawn(12, 20, seed=1)[..., :1]])).save("alpha.png")
    enlarge(input=".", output="out", scale=2, precision="float32")
    with tifffile.TiffFile("out/pages_x2.tif") as file:
        for found, page in zip(file.pages, deep, strict=True):
            np.testing.assert_array_equal(found.asarray(), srcnn_tf.upscale_image(page, 2, precision="float32"))
    with Image.open("out/alpha_x2.png") as found, Image.open("alpha.png") as image:
        assert found.mode == "RGBA"
        expected = srcnn_tf.upscale_image(np.asarray(image), 2, precision="float32")
        np.testing.assert_array_equal(np.asarray(found), expected)


def test_weights_of_ones_own_are_taken_and_read_anew(make_picture, capsys):
    make_picture("a.png", rows=12, cols=12)
    config = Config(degradation="matlab")
    weights = "mine/SRCNN.weights.h5"
    checkpoint.publish(checkpoint.build(config), config, Path("mine"))
    enlarge(input="a.png", weights=weights)
    assert f"Weights: {weights}" in capsys.readouterr().out
    first = srcnn_tf.upscale_image(drawn(9, 9), weights=weights)
    checkpoint.publish(srcnn_tf.load_model(3), config, Path("mine"))
    assert not np.array_equal(srcnn_tf.upscale_image(drawn(9, 9), weights=weights), first)


@pytest.mark.parametrize("ending", ["png", "jpg", "webp", "tif", "bmp"])
def test_a_full_disk_is_named_and_nothing_is_half_written(ending, make_picture, capsys):
    make_picture("in/a.png", rows=90, cols=90)
    make_picture("in/b.png", rows=12, cols=12)
    for name in ("a", "b"):
        Image.open(f"in/{name}.png").save(f"in/{name}.{ending}")
        if ending != "png":
            Path(f"in/{name}.png").unlink()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, limits[1]))
    try:
        with pytest.raises(RunError, match="1 of 2"):
            enlarge(input="in", output="out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert f"Problem: out/a_x3.{ending}: cannot be written (File too large)" in capsys.readouterr().err
    assert written("out") == [f"b_x3.{ending}"]


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--input=none.png"], 1, "--input=none.png: there is no such file or folder."),
        (["--input=.", "--is_train=False"], 2, "--input and --is_train exclude each other"),
        (["--input=.", "--fetch=T91"], 2, "--fetch and --input exclude each other"),
        (["--input="], 2, "--input is empty"),
        (["--input=.", "--quality=101"], 2, "--quality=101: expected 1 to 100"),
        (["--input=.", "--max_megapixels=0"], 2, "--max_megapixels=0.0: expected a number above 0"),
        (["--input=.", "--max_megapixels=inf"], 2, "--max_megapixels=inf: expected a number above 0"),
        (["--input=."], 1, "--input=. has no pictures"),
    ],
)
def test_what_cannot_be_done_is_one_line(arguments, status, said, run_main):
    finished = run_main(*arguments, check=False)
    assert finished.returncode == status
    assert finished.stderr.count("\n") == 1
    assert said in finished.stderr


def test_scales_of_the_shipped_weights_alone(make_picture):
    make_picture("a.png", rows=12, cols=12)
    with pytest.raises(RunError, match=r"No weights for .*--scale=5 --degradation=matlab"):
        enlarge(input="a.png", scale=5)
    assert math.isclose(srcnn_tf.upscale_image(np.ones((9, 9))).mean(), 1, abs_tol=0.02)

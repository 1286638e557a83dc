import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from srcnn_tf import utils
from srcnn_tf.config import Config
from srcnn_tf.errors import RunError, UsageError
from srcnn_tf.images import color, metrics
from srcnn_tf.images.pictures import read_image
from srcnn_tf.inference import report
from srcnn_tf.inference.evaluate import evaluate
from srcnn_tf.inference.tiling import Reconstructor, score
from srcnn_tf.weights import checkpoint


@pytest.fixture
def config():
    """A run with weights that change a picture."""
    config = Config(is_train=False)
    model = checkpoint.build(config)
    kernels = model.get_weights()
    for kernel, value in ((0, 1 / 81), (2, 1 / 64), (4, 1 / (25 * 32))):
        kernels[kernel][:] = value  # a mean over 9 x 9 pixels, then one over 5 x 5
    model.set_weights(kernels)
    checkpoint.publish(model, config, checkpoint.run_directory(config))
    return config


def rows():
    return list(csv.DictReader(Path("sample/results.csv").read_text().splitlines()))


def test_every_picture_gets_three_files_and_a_row(config, make_picture, capsys):
    make_picture("Test/Set5/b.png")
    make_picture("Test/Set5/a.BMP", mode="L")
    make_picture("Test/c.png", rows=50)
    make_picture("Test/other/deep/d.jpg")
    results = evaluate(config)
    names = [("Test", "c"), ("Set5", "a"), ("Set5", "b"), ("other/deep", "d")]
    assert sorted((result.set, result.image) for result in results) == sorted(names)
    for folder, name in names:
        for ending in ("bicubic", "srcnn", "comparison"):
            assert Path("sample", folder, f"{name}_{ending}.png").is_file()
    assert [(row["set"], row["image"]) for row in rows()] == [(result.set, result.image) for result in results]
    assert all(row["weights"] == "checkpoint/srcnn_21_x3_scipy/SRCNN.weights.h5" for row in rows())
    output = capsys.readouterr().out
    assert "Weights: checkpoint/srcnn_21_x3_scipy/SRCNN.weights.h5" in output
    assert all(f"{folder}/{name} " in output and f"{folder}: average" in output for folder, name in names)
    assert len(list(Path("logs/srcnn_21_x3_scipy/test").iterdir())) == 1


def test_saved_pictures_are_what_was_scored(config, make_picture):
    path = make_picture("Test/a.png", rows=50, cols=61)
    (result,) = evaluate(config)
    image = read_image(path)
    degraded, original = utils.degraded_pair(image)
    pictures = {ending: read_image(f"sample/Test/a_{ending}.png") for ending in ("bicubic", "srcnn", "comparison")}
    np.testing.assert_array_equal(pictures["bicubic"], color.to_image(degraded))
    # The network of `config` takes two means; chroma is that of the degraded picture.
    luma = _mean(_mean(np.pad(degraded[..., 0], 6, mode="edge"), 9), 5)
    expected = color.to_image(np.dstack([luma, degraded[..., 1:]]))
    assert np.abs(pictures["srcnn"].astype(int) - expected).max() <= 1
    truth = color.to_uint8(original[..., 0])
    assert result.psnr_bicubic == metrics.score(color.to_uint8(degraded[..., 0]), truth, 3).psnr
    assert result.psnr_srcnn == pytest.approx(metrics.score(color.to_uint8(luma), truth, 3).psnr, abs=0.01)
    cropped = pictures["comparison"][-48:, -60:]
    np.testing.assert_array_equal(cropped, image[:48, :60])


def _mean(image, side):
    return np.lib.stride_tricks.sliding_window_view(image, (side, side)).mean(axis=(2, 3))


def test_grey_stays_grey(config, make_picture):
    make_picture("Test/a.png", mode="L")
    evaluate(config)
    assert read_image("sample/Test/a_srcnn.png").ndim == 2


@pytest.mark.parametrize(("number", "name"), [(0, "a"), (2, "c")])
def test_one_picture_may_be_picked_from_the_sorted_list(number, name, make_picture):
    published(Config())
    for picture in "cab":
        make_picture(f"Test/{picture}.png")
    evaluate(Config(is_train=False, image_index=str(number)))
    assert [row["image"] for row in rows()] == [name]


def published(config):
    checkpoint.publish(checkpoint.build(config), config, checkpoint.run_directory(config))


def test_a_number_beyond_the_list_is_refused_before_anything_is_written(config, make_picture):
    make_picture("Test/a.png")
    with pytest.raises(UsageError, match=r"--image_index=1: there are 1 pictures below Test, expected 0 to 0"):
        evaluate(Config(is_train=False, image_index="1"))
    assert not Path("sample").exists()


def test_broken_and_small_pictures_are_named_and_the_rest_is_done(config, make_picture, capsys):
    make_picture("Test/good.png")
    Path("Test/broken.png").write_bytes(b"nothing")
    make_picture("Test/small.png", rows=16)
    make_picture("Test/tiny.png", rows=2, cols=2)
    with pytest.raises(RunError, match="3 of 4 pictures could not be tested; they are named above"):
        evaluate(config)
    problems = capsys.readouterr().err
    assert "Problem: Test/broken.png: cannot be read as a picture" in problems
    assert "Problem: Test/small.png: 15 x 54 pixels are too few: SSIM needs 11 x 11" in problems
    assert "Problem: Test/tiny.png: 2 x 2 pixels are too few to be reduced 3 times" in problems
    assert [row["image"] for row in rows()] == ["good"]
    assert sorted(path.name for path in Path("sample/Test").iterdir()) == [
        f"good_{ending}.png" for ending in ("bicubic", "comparison", "srcnn")
    ]


def test_two_pictures_of_one_name_are_not_mixed_up(config, make_picture, capsys):
    make_picture("Test/a.bmp")
    make_picture("Test/a.png", seed=1)
    with pytest.raises(RunError, match="1 of 2 pictures"):
        evaluate(config)
    assert "Test/a.png: another picture of this folder called a was tested" in capsys.readouterr().err


def test_a_perfect_picture_is_inf(config, make_picture):
    Path("Test").mkdir()
    Image.new("L", (60, 60), 0).save("Test/black.png")
    (result,) = evaluate(config)
    assert result.psnr_srcnn == float("inf")
    assert rows()[0]["psnr_srcnn"] == "inf"


def test_no_weights_is_an_error_that_says_where_it_looked(make_picture):
    make_picture("Test/a.png")
    with pytest.raises(RunError, match=r"No weights .*--scale=7 .*no checkpoint/srcnn_21_x7_scipy/SRCNN\.weights\.h5"):
        evaluate(Config(is_train=False, scale=7))
    assert not Path("sample").exists()


def test_a_place_that_cannot_be_written_is_named_for_each_picture(config, make_picture, capsys):
    make_picture("Test/a.png")
    Path("sample").touch()
    with pytest.raises(RunError, match="1 of 1 pictures"):
        evaluate(config)
    assert "Problem: sample/Test/a_bicubic.png: cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize("color_space", ["ycbcr", "rgb"])
def test_colour_network_is_tested_on_colour_and_grey(color_space, make_picture):
    config = Config(is_train=False, c_dim=3, color_space=color_space)
    published(config)
    make_picture("Test/colour.png")
    make_picture("Test/grey.png", mode="L")
    evaluate(config)
    assert read_image("sample/Test/colour_srcnn.png").ndim == 3
    assert read_image("sample/Test/grey_srcnn.png").ndim == 2


# --- on the paper's photographs ---


def test_the_references_weights_score_what_they_should(shared):
    """Measured for this project with the reference's published weights: PSNR of each picture, degraded and restored."""
    weights = str(shared / "reference" / "srcnn_21" / "SRCNN.model-2550000")
    results = evaluate(Config(is_train=False, test_dir=str(shared / "data" / "Set5"), weights=weights))
    assert [result.psnr_bicubic for result in results] == pytest.approx(
        [30.192, 28.407, 20.452, 30.260, 24.925], abs=0.001
    )
    assert [result.psnr_srcnn for result in results] == pytest.approx(
        [31.329, 29.716, 21.751, 30.790, 26.193], abs=0.01
    )
    results = evaluate(Config(is_train=False, test_dir=str(shared / "data" / "Set14"), weights=weights))
    found = dict(report.averages(results))["Set14"]
    assert found["psnr_bicubic"] == pytest.approx(24.674, abs=0.001)
    assert found["psnr_srcnn"] == pytest.approx(25.493, abs=0.01)


@pytest.mark.parametrize(
    ("degradation", "architecture", "scale", "set5", "set14"),
    [
        ("matlab", "9-1-5", 2, 36.66, 32.36),
        ("matlab", "9-1-5", 3, 32.66, 29.15),
        ("matlab", "9-1-5", 4, 30.34, 27.36),
        ("matlab", "9-5-5", 2, 36.80, 32.45),
        ("matlab", "9-5-5", 3, 32.95, 29.35),
        ("matlab", "9-5-5", 4, 30.58, 27.5),
        ("scipy", "9-1-5", 2, 34.70, 30.58),
        ("scipy", "9-1-5", 3, 30.52, 26.82),
        ("scipy", "9-1-5", 4, 27.78, 25.05),
    ],
)
def test_shipped_weights_score_what_is_promised(degradation, architecture, scale, set5, set14, shared):
    """Without `evaluate`, whose files take longer than the scores."""
    config = Config(is_train=False, degradation=degradation, architecture=architecture, scale=scale)
    sidecar = json.loads(checkpoint._shipped(config).with_suffix("").with_suffix(".json").read_text())
    reconstruct = Reconstructor(checkpoint.restored_model(config)[0])
    for name, least in (("Set5", set5), ("Set14", set14)):
        scores = []
        for path in utils.prepare_data(shared / "data" / name):
            degraded, original = utils.degraded_pair(read_image(path), scale, degradation)
            bicubic, srcnn = (score(channels, original, config) for channels in (degraded, reconstruct(degraded)))
            scores.append([bicubic.psnr, srcnn.psnr, bicubic.ssim, srcnn.ssim])
        found = np.mean(scores, axis=0)
        assert found[1] >= least
        assert list(sidecar["scores"][name].values()) == pytest.approx(found.tolist(), abs=5e-4)


def test_number_two_of_set5_is_the_butterfly(shared):
    (result,) = evaluate(Config(is_train=False, test_dir=str(shared / "data" / "Set5"), image_index="2"))
    assert result.image == "butterfly_GT"

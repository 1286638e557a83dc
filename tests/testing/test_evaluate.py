import csv
import hashlib
import itertools
import json
import re
import shutil
import time
from dataclasses import replace
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from conftest import forbid, full_disk
from networks import find, save
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from srcnn_tf.config import Config
from srcnn_tf.errors import RunError, UsageError
from srcnn_tf.images import color, metrics
from srcnn_tf.images.read import read_image
from srcnn_tf.model import build_model
from srcnn_tf.spec import ColorSpace
from srcnn_tf.system.files import TEMPORARY
from srcnn_tf.system.origins import ORIGINS
from srcnn_tf.testing.evaluate import LOGGED_IMAGES, evaluate
from srcnn_tf.testing.report import average_scores
from srcnn_tf.testing.tensorboard import TensorBoardLog
from srcnn_tf.testing.tiling import TiledModel
from srcnn_tf.upscaling.image_files import upscale_files
from srcnn_tf.utils import prepare_data, preprocess


@pytest.fixture
def config():
    """A run whose weights are two means: over 9 x 9 pixels, then over 5 x 5."""
    config = Config(is_train=False)
    model = build_model(config.network)
    weights = model.get_weights()
    for index, value in ((0, 1 / 81), (2, 1 / 64), (4, 1 / (25 * 32))):
        weights[index][:] = value
    model.set_weights(weights)
    save(model, config)
    return config


def read_csv():
    return list(csv.DictReader(Path("sample/results.csv").read_text().splitlines()))


def test_the_self_ensemble_is_tested_and_recorded(make_image):
    """The weights of this package, which it improves; the columns of results.csv stay the same."""
    make_image("Test/a.png")
    config = Config(is_train=False, degradation="matlab")
    (single,), names = evaluate(config), list(read_csv()[0])
    (mean,) = evaluate(replace(config, self_ensemble=True))
    degraded, original = preprocess(read_image("Test/a.png"), config)
    restored = TiledModel(find(config)[0], self_ensemble=True)(degraded)
    assert (
        mean.psnr_srcnn
        == metrics.score_channels(restored, original, 3, ColorSpace(studio=True)).psnr
        != single.psnr_srcnn
    )
    assert [row["weights"] for row in read_csv()] == ["shipped (self-ensemble)"]
    assert list(read_csv()[0]) == names


def test_each_image_gets_three_files_a_row_and_a_line(config, make_image, capsys):
    make_image("Test/Set5/b.png")
    make_image("Test/Set5/a.BMP", mode="L")
    make_image("Test/c.png", rows=50)
    make_image("Test/other/deep/d.jpg")
    results = evaluate(config)
    names = [("Test", "c"), ("Set5", "a"), ("Set5", "b"), ("other/deep", "d")]
    assert sorted((result.set, result.image) for result in results) == sorted(names)
    for folder, name in names:
        for ending in ("bicubic", "srcnn", "comparison"):
            assert Path("sample", folder, f"{name}_{ending}.png").is_file()
    assert [(row["set"], row["image"]) for row in read_csv()] == [(result.set, result.image) for result in results]
    assert all(row["weights"] == "checkpoint/srcnn_21_x3_scipy/SRCNN.weights.h5" for row in read_csv())
    output = capsys.readouterr().out
    assert "Weights: checkpoint/srcnn_21_x3_scipy/SRCNN.weights.h5" in output
    assert all(f"{folder}/{name} " in output and f"{folder}: average" in output for folder, name in names)
    assert len(list(Path("logs/srcnn_21_x3_scipy/test").iterdir())) == 1


def test_results_are_in_the_order_of_the_images_and_the_first_of_each_set_are_logged(config, make_image, monkeypatch):
    restore = TiledModel.__call__

    def restore_smaller_ones_first(model, degraded):
        time.sleep(len(degraded) / 1000)
        return restore(model, degraded)

    monkeypatch.setattr(TiledModel, "__call__", restore_smaller_ones_first)
    monkeypatch.setattr("srcnn_tf.testing.evaluate.cores", lambda: 3)
    for number, rows in enumerate((150, 30, 40, 120, 30, 60)):
        make_image(f"Test/{number}.png", rows, 40)
    make_image("Test/Set5/a.png")
    names = [result.image for result in evaluate(config)]
    assert names == [row["image"] for row in read_csv()] == [*"012345", "a"]
    events = EventAccumulator("logs/srcnn_21_x3_scipy/test").Reload()
    logged = {
        tag for tag in events.Tags()["tensors"] if events.SummaryMetadata(tag).plugin_data.plugin_name == "images"
    }
    assert logged == {"test/Set5/a", *(f"test/Test/{number}" for number in range(LOGGED_IMAGES))}


def test_ctrl_c_ends_the_threads_and_leaves_whole_images_only(config, make_image, monkeypatch):
    def interrupt(log, step, name, image):
        raise KeyboardInterrupt

    monkeypatch.setattr(TensorBoardLog, "write_image", interrupt)
    monkeypatch.setattr("srcnn_tf.testing.evaluate.cores", lambda: 2)
    for number in range(9):
        make_image(f"Test/{number}.png")
    with pytest.raises(KeyboardInterrupt):
        evaluate(config)
    paths = [path for path in Path("sample/Test").iterdir() if path.name != ORIGINS]
    assert len(paths) < 3 * 5
    assert {read_image(path).shape[0] >= 48 for path in paths} == {True}  # hidden files would be partial ones


def test_saved_images_are_those_that_were_scored(config, make_image):
    path = make_image("Test/a.png", rows=50, cols=61)
    (result,) = evaluate(config)
    image = read_image(path)
    degraded, original = preprocess(image, config)
    saved = {ending: read_image(f"sample/Test/a_{ending}.png") for ending in ("bicubic", "srcnn", "comparison")}
    np.testing.assert_array_equal(saved["bicubic"], color.channels_to_image(degraded))
    luma = np.pad(degraded[..., 0], 6, mode="edge")
    for side in (9, 5):
        luma = np.lib.stride_tricks.sliding_window_view(luma, (side, side)).mean(axis=(2, 3))
    expected = color.channels_to_image(np.dstack([luma, degraded[..., 1:]]))  # chroma stays degraded
    assert np.abs(saved["srcnn"].astype(int) - expected).max() <= 1
    truth = color.to_uint8(original[..., 0])
    assert result.psnr_bicubic == metrics.score(color.to_uint8(degraded[..., 0]), truth, 3).psnr
    assert result.psnr_srcnn == pytest.approx(metrics.score(color.to_uint8(luma), truth, 3).psnr, abs=0.01)
    np.testing.assert_array_equal(saved["comparison"][-48:, -60:], image[:48, :60])


@pytest.mark.parametrize("network", [{}, {"c_dim": 3}, {"c_dim": 3, "color_space": "rgb"}])
def test_each_network_is_tested_on_color_and_grey(network, make_image):
    config = Config(is_train=False, **network)
    save(build_model(config.network), config)
    make_image("Test/color.png")
    make_image("Test/grey.png", mode="L")
    Image.new("L", (60, 60), 0).save("Test/black.png")
    evaluate(config)
    assert read_csv()[0]["psnr_srcnn"] == "inf" or network  # a perfect image
    assert read_image("sample/Test/color_srcnn.png").ndim == 3
    assert read_image("sample/Test/grey_srcnn.png").ndim == 2


def test_image_index_selects_from_the_sorted_list(config, make_image):
    for name in "cab":
        make_image(f"Test/{name}.png")
    with pytest.raises(UsageError, match=r"--image_index=3: found 3 images below Test, expected an index from 0 to 2"):
        evaluate(Config(is_train=False, image_index="3"))
    assert not Path("sample").exists()
    for index, name in (("0", "a"), ("2", "c")):
        evaluate(Config(is_train=False, image_index=index))
        assert [row["image"] for row in read_csv()] == [name]


def test_images_that_cannot_be_tested_are_reported_and_the_others_are_tested(config, make_image, capsys):
    make_image("Test/good.png")
    Path("Test/broken.png").write_bytes(b"nothing")
    make_image("Test/small.png", rows=16)
    make_image("Test/tiny.png", rows=2, cols=2)
    with pytest.raises(RunError, match="3 of 4 images could not be tested; see the messages above"):
        evaluate(config)
    problems = capsys.readouterr().err
    assert "Problem: Test/broken.png: cannot be read as " in problems
    assert "Problem: Test/small.png: 15 x 54 pixels are too few: SSIM needs 11 x 11" in problems
    assert "Problem: Test/tiny.png: 2 x 2 pixels are too few to be " in problems
    assert [row["image"] for row in read_csv()] == ["good"]
    expected = [f"good_{ending}.png" for ending in ("bicubic", "comparison", "original", "srcnn")]
    assert sorted(path.name for path in Path("sample/Test").glob("[!.]*")) == expected


def test_images_and_sets_of_one_name_are_all_tested_under_names_that_tell_them_apart(config, make_image):
    for name in ("a.bmp", "a.png", "Test/b.png", "Test/Test/b.png", "a_png.webp"):
        make_image(f"Test/{name}")
    long = "x" * 250 + ".png"
    make_image(f"Test/{long}")
    results = evaluate(config)
    found = sorted((result.set, result.image) for result in results)
    names = ["a", "a_png", "a_png_webp", "x" * 231 + "~" + hashlib.sha256(b"x" * 250).hexdigest()[:8]]
    assert found == [*(("Test", name) for name in names), ("Test/Test", "b"), ("Test/Test/Test", "b")]
    paths = list(Path("sample").rglob("*_comparison.png"))
    assert len(paths) == 6
    assert max(len(path.name) for path in paths) == 255
    # One image alone has the name that it has among all.
    (result,) = evaluate(replace(config, image_index="3"))
    assert (result.set, result.image) == ("Test", "a_png")


@pytest.mark.linux
def test_a_folder_that_may_not_be_read_is_reported_and_the_rest_is_tested(config, make_image, monkeypatch, capsys):
    make_image("Test/a.png")
    Path("Test/lost+found").mkdir()
    forbid(monkeypatch, "Test/lost+found")
    with pytest.raises(RunError, match="1 of 2 images could not be tested"):
        evaluate(config)
    assert "Problem: Test/lost+found: cannot be searched (Permission denied)" in capsys.readouterr().err
    assert [row["image"] for row in read_csv()] == ["a"]


def test_own_results_are_no_test_images_wherever_they_are(config, make_image, capsys):
    make_image("Test/a.png")
    upscale_files(Config(input="Test/a.png", output="Test/x2", scale=2))
    evaluate(replace(config, sample_dir="Test/old"))
    results = evaluate(config)
    assert [result.image for result in results] == ["a"]
    assert "Left out of the files below Test: 1 .csv, 5 that this program made." in capsys.readouterr().out
    upscale_files(Config(input="Test", output="out", scale=2))
    assert sorted(path.name for path in Path("out").glob("[!.]*")) == ["a_x2.png"]


def test_a_page_of_somebody_else_stays(config, make_image, capsys):
    make_image("Test/a.png")
    Path("sample").mkdir()
    Path("sample/index.html").write_text("MINE")
    for _ in range(2):
        evaluate(config)
    assert Path("sample/index.html").read_text() == "MINE"
    assert [path.name for path in Path("sample").glob("*.html")] == ["index.html", "srcnn_tf.html"]
    assert "sample/index.html is not from this program, and stays" in capsys.readouterr().out


def test_too_little_memory_for_one_image_is_reported_and_the_others_are_tested(config, make_image, monkeypatch, capsys):
    def exhaust(model, degraded):
        if len(degraded) == 60:
            raise MemoryError("for tiles of 160 x 160 pixels")
        return degraded

    make_image("Test/a.png", rows=60)
    make_image("Test/b.png")
    monkeypatch.setattr(TiledModel, "__call__", exhaust)
    with pytest.raises(RunError, match="1 of 2 images could not be tested"):
        evaluate(config)
    message = "Test/a.png: there is not enough memory for it (for tiles of 160 x 160 pixels); use a smaller image"
    assert f"Problem: {message}" in capsys.readouterr().err
    assert [row["image"] for row in read_csv()] == ["b"]


def test_results_below_the_test_folder_are_not_tested_again(config, make_image):
    make_image("a.png")
    make_image("other/b.png")
    for _ in range(2):
        results = evaluate(Config(is_train=False, test_dir="."))
        assert [result.image for result in results] == ["a", "b"]


def test_missing_weights_are_an_error_that_names_the_searched_file(make_image):
    make_image("Test/a.png")
    with pytest.raises(RunError, match=r"No weights .*--scale=7 .*no checkpoint/srcnn_21_x7_scipy/SRCNN\.weights\.h5"):
        evaluate(Config(is_train=False, scale=7))
    assert not Path("sample").exists()


def test_results_and_logs_that_cannot_be_written_are_reported(config, make_image, capsys):
    make_image("Test/large.png", rows=120, cols=120)
    make_image("Test/small.png", rows=24, cols=24)
    with full_disk(16_000), pytest.raises(RunError, match="1 of 2 images"):
        evaluate(config)
    assert re.search(r"Problem: sample/Test/large_\w+\.png: cannot be written", capsys.readouterr().err)
    assert not list(Path("sample").rglob(f"{TEMPORARY}*"))
    assert [row["image"] for row in read_csv()] == ["small"]
    shutil.rmtree("logs")
    Path("logs").touch()
    with pytest.raises(RunError, match="All images are tested, but the TensorBoard log could not be written"):
        evaluate(config)
    assert [row["image"] for row in read_csv()] == ["large", "small"]
    assert "Problem: logs/srcnn_21_x3_scipy/test: the TensorBoard log cannot be written" in capsys.readouterr().err


def test_weights_of_the_reference_score_what_was_measured(shared):
    """Measured for this project with the reference's published weights: PSNR of each image, degraded and restored."""
    weights = str(shared / "reference" / "srcnn_21" / "SRCNN.model-2550000")
    results = evaluate(Config(is_train=False, test_dir=str(shared / "data" / "Set5"), weights=weights))
    psnr_bicubic = [result.psnr_bicubic for result in results]
    assert psnr_bicubic == pytest.approx([30.192, 28.407, 20.452, 30.260, 24.925], abs=0.001)
    psnr_srcnn = [result.psnr_srcnn for result in results]
    assert psnr_srcnn == pytest.approx([31.329, 29.716, 21.751, 30.790, 26.193], abs=0.01)
    (result,) = evaluate(Config(is_train=False, test_dir=str(shared / "data" / "Set5"), image_index="2"))
    assert result.image == results[2].image == "butterfly_GT"
    results = evaluate(Config(is_train=False, test_dir=str(shared / "data" / "Set14"), weights=weights))
    averages = average_scores(results)["Set14"]
    assert averages["psnr_bicubic"] == pytest.approx(24.674, abs=0.001)
    assert averages["psnr_srcnn"] == pytest.approx(25.493, abs=0.01)


@pytest.mark.parametrize("architecture", ["9-1-5", "9-5-5"])
@pytest.mark.parametrize(("degradation", "scale"), list(itertools.product(("matlab", "scipy"), (2, 3, 4))))
def test_shipped_weights_score_what_their_sidecar_says(degradation, architecture, scale, shared):
    """Without `evaluate`, as its files take longer than the scores."""
    config = Config(is_train=False, degradation=degradation, architecture=architecture, scale=scale)
    if (degradation, architecture) == ("scipy", "9-5-5"):
        with pytest.raises(RunError, match="No weights"):  # there are none
            find(config)
        return
    sidecar = json.loads((resources.files("srcnn_tf.weights") / f"{config.network.name}.json").read_text())
    model, weights = find(config)
    assert weights == "shipped"
    restore = TiledModel(model)
    for name in ("Set5", "Set14") if (architecture, scale) == ("9-1-5", 3) else ("Set5",):  # Set14 takes seconds
        scores = []
        for path in prepare_data(shared / "data" / name):
            degraded, original = preprocess(read_image(path), config)
            bicubic, srcnn = (
                metrics.score_channels(channels, original, scale, config.network.color)
                for channels in (degraded, restore(degraded))
            )
            scores.append([bicubic.psnr, srcnn.psnr, bicubic.ssim, srcnn.ssim])
        assert list(sidecar["scores"][name].values()) == pytest.approx(np.mean(scores, axis=0).tolist(), abs=5e-4)

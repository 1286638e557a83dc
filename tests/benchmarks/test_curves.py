import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import curves
from benchmarks.common import synthetic_image
from benchmarks.published import AUTHORS_CURVE
from srcnn_tf import utils
from srcnn_tf.config import Config
from srcnn_tf.training import train


def test_the_authors_losses_as_decibels_at_marks():
    losses = dict(AUTHORS_CURVE)
    assert [round(losses[steps], 1) for steps in (5_000, 50_000, 500_000, 6_250_000)] == [29.8, 31.0, 32.1, 32.6]
    assert curves.MARKS[:7] == [100, 150, 200, 300, 500, 700, 1000]
    assert {5_000, 50_000} <= set(curves.MARKS) & set(losses)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [([*range(10, 171, 10), 175, *range(180, 401, 10)], [100, 150, 200, 300]), ([500, 600, 1000], [500, 1000])],
    ids=["calls of 10 steps and the end of an epoch", "a call that passes several marks"],
)
def test_rows_are_due_once_per_mark(steps, expected):
    curve = curves.Curve(Path("curve.csv"))
    for step in steps:
        if curve.due(step):
            curve.add(step, 20.0)
    assert curves.read(Path("curve.csv")) == [(step, 20.0) for step in expected]


def test_pooled_psnr_is_of_one_mean_over_all_patches():
    data = np.zeros((curves.BATCH + 1, 3, 3, 1), np.float32)
    label = np.full((curves.BATCH + 1, 1, 1, 1), 0.1, np.float32)
    label[-1] = 1.0  # alone in its batch
    expected = -10 * np.log10((curves.BATCH * 0.01 + 1) / (curves.BATCH + 1))
    assert curves.pooled_psnr(lambda part, training: part[:, 1:2, 1:2], data, label) == pytest.approx(expected)


def test_the_patches_are_the_authors(shared):
    """Their Caffe solver tested 1,113; bicubic alone scores 30.19 dB on them, measured for this project."""
    config = Config(degradation="matlab", test_dir=str(shared / "data" / "Set5"))
    data, label = curves.test_patches(config)
    assert data.shape == (1113, 33, 33, 1)
    assert label.shape == (1113, 21, 21, 1)
    assert curves.bicubic_psnr(config) == pytest.approx(30.19, abs=0.005)


def test_a_resumed_run_has_each_row_once(monkeypatch):
    utils.imsave(synthetic_image(80, 80), "Train/a.png")  # 16 patches: 5 steps per epoch
    utils.imsave(synthetic_image(48, 54), "Test/a.png")
    monkeypatch.setattr(curves, "MARKS", [5, 10, 20, 30, 40])
    monkeypatch.setattr(train, "SAVE_EVERY", 10)
    config = Config(recipe="paper", epoch=9, batch_size=3, test_dir="Test")
    whole, cut = Path("whole.csv"), Path("cut.csv")

    def run(path):
        folders = {flag: f"{path.stem}/{flag}" for flag in ("checkpoint_dir", "log_dir")}
        curves.measure(replace(config, **folders), curves.Curve(path))

    run(whole)
    assert [steps for steps, _ in curves.read(whole)] == [5, 10, 20, 30, 40, 45]
    pooled_psnr, calls = curves.pooled_psnr, []

    def interrupted(*arguments):
        calls.append(arguments)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return pooled_psnr(*arguments)

    monkeypatch.setattr(curves, "pooled_psnr", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(cut)
    assert [steps for steps, _ in curves.read(cut)] == [5, 10, 20]
    with open(cut, "a") as file:
        csv.writer(file).writerow([30, 1.0])  # of a step after the last checkpoint
    for _ in range(2):  # the second time, the run is finished
        run(cut)
        assert cut.read_text() == whole.read_text()


def test_the_figure_shows_the_curves_on_white():
    curves.Curve(curves.FOLDER / "paper_x3.csv").add(100, 28.0)
    curves.draw(Path("figure.png"), bicubic=30.0)
    pixels = np.asarray(Image.open("figure.png").convert("RGBA"))
    assert pixels[0, 0].tolist() == [255, 255, 255, 255]
    assert (pixels != 255).any()

import csv
import dataclasses
import sys

import numpy as np
import pytest
from PIL import Image

from benchmarks import curves, figure
from benchmarks.published import AUTHORS_CURVE
from srcnn_tf.config import Config
from srcnn_tf.errors import RunError
from srcnn_tf.training import train


@pytest.fixture
def curve(tmp_path):
    return curves.Curve(tmp_path / "docs" / "curve.csv")


def test_marks_are_six_a_decade_and_the_authors_first_two():
    assert curves.MARKS[:7] == [100, 150, 200, 300, 500, 700, 1000]
    assert {5_000, 50_000} <= set(curves.MARKS) & set(dict(AUTHORS_CURVE))


def test_due_at_the_marks_alone(curve):
    """Steps come in calls of 10, with the end of an epoch in between."""
    done = []
    for step in [*range(10, 171, 10), 175, *range(180, 401, 10)]:
        if curve.due(step):
            curve.add(step, 20.0)
            done.append(step)
    assert done == [100, 150, 200, 300]


def test_due_once_where_a_call_passes_several_marks(curve):
    assert curve.due(500)
    curve.add(500, 20.0)
    assert not curve.due(600)
    assert curve.due(1000)


def test_a_row_replaces_those_of_a_run_that_was_killed(curve, tmp_path):
    for step in (100, 150, 200):
        curve.add(step, step / 10)
    again = curves.Curve(tmp_path / "docs" / "curve.csv")
    assert not again.due(120)
    assert again.due(150)
    again.add(150, 16.0)
    assert curves.read(tmp_path / "docs" / "curve.csv") == [(100, 10.0), (150, 16.0)]


def test_pooled_psnr_is_of_one_mean_over_all():
    data = np.zeros((curves.BATCH + 1, 3, 3, 1), np.float32)
    label = np.full((curves.BATCH + 1, 1, 1, 1), 0.1, np.float32)
    label[-1] = 1.0  # alone in its batch
    expected = -10 * np.log10((curves.BATCH * 0.01 + 1) / (curves.BATCH + 1))
    assert curves.pooled_psnr(lambda part, training: part[:, 1:2, 1:2], data, label) == pytest.approx(expected)


def test_sub_images_are_the_authors(shared):
    """Their Caffe solver tested 1,113; with bicubic alone they have 30.19 dB, measured for this project."""
    config = Config(degradation="matlab", test_dir=str(shared / "data" / "Set5"))
    data, label = curves.test_pairs(config)
    assert data.shape == (1113, 33, 33, 1)
    assert label.shape == (1113, 21, 21, 1)
    assert curves.bicubic_psnr(config) == pytest.approx(30.19, abs=0.005)


def test_the_authors_losses_as_decibels():
    found = dict(AUTHORS_CURVE)
    assert [round(found[steps], 1) for steps in (5_000, 50_000, 500_000, 6_250_000)] == [29.8, 31.0, 32.1, 32.6]


def test_a_killed_run_goes_on_without_a_double_or_missing_row(make_picture, monkeypatch, tmp_path):
    make_picture("Train/a.png", rows=80, cols=80)  # 16 sub-images: 5 steps an epoch
    make_picture("Test/a.png")
    monkeypatch.setattr(curves, "MARKS", [5, 10, 20, 30, 40])
    monkeypatch.setattr(train, "SAVE_EVERY", 10)
    config = Config(recipe="paper", epoch=9, batch_size=3, test_dir="Test")
    whole, cut = tmp_path / "whole.csv", tmp_path / "cut.csv"

    def run(name):
        folders = {flag: f"{name}/{flag}" for flag in ("checkpoint_dir", "log_dir")}
        curves.measure(dataclasses.replace(config, **folders), curves.Curve(tmp_path / f"{name}.csv"))

    run("whole")
    assert [steps for steps, _ in curves.read(whole)] == [5, 10, 20, 30, 40, 45]

    pooled_psnr, calls = curves.pooled_psnr, []

    def killed(*arguments):
        calls.append(arguments)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return pooled_psnr(*arguments)

    monkeypatch.setattr(curves, "pooled_psnr", killed)
    with pytest.raises(KeyboardInterrupt):
        run("cut")
    assert [steps for steps, _ in curves.read(cut)] == [5, 10, 20]
    with open(cut, "a") as file:
        csv.writer(file).writerow([30, 1.0])  # of what is not in a checkpoint
    run("cut")
    assert cut.read_text() == whole.read_text()
    run("cut")  # finished
    assert cut.read_text() == whole.read_text()


def test_the_figure_shows_every_curve_on_white(tmp_path):
    for number in range(2):
        curves.Curve(curves.FOLDER / f"paper_x{number}.csv").add(100, 28.0 + number)
    figure.draw(tmp_path / "two.png", bicubic=30.0)
    with Image.open(tmp_path / "two.png") as image:
        assert image.convert("RGBA").getpixel((0, 0)) == (255, 255, 255, 255)
        two = np.asarray(image.convert("RGB"))
    (curves.FOLDER / "paper_x1.csv").unlink()
    figure.draw(tmp_path / "one.png", bicubic=30.0)
    with Image.open(tmp_path / "one.png") as image:
        assert (np.asarray(image.convert("RGB")) != two).any()


def test_without_matplotlib_it_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(RunError, match=r"pip install -r requirements-bench\.txt"):
        figure.draw(tmp_path / "figure.png")
    assert not (tmp_path / "figure.png").exists()

import csv
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import drawn

from srcnn_tf.inference import report

RESULT = report.Result("Set5", "baby", 3, "scipy", "9-1-5", "float32", "shipped", 30.0, 32.0, 0.8, 0.9, 0.25)
COLUMNS = (
    "set,image,scale,degradation,architecture,precision,weights,psnr_bicubic,psnr_srcnn,ssim_bicubic,ssim_srcnn,seconds"
)


def test_csv_has_the_columns_people_script_against():
    report.write_csv([RESULT, replace(RESULT, image="a,b", psnr_srcnn=math.inf)], Path("out/results.csv"))
    lines = Path("out/results.csv").read_text().splitlines()
    assert lines[0] == COLUMNS
    rows = list(csv.DictReader(lines))
    assert float(rows[0]["psnr_srcnn"]) == 32
    assert rows[1]["image"] == "a,b"
    assert rows[1]["psnr_srcnn"] == "inf"


def test_csv_is_written_anew():
    for results in ([RESULT, RESULT], [RESULT]):
        report.write_csv(results, Path("results.csv"))
    assert len(Path("results.csv").read_text().splitlines()) == 2


def test_table_has_each_picture_and_each_sets_average():
    results = [RESULT, replace(RESULT, image="bird", psnr_srcnn=34.0, ssim_srcnn=1.0), replace(RESULT, set="Set14")]
    text = report.table(results)
    assert [line.split()[0] for line in text.splitlines()[1:]] == [
        "Set5/baby",
        "Set5/bird",
        "Set5:",
        "Set14/baby",
        "Set14:",
    ]
    average = text.splitlines()[3].split()
    assert average == ["Set5:", "average", "30.00", "33.00", "+3.00", "0.8000", "0.9500", "0.25"]


def test_perfect_pictures_are_left_out_of_averages_with_a_word():
    results = [RESULT, replace(RESULT, image="flat", psnr_bicubic=math.inf, psnr_srcnn=math.inf)]
    (name, averages), *_ = report.averages(results)
    assert name == "Set5"
    assert averages["psnr_srcnn"] == 32
    assert averages["ssim_srcnn"] == pytest.approx(0.9)
    text = report.table(results)
    assert "inf" in text.splitlines()[2]
    assert "Left out of the averages of PSNR: 1 without any error (inf)." in text
    assert math.isnan(report.averages(results[1:])[0][1]["psnr_srcnn"])


@pytest.mark.parametrize(("rows", "cols"), [(60, 80), (12, 14), (300, 500)])
def test_pictures_stand_side_by_side_below_their_captions(rows, cols):
    pictures = [drawn(rows, cols, seed) for seed in range(3)]
    captions = ("bicubic 28.12 dB", "SRCNN 30.12 dB", "original")
    found = report.side_by_side(dict(zip(captions, pictures, strict=True)))
    strip = found.shape[0] - rows
    assert found.shape[1] == 3 * cols + 2 * report.GAP
    for number, picture in enumerate(pictures):
        left = number * (cols + report.GAP)
        np.testing.assert_array_equal(found[strip:, left : left + cols], picture)
        caption = found[:strip, left : left + cols]
        assert caption.min() < 128
        assert (caption[:, [0, -1]] == 255).all() or cols < 60  # it fits


def test_grey_pictures_stand_beside_each_other_too():
    grey = drawn(40, 50)[..., 0]
    found = report.side_by_side({"a": grey, "b": grey})
    np.testing.assert_array_equal(found[-40:, :50], np.dstack([grey] * 3))


def test_a_set_is_averaged_as_a_whole_wherever_its_pictures_stand():
    names = (("Test", "A"), ("Set5", "x"), ("Test", "b"))
    results = [replace(RESULT, set=folder, image=name, psnr_srcnn=30.0 + at) for at, (folder, name) in enumerate(names)]
    assert [(name, means["psnr_srcnn"]) for name, means in report.averages(results)] == [("Test", 31), ("Set5", 31)]
    assert [line.split()[0] for line in report.table(results).splitlines()[1:]] == [
        "Test/A",
        "Test/b",
        "Test:",
        "Set5/x",
        "Set5:",
    ]

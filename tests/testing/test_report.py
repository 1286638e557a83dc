import csv
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import synthetic_image

from srcnn_tf.testing.report import GAP, Result, average_scores, format_table, side_by_side, write_csv

RESULT = Result("Set5", "baby", 3, "scipy", "9-1-5", "float32", "shipped", 30.0, 32.0, 0.8, 0.9, 0.25)
COLUMNS = "set,image,scale,degradation,architecture,precision,weights"
COLUMNS += ",psnr_bicubic,psnr_srcnn,ssim_bicubic,ssim_srcnn,seconds,jpeg_quality"


def test_csv_has_the_columns_that_users_script_against_and_replaces_the_last_one():
    path = Path("out/results.csv")
    write_csv([RESULT] * 3, path)
    write_csv([RESULT, replace(RESULT, image="a,b", psnr_srcnn=math.inf)], path)
    lines = path.read_text().splitlines()
    assert lines[:2] == [
        COLUMNS,
        "Set5,baby,3,scipy,9-1-5,float32,shipped,30.000000,32.000000,0.800000,0.900000,0.250000,none",
    ]
    (_, second) = csv.DictReader(lines)
    assert (second["image"], second["psnr_srcnn"]) == ("a,b", "inf")


def test_table_and_averages_group_the_images_of_a_set():
    names = (("Test", "A"), ("Set5", "x"), ("Test", "b"))  # in the order of paths
    results = [
        replace(RESULT, set=folder, image=name, psnr_srcnn=30.0 + 2 * index, ssim_srcnn=0.5 * index)
        for index, (folder, name) in enumerate(names)
    ]
    averages = average_scores(results)
    assert list(averages) == ["Test", "Set5"]
    assert averages["Test"] == {"psnr_bicubic": 30, "psnr_srcnn": 32, "ssim_bicubic": 0.8, "ssim_srcnn": 0.5}
    assert "JPEG" not in format_table(results)
    compressed = [replace(result, degradation="jpeg", jpeg_quality="80") for result in results]
    assert format_table(compressed).splitlines()[-1] == "JPEG quality of the small images: 80."
    lines = [line.split() for line in format_table(results).splitlines()[1:]]
    assert [line[0] for line in lines] == ["Test/A", "Test/b", "Test:", "Set5/x", "Set5:"]
    assert lines[1] == ["Test/b", "30.00", "34.00", "+4.00", "0.8000", "1.0000", "0.25"]
    assert lines[2] == ["Test:", "average", "30.00", "32.00", "+2.00", "0.8000", "0.5000", "0.25"]


def test_infinite_psnr_is_excluded_from_averages_with_a_note():
    results = [RESULT, replace(RESULT, image="flat", psnr_bicubic=math.inf, psnr_srcnn=math.inf, ssim_srcnn=1.0)]
    averages = average_scores(results)["Set5"]
    assert averages["psnr_srcnn"] == 32
    assert averages["ssim_srcnn"] == pytest.approx(0.95)
    text = format_table(results)
    assert "inf" in text.splitlines()[2]
    assert "Excluded from the PSNR averages: 1 with infinite PSNR (identical to the original)." in text
    assert math.isnan(average_scores(results[1:])["Set5"]["psnr_srcnn"])


@pytest.mark.parametrize(("rows", "cols"), [(60, 80), (12, 14), (300, 500)])
def test_panels_are_side_by_side_below_their_captions(rows, cols):
    images = [synthetic_image(rows, cols, seed) for seed in range(2)] + [synthetic_image(rows, cols)[..., 0]]
    captions = ("bicubic 28.12 dB", "SRCNN 30.12 dB", "original")
    panels = side_by_side(dict(zip(captions, images, strict=True)))
    strip = panels.shape[0] - rows
    assert panels.shape[1] == 3 * cols + 2 * GAP
    for index, image in enumerate(images):
        left = index * (cols + GAP)
        rgb = image if image.ndim == 3 else np.dstack([image] * 3)
        np.testing.assert_array_equal(panels[strip:, left : left + cols], rgb)
        caption = panels[:strip, left : left + cols]
        assert caption.min() < 128
        assert (caption[:, [0, -1]] == 255).all() or cols < 60  # it fits


def test_what_has_no_number_is_a_dash():
    results = [replace(RESULT, image="black", psnr_bicubic=math.inf, psnr_srcnn=psnr) for psnr in (60.0, math.inf)]
    first, second, average = format_table(results).splitlines()[1:4]
    assert first.split()[1:4] == ["inf", "60.00", "-"]
    assert second.split()[1:4] == ["inf", "inf", "-"]
    assert average.split()[2:5] == ["-", "-", "-"]

from argparse import Namespace
from functools import partial
from pathlib import Path

import pytest

from benchmarks import previous
from benchmarks.common import ROOT


def test_ratios_above_one_mean_better():
    names = ("patches/s", "peak MB")
    values = [((100.0, 2.0), (110.0, 4.0)), ((50.0, 3.0), (60.0, 3.0))]  # before and after, of two rounds
    rounds = [[dict(zip(names, figures, strict=True)) for figures in pair] for pair in values]
    assert previous.format_rows("training", rounds) == [
        "| training, patches/s | 75 (50-100) | 85 (60-110) | 1.15 (1.10-1.20) |",
        "| training, peak MB | 2.5 (2-3) | 3.5 (3-4) | 0.75 (0.50-1.00) |",
    ]


@pytest.mark.parametrize(
    ("measure", "figures"),
    [
        (previous.MEASUREMENTS["small_png"], ["seconds", "peak MB"]),
        (previous.MEASUREMENTS["first_call"], ["seconds", "peak MB"]),
        (
            partial(previous.network, "9-1-5", 2, 0.01),
            ["float32, megapixels/s", "previous in its default dtype, megapixels/s"],
        ),
        (partial(previous.upscale, partial(previous.photograph_file, "tif", 0.1)), ["seconds", "peak MB"]),
    ],
    ids=["small png", "first call", "network", "photograph"],
)
def test_both_checkouts_are_measured_in_each_round(measure, figures, monkeypatch):
    monkeypatch.setitem(previous.MEASUREMENTS, "it", measure)
    rounds = previous.measure_both("it", Namespace(previous=ROOT, rounds=1, scratch=None, train_dir=Path("Train")))
    assert [list(found) for pair in rounds for found in pair] == [figures, figures]
    assert all(value > 0 for pair in rounds for found in pair for value in found.values())


def test_every_other_round_begins_with_this_checkout(monkeypatch):
    order = []
    monkeypatch.setitem(previous.MEASUREMENTS, "it", lambda place: order.append(place.checkout.name) or {"seconds": 1})
    given = Namespace(previous=Path("previous"), rounds=3, scratch=None, train_dir=Path("Train"))
    assert previous.measure_both("it", given) == 3 * [2 * [{"seconds": 1}]]
    this = ROOT.name
    assert order == ["previous", this, this, "previous", "previous", this]

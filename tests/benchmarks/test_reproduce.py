import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import common, reproduce, ship
from benchmarks.published import BICUBIC, PUBLISHED, SETS, Score
from srcnn_tf import utils
from srcnn_tf.config import Config
from srcnn_tf.errors import RunError
from srcnn_tf.spec import JPEG_QUALITIES
from srcnn_tf.testing.evaluate import evaluate
from srcnn_tf.testing.report import average_scores
from srcnn_tf.training.recipes import RECIPES
from srcnn_tf.training.train import train


@pytest.fixture
def write_set():
    def write(name, count=None):
        for number in range(count or SETS[name]):
            utils.imsave(common.synthetic_image(36, 36, number), f"Test/{name}/{number}_GT.png")

    return write


@pytest.fixture
def figure(monkeypatch):
    """Draws no figure: test_curves.py does."""

    def draw(target, bicubic):
        assert 5 < bicubic < 60
        target.parent.mkdir(exist_ok=True)
        target.touch()

    monkeypatch.setattr(reproduce.curves, "draw", draw)


def rows(text, name):
    """Returns the cells of the rows that begin with `name`."""
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if "|" in line]
    return [cells for cells in lines if cells[0] == name]


def test_shipped_weights_are_found_by_their_commands():
    shipped = [(Path(config.weights).name, config.network.name) for config, _ in reproduce.shipped()]
    assert [name for name, _ in shipped] == sorted(path.name for path in common.WEIGHTS.glob("*.weights.h5")) != []
    assert all(name == f"{network}.weights.h5" for name, network in shipped)


def test_the_readme_has_the_scores_of_the_shipped_weights():
    """Its table is written by hand: x3, Set5 and Set14 with SSIM in three decimals, `matlab` before `scipy`."""
    lines = (common.ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    for architecture in ("9-1-5", "9-5-5"):
        expected = []
        for config, sidecar in reproduce.shipped():
            if config.scale == 3 and config.architecture == architecture and config.degradation not in JPEG_QUALITIES:
                scores = [sidecar["scores"][name] for name in SETS]
                expected += [f"{score['psnr_srcnn']:.2f} ({score['ssim_srcnn']:.3f})" for score in scores]
        (row,) = (line for line in lines if line.startswith(f"| **srcnn_tf {architecture}** |"))
        assert re.findall(r"\d+\.\d+ \(0\.\d+\)", row) == expected


def test_weights_that_are_shipped_are_reproduced_next_to_published_ones(write_set, figure, capsys, monkeypatch):
    """From a training run to docs/results.md."""
    Path("weights").mkdir()
    monkeypatch.setattr(common, "WEIGHTS", Path("weights"))
    monkeypatch.setattr(reproduce, "FACTORS", (6.0,))
    for name in SETS:
        write_set(name)
    utils.imsave(common.synthetic_image(64, 64), "Train/7/a.png")
    runs = []
    for flags in ({}, {"architecture": "9-5-5", "filters": "8,4"}):
        config = Config(train_dir="Train/7", epoch=1, degradation="matlab", **flags)
        train(config, recipe=replace(RECIPES["modern"], optimizer="sgd"))  # which compiles faster
        runs.append(Path("checkpoint", config.run_name))
        ship.ship(runs[-1], "c0ffee" + 34 * "0", {name: f"Test/{name}" for name in SETS})
    sidecar = json.loads(Path("weights/srcnn_x3_matlab.json").read_text())
    command = "python main.py --is_train=True --epoch=1 --degradation=matlab --train_dir=Train/7"
    assert sidecar["command"] == command
    assert sidecar["data"] == {"name": "7"} | json.loads((runs[0] / "config.json").read_text())["data"]
    assert sidecar["data"]["images"] == 1
    capsys.readouterr()
    # Bicubic of synthetic images is not the paper's.
    assert reproduce.main([]) == 1
    output = capsys.readouterr()
    assert re.findall("Problem: .*?[.:,]", output.err) == ["Problem: Self-check:"]
    text = Path("docs/results.md").read_text()
    assert output.out == text
    assert "Self-check: FAILED, bicubic is not the paper's" in text
    assert "(curves.png)" in text
    weights = "weights/srcnn_x3_matlab.weights.h5"
    results = evaluate(Config(is_train=False, degradation="matlab", test_dir="Test/Set5", weights=weights))
    mean = average_scores(results)["Set5"]
    assert {name: round(value, 4) for name, value in mean.items()} == sidecar["scores"]["Set5"]
    ours = rows(text, "**srcnn_tf 9-1-5**")[0]
    assert ours[1:4] == ["1 images", "here", f"{mean['psnr_srcnn']:.2f} ({mean['ssim_srcnn']:.4f})"]
    (row,) = rows(text, "**srcnn_tf 9-1-5** self-ensemble")  # without seconds, as it takes eight times as long
    assert row[1:3] == ["1 images", "here"]
    assert row[3] != ours[3]
    assert rows(text, "x6")[0][:2] == ["x6", "x3, then x2"]
    assert rows(text, "SRCNN 9-1-5")[0] == ["SRCNN 9-1-5", "91 images", "the paper", "32.39 (0.9033)", "29.00"]
    assert len(rows(text, "**srcnn_tf 9-5-5 8-4**")[0]) == 5
    assert rows(text, "SRCNN 9-5-5") == []  # no network of ours to compare it with
    first = rows(text, "0")[0]  # without _GT
    assert f"{results[0].psnr_bicubic:.2f} ({results[0].ssim_bicubic:.4f})" in first
    assert f"{results[0].psnr_srcnn:.2f} ({results[0].ssim_srcnn:.4f})" in first
    assert len(rows(text, "4")) == 2  # both sets
    assert len(rows(text, "13")) == 1
    made = ["srcnn_x3_matlab", f"{sidecar['seconds']:.0f}", f"`{sidecar['command']}`"]
    assert rows(text, "srcnn_x3_matlab") == [made]
    record = json.loads((runs[0] / "config.json").read_text())
    (runs[0] / "config.json").write_text(json.dumps(record | {"step": 0}))
    with pytest.raises(RunError, match="not finished: 0 of"):
        ship.ship(runs[0], "c0ffee" + 34 * "0", {})
    with pytest.raises(RunError, match="The commit is c0ffee; give all 40 digits"):
        ship.ship(runs[0], "c0ffee", {})


def test_problems_of_sets_are_named_and_the_rest_is_done(write_set, figure, capsys, monkeypatch):
    monkeypatch.setattr(common, "WEIGHTS", Path("none"))
    assert reproduce.main(["--test_dir=else where"]) == 1
    error = capsys.readouterr().err
    assert "Set5 and Set14: no folder" in error
    assert "`python main.py --fetch=Set5,Set14 '--test_dir=else where'`" in error
    assert not Path("docs").exists()
    write_set("Set5", 4)
    Path("Test/Set14").mkdir()
    assert reproduce.find_sets("Test") == reproduce.find_sets("Test/Set5") == {"Set5": Path("Test/Set5")}
    assert reproduce.main(["--output=page.md"]) == 1
    error = capsys.readouterr().err
    assert "Test/Set5: expected the 5 images of Set5, found 4." in error
    assert "Set14: no folder of that name" in error
    assert "How the weights were made" in Path("page.md").read_text()


def test_tables_are_written_without_matplotlib(write_set, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.setattr(common, "WEIGHTS", Path("none"))
    for name in SETS:
        write_set(name)
    assert reproduce.main([]) == 1
    assert "pip install -r requirements-bench.txt" in capsys.readouterr().err
    assert [path.name for path in Path("docs").iterdir()] == ["results.md"]
    assert "curves.png" not in Path("docs/results.md").read_text()


def test_the_self_check_compares_to_the_last_decimal():
    (printed,) = (method for method in PUBLISHED["matlab"] if method.network == BICUBIC)
    averages = {column: score._replace(psnr=score.psnr + 0.004) for column, score in printed.averages.items()}
    measured = replace(printed, source=reproduce.HERE, averages=averages)
    said, right = reproduce.self_check([measured])
    assert right
    assert "equals the paper's to the last decimal printed (Set5 x2, Set5 x3" in said
    averages["Set14", 3] = Score(27.55, 0.7736)
    said, right = reproduce.self_check([measured])
    assert not right
    assert "Set14 x3 is 27.55 (0.7736), not 27.54 (0.7736)" in said

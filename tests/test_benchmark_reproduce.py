import json
import shutil
import sys
from pathlib import Path

import pytest

from benchmarks import reproduce, tables
from benchmarks.published import BICUBIC, PUBLISHED, SETS, Method, Score
from srcnn_tf.config import Config
from srcnn_tf.inference import report
from srcnn_tf.inference.evaluate import evaluate
from srcnn_tf.weights import checkpoint

PACKAGE = reproduce.WEIGHTS
README = "# Title\n\n<!-- reproduce -->\nold\n<!-- /reproduce -->\n\nThe rest.\n"


@pytest.fixture(autouse=True)
def weights(tmp_path, monkeypatch):
    """Two weights files in place of the package's: one of those, and random ones of another network."""
    folder = tmp_path / "weights"
    folder.mkdir()
    for path in PACKAGE.glob("srcnn_x3_matlab.*"):
        shutil.copy(path, folder)
    config = Config(degradation="matlab", architecture="9-5-5", filters="8,4")
    checkpoint.publish(checkpoint.build(config), config, folder / "run")
    shutil.move(folder / "run" / checkpoint.WEIGHTS, folder / f"{config.network_name}.weights.h5")
    sidecar = {"command": config.command, "data": {"pictures": 7}, "seconds": 1.5}
    (folder / f"{config.network_name}.json").write_text(json.dumps(sidecar))
    monkeypatch.setattr(reproduce, "WEIGHTS", folder)


@pytest.fixture
def figure(monkeypatch):
    """Draws no figure: test_benchmark_curves.py does."""

    def draw(target, bicubic):
        assert 5 < bicubic < 60
        target.parent.mkdir(exist_ok=True)
        target.touch()

    monkeypatch.setattr(reproduce.figure, "draw", draw)


@pytest.fixture
def draw_set(make_picture):
    def draw(name, count=None):
        for number in range(count or SETS[name]):
            make_picture(f"Test/{name}/{number}_GT.png", rows=36, cols=36, seed=number)

    return draw


def rows(text, name):
    """The cells of the rows that begin so."""
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if "|" in line]
    return [cells for cells in lines if cells[0] == name]


def test_every_file_in_the_package_is_found_by_its_command(monkeypatch):
    monkeypatch.setattr(reproduce, "WEIGHTS", PACKAGE)
    found = reproduce.shipped()
    names = sorted(path.name for path in PACKAGE.glob("*.weights.h5"))
    assert sorted(Path(weights.config.weights).name for weights in found) == names
    for weights in found:
        assert Path(weights.config.weights).name == f"{weights.config.network_name}.weights.h5"
        assert weights.network.startswith(weights.config.architecture)


def test_tables_have_published_figures_and_ours(draw_set, figure, capsys, monkeypatch):
    draw_set("Set5")
    draw_set("Set14")
    Path("README.md").write_text(README)
    # Drawn pictures under these names: their bicubic is not the paper's.
    assert reproduce.main([]) == 1
    assert "Problem: Self-check: FAILED" in capsys.readouterr().err
    assert Path("README.md").read_text() == README
    monkeypatch.setattr(tables, "self_check", lambda ours: ("Self-check: none.", True))
    assert reproduce.main([]) == 0
    assert sorted(path.name for path in Path().iterdir()) == ["README.md", "Test", "docs", "weights"]
    text = Path("docs/results.md").read_text()
    assert capsys.readouterr().out == text

    config = Config(is_train=False, degradation="matlab", test_dir="Test/Set5")
    results = evaluate(config)
    mean = report.average_scores(results)["Set5"]
    ours = rows(text, "**srcnn_tf 9-1-5**")[0]
    assert ours[1:4] == ["91 pictures", "here", f"{mean['psnr_srcnn']:.2f} ({mean['ssim_srcnn']:.4f})"]
    assert rows(text, "SRCNN 9-1-5")[0] == ["SRCNN 9-1-5", "91 pictures", "the paper", "32.39 (0.9033)", "29.00"]
    assert rows(text, "**srcnn_tf 9-5-5 8-4**")[0][1] == "7 pictures"
    first = rows(text, "0")[0]  # without _GT
    assert f"{results[0].psnr_bicubic:.2f} ({results[0].ssim_bicubic:.4f})" in first
    assert f"{results[0].psnr_srcnn:.2f} ({results[0].ssim_srcnn:.4f})" in first
    assert len(rows(text, "4")) == 2
    assert len(rows(text, "13")) == 1
    assert rows(text, "SRCNN 11-1-7") == rows(text, "SRCNN 9-3-5") == []  # no network of ours to stand beside
    assert "Self-check: none." in text
    assert "(curves.png)" in text
    readme = Path("README.md").read_text()
    assert "32.39 (0.9033)" in readme
    assert "(docs/curves.png)" in readme
    assert "(docs/results.md)" in readme
    assert readme.endswith("<!-- /reproduce -->\n\nThe rest.\n")


def test_readme_is_rewritten_between_the_marks_alone(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(README)
    for _ in range(2):
        reproduce.rewrite(readme, "new\n\ntext")
        assert readme.read_text() == README.replace("\nold\n", "\n\nnew\n\ntext\n\n")


@pytest.mark.parametrize("text", ["no marks\n", "<!-- reproduce -->\nno end\n", "<!-- /reproduce --> no beginning\n"])
def test_a_readme_without_the_marks_is_left_alone(text, tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(text)
    reproduce.rewrite(readme, "new")
    assert readme.read_text() == text


def test_a_missing_set_is_named_and_the_other_one_done(draw_set, figure, capsys):
    draw_set("Set5")
    Path("README.md").write_text(README)
    assert reproduce.main(["--output=page.md"]) == 1
    error = capsys.readouterr().err
    assert "Set14: no folder of that name" in error
    assert "`python main.py --fetch=Set14`" in error
    assert "Set5 x3" in Path("page.md").read_text()
    assert Path("README.md").read_text() == README


def test_with_no_set_nothing_is_written(capsys):
    assert reproduce.main(["--test_dir=else where"]) == 1
    assert "Set5 and Set14" in (error := capsys.readouterr().err)
    assert "`python main.py --fetch=Set5,Set14 '--test_dir=else where'`" in error
    assert not Path("docs").exists()


def test_a_set_with_other_pictures_is_a_problem(draw_set, figure, capsys):
    draw_set("Set5", 4)
    draw_set("Set14")
    assert reproduce.main([]) == 1
    assert "Set5: expected the 5 pictures of Set5, found 4." in capsys.readouterr().err


def test_tables_are_made_where_there_is_no_matplotlib(draw_set, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.setattr(reproduce, "shipped", list)
    draw_set("Set5")
    draw_set("Set14")
    assert reproduce.main([]) == 1
    assert "pip install -r requirements-bench.txt" in capsys.readouterr().err
    assert "curves.png" not in Path("docs/results.md").read_text()


def test_sets_are_found_below_and_as_the_folder_itself(draw_set):
    draw_set("Set5", 1)
    Path("Test/Set14").mkdir()
    assert reproduce.find_sets("Test") == {"Set5": Path("Test/Set5")}
    assert reproduce.find_sets("Test/Set5") == {"Set5": Path("Test/Set5")}
    assert reproduce.find_sets("nowhere") == {}


def test_self_check_compares_to_the_last_decimal():
    printed = PUBLISHED["matlab"][0]
    assert printed.network == BICUBIC
    measured = {place: score._replace(psnr=score.psnr + 0.004) for place, score in printed.averages.items()}
    right = Method("bicubic", BICUBIC, "", tables.HERE, measured)
    assert "equals the paper's to the last decimal printed (Set5 x2, Set5 x3" in tables.self_check([right])[0]
    wrong = Method("bicubic", BICUBIC, "", tables.HERE, measured | {("Set14", 3): Score(27.55, 0.7736)})
    said, right = tables.self_check([wrong])
    assert not right
    assert "Set14 x3 is 27.55 (0.7736), not 27.54 (0.7736)" in said

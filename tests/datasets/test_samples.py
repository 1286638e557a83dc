from pathlib import Path

import pytest

from srcnn_tf.config import Config
from srcnn_tf.datasets import samples as datasets
from srcnn_tf.errors import RunError
from srcnn_tf.images.pictures import read_image


@pytest.mark.parametrize("flag", ["train_dir", "test_dir"])
def test_a_fresh_checkout_gets_photographs(flag, capsys):
    found = datasets.find_pictures(Config(), flag)
    folder = Path(getattr(Config(), flag), "samples")
    assert found == [folder / name for name in datasets.SAMPLES[flag]]
    assert f"photographs of scikit-image go to {folder}" in capsys.readouterr().out
    modes = {{2: "L", 3: "RGB"}[read_image(path).ndim] for path in found}
    assert modes == {"L", "RGB"}
    assert all(min(read_image(path).shape[:2]) >= 300 for path in found)
    assert datasets.find_pictures(Config(), flag) == found
    assert capsys.readouterr().out == ""


def test_test_photographs_are_never_training_photographs():
    train, test = (set(names) for names in datasets.SAMPLES.values())
    assert not train & test
    # The two halves of a stereo pair would be one photograph too.
    assert sum(name.startswith("motorcycle") for name in train | test) == 1


def test_ones_own_pictures_are_taken_instead(make_picture):
    path = make_picture("Train/mine/a.png")
    assert datasets.find_pictures(Config(), "train_dir") == [Path("Train/mine/a.png")]
    assert sorted(path.parents[1].iterdir()) == [path.parent]


@pytest.mark.parametrize("flag", ["train_dir", "test_dir"])
def test_a_named_folder_without_pictures_is_an_error(flag):
    with pytest.raises(RunError, match=rf"--{flag}=elsewhere is not a folder: expected one with pictures"):
        datasets.find_pictures(Config(**{flag: "elsewhere"}), flag)
    Path("elsewhere").mkdir()
    with pytest.raises(RunError, match=rf"--{flag}=elsewhere has no pictures: .*\(bmp, jpeg, jpg, png"):
        datasets.find_pictures(Config(**{flag: "elsewhere"}), flag)
    assert list(Path("elsewhere").iterdir()) == []


def test_a_part_of_the_photographs_is_never_left(monkeypatch):
    copied = []

    def copyfile(source, target):
        copied.append(target)
        if len(copied) == 3:
            raise KeyboardInterrupt
        Path(target).touch()

    monkeypatch.setattr(datasets.shutil, "copyfile", copyfile)
    with pytest.raises(KeyboardInterrupt):
        datasets.find_pictures(Config(), "train_dir")
    assert list(Path("Train").iterdir()) == []


def test_hidden_folders_are_passed_over(make_picture):
    make_picture("Train/.trash/a.png")
    assert len(datasets.find_pictures(Config(), "train_dir")) == len(datasets.SAMPLES["train_dir"])

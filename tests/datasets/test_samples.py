from pathlib import Path

import imageio.v3 as iio
import pytest
from conftest import forbid

from srcnn_tf.config import Config
from srcnn_tf.datasets import samples
from srcnn_tf.errors import RunError


@pytest.mark.parametrize("flag", ["train_dir", "test_dir"])
def test_an_empty_default_folder_gets_the_samples(flag, make_image, capsys):
    make_image(f"{getattr(Config(), flag)}/.hidden/a.png")
    paths = samples.find_images(Config(), flag)
    folder = Path(getattr(Config(), flag), "samples")
    assert paths == [folder / name for name in samples.SAMPLES[flag]]
    assert f"sample images of scikit-image go to {folder}" in capsys.readouterr().out
    images = [iio.imread(path) for path in paths]
    assert {image.ndim for image in images} == {2, 3}
    assert all(min(image.shape[:2]) >= 300 for image in images)
    assert samples.find_images(Config(), flag) == paths
    assert capsys.readouterr().out == ""


def test_no_sample_is_both_trained_on_and_tested_and_one_is_for_validation():
    train, test = (set(names) for names in samples.SAMPLES.values())
    assert not train & test
    # The two images of a stereo pair would be almost the same image too.
    assert sum(name.startswith("motorcycle") for name in train | test) == 1
    validation = [name for name in train if samples.is_validation_sample(Path("Train/samples", name))]
    assert validation == [samples.SAMPLE_VALIDATION]
    assert not samples.is_validation_sample(Path("Train/mine", samples.SAMPLE_VALIDATION))


@pytest.mark.parametrize("flag", ["train_dir", "test_dir"])
def test_a_named_folder_without_images_is_an_error(flag):
    with pytest.raises(RunError, match=rf"--{flag}=elsewhere is not a folder: expected one with images"):
        samples.find_images(Config(**{flag: "elsewhere"}), flag)
    Path("elsewhere").mkdir()
    with pytest.raises(RunError, match=rf"--{flag}=elsewhere has no images: .*\(.*bmp, .*jpeg, jpg, .*png"):
        samples.find_images(Config(**{flag: "elsewhere"}), flag)
    assert list(Path("elsewhere").iterdir()) == []


@pytest.mark.parametrize("flag", ["train_dir", "test_dir"])
def test_samples_count_only_as_long_as_they_are_alone(flag, make_image, capsys):
    folder = Path(getattr(Config(), flag))
    written = samples.find_images(Config(), flag)
    written[0].write_bytes(written[1].read_bytes()[:-1])  # which is an own one now
    make_image(f"{folder}/mine/a.jfif")
    (folder / "mine/a.txt").touch()
    capsys.readouterr()
    assert samples.find_images(Config(), flag) == [folder / "mine/a.jfif", written[0]]
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"Not used: the {len(written) - 1} sample images in {folder / 'samples'}, as there are")
    assert lines[1:] == [f"Left out of the files below {folder}: 1 .txt."]


def test_a_default_folder_that_holds_something_else_gets_no_samples(make_image):
    Path("Train").mkdir()
    Path("Train/README.md").touch()
    Path("Train/photo.psd").touch()
    with pytest.raises(RunError, match=r"Train has no images: .* Left out of the files below Train: 1 \.psd\."):
        samples.find_images(Config(), "train_dir")
    for name in ("a.jfif", "b.gif"):
        make_image(f"Train/{name}")
    assert [path.name for path in samples.find_images(Config(), "train_dir")] == ["a.jfif", "b.gif"]


@pytest.mark.linux
def test_a_folder_that_may_not_be_read_is_a_warning_in_training(make_image, monkeypatch, capsys):
    make_image("T/a.png")
    Path("T/lost+found").mkdir()
    forbid(monkeypatch, "T/lost+found")
    assert samples.find_images(Config(train_dir="T"), "train_dir") == [Path("T/a.png")]
    assert "Warning: T/lost+found: cannot be searched (Permission denied)" in capsys.readouterr().out


def test_only_unchanged_samples_in_the_default_folder_are_removed(capsys, monkeypatch):
    paths = samples.find_images(Config(), "test_dir")
    paths[0].write_bytes(b"own, under a sample's name")
    Path("mine").symlink_to("Test")
    samples.remove_samples(Config(test_dir="mine"), "test_dir")
    assert all(path.exists() for path in paths)
    samples.remove_samples(Config(), "test_dir")
    assert list(Path("Test/samples").iterdir()) == [paths[0]]
    assert "the 5 sample images of scikit-image are removed; other files in it are kept." in capsys.readouterr().out
    paths[0].unlink()
    paths = samples.find_images(Config(), "test_dir")
    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", lambda path: (_ for _ in ()).throw(PermissionError(13, "Denied", str(path))))
        with pytest.raises(RunError, match=r"astronaut\.png: cannot be removed \(Denied\), and would be used"):
            samples.remove_samples(Config(), "test_dir")
    samples.remove_samples(Config(), "test_dir")
    assert list(Path("Test").iterdir()) == []

from pathlib import Path

import imageio.v3 as iio
import pytest

from srcnn_tf.config import Config
from srcnn_tf.datasets import samples
from srcnn_tf.errors import RunError


@pytest.mark.parametrize("flag", ["train_dir", "test_dir"])
def test_an_empty_default_folder_gets_the_samples(flag, make_image, capsys):
    make_image(f"{getattr(Config(), flag)}/.hidden/a.png")
    found = samples.find_images(Config(), flag)
    folder = Path(getattr(Config(), flag), "samples")
    assert found == [folder / name for name in samples.SAMPLES[flag]]
    assert f"sample images of scikit-image go to {folder}" in capsys.readouterr().out
    images = [iio.imread(path) for path in found]
    assert {image.ndim for image in images} == {2, 3}
    assert all(min(image.shape[:2]) >= 300 for image in images)
    assert samples.find_images(Config(), flag) == found
    assert capsys.readouterr().out == ""


def test_no_sample_is_both_trained_on_and_tested():
    train, test = (set(names) for names in samples.SAMPLES.values())
    assert not train & test
    # The two images of a stereo pair would be almost the same image too.
    assert sum(name.startswith("motorcycle") for name in train | test) == 1


def test_one_training_sample_is_for_validation():
    paths = [Path("Train/samples", name) for name in samples.SAMPLES["train_dir"]]
    assert [path.name for path in paths if samples.is_validation_sample(path)] == [samples.SAMPLE_VALIDATION]
    assert not samples.is_validation_sample(Path("Train/mine", samples.SAMPLE_VALIDATION))


def test_own_images_are_used_instead(make_image):
    path = make_image("Train/mine/a.png")
    assert samples.find_images(Config(), "train_dir") == [Path("Train/mine/a.png")]
    assert sorted(path.parents[1].iterdir()) == [path.parent]


@pytest.mark.parametrize("flag", ["train_dir", "test_dir"])
def test_a_named_folder_without_images_is_an_error(flag):
    with pytest.raises(RunError, match=rf"--{flag}=elsewhere is not a folder: expected one with images"):
        samples.find_images(Config(**{flag: "elsewhere"}), flag)
    Path("elsewhere").mkdir()
    with pytest.raises(RunError, match=rf"--{flag}=elsewhere has no images: .*\(.*bmp, .*jpeg, jpg, .*png"):
        samples.find_images(Config(**{flag: "elsewhere"}), flag)
    assert list(Path("elsewhere").iterdir()) == []


def test_an_interrupt_leaves_no_part_of_the_samples(monkeypatch):
    copied = []

    def copyfile(source, target):
        copied.append(target)
        if len(copied) == 3:
            raise KeyboardInterrupt
        Path(target).touch()

    monkeypatch.setattr(samples.shutil, "copyfile", copyfile)
    with pytest.raises(KeyboardInterrupt):
        samples.find_images(Config(), "train_dir")
    assert list(Path("Train").iterdir()) == []


def test_only_unchanged_samples_in_the_default_folder_are_removed(capsys, monkeypatch):
    found = samples.find_images(Config(), "test_dir")
    found[0].write_bytes(b"own, under a sample's name")
    Path("mine").symlink_to("Test")
    samples.remove_samples(Config(test_dir="mine"), "test_dir")
    assert all(path.exists() for path in found)
    samples.remove_samples(Config(), "test_dir")
    assert list(Path("Test/samples").iterdir()) == [found[0]]
    assert "the 5 sample images of scikit-image are removed; other files in it are kept." in capsys.readouterr().out
    found[0].unlink()
    found = samples.find_images(Config(), "test_dir")
    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", lambda path: (_ for _ in ()).throw(PermissionError(13, "Denied", str(path))))
        with pytest.raises(RunError, match=r"astronaut\.png: cannot be removed \(Denied\), and would be used"):
            samples.remove_samples(Config(), "test_dir")
    samples.remove_samples(Config(), "test_dir")
    assert list(Path("Test").iterdir()) == []

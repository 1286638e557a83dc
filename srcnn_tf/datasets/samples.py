"""Lists the images to train on or to test; provides sample images from scikit-image's wheel where there are none."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from importlib import resources
from os.path import realpath  # resolves links; unlike Path.resolve, without an error where they loop
from pathlib import Path

from srcnn_tf.config import Config
from srcnn_tf.errors import RunError
from srcnn_tf.images.read import IMAGE_EXTENSIONS
from srcnn_tf.system.files import atomic_write
from srcnn_tf.utils import prepare_data

# Natural images only, none both to train and to test. Both lists have colour and grey images, medical (cell; ihc) and
# astronomical ones (moon; hubble, the only one with a black sky).
SAMPLES = {
    "train_dir": (
        "brick.png",
        "cell.png",
        "coffee.png",
        "grass.png",
        "gravel.png",
        "hubble_deep_field.jpg",
        "motorcycle_left.png",
        "rocket.jpg",
    ),
    "test_dir": ("astronaut.png", "camera.png", "chelsea.png", "coins.png", "ihc.png", "moon.png"),
}
SAMPLE_VALIDATION = "motorcycle_left.png"  # the training sample to validate on: detailed, in colour


def find_images(config: Config, flag: str) -> list[Path]:
    """Lists the images below `config.train_dir` or `config.test_dir`, sorted by path.

    If the folder is the default one and has no images, the samples are written into it first. Images below
    `config.sample_dir` are left out if that is below the folder.

    Args:
        config: names the folder.
        flag: 'train_dir' or 'test_dir'.

    Raises:
        RunError: the folder is not the default one, and is missing or has no images.
    """
    directory = Path(getattr(config, flag))
    images = exclude_results(prepare_data(directory), directory, config.sample_dir)
    if images:
        return images
    if str(directory) != getattr(Config, flag):
        state = "has no images" if directory.is_dir() else "is not a folder"
        extensions = ", ".join(sorted(extension.lstrip(".") for extension in IMAGE_EXTENSIONS))
        raise RunError(f"--{flag}={directory} {state}: expected one with images in it or below ({extensions}).")
    directory /= "samples"
    print(f"No images below {directory.parent}: {len(SAMPLES[flag])} sample images of scikit-image go to {directory}.")
    # Atomic, because the next run would use an incomplete folder as it is.
    with atomic_write(directory) as temporary:
        temporary.mkdir(exist_ok=True)
        for name in SAMPLES[flag]:
            with resources.as_file(resources.files("skimage.data") / name) as sample:
                shutil.copyfile(sample, temporary / name)
    return prepare_data(directory)


def exclude_results(paths: Iterable[Path], directory: Path, results: str) -> list[Path]:
    """Leaves out the images below the folder `results`, which earlier runs wrote, if it is below `directory`."""
    folder = Path(realpath(results))
    is_below = Path(realpath(directory)) in folder.parents
    return [path for path in paths if not (is_below and folder in Path(realpath(path)).parents)]


def is_validation_sample(path: Path) -> bool:
    """Whether `path` is the sample image that training on the samples validates on."""
    return path.name == SAMPLE_VALIDATION and path.parent.name == "samples"


def remove_samples(config: Config, flag: str) -> None:
    """Removes the samples that `find_images` wrote below the default folder, and no other file.

    A file that differs from scikit-image's is the user's own, whatever its name, and is kept.

    Args:
        config: names the folder.
        flag: 'train_dir' or 'test_dir'.

    Raises:
        RunError: a sample cannot be removed.
    """
    directory = Path(getattr(config, flag), "samples")
    if str(directory.parent) != getattr(Config, flag) or directory.is_symlink() or not directory.is_dir():
        return
    source = resources.files("skimage.data")
    try:
        paths = [directory / name for name in SAMPLES[flag] if (directory / name).is_file()]
        samples = [path for path in paths if path.read_bytes() == (source / path.name).read_bytes()]
        for path in samples:
            path.unlink()
        if samples and not any(directory.iterdir()):
            directory.rmdir()
    except OSError as error:
        raise RunError(
            f"{error.filename}: cannot be removed ({error.strerror}), and would be used with the images "
            f"in {directory.parent}; remove {directory} yourself."
        ) from error
    if samples:
        kept = "; other files in it are kept" if directory.is_dir() else ""
        print(f"{directory}: the {len(samples)} sample images of scikit-image are removed{kept}.")

"""Lists the images to train on or to test; provides sample images from scikit-image's wheel where there are none."""

from __future__ import annotations

import shutil
from importlib import resources
from pathlib import Path

from srcnn_tf.config import Config
from srcnn_tf.errors import RunError
from srcnn_tf.images.read import IMAGE_EXTENSIONS, is_image_file
from srcnn_tf.system.files import atomic_write
from srcnn_tf.system.folders import find_files
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


def find_images(config: Config, flag: str, problems: list[str] | None = None) -> list[Path]:
    """Lists the images below `config.train_dir` or `config.test_dir`, sorted by path.

    If the folder is the default one and holds nothing, the samples are written into it first. They count only as long
    as they are alone. Results of this program are left out, and so are images below `config.sample_dir` if that is
    below the folder. What is left out is said in a line.

    Args:
        config: names the folder.
        flag: 'train_dir' or 'test_dir'.
        problems: gets what could not be searched; default: that is printed as a warning.

    Raises:
        RunError: there are no images, and the folder is not the default one or holds something else.
    """
    directory = Path(getattr(config, flag))
    found = find_files(directory, is_image_file, config.sample_dir)
    images = found.files
    if (directory / "samples").is_dir():
        samples = set(_unchanged_samples(directory, flag))
        if own := [path for path in images if path not in samples]:
            if len(own) < len(images):
                print(
                    f"Not used: the {len(images) - len(own)} sample images in {directory / 'samples'}, as there are "
                    "others."
                )
            images = own
    left_out = found.left_out(directory)
    if images:
        for line in [left_out] * bool(left_out) + [f"Warning: {one}" for one in found.problems if problems is None]:
            print(line)
        if problems is not None:
            problems += found.problems
        return images
    if str(directory) != getattr(Config, flag) or found.others or found.problems:
        state = "has no images" if directory.is_dir() else "is not a folder"
        extensions = ", ".join(sorted(extension.lstrip(".") for extension in IMAGE_EXTENSIONS))
        expected = f"--{flag}={directory} {state}: expected one with images in it or below ({extensions})."
        raise RunError(" ".join([expected, left_out, *found.problems]))
    directory /= "samples"
    print(f"No images below {directory.parent}: {len(SAMPLES[flag])} sample images of scikit-image go to {directory}.")
    # Atomic, because the next run would use an incomplete folder as it is.
    with atomic_write(directory) as temporary:
        temporary.mkdir(exist_ok=True)
        for name in SAMPLES[flag]:
            with resources.as_file(resources.files("skimage.data") / name) as sample:
                shutil.copyfile(sample, temporary / name)
    return prepare_data(directory)


def _unchanged_samples(directory: Path, flag: str) -> list[Path]:
    """Lists the samples that `find_images` wrote; a file that differs is the user's own, whatever its name."""
    source = resources.files("skimage.data")
    paths = [directory / "samples" / name for name in SAMPLES[flag]]
    return [path for path in paths if path.is_file() and path.read_bytes() == (source / path.name).read_bytes()]


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
    try:
        samples = _unchanged_samples(directory.parent, flag)
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

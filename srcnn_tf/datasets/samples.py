"""Where pictures come from: the folders that are named, or photographs that scikit-image carries in its wheel."""

from __future__ import annotations

import shutil
from importlib import resources
from pathlib import Path

from srcnn_tf.config import Config
from srcnn_tf.errors import RunError
from srcnn_tf.files import atomic_write
from srcnn_tf.images.pictures import ENDINGS
from srcnn_tf.utils import prepare_data

# Photographs only, in the wheel itself, each in one set alone; in both sets colour and grey, and among them
# medical (cell; ihc) and astronomical (hubble, whose black sky nothing else has; moon) ones.
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


def find_pictures(config: Config, flag: str) -> list[Path]:
    """Lists the pictures below `config.train_dir` or `config.test_dir`, sorted by path.

    Where the folder is the default one and has none, the sample photographs are put into it first.

    Args:
        flag: 'train_dir' or 'test_dir'.

    Raises:
        RunError: the folder is missing or has no pictures, and it is not the default one.
    """
    directory = Path(getattr(config, flag))
    pictures = prepare_data(directory)
    if pictures:
        return pictures
    if str(directory) != getattr(Config, flag):
        state = "has no pictures" if directory.is_dir() else "is not a folder"
        endings = ", ".join(sorted(ending.lstrip(".") for ending in ENDINGS))
        raise RunError(f"--{flag}={directory} {state}: expected one with pictures in it or below ({endings}).")
    return _write_samples(directory / "samples", SAMPLES[flag])


def remove_samples(config: Config, flag: str) -> None:
    """Removes the sample photographs that `find_pictures` put below the default folder, and no other file.

    One that is not byte for byte scikit-image's is someone's own, whatever its name, and stays.

    Args:
        flag: 'train_dir' or 'test_dir'.

    Raises:
        RunError: they cannot be removed.
    """
    directory = Path(getattr(config, flag)) / "samples"
    if str(directory.parent) != getattr(Config, flag) or directory.is_symlink() or not directory.is_dir():
        return
    source = resources.files("skimage.data")
    try:
        samples = [
            path
            for name in SAMPLES[flag]
            if (path := directory / name).is_file() and path.read_bytes() == (source / name).read_bytes()
        ]
        for path in samples:
            path.unlink()
        if samples and not any(directory.iterdir()):
            directory.rmdir()
    except OSError as error:
        raise RunError(
            f"{error.filename}: cannot be removed ({error.strerror}), and would be used with the pictures "
            f"in {directory.parent}; remove {directory} yourself."
        ) from error
    if samples:
        kept = "; other files in it are kept" if directory.is_dir() else ""
        print(f"{directory}: the {len(samples)} photographs of scikit-image are removed{kept}.")


def _write_samples(directory: Path, names: tuple[str, ...]) -> list[Path]:
    print(f"No pictures below {directory.parent}: {len(names)} photographs of scikit-image go to {directory}.")
    source = resources.files("skimage.data")
    # Hidden until all are there: a part of them would be taken for the whole the next time.
    with atomic_write(directory) as temporary:
        temporary.mkdir(exist_ok=True)
        for name in names:
            with resources.as_file(source / name) as photograph:
                shutil.copyfile(photograph, temporary / name)
    return prepare_data(directory)

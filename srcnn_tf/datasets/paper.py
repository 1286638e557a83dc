"""Downloads the paper's images from the reference's repository; each is checked against its SHA-256 sum."""

from __future__ import annotations

import itertools
import logging
import os
import shutil
import sys
import tempfile
from importlib import resources
from pathlib import Path

import pooch
from tqdm import tqdm

from srcnn_tf.config import SETS, Config
from srcnn_tf.datasets.samples import remove_samples
from srcnn_tf.errors import RunError
from srcnn_tf.files import atomic_write
from srcnn_tf.utils import prepare_data

COMMIT = "78be1a24697935fc39a3a8cf59a6632264afade7"
# GitHub creates the archive anew at times, with other bytes: it has no sum of its own, the images in it have.
URL = f"https://github.com/tegg89/SRCNN-Tensorflow/archive/{COMMIT}.zip"
SUMS = resources.files("srcnn_tf.datasets") / "paper.sha256"  # in the format of `sha256sum --check`
RETRIES = 2  # after a broken connection
TIMEOUT = 30.0  # seconds without a byte


def fetch(config: Config) -> None:
    """Downloads the sets of `config.fetch` into folders of their names below `config.train_dir` and `config.test_dir`.

    Images that are there with the right sums are kept; if all are, nothing is downloaded. A new folder appears with all
    its images at once. A different file in the place of an image is renamed, and other files are left alone. The sample
    images are removed where a set is complete.

    Raises:
        RunError: the archive cannot be downloaded, or some sets could not be completed; the others are.
    """
    folders = {name: Path(getattr(config, SETS[name]), name) for name in config.sets}
    missing = {name: find_missing(folder, read_sums(name)) for name, folder in folders.items()}
    failed = 0
    with tempfile.TemporaryDirectory(prefix="srcnn_tf-") as temporary:
        images = _download(Path(temporary)) if any(missing.values()) else {}
        for name, folder in folders.items():
            try:
                if missing[name]:
                    _write(folder, missing[name], images)
                else:
                    print(f"{folder}: all {len(read_sums(name))} images are there already, with the right sums.")
                own = {folder / image for image in read_sums(name)}
                if others := [str(path.relative_to(folder)) for path in prepare_data(folder) if path not in own]:
                    print(f"{folder}: images that are not of {name} will be used with it: {', '.join(others)}.")
                remove_samples(config, SETS[name])
            except RunError as error:
                print(f"Problem: {error}", file=sys.stderr)
                failed += 1
    if failed:
        raise RunError(f"{failed} of {len(folders)} sets could not be completed; the problems are listed above.")


def read_sums(name: str) -> dict[str, str]:
    """Returns the SHA-256 sums of a set's images, by file name."""
    lines = (line.split("  ") for line in SUMS.read_text(encoding="ascii").splitlines())
    return {path.removeprefix(f"{name}/"): digest for digest, path in lines if path.startswith(f"{name}/")}


def find_missing(folder: Path, sums: dict[str, str]) -> dict[str, str]:
    """Returns those of `sums` whose images are not in `folder`, or differ."""
    return {
        name: digest
        for name, digest in sums.items()
        if not (folder / name).is_file() or pooch.file_hash(str(folder / name)) != digest
    }


def _download(folder: Path) -> dict[str, Path]:
    """Downloads and unpacks the archive; returns its files by their SHA-256 sums, whatever their paths."""
    print(f"Downloading {URL}", flush=True)
    pooch.get_logger().setLevel(logging.WARNING)
    source = pooch.create(folder, "", registry={"zip": None}, urls={"zip": URL}, retry_if_failed=RETRIES)
    try:
        with tqdm(unit="B", unit_scale=True, disable=None, leave=False) as bar:
            downloader = pooch.HTTPDownloader(progressbar=bar, timeout=TIMEOUT)
            paths = source.fetch("zip", processor=pooch.Unzip(), downloader=downloader)
    except Exception as error:  # requests wraps the cause several times, and zipfile raises nearly anything
        cause: BaseException = error
        while cause.__context__ is not None:
            cause = cause.__context__
        raise RunError(
            f"{URL}: expected a zip archive, but the download failed ({cause}); nothing is written. Check the network "
            f"(the variable https_proxy names a proxy) and the free space in {folder.parent} (TMPDIR names another), "
            "then give the same command again."
        ) from error
    return {pooch.file_hash(path): Path(path) for path in paths}


def _write(folder: Path, missing: dict[str, str], images: dict[str, Path]) -> None:
    """Writes the missing images of a set, if all of them were downloaded."""
    for name, digest in missing.items():
        if digest not in images:
            found = next((other for other, path in images.items() if path.name == name), "no such file")
            raise RunError(
                f"{folder}: nothing is written, as {URL} is not the expected archive: for {name} expected SHA-256 "
                f"{digest}, found {found}. See whether GitHub or a proxy answers, then give the same command again."
            )
    if not folder.is_dir():
        with atomic_write(folder) as temporary:
            temporary.mkdir(exist_ok=True)
            for name, digest in missing.items():
                shutil.copyfile(images[digest], temporary / name)
    else:
        for name, digest in missing.items():
            path = folder / name
            with atomic_write(path) as temporary:
                shutil.copyfile(images[digest], temporary)
                if os.path.lexists(path):
                    old_paths = (path.with_name(f"{name}.old{number}") for number in itertools.count(1))
                    old = path.rename(next(old for old in old_paths if not os.path.lexists(old)))
                    print(f"{path}: a file that differed is kept as {old.name}.")
    print(f"{folder}: {len(missing)} images written, with the right sums.")

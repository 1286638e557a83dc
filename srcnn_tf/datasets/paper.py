"""Downloads the paper's images from the reference's repository; each is checked against its SHA-256 sum."""

from __future__ import annotations

import itertools
import os
import shutil
import sys
import tempfile
from importlib import resources
from pathlib import Path

import pooch

from srcnn_tf.config import SETS, Config
from srcnn_tf.datasets.samples import remove_samples
from srcnn_tf.errors import RunError
from srcnn_tf.system.files import atomic_write
from srcnn_tf.utils import prepare_data

# GitHub regenerates the archive, so its checksum varies; only the images are checked.
URL = "https://github.com/tegg89/SRCNN-Tensorflow/archive/78be1a24697935fc39a3a8cf59a6632264afade7.zip"
SUMS = resources.files("srcnn_tf.datasets") / "paper.sha256"  # in the format of `sha256sum --check`


def fetch(config: Config) -> None:
    """Downloads the sets of `config.fetch` into folders of their names below `config.train_dir` and `config.test_dir`.

    If all images are there with the right sums, nothing is downloaded. A new folder appears with all images at once; in
    an existing one, a file that differs is renamed, other files are kept. Where a set is complete, samples are removed.

    Raises:
        RunError: the archive cannot be downloaded, or some sets could not be completed; the others are.
    """
    folders = {name: Path(getattr(config, SETS[name]), name) for name in config.sets}
    missing = {name: find_missing(folder, read_sums(name)) for name, folder in folders.items()}
    problems = []
    with tempfile.TemporaryDirectory(prefix="srcnn_tf-") as temporary:
        images = _download(temporary) if any(missing.values()) else {}
        for name, folder in folders.items():
            try:
                _write(folder, missing[name], images)
                sums = read_sums(name)
                others = [path.name for path in prepare_data(folder) if path.name not in sums]
                print(f"{folder}: {len(sums)} images, {len(missing[name])} new; others: {', '.join(others) or 'none'}.")
                remove_samples(config, SETS[name])
            except RunError as error:
                problems.append(str(error))
    if problems:
        raise RunError(" ".join(problems))


def read_sums(name: str) -> dict[str, str]:
    """Returns the SHA-256 sums of a set's images, by file name."""
    lines = (line.split("  ") for line in SUMS.read_text(encoding="ascii").splitlines())
    return {Path(path).name: digest for digest, path in lines if path.startswith(f"{name}/")}


def find_missing(folder: Path, sums: dict[str, str]) -> dict[str, str]:
    """Returns those of `sums` whose images are not in `folder`, or differ."""
    present = {name: pooch.file_hash(str(folder / name)) for name in sums if (folder / name).is_file()}
    return {name: digest for name, digest in sums.items() if present.get(name) != digest}


def _download(folder: str) -> dict[str, Path]:
    """Downloads and unpacks the archive; returns its files by their SHA-256 sums, whatever their paths."""
    print(f"Downloading {URL}", flush=True)
    pooch.get_logger().setLevel("WARNING")
    source = pooch.create(folder, "", registry={"zip": None}, urls={"zip": URL}, retry_if_failed=2)
    try:
        paths = source.fetch("zip", pooch.Unzip(), pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), timeout=30))
    except Exception as error:  # requests wraps the cause several times, and zipfile raises nearly anything
        cause: BaseException = error
        while cause.__context__ is not None:
            cause = cause.__context__
        raise RunError(
            f"{URL}: expected a zip archive, but the download failed ({cause}); nothing is written. Check the network, "
            "its proxy (https_proxy) and the free space for temporary files (TMPDIR), then try again."
        ) from error
    return {pooch.file_hash(path): Path(path) for path in paths}


def _write(folder: Path, missing: dict[str, str], images: dict[str, Path]) -> None:
    """Writes the missing images of a set, if all of them were downloaded."""
    if absent := [f"{name} ({digest})" for name, digest in missing.items() if digest not in images]:
        raise RunError(
            f"{folder}: nothing is written, as the archive has no files with the SHA-256 sums of {', '.join(absent)}. "
            f"See whether GitHub or a proxy answers for {URL}, then give the same command again."
        )
    if not folder.is_dir():
        with atomic_write(folder) as temporary:
            temporary.mkdir(exist_ok=True)
            for name, digest in missing.items():
                shutil.copyfile(images[digest], temporary / name)
    for name, digest in find_missing(folder, missing).items():
        with atomic_write(path := folder / name) as temporary:
            shutil.copyfile(images[digest], temporary)
            if os.path.lexists(path):
                old = next(old for n in itertools.count(1) if not os.path.lexists(old := folder / f"{name}.old{n}"))
                print(f"{path}: the file that differed is kept as {path.rename(old).name}.")

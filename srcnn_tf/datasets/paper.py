"""Fetching the paper's pictures from the reference's repository; each one is checked against its SHA-256 sum."""

from __future__ import annotations

import hashlib
import http.client
import itertools
import os
import sys
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterable
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from tqdm import tqdm

from srcnn_tf.config import SETS, Config
from srcnn_tf.datasets.samples import remove_samples
from srcnn_tf.errors import RunError
from srcnn_tf.files import atomic_write
from srcnn_tf.utils import prepare_data

COMMIT = "78be1a24697935fc39a3a8cf59a6632264afade7"
# A zip names its files at its end, so a part of one is never taken for the whole, and only what is wanted is unpacked.
# GitHub makes it anew at times, with other bytes: its own sum would say nothing.
URL = f"https://github.com/tegg89/SRCNN-Tensorflow/archive/{COMMIT}.zip"
# `sha256sum --check` reads it too, in a folder that has the sets.
SUMS = resources.files("srcnn_tf.datasets") / "paper.sha256"

TIMEOUT = 30.0  # seconds without a byte
ATTEMPTS = 3  # at a download that is cut
PAUSE = 2.0  # seconds before the second attempt; before the third, twice that
LARGEST_ARCHIVE = 256 * 2**20  # bytes; the pictures have 27 MB before compression
LARGEST_PICTURE = 4 * 2**20  # bytes; the largest has 1.2 MB
LARGEST_CONTENT = 2**30  # bytes of all files that are unpacked
NAMED = 5  # of many files, at most, in a message

Sums = dict[str, str]  # a picture's name and its SHA-256 sum, in hexadecimal


class Unpacked(NamedTuple):
    """What an archive has: the pictures that are wanted, by their sums; and of other files, by name, what was found."""

    pictures: dict[str, bytes]
    others: dict[str, str]


class CutError(RunError):
    """The download did not come to its end; another attempt may."""


def fetch(config: Config) -> None:
    """Puts the sets of `config.fetch` below `config.train_dir` and `config.test_dir`, a folder a set.

    What is there with the right sums stays; if that is all, nothing is downloaded. A set is renamed into place whole.
    In a folder that was there before, each missing picture is; a file that differs from the set's is kept under another
    name, and files that are not of the set are left alone. Where a set is, the sample photographs make way for it.

    Raises:
        RunError: there is no archive to be had, or some sets of it are damaged; the others are written.
    """
    sums = read_sums()
    missing = {name: lacking(_folder(config, name), sums[name]) for name in config.sets}
    whole = [name for name in config.sets if not missing[name]]
    done = [_settle(config, name, sums[name]) for name in whole]
    if len(whole) < len(config.sets):
        wanted = {digest for pictures in missing.values() for digest in pictures.values()}
        with tempfile.TemporaryFile(buffering=0) as file:  # it has no name: however this ends, nothing is left of it
            download(URL, file)
            unpacked = _unpacked(file, wanted)
        done += [_settle(config, name, sums[name], unpacked) for name in config.sets if name not in whole]
    if not all(done):
        raise RunError(f"{done.count(False)} of {len(done)} sets could not be done; what is wrong is said above.")


def read_sums() -> dict[str, Sums]:
    """The sums in the package, by set."""
    sums: dict[str, Sums] = {name: {} for name in SETS}
    for line in SUMS.read_text(encoding="ascii").splitlines():
        digest, path = line.split("  ")
        name, picture = path.split("/")
        sums[name][picture] = digest
    return sums


def lacking(folder: Path, sums: Sums) -> Sums:
    """Those of `sums` whose pictures are not in `folder`, or are other than they should be."""
    return {name: digest for name, digest in sums.items() if _digest(folder / name) != digest}


def _digest(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:  # not there, a folder, not to be read: in any case not the picture
        return None


def _folder(config: Config, name: str) -> Path:
    return Path(getattr(config, SETS[name]), name)


def _settle(config: Config, name: str, sums: Sums, unpacked: Unpacked | None = None) -> bool:
    """Puts what a set lacks, if it does, into its folder, and the sample photographs out of the way.

    Returns:
        Whether that could be done; else it is said why not.
    """
    folder = _folder(config, name)
    try:
        if unpacked is None:
            print(f"{folder}: all {len(sums)} pictures are there already, with the right sums.")
        else:
            _put(unpacked, folder, lacking(folder, sums))
        _warn_of_others(folder, name, sums)
        remove_samples(config, SETS[name])
    except RunError as error:
        print(f"Problem: {error}", file=sys.stderr)
        return False
    return True


def _warn_of_others(folder: Path, name: str, sums: Sums) -> None:
    others = [path for path in prepare_data(folder) if path not in {folder / picture for picture in sums}]
    if others:
        listed = _listed(str(path.relative_to(folder)) for path in others)
        print(f"{folder}: pictures that are not of {name} are left there, and will be used with it: {listed}.")


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


# --- the download ---


def download(url: str, file: IO[bytes]) -> None:
    """Writes what `url` answers to `file`, an unbuffered one; begins anew, a few times, when it is cut.

    Raises:
        RunError: the server cannot be reached, does not have it, or stops halfway; or the file cannot be written.
    """
    print(f"Downloading {url}", flush=True)
    for attempt in itertools.count(1):
        file.seek(0)
        file.truncate()
        try:
            return _receive(url, file)
        except CutError as error:
            if attempt == ATTEMPTS:
                raise
            print(f"{error} Attempt {attempt + 1} of {ATTEMPTS} follows.", file=sys.stderr, flush=True)
            time.sleep(PAUSE * attempt)


def _receive(url: str, file: IO[bytes]) -> None:
    with _answer(url) as answer:
        expected, received = answer.length, 0  # GitHub makes archives as it sends them, and does not say how long
        with tqdm(total=expected, unit="B", unit_scale=True, disable=None, dynamic_ncols=True) as bar:
            while block := _read(url, answer, received):
                received += len(block)
                if received > LARGEST_ARCHIVE:
                    raise RunError(
                        f"{url}: expected an archive of {_megabytes(LARGEST_ARCHIVE)} at most, and more came; "
                        "nothing of it is kept."
                    )
                _write(file, block)
                bar.update(len(block))
    if expected is not None and received < expected:
        raise _cut(url, received, f"expected {_megabytes(expected)}")


def _answer(url: str) -> http.client.HTTPResponse:
    request = urllib.request.Request(url, headers={"User-Agent": "srcnn_tf"})
    try:
        return urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        # 5xx and 429 are of the moment; other answers would be the same again.
        kind = CutError if error.code >= 500 or error.code == 429 else RunError
        raise kind(
            f"{url}: expected the archive, but the server answered {error.code} ({error.reason}); try again later."
        ) from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise RunError(
            f"{url}: no connection ({getattr(reason, 'strerror', None) or reason or type(error).__name__}); "
            "look at the network (a proxy is taken from the variable https_proxy), then give the same command again."
        ) from error


def _read(url: str, answer: http.client.HTTPResponse, received: int) -> bytes:
    try:
        return answer.read(2**16)
    except (OSError, http.client.HTTPException) as error:
        raise _cut(url, received, str(error) or type(error).__name__) from error


def _cut(url: str, received: int, reason: str) -> CutError:
    return CutError(
        f"{url}: the download was cut after {_megabytes(received)} ({reason}); nothing of it is kept, "
        "the same command begins anew."
    )


def _write(file: IO[bytes], block: bytes) -> None:
    rest = memoryview(block)
    try:
        while rest:
            rest = rest[file.write(rest) :]
    except OSError as error:
        raise RunError(
            f"{tempfile.gettempdir()}: the download cannot be written there ({error.strerror}); free the place, "
            "or name another folder for temporary files with the variable TMPDIR."
        ) from error


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


# --- the archive ---


def _unpacked(file: IO[bytes], wanted: set[str]) -> Unpacked:
    """Looks for pictures by their sums, in any folder of the archive: its paths are used for nothing.

    Raises:
        RunError: it is not an archive, or has far too much in it.
    """
    pictures: dict[str, bytes] = {}
    others: dict[str, str] = {}
    size = 0
    with _opened(file) as archive:
        for member in archive.infolist():
            name = PurePosixPath(member.filename).name
            try:
                content = _content(archive, member)
            except ValueError as error:
                others[name] = str(error)
                continue
            size += len(content)
            if size > LARGEST_CONTENT:
                raise RunError(f"{URL}: expected an archive of {_megabytes(LARGEST_CONTENT)} unpacked, found more.")
            digest = hashlib.sha256(content).hexdigest()
            if digest in wanted:
                pictures[digest] = content
            else:
                others[name] = digest
    return Unpacked(pictures, others)


def _opened(file: IO[bytes]) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(file)
    # zipfile raises nearly anything on a damaged file (UnicodeDecodeError and ValueError among them).
    except Exception as error:
        size = file.seek(0, os.SEEK_END)
        raise RunError(
            f"{URL}: expected a zip archive, found {_megabytes(size)} that are not a whole one ({error}); "
            "give the same command again, and see whether a proxy or a sign-in page answers instead of GitHub."
        ) from error


def _content(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """What is in a file of the archive; a ValueError says why it cannot be had."""
    if member.file_size > LARGEST_PICTURE:
        raise ValueError(_megabytes(member.file_size))
    # Python unpacks the other kinds without a bound: a small file could fill the memory.
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"compression method {member.compress_type}, which GitHub does not use")
    try:
        with archive.open(member) as file:
            return file.read(LARGEST_PICTURE)
    except Exception as error:  # see _opened
        raise ValueError(f"damaged data: {error}") from error


# --- the folders ---


def _put(unpacked: Unpacked, folder: Path, sums: Sums) -> None:
    """Puts the pictures of `sums` into `folder`, if all of them are there to be put."""
    _check(unpacked, folder, sums)
    pictures = {name: unpacked.pictures[digest] for name, digest in sums.items()}
    if not folder.is_dir():
        # Hidden until all are there: a part of a set would be taken for the whole.
        with atomic_write(folder) as temporary:
            temporary.mkdir(exist_ok=True)
            for name, picture in pictures.items():
                (temporary / name).write_bytes(picture)
        print(f"{folder}: {len(pictures)} pictures, all with the right sums.")
        return
    kept = [_replace(folder / name, picture) for name, picture in pictures.items()]
    print(f"{folder}: {len(pictures)} pictures that were missing or damaged are there now, with the right sums.")
    if aside := [path.name for path in kept if path]:
        print(f"{folder}: what was there in their place is kept as {_listed(aside)}.")


def _check(unpacked: Unpacked, folder: Path, sums: Sums) -> None:
    reasons = [
        f"of {name} expected SHA-256 {digest}, found {unpacked.others.get(name, 'no such file')}"
        for name, digest in sums.items()
        if digest not in unpacked.pictures
    ]
    if reasons:
        raise RunError(
            f"{folder}: nothing is written, as the archive is not the expected one: {'; '.join(reasons)}. "
            f"Look at who answers for {URL}, then give the same command again."
        )


def _replace(path: Path, picture: bytes) -> Path | None:
    """Writes a picture; a file in its place, which may be someone's own work, is given the name returned."""
    kept = None
    with atomic_write(path) as temporary:
        temporary.write_bytes(picture)
        if os.path.lexists(path):
            names = (path.with_name(f"{path.name}.old{number}") for number in itertools.count(1))
            kept = next(name for name in names if not os.path.lexists(name))
            path.rename(kept)
    return kept

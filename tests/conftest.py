"""Where the tests find things, and how they run the program."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path, PureWindowsPath

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests" / "golden"
SHARED = ROOT.parent / "shared"


if sys.platform == "win32":
    # The tests expect paths in messages with slashes, which Windows takes as well.
    native = PureWindowsPath.__str__
    PureWindowsPath.__str__ = lambda path: native(path).replace("\\", "/")


def pytest_runtest_setup(item):
    """Skips tests with the marker `linux` on other systems."""
    if sys.platform != "linux" and item.get_closest_marker("linux"):
        pytest.skip("tests what only Linux has")


def pytest_make_parametrize_id(val):
    """Files' contents are no names for tests: a profile holds the second it was made, and two workers disagree."""
    return "content" if isinstance(val, bytes) else None


@pytest.fixture
def golden():
    """Synthetic images, and what the reference made of them; tests/golden/README.md says how."""
    return GOLDEN


@pytest.fixture
def shared():
    """The paper's photographs and the reference's weights, which are not part of this repository."""
    if not (SHARED / "data").is_dir():
        pytest.skip("needs the paper's images, in ../shared beside the repository")
    return SHARED


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path, monkeypatch):
    """Each test has a folder of its own, so that default folder names cannot touch the repository."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run_main(tmp_path):
    """Runs main.py as a user does; returns the finished process with its output as text."""

    def run(*arguments, check=True, **options):
        finished = subprocess.run(
            [sys.executable, ROOT / "main.py", *map(str, arguments)],
            cwd=tmp_path,
            env=program_environment(),
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
            **options,
        )
        if sys.platform == "win32":
            finished.stdout, finished.stderr = (text.replace("\\", "/") for text in (finished.stdout, finished.stderr))
        if check:
            assert finished.returncode == 0, finished.stderr
        assert "Traceback" not in finished.stderr
        return finished

    return run


def program_environment():
    """The environment of a user: that of the tests, less what would change TensorFlow's messages."""
    return {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}


def forbid(monkeypatch, folder):
    """Makes a folder as one that an ordinary user may not read; the tests may run as root, who may."""
    scandir = os.scandir

    def refuse(path="."):
        if Path(path) == Path(folder):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)


@contextlib.contextmanager
def full_disk(size):
    """Simulates a disk that is full as soon as a file is larger than `size` bytes."""
    resource = pytest.importorskip("resource", reason="Windows has no limit of the size of files")
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, former[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)


@pytest.fixture
def make_image(tmp_path):
    """Writes a smooth synthetic image with some texture; returns its path."""

    def make(name, rows=48, cols=54, mode="RGB", seed=0):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(synthetic_image(rows, cols, seed)).convert(mode).save(path)
        return path

    return make


def as_stored(upright, orientation):
    """The image as a camera stores it with an EXIF orientation, by what each says was done (EXIF 2.3, 4.6.4)."""
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.swapaxes(0, 1),
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(upright, -1),
    }[orientation]
    return np.ascontiguousarray(stored)


def synthetic_image(rows, cols, seed=0):
    """A synthetic uint8 RGB image `(rows, cols, 3)`: waves, an edge, and seeded noise."""
    rng = np.random.default_rng(seed)
    row, col = np.mgrid[:rows, :cols]
    channels = [
        120 + 60 * np.sin(row / (3 + shift)) * np.cos(col / (5 + shift)) + 50 * (row + shift * 5 > col)
        for shift in range(3)
    ]
    return np.clip(np.dstack(channels) + rng.normal(0, 4, (rows, cols, 3)), 0, 255).astype(np.uint8)

"""Picture files: reading them, and telling whether they are the same ones."""

from __future__ import annotations

import hashlib
import os
import threading
import warnings
from collections.abc import Iterable
from pathlib import Path

import imageio.v3 as iio
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from srcnn_tf.errors import RunError

ENDINGS = frozenset({".bmp", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp"})


def read_image(path: str | os.PathLike[str]) -> NDArray[np.uint8]:
    """Reads a picture as it is meant to be seen: turned as its EXIF data says, palette applied, opaque.

    Returns:
        uint8 array in 0..255: `(rows, cols)` for a grey (or 1-bit) picture, else RGB `(rows, cols, 3)`. Of sixteen
        bits, grey is rounded to eight, and RGB keeps its upper eight. Of an animated picture, the first frame.

    Raises:
        RunError: the file is not a picture, is damaged, or is of a kind that would be read wrongly.
    """
    try:
        with _Quiet(), iio.imopen(path, "r", plugin="pillow") as file:
            stored = file.metadata(index=0, exclude_applied=False)["mode"]
            if stored.startswith("I;16"):
                sixteen = file.read(index=0, rotate=True).astype(np.float64)
                return np.rint(sixteen / 257).astype(np.uint8)
            if stored not in {"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr"}:
                raise RunError(
                    f"{path}: this kind of picture (Pillow mode {stored!r}) is not read; "
                    "convert it to 8-bit grey or RGB first."
                )
            grey = stored in {"1", "L", "LA", "La"}
            return np.asarray(file.read(index=0, mode="L" if grey else "RGB", rotate=True), np.uint8)
    except RunError:
        raise
    # Pillow's decoders raise nearly anything on a damaged file (SyntaxError and struct.error among them).
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise RunError(f"{path}: cannot be read as a picture ({reason}); replace or remove it.") from error


def declared_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """The rows and columns that a picture file says it has, before any turning; 0 and 0 if it cannot be read."""
    try:
        with _Quiet(), Image.open(path) as picture:
            cols, rows = picture.size
            return rows, cols
    except Exception:  # see read_image, which names it
        return 0, 0


class _Quiet:
    """Silences Pillow, which warns of odd transparency and of large pictures, neither of which is wrong here.

    `warnings.catch_warnings` changes the filters of all threads: so the first to come changes them, and the last to
    leave puts them back.
    """

    _lock, _inside = threading.Lock(), 0

    def __enter__(self) -> None:
        with _Quiet._lock:
            _Quiet._inside += 1
            if _Quiet._inside == 1:
                _Quiet._filters = warnings.catch_warnings()
                _Quiet._filters.__enter__()
                warnings.simplefilter("ignore")

    def __exit__(self, *error: object) -> None:
        with _Quiet._lock:
            _Quiet._inside -= 1
            if _Quiet._inside == 0:
                _Quiet._filters.__exit__(None, None, None)


def fingerprint(paths: Iterable[Path], directory: str | os.PathLike[str]) -> str:
    """SHA-256 of the names below `directory` and of the contents of the files: the same pictures, the same text."""
    total = hashlib.sha256()
    for path in paths:
        try:
            with open(path, "rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError:  # a link to nowhere, say: named when it is to be read as a picture
            content = "unreadable"
        total.update(f"{content} ".encode() + os.fsencode(path.relative_to(directory)) + b"\n")
    return total.hexdigest()

"""Picture libraries made to say what is wrong with a file in one way: as an error that names it."""

from __future__ import annotations

import contextlib
import logging
import os
import struct
import threading
import warnings
from collections.abc import Iterator

from PIL import Image

from srcnn_tf.errors import RunError

LOGGERS = ("tifffile", "imagecodecs")


class Quiet:
    """Silences Pillow's warnings and what tifffile and imagecodecs log, and lifts Pillow's limit on large pictures.

    A file that can be read is no news, one that cannot is an error, and how large a picture may be is for the caller
    to say.

    All threads share these settings (`warnings.catch_warnings`, too, changes the filters of all): so the first thread
    to come changes them, and the last to leave puts them back.
    """

    _lock, _inside = threading.Lock(), 0

    def __enter__(self) -> None:
        """Makes the process quiet, unless it is."""
        with Quiet._lock:
            Quiet._inside += 1
            if Quiet._inside > 1:
                return
            Quiet._filters = warnings.catch_warnings()
            Quiet._filters.__enter__()
            warnings.simplefilter("ignore")
            Quiet._limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
            Quiet._loggers = [logger for logger in map(logging.getLogger, LOGGERS) if not logger.disabled]
            for logger in Quiet._loggers:
                logger.disabled = True

    def __exit__(self, *error: object) -> None:
        """Puts everything back, if nobody else needs it quiet."""
        with Quiet._lock:
            Quiet._inside -= 1
            if Quiet._inside > 0:
                return
            Quiet._filters.__exit__(None, None, None)
            Image.MAX_IMAGE_PIXELS = Quiet._limit
            for logger in Quiet._loggers:
                logger.disabled = False


@contextlib.contextmanager
def reading(path: str | os.PathLike[str]) -> Iterator[None]:
    """Reads a picture file quietly.

    Raises:
        RunError: anything went wrong. Decoders raise nearly anything on a damaged file (SyntaxError, struct.error and
            UnicodeDecodeError among them); all of it becomes one line that names the file.
    """
    try:
        with Quiet():
            yield
    except RunError:
        raise
    except Exception as error:
        raise RunError(f"{path}: cannot be read as a picture ({_reason(error)}); replace or remove it.") from error


@contextlib.contextmanager
def encoding(path: str | os.PathLike[str], name: str) -> Iterator[None]:
    """Encodes a picture quietly, as the format of that name.

    Raises:
        RunError: the encoder refuses the picture.
        OSError: the file cannot be written, which `files.atomic_write` explains.
    """
    try:
        with Quiet():
            yield
    except (RunError, OSError):
        raise
    except Exception as error:
        raise RunError(f"{path}: cannot be written as {name} ({_reason(error)}); name a .png or a .tif.") from error


def _reason(error: Exception) -> str:
    """What went wrong, on one line."""
    if isinstance(error, (TypeError, AttributeError, LookupError, struct.error)):
        return "its structure is damaged"  # what decoders stumble over then says less
    said = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return " ".join(said.split()) or type(error).__name__

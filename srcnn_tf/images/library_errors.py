"""Keeps image libraries quiet and turns whatever they raise into one error that names the file."""

from __future__ import annotations

import contextlib
import logging
import os
import struct
import threading
import warnings
from collections.abc import Iterable, Iterator

from PIL import Image, PngImagePlugin

from srcnn_tf.errors import RunError

READ = "read as an image"
RASTERIO = [f"rasterio{part}" for part in ("", "._base", "._env", "._err", "._filepath", "._io", ".env")]
LOGGERS = [logging.getLogger(name) for name in ("PIL.TiffImagePlugin", "tifffile", "imagecodecs", "pydicom", *RASTERIO)]
MAX_PROFILE = 2**24  # bytes of an ICC profile in a PNG file; by default, Pillow refuses files with more than 1 MB

_lock, _users, _restore = threading.Lock(), 0, contextlib.ExitStack()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silences warnings and log lines, and lifts Pillow's limits on large images and profiles.

    A normal run prints only our own lines, and callers set their own size limit. All threads share these settings, so
    the first one to enter changes them and the last one to leave restores them.
    """
    global _users
    with _lock:
        if _users == 0:
            _restore.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
            _set(Image, "MAX_IMAGE_PIXELS", None)
            _set(PngImagePlugin, "MAX_TEXT_CHUNK", MAX_PROFILE)
            enabled = [logger for logger in LOGGERS if not logger.disabled]
            _set_disabled(enabled, True)
            _restore.callback(_set_disabled, enabled, False)
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                _restore.close()


def _set_disabled(loggers: Iterable[logging.Logger], is_disabled: bool) -> None:
    for logger in loggers:
        logger.disabled = is_disabled


def _set(owner: object, name: str, value: object) -> None:
    _restore.callback(setattr, owner, name, getattr(owner, name))
    setattr(owner, name, value)


@contextlib.contextmanager
def library_errors(
    path: str | os.PathLike[str],
    action: str = READ,
    advice: str = "replace or remove it",
    passed: tuple[type[Exception], ...] = (RunError,),
) -> Iterator[None]:
    """Keeps libraries quiet and makes whatever they raise a RunError, but for the exceptions `passed`.

    Decoders raise nearly anything on a damaged file: SyntaxError, struct.error and UnicodeDecodeError among them.
    """
    try:
        with quiet():
            yield
    except passed:
        raise
    except Exception as error:
        if action == READ and isinstance(error, (TypeError, AttributeError, LookupError, struct.error)):
            reason = "its structure is damaged"  # the message of such an error explains nothing to the user
        else:
            message = (error.strerror if isinstance(error, OSError) else None) or str(error)
            reason = " ".join(message.split()) or type(error).__name__
        raise RunError(f"{path}: cannot be {action} ({reason}); {advice}.") from error

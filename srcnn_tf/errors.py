"""Errors that are reported to the user in one line, each with the exit status of the program."""

from __future__ import annotations

import contextlib
import platform
import tempfile
import traceback


class UsageError(ValueError):
    """The command line, or a `Config`, is invalid: exit status 2."""

    exit_status = 2


class RunError(RuntimeError):
    """Some requested work failed: exit status 1.

    The message says what happened, what was expected, what was found and what to do, and names the file.
    """

    exit_status = 1


class StoppedError(RunError):
    """The user stopped the run, and everything done so far is kept: exit status 130, as shells expect after Ctrl-C."""

    exit_status = 130


class FaultError(RuntimeError):
    """A fault of this program, raised from the error that shows it, so that nothing takes it for a damaged file."""


def report_fault(error: Exception, name: str = "") -> RunError:
    """Writes the traceback of an error that nobody expected into a file; returns an error that says so.

    Args:
        error: what was raised.
        name: of what was processed then.
    """
    cause = error.__cause__ if isinstance(error, FaultError) and error.__cause__ else error
    place = "its traceback could not be written"
    with contextlib.suppress(OSError):
        descriptor, path = tempfile.mkstemp(".txt", "srcnn_tf-", text=True)
        with open(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"{platform.platform()}, Python {platform.python_version()}\n\n")
            file.writelines(traceback.format_exception(error))
        place = f"please report it with the traceback in {path}"
    what = f"{name}: " if name else ""
    return RunError(f"{what}this is a fault of srcnn_tf ({type(cause).__name__}: {cause}); {place}.")

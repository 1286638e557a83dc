"""What can go wrong for a user, each with the exit status that `main.py` ends with."""

from __future__ import annotations


class UsageError(ValueError):
    """The command line, or a `Config`, asks for something impossible: exit status 2."""

    exit_status = 2


class RunError(RuntimeError):
    """Something asked for could not be done: exit status 1.

    The message says what happened, what was expected, what was found and what to do, and names the file.
    """

    exit_status = 1


class StoppedError(RunError):
    """The user stopped the run; everything done so far is kept: exit status 130, as shells expect after Ctrl-C."""

    exit_status = 130

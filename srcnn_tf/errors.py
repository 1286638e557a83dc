"""Errors that are reported to the user in one line, each with the exit status of the program."""

from __future__ import annotations


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

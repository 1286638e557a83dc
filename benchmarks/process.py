"""A program run by itself, with what it takes."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile


def run(command: list[str]) -> tuple[str, float]:
    """What a process prints, and its largest resident memory in MB."""
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen([sys.executable, *command], stdout=output)
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            sys.exit(f"{command} failed.")
        output.seek(0)
        return output.read(), usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6

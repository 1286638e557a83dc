"""Runs the program as `python -m srcnn_tf`."""

import sys

from srcnn_tf.cli import run

if __name__ == "__main__":
    sys.exit(run())

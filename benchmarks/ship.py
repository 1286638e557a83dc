"""Copies the weights of a finished run into the package, with a JSON sidecar that says how to make them again.

    python -m benchmarks.ship checkpoint/srcnn_21_x3_scipy COMMIT Set5=Test/Set5 Set14=Test/Set14

COMMIT is the full hash of the commit that trained them. Each NAME=FOLDER is tested here, and its scores go into the
sidecar. It prints the tables of the tests and ends with

    Shipped: srcnn_tf/weights/srcnn_x3_scipy.weights.h5
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from benchmarks import common
from srcnn_tf.config import Config
from srcnn_tf.errors import RunError
from srcnn_tf.system.devices import load_tensorflow
from srcnn_tf.testing.evaluate import evaluate
from srcnn_tf.testing.report import average_scores
from srcnn_tf.weights.search import WEIGHTS_FILE


def ship(run: Path, commit: str, test_sets: dict[str, str]) -> Path:
    """Tests the weights of a run on folders of images, and copies them with their sidecar; returns the new file.

    Raises:
        RunError: the hash is not a full one, the run is not finished, or a test failed.
    """
    if not re.fullmatch("[0-9a-f]{40}", commit):
        raise RunError(f"The commit is {commit}; give all 40 digits of its hash, as git rev-parse prints them.")
    from srcnn_tf.training.checkpoint import read_record

    record = read_record(run)
    trained = record["config"]
    if record["step"] != record["steps"]:
        raise RunError(
            f"{run} is not finished: {record['step']} of {record['steps']} steps. Train it to the end first."
        )
    scores = {}
    for name, folder in test_sets.items():
        with tempfile.TemporaryDirectory() as scratch:
            test = replace(
                trained, is_train=False, test_dir=folder, weights=str(run), sample_dir=scratch, log_dir=scratch
            )
            (means,) = average_scores(evaluate(test)).values()
        scores[name] = {column: round(value, 4) for column, value in means.items()}
    # The command for another machine: images where --fetch puts them, and neither the folders of this machine nor what
    # does not change the weights.
    data = Path(trained.train_dir).name
    defaults = {name: getattr(Config, name) for name in ("checkpoint_dir", "sample_dir", "log_dir")}
    command = replace(trained, train_dir=f"Train/{data}", **defaults).command
    sidecar = {
        "command": command,
        "recipe": trained.recipe,
        "data": {"name": data} | record["data"],
        "epochs": trained.epoch,
        "seed": trained.seed,
        "commit": commit,
        "versions": record["versions"],
        "seconds": record["seconds"],
        "scores": scores,
    }
    target = common.WEIGHTS / f"{trained.network.name}.weights.h5"
    shutil.copyfile(run / WEIGHTS_FILE, target)
    target.with_name(f"{trained.network.name}.json").write_text(json.dumps(sidecar, indent=2) + "\n", encoding="utf-8")
    return target


def main() -> None:
    """Ships the run that the command line names."""
    if len(sys.argv) < 4 or not all("=" in word for word in sys.argv[3:]):
        sys.exit(__doc__)
    run, commit, *test_sets = sys.argv[1:]
    load_tensorflow()
    print(f"Shipped: {ship(Path(run), commit, dict(word.split('=', 1) for word in test_sets))}")


if __name__ == "__main__":
    sys.exit(common.report_errors(main))

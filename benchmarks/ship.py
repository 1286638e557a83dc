"""Puts a finished run's weights into the package, with a JSON file that says how to make them again.

    python -m benchmarks.ship checkpoint/srcnn_21_x3_scipy COMMIT Set5=DIR Set14=DIR [EPOCHS ...]

COMMIT is the one whose code trained them. EPOCHS are those that the run was first to have, if it went on with more. The
scores are measured here, by the program's own test.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
import tempfile
from pathlib import Path

from srcnn_tf.config import Config
from srcnn_tf.devices import compute_dtype
from srcnn_tf.inference import report
from srcnn_tf.inference.evaluate import evaluate
from srcnn_tf.weights import checkpoint

PACKAGE = Path(__file__).resolve().parent.parent / "srcnn_tf" / "weights"


def main(run: str, commit: str, *rest: str) -> None:
    """Copies the weights of `run` and writes their JSON file; `rest` is `name=folder` of test pictures, and epochs."""
    record = checkpoint.read_record(Path(run))
    trained = record["config"]
    if record["step"] != record["steps"]:
        sys.exit(f"{run} is not finished: {record['step']} of {record['steps']} steps.")
    scores = {}
    for name, folder in (word.split("=", 1) for word in rest if "=" in word):
        with tempfile.TemporaryDirectory() as scratch:
            config = dataclasses.replace(
                trained, is_train=False, test_dir=folder, weights=run, sample_dir=scratch, log_dir=scratch
            )
            averages = dict(report.averages(evaluate(config)))
        (found,) = averages.values()
        scores[name] = {key: round(value, 4) for key, value in found.items()}
    # Folders on the machine that trained say nothing to others, and the size of tiles changes nothing.
    data = Path(trained.train_dir).name
    plain = {name: getattr(Config, name) for name in ("checkpoint_dir", "sample_dir", "log_dir", "tile_size")}
    # What `auto` was there, it may not be on another machine; the pictures are where --fetch puts them.
    precision = compute_dtype(trained)
    again = dataclasses.replace(trained, train_dir=f"Train/{data}", precision=precision, **plain)
    lengths = [*(int(word) for word in rest if word.isdecimal()), trained.epoch]
    sidecar = {
        "command": " && ".join(dataclasses.replace(again, epoch=length).command for length in lengths),
        "recipe": trained.recipe,
        "data": {"name": data} | record["data"],
        "epochs": trained.epoch,
        "seed": trained.seed,
        "commit": commit,
        "versions": record["versions"],
        "seconds": record["seconds"],
        "scores": scores,
    }
    target = PACKAGE / f"{trained.network_name}.weights.h5"
    shutil.copyfile(Path(run, checkpoint.WEIGHTS), target)
    target.with_name(f"{trained.network_name}.json").write_text(json.dumps(sidecar, indent=2) + "\n", encoding="utf-8")
    print(f"Shipped {target}")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])

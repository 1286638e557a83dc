"""Where weights are searched: a file that is named, else a run, else the files of this package."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from srcnn_tf.spec import NetworkSpec

WEIGHTS_FILE = "SRCNN.weights.h5"


@dataclass(frozen=True)
class WeightsSearch:
    """Where the weights of the user's own are.

    Attributes:
        weights: a file, or a run's folder, or a checkpoint of the reference; None: the run's.
        checkpoint_dir: the folder of the runs; None: they are not searched.
        label_size: of the run, which is part of its folder's name.
    """

    weights: str | None = None
    checkpoint_dir: str | None = None
    label_size: int = 21

    def run_name(self, spec: NetworkSpec) -> str:
        """Returns the name of a run's folder: that of the network, with the label size."""
        return spec.name.replace("srcnn_", f"srcnn_{self.label_size}_", 1)

    def run_directory(self, spec: NetworkSpec) -> Path:
        """Returns the folder of a run's checkpoints and weights."""
        return Path(self.checkpoint_dir or "", self.run_name(spec))

    def own(self, spec: NetworkSpec) -> Path | None:
        """Returns the file that is named, else that of the run, if there is one."""
        if self.weights is not None:
            return Path(self.weights)
        run = self.run_directory(spec) / WEIGHTS_FILE
        return run if self.checkpoint_dir is not None and run.is_file() else None

    def absolute(self) -> WeightsSearch:
        """Returns the same search with paths that hold in any folder."""
        weights, directory = (path and os.path.abspath(path) for path in (self.weights, self.checkpoint_dir))
        return WeightsSearch(weights, directory, self.label_size)


def shipped_weights(spec: NetworkSpec) -> Path:
    """Returns the file of the package's weights for a network; it may not exist."""
    return Path(str(resources.files("srcnn_tf.weights") / f"{spec.name}.weights.h5"))

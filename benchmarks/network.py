"""Prints the speed of the network alone on a grey float32 image, in megapixels of the result per second.

benchmarks.previous runs this file, as `python network.py 9-1-5 3 5000000`, with the package of any checkout: so this
imports nothing of benchmarks. Up to commit 99f469f, the network ran with TensorFlow, in float32 or in a default dtype
that depended on the processor: the first line is of float32, and the second one of the default.
"""

from __future__ import annotations

import math
import statistics
import sys
import time
from typing import Any

import numpy as np


def load_models(architecture: str, scale: int) -> list[Any]:
    """Returns the network of the shipped weights in float32, and in the default dtype."""
    try:
        from srcnn_tf.spec import LUMA, NetworkSpec
    except ImportError:
        return load_former_models(architecture, scale)
    from srcnn_tf.upscaling.polyphase import PolyphaseModel
    from srcnn_tf.weights.search import WeightsSearch
    from srcnn_tf.weights.store import find_weights

    spec = NetworkSpec(scale, "matlab", architecture)
    return 2 * [PolyphaseModel(find_weights(spec, WeightsSearch())[0], scale, LUMA)]


def load_former_models(architecture: str, scale: int) -> list[Any]:
    """Returns the same of a commit up to 99f469f."""
    from srcnn_tf.config import Config  # noqa: I001, as these modules are of that commit
    from srcnn_tf.devices import compute_dtype, load_tensorflow

    load_tensorflow()
    from srcnn_tf.inference.polyphase import PolyphaseModel  # noqa: I001
    from srcnn_tf.weights.store import find_model

    config = Config(architecture=architecture, scale=scale, degradation="matlab")
    model, _ = find_model(config, False)
    return [PolyphaseModel(model, scale, compute_dtype=dtype) for dtype in ("float32", compute_dtype(config))]


def main() -> None:
    """Measures each model eight times, and prints the median of all but the first."""
    architecture, scale, pixels = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    side = math.ceil(math.sqrt(pixels) / scale)
    image = np.random.default_rng(0).random((side, side), np.float32)
    for model in load_models(architecture, scale):
        seconds = []
        for _ in range(8):
            start = time.perf_counter()
            for _ in model.bands(image):
                pass
            seconds.append(time.perf_counter() - start)
        print((scale * side) ** 2 / 1e6 / statistics.median(seconds[1:]))


if __name__ == "__main__":
    main()

"""The inference engines that benchmarks.inference measures: how each runs the network, with its best settings.

Ours upscale a small luma image, or restore an interpolated one. The others restore the interpolated one, padded by its
edge pixels; they compute it whole or in tiles, whichever is faster.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from srcnn_tf.errors import RunError
from srcnn_tf.images.resize import imresize
from srcnn_tf.spec import LUMA, NetworkSpec
from srcnn_tf.system.devices import load_tensorflow
from srcnn_tf.system.threads import cores
from srcnn_tf.upscaling.polyphase import PolyphaseModel

# Sides of the tiles to try, in pixels, and whether each core has a tile of its own, computed by one thread; else all
# compute one. Whole images of 12 megapixels are no faster than tiles of 1200, but the feature maps take 5 GB.
TILES = {1200: False, 512: True, 192: True}
MATRIX = 2048  # rows and columns
PATCH = 33  # side of the reference's patches, in pixels

Image = NDArray[np.float32]  # luma (rows, cols), values about [0, 1]
Weights = Sequence[NDArray[np.float32]]  # kernel (side, side, c_in, c_out) and bias (c_out,) of each layer
Run = Callable[[], Image]  # computes the result; this is what is measured
# From weights, the shape of the tile with the network's border, and a number of threads, to a function of the tile.
Engine = Callable[[Weights, tuple[int, ...], int], Callable[[Image], Image]]


class Case(NamedTuple):
    """What an engine gets: the network and its weights, and the small image."""

    spec: NetworkSpec
    weights: Weights
    small: Image

    def interpolated(self, border: int = 0) -> Image:
        """Returns the interpolated image, padded by half of `border` at each side."""
        return np.pad(imresize(self.small, self.spec.scale), border // 2, mode="edge")


def border(weights: Weights) -> int:
    """Returns how many rows, and columns, the network's output is smaller than its input."""
    return sum(len(kernel) - 1 for kernel in weights[::2])


# --- Ours ---


def upscaling(case: Case) -> tuple[str, Run]:
    """Upscales the small image, with NumPy."""
    scale = case.spec.scale
    upscale = PolyphaseModel(case.weights, scale, LUMA)
    return f"x{scale}", lambda: np.concatenate(list(upscale.bands(case.small)))[..., 0]


def testing(case: Case) -> tuple[str, Run]:
    """Restores the interpolated image as tests do, with TensorFlow."""
    load_tensorflow()
    from srcnn_tf.model import build_model
    from srcnn_tf.testing.tiling import TILE, TiledModel

    model = build_model(case.spec)
    model.set_weights(case.weights)
    restore, image = TiledModel(model), case.interpolated()[..., np.newaxis]
    return f"tiles of {TILE}", lambda: restore(image)[..., 0]


# --- Others ---


def reference(case: Case) -> tuple[str, Run]:
    """Restores patches in a TensorFlow 1 graph, all in one call, and merges them, as the reference does in testing."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import tensorflow.compat.v1 as tf

    tf.disable_eager_execution()
    features = patches = tf.placeholder(tf.float32, [None, PATCH, PATCH, 1])
    for layer in range(0, 6, 2):
        features = tf.nn.conv2d(features, case.weights[layer], [1, 1, 1, 1], "VALID") + case.weights[layer + 1]
        features = tf.nn.relu(features) if layer < 4 else features
    session = tf.Session()
    margin = border(case.weights)
    image, label = case.interpolated(margin), PATCH - margin
    rows, cols = (size - margin for size in image.shape)
    down, across = -(-rows // label), -(-cols // label)
    image = np.pad(image, ((0, down * label - rows), (0, across * label - cols)), mode="edge")

    def run() -> Image:
        windows = sliding_window_view(image, (PATCH, PATCH))[::label, ::label].reshape(-1, PATCH, PATCH, 1)
        restored = session.run(features, {patches: windows}).reshape(down, across, label, label)
        return restored.swapaxes(1, 2).reshape(down * label, across * label)[:rows, :cols]

    return f"patches of {PATCH}", run


def pytorch(compiled: bool, weights: Weights, shape: tuple[int, ...], threads: int) -> Callable[[Image], Image]:
    """Makes a PyTorch module in channels-last layout, eager or with `torch.compile`."""
    import torch
    from torch import nn

    torch.set_num_threads(threads)
    torch.compiler.reset()  # it stops compiling after a number of shapes
    layers = [nn.Conv2d(*kernel.shape[2:], len(kernel)) for kernel in weights[::2]]
    model = nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2]).requires_grad_(False).eval()
    for parameter, values in zip(model.parameters(), weights, strict=True):
        parameter.copy_(torch.from_numpy(_channels_first(values)))
    model.to(memory_format=torch.channels_last)
    run = torch.compile(model, dynamic=False, options={"freezing": True}) if compiled else model

    def restore(tile: Image) -> Image:
        with torch.no_grad():
            return run(torch.from_numpy(tile)[None, None].to(memory_format=torch.channels_last))[0, 0].numpy()

    return restore


def onnx_runtime(weights: Weights, shape: tuple[int, ...], threads: int) -> Callable[[Image], Image]:
    """Makes a session of ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # it would disturb the other processes
    session = onnxruntime.InferenceSession(onnx_model(weights, shape), options, providers=["CPUExecutionProvider"])
    return lambda tile: session.run(None, {"image": tile[np.newaxis, np.newaxis]})[0][0, 0]


def openvino(precision: str, weights: Weights, shape: tuple[int, ...], threads: int) -> Callable[[Image], Image]:
    """Compiles the network with OpenVINO; `precision` is `f32` or `bf16`.

    Raises:
        RunError: it computes in another precision on this processor.
    """
    import openvino as ov

    core = ov.Core()
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": threads}
    settings["ENABLE_CPU_PINNING"] = False  # else the threads of several models share a core
    compiled = core.compile_model(core.read_model(onnx_model(weights, shape)), "CPU", settings)
    found = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
    if found != precision:
        raise RunError(f"asked for {precision}, it computes in {found} on this processor")
    request = compiled.create_infer_request()
    return lambda tile: request.infer([tile[np.newaxis, np.newaxis]], share_inputs=True, share_outputs=True)[0][0, 0]


def opencv(weights: Weights, shape: tuple[int, ...], threads: int) -> Callable[[Image], Image]:
    """Reads the network into OpenCV's module dnn."""
    import cv2

    cv2.setNumThreads(threads)
    network = cv2.dnn.readNetFromONNX(np.frombuffer(onnx_model(weights, shape), np.uint8))

    def restore(tile: Image) -> Image:
        network.setInput(tile[np.newaxis, np.newaxis])
        return network.forward()[0, 0]

    return restore


def onnx_model(weights: Weights, shape: tuple[int, ...]) -> bytes:
    """Returns the network as an ONNX file of a static shape, from `image` `(1, 1, rows, cols)` to `restored`."""
    from onnx import TensorProto, helper, numpy_helper

    nodes, initializers, inputs = [], [], "image"
    for layer, outputs in enumerate(("convolved0", "convolved1", "restored")):
        constants = {f"kernel{layer}": _channels_first(weights[2 * layer]), f"bias{layer}": weights[2 * layer + 1]}
        initializers += [numpy_helper.from_array(values, name) for name, values in constants.items()]
        nodes.append(helper.make_node("Conv", [inputs, *constants], [outputs]))
        if outputs != "restored":
            inputs = f"features{layer}"
            nodes.append(helper.make_node("Relu", [outputs], [inputs]))
    shapes = {"image": [1, 1, *shape], "restored": [1, 1, *(side - border(weights) for side in shape)]}
    ends = [[helper.make_tensor_value_info(name, TensorProto.FLOAT, sides)] for name, sides in shapes.items()]
    graph = helper.make_graph(nodes, "srcnn", *ends, initializers)
    # Versions of the format that all engines read.
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8).SerializeToString()


def _channels_first(values: NDArray) -> NDArray:
    return np.ascontiguousarray(values.transpose(3, 2, 0, 1)) if values.ndim == 4 else values


def in_tiles(engine: Engine, weights: Weights, padded: Image, side: int, per_core: bool) -> Run:
    """Returns a function that restores a padded image in tiles of equal size, at most `side`; see `TILES`."""
    margin, workers = border(weights), cores() if per_core else 1
    sizes = [length - margin for length in padded.shape]
    steps = [-(-size // -(-size // side)) for size in sizes]
    # The last tiles overlap those before them if the image cannot be divided evenly.
    rows, cols = (
        [min(at, size - step) for at in range(0, size, step)] for size, step in zip(sizes, steps, strict=True)
    )
    tiles = [(row, col) for row in rows for col in cols]
    shape = tuple(step + margin for step in steps)
    engines = [engine(weights, shape, cores() // workers) for _ in range(workers)]
    pool = ThreadPoolExecutor(workers)

    def run() -> Image:
        restored = np.empty(sizes, np.float32)

        def restore_tiles(worker: int) -> None:
            for row, col in tiles[worker::workers]:
                tile = np.ascontiguousarray(padded[row : row + shape[0], col : col + shape[1]])
                restored[row : row + steps[0], col : col + steps[1]] = engines[worker](tile)

        list(pool.map(restore_tiles, range(workers)))
        return restored

    return run


def in_the_fastest_way(engine: Engine, case: Case) -> tuple[str, Run]:
    """Tries all of `TILES`, each after a warm-up, and returns the fastest."""
    padded = case.interpolated(border(case.weights))
    best: tuple[float, str, Run] = (np.inf, "", lambda: padded)
    for side, per_core in TILES.items():
        run = in_tiles(engine, case.weights, padded, side, per_core)
        run()
        start = time.perf_counter()
        run()
        seconds = time.perf_counter() - start
        if seconds < best[0]:  # the slower one's memory is released
            best = seconds, "whole image" if side >= max(padded.shape) else f"tiles of {side}", run
    return best[1:]


def matrix_product(library: str, dtype: str, case: Case) -> tuple[str, Run]:
    """Multiplies two matrices on all cores: the limit of the others."""
    matrix: Any = np.random.default_rng(0).random((MATRIX, MATRIX), np.float32)
    if library == "TensorFlow":
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
        import tensorflow as tf

        matrix = tf.cast(matrix, dtype)
    return "product", lambda: np.asarray((matrix @ matrix)[:1])  # waits for the result


UPSCALING = "srcnn_tf"  # begins with the small image; for the others, the scale makes no difference
PRODUCTS = {"NumPy": "float32", "TensorFlow": "float32", "TensorFlow, bfloat16": "bfloat16"}  # their dtypes
# From a case to how the engine runs, in words, and the function to measure.
ENGINES: dict[str, Callable[[Case], tuple[str, Run]]] = {
    **{name: partial(matrix_product, name.split(",")[0], dtype) for name, dtype in PRODUCTS.items()},
    UPSCALING: upscaling,
    "srcnn_tf, testing": testing,
    "the reference": reference,
    "PyTorch eager": partial(in_the_fastest_way, partial(pytorch, False)),
    "PyTorch torch.compile": partial(in_the_fastest_way, partial(pytorch, True)),
    "ONNX Runtime": partial(in_the_fastest_way, onnx_runtime),
    "OpenVINO": partial(in_the_fastest_way, partial(openvino, "f32")),
    "OpenVINO, bfloat16": partial(in_the_fastest_way, partial(openvino, "bf16")),
    "OpenCV dnn": partial(in_the_fastest_way, opencv),
}

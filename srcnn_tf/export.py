"""Writes the network for other programs: ONNX, TensorFlow's SavedModel, TensorFlow Lite, and a page for browsers.

The upscaling models compute what `polyphase` does, for a whole image: mirrored edges, the interpolation merged into the
first layer, all phases in one convolution, and colour as a residual.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

import srcnn_tf
from srcnn_tf.config import Config
from srcnn_tf.errors import RunError, UsageError
from srcnn_tf.images.color import channel_matrices
from srcnn_tf.spec import NetworkSpec
from srcnn_tf.system.files import atomic_write
from srcnn_tf.upscaling.interpolation import Merged, merge_interpolation
from srcnn_tf.weights.store import find_weights, to_bytes

try:
    import onnx
    from onnx import TensorProto, helper, numpy_helper
except ImportError as error:
    raise RunError("--export needs the package onnx: pip install 'srcnn_tf[export]'.") from error

OPSET, IR_VERSION = 17, 8  # versions of ONNX that current programs read
PADDING = [[0, 0], [1, 1], [1, 1], [0, 0]]


def export(config: Config) -> None:
    """Writes the model that `config` describes into the folder `config.export`, in all formats.

    Raises:
        UsageError: the network has three channels.
        RunError: there are no weights, or a file cannot be written.
    """
    if config.c_dim != 1:
        raise UsageError("--export is for networks of one channel, --c_dim=1.")
    weights, source = find_weights(config.network, config.search)
    folder = Path(config.export or "")
    name = config.network.name.replace("_matlab", "")  # which is what upscaling expects
    print(f"Weights: {source}", flush=True)
    network = _Network(weights, config.network)
    contents: dict[str, Callable[[Path], object]] = {
        f"{name}.onnx": lambda path: onnx.save(upscaling_onnx(network), path),
        f"{name}_network.onnx": lambda path: onnx.save(network_onnx(network), path),
        f"{name}.tflite": lambda path: path.write_bytes(network_tflite(network)),
        f"{name}_saved_model": lambda path: save_model(network, path),
        f"{name}.html": lambda path: path.write_text(demo_page({config.network: weights}), encoding="utf-8"),
    }
    for file_name, write in contents.items():
        with atomic_write(folder / file_name) as temporary:
            write(temporary)
        print(folder / file_name, flush=True)


class _Padded(NamedTuple):
    """Filters on the small image, how it is padded for them, and what is cropped after the layers that follow.

    Attributes:
        filters: see `interpolation.Merged`.
        margins: small pixels before and after the image, at each side, for the later layers to have all they need.
        crop: large pixels to leave out at the beginning and the end, after those layers.
    """

    filters: NDArray[np.float64]
    margins: tuple[int, int]
    crop: tuple[int, int]

    def kernel(self) -> NDArray[np.float32]:
        """Returns the filters of all phases as one kernel `(taps, taps, 1, scale * scale * filters)`."""
        filters = self.filters.astype(np.float32)
        return filters.transpose(2, 3, 4, 0, 1, 5).reshape(*filters.shape[2:5], -1)


def _padded(merged: Merged, scale: int, later: int) -> _Padded:
    """Returns the padding for layers that take `later` large pixels from each side."""
    # Small pixels whose phases include the large ones that later layers take.
    before, after = -(-(later + merged.shift) // scale), -(-(later - merged.shift) // scale)
    margins = before - merged.first_tap, after + merged.first_tap + merged.filters.shape[2] - 1
    return _Padded(
        merged.filters, margins, (scale * before - merged.shift - later, scale * after + merged.shift - later)
    )


class _Network:
    """What the models are made of: the layers, and bicubic interpolation merged into the first and on its own."""

    def __init__(self, weights: list[NDArray], spec: NetworkSpec) -> None:
        self.scale = scale = spec.scale
        self.layers = list(zip(weights[::2], weights[1::2], strict=True))  # kernel and bias of each
        self.margin = spec.border // 2  # that the layers take from each side
        first = weights[0]
        self.restoring = _padded(merge_interpolation(first, scale), scale, self.margin - len(first) // 2)
        self.bicubic = _padded(merge_interpolation(np.ones((1, 1, 1, 1)), scale), scale, 0)
        to_channels, offset, to_colors = channel_matrices(spec.color, 3)
        self.luma, self.offset, self.gain = to_channels[0], float(offset[0, 0]), float(to_colors[0, 0])


# --- ONNX ---


class _Graph:
    """Collects the nodes and constants of an ONNX graph."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def __call__(self, operator: str, *inputs: str | NDArray, **attributes: Any) -> str:
        """Adds a node; arrays among its inputs become constants. Returns the name of its output."""
        names = [value if isinstance(value, str) else self._constant(value) for value in inputs]
        output = f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, names, [output], **attributes))
        return output

    def _constant(self, values: NDArray) -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values), f"constant_{len(self.constants)}"))
        return self.constants[-1].name

    def convolution(self, image: str, kernel: NDArray, bias: NDArray | None = None, group: int = 1) -> str:
        """Adds a convolution without padding, of a kernel in Keras's layout."""
        inputs = [kernel.transpose(3, 2, 0, 1).astype(np.float32), *([] if bias is None else [bias])]
        return self("Conv", image, *inputs, group=group)

    def crop(self, image: str, begin: int, end: int) -> str:
        """Adds the removal of rows and columns."""
        limits = [np.array([value] * 2, np.int64) for value in (begin, -end if end else np.iinfo(np.int64).max)]
        return self("Slice", image, *limits, np.array([2, 3], np.int64))

    def model(self, name: str, output: str, channels: int, sides: Sequence[str]) -> onnx.ModelProto:
        """Returns the checked model, whose output has the given names of its sides."""
        self.nodes.append(helper.make_node("Identity", [output], ["output"]))
        inputs, outputs = (
            [helper.make_tensor_value_info(end, TensorProto.FLOAT, [1, channels, *names])]
            for end, names in (("input", ["rows", "cols"]), ("output", sides))
        )
        graph = helper.make_graph(self.nodes, name, inputs, outputs, self.constants)
        model = helper.make_model(
            graph,
            producer_name="srcnn_tf",
            producer_version=srcnn_tf.__version__,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
        )
        onnx.checker.check_model(model, full_check=True)
        return model


def upscaling_onnx(network: _Network) -> onnx.ModelProto:
    """Returns a model from `input` `(1, 3, rows, cols)`, RGB in [0, 1], to `output` of `scale` times the size."""
    graph, scale = _Graph(), network.scale
    by_channel = graph("Transpose", "input", perm=[1, 0, 2, 3])  # (3, 1, rows, cols)
    mirrored = _mirror(graph, by_channel, network.bicubic.margins)
    bicubic = graph.convolution(mirrored, network.bicubic.kernel())
    bicubic = graph("DepthToSpace", bicubic, blocksize=scale, mode="DCR")
    bicubic = graph("Transpose", graph.crop(bicubic, *network.bicubic.crop), perm=[1, 0, 2, 3])

    to_luma = network.luma.reshape(1, 1, 3, 1)
    luma = graph.convolution("input", to_luma, np.array([network.offset], np.float32))
    features = _mirror(graph, luma, network.restoring.margins)
    phases, ((_, first_bias), (second, second_bias), (last, last_bias)) = scale * scale, network.layers
    features = graph.convolution(features, network.restoring.kernel(), np.tile(first_bias, phases))
    features, is_pointwise = graph("Relu", features), len(second) == 1
    if is_pointwise:  # of each phase where it is
        kernel, bias = np.tile(second, (1, 1, 1, phases)), np.tile(second_bias, phases)
        features = graph("Relu", graph.convolution(features, kernel, bias, group=phases))
    features = graph("DepthToSpace", features, blocksize=scale, mode="DCR")
    if not is_pointwise:
        features = graph("Relu", graph.convolution(features, second, second_bias))
    restored = graph.crop(graph.convolution(features, last, last_bias), *network.restoring.crop)

    zero, one = np.float32(0), np.float32(1)
    restored = graph("Clip", restored, np.array(zero), np.array(one))
    interpolated = graph.convolution(bicubic, to_luma, np.array([network.offset], np.float32))
    residual = graph("Mul", graph("Sub", restored, interpolated), np.array(network.gain, np.float32))
    output = graph("Clip", graph("Add", bicubic, residual), np.array(zero), np.array(one))
    return graph.model("srcnn", output, 3, [f"{scale} * rows", f"{scale} * cols"])


def _mirror(graph: _Graph, image: str, margins: tuple[int, int]) -> str:
    """Mirrors rows and columns beyond the edges by gathering them: ONNX's padding does not repeat the edge pixel."""
    begin, end = (np.array(value, np.int64) for value in (-margins[0], margins[1]))
    for axis in (2, 3):
        size = graph("Gather", graph("Shape", image), np.array(axis, np.int64))
        period = graph("Mul", size, np.array(2, np.int64))
        index = graph("Range", begin, graph("Add", size, end), np.array(1, np.int64))
        index = graph("Mod", index, period)
        mirrored = graph("Sub", graph("Sub", period, np.array(1, np.int64)), index)
        image = graph("Gather", image, graph("Min", index, mirrored), axis=axis)
    return image


def network_onnx(network: _Network) -> onnx.ModelProto:
    """Returns a model of the network alone, from interpolated luma `(1, 1, rows, cols)` to restored luma."""
    graph, margin = _Graph(), network.margin
    features = graph("Pad", "input", np.array([0, 0, margin, margin] * 2, np.int64), mode="edge")
    for number, (kernel, bias) in enumerate(network.layers):
        features = graph.convolution(features, kernel, bias)
        features = graph("Relu", features) if number < 2 else features
    return graph.model("srcnn_network", features, 1, ["rows", "cols"])


# --- TensorFlow ---


def network_tflite(network: _Network) -> bytes:
    """Returns the network alone for TensorFlow Lite, from luma `(1, rows, cols, 1)` to restored luma of that size."""
    function = tf.function(lambda luma: _restore(network, luma))
    concrete = function.get_concrete_function(tf.TensorSpec([1, None, None, 1], tf.float32, "luma"))
    return tf.lite.TFLiteConverter.from_concrete_functions([concrete], tf.Module()).convert()


def save_model(network: _Network, path: Path) -> None:
    """Writes a SavedModel with the signatures `upscale` (RGB, the default) and `network` (interpolated luma)."""
    upscale = tf.function(lambda image: {"upscaled": _upscale(network, image)})
    restore = tf.function(lambda luma: {"restored": _restore(network, luma)})
    image, luma = (tf.TensorSpec([None, None, None, size], name=name) for size, name in ((3, "image"), (1, "luma")))
    signatures = {"upscale": upscale.get_concrete_function(image), "network": restore.get_concrete_function(luma)}
    tf.saved_model.save(tf.Module(), str(path), signatures | {"serving_default": signatures["upscale"]})


def _restore(network: _Network, luma: tf.Tensor) -> tf.Tensor:
    """Restores `(batch, rows, cols, 1)`, with the weights as constants."""
    for _ in range(network.margin):  # TensorFlow has no padding by edge pixels, but mirroring one pixel is that
        luma = tf.pad(luma, PADDING, "SYMMETRIC")
    for number, (kernel, bias) in enumerate(network.layers):
        luma = tf.nn.conv2d(luma, kernel, 1, "VALID") + bias
        luma = tf.nn.relu(luma) if number < 2 else luma
    return luma


def _upscale(network: _Network, image: tf.Tensor) -> tf.Tensor:
    """Upscales `(batch, rows, cols, 3)` RGB."""

    def phases(channels: tf.Tensor, merged: _Padded) -> tf.Tensor:
        for axis in (1, 2):
            size = tf.shape(channels)[axis]
            index = tf.range(-merged.margins[0], size + merged.margins[1]) % (2 * size)
            channels = tf.gather(channels, tf.minimum(index, 2 * size - 1 - index), axis=axis)
        return tf.nn.conv2d(channels, merged.kernel(), 1, "VALID")

    def cropped(large: tf.Tensor, merged: _Padded) -> tf.Tensor:
        (begin, end), shape = merged.crop, tf.shape(large)
        return large[:, begin : shape[1] - end, begin : shape[2] - end]

    def luma_of(colors: tf.Tensor) -> tf.Tensor:
        return tf.tensordot(colors, network.luma, 1)[..., tf.newaxis] + network.offset

    scale, ((_, first_bias), (second, second_bias), (last, last_bias)) = network.scale, network.layers
    features = phases(luma_of(image), network.restoring)
    features = tf.nn.relu(tf.nn.depth_to_space(features, scale) + first_bias)
    features = tf.nn.relu(tf.nn.conv2d(features, second, 1, "VALID") + second_bias)
    restored = cropped(tf.nn.conv2d(features, last, 1, "VALID") + last_bias, network.restoring)
    channels = [phases(channel, network.bicubic) for channel in tf.split(image, 3, axis=-1)]
    large = [cropped(tf.nn.depth_to_space(channel, scale), network.bicubic) for channel in channels]
    bicubic = tf.concat(large, axis=-1)
    residual = tf.clip_by_value(restored, 0, 1) - luma_of(bicubic)
    return tf.clip_by_value(bicubic + network.gain * residual, 0, 1)


# --- The page ---


def demo_page(networks: Mapping[NetworkSpec, Sequence[NDArray]]) -> str:
    """Returns the page that upscales images in a browser, with these networks; `web/` has its source.

    Args:
        networks: kernels and biases of the three layers, in turn, by network.
    """
    template = (resources.files("srcnn_tf") / "demo.html").read_text(encoding="utf-8")
    files = [
        {
            "name": spec.name,
            "scale": spec.scale,
            "degradation": spec.degradation,
            "margin": spec.border // 2,
            "sizes": spec.filter_sizes,
            "counts": spec.filter_counts,
            "weights": base64.b64encode(to_bytes(weights)).decode(),
        }
        for spec, weights in networks.items()
    ]
    return template.replace('id="weights">[]', f'id="weights">{json.dumps(files, separators=(",", ":"))}')

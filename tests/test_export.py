"""Exported models, executed by the programs that they are for."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import openvino
import pytest
import tensorflow as tf
from conftest import ROOT, program_environment, synthetic_image
from networks import find

from srcnn_tf.api import upscale_image
from srcnn_tf.config import Config
from srcnn_tf.errors import UsageError
from srcnn_tf.export import demo_page, export
from srcnn_tf.spec import JPEG_QUALITIES, NetworkSpec
from srcnn_tf.testing.tiling import TiledModel
from srcnn_tf.weights.search import WeightsSearch, shipped_weights
from srcnn_tf.weights.store import find_weights


def image(rows=37, cols=50):
    """RGB in [0, 1], with values at both ends."""
    pixels = synthetic_image(rows, cols).astype(np.float32) / 255
    pixels[3:9, 5:11] = 0
    pixels[12:20, 30:40] = 1
    return pixels


def run_onnx_runtime(path, values):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: values})[0]


def run_openvino(path, values):
    core = openvino.Core()
    model = core.compile_model(core.read_model(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return model([values])[0]


RUNTIMES = {"ONNX Runtime": run_onnx_runtime, "OpenVINO": run_openvino}
MODELS = [(2, "9-1-5"), (3, "9-5-5"), (4, "9-1-5")]


def export_all(scale, architecture):
    name = f"srcnn_x{scale}" + ("" if architecture == "9-1-5" else f"_{architecture}")
    config = Config(export="models", scale=scale, architecture=architecture)
    export(config)
    return f"models/{name}", config


@pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated:UserWarning")
@pytest.mark.parametrize(("scale", "architecture"), MODELS)
def test_all_models_compute_what_this_program_does(scale, architecture):
    path, config = export_all(scale, architecture)
    # The same model for images of several sizes, some of them smaller than the margins that are mirrored.
    for rows, cols in ((37, 50), (50, 37), (3, 4), (1, 1)):
        pixels = image(rows, cols)
        expected = upscale_image(pixels, scale=scale, architecture=architecture, value_range="dtype")
        for name, run in RUNTIMES.items():
            upscaled = run(f"{path}.onnx", pixels.transpose(2, 0, 1)[np.newaxis])
            assert upscaled.shape == (1, 3, scale * rows, scale * cols)
            np.testing.assert_allclose(upscaled[0].transpose(1, 2, 0), expected, rtol=0, atol=1e-4, err_msg=name)
        saved = tf.saved_model.load(f"{path}_saved_model")
        upscaled = saved.signatures["serving_default"](image=tf.constant(pixels[np.newaxis]))["upscaled"]
        np.testing.assert_allclose(upscaled[0], expected, rtol=0, atol=1e-4)

    luma = image(40, 33)[..., :1]
    expected = TiledModel(find(config)[0])(luma)
    for run in RUNTIMES.values():
        restored = run(f"{path}_network.onnx", luma[np.newaxis].transpose(0, 3, 1, 2))
        np.testing.assert_allclose(restored[0, 0].clip(0, 1), expected[..., 0], rtol=0, atol=1e-4)
    restored = saved.signatures["network"](luma=tf.constant(luma[np.newaxis]))["restored"]
    np.testing.assert_allclose(restored[0].numpy().clip(0, 1), expected, rtol=0, atol=1e-4)

    interpreter = tf.lite.Interpreter(f"{path}.tflite")
    interpreter.resize_tensor_input(interpreter.get_input_details()[0]["index"], [1, 40, 33, 1])
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], luma[np.newaxis])
    interpreter.invoke()
    restored = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    np.testing.assert_allclose(restored[0].clip(0, 1), expected, rtol=0, atol=1e-4)


def test_the_command_line_exports_and_replaces(run_main, tmp_path):
    for _ in range(2):
        done = run_main("--export=models", "--scale=2")
        assert "models/srcnn_x2.onnx" in done.stdout
    names = {"srcnn_x2.onnx", "srcnn_x2_network.onnx", "srcnn_x2.tflite", "srcnn_x2_saved_model", "srcnn_x2.html"}
    assert {path.name for path in (tmp_path / "models").iterdir()} == names
    model = onnx.load("models/srcnn_x2.onnx")
    assert [dimension.dim_param for dimension in model.graph.input[0].type.tensor_type.shape.dim[2:]] == [
        "rows",
        "cols",
    ]


def test_the_page_with_the_shipped_networks_is_the_one_that_was_built():
    """tests/test_demo.py opens it, and an exported one."""
    networks = [NetworkSpec(scale, degradation) for scale in (2, 3, 4) for degradation in (*JPEG_QUALITIES, "matlab")]
    shipped = sorted((spec for spec in networks if shipped_weights(spec).is_file()), key=lambda spec: spec.name)
    page = demo_page({spec: find_weights(spec, WeightsSearch())[0] for spec in shipped})
    assert page == (ROOT / "docs" / "demo" / "index.html").read_text(encoding="utf-8")


def test_another_degradation_has_another_name(capsys):
    export(Config(export="models", degradation="scipy"))
    assert "models/srcnn_x3_scipy.onnx" in capsys.readouterr().out


def test_networks_of_three_channels_are_refused():
    with pytest.raises(UsageError, match="--c_dim=1"):
        export(Config(export="models", c_dim=3))


def test_without_onnx_the_error_names_the_extra(tmp_path):
    (tmp_path / "onnx").mkdir()
    (tmp_path / "onnx" / "__init__.py").write_text("raise ImportError('hidden')")
    program = f"import sys; sys.path.append({str(ROOT)!r}); from srcnn_tf import cli; sys.exit(cli.run())"
    environment = program_environment() | {"PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-c", program, "--export=models"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "pip install 'srcnn_tf[export]'" in done.stderr.splitlines()[-1]


def test_the_python_examples_of_the_document_run(run_main):
    """They upscale photo.png to big.png with the models in `models`."""
    from PIL import Image

    export_all(3, "9-1-5")
    Image.fromarray((image() * 255).astype(np.uint8)).save("photo.png")
    text = (ROOT / "docs" / "export.md").read_text()
    examples = [code for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "vapoursynth" not in code]
    assert len(examples) == 3
    expected = upscale_image(np.asarray(Image.open("photo.png")), precision="float32").astype(int)
    for code in examples:
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, env=program_environment())
        assert np.abs(np.asarray(Image.open("big.png")) - expected).max() <= 1, code
        Path("big.png").unlink()

"""The example says the same as the package, in one file that does without it."""

import ast
import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, program_environment, synthetic_image
from PIL import Image
from skimage import data

from srcnn_tf import patch_file, utils
from srcnn_tf.config import Config
from srcnn_tf.datasets.samples import SAMPLES
from srcnn_tf.images.color import to_uint8
from srcnn_tf.images.metrics import psnr

EXAMPLE = ROOT / "examples" / "srcnn.py"


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("example", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_is_short_and_does_without_the_package():
    tree = ast.parse(EXAMPLE.read_text())
    imported = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    imported += [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    assert not [name for name in imported if name.startswith(("srcnn_tf", "benchmarks"))]
    assert len(EXAMPLE.read_text().splitlines()) <= 150


def test_it_has_the_sample_images_of_the_package(example):
    for names, key in ((example.TRAIN, "train_dir"), (example.TEST, "test_dir")):
        paths = example.list_images(None, names)
        assert tuple(path.name for path in paths) == SAMPLES[key]
        assert all(path.is_file() for path in paths)


# At 150 pixels and scale 3, SciPy's default mode would make the last ones black.
@pytest.mark.parametrize(("rows", "cols", "scale"), [(48, 57, 3), (150, 61, 3), (64, 75, 2), (83, 50, 4)])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_it_degrades_like_the_package(example, rows, cols, scale, mode):
    Image.fromarray(synthetic_image(rows, cols)).convert(mode).save("image.png")
    degraded, original = example.degrade(example.read_luma(Path("image.png")), scale)
    expected = utils.preprocess(utils.imread("image.png"), Config(scale=scale), c_dim=1)
    np.testing.assert_allclose(degraded, expected[0][..., 0], rtol=0, atol=1e-6)
    np.testing.assert_allclose(original, expected[1][..., 0], rtol=0, atol=1e-6)


@pytest.mark.parametrize(("rows", "cols"), [(33, 33), (48, 60), (90, 47)])
def test_its_patches_are_those_of_the_package(example, rows, cols):
    degraded, original = np.random.default_rng(0).random((2, rows, cols))
    expected = patch_file.extract_patches(degraded[..., np.newaxis], original[..., np.newaxis], Config())
    for patches, others in zip(example.extract_patches(degraded, original), expected, strict=True):
        assert patches.dtype == np.float32
        np.testing.assert_array_equal(patches, others)


def test_images_without_room_for_a_patch_have_none(example):
    patches, label = example.extract_patches(*np.zeros((2, 30, 90)))
    assert (patches.shape, label.shape) == ((0, 33, 33, 1), (0, 21, 21, 1))


def test_its_network_and_its_score_are_those_of_the_paper(example):
    network = example.build_network()
    assert network.count_params() == 8129
    degraded, original = np.random.default_rng(0).random((2, 40, 50))
    assert example.restore(network, degraded).shape == (40, 50)
    expected = psnr(to_uint8(degraded)[3:-3, 3:-3], to_uint8(original)[3:-3, 3:-3])
    assert example.score(degraded, original, 3) == pytest.approx(expected, abs=1e-4)


def test_a_short_training_gains_and_writes_the_comparison(example):
    Path("train").mkdir()
    for path in example.list_images(None, "coffee.png motorcycle_left.png"):
        shutil.copy(path, "train")
    Path("test").mkdir()
    for name in ("astronaut", "chelsea"):
        Image.fromarray(getattr(data, name)()[:200, :240]).save(f"test/{name}.png")
    flags = ["--train_dir=train", "--test_dir=test", "--epochs=3", "--output=new/comparison.png"]
    command = [sys.executable, EXAMPLE, *flags]
    finished = subprocess.run(command, env=program_environment(), capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert float(re.search(r"Average gain: (\S+) dB", finished.stdout)[1]) > 0.3
    with Image.open("new/comparison.png") as comparison:
        assert comparison.size == (3 * 240, 198 + 24)


def test_a_folder_without_images_is_an_error(example):
    with pytest.raises(SystemExit, match=r"missing: expected \.bmp, \.jpg or \.png images"):
        example.list_images("missing", example.TEST)

import numpy as np
import pytest
from conftest import synthetic_image
from networks import convolved

from benchmarks.engines import border, in_tiles, onnx_model


def random_weights(sizes, channels=(1, 64, 32, 1)):
    rng = np.random.default_rng(0)
    weights = []
    for layer, size in enumerate(sizes):
        shape = (size, size, *channels[layer : layer + 2])
        weights += [rng.normal(0, 0.1, shape), rng.normal(0, 0.1, shape[-1])]
    return [values.astype(np.float32) for values in weights]


@pytest.mark.parametrize("sizes", [(9, 1, 5), (9, 5, 5)])
def test_the_onnx_model_is_the_network(sizes):
    pytest.importorskip("onnx", reason="a competitor of requirements-bench.txt")
    from onnx.reference import ReferenceEvaluator

    weights = random_weights(sizes)
    image = synthetic_image(25, 30)[..., 0].astype(np.float32) / 255
    (restored,) = ReferenceEvaluator(onnx_model(weights, image.shape)).run(None, {"image": image[None, None]})
    np.testing.assert_allclose(restored[0, 0], convolved(image[..., None], weights)[..., 0], atol=1e-4)


@pytest.mark.parametrize(("side", "per_core"), [(1200, False), (7, False), (7, True)])
def test_tiles_of_one_size_cover_the_image(side, per_core):
    weights = random_weights((9, 1, 5))
    padded = np.random.default_rng(0).random((20 + border(weights), 31 + border(weights)), np.float32)
    shapes = set()

    def engine(weights, shape, threads):
        def restore(tile):
            shapes.add(tile.shape)
            assert tile.shape == shape
            return tile[6:-6, 6:-6]

        return restore

    np.testing.assert_array_equal(in_tiles(engine, weights, padded, side, per_core)(), padded[6:-6, 6:-6])
    assert len(shapes) == 1
    assert max(max(shapes)) <= side + border(weights)

import numpy as np
import pytest
import tensorflow as tf
from conftest import synthetic_image
from test_model import convolved
from test_tiling import random_model

from srcnn_tf.config import Config
from srcnn_tf.images.color import to_luma, to_uint8
from srcnn_tf.images.metrics import psnr
from srcnn_tf.images.page import RowStream
from srcnn_tf.images.read import read_image
from srcnn_tf.images.resize import imresize
from srcnn_tf.inference import polyphase
from srcnn_tf.inference.polyphase import PolyphaseModel
from srcnn_tf.model import border, srcnn
from srcnn_tf.utils import modcrop, prepare_data
from srcnn_tf.weights.store import find_model


def upscaled(image, *arguments, **options):
    return np.concatenate(list(PolyphaseModel(*arguments, **options).bands(image)))


@pytest.mark.parametrize("scale", [2, 3, 4, 5])
@pytest.mark.parametrize("filter_sizes", [(9, 1, 5), (9, 5, 5), (5, 1, 1), (11, 3, 7)])
def test_equals_bicubic_then_the_keras_model_away_from_the_frame(filter_sizes, scale):
    model = random_model(filter_sizes)
    small = synthetic_image(31, 37)[..., :1] / np.float32(255)
    margin = border(model) // 2
    expected = model(imresize(small, scale)[np.newaxis])[0].numpy().clip(0, 1)
    result = upscaled(small, model, scale, tile_size=50)
    assert (result.shape, result.dtype) == ((31 * scale, 37 * scale, 1), np.float32)
    inner = margin + int(np.ceil(1.5 * scale))  # beyond what mirroring changes
    rest = inner - margin
    np.testing.assert_allclose(result[inner:-inner, inner:-inner], expected[rest:-rest, rest:-rest], rtol=0, atol=1e-5)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_frame_is_that_of_the_mirrored_image(scale):
    model = random_model()
    small = synthetic_image(12, 15)[..., :1] / np.float32(255)
    mirrored = imresize(np.pad(small, ((12, 12), (12, 12), (0, 0)), mode="symmetric"), scale)
    crop = 12 * scale - 6
    expected = convolved(mirrored[crop:-crop, crop:-crop], model.get_weights()).clip(0, 1)
    np.testing.assert_allclose(upscaled(small, model, scale), expected, rtol=0, atol=1e-5)
    # A single pixel has only mirror images of itself.
    grey = np.full((1, 1, 1), 0.5, np.float32)
    expected = convolved(np.full((12 + scale, 12 + scale, 1), 0.5), model.get_weights()).clip(0, 1)
    np.testing.assert_allclose(upscaled(grey, model, scale), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("studio", [False, True])
def test_colour_is_bicubic_plus_a_multiple_of_what_luma_changes_by(studio):
    """Against the definition: to Y, Cb, Cr by ITU-R BT.601, bicubic, luma restored, and back."""
    model = random_model()
    image = synthetic_image(24, 30)
    luma = np.array([65.481, 128.553, 24.966]) / 255 if studio else np.array([0.299, 0.587, 0.114])
    gain, offset = (255 / 219, 16 / 255) if studio else (1, 0)
    bicubic = imresize(image / 255, 3)
    degraded = bicubic @ luma + offset
    restored = convolved(degraded[..., np.newaxis], model.get_weights()).clip(0, 1)
    expected = bicubic[6:-6, 6:-6] + gain * (restored - degraded[6:-6, 6:-6, np.newaxis])
    result = upscaled(image, model, 3, studio=studio)
    assert np.ptp(expected) > 0.5
    difference = np.abs(result[6:-6, 6:-6] - 255 * expected.clip(0, 1))[5:-5, 5:-5]
    assert difference.max() < 0.51


@pytest.mark.parametrize("compute_dtype", ["float32", "bfloat16"])
def test_bands_are_read_once_and_tiles_agree(compute_dtype):
    model, image = random_model(), synthetic_image(45, 29)
    whole = upscaled(image / np.float32(255), model, 3, compute_dtype=compute_dtype, tile_size=1000)
    stream = RowStream(image.shape, image.dtype, iter([image[row : row + 7] for row in range(0, 45, 7)]))
    bands = list(PolyphaseModel(model, 3, compute_dtype=compute_dtype, tile_size=30).bands(stream))
    assert [band.shape for band in bands] == [(30, 87, 3)] * 4 + [(15, 87, 3)]
    # A feature that is rounded to bfloat16 the other way changes a pixel by some 1e-5.
    atol = 0.501 / 255 if compute_dtype == "float32" else 0.6 / 255
    np.testing.assert_allclose(np.concatenate(bands) / 255, whole, rtol=0, atol=atol)


def test_the_same_bytes_for_any_number_of_threads(monkeypatch):
    model, image = random_model(), synthetic_image(150, 140)
    results = []
    for threads in (1, 2, 5):
        monkeypatch.setattr(polyphase, "cores", lambda count=threads: count)
        results.append(upscaled(image, model, 3))
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


def test_a_device_without_enough_memory_raises_memory_error(monkeypatch):
    def exhaust(*arguments):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")

    model = PolyphaseModel(random_model(), 3)
    list(model.bands(np.zeros((5, 5, 1), np.float32)))
    monkeypatch.setattr(polyphase.tf, "constant", exhaust)
    with pytest.raises(MemoryError, match="for tiles of 159 x 159 pixels"):
        list(model.bands(np.zeros((5, 5, 1), np.float32)))


@pytest.mark.parametrize("seed", [0, 1, 3])
def test_bfloat16_keeps_the_level_of_smooth_areas(seed):
    """Kernels whose weights are each rounded to the nearest shift it by 3e-4 and more."""
    model = srcnn(initialization="identity", seed=seed)
    ramp = np.linspace(0.3, 0.7, 400, dtype=np.float32)[np.newaxis, :, np.newaxis].repeat(20, axis=0)
    float32, bfloat16 = (upscaled(ramp, model, 3, compute_dtype=dtype) for dtype in ("float32", "bfloat16"))
    assert abs((bfloat16 - float32).mean()) < 1.5e-4


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_psnr_of_shipped_weights_with_the_frame_and_in_bfloat16(scale, shared):
    """Not below the plain network including the frame, and in bfloat16 at most 0.005 dB below float32."""
    for architecture in ("9-1-5", "9-5-5") if scale == 2 else ("9-1-5",):  # 9-5-5 takes long, and loses most at x2
        config = Config(is_train=False, scale=scale, degradation="matlab", architecture=architecture)
        model = find_model(config, search_runs=False)[0]
        margin = border(model) // 2
        scores = []
        for path in prepare_data(shared / "data" / "Set5"):
            luma = modcrop(to_luma(read_image(path), studio=True), scale)
            small = (to_uint8(imresize(luma, 1 / scale)) / 255).astype(np.float32)
            padded = np.pad(imresize(small, scale), ((margin, margin), (margin, margin), (0, 0)), mode="edge")
            results = [
                model(padded[np.newaxis])[0].numpy(),
                *(upscaled(small, model, scale, compute_dtype=dtype) for dtype in ("float32", "bfloat16")),
            ]
            scores.append([psnr(to_uint8(result), to_uint8(luma)) for result in results])
        plain, float32, bfloat16 = np.mean(scores, axis=0)
        assert float32 >= plain
        assert float32 - bfloat16 <= 0.005
        assert float32 != bfloat16

import math
import multiprocessing

import keras
import numpy as np
import pytest
from conftest import synthetic_image
from networks import convolved, save
from PIL import Image

import srcnn_tf
from srcnn_tf.config import Config
from srcnn_tf.errors import RunError
from srcnn_tf.images.color import to_uint8
from srcnn_tf.images.resize import imresize
from srcnn_tf.model import build_model
from srcnn_tf.spec import DEGRADATIONS

FRAME = (slice(12, -12), slice(12, -12))  # within it, the image's edges have no influence


def restore(bicubic, model=None):
    """The network on a bicubic image in one piece, by NumPy and SciPy; shipped x3 weights by default."""
    padded = np.pad(bicubic, ((6, 6), (6, 6), (0, 0)), mode="edge")
    return np.clip(convolved(padded, (model or srcnn_tf.load_model(3)).get_weights()), 0, 1)


def restore_grey(bicubic, model=None):
    """The same of grey, whose luma is that of equal R, G, B: 16 to 235."""
    return np.clip((restore(bicubic * 219 / 255 + 16 / 255, model) - 16 / 255) * 255 / 219, 0, 1)


@pytest.mark.parametrize("architecture", ["9-1-5", "9-5-5"])
@pytest.mark.parametrize("degradation", DEGRADATIONS)
def test_grey_is_upscaled_as_equal_red_green_and_blue(degradation, architecture):
    if (degradation, architecture) == ("scipy", "9-5-5"):
        pytest.skip("not shipped")
    options = {"degradation": degradation, "architecture": architecture}
    grey = synthetic_image(21, 30)[..., 0]
    colors = srcnn_tf.upscale_image(np.dstack([grey] * 3), **options)
    np.testing.assert_allclose(colors, srcnn_tf.upscale_image(grey, **options)[..., np.newaxis].repeat(3, 2), atol=1)
    assert srcnn_tf.upscale_image(np.zeros_like(grey), **options).max() <= 2  # black stays black


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_grey_is_bicubic_restored_by_the_network(scale):
    grey = synthetic_image(21, 30)[..., 0]
    upscaled = srcnn_tf.upscale_image(grey, scale)
    bicubic = imresize(grey[..., np.newaxis] / 255, scale)
    expected = 255 * restore_grey(bicubic, srcnn_tf.load_model(scale))[..., 0]
    assert (upscaled.dtype, upscaled.shape) == (np.uint8, (21 * scale, 30 * scale))
    assert np.abs(upscaled - expected)[FRAME].max() < 0.51
    assert np.abs(upscaled - 255 * bicubic[..., 0]).max() > 2


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
@pytest.mark.parametrize("channels", [None, 1, 2, 3, 4])
def test_dtype_and_channels_are_kept(dtype, channels):
    image = np.dstack([synthetic_image(14, 17), 255 - synthetic_image(14, 17, seed=1)[..., 0]])
    image = image[..., 0] if channels is None else image[..., 4 - channels :]
    largest = 1 if np.dtype(dtype).kind == "f" else np.iinfo(dtype).max
    upscaled = srcnn_tf.upscale_image((image / 255 * largest).astype(dtype), scale=2, value_range="dtype")
    assert (upscaled.dtype, upscaled.shape) == (dtype, (28, 34, *image.shape[2:]))
    in_uint8 = srcnn_tf.upscale_image(image, scale=2)
    np.testing.assert_allclose(upscaled / largest, in_uint8 / 255, atol=1.1 / 255)


def test_sixteen_bits_are_not_rounded_to_eight():
    ramp = np.linspace(20000, 24000, 40 * 40).reshape(40, 40).astype(np.uint16)
    upscaled = srcnn_tf.upscale_image(ramp, value_range="dtype")
    assert len(np.unique(upscaled)) > 2000
    expected = np.floor(65535 * restore_grey(imresize(ramp[..., np.newaxis] / 65535, 3))[..., 0] + 0.5)
    np.testing.assert_allclose(upscaled[FRAME], expected[FRAME], atol=1)


def test_alpha_is_bicubic_and_does_not_bleed():
    row, col = np.mgrid[:30, :30]
    alpha = (255 * ((row - 15) ** 2 + (col - 15) ** 2 < 100)).astype(np.uint8)
    red = np.zeros((30, 30, 4), np.uint8)
    red[..., 0], red[..., 3] = 200 * (alpha > 0), alpha
    upscaled = srcnn_tf.upscale_image(red)
    np.testing.assert_array_equal(upscaled[..., 3], to_uint8(imresize(alpha / 255, 3)))
    opaque = srcnn_tf.upscale_image(np.full((30, 30, 3), (200, 0, 0), np.uint8))
    assert np.abs(upscaled[..., :3].astype(int) - opaque).max() <= 1
    assert not srcnn_tf.upscale_image(np.zeros((10, 10, 4), np.uint8))[..., 3].any()


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros(5), r"found shape \(5,\)"),
        (np.zeros((5, 5, 5), np.uint8), r"1 to 4 channels, found shape \(5, 5, 5\)"),
        (np.zeros((0, 5), np.uint8), r"found shape \(0, 5\)"),
        (np.zeros((5, 5), np.int64), "dtype int64"),
        (np.zeros((5, 5), np.complex64), "dtype complex64"),
    ],
)
def test_other_arrays_are_refused(image, message):
    with pytest.raises(ValueError, match=message):
        srcnn_tf.upscale_image(image)


@pytest.mark.parametrize(
    ("scale", "size", "passes"), [(2.5, (50, 63), [3]), (6, (120, 150), [3, 2]), (5, (100, 125), [3, 2])]
)
def test_any_factor_is_passes_in_floats_and_a_reduction(scale, size, passes):
    image = synthetic_image(20, 25)
    expected = image / 255
    for whole in passes:
        expected = srcnn_tf.upscale_image(expected.clip(0, 1), whole, value_range="dtype")
    if expected.shape[:2] != size:
        weights = [reducing(old, new) for old, new in zip(expected.shape[:2], size, strict=True)]
        expected = np.einsum("ra,cb,abk->rck", *weights, expected)
    upscaled = srcnn_tf.upscale_image(image, scale)
    assert upscaled.shape == (*size, 3)
    assert np.abs(upscaled - 255 * expected.clip(0, 1)).max() < 0.51


def reducing(old, new):
    """A matrix for bicubic interpolation with edge pixels repeated, its kernel as wide as is needed to antialias."""
    ratio = old / new
    matrix = np.zeros((new, old))
    for pixel in range(new):
        center = (pixel + 0.5) * ratio - 0.5
        for tap in range(math.floor(center - 2 * ratio), math.ceil(center + 2 * ratio) + 1):
            x = abs(center - tap) / ratio
            weight = 1.5 * x**3 - 2.5 * x**2 + 1 if x <= 1 else -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0
            matrix[pixel, min(max(tap, 0), old - 1)] += weight
    return matrix / matrix.sum(axis=1, keepdims=True)


def test_a_size_may_be_that_of_the_image_and_none_smaller():
    image = synthetic_image(14, 17)
    np.testing.assert_array_equal(srcnn_tf.upscale_image(image, size=(14, 17)), image)
    assert srcnn_tf.upscale_image(image, size=(14, 31)).shape == (14, 31, 3)
    with pytest.raises(RunError, match="17 x 14 pixels cannot be upscaled to 16 x 40"):
        srcnn_tf.upscale_image(image, size=(40, 16))


def test_load_model_documents_every_degradation():
    assert [name for name in DEGRADATIONS if f"`{name}`" not in srcnn_tf.load_model.__doc__] == []


def test_load_model_gives_shipped_weights_in_standard_layers():
    model = srcnn_tf.load_model(scale=3)
    assert model.name == "srcnn_x3_matlab"
    assert {type(layer) for layer in model.layers} == {keras.layers.InputLayer, keras.layers.Conv2D}
    # Unlike upscaling files, it does not depend on the current folder.
    config = Config(degradation="matlab")
    save(build_model(config.network), config)
    for one, other in zip(srcnn_tf.load_model(3).get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert srcnn_tf.load_model(3, degradation="scipy").name == "srcnn_x3_scipy"


def test_arrays_of_other_libraries_are_taken():
    image = synthetic_image(12, 14)
    expected = srcnn_tf.upscale_image(image)
    np.testing.assert_array_equal(srcnn_tf.upscale_image(Image.fromarray(image)), expected)
    palette = Image.fromarray(image).quantize(16)
    np.testing.assert_array_equal(
        srcnn_tf.upscale_image(palette), srcnn_tf.upscale_image(np.asarray(palette.convert("RGB")))
    )
    wide = image.astype(np.uint16) * 257
    swapped = srcnn_tf.upscale_image(wide.astype(">u2"))
    np.testing.assert_array_equal(swapped, srcnn_tf.upscale_image(wide))
    mask = image[..., 0] > 128
    np.testing.assert_array_equal(srcnn_tf.upscale_image(mask), srcnn_tf.upscale_image(mask * np.uint8(255)))


@pytest.mark.parametrize(("mode", "dtype"), [("I", np.int32), ("F", np.float32), ("I;16", np.uint16)])
def test_an_image_of_pillow_keeps_numbers_of_more_than_8_bits(mode, dtype):
    numbers = synthetic_image(12, 14)[..., 0].astype(dtype) * 16
    image = Image.fromarray(numbers)
    assert image.mode == mode
    np.testing.assert_array_equal(srcnn_tf.upscale_image(image), srcnn_tf.upscale_image(numbers))


@pytest.mark.parametrize("channels", [None, 1, 3])
def test_what_is_masked_stays_masked_and_does_not_bleed(channels):
    image = synthetic_image(20, 24).astype(np.float32)
    image = image[..., 0] if channels is None else image[..., :channels]
    is_empty = np.broadcast_to(np.arange(24) < 9, (20, 24))
    # NaN says the same of floats.
    expected = srcnn_tf.upscale_image(
        np.where(is_empty.reshape(is_empty.shape + (1,) * (image.ndim - 2)), np.nan, image)
    )
    image[is_empty] = -9999
    upscaled = srcnn_tf.upscale_image(np.ma.masked_equal(image, -9999))
    assert upscaled.fill_value == -9999
    np.testing.assert_array_equal(upscaled.filled(np.nan), expected)
    assert (upscaled.data[:, :27] == -9999).all()
    assert srcnn_tf.upscale_image(np.ma.masked_all((5, 5), np.uint8)).mask.all()


@pytest.mark.linux
def test_a_forked_child_upscales():
    image = synthetic_image(12, 14)
    expected = srcnn_tf.upscale_image(image)
    with multiprocessing.get_context("fork").Pool(1) as pool:
        np.testing.assert_array_equal(pool.apply(srcnn_tf.upscale_image, [image]), expected)

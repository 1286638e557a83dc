import pickle
from dataclasses import replace

import numpy as np
import pytest
from conftest import synthetic_image
from networks import network, save
from PIL import Image
from skimage.color import rgb2ycbcr, ycbcr2rgb
from test_api import FRAME, restore

import srcnn_tf
from srcnn_tf.config import Config
from srcnn_tf.errors import RunError, UsageError
from srcnn_tf.images.resize import imresize
from srcnn_tf.model import build_model
from srcnn_tf.upscaling.image_files import upscale_files
from srcnn_tf.upscaling.upscaler import make_upscaler, suited_degradation


def save_jpeg_weights():
    """Weights of a run, which are not the shipped ones."""
    config = Config(degradation="jpeg")
    save(build_model(config.network, "he"), config)


def test_luma_of_a_video_is_used_as_it_is():
    luma = 16 + (synthetic_image(21, 30)[..., 0] * (219 / 255)).astype(np.uint8)
    upscaled = make_upscaler(Config(degradation="matlab")).for_luma()(luma, (63, 90))[:63]
    expected = 255 * restore(imresize(luma[..., np.newaxis] / 255, 3), srcnn_tf.load_model(3))[..., 0]
    assert np.abs(upscaled - expected)[FRAME].max() < 0.51


@pytest.mark.parametrize(("c_dim", "color_space"), [(1, "ycbcr"), (3, "ycbcr"), (3, "rgb")])
def test_colour_has_restored_luma_and_bicubic_chroma_or_three_restored_channels(c_dim, color_space):
    config = Config(degradation="matlab", c_dim=c_dim, color_space=color_space)
    model = build_model(config.network, "he")
    rng = np.random.default_rng(2)
    model.set_weights([values + rng.normal(0, 0.02, values.shape) for values in model.get_weights()])
    save(model, config)
    image = synthetic_image(21, 30)
    bicubic = imresize(image / 255 if color_space == "rgb" else rgb2ycbcr(image) / 255, 3)
    expected = np.dstack([restore(bicubic[..., :c_dim], model), bicubic[..., c_dim:]])
    if color_space == "ycbcr":
        expected = np.clip(ycbcr2rgb(255 * expected), 0, 1)
    assert np.ptp(expected) > 0.2
    upscaled = make_upscaler(config)(image, (63, 90))[:63] / 255
    np.testing.assert_allclose(upscaled[FRAME], expected[FRAME], atol=0.6 / 255)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize(("c_dim", "color_space"), [(1, "ycbcr"), (3, "ycbcr"), (3, "rgb")])
def test_any_size_keeps_dtype_and_channels_of_all_networks(channels, c_dim, color_space):
    image = np.dstack([synthetic_image(14, 17), synthetic_image(14, 17, seed=1)[..., 0]])[..., :channels]
    for scale in (2, 3):
        config = Config(degradation="matlab", c_dim=c_dim, color_space=color_space, scale=scale)
        save(build_model(config.network, "he"), config)
    config = Config(input="a.png", c_dim=c_dim, color_space=color_space)
    for dtype in (np.uint8, np.uint16):
        upscaled = make_upscaler(config)(image.astype(dtype), (70, 99))
        assert (upscaled.dtype, upscaled[:70].shape) == (dtype, (70, 99, channels))


def test_a_run_comes_before_shipped_weights_whether_or_not_the_image_is_compressed():
    config = Config(degradation="matlab", scale=3)
    save(build_model(config.network), config)
    upscaler = make_upscaler(Config(input="a.jpg", scale=3))
    assert [step.spec.degradation for step in upscaler.passes(3, suited="jpeg")] == ["matlab"]
    assert upscaler.sources == str(config.search.run_directory(config.network) / "SRCNN.weights.h5")
    steps = make_upscaler(Config(input="a.jpg", scale=6)).passes(6, suited="jpeg")
    assert [(step.spec.scale, step.spec.degradation) for step in steps] == [(3, "matlab"), (2, "matlab")]
    save_jpeg_weights()
    for suited in ("jpeg", "jpeg90"):  # there is no run for jpeg90, and that for jpeg is closer than what is shipped
        (step,) = make_upscaler(Config(input="a.jpg", scale=3)).passes(3, suited)
        assert step.spec.degradation == "jpeg"


@pytest.mark.parametrize(
    ("quality", "factor", "degradation"),
    [
        *[(None, 3, "matlab"), (100, 3, "matlab"), (90, 3, "jpeg90"), (75, 3, "jpeg"), (1, 3, "jpeg")],
        *[(80, 2, "jpeg"), (80, 1.5, "jpeg"), (80, 3, "jpeg90"), (80, 6, "jpeg90"), (80, 1, "jpeg")],
    ],
)
def test_the_quality_of_a_file_says_which_weights_suit_it(quality, factor, degradation):
    assert suited_degradation(quality, factor) == degradation


def test_weights_of_ones_own_are_used_for_their_whole_factor():
    config = Config(degradation="matlab", scale=5)
    save(build_model(config.network), config)
    upscaler = make_upscaler(Config(input="a.png", scale=4.5))
    assert [step.spec.scale for step in upscaler.passes(4.5)] == [5]
    assert upscaler.sources == str(config.search.run_directory(config.network) / "SRCNN.weights.h5")
    with pytest.raises(RunError, match="weights of srcnn_x5_matlab, but srcnn_x3_matlab is asked for"):
        make_upscaler(Config(input="a.png", weights=str(config.search.run_directory(config.network)))).passes(3)


def test_only_the_first_pass_uses_jpeg_weights_and_only_where_there_are_some():
    save_jpeg_weights()
    upscaler = make_upscaler(Config(input="a.jpg", scale=6))
    assert [(step.spec.scale, step.spec.degradation) for step in upscaler.passes(6, "jpeg")] == [
        (3, "jpeg"),
        (2, "matlab"),
    ]
    assert [(step.spec.scale, step.spec.degradation) for step in upscaler.passes(6)] == [(3, "matlab"), (2, "matlab")]
    for flags in ({"weights": "w.h5"}, {"c_dim": 3}):
        assert Config(input="a.jpg", **flags).degradation == "matlab"


def test_a_pickled_upscaler_reads_its_weights_again():
    """As on the worker of a cluster that lives longer than the weights."""
    config = Config(degradation="matlab", filters="6,4")
    upscaler, image, results = make_upscaler(replace(config, input="a.png")), synthetic_image(12, 12), []
    for seed in (0, 1, 0):
        save(network(filters=(6, 4), initialization="he", seed=seed), config)
        results.append(pickle.loads(pickle.dumps(upscaler))(image, (36, 36))[:36])
    assert not np.array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


@pytest.mark.parametrize("flags", [{"scale": 3}, {"scale": 2.5}, {"scale": 6}, {"size": (50, 90)}])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_wrapped_edges_are_the_middle_of_a_3_x_3_tiling(flags, channels):
    """Through one pass, several, and a reduction by another factor along each axis."""
    row, col = np.mgrid[:20, :30]
    waves = [127 + 100 * np.sin(2 * np.pi * (k * row / 20 + col / 30)) for k in (1, 2, 3, 4)]
    image = np.dstack(waves).astype(np.uint8)[..., :channels].squeeze()
    if channels == 4:
        image[..., 3] = 255 * (image[..., 3] > 60)
    tiling = np.tile(image, (3, 3, *(1,) * (image.ndim - 2)))
    wrapped = srcnn_tf.upscale_image(image, edges="wrap", **flags).astype(int)
    rows, cols = wrapped.shape[:2]
    if "size" in flags:
        flags = {"size": (3 * rows, 3 * cols)}
    middle = srcnn_tf.upscale_image(tiling, **flags)[rows : 2 * rows, cols : 2 * cols]
    assert np.abs(wrapped - middle).max() <= 1
    assert (wrapped != middle).mean() < 0.01
    mirrored = srcnn_tf.upscale_image(image, **(flags if "scale" in flags else {"size": (rows, cols)}))
    assert np.abs(wrapped - mirrored).max() > 10


def test_wrapped_edges_of_a_file_and_of_its_bicubic_image():
    image = synthetic_image(20, 31)
    Image.fromarray(image).save("a.png")
    upscale_files(Config(input="a.png", scale=2, edges="wrap", page="linked"))
    written = np.asarray(Image.open("sample/enlarged/a_x2.png"))
    np.testing.assert_array_equal(written, srcnn_tf.upscale_image(image, 2, edges="wrap"))
    bicubic = np.asarray(Image.open("sample/enlarged/.bicubic/a_x2.png"))
    np.testing.assert_array_equal(bicubic, imresize(np.tile(image, (3, 3, 1)), 2)[40:80, 62:124])
    with pytest.raises(UsageError, match="expected one of mirror, wrap"):
        srcnn_tf.upscale_image(image, edges="repeat")

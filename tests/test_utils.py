import contextlib
import os
from pathlib import Path

import h5py
import numpy as np
import pytest
from conftest import drawn
from scipy import ndimage

from srcnn_tf import utils
from srcnn_tf.config import Config
from srcnn_tf.errors import RunError
from srcnn_tf.images import color, metrics, read

# --- finding ---


def test_prepare_data_searches_subfolders_in_order_and_knows_every_ending(tmp_path):
    names = ["b.BMP", "a/z.png", "a/y.JPG", "c.jpeg", "d.Tif", "e.tiff", "f.webp", "a/b/x.bmp"]
    for name in [*names, "notes.txt", ".hidden.png", "png"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = utils.prepare_data(tmp_path)
    assert found == sorted(tmp_path / name for name in names)


def test_prepare_data_follows_links_once(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.png").touch()
    (tmp_path / "Train").mkdir()
    (tmp_path / "Train" / "linked").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "loop").symlink_to(tmp_path / "real")
    assert utils.prepare_data(tmp_path / "Train") == [tmp_path / "Train" / "linked" / "a.png"]


def test_prepare_data_of_a_missing_folder_is_empty():
    assert utils.prepare_data("nowhere") == []


# --- reading ---


def test_luma_is_the_full_range_one(make_picture):
    path = make_picture("a.png")
    rgb = read.read_image(path).astype(float)
    luma = utils.imread(path)
    assert luma.shape == rgb.shape[:2]
    # The round trip through 8-bit YCbCr moves each channel by 2 at the most.
    np.testing.assert_allclose(luma, rgb @ [0.299, 0.587, 0.114], atol=2)


def test_grey_is_used_as_it_is(make_picture):
    path = make_picture("a.png", mode="L")
    np.testing.assert_allclose(utils.imread(path), read.read_image(path), atol=1e-12)
    chroma = utils.imread(path, is_grayscale=False)[..., 1:]
    np.testing.assert_allclose(chroma, 128)


# --- degrading and cutting ---


def test_modcrop_cuts_bottom_and_right():
    image = np.arange(70).reshape(7, 10)
    np.testing.assert_array_equal(utils.modcrop(image, 3), image[:6, :9])
    assert utils.modcrop(drawn(7, 10), 4).shape == (4, 8, 3)


def test_degrade_is_the_references_two_zooms_on_each_channel():
    channels = drawn(24, 30).astype(float)
    degraded = utils.degrade(channels, 3)
    for channel in range(3):
        down = ndimage.zoom(channels[..., channel], 1 / 3, prefilter=False)
        assert down.shape == (8, 10)
        np.testing.assert_allclose(degraded[..., channel], ndimage.zoom(down, 3, prefilter=False), rtol=1e-13)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_degrade_differs_from_the_reference_only_where_its_edge_is_black(scale):
    def reference(line):
        return ndimage.zoom(ndimage.zoom(line, 1 / scale, prefilter=False), scale, prefilter=False)

    def ours(line):
        # Equal columns, so that what lies across does nothing.
        return utils.degrade(np.repeat(line[:, np.newaxis], 12, axis=1), scale)[:, 5]

    black = 0
    for size in range(33 // scale * scale, 480, scale):
        line = np.random.default_rng(size).random(size)
        same = np.isclose(reference(np.ones(size)), 1, rtol=0, atol=1e-12)
        black += not same.all()
        assert same[:-9].all()
        np.testing.assert_allclose(ours(np.ones(size)), 1)
        np.testing.assert_allclose(ours(line)[same], reference(line)[same], atol=1e-12)
    assert black  # 150 pixels at scale 3, for one


def test_sub_images_are_cut_row_by_row():
    image = np.arange(7 * 9).reshape(7, 9, 1).astype(float)
    found = utils.sub_images(image, size=3, stride=2)
    expected = [image[row : row + 3, col : col + 3] for row in (0, 2, 4) for col in (0, 2, 4, 6)]
    np.testing.assert_array_equal(found, expected)
    assert utils.sub_images(image, size=8, stride=1).shape == (0, 8, 8, 1)


def test_merging_what_was_cut_gives_the_picture():
    image = drawn(63, 84).astype(float)
    np.testing.assert_array_equal(utils.merge(utils.sub_images(image, 21, 21), (3, 4)), image)


def test_pairs_equal_the_references(golden):
    truth = np.load(golden / "reference_patches.npz")
    config = Config(train_dir=str(golden / "Train"))
    found = [utils.training_pairs(path, config) for path in utils.prepare_data(golden / "Train")]
    data, label = (np.concatenate(part).astype(np.float32) for part in zip(*found, strict=True))
    np.testing.assert_allclose(data, truth["train_data"], atol=1e-7, rtol=0)
    np.testing.assert_allclose(label, truth["train_label"], atol=1e-7, rtol=0)


@pytest.mark.parametrize("phase", [(1, 0), (0, 2), (2, 1)])
def test_another_phase_is_as_if_the_picture_began_elsewhere(phase):
    image = drawn(100, 110)
    config = Config(degradation="matlab")
    data, label = utils.cut_pairs(image, config, phase)
    usual = utils.cut_pairs(image, config)
    np.testing.assert_array_equal(label, usual[1])
    assert data.shape == usual[0].shape
    row, col = (-side % 3 for side in phase)
    elsewhere = utils.degraded_pair(image[row:, col:], 3, "matlab")[0]
    # The third of the third of five rows of six pairs each: far from the sides, where it matters what is beyond.
    here = elsewhere[28 - row : 61 - row, 28 - col : 61 - col, :1]
    np.testing.assert_allclose(data[14], here, atol=1e-6)
    assert np.abs(data - usual[0]).max() > 1e-3


def test_test_pairs_equal_the_references(golden):
    truth = np.load(golden / "reference_patches.npz")
    data, label = utils.training_pairs(golden / "Test" / "Set5" / "s3.bmp", Config(stride=21))
    np.testing.assert_allclose(data, truth["test_data"], atol=1e-7, rtol=0)
    np.testing.assert_allclose(label, truth["test_label"], atol=1e-7, rtol=0)


def test_label_is_the_centre_of_its_data_for_every_architecture(make_picture):
    path = make_picture("a.png", mode="L")
    for architecture in ("9-1-5", "9-5-5", "11-1-7"):
        config = Config(architecture=architecture, stride=5)
        original = utils.preprocess(path)[1]
        margin = config.border // 2
        data, label = utils.training_pairs(path, config)
        assert len(data) == len(label)
        inside = original[margin : margin + config.label_size, margin + 5 : margin + 5 + config.label_size]
        np.testing.assert_array_equal(label[1, ..., 0], inside.astype(np.float32))


# --- the training file ---


def prepare(config):
    paths = utils.prepare_data(config.train_dir)
    return utils.input_setup(config, paths, read.fingerprint(paths, config.train_dir))


def test_the_training_file_holds_the_references_pairs(golden):
    truth = np.load(golden / "reference_patches.npz")
    config = Config(train_dir=str(golden / "Train"))
    assert prepare(config) == []
    data, label = utils.read_data("checkpoint/train.h5")
    assert (data.dtype, label.dtype) == (np.float32, np.float32)
    np.testing.assert_allclose(data, truth["train_data"], atol=1e-7, rtol=0)
    np.testing.assert_allclose(label, truth["train_label"], atol=1e-7, rtol=0)
    assert utils.read_counts("checkpoint/train.h5").sum() == 46
    with h5py.File("checkpoint/train.h5") as file:
        assert file["data"].chunks is not None
    assert os.listdir("checkpoint") == ["train.h5"]


def test_t91_gives_21884_pairs(shared):
    config = Config(train_dir=str(shared / "data" / "T91"))
    assert prepare(config) == []
    assert utils.read_data("checkpoint/train.h5")[0].shape == (21884, 33, 33, 1)


def test_colour_pairs_have_three_channels(golden):
    prepare(Config(train_dir=str(golden / "Train"), c_dim=3))
    data, label = utils.read_data("checkpoint/train.h5")
    assert data.shape == (46, 33, 33, 3)
    assert label.shape == (46, 21, 21, 3)
    np.testing.assert_allclose(data[..., 0], np.load(golden / "reference_patches.npz")["train_data"][..., 0], atol=1e-7)


def test_rgb_pairs_are_the_picture_itself(golden):
    config = Config(train_dir=str(golden / "Train"), c_dim=3, color_space="rgb", degradation="matlab")
    prepare(config)
    _, label = utils.read_data("checkpoint/train.h5")
    image = read.read_image(utils.prepare_data(golden / "Train")[0])
    rgb = image if image.ndim == 3 else np.dstack([image] * 3)
    np.testing.assert_allclose(label[0], rgb[6:27, 6:27] / 255, atol=1e-7)
    prepare(Config(train_dir=str(golden / "Train"), c_dim=3, degradation="matlab"))
    assert not np.array_equal(utils.read_data("checkpoint/train.h5")[1], label)


@pytest.mark.parametrize("change", ["nothing", "stride", "picture", "name", "truncated"])
def test_the_training_file_is_made_again_only_when_needed(change, make_picture):
    picture = make_picture("Train/a.png")
    config = Config(stride=7)
    prepare(config)
    file = Path("checkpoint/train.h5")
    before, stamp = file.read_bytes(), file.stat().st_mtime_ns
    if change == "stride":
        config = Config(stride=5)
    elif change == "picture":
        make_picture("Train/a.png", seed=1)
    elif change == "name":
        picture.rename(picture.with_name("b.png"))
    elif change == "truncated":
        file.write_bytes(before[: len(before) * 2 // 3])
        stamp = file.stat().st_mtime_ns
    prepare(config)
    assert (file.stat().st_mtime_ns == stamp) == (change == "nothing")
    assert len(utils.read_data(file)[0]) == (3 * 4 if change != "stride" else 4 * 5)


def test_unusable_pictures_are_warned_of_each_time(make_picture):
    make_picture("Train/good.png")
    make_picture("Train/small.png", rows=20)
    Path("Train/broken.png").write_bytes(b"nothing")
    for _ in range(2):
        broken, small = prepare(Config())
        assert "broken.png: cannot be read" in broken
        assert "small.png: 18 x 54 pixels are smaller than one sub-image of 33 x 33" in small
    assert utils.read_counts("checkpoint/train.h5").tolist() == [0, 4, 0]


def test_no_usable_picture_leaves_no_file(make_picture):
    make_picture("Train/small.png", rows=20)
    with pytest.raises(RunError, match=r"None of the 1 pictures below Train .*small\.png"):
        prepare(Config())
    assert os.listdir("checkpoint") == []


def test_flipped_bits_in_the_training_file_are_noticed(make_picture):
    make_picture("Train/a.png")
    prepare(Config(stride=5))
    file = Path("checkpoint/train.h5")
    content = bytearray(file.read_bytes())
    with h5py.File(file) as opened:
        place = opened["data"].id.get_chunk_info(0).byte_offset
    content[place + 100] ^= 0xFF
    file.write_bytes(content)
    with pytest.raises(RunError, match=r"train\.h5: cannot be read .*delete it, and it is made again"):
        utils.read_data(file)


def test_a_link_to_nowhere_and_an_odd_name_are_only_warned_of(make_picture):
    make_picture("Train/good.png")
    Path("Train/link.png").symlink_to("nowhere.png")
    os.rename(make_picture("Train/odd.png"), b"Train/\xff.png")
    (complaint,) = prepare(Config())
    assert "link.png: cannot be read" in complaint
    assert utils.read_counts("checkpoint/train.h5").tolist() == [4, 0, 4]


def test_every_kind_of_damage_to_the_training_file_is_noticed_or_harmless(make_picture):
    make_picture("Train/a.png")
    prepare(Config())
    file = Path("checkpoint/train.h5")
    whole = file.read_bytes()
    data = utils.read_data(file)[0]
    rng = np.random.default_rng(0)
    for place in rng.integers(0, 8000, 60):  # where HDF5 keeps its own affairs
        content = bytearray(whole)
        content[place] ^= 1 << rng.integers(8)
        file.write_bytes(content)
        prepare(Config())
        with contextlib.suppress(RunError):
            assert utils.read_data(file)[0].shape == data.shape


def test_imsave_writes_what_is_read_back():
    image = drawn(9, 11)
    utils.imsave(image, "new/folder/a.png")
    np.testing.assert_array_equal(read.read_image("new/folder/a.png"), image)
    assert os.listdir("new/folder") == ["a.png"]


def test_unwritable_places_are_named():
    Path("file").touch()
    with pytest.raises(RunError, match=r"file/a\.png: cannot be written \(.*\); free space"):
        utils.imsave(drawn(9, 11), "file/a.png")


# --- the paper's degradation ---


@pytest.mark.parametrize(
    ("name", "scale", "psnr", "ssim"),
    [
        ("Set5", 2, 33.66, 0.9299),
        ("Set5", 3, 30.39, 0.8682),
        ("Set5", 4, 28.42, 0.8104),
        ("Set14", 2, 30.23, 0.8687),
        ("Set14", 3, 27.54, 0.7736),
        ("Set14", 4, 26.00, 0.7019),
    ],
)
def test_bicubic_is_the_papers_to_the_second_decimal(shared, name, scale, psnr, ssim):
    scores = {}
    for path in utils.prepare_data(shared / "data" / name):
        pair = utils.degraded_pair(read.read_image(path), scale, "matlab")
        scores[path.stem] = metrics.score(*(color.to_uint8(channels[..., 0]) for channels in pair), scale)
    found = [np.mean([getattr(score, kind) for score in scores.values()]) for kind in ("psnr", "ssim")]
    assert [round(found[0], 2), round(found[1], 4)] == [psnr, ssim]
    if (name, scale) == ("Set5", 3):
        (butterfly,) = [score.psnr for stem, score in scores.items() if "butterfly" in stem]
        assert butterfly == pytest.approx(24.0379, abs=1e-4)


def test_matlabs_degradation_is_not_rounded_in_between(make_picture):
    path = make_picture("a.png", rows=48, cols=54)
    degraded, original = utils.preprocess(path, 3, degradation="matlab")
    np.testing.assert_allclose(original * 255, np.round(original * 255), atol=1e-9)
    assert np.abs(degraded * 255 - np.round(degraded * 255)).max() > 0.4
    luma = color.to_luma(read.read_image(path), studio=True)[..., 0]
    np.testing.assert_array_equal(original, luma)


@pytest.mark.parametrize(("scale", "count"), [(2, 21910), (3, 21884), (4, 21772)])
def test_t91_gives_the_papers_numbers_of_sub_images(shared, scale, count):
    config = Config(scale=scale, degradation="matlab")
    sizes = [read.declared_size(path) for path in utils.prepare_data(shared / "data" / "T91")]
    assert sum(utils._count_pairs(size, config) for size in sizes) == count


def test_a_folder_that_may_not_be_read_is_named(make_picture, monkeypatch):
    make_picture("in/secret/a.png")
    scandir = os.scandir

    def refuse(folder):  # the tests may run as root, who may read everything
        if str(folder).endswith("secret"):
            raise PermissionError(13, "Permission denied", str(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(PermissionError, match="in/secret"):
        utils.prepare_data("in")

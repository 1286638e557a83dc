import contextlib
import io
import os
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import tifffile
from conftest import forbid, synthetic_image
from PIL import Image
from scipy import ndimage
from skimage.color import rgb2ycbcr, ycbcr2rgb

from srcnn_tf import degradation, patch_file, utils
from srcnn_tf.config import Config
from srcnn_tf.errors import RunError
from srcnn_tf.images import color, metrics
from srcnn_tf.images.read import fingerprint, read_image
from srcnn_tf.images.resize import imresize
from srcnn_tf.spec import ColorSpace, Compression

TRAIN_FILE = Path("checkpoint/train.h5")


def image_patches(path, config, **options):
    return patch_file.extract_patches(*utils.preprocess(utils.imread(path), config, config.c_dim, **options), config)


def prepare(config):
    paths = utils.prepare_data(config.train_dir)
    return utils.input_setup(config, paths, fingerprint(paths, config.train_dir))


def by_pillow(image, quality):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality, subsampling="4:2:0")
    return np.asarray(Image.open(file))


@pytest.mark.parametrize("quality", [10, 50, 80, 95, 100])
@pytest.mark.parametrize("kind", ["grey", "luma", "colour"])
def test_jpeg_degrades_the_small_image_as_a_file_does(kind, quality):
    image = synthetic_image(61, 48)
    image = image[..., 0] if kind == "grey" else image
    config = Config(degradation="jpeg", jpeg_quality=str(quality))
    c_dim = 1 if kind == "luma" else None
    degraded, original = utils.preprocess(image, config, c_dim, compression=config.compression)
    clean, same = utils.preprocess(image, config, c_dim)
    np.testing.assert_array_equal(original, same)
    # By formulas of BT.601 from float64 pixels, and a file.
    small = imresize(original, 1 / 3)
    if kind == "grey":
        decoded = by_pillow(color.to_uint8(small[..., 0]), quality)[..., np.newaxis] / 255
    elif kind == "luma":
        full = color.to_uint8((small[..., 0] * 255 - 16) / 219)
        decoded = (by_pillow(full, quality)[..., np.newaxis] / 255 * 219 + 16) / 255
    else:
        rgb = np.clip(ycbcr2rgb(255 * small), 0, 1)
        decoded = rgb2ycbcr(by_pillow((255 * rgb + 0.5).astype(np.uint8), quality)) / 255
    expected = imresize(decoded, 3)
    np.testing.assert_allclose(degraded, expected, atol=0.004)
    assert np.abs(degraded - clean).max() > 0.004


@pytest.mark.parametrize("offset", [(0, 0), (3, 5), (7, 1)])
def test_jpeg_blocks_begin_at_the_offset(offset):
    image = synthetic_image(29, 26)[..., 0]
    expected = by_pillow(np.pad(image, ((offset[0], 0), (offset[1], 0)), mode="symmetric"), 30)
    compressed = degradation.jpeg(image[..., np.newaxis] / 255, Compression(30, offset), ColorSpace())
    np.testing.assert_allclose(255 * compressed[..., 0], expected[offset[0] :, offset[1] :], atol=1e-9)
    assert np.abs(255 * compressed[..., 0] - image).max() > 5


@pytest.mark.parametrize("name", ["jpeg", "jpeg90"])
def test_random_compression_covers_its_range(name):
    rng = np.random.default_rng(0)
    drawn = [degradation.random_compression(name, rng) for _ in range(2000)]
    compressed = [compression for compression in drawn if compression]
    assert 0.5 < (len(drawn) - len(compressed)) / (len(drawn) * degradation.CLEAN_SHARE) < 1.5
    lowest, highest = degradation.TRAINING_QUALITIES[name]
    assert {compression.quality for compression in compressed} == set(range(lowest, highest + 1))
    assert len({compression.block_offset for compression in compressed}) == 64


def test_prepare_data_searches_subfolders_in_order_and_links_once(tmp_path):
    names = ["b.BMP", "a/z.png", "a/y.JPG", "c.jpeg", "d.Tif", "e.tiff", "f.webp", "a/b/x.bmp", "real/r.png"]
    for name in [*names, "notes.txt", ".hidden.png", "png", ".hidden/a.png"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "real" / "loop").symlink_to(tmp_path / "real")
    assert utils.prepare_data(tmp_path) == sorted(tmp_path / name for name in names)
    (tmp_path / "Train").mkdir()
    (tmp_path / "Train" / "linked").symlink_to(tmp_path / "real")
    assert utils.prepare_data(tmp_path / "Train") == [tmp_path / "Train" / "linked" / "r.png"]
    assert utils.prepare_data("nowhere") == []


@pytest.mark.linux
def test_a_folder_that_may_not_be_read_is_named(make_image, monkeypatch):
    make_image("in/secret/a.png")
    forbid(monkeypatch, "in/secret")
    with pytest.raises(RunError, match="in/secret: cannot be searched"):
        utils.prepare_data("in")


def test_imsave_writes_what_imread_reads():
    for image in (synthetic_image(9, 11), synthetic_image(9, 11)[..., 0]):
        utils.imsave(image, "new/folder/a.png")
        np.testing.assert_array_equal(utils.imread("new/folder/a.png"), image)
    assert os.listdir("new/folder") == ["a.png"]


def test_modcrop_crops_bottom_and_right_and_merge_joins_row_by_row():
    image = synthetic_image(7, 13)
    np.testing.assert_array_equal(utils.modcrop(image[..., 0], 3), image[:6, :12, 0])
    np.testing.assert_array_equal(utils.modcrop(image, 4), image[:4, :12])
    patches = np.stack([image[row : row + 3, col : col + 4] for row in (0, 3) for col in (0, 4, 8)])
    np.testing.assert_array_equal(utils.merge(patches, (2, 3)), image[:6, :12])


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_degrade_differs_from_the_reference_only_where_its_edge_is_black(scale):
    def reference(line):
        return ndimage.zoom(ndimage.zoom(line, 1 / scale, prefilter=False), scale, prefilter=False)

    def ours(line):
        # Equal columns, so that the other axis has no influence.
        return degradation.degrade(np.repeat(line[:, np.newaxis], 12, axis=1), scale)[:, 5]

    black = 0
    for size in range(33 // scale * scale, 480, scale):
        line = np.random.default_rng(size).random(size)
        same = np.isclose(reference(np.ones(size)), 1, rtol=0, atol=1e-12)
        black += not same.all()
        assert same[:-9].all()
        np.testing.assert_allclose(ours(np.ones(size)), 1)
        np.testing.assert_allclose(ours(line)[same], reference(line)[same], atol=1e-12)
    assert black  # 150 pixels at scale 3, for one


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize(
    ("name", "printed"),
    [
        ("Set5", {2: (33.66, 0.9299), 3: (30.39, 0.8682), 4: (28.42, 0.8104)}),
        ("Set14", {2: (30.23, 0.8687), 3: (27.54, 0.7736), 4: (26.00, 0.7019)}),
    ],
)
def test_bicubic_is_the_papers_to_the_second_decimal(shared, name, scale, printed):
    scores, config = {}, Config(scale=scale, degradation="matlab")
    for path in utils.prepare_data(shared / "data" / name):
        channels = utils.preprocess(utils.imread(path), config, c_dim=1)
        scores[path.stem] = metrics.score(*(color.to_uint8(luma[..., 0]) for luma in channels), scale)
    psnr, ssim = (np.mean([getattr(score, kind) for score in scores.values()]) for kind in ("psnr", "ssim"))
    assert (round(psnr, 2), round(ssim, 4)) == printed[scale]
    if (name, scale) == ("Set5", 3):
        (butterfly,) = [score.psnr for stem, score in scores.items() if "butterfly" in stem]
        assert butterfly == pytest.approx(24.0379, abs=1e-4)


def test_matlabs_degradation_is_of_rounded_luma_and_not_rounded_in_between():
    image = synthetic_image(48, 54)
    degraded, original = utils.preprocess(image, Config(degradation="matlab"), c_dim=1)
    np.testing.assert_array_equal(original, color.to_luma(image, ColorSpace(studio=True)))
    np.testing.assert_allclose(original * 255, np.round(original * 255), atol=1e-9)
    assert np.abs(degraded * 255 - np.round(degraded * 255)).max() > 0.4


@pytest.mark.parametrize("architecture", ["9-1-5", "9-5-5", "11-1-7"])
def test_patches_are_extracted_row_by_row_and_labels_are_their_centres(architecture):
    config = Config(architecture=architecture, stride=5)
    degraded, original = utils.preprocess(synthetic_image(48, 54), config, c_dim=3)
    data, label = patch_file.extract_patches(degraded, original, config)
    corners = [(row, col) for row in range(0, 16, 5) for col in range(0, 22, 5)]
    assert len(data) == len(label) == len(corners) == 20
    margin = config.network.border // 2
    for number, (row, col) in enumerate(corners):
        inner = np.s_[row + margin : row + 33 - margin, col + margin : col + 33 - margin]
        np.testing.assert_array_equal(data[number], degraded[row : row + 33, col : col + 33].astype(np.float32))
        np.testing.assert_array_equal(label[number], original[inner].astype(np.float32))
    for rows, cols, message in ((2, 48, "too few to be reduced 3 times"), (30, 48, "smaller than one patch of 33")):
        with pytest.raises(ValueError, match=f"{rows} x {cols} pixels are {message}"):
            patch_file.extract_patches(*utils.preprocess(synthetic_image(rows, cols), config), config)


@pytest.mark.parametrize("offset", [(1, 0), (0, 2), (2, 1)])
def test_a_grid_offset_is_as_if_the_image_began_elsewhere(offset, make_image):
    path, config = make_image("a.png", rows=100, cols=110), Config(degradation="matlab")
    data, label = image_patches(path, config, grid_offset=offset)
    usual_data, usual_label = image_patches(path, config)
    np.testing.assert_array_equal(label, usual_label)
    assert data.shape == usual_data.shape
    row, col = (-side % 3 for side in offset)
    elsewhere = utils.preprocess(read_image(path)[row:, col:], config, c_dim=1)[0]
    # The third patch of the third of five rows of six: far from the edges, where it matters what is beyond.
    np.testing.assert_allclose(data[14], elsewhere[28 - row : 61 - row, 28 - col : 61 - col], atol=1e-6)
    assert np.abs(data - usual_data).max() > 1e-3


@pytest.mark.parametrize(("scale", "count"), [(2, 21910), (3, 21884), (4, 21772)])
def test_t91_gives_the_papers_number_of_patches(shared, scale, count):
    config, total = Config(scale=scale), 0
    for path in utils.prepare_data(shared / "data" / "T91"):
        channels = np.zeros((*utils.modcrop(utils.imread(path), scale).shape[:2], 1))
        total += len(patch_file.extract_patches(channels, channels, config)[0])
    assert total == count


def test_patches_equal_the_references(golden):
    truth = np.load(golden / "reference_patches.npz")
    assert prepare(Config(train_dir=str(golden / "Train"))) == []
    train = utils.read_data(TRAIN_FILE)
    test = image_patches(golden / "Test" / "Set5" / "s3.bmp", Config(stride=21))
    for name, arrays in (("train", train), ("test", test)):
        for part, array in zip(("data", "label"), arrays, strict=True):
            assert array.dtype == np.float32
            np.testing.assert_allclose(array, truth[f"{name}_{part}"], atol=1e-7, rtol=0)
    assert os.listdir("checkpoint") == ["train.h5"]
    with h5py.File(TRAIN_FILE) as file:
        assert sum(file["patches_per_image"]) == 46
        for number, path in enumerate(utils.prepare_data(golden / "Train")):
            np.testing.assert_array_equal(file[f"images/{number}"], read_image(path))


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_measured_data_become_patches_without_rounding_to_8_bits(dtype, tmp_path):
    values = np.random.default_rng(0).integers(0, 4000, (40, 44)).astype(dtype) + 90
    (tmp_path / "Train").mkdir()
    tifffile.imwrite("Train/a.tif", values)
    config = Config(degradation="matlab")
    prepare(config)
    _, label = utils.read_data("checkpoint/train.h5")
    expected = (values[:39, :42].astype(float) - values.min()) / np.ptp(values)
    np.testing.assert_allclose(label[0, ..., 0], expected[6:27, 6:27], atol=1e-6)
    with patch_file.open_data("checkpoint/train.h5") as file:
        assert file["images/0"].dtype == np.float32


def test_colour_patches_have_three_channels(golden):
    folder = {"train_dir": str(golden / "Train"), "c_dim": 3}
    prepare(Config(**folder))
    data, label = utils.read_data(TRAIN_FILE)
    assert (data.shape, label.shape) == ((46, 33, 33, 3), (46, 21, 21, 3))
    np.testing.assert_allclose(data[..., 0], np.load(golden / "reference_patches.npz")["train_data"][..., 0], atol=1e-7)
    prepare(Config(**folder, color_space="rgb", degradation="matlab"))
    _, label = utils.read_data(TRAIN_FILE)
    image = read_image(utils.prepare_data(golden / "Train")[0])
    rgb = image if image.ndim == 3 else np.dstack([image] * 3)
    np.testing.assert_allclose(label[0], rgb[6:27, 6:27] / 255, atol=1e-7)
    prepare(Config(**folder, degradation="matlab"))
    assert not np.array_equal(utils.read_data(TRAIN_FILE)[1], label)


@pytest.mark.parametrize("change", ["nothing", "stride", "image", "name", "truncated"])
def test_the_training_file_is_written_again_only_when_needed(change, make_image):
    path = make_image("Train/a.png")
    prepare(Config(stride=7))
    if change == "image":
        make_image("Train/a.png", seed=1)
    elif change == "name":
        path.rename(path.with_name("b.png"))
    elif change == "truncated":
        TRAIN_FILE.write_bytes(TRAIN_FILE.read_bytes()[: TRAIN_FILE.stat().st_size * 2 // 3])
    stamp = TRAIN_FILE.stat().st_mtime_ns
    prepare(Config(stride=5 if change == "stride" else 7))
    assert (TRAIN_FILE.stat().st_mtime_ns == stamp) == (change == "nothing")
    assert len(utils.read_data(TRAIN_FILE)[0]) == (4 * 5 if change == "stride" else 3 * 4)


@pytest.mark.linux
def test_unusable_images_are_warned_of_each_time(make_image):
    make_image("Train/good.png")
    make_image("Train/small.png", rows=20)
    Path("Train/broken.png").write_bytes(b"nothing")
    Path("Train/link.png").symlink_to("nowhere.png")
    os.rename(make_image("Train/odd.png"), b"Train/\xff.png")
    for _ in range(2):
        broken, link, small = prepare(Config())
        assert "broken.png: cannot be read" in broken
        assert "link.png: cannot be read" in link
        assert "small.png: 18 x 54 pixels are smaller than one patch of 33 x 33" in small
        with patch_file.open_data(TRAIN_FILE) as file:
            assert file["patches_per_image"][()].tolist() == [0, 4, 0, 0, 4]
    for name in (b"Train/good.png", b"Train/\xff.png"):
        os.unlink(name)
    TRAIN_FILE.unlink()
    with pytest.raises(RunError, match=r"None of the 3 images below Train can be used .*small\.png"):
        prepare(Config())
    assert os.listdir("checkpoint") == []


def test_damage_to_the_training_file_is_noticed_or_harmless(make_image):
    make_image("Train/a.png")
    prepare(Config())
    whole, data = TRAIN_FILE.read_bytes(), utils.read_data(TRAIN_FILE)[0]
    with h5py.File(TRAIN_FILE) as file:
        chunk = file["data"].id.get_chunk_info(0).byte_offset

    def damage(position, bits):
        TRAIN_FILE.write_bytes(whole[:position] + bytes([whole[position] ^ bits]) + whole[position + 1 :])

    damage(chunk + 100, 0xFF)
    with pytest.raises(RunError, match=r"train\.h5: cannot be read .*Delete it, and the same command creates it again"):
        utils.read_data(TRAIN_FILE)
    rng = np.random.default_rng(0)
    for position in rng.integers(0, 8000, 60):  # where HDF5 keeps its structure
        damage(position, 1 << rng.integers(8))
        prepare(Config())
        with contextlib.suppress(RunError):
            assert utils.read_data(TRAIN_FILE)[0].shape == data.shape


def test_disk_space_is_checked_first_and_some_patches_can_be_read(make_image, monkeypatch):
    for number in range(5):
        make_image(f"Train/{number}.png", rows=79, cols=88)  # 8 x 10 patches
    config = Config(stride=6)
    assert 5 * 80 * patch_file.patch_bytes(config) == 5 * 80 * (33 * 33 + 21 * 21) * 4 == 2448000
    # What a killed run left takes no space.
    left = Path("checkpoint/.writing-train.h5")
    left.parent.mkdir()
    left.write_bytes(bytes(1000))
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=0 if left.exists() else 2447999))
    message = r"train\.h5: the patches of 5 images take 0\.00245 GB, but only 0\.00245 GB are free\. Free some disk"
    with pytest.raises(RunError, match=message):
        prepare(config)
    assert os.listdir("checkpoint") == []
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=2448000))
    prepare(config)
    data, label = utils.read_data(TRAIN_FILE)
    assert data.nbytes + label.nbytes == 2448000
    # Some of the patches, from each of the seven chunks.
    indices = np.array([0, 3, 63, 64, 200, 300, 399])
    for some, array in zip(utils.read_data(TRAIN_FILE, indices), (data, label), strict=True):
        np.testing.assert_array_equal(some, array[indices])


@pytest.mark.parametrize(
    ("name", "threads", "kept"), [("LARGE_IMAGE", 1, True), ("MAX_PATCH_BYTES_IN_MEMORY", 8, False)]
)
def test_large_images_one_after_the_other_and_large_sets_without_images(name, threads, kept, make_image, monkeypatch):
    make_image("Train/a.png")
    used = []
    monkeypatch.setattr(utils, "cores", lambda: 8)
    monkeypatch.setattr(utils, "map_in_threads", lambda function, items, n: used.append(n) or map(function, items))
    monkeypatch.setattr(utils, name, 4 * patch_file.patch_bytes(Config()) - 1)
    prepare(Config())
    assert used == [threads]
    with h5py.File(TRAIN_FILE) as file:
        assert ("images" in file) == kept

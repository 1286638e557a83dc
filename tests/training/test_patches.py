import dataclasses
import itertools
import threading
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest

from srcnn_tf import utils
from srcnn_tf.config import Config
from srcnn_tf.errors import RunError
from srcnn_tf.images.read import read_image
from srcnn_tf.training import patches as pairs


@pytest.fixture
def config(make_picture):
    """Five pictures of 80 sub-images each: 25 batches, and seven chunks, the last one not full."""
    for number in range(5):
        make_picture(f"Train/{number}.png", rows=78, cols=87, seed=number)
    return Config(stride=6, batch_size=16, validation_split=0.0)


def load(config, **options):
    return pairs.load_pairs(config, utils.prepare_data("Train"), "hash", **options)


@pytest.fixture
def larger_than_memory(monkeypatch):
    """Two batches in a window."""
    monkeypatch.setattr(pairs, "IN_MEMORY", 0)
    monkeypatch.setattr(pairs, "WINDOW", 2 * 16 * utils.pair_bytes(Config()))


def seen(found, batches, begin=0):
    """The pairs that training gets, in order."""
    windows = list(found.windows(0, batches, begin))
    data = [window.data[step] for window in windows for step in window.batches]
    label = [window.label[step] for window in windows for step in window.batches]
    return np.concatenate(data), np.concatenate(label), windows


def test_few_pairs_are_read_once_and_shuffled_fully(config):
    read = []
    found = load(dataclasses.replace(config, recipe="paper"), place=lambda array: read.append(array) or array)
    for epoch in range(2):
        batches = found.batches(np.random.default_rng(epoch))
        (window,) = found.windows(epoch, batches)
        assert window.data.shape == (400, 33, 33, 1)
        assert window.batches.shape == (25, 16)
    assert len(read) == 2  # data and label


def test_each_epoch_has_few_pairs_of_other_phases(config):
    found = load(dataclasses.replace(config, epoch=4))
    epochs = [next(found.windows(epoch, found.batches(None))) for epoch in range(4)]
    data, label = utils.read_data("checkpoint/train.h5")
    np.testing.assert_array_equal(epochs[0].data, data)
    for epoch in epochs:
        np.testing.assert_array_equal(epoch.label, label)
    pictures = [read_image(path) for path in utils.prepare_data("Train")]
    known = [
        [utils.cut_pairs(image, config, phase)[0] for phase in itertools.product(range(3), repeat=2)]
        for image in pictures
    ]
    drawn = [
        [np.array_equal(epoch.data[80 * number :][:80], data) for data in known[number]].index(True)
        for epoch in epochs[1:]
        for number in range(5)
    ]
    assert len(set(drawn)) >= 5  # of nine, in fifteen draws


def test_phases_do_not_depend_on_where_a_run_began(config):
    config = dataclasses.replace(config, epoch=4)
    first, again = load(config), load(config)
    data = [next(first.windows(epoch, first.batches(None))).data for epoch in range(4)]
    np.testing.assert_array_equal(next(again.windows(2, again.batches(None))).data, data[2])
    np.testing.assert_array_equal(next(again.windows(3, again.batches(None))).data, data[3])
    other = load(dataclasses.replace(config, seed=1))
    assert not np.array_equal(next(other.windows(2, other.batches(None))).data, data[2])


def test_one_epoch_is_made_ahead(config, monkeypatch):
    made, enough, cut_pairs = [], threading.Semaphore(0), utils.cut_pairs

    def counted(*arguments):
        made.append(arguments)
        enough.release()
        return cut_pairs(*arguments)

    found = load(dataclasses.replace(config, epoch=9))
    monkeypatch.setattr(utils, "cut_pairs", counted)
    next(found.windows(0, found.batches(None)))
    for _ in range(5):  # pictures
        assert enough.acquire(timeout=10)
    assert len(made) == 5
    next(found.windows(1, found.batches(None)))
    for _ in range(5):
        assert enough.acquire(timeout=10)
    assert len(made) == 10


@pytest.mark.parametrize("sides", [(60, 87), (20, 20)])
def test_a_picture_that_changes_on_the_way_is_named(config, make_picture, sides):
    found = load(config)
    make_picture("Train/3.png", *sides)
    next(found.windows(0, found.batches(None)))
    with pytest.raises(RunError, match=r"3\.png: it is of another size than when training began; begin anew"):
        next(found.windows(1, found.batches(None)))


@pytest.mark.usefixtures("larger_than_memory")
@pytest.mark.parametrize("begin", [0, 2, 5, 24])
def test_many_pairs_are_read_in_windows_in_the_same_order(config, begin):
    found = load(config)
    batches = found.batches(np.random.default_rng(0))
    assert batches.shape == (25, 16)
    assert len(np.unique(batches)) == 400
    data, label, windows = seen(found, batches, begin)
    all_data, all_label = utils.read_data("checkpoint/train.h5")
    np.testing.assert_array_equal(data, all_data[batches[begin:].ravel()])
    np.testing.assert_array_equal(label, all_label[batches[begin:].ravel()])
    assert max(len(window.data) for window in windows) == 2 * 16 or begin == 24
    assert sum(len(window.batches) for window in windows) == 25 - begin


@pytest.mark.usefixtures("larger_than_memory")
def test_a_window_is_of_few_chunks_and_each_epoch_of_other_ones(config):
    found = load(config)
    first, second = (found.batches(np.random.default_rng(epoch)) for epoch in range(2))
    windows = [first.ravel()[begin : begin + 32] for begin in range(0, 400, 32)]
    # A window of half a chunk's pairs meets two, and one more where the last chunk, of 16, comes between.
    assert all(len(np.unique(window // utils.CHUNK)) <= 3 for window in windows)
    assert not all((np.diff(window) > 0).all() for window in windows)
    chunks = [[place // utils.CHUNK for place in batches.ravel()[::32]] for batches in (first, second)]
    assert chunks[0] != chunks[1]


@pytest.mark.usefixtures("larger_than_memory")
def test_without_shuffling_the_files_order_stays(config):
    found = load(config)
    np.testing.assert_array_equal(found.batches(None).ravel(), np.arange(400))


@pytest.mark.usefixtures("larger_than_memory")
def test_the_next_window_is_read_while_one_is_trained_on(config):
    reads = []
    enough = threading.Semaphore(0)

    def place(array):
        reads.append(len(array))
        enough.release()
        return array

    found = load(config, place=place)
    windows = found.windows(0, found.batches(None))
    next(windows)
    for _ in range(4):  # data and label of two windows
        assert enough.acquire(timeout=10)
    windows.close()
    assert len(reads) == 4  # and no more of the 13 windows


@pytest.mark.usefixtures("larger_than_memory")
def test_a_file_damaged_on_the_way_is_named(config):
    found = load(config)
    windows = found.windows(0, found.batches(None))
    next(windows)
    Path("checkpoint/train.h5").write_bytes(b"nothing")
    with pytest.raises(RunError, match=r"train\.h5: cannot be read .*delete it, and it is made again"):
        list(windows)


@pytest.mark.usefixtures("larger_than_memory")
def test_a_file_that_another_run_makes_anew_on_the_way_is_noticed(config):
    windows = load(config)
    windows = windows.windows(0, windows.batches(None))
    next(windows)
    load(dataclasses.replace(config, scale=2))
    with pytest.raises(RunError, match=r"train\.h5: another run has made it anew, .*--checkpoint_dir of its own"):
        list(windows)


def test_what_a_killed_run_left_takes_no_room(config, monkeypatch):
    left = Path("checkpoint/.writing-train.h5")
    left.parent.mkdir()
    left.write_bytes(bytes(1000))
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=0 if left.exists() else 10**9))
    assert load(config).epoch_steps == 25


def test_large_pictures_are_prepared_one_after_the_other(config, monkeypatch):
    used = []
    monkeypatch.setattr(utils, "cores", lambda: 8)
    monkeypatch.setattr(utils, "AT_ONCE", 1)
    monkeypatch.setattr(
        utils, "in_threads", lambda function, items, threads: used.append(threads) or map(function, items)
    )
    load(config)
    monkeypatch.setattr(utils, "AHEAD", 3 * 80 * utils.pair_bytes(config))
    load(dataclasses.replace(config, stride=6, checkpoint_dir="other"))
    monkeypatch.setattr(utils, "AHEAD", 1)
    load(dataclasses.replace(config, stride=6, checkpoint_dir="another"))
    assert used == [8, 3, 1]


def test_parts_of_the_file_are_read_as_the_whole(config):
    load(config)
    data, label = utils.read_data("checkpoint/train.h5")
    places = np.array([0, 3, 63, 64, 200, 399])
    some_data, some_label = utils.read_data("checkpoint/train.h5", places)
    np.testing.assert_array_equal(some_data, data[places])
    np.testing.assert_array_equal(some_label, label[places])


def test_room_on_the_disk_is_checked_first(config, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=3 * 10**5))
    with pytest.raises(
        RunError, match=r"train\.h5: the sub-images of 5 pictures take 0\.00245 GB, but only 0\.0003 GB are free there"
    ):
        load(config)
    assert list(Path("checkpoint").iterdir()) == []


def test_the_estimate_of_room_is_exact(config):
    load(config)
    with h5py.File("checkpoint/train.h5") as file:
        taken = file["data"].size * 4 + file["label"].size * 4
    counted = sum(utils._count_pairs((78, 87), config) for _ in range(5))
    assert counted * utils.pair_bytes(config) == taken

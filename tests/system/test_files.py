import contextlib
import os
import time

import h5py
import numpy as np
import pytest
from conftest import full_disk

from srcnn_tf.errors import RunError
from srcnn_tf.system.files import DeferredErrorFile, atomic_write


def test_a_file_or_folder_appears_only_once_it_is_complete(tmp_path):
    path = tmp_path / "new" / "a.txt"
    with atomic_write(path) as temporary:
        temporary.write_text("text")
        assert os.listdir(path.parent) == [temporary.name]
        assert temporary.name.startswith(".writing-")
        assert temporary.suffix == ".txt"
    assert path.read_text() == "text"
    assert os.listdir(path.parent) == ["a.txt"]
    with atomic_write(tmp_path / "folder") as temporary:
        temporary.mkdir()
        (temporary / "b.txt").write_text("b")
    assert (tmp_path / "folder" / "b.txt").read_text() == "b"
    with atomic_write(tmp_path / "folder") as temporary:  # takes the place of the former one, with all that was in it
        temporary.mkdir()
        (temporary / "c.txt").write_text("c")
    assert os.listdir(tmp_path / "folder") == ["c.txt"]
    assert sorted(os.listdir(tmp_path)) == ["folder", "new"]


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_an_error_leaves_what_was_there_and_nothing_else(tmp_path, kind):
    (tmp_path / "a.txt").write_text("old")

    def fail() -> None:
        with atomic_write(tmp_path / "a.txt") as temporary:
            if kind == "folder":
                temporary.mkdir()
            (temporary / "b" if kind == "folder" else temporary).write_text("new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert os.listdir(tmp_path) == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


def test_a_path_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(RunError, match=r"file/a\.png: cannot be written \(.*\); free space, permit"),
        atomic_write(tmp_path / "file" / "a.png"),
    ):
        pass


def test_hdf5_on_a_full_disk_raises_an_error_that_python_sees_and_else_is_an_ordinary_file(tmp_path):
    for size in (10_000, 10_000_000):
        with full_disk(size), DeferredErrorFile(tmp_path / "a.h5") as disk:
            with h5py.File(disk, "w") as file:
                file["a"] = np.arange(10_000)
            with contextlib.nullcontext() if size > 10_000 else pytest.raises(OSError, match="too large"):
                disk.check()
    with h5py.File(tmp_path / "a.h5") as file:
        np.testing.assert_array_equal(file["a"], np.arange(10_000))


def test_two_writers_of_one_file_do_not_meet(tmp_path):
    path = tmp_path / "a.txt"
    with atomic_write(path) as first, atomic_write(path) as second:
        first.write_text("first")
        second.write_text("second")
        assert not path.exists()
    assert path.read_text() == "first"  # which ended last
    assert os.listdir(tmp_path) == ["a.txt"]


def test_the_longest_name_can_be_written(tmp_path):
    for name in ("a" * 251 + ".png", "b." + "c" * 253):
        with atomic_write(tmp_path / name) as temporary:
            temporary.touch()
        assert (tmp_path / name).exists()


def test_what_killed_processes_left_is_removed_once_it_is_a_day_old(tmp_path):
    for age, name in ((3_600, "young.png"), (90_000, "old.png")):
        (tmp_path / f".writing-{name}").touch()
        os.utime(tmp_path / f".writing-{name}", (time.time() - age,) * 2)
    with atomic_write(tmp_path / "a.png") as temporary:
        temporary.touch()
    assert sorted(os.listdir(tmp_path)) == [".writing-young.png", "a.png"]

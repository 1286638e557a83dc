import dataclasses
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from srcnn_tf.config import Config
from srcnn_tf.errors import RunError
from srcnn_tf.training import checkpoint
from srcnn_tf.training.recipes import RECIPES
from srcnn_tf.training.step import create_state
from srcnn_tf.weights.models import save_model

RUN = Path("run")


def small_state(recipe="modern", seed=0):
    return create_state(Config(recipe=recipe, filters="3,2", seed=seed), RECIPES[recipe])


def save(state, step, folder=RUN):
    state.step.assign(step)
    checkpoint.save_checkpoint(folder, state)
    checkpoint.delete_obsolete(folder)


def values(state):
    """All numbers of the state, by the name of the field."""
    fields = {field.name: getattr(state, field.name) for field in dataclasses.fields(state)}
    return {
        name: [np.array(variable) for variable in getattr(field, "variables", [field])]
        for name, field in fields.items()
    }


@pytest.mark.parametrize("recipe", ["modern", "reference", "paper"])
def test_every_field_of_the_state_is_saved_and_restored(recipe):
    state, other = small_state(recipe), small_state(recipe, seed=1)
    rng = np.random.default_rng(0)
    for field in dataclasses.fields(state):
        for variable in getattr(getattr(state, field.name), "variables", [getattr(state, field.name)]):
            variable.assign(rng.integers(1, 10**6, variable.shape))
    expected = values(state)
    checkpoint.save_checkpoint(RUN, state)
    for name, arrays in values(other).items():
        for before, array in zip(arrays, expected[name], strict=True):
            assert not np.array_equal(before, array)
    checkpoint.restore_checkpoint(RUN, other)
    for name, arrays in values(other).items():
        assert arrays or name == "overparameterization"  # other recipes train the model's own variables
        for array, restored in zip(expected[name], arrays, strict=True):
            np.testing.assert_array_equal(restored, array)


@pytest.mark.parametrize("folder", ["run", "a [b]* c"])
def test_the_newest_checkpoints_are_kept_in_a_folder_of_any_name(folder):
    state, folder = small_state(), Path(folder)
    assert checkpoint.latest_checkpoint(folder) is None
    for step in range(500, 3000, 500):
        save(state, step, folder)
    expected = {f"SRCNN.model-{step}.index" for step in (1500, 2000, 2500)}
    assert {path.name for path in folder.iterdir() if path.suffix == ".index"} == expected
    assert len(list(folder.iterdir())) == 2 * 3 + 1
    assert checkpoint.latest_checkpoint(folder) == folder / "SRCNN.model-2500"
    if folder == RUN:  # TensorFlow takes the name of a folder for a pattern
        assert Path(tf.train.latest_checkpoint("run")) == Path("run/SRCNN.model-2500")
    save(state, 3000, folder)
    assert not (folder / "SRCNN.model-1500.index").exists()


@pytest.mark.parametrize("damage", ["data", "index"])
def test_damaged_checkpoint_says_what_to_delete_and_the_one_before_is_used(damage):
    state = small_state()
    for step in (500, 1000):
        save(state, step)
    (path,) = RUN.glob(f"SRCNN.model-1000.{damage}*")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(RunError, match=r"Delete run/SRCNN\.model-1000\.\* .* resumes from SRCNN\.model-500"):
        checkpoint.restore_checkpoint(RUN, small_state())
    for file in RUN.glob("SRCNN.model-1000.*"):
        file.unlink()
    checkpoint.restore_checkpoint(RUN, state)
    assert int(state.step) == 500
    # A checkpoint that is killed while it is written is none.
    Path("run/SRCNN.model-1000.data-00000-of-00001").write_bytes(b"killed")
    assert checkpoint.latest_checkpoint(RUN) == Path("run/SRCNN.model-500")
    with pytest.raises(
        RunError, match=r"SRCNN\.model-500: .*of another version of this program.* the run then restarts"
    ):
        checkpoint.restore_checkpoint(RUN, small_state("paper"))


def test_what_a_killed_process_left_is_deleted():
    Path("run/SRCNN.model-500_temp").mkdir(parents=True)
    Path("run/SRCNN.model-500_temp/part-00000").touch()
    save(small_state(), 1000)
    assert not Path("run/SRCNN.model-500_temp").exists()


def test_the_first_checkpoint_of_a_new_run_replaces_all_of_a_former_one_but_files_of_others():
    state = small_state()
    for step in (500, 1000, 1500):
        save(state, step)
    save_model(state.model, Config().network, RUN)
    Path("run/notes.txt").touch()
    state.step.assign(300)
    checkpoint.replace_former_run(RUN, state, {"seed": 7})
    left = {path.name for path in RUN.iterdir()}
    checkpoints = {"SRCNN.model-300.index", "SRCNN.model-300.data-00000-of-00001"}
    assert left == {"checkpoint", "config.json", "notes.txt", *checkpoints}
    assert json.loads(Path("run/config.json").read_text()) == {"seed": 7, "step": 0}
    assert Path(tf.train.latest_checkpoint("run")) == Path("run/SRCNN.model-300")


class KilledError(BaseException):
    """Stands for the end of the process."""


def calls_of_files(counted, kill_at=None):
    """Patches for whatever changes the folder: they count the calls, and end the process instead of one of them."""

    def patched(function):
        def call(*arguments, **options):
            if len(counted) == kill_at:
                raise KilledError
            counted.append(function.__name__)
            return function(*arguments, **options)

        return call

    return [
        (tf.train.Checkpoint, "write", patched(tf.train.Checkpoint.write)),
        *((os, name, patched(getattr(os, name))) for name in ("replace", "rename", "unlink")),
        *((Path, name, patched(getattr(Path, name))) for name in ("unlink", "rename")),
    ]


@pytest.mark.parametrize("former_step", [20, 1500])
def test_a_kill_at_any_point_leaves_the_former_run_or_the_new_one(former_step, monkeypatch):
    """Of as many steps as the first checkpoint of the new run, and of more."""
    states = {seed: small_state("reference", seed) for seed in (0, 7)}
    restored, seen, kill_at, is_complete = small_state("reference", 1), set(), 0, False
    states[0].step.assign(former_step)
    states[7].step.assign(20)
    checkpoint.replace_former_run(Path("former"), states[0], {"seed": 0, "steps": former_step})
    save_model(states[0].model, Config(filters="3,2").network, Path("former"))
    while not is_complete:
        shutil.rmtree(RUN, ignore_errors=True)
        shutil.copytree("former", RUN)
        with monkeypatch.context() as patches:
            for owner, name, function in calls_of_files([], kill_at):
                patches.setattr(owner, name, function)
            try:
                checkpoint.replace_former_run(RUN, states[7], {"seed": 7, "steps": 20})
                is_complete = True
            except KilledError:
                kill_at += 1
        checkpoint.finish_replacement(RUN)
        record = json.loads(Path("run/config.json").read_text())
        checkpoint.restore_checkpoint(RUN, restored)
        assert int(restored.step) == record["steps"]
        for value, expected in zip(
            restored.model.get_weights(), states[record["seed"]].model.get_weights(), strict=True
        ):
            np.testing.assert_array_equal(value, expected)
        seen.add(record["seed"])
        assert not list(RUN.glob(".new-*"))
        assert Path("run/SRCNN.weights.h5").exists() == (record["seed"] == 0)
    assert seen == {0, 7}
    assert kill_at > 8


def test_record_is_read_as_written():
    config = Config(seed=3, filters="3,2")
    record = {"config": dataclasses.asdict(config), "recipe": {}, "data": {"sha256": "0", "images": 1}, "step": 7}
    checkpoint.write_record(RUN, record)
    assert checkpoint.read_record(RUN) == record | {"config": config}


@pytest.mark.parametrize(
    "content",
    [
        None,
        "",
        "{}",
        "[1]",
        '{"config": {"precision": "of another version"}, "data": {"sha256": "", "images": 1}, "step": 1}',
        '{"config": {}, "recipe": {}, "data": {"sha256": "", "files": 1}, "step": 1}',
        '{"config": {}, "data": {"sha256": "", "images": 1}, "step": 1}',
    ],
)
def test_damaged_record_is_named(content):
    RUN.mkdir()
    if content is not None:
        Path("run/config.json").write_text(content)
    with pytest.raises(RunError, match=r"run/config\.json: cannot be read .*--resume=False"):
        checkpoint.read_record(RUN)

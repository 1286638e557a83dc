import dataclasses
import math
import shlex

import pytest

from srcnn_tf.config import Config
from srcnn_tf.errors import UsageError
from srcnn_tf.training.recipes import RECIPES


def test_defaults_are_the_references():
    config = Config()
    assert (config.batch_size, config.image_size, config.label_size, config.stride) == (128, 33, 21, 14)
    assert (config.scale, config.c_dim, config.checkpoint_dir, config.sample_dir) == (3, 1, "checkpoint", "sample")
    reference = Config(recipe="reference")
    assert (reference.epoch, reference.learning_rate, reference.validation_split) == (15000, 1e-4, 0)


@pytest.mark.parametrize("recipe", RECIPES)
def test_explicit_values_win_over_the_recipe(recipe):
    config = Config(recipe=recipe, epoch=7, learning_rate=0.5, validation_split=0.25)
    assert (config.epoch, config.learning_rate, config.validation_split) == (7, 0.5, 0.25)


@pytest.mark.parametrize(
    ("architecture", "border", "label_size"),
    [("9-1-5", 12, 21), ("9-3-5", 14, 19), ("9-5-5", 16, 17), ("11-1-7", 16, 17)],
)
def test_border_label_size_and_the_papers_rate_follow_the_architecture(architecture, border, label_size):
    config = Config(recipe="paper", architecture=architecture)
    assert (config.network.border, config.label_size) == (border, label_size)
    # Caffe's EuclideanLoss is half the sum: the mean's rate is 0.02205 for 21 x 21 pixels, another for others.
    assert config.learning_rate == pytest.approx(1e-4 * label_size**2 / 2)
    assert Config(recipe="paper", c_dim=3).learning_rate == pytest.approx(3 * 0.02205)
    assert "learning_rate" not in config.command


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, "srcnn_21_x3_scipy"),
        ({"scale": 2, "image_size": 45}, "srcnn_33_x2_scipy"),
        ({"architecture": "9-5-5", "c_dim": 3}, "srcnn_17_x3_scipy_9-5-5_ycbcr"),
        ({"c_dim": 3, "color_space": "rgb"}, "srcnn_21_x3_scipy_rgb"),
    ],
)
def test_run_name(changes, name):
    assert Config(**changes).run_name == name


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epoch": 0}, "--epoch=0: expected 1 or more"),
        ({"batch_size": 0}, "--batch_size=0"),
        ({"stride": -1}, "--stride=-1"),
        ({"scale": 1}, "--scale=1: expected 2 or more"),
        ({"scale": 2.5}, "--scale=2.5: expected 2 or more, a whole number; others are for --input"),
        ({"scale": 2.5, "is_train": False}, "--scale=2.5: expected 2 or more, a whole number"),
        ({"scale": 2.5, "export": "a"}, "--scale=2.5: expected 2 or more, a whole number; others are for --input"),
        ({"scale": 1.0, "input": "a.png"}, "--scale=1.0: expected a number above 1, up to 16"),
        ({"scale": 16.5, "input": "a.png"}, "--scale=16.5: expected a number above 1, up to 16"),
        ({"scale": math.nan, "input": "a.png"}, "--scale=nan: expected a number"),
        ({"width": 100}, "--width=100 is for upscaling"),
        ({"height": 0, "input": "a.png"}, "--height=0: expected 1 or more"),
        ({"self_ensemble": True}, "--self_ensemble is for testing and upscaling"),
        ({"page": "linked"}, "--page is for testing and upscaling"),
        ({"self_ensemble": True, "export": "models"}, "--self_ensemble is for testing and upscaling"),
        ({"seed": -1}, "--seed=-1"),
        ({"seed": 2**31}, "--seed=2147483648"),
        ({"c_dim": 2}, "--c_dim=2: expected one of 1, 3"),
        ({"c_dim": 3, "color_space": "lab"}, "--color_space=lab: expected one of ycbcr, rgb"),
        ({"color_space": "rgb"}, "--color_space=rgb needs --c_dim=3"),
        ({"learning_rate": 0.0}, "--learning_rate=0.0"),
        ({"learning_rate": float("nan")}, "--learning_rate=nan"),
        ({"validation_split": 1.0}, "--validation_split=1.0"),
        ({"image_size": 12}, "take 12 pixels, expected 13 or more"),
        ({"label_size": 20}, "of a 33-pixel patch has 21 pixels with 9-1-5; give --label_size=21 or leave it out."),
        ({"architecture": "9-2-5"}, "three odd filter sizes"),
        ({"architecture": "09-1-5"}, "three odd filter sizes"),
        ({"filters": "64"}, "expected two counts"),
        ({"filters": "64,0"}, "expected two counts"),
        ({"recipe": "best"}, "--recipe=best: expected one of modern, reference"),
        ({"precision": "half"}, "--precision=half: expected one of auto, float32, bfloat16"),
        ({"degradation": "blur"}, "--degradation=blur: expected one of scipy"),
        ({"degradation": "auto"}, "--degradation=auto is to upscale with shipped weights: name one of scipy, matlab"),
        ({"degradation": "auto", "input": "a.jpg", "weights": "w.h5"}, "--degradation=auto is to upscale with shipped"),
        ({"degradation": "auto", "input": "a.jpg", "c_dim": 3}, "--degradation=auto is to upscale with shipped"),
        ({"jpeg_quality": "0"}, "--jpeg_quality=0: expected 'none' or a number from 1 to 100"),
        ({"jpeg_quality": "101"}, "--jpeg_quality=101: expected 'none' or a number"),
        ({"image_index": "-1"}, "--image_index=-1: expected 'all' or a number"),
        ({"image_index": "third"}, "--image_index=third"),
        ({"quality": 101}, "--quality=101: expected 1 to 100."),
        ({"max_megapixels": 0.0}, "--max_megapixels=0.0: expected a number above 0"),
        ({"input": ""}, "--input is empty"),
        ({"max_megapixels": float("inf")}, "--max_megapixels=inf: expected a number above 0"),
        ({"train_dir": ""}, "--train_dir is empty"),
        ({"weights": ""}, "--weights is empty"),
        ({"fetch": ""}, "--fetch=: there is no set ''; expected some of T91, Set5, Set14"),
        ({"fetch": "T91, Set5"}, "' Set5'; expected some of T91, Set5, Set14, separated by commas alone"),
        ({"fetch": "../T91"}, "there is no set '../T91'"),
    ],
)
def test_invalid_values_are_usage_errors(changes, message):
    with pytest.raises(UsageError) as refused:
        Config(**changes)
    assert message in str(refused.value)


def test_command_gives_the_same_configuration():
    config = Config(recipe="reference", image_size=45, scale=2, architecture="9-5-5", train_dir="my images", epoch=3)
    words = shlex.split(config.command)
    assert words[:3] == ["python", "main.py", "--is_train=True"]
    flags = "--is_train=True --recipe=reference --architecture=9-5-5 --image_size=45 --epoch=3 --scale=2"
    assert sorted(words[2:]) == sorted([*flags.split(), "--train_dir=my images"])
    assert "resume" not in Config(resume=False).command  # never discards a run


def test_fetch_does_not_identify_a_run():
    config = Config(fetch="T91,Set5,T91")
    assert config.sets == ("T91", "Set5")
    assert config.identity == Config().identity
    assert config.command == Config().command


def test_identity_leaves_out_how_long_and_where():
    # In this order they are in config.json, and in the message that shows how two runs differ.
    names = "recipe learning_rate validation_split batch_size image_size label_size stride scale c_dim color_space"
    names += " architecture filters degradation value_range weights seed"
    assert list(Config().identity) == names.split()
    config = Config()
    same = dataclasses.replace(config, epoch=99, resume=False, precision="float32", sample_dir="a", log_dir="b")
    assert same.identity == config.identity
    assert dataclasses.replace(config, seed=1).identity != config.identity


def test_the_home_folder_is_found_in_every_path(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("USERPROFILE", "/home/me")
    config = Config(
        train_dir="~/a", test_dir="~/a", checkpoint_dir="~/a", sample_dir="~/a", log_dir="~/a", weights="~/a"
    )
    paths = [
        config.train_dir,
        config.test_dir,
        config.checkpoint_dir,
        config.sample_dir,
        config.log_dir,
        config.weights,
    ]
    assert paths == ["/home/me/a"] * 6
    config = Config(input=("~/x", "~/z"), output="~/y")
    assert (config.input, config.output) == (("/home/me/x", "/home/me/z"), "/home/me/y")

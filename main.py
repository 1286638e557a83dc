"""Trains and tests SRCNN, the super-resolution network of Dong et al.

python main.py --is_train=True                            train on the pictures below Train/
python main.py --is_train=False --image_index=all         test every picture below Test/
python main.py --input=photo.jpg --scale=3                enlarge a picture, or a folder of them
python main.py --fetch=T91,Set5,Set14                     download the paper's pictures into both
tensorboard --logdir=logs                                 watch
"""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
from pathlib import Path

from absl import app, flags

from srcnn_tf.config import COLOR_SPACES, DEGRADATIONS, PRECISIONS, RECIPES, SETS, Config
from srcnn_tf.errors import RunError, StoppedError, UsageError

flags.DEFINE_boolean("is_train", Config.is_train, "Train; False to test.")
flags.DEFINE_enum(
    "recipe", Config.recipe, list(RECIPES), "How to train: the best in minutes, as tegg89, or as the paper."
)
flags.DEFINE_integer("epoch", Config.epoch, "Times to go over the pictures. Default: the recipe's.")
flags.DEFINE_float("learning_rate", Config.learning_rate, "Rate, the highest one of a schedule. Default: the recipe's.")
flags.DEFINE_float(
    "validation_split",
    Config.validation_split,
    "Part of the training pictures to measure on instead, if there are 20 or more. Default: the recipe's.",
)
flags.DEFINE_integer("batch_size", Config.batch_size, "Sub-images in a step.")
flags.DEFINE_integer("image_size", Config.image_size, "Side of a sub-image, in pixels.")
flags.DEFINE_integer("label_size", Config.label_size, "Side of its label. Default: what the layers leave, 21 of 33.")
flags.DEFINE_integer("stride", Config.stride, "Pixels from one training sub-image to the next.")
flags.DEFINE_integer("scale", Config.scale, "How many times smaller the picture was, or is to be made larger.")
flags.DEFINE_integer("c_dim", Config.c_dim, "Channels: 1 for luma, 3 for colour.")
flags.DEFINE_enum("color_space", Config.color_space, list(COLOR_SPACES), "What the channels are, with --c_dim=3.")
flags.DEFINE_string("architecture", Config.architecture, "Sides of the filters of the three layers, f1-f2-f3.")
flags.DEFINE_string("filters", Config.filters, "Filters in the first two layers, n1,n2.")
flags.DEFINE_enum(
    "degradation",
    Config.degradation,
    list(DEGRADATIONS),
    "How pictures are made worse, to be restored. Default: scipy to train and test, matlab to enlarge.",
)
flags.DEFINE_string("image_index", Config.image_index, "Test picture, by its place in the list sorted by path, or all.")
flags.DEFINE_string("train_dir", Config.train_dir, "Folder of training pictures, searched with its subfolders.")
flags.DEFINE_string("test_dir", Config.test_dir, "Folder of test pictures, likewise.")
flags.DEFINE_string("checkpoint_dir", Config.checkpoint_dir, "Folder of training data, checkpoints and weights.")
flags.DEFINE_string(
    "sample_dir", Config.sample_dir, "Folder of a test's pictures and scores, and of enlarged pictures."
)
# absl.logging has a flag of this name, for log files that nothing here writes.
flags.DEFINE_string("log_dir", Config.log_dir, "Folder of TensorBoard's logs.", allow_override=True)
flags.DEFINE_string(
    "weights", Config.weights, "Weights to start or test from: a file, a run's folder, the reference's checkpoint."
)
flags.DEFINE_integer("seed", Config.seed, "Of random weights, shuffling, flips and phases.")
flags.DEFINE_enum(
    "precision",
    Config.precision,
    list(PRECISIONS),
    "Of the convolutions in training and enlarging; auto: by what the processor has.",
)
flags.DEFINE_boolean("resume", Config.resume, "Go on with a run that was stopped; False to begin anew in its place.")
flags.DEFINE_string(
    "fetch", Config.fetch, f"Download the paper's pictures, and do nothing else: some of {','.join(SETS)}."
)
flags.DEFINE_string("input", Config.input, "Picture to enlarge, or a folder of them, and do nothing else.")
flags.DEFINE_string("output", Config.output, "What it becomes, or the folder for that. Default: sample/enlarged.")
flags.DEFINE_boolean("overwrite", Config.overwrite, "Enlarge again what is in the output already.")
flags.DEFINE_integer("quality", Config.quality, "Of JPEG and WebP that is written, 1 to 100.")
flags.DEFINE_float("max_megapixels", Config.max_megapixels, "Largest enlarged picture, in millions of pixels.")
flags.DEFINE_integer(
    "tile_size", Config.tile_size, "Side of what is restored at once, in pixels; no result depends on it."
)


def main(config: Config) -> int:
    """Does what the configuration says; what can go wrong for a user becomes one line and an exit status."""
    # A file's name may hold what the terminal cannot show.
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that nothing half-written is left
    try:
        _dispatch(config)
    except (UsageError, RunError) as error:
        return _complain(error)
    except KeyboardInterrupt:
        return _complain(StoppedError("Interrupted."))
    except MemoryError as error:
        return _complain(RunError(f"There is not enough memory ({error}): give smaller or fewer pictures."))
    except BrokenPipeError:
        return _reader_left()
    except OSError as error:
        return _complain(RunError(f"{error.filename or 'A file'}: {error.strerror or error}."))
    return 0


def _dispatch(config: Config) -> None:
    if config.fetch is not None:
        from srcnn_tf.datasets.paper import fetch

        fetch(config)
        return
    if config.input is not None and not Path(config.input).exists():
        raise RunError(f"--input={config.input}: there is no such file or folder.")
    # TensorFlow takes seconds to load: not for --help, nor for a wrong command line.
    from srcnn_tf.devices import load_tensorflow

    print(f"Computing on: {load_tensorflow(config.is_train and config.input is None)}", flush=True)
    if config.input is not None:
        from srcnn_tf.inference.upscale import enlarge

        enlarge(config)
    elif config.is_train:
        from srcnn_tf.training.train import train

        train(config)
    else:
        from srcnn_tf.inference.evaluate import evaluate

        evaluate(config)


def _complain(error: UsageError | RunError) -> int:
    print(" ".join(str(error).split()), file=sys.stderr)
    return error.exit_status


def _reader_left() -> int:
    """What is printed had a reader, such as `head`, that has seen enough; Python must not complain of it at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1


def parse(argv: list[str]) -> Config:
    """Turns the command line into a configuration; ends the program where it is wrong, or asks for help."""
    try:
        leftover = flags.FLAGS(_join_booleans(argv))[1:]
        if leftover:
            raise UsageError(f"Unexpected word {leftover[0]!r}: every value belongs to a flag, as in --epoch=10.")
        modes = [name for name in ("fetch", "input", "is_train") if flags.FLAGS[name].present]
        if len(modes) > 1:
            raise UsageError(f"{' and '.join(f'--{name}' for name in modes)} exclude each other: give one of them.")
        return Config(**{field.name: flags.FLAGS[field.name].value for field in dataclasses.fields(Config)})
    except (flags.Error, UsageError) as error:
        sys.exit(_complain(UsageError(error)))
    except SystemExit:  # --help, for which absl's own status is 1
        sys.exit(0)
    except BrokenPipeError:  # --help | head
        _reader_left()
        sys.exit(0)


def _join_booleans(argv: list[str]) -> list[str]:
    """Makes `--is_train False`, the reference's own command, mean `--is_train=False`; absl reads it as True."""
    booleans = {dashes + name for name in flags.FLAGS if flags.FLAGS[name].boolean for dashes in ("-", "--")}
    joined: list[str] = []
    for word in argv:
        if joined and joined[-1] in booleans and word.lower() in {"true", "false", "t", "f", "1", "0"}:
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


if __name__ == "__main__":
    app.run(main, flags_parser=parse)

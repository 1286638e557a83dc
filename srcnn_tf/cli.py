"""The command line: flags -> `Config` -> train | evaluate | upscale | export | fetch; exit status."""

from __future__ import annotations

import _thread
import dataclasses
import errno
import glob
import io
import os
import re
import signal
import sys
import threading
import typing
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from absl import flags

import srcnn_tf
from srcnn_tf.config import MODES, Config
from srcnn_tf.errors import RunError, StoppedError, UsageError, report_fault
from srcnn_tf.spec import JPEG_QUALITIES

USAGE = """Trains and tests SRCNN, the super-resolution network of Dong et al., and upscales images with it.

python main.py --is_train=True                            train on the images below Train/
python main.py --is_train=False --image_index=all         test every image below Test/
python main.py --input=photo.jpg --scale=3                upscale images, videos, and folders of them
python main.py --fetch=T91,Set5,Set14                     download the paper's images into both folders
python main.py --export=models                            write the network for other programs
tensorboard --logdir=logs                                 watch the training

python -m srcnn_tf, and srcnn_tf where it is installed, run the same program.
"""


def run(argv: Sequence[str] | None = None) -> int:
    """Runs the program, and reports what goes wrong in one line.

    Args:
        argv: the command line, which begins with the program's name. Default: that of the process.

    Returns:
        The exit status: 0, or that of the error (see `errors`).
    """
    if sys.stdout is None or sys.stderr is None:  # closed, as services do
        nowhere = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115  # to the end of the process
        sys.stdout, sys.stderr = sys.stdout or nowhere, sys.stderr or nowhere
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # file names may hold what the terminal cannot show
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that no partial file is left
    sys.unraisablehook = _repeat_interrupt
    config = None
    error: UsageError | RunError
    try:
        config = parse(sys.argv if argv is None else argv)
        if config is not None:
            dispatch(config)
        sys.stdout.flush()
        return 0
    except (UsageError, RunError) as caught:
        error = caught
    except KeyboardInterrupt:
        error = StoppedError("Interrupted.")
    except MemoryError as caught:
        error = RunError(f"There is not enough memory ({caught}): give smaller or fewer images.")
    except OSError as caught:
        # The reader of the output, such as `head`, has closed it, which Windows says otherwise; Python must not fail to
        # flush it on exit.
        if isinstance(caught, BrokenPipeError) or (os.name == "nt" and caught.errno == errno.EINVAL):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0 if config is None else 1
        error = RunError(f"{caught.filename or 'A file'}: {caught.strerror or caught}.")
    except Exception as caught:
        error = report_fault(caught)
    print(" ".join(str(error).split()), file=sys.stderr)
    return error.exit_status


def _repeat_interrupt(unraisable: Any) -> None:
    """Repeats a Ctrl-C that came while an object was finalized: Python ignores errors there, and would go on."""
    if issubclass(unraisable.exc_type, KeyboardInterrupt):
        # Later, outside of it. On Windows, os.kill would end the process at once.
        interrupt = _thread.interrupt_main if os.name == "nt" else partial(os.kill, os.getpid(), signal.SIGTERM)
        threading.Timer(0.1, interrupt).start()
    else:
        sys.__unraisablehook__(unraisable)


def parse(argv: Sequence[str]) -> Config | None:
    """Turns the command line into a `Config`.

    Returns:
        None after `--help` and `--version`, which are printed.

    Raises:
        UsageError: a flag is unknown or does nothing, its value is invalid, or a word is neither a value nor a file.
    """
    values = define_flags()
    values.set_gnu_getopt(True)  # files may stand before, between and after flags
    try:
        words = _join_booleans(argv, values)
        # The flags of a file come first, so that those beside it win.
        words[1:] = sorted(words[1:], key=lambda word: not re.match("--?flagfile=", word))
        files = values(words)[1:]
    except flags.Error as error:
        raise UsageError(error) from error
    if values["help"].value:
        print(USAGE + values.get_help())
        return None
    if values["version"].value:
        print(f"srcnn_tf {srcnn_tf.__version__}")
        return None
    modes = [f"--{name}" for name in ("export", "fetch", "input", "is_train") if values[name].present]
    for word in files:
        if modes not in ([], ["--input"]) or not (os.path.lexists(word) or glob.glob(word, recursive=True)):
            raise UsageError(
                f"Unexpected word {word!r}: it is no file to upscale, and every other value belongs to a flag, as in "
                "--epoch=10."
            )
    if len(modes) > 1:
        raise UsageError(f"{' and '.join(modes)} exclude each other: give one of them.")
    sizes = [f"--{name}" for name in ("width", "height") if values[name].present]
    if sizes and values["scale"].present:
        raise UsageError(f"--scale and {' and '.join(sizes)} exclude each other: give the factor or the size.")
    given: dict[str, Any] = {field.name: values[field.name].value for field in dataclasses.fields(Config)}
    if files or given["input"] is not None:
        given["input"] = (*(given["input"] or ()), *files)
    config = Config(**given)
    _check_modes(words, config)
    return config


def _check_modes(words: Sequence[str], config: Config) -> None:
    """Raises a UsageError for a flag that does nothing in this mode; a file of flags may be of another one."""
    values = define_flags()
    values.set_gnu_getopt(True)
    values([word for word in words if not re.match("--?flagfile=", word)])
    for field in dataclasses.fields(Config):
        modes = [mode for mode, names in MODES.items() if field.name in names]
        if values[field.name].present and config.mode not in modes:
            raise UsageError(
                f"--{field.name} does nothing in {config.mode}: leave it out; it is for {' and '.join(modes)}."
            )
    if values["jpeg_quality"].present and config.degradation not in JPEG_QUALITIES:
        raise UsageError(f"--jpeg_quality does nothing with --degradation={config.degradation}: leave it out.")


def define_flags() -> flags.FlagValues:
    """Defines `--help`, `--version`, `--flagfile`, and a flag for each field of `Config`; returns their defaults."""
    values = flags.FlagValues()
    flags.DEFINE_boolean("help", False, "Show this help.", short_name="h", flag_values=values)
    flags.DEFINE_boolean("version", False, "Show the version.", flag_values=values)
    flags.DEFINE_string(
        "flagfile",
        "",
        "File of flags, one per line, such as checkpoint/<run>/flags: repeats a run.",
        flag_values=values,
    )
    definitions: dict[Any, Callable[..., Any]]
    definitions = {bool: flags.DEFINE_boolean, int: flags.DEFINE_integer, float: flags.DEFINE_float}
    types = typing.get_type_hints(Config)
    for field in dataclasses.fields(Config):
        arguments = [field.name, field.default, field.metadata["description"]]
        kinds = typing.get_args(types[field.name]) or (types[field.name],)  # of `float | None`, the first
        define = definitions.get(field.metadata["type"] or kinds[0], flags.DEFINE_string)
        if typing.get_origin(kinds[0]) is tuple:
            define = flags.DEFINE_multi_string
        elif define is flags.DEFINE_string and field.metadata["choices"]:
            define = flags.DEFINE_enum
            arguments.insert(2, field.metadata["choices"])
        define(*arguments, flag_values=values)
    return values


def _join_booleans(argv: Sequence[str], values: flags.FlagValues) -> list[str]:
    """Makes `--is_train False`, the reference's own command, mean `--is_train=False`; absl reads it as True.

    `--page` alone means `--page=linked`.
    """
    booleans = {dashes + name for name in values if values[name].boolean for dashes in ("-", "--")}
    joined: list[str] = []
    for word in argv:
        if word in ("-page", "--page"):
            word += "=linked"
        if joined and joined[-1] in booleans and word.lower() in {"true", "false", "t", "f", "1", "0"}:
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


def dispatch(config: Config) -> None:
    """Downloads, upscales, exports, trains or tests, as `config` says; loads TensorFlow only where it is needed."""
    if config.fetch is not None:
        from srcnn_tf.datasets.paper import fetch

        fetch(config)
        return
    if config.input is not None:
        from srcnn_tf.upscaling.image_files import upscale_files

        upscale_files(config)
        return
    from srcnn_tf.system.devices import load_tensorflow, worker_number

    is_training = config.is_train and config.export is None
    number, count = worker_number() if is_training else (0, 1)
    if count > 1:
        print(f"Worker {number} of {count} waits until all are there.", flush=True)
    print(f"Computing on: {load_tensorflow(is_training)}", flush=True)
    if config.export is not None:
        from srcnn_tf.export import export

        export(config)
    elif config.is_train:
        from srcnn_tf.training.train import train

        train(config)
    else:
        from srcnn_tf.testing.evaluate import evaluate

        evaluate(config)

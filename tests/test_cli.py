import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import h5py
import imageio.v3 as iio
import numpy as np
import pytest
from conftest import ROOT, program_environment

import srcnn_tf
from srcnn_tf import cli
from srcnn_tf.config import MODES, Config
from srcnn_tf.errors import UsageError
from srcnn_tf.system.origins import ORIGINS
from srcnn_tf.testing.evaluate import evaluate
from srcnn_tf.testing.report import average_scores

RUN = "checkpoint/srcnn_21_x3_scipy"
# The three ways to start the program; the last one as the installed command does.
ENTRY = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]["srcnn_tf"]
COMMANDS = {
    "main.py": [sys.executable, str(ROOT / "main.py")],
    "python -m": [sys.executable, "-m", "srcnn_tf"],
    "srcnn_tf": [sys.executable, "-c", "import sys; from {0} import {1}; sys.exit({1}())".format(*ENTRY.split(":"))],
}


@pytest.mark.parametrize("name", ["is_train", "resume", "overwrite"])
@pytest.mark.parametrize("value", [False, True])
def test_every_spelling_of_a_boolean_works(name, value):
    spellings = ["--{}", "--{}=True", "--{} TRUE"] if value else ["--{} False", "--{}=False", "--no{}", "-{} false"]
    words = {"overwrite": ["--is_train=False"]}.get(name, [])
    for spelling in [*spellings, f"--{{}} {int(value)}"]:
        config = cli.parse(["main.py", *words, *spelling.format(name).split(), "--stride", "21"])
        assert (getattr(config, name), config.stride) == (value, 21)


def test_the_flags_are_the_fields_with_their_defaults():
    assert cli.parse(["main.py"]) == Config()
    config = cli.parse(["main.py", "--fetch=Set14,T91", "--train_dir", "T"])
    assert config == Config(fetch="Set14,T91", train_dir="T")
    config = cli.parse(["main.py", "--learning_rate=0.5", "--c_dim=3", "--recipe", "paper"])
    assert config == Config(learning_rate=0.5, c_dim=3, recipe="paper")
    assert cli.parse(["main.py", "--input=a.png", "--max_megapixels=3"]) == Config(input="a.png", max_megapixels=3.0)
    flags = cli.define_flags()
    for name in Config.__dataclass_fields__:
        assert len(flags[name].help) > 8


def test_flagfile_repeats_a_run_and_flags_beside_it_win(make_image, run_main):
    make_image("images/a.png", 60, 60)
    flags = ["--train_dir=images", "--recipe=reference", "--filters=4,2", "--batch_size=2", "--epoch=3", "--seed=7"]
    assert cli.run(["main.py", "--is_train=True", *flags, "--resume=False"]) == 0
    name = "srcnn_21_x3_scipy_4-2"
    file = f"--flagfile=checkpoint/{name}/flags"
    assert sorted(Path(file.partition("=")[2]).read_text().splitlines()) == sorted(flags)
    again = run_main("--checkpoint_dir=again", "--log_dir=again/logs", file)
    assert "Done: " in again.stdout
    weights = [Path(folder, name, "SRCNN.weights.h5").read_bytes() for folder in ("checkpoint", "again")]
    assert weights[0] == weights[1]
    assert cli.parse(["main.py", file]) == Config(
        train_dir="images", recipe="reference", filters="4,2", batch_size=2, epoch=3, seed=7
    )
    # Another recipe and architecture have their own defaults, and another mode is chosen by its flag alone.
    other = cli.parse(["main.py", "--recipe=paper", file, "--architecture=9-5-5"])
    assert (other.recipe, other.architecture, other.label_size, other.seed) == ("paper", "9-5-5", 17, 7)
    assert other.learning_rate == Config(recipe="paper", architecture="9-5-5").learning_rate
    assert cli.parse(["main.py", file, "--input=a.jpg"]).degradation == "auto"
    assert not cli.parse(["main.py", file, "--is_train", "False"]).is_train


def test_a_fault_of_the_program_is_one_line_and_a_file_with_the_traceback(monkeypatch, capsys):
    def fail(config):
        raise KeyError("a bug")

    monkeypatch.setattr(cli, "dispatch", fail)
    monkeypatch.setattr("tempfile.tempdir", os.getcwd())
    assert cli.run(["main.py"]) == 1
    message = capsys.readouterr().err
    assert message.startswith(
        "this is a fault of srcnn_tf (KeyError: 'a bug'); please report it with the traceback in "
    )
    assert message.count("\n") == 1
    (report,) = Path().glob("srcnn_tf-*.txt")
    assert "Python 3." in report.read_text()
    assert report.read_text().endswith("KeyError: 'a bug'\n")


def test_version(capsys):
    assert cli.run(["main.py", "--version"]) == 0
    assert capsys.readouterr().out == f"srcnn_tf {srcnn_tf.__version__}\n"


@pytest.mark.linux
@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_closed_output_is_no_obstacle(closed, make_image):
    make_image("a.png")
    subprocess.run(f"{sys.executable} {ROOT / 'main.py'} --input=a.png {closed}", shell=True, check=True)
    assert Path("sample/enlarged/a_x3.png").is_file()


def test_every_flag_does_something_in_some_mode_and_the_references_commands_work():
    assert set().union(*MODES.values()) == set(Config.__dataclass_fields__)
    reference = "--epoch=9 --batch_size=8 --image_size=33 --label_size=21 --learning_rate=1e-4 --c_dim=1 --scale=3"
    folders = ["--checkpoint_dir=checkpoint", "--sample_dir=sample"]
    assert cli.parse(["main.py", *reference.split(), "--stride=14", *folders]).mode == "training"
    assert cli.parse(["main.py", "--is_train", "False", "--stride", "21", *folders]).mode == "testing"


def test_a_flagfile_that_is_not_there_is_an_error():
    with pytest.raises(UsageError, match=r"nowhere"):
        cli.parse(["main.py", "--flagfile=nowhere"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--epochs=3"], "Unknown command line flag 'epochs'"),
        (["--epoch=three"], "--epoch=three"),
        (["--recipe=best"], "--recipe=best"),
        (["train"], "Unexpected word 'train'"),
        (["--is_train", "False", "no"], "Unexpected word 'no'"),
        (["--is_train", "maybe"], "Unexpected word 'maybe'"),
        (["--label_size=20"], "--label_size=20 does not fit"),
        (["--fetch=T91", "--is_train=True"], "--fetch and --is_train exclude each other"),
        (["--is_train", "False", "--input", "a.png"], "--input and --is_train exclude each other: give one of them"),
        (["--nois_train", "--fetch", "Set5"], "exclude each other: give one of them"),
        (
            ["--input=.", "--scale=2", "--width=9"],
            "--scale and --width exclude each other: give the factor or the size",
        ),
        (["--scale=2.5", "--is_train=False"], "--scale=2.5: expected 2 or more, a whole number; others"),
        (["--input=.", "--fetch=T91"], "--fetch and --input exclude each other"),
        (["--fetch", "T91,", "Set5"], "Unexpected word 'Set5'"),
        (["--input=a.jpg", "--epoch=5"], "--epoch does nothing in upscaling: leave it out; it is for training."),
        (
            ["--is_train=False", "--train_dir=T"],
            "--train_dir does nothing in testing: leave it out; it is for",
        ),
        (["--quality=9"], "--quality does nothing in training: leave it out; it is for upscaling"),
        (
            ["--fetch=T91", "--scale=2"],
            "--scale does nothing in downloading",
        ),
        (["--export=models", "--noresume"], "--resume does nothing in exporting"),
        (["--is_train=False", "--jpeg_quality=9"], "--jpeg_quality does nothing with --degradation=scipy"),
        (["--input=a.png", "absent.png"], "Unexpected word 'absent.png': it is no file to upscale"),
        (["--train_dir=gs://bucket/x"], "--train_dir=gs://bucket/x: expected a path of this machine, found an address"),
        (["--input=s3://bucket/x.png"], "--input=s3://bucket/x.png: expected a path of this machine"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_status_2(words, message, capsys, tmp_path):
    with pytest.raises(UsageError):
        cli.parse(["main.py", *words])
    assert cli.run(["main.py", *words]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert message in output.err
    assert output.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_all_three_commands_run_the_program_and_help_loads_no_tensorflow(command, tmp_path):
    (tmp_path / "tensorflow.py").write_text("raise AssertionError('TensorFlow is loaded')")
    environment = program_environment() | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}

    def run(*words):
        return subprocess.run([*command, *words], cwd=tmp_path, env=environment, capture_output=True, text=True)

    done = run("--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "python main.py --is_train=False --image_index=all" in done.stdout
    for name in Config.__dataclass_fields__:
        assert re.search(rf"--(\[no\])?{name}:", done.stdout)
    done = run("--epoch=0")
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "--epoch=0: expected 1 or more.\n")
    done = run("--input=absent.png")
    assert (done.returncode, done.stderr) == (1, "--input=absent.png: there is no such file or folder.\n")


def test_without_the_packages_one_line_says_how_to_install_them(tmp_path):
    command = [sys.executable, "-S", ROOT / "main.py", "--input=photo.png"]  # -S: without any that are installed
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert re.fullmatch(
        r"No module named '\w+': expected Python 3\.11 .*pip install -r requirements\.txt\n", done.stderr
    )


def test_a_closed_output_is_no_traceback(tmp_path):
    for words, status in ((["--help"], 0), (["--fetch=Set5"], 1)):
        process = start(tmp_path, *words)
        process.stdout.close()
        message = process.stderr.read()
        assert process.wait(timeout=60) == status
        assert "Traceback" not in message
        assert "BrokenPipe" not in message
        process.stderr.close()


def test_training_and_testing_as_the_reference_does(run_main, golden):
    truth = np.load(golden / "reference_training.npz")
    options = ["--epoch=100", "--batch_size=8", "--learning_rate=0.05", f"--train_dir={golden / 'Train'}"]
    start = f"--weights={golden / 'checkpoint' / 'srcnn_21' / 'SRCNN.model-0'}"
    done = run_main("--is_train=True", "--recipe=reference", start, *options)
    lines = re.findall(
        r"^Epoch: \[ *(\d+)\], step: \[(\d+)\], time: \[[\d.]+\], loss: \[([\d.]{10})\]$", done.stdout, re.M
    )
    assert [int(step) for _, step, _ in lines] == truth["step"].tolist()
    np.testing.assert_allclose([float(loss) for _, _, loss in lines], truth["loss"], rtol=1e-4)
    assert "Starting at step 0 of 500" in done.stdout
    assert "Done: 500 steps" in done.stdout
    assert done.stderr == ""
    with h5py.File(f"{RUN}/SRCNN.weights.h5") as file:
        for number, layer in enumerate(("conv2d", "conv2d_1", "conv2d_2"), 1):
            np.testing.assert_allclose(file[f"layers/{layer}/vars/0"], truth[f"final_w{number}"], rtol=0, atol=1e-5)
            np.testing.assert_allclose(file[f"layers/{layer}/vars/1"], truth[f"final_b{number}"], rtol=0, atol=1e-5)
    assert Path(f"{RUN}/SRCNN.model-500.index").is_file()
    done = run_main("--is_train", "False", "--image_index=0", f"--test_dir={golden / 'Test'}")
    assert f"Weights: {RUN}/SRCNN.weights.h5" in done.stdout
    assert "Set5: average" in done.stdout
    assert done.stderr == ""
    assert len(list(Path("sample/Set5").glob("*_comparison.png"))) == 1
    assert len(Path("sample/results.csv").read_text().splitlines()) == 2


def start(tmp_path, *arguments):
    return subprocess.Popen(
        [sys.executable, ROOT / "main.py", *arguments],
        cwd=tmp_path,
        env=program_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(process, text):
    for line in process.stdout:
        if text in line:
            return
    raise AssertionError(process.stderr.read())


@pytest.mark.linux
def test_a_killed_run_loses_only_the_steps_since_its_checkpoint_and_ctrl_c_saves(make_image, tmp_path):
    make_image("Train/a.png", mode="L")
    command = ["--recipe=reference", "--epoch=100000", "--batch_size=1", "--learning_rate=1e-6"]
    with start(tmp_path, *command) as process:
        wait_for(process, "step: [510]")
        process.kill()
        last = max(map(int, re.findall(r"step: \[(\d+)\]", process.stdout.read())), default=510)
    saved = max(int(path.stem.split("-")[1]) for path in Path(RUN).glob("SRCNN.model-*.index"))
    assert last - 510 <= saved <= last + 10
    with start(tmp_path, *command) as process:
        wait_for(process, f"Resuming from step {saved} of 400000")
        wait_for(process, f"step: [{saved + 10}]")
        process.send_signal(signal.SIGINT)
        message = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert int(re.match(r"Stopped by SIGINT; the newest checkpoint is of step (\d+) of 400000\.", message)[1]) > saved
    assert message.count("\n") == 1


@pytest.mark.linux
def test_sigterm_while_upscaling_leaves_whole_images_only(make_image, tmp_path):
    make_image("in/a.png")
    make_image("in/b.png", 2400, 2400)
    with start(tmp_path, "--input=in", "--output=out") as process:
        end = time.monotonic() + 60
        while not Path("out/a_x3.png").exists() and time.monotonic() < end:
            time.sleep(0.01)  # the second one takes seconds
        process.send_signal(signal.SIGTERM)
        message = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert message.splitlines()[-1] == "Interrupted."
    assert "Traceback" not in message
    assert [name for name in os.listdir("out") if name != ORIGINS] == ["a_x3.png"]
    assert iio.imread("out/a_x3.png").shape == (144, 162, 3)


@pytest.mark.linux
def test_ctrl_c_while_an_object_is_finalized_is_not_lost():
    code = """
import sys, time
from srcnn_tf import cli

class Finalized:
    def __del__(self):
        raise KeyboardInterrupt

def dispatch(config):
    Finalized()
    time.sleep(60)

cli.dispatch = dispatch
sys.exit(cli.run(["main.py"]))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, timeout=50)
    assert (done.returncode, done.stderr) == (130, b"Interrupted.\n")


def test_a_fresh_checkout_tests_sample_images_with_shipped_weights(run_main):
    done = run_main("--is_train=False", "--image_index=2")
    assert "sample images of scikit-image go to Test/samples" in done.stdout
    assert "Weights: shipped" in done.stdout
    bicubic, srcnn = map(float, re.search(r"samples/chelsea +([\d.]+) +([\d.]+) ", done.stdout).groups())
    assert srcnn > bicubic + 1
    names = [f"chelsea_{kind}.png" for kind in ("bicubic", "comparison", "original", "srcnn")]
    assert sorted(os.listdir("sample/samples")) == [ORIGINS, *names]


def test_one_epoch_on_t91_beats_the_references_published_weights(run_main, shared):
    run_main(f"--train_dir={shared / 'data' / 'T91'}", "--epoch=1")
    results = evaluate(Config(is_train=False, test_dir=str(shared / "data" / "Set5")))
    assert average_scores(results)["Set5"]["psnr_srcnn"] > 27.956

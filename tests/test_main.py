import os
import re
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import imageio.v3 as iio
import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver
from conftest import ROOT, program_environment

sys.path.insert(0, str(ROOT))
import main  # the program itself, beside the package

RUN = "checkpoint/srcnn_21_x3_scipy"


@pytest.fixture
def parse():
    """Parses a command line in this process, and forgets it."""

    def parse(*arguments):
        with flagsaver.flagsaver():
            flags.FLAGS.unparse_flags()
            return main.parse(["main.py", *arguments])

    yield parse
    flags.FLAGS.unparse_flags()


# --- the command line ---


@pytest.mark.parametrize("name", ["is_train", "resume"])
@pytest.mark.parametrize(
    ("words", "value"),
    [
        (["--{}", "False"], False),
        (["--{}=False"], False),
        (["--no{}"], False),
        (["-{}", "false"], False),
        (["--{}", "0"], False),
        (["--{}"], True),
        (["--{}=True"], True),
        (["--{}", "TRUE"], True),
        ([], True),
    ],
)
def test_every_spelling_of_a_boolean_works(name, words, value, parse):
    words = [word.format(name) for word in words]
    config = parse(*words, "--stride", "21")
    assert getattr(config, name) is value
    assert config.stride == 21


def test_the_references_own_test_command_tests(parse):
    config = parse("--is_train", "False", "--stride", "21")
    assert (config.is_train, config.stride, config.label_size) == (False, 21, 21)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--epochs=3"], "Unknown command line flag 'epochs'"),
        (["--epoch=three"], "--epoch=three"),
        (["--epoch=0"], "--epoch=0: expected 1 or more"),
        (["--recipe=best"], "--recipe=best"),
        (["train"], "Unexpected word 'train'"),
        (["--is_train", "False", "no"], "Unexpected word 'no'"),
        (["--is_train", "maybe"], "Unexpected word 'maybe'"),
        (["--label_size=20"], "--label_size=20 does not fit"),
        (["--image_index=-1"], "--image_index=-1"),
        (["--fetch=T91,Set6"], "--fetch=T91,Set6: there is no set 'Set6'; expected some of T91, Set5, Set14"),
        (["--fetch=T91", "--is_train=True"], "--fetch and --is_train exclude each other"),
        (["--is_train", "False", "--fetch", "Set5"], "exclude each other: give one of them"),
        (["--nois_train", "--fetch", "Set5"], "exclude each other: give one of them"),
        (["--fetch", "T91,", "Set5"], "Unexpected word 'Set5'"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_status_2(words, said, parse, capsys):
    with pytest.raises(SystemExit) as ended:
        parse(*words)
    assert ended.value.code == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert said in output.err
    assert output.err.count("\n") == 1


def test_fetch_decides_the_mode(parse):
    config = parse("--fetch=Set14,T91")
    assert config.sets == ("Set14", "T91")
    assert parse().sets == ()


def test_every_field_is_a_flag_with_its_default_and_a_description(parse):
    parse()
    for name in main.Config.__dataclass_fields__:
        assert flags.FLAGS[name].default == getattr(main.Config, name)
        assert len(flags.FLAGS[name].help) > 8


def test_help_is_status_0_and_loads_no_tensorflow(tmp_path):
    program = (
        "import runpy, sys\n"
        f"sys.argv = ['main.py', '--help']; sys.path.insert(0, {str(ROOT)!r})\n"
        "try:\n"
        f"    runpy.run_path({str(ROOT / 'main.py')!r}, run_name='__main__')\n"
        "except SystemExit as ended:\n"
        "    assert not ended.code, ended.code\n"
        "assert 'tensorflow' not in sys.modules and 'keras' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path)
    for name in main.Config.__dataclass_fields__:
        assert re.search(rf"--(\[no\])?{name}:", done.stdout)
    assert done.stderr == ""


def test_a_wrong_command_line_touches_nothing(run_main, tmp_path):
    done = run_main("--is_train", "False", "--stride", "21", "test", check=False)
    assert done.returncode == 2
    assert "Unexpected word 'test'" in done.stderr
    assert list(tmp_path.iterdir()) == []


# --- from end to end ---


def test_training_as_the_reference_does(run_main, golden):
    truth = np.load(golden / "reference_training.npz")
    done = run_main(
        "--is_train=True",
        "--recipe=reference",
        "--epoch=100",
        "--batch_size=8",
        "--learning_rate=0.05",
        f"--train_dir={golden / 'Train'}",
        f"--weights={golden / 'checkpoint' / 'srcnn_21' / 'SRCNN.model-0'}",
    )
    lines = re.findall(
        r"^Epoch: \[ *(\d+)\], step: \[(\d+)\], time: \[[\d.]+\], loss: \[([\d.]{10})\]$", done.stdout, re.M
    )
    assert [int(step) for _, step, _ in lines] == truth["step"].tolist()
    np.testing.assert_allclose([float(loss) for _, _, loss in lines], truth["loss"], rtol=1e-4)
    assert done.stderr == ""
    with h5py.File(f"{RUN}/SRCNN.weights.h5") as file:
        np.testing.assert_allclose(file["layers/conv2d/vars/0"], truth["final_w1"], atol=1e-5)
    assert Path(f"{RUN}/SRCNN.model-500.index").is_file()


def test_one_step_then_going_on_then_a_test(run_main, make_picture):
    make_picture("Train/a.png")
    make_picture("Test/Set5/b.png", seed=1)
    first = run_main("--is_train=True", "--epoch=1")
    assert "Beginning: step 0 of 1" in first.stdout
    assert "Done: 1 steps" in first.stdout
    more = run_main("--epoch=3")
    assert "Going on after step 1 of 3" in more.stdout
    done = run_main("--is_train", "False", "--image_index=all")
    assert f"Weights: {RUN}/SRCNN.weights.h5" in done.stdout
    assert "Set5: average" in done.stdout
    assert (first.stderr, more.stderr, done.stderr) == ("", "", "")
    assert Path("sample/Set5/b_comparison.png").is_file()
    assert len(Path("sample/results.csv").read_text().splitlines()) == 2


def test_problems_are_status_1_and_one_line(run_main, make_picture):
    make_picture("Test/a.png")
    done = run_main("--is_train=False", "--scale=6", check=False)
    assert done.returncode == 1
    assert re.fullmatch(r"No weights for .*--scale=6.*\n", done.stderr)


def test_a_number_beyond_the_list_is_status_2(run_main, make_picture):
    make_picture("Test/a.png")
    done = run_main("--is_train=False", "--image_index=5", check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("--image_index=5: there are 1 pictures")


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


def test_ctrl_c_saves_and_the_same_command_goes_on(run_main, make_picture, tmp_path):
    make_picture("Train/a.png")
    command = ["--epoch=3000", "--batch_size=1"]
    process = start(tmp_path, *command)
    wait_for(process, "epoch 2/")
    process.send_signal(signal.SIGINT)
    _, complaint = process.communicate(timeout=60)
    assert process.returncode == 130
    step = int(re.match(r"Stopped by SIGINT; the newest checkpoint is of step (\d+) of 12000\.", complaint)[1])
    assert step >= 8
    assert complaint.count("\n") == 1
    again = start(tmp_path, *command)
    wait_for(again, f"Going on after step {step} of 12000")
    again.send_signal(signal.SIGTERM)
    assert "Stopped by SIGTERM" in again.communicate(timeout=60)[1]


def test_sigterm_while_enlarging_leaves_whole_pictures_alone(make_picture, tmp_path):
    make_picture("in/a.png")
    make_picture("in/b.png", 1200, 1200)
    with start(tmp_path, "--input=in", "--output=out") as process:
        end = time.monotonic() + 60
        while not Path("out/a_x3.png").exists() and time.monotonic() < end:
            time.sleep(0.01)  # the second one takes seconds
        process.send_signal(signal.SIGTERM)
        complaint = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert complaint.splitlines()[-1] == "Interrupted."
    assert "Traceback" not in complaint
    assert os.listdir("out") == ["a_x3.png"]
    assert iio.imread("out/a_x3.png").shape == (144, 162, 3)


def test_kill_9_costs_only_the_steps_since_the_last_checkpoint(make_picture, tmp_path):
    make_picture("Train/a.png", mode="L")
    command = ["--recipe=reference", "--epoch=100000", "--batch_size=1", "--learning_rate=1e-6"]
    reached = 0
    for wait in (0.0, 0.13):
        with start(tmp_path, *command) as process:
            wait_for(process, f"Going on after step {reached}" if reached else "Beginning: step 0")
            wait_for(process, f"step: [{reached + 1010}]")
            time.sleep(wait)  # so that it is cut at different places
            process.kill()
            last = max(map(int, re.findall(r"step: \[(\d+)\]", process.stdout.read())), default=reached + 1010)
        saved = max(int(path.stem.split("-")[1]) for path in Path(RUN).glob("SRCNN.model-*.index"))
        assert last - 510 <= saved <= last + 10
        reached = saved


def limit_file_size(size):
    """A disk that is full as soon as a file is larger than `size` bytes."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@pytest.mark.parametrize(
    ("size", "named"),
    [(100_000, "checkpoint/train.h5"), (1_500_000, f"{RUN}/SRCNN.model-1")],
    ids=["data", "checkpoint"],
)
def test_a_full_disk_in_training_is_named_and_nothing_is_half_written(size, named, run_main, make_picture):
    make_picture("Train/a.png", rows=90, cols=90)
    done = run_main("--epoch=1", check=False, preexec_fn=limit_file_size(size))
    assert done.returncode == 1
    assert done.stderr.startswith(f"{named}: cannot be written")
    left = [path for path in Path("checkpoint").rglob("*") if path.is_file()]
    assert {path.name for path in left} <= {"train.h5", "config.json", "checkpoint"}
    assert "Done: 1 steps" in run_main("--epoch=1").stdout


def test_a_log_that_fills_the_disk_costs_the_log_alone(run_main, make_picture):
    make_picture("Train/a.png", rows=300, cols=300)
    command = ["--recipe=reference", "--batch_size=10", "--stride=40"]
    run_main(*command, "--epoch=1")
    done = run_main(*command, "--epoch=15", check=False, preexec_fn=limit_file_size(250_000))
    assert done.returncode == 1
    assert "Done: " in done.stdout
    assert done.stderr.startswith("Problem: logs/srcnn_21_x3_scipy: the log cannot be written")
    assert done.stderr.count("\n") == 2


def test_a_full_disk_in_testing_is_named_and_nothing_is_half_written(run_main, make_picture):
    make_picture("Train/a.png")
    run_main("--epoch=1")
    make_picture("Test/large.png", rows=120, cols=120)
    make_picture("Test/small.png", rows=24, cols=24)
    done = run_main("--is_train=False", check=False, preexec_fn=limit_file_size(16_000))
    assert done.returncode == 1
    assert "Problem: sample/Test/large_" in done.stderr
    assert "cannot be written" in done.stderr
    assert not list(Path("sample").rglob(".*"))
    assert "Test,small" in Path("sample/results.csv").read_text()


def test_a_fresh_checkout_tests_photographs_with_shipped_weights(run_main):
    done = run_main("--is_train=False", "--image_index=2")
    assert "photographs of scikit-image go to Test/samples" in done.stdout
    assert "Weights: shipped" in done.stdout
    bicubic, srcnn = map(float, re.search(r"samples/chelsea +([\d.]+) +([\d.]+) ", done.stdout).groups())
    assert srcnn > bicubic + 1
    assert sorted(os.listdir("sample/samples")) == [
        f"chelsea_{kind}.png" for kind in ("bicubic", "comparison", "srcnn")
    ]


def test_one_epoch_on_t91_beats_the_references_published_weights(run_main, shared):
    run_main(f"--train_dir={shared / 'data' / 'T91'}", "--epoch=1")
    done = run_main("--is_train=False", f"--test_dir={shared / 'data' / 'Set5'}")
    assert float(re.search(r"Set5: average +[\d.]+ +([\d.]+)", done.stdout)[1]) > 27.956

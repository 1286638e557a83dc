"""Interrupted films are resumed, and become what they would have been."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from clips import describe, end, ffmpeg, frames, make, pictures, times, upscale
from conftest import ROOT, full_disk, program_environment

from srcnn_tf.errors import RunError
from srcnn_tf.upscaling.video import segments
from srcnn_tf.upscaling.video import upscale as upscale_module

VARIABLE = f"{pictures(rate=60, seconds=1)} -f lavfi -i sine=d=1 -vf select='lt(t,0.4)+not(mod(n,6))' -fps_mode vfr"
ALL = 30  # frames of it, in three segments


@pytest.fixture(autouse=True)
def segments_of_ten_frames(monkeypatch):
    monkeypatch.setattr(segments, "PIXELS", 0)
    monkeypatch.setattr(segments, "FEWEST_FRAMES", 10)


@pytest.fixture
def counted(monkeypatch):
    """The number of frames that are upscaled; from the limit on, each is an interruption."""

    class Counted:
        frames, limit = 0, 10**9

        def __call__(self, picture):
            if self.frames >= self.limit:
                raise KeyboardInterrupt
            self.frames += 1
            return read_luma(picture)

    read_luma, counter = upscale_module.read_luma, Counted()
    monkeypatch.setattr(upscale_module, "read_luma", counter)
    return counter


def left(folder="."):
    """The files below a folder, without the sources."""
    paths = [path for path in Path(folder).rglob("*") if path.is_file()]
    return sorted(path.name for path in paths if path.name not in ("clip.mkv", "clip.mp4", ".srcnn_tf.jsonl"))


@pytest.mark.parametrize("codec", ["h264", "h265", "av1"])
@pytest.mark.parametrize("target", ["big.mp4", "big.mkv"])
def test_the_result_of_a_resumed_film_is_that_of_an_undisturbed_one(codec, target, counted):
    make(VARIABLE, "-c:v libx264 -c:a aac clip.mp4")
    notes = upscale("clip.mp4", f"whole_{target}", codec=codec)
    assert counted.frames == ALL
    counted.frames, counted.limit = 0, 23
    with pytest.raises(KeyboardInterrupt):
        upscale("clip.mp4", target, codec=codec)
    assert left() == [".lock", "00000.nut", "00001.nut", "record.json", f"whole_{target}"]
    counted.frames, counted.limit = 0, 10**9
    assert upscale("clip.mp4", target, codec=codec) == notes
    assert counted.frames == 10  # of the third segment on
    if target == "big.mp4":
        assert Path(target).read_bytes() == Path(f"whole_{target}").read_bytes()
    else:  # Matroska has a random number
        packets = [ffmpeg(f"-i {name}", "-map 0 -c copy -f framecrc -")[0] for name in (target, f"whole_{target}")]
        assert packets[0] == packets[1] != b""
    assert left() == sorted([target, f"whole_{target}"])
    assert np.allclose(times(target, absolute=True), times("clip.mp4"), atol=0.0006)
    assert end(target) == pytest.approx(end("clip.mp4"), abs=0.03)
    # What is joined can be decoded, each frame once, without a word of the decoder.
    output, printed = ffmpeg("-loglevel warning", f"-i {target}", "-map 0:v -fps_mode passthrough -f framecrc -")
    assert printed == ""
    assert len([line for line in output.decode().splitlines() if line[0] != "#"]) == ALL
    assert frames(target).shape[0] == ALL


def test_other_options_or_a_changed_source_start_anew(counted, capsys):
    make(VARIABLE, "-c:v libx264 clip.mp4")
    for options in ({}, {"quality": 90}, {"codec": "h265"}, {"deinterlace": False}, {"scale": 3}):
        counted.frames, counted.limit = 0, 15
        with pytest.raises(KeyboardInterrupt):
            upscale("clip.mp4", **options)
        assert counted.frames == 15
        said = capsys.readouterr().out
        assert ("what was finished is removed, as flags, weights or the video were others" in said) == bool(options)
        assert re.search(r"big\.mp4: what is finished is kept in \.big-\w{8}\.segments; the same command resumes", said)
    os.utime("clip.mp4", (1, 1))
    counted.frames = 0
    with pytest.raises(KeyboardInterrupt):
        upscale("clip.mp4", scale=3)
    assert counted.frames == 15
    counted.frames, counted.limit = 0, 10**9
    upscale("clip.mp4", scale=3)
    assert counted.frames == ALL - 10
    assert left() == ["big.mp4"]


def test_a_film_that_was_moved_is_resumed(counted):
    make(VARIABLE, "-c:v libx264 clip.mp4")
    counted.limit = 15
    with pytest.raises(KeyboardInterrupt):
        upscale("clip.mp4", "results/big.mp4")
    Path("films").mkdir()
    Path("clip.mp4").rename("films/clip.mp4")
    counted.frames, counted.limit = 0, 10**9
    upscale(Path("films/clip.mp4").absolute(), "results/big.mp4")
    assert counted.frames == ALL - 10


@pytest.mark.linux
def test_a_full_disk_keeps_what_is_finished(counted):
    make(VARIABLE, "-c:v libx264 clip.mp4")
    upscale("clip.mp4", "whole.mp4")
    sizes = Path("whole.mp4").stat().st_size
    with full_disk(1000), pytest.raises(RunError, match=r"cannot be written .*; free space"):
        upscale("clip.mp4")
    assert left() == ["whole.mp4"]
    counted.frames = 0
    with full_disk(sizes - 100), pytest.raises(RunError, match=r"^big\.mp4: cannot be written .*; free space"):
        upscale("clip.mp4")  # the segments fit, the result does not
    assert counted.frames == ALL
    assert "big.mp4" not in left()
    counted.frames = 0
    upscale("clip.mp4")
    assert counted.frames == 0
    assert Path("big.mp4").read_bytes() == Path("whole.mp4").read_bytes()


PROGRAM = """
import sys
from srcnn_tf import cli
from srcnn_tf.upscaling.video import segments
segments.PIXELS, segments.FEWEST_FRAMES = 0, 10
sys.exit(cli.run(["main.py", "--input=clip.mkv", "--output=big.mkv", "--scale=4"]))
"""


def start(**options):
    environment = program_environment() | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, "-c", PROGRAM], env=environment, text=True, **options)


@pytest.mark.linux
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_process_is_resumed(number, tmp_path):
    make(pictures("160x120", seconds=4), "-c:v libx264 clip.mkv")
    process = start(stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while not list(tmp_path.rglob("00001.nut")):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(number)
    output, error = process.communicate(timeout=60)
    assert not Path("big.mkv").exists()
    if number == signal.SIGTERM:  # which is Ctrl-C to the program, and not ignored in a shell's background
        assert process.returncode == 130
        assert error.splitlines()[-1] == "Interrupted."
        assert not list(tmp_path.rglob(".writing-*"))
    finished = {path.name: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nut") if path.name[0] != "."}
    assert len(finished) >= 2
    watched = threading.Thread(target=lambda: finished.update(watch(tmp_path, finished)))
    watched.start()
    process = start(stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    output, error = process.communicate(timeout=120)
    watched.join()
    assert "1 of 1 upscaled, to big.mkv." in output
    assert error == ""
    assert times("big.mkv") == times("clip.mkv")
    assert left() == ["big.mkv"]


def watch(folder, finished):
    """Waits until one more segment is there; those before have not been written again."""
    for _ in range(2000):
        found = list(folder.rglob("0*.nut"))
        if len(found) > len(finished) or (folder / "big.mkv").exists():
            break
        time.sleep(0.02)
    with contextlib.suppress(FileNotFoundError):
        for path in found:
            assert finished.get(path.name) in (None, path.stat().st_mtime_ns)
    return {}


@pytest.mark.linux
def test_two_processes_make_one_result():
    make(pictures("160x120", seconds=1.2), "-c:v libx264 clip.mkv")
    processes = [start(stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)]
    outputs = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert times("big.mkv") == times("clip.mkv")
    assert "Error" not in describe("big.mkv")
    assert left() == ["big.mkv"]


@pytest.mark.linux
@pytest.mark.parametrize(("name", "total"), [("long.mp4", "15000"), ("long.mkv", "600.0 seconds of video")])
def test_a_long_film_shows_its_bar_at_once(name, total):
    """In frames, or in seconds where their number is not known; with the remaining time."""
    termios = pytest.importorskip("termios")
    make(pictures(seconds=6), "-c:v libx264 short.mp4")
    make("-stream_loop 99 -i short.mp4 -c copy", name)
    terminal, stderr = os.openpty()
    termios.tcsetwinsize(stderr, (24, 100))
    command = [sys.executable, ROOT / "main.py", f"--input={name}", "--output=big.mp4", "--scale=2"]
    process = subprocess.Popen(command, env=program_environment(), stdout=subprocess.DEVNULL, stderr=stderr)
    os.close(stderr)
    shown = ""
    while not re.search(rf"{total}.*?<\d\d:", shown):
        shown += os.read(terminal, 1000).decode()
    process.send_signal(signal.SIGTERM)
    with contextlib.suppress(OSError):  # the other end is closed
        while os.read(terminal, 1000):
            pass
    assert process.wait(timeout=60) == 130
    os.close(terminal)
    assert " 0%|" in shown
    percent = [int(found) for found in re.findall(r"(\d+)%\|", shown)]
    assert max(percent) <= 1
    assert not Path("big.mp4").exists()

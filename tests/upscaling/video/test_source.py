"""What is a video, and what is said of damaged ones."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from clips import TONE, frames, make, pictures, times, upscale
from conftest import ROOT, program_environment
from PIL import Image

from srcnn_tf.errors import RunError
from srcnn_tf.upscaling.video.recognize import is_video
from srcnn_tf.upscaling.video.source import clock_time

TWO_SECONDS = "-f lavfi -i testsrc2=s=64x48:r=25:d=4 -f lavfi -i sine=d=4"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("notes.txt", b"hello world\n" * 100),
        ("list.m3u8", b"#EXTM3U\n#EXTINF:1,\nclip.ts\n"),
        ("noise", np.random.default_rng(0).bytes(100_000)),
        ("table.csv", b"1,2\n" * 100),
        ("empty", b""),
    ],
)
def test_what_is_no_video(name, content):
    Path(name).write_bytes(content)
    assert not is_video(Path(name))


def test_images_and_audio_are_no_videos():
    for ending in ("png", "jpg", "gif", "webp", "bmp", "tif", "avif", "ico"):
        Image.new("RGB", (32, 24)).save(f"a.{ending}")
        Path(f"a.{ending}").rename("image")
        assert not is_video(Path("image")), ending
    make(TONE, "a.wav")
    make("-i a.wav a.mp3")
    assert not is_video(Path("a.wav"))
    assert not is_video(Path("a.mp3"))


def test_a_photo_with_the_name_of_a_video_is_a_photo(run_main):
    Image.new("RGB", (32, 24)).save("a.png")
    Path("a.png").rename("a.mp4")
    assert not is_video(Path("a.mp4"))


@pytest.mark.parametrize(("name", "output"), [("clip.jpg", "out/"), ("clip.mp4", "big.png")])
def test_a_video_that_is_to_become_an_image_is_called_a_video(name, output, run_main):
    make(pictures(seconds=0.2), "-c:v libx264 -f mp4", name)
    done = run_main(f"--input={name}", f"--output={output}", "--scale=2", check=False)
    assert done.returncode == 1
    assert f"Problem: {name}: is a video, and" in done.stderr


@pytest.mark.parametrize("name", ["Episode:1.mp4", "-dash.mp4", "ä ö\n.mp4", "100%d.mp4", "pipe:.mp4"])
def test_names_of_all_kinds(name, run_main):
    make(pictures(seconds=0.2), TONE, "-c:v libx264 -c:a aac clip.mp4")
    Path("clip.mp4").rename(name)
    done = run_main(f"--input={name}", f"--output=big/{name}", "--scale=2")
    assert "1 of 1 upscaled" in done.stdout
    assert done.stderr == ""
    Path("big", name).rename("big.mp4")
    assert len(times("big.mp4")) == 5


def make_cut(name, words, share=0.5):
    make(TWO_SECONDS, "-c:v libx264 -g 25 -c:a aac", words, f"whole{Path(name).suffix}")
    data = Path(f"whole{Path(name).suffix}").read_bytes()
    Path(name).write_bytes(data[: int(len(data) * share)])


@pytest.mark.parametrize(("name", "words"), [("cut.mkv", ""), ("cut.mp4", "-movflags faststart"), ("cut.avi", "-bf 0")])
def test_what_there_is_of_a_cut_file_is_upscaled(name, words, capfd):
    make_cut(name, words)
    notes = upscale(name, "big.mp4")
    expected = len(times(name, decoded=True))
    assert 35 < expected < 65
    assert abs(len(times("big.mp4")) - expected) <= 1
    found = re.search(rf"{name}: (?:ends early, at|cannot be read from) 0:0(\d\.\d)", notes)
    assert float(found[1]) == pytest.approx(expected / 25, abs=0.3)
    assert capfd.readouterr() == ("", "")


def test_a_hole_is_named(capfd):
    make(TWO_SECONDS, "-c:v mpeg2video -g 5 -c:a mp2 whole.ts")
    data = Path("whole.ts").read_bytes()
    begin, end = (len(data) * share // 100 // 188 * 188 for share in (30, 80))
    Path("clip.ts").write_bytes(data[:begin] + data[end:])
    notes = upscale("clip.ts")
    assert re.search(r"clip\.ts: has a hole: no frame from 0:01\.\d to 0:03\.\d", notes)
    found = times("big.mp4")
    assert found[-1] == pytest.approx(3.96, abs=0.1)
    assert np.diff(found).max() > 1.5
    assert capfd.readouterr() == ("", "")


def test_packets_that_are_damaged_are_named(capfd):
    make(pictures(seconds=4), "-c:v mpeg4 -g 10 clip.mkv")
    data = bytearray(Path("clip.mkv").read_bytes())
    data[len(data) // 3 : len(data) * 2 // 3] = bytes(len(data) // 3)
    Path("clip.mkv").write_bytes(data)
    notes = upscale("clip.mkv")
    assert "clip.mkv: has a hole: no frame from 0:0" in notes
    assert 20 < len(times("big.mp4")) < 100
    assert capfd.readouterr() == ("", "")


def test_damaged_frames_are_upscaled_as_they_are_decoded(capfd):
    make(pictures(seconds=2), "-c:v libx264 -g 10 clip.ts")
    data = bytearray(Path("clip.ts").read_bytes())
    rng = np.random.default_rng(0)
    for place in rng.integers(2000, len(data), 40):
        data[place] ^= 255
    Path("clip.ts").write_bytes(data)
    upscale("clip.ts")
    assert len(times("big.mp4")) > 25
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (f"{TONE} -c:a aac clip.mp4", "clip.mp4: has no video, only audio; give a file with one."),
        (
            f"{TONE} {pictures(seconds=0.04)} -map 0 -map 1 -c:v mjpeg -disposition:v attached_pic clip.mp4",
            "clip.mp4: has no video, only a cover and audio; give a file with one.",
        ),
        (None, "clip.mp4: cannot be read as a video (Invalid data found when processing input); replace it."),
        (b"no video", "clip.mp4: cannot be read as a video (Invalid data found when processing input); replace it."),
        ("zeros", "clip.mp4: no frame of it can be decoded; replace it."),
        ("encrypted", "clip.mp4: is encrypted (DRM), so that no frame can be decoded; give a file that is not."),
    ],
)
def test_what_cannot_be_upscaled_is_one_true_sentence(words, message, capfd):
    if words is None or isinstance(words, bytes):
        Path("clip.mp4").write_bytes(words or b"")
    elif words == "zeros":
        make(pictures(), "-c:v libx264 clip.mp4")
        data = Path("clip.mp4").read_bytes()
        begin, end = data.index(b"mdat") + 4, data.index(b"moov") - 4
        Path("clip.mp4").write_bytes(data[:begin] + bytes(end - begin) + data[end:])
    elif words == "encrypted":
        key = "-encryption_scheme cenc-aes-ctr -encryption_key 76a6c65c5ea762046bd749a2e632ccbb"
        make(pictures(), "-c:v libx264", key, "-encryption_kid a7e61c373e219033c21091fa607bf3b8 clip.mp4")
    else:
        make(words)
    with pytest.raises(RunError, match=f"^{re.escape(message)}$"):
        upscale("clip.mp4", "big.mkv")
    assert [path.name for path in Path().rglob("*") if path.is_file()] == ["clip.mp4"]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("target", "flags", "message"),
    [
        ("big.gif", {}, "big.gif: no video format to write has this extension; use one of .m4v, .mkv, .mov, .mp4."),
        ("big.mp4", {"width": 20}, "clip.mp4: An image of 64 x 48 pixels cannot be upscaled to 20 x 15"),
        ("big.mp4", {"max_megapixels": 0.01}, "clip.mp4: frames of 128 x 96 pixels are more than --max_megapixels"),
        ("none/\0/big.mp4", {}, "cannot be written"),
    ],
)
def test_what_is_asked_for_and_cannot_be_done(target, flags, message):
    make(pictures(seconds=0.2), "-c:v libx264 clip.mp4")
    if "\0" in target:
        Path("none").write_bytes(b"a file")
        target = "none/big.mp4"
    with pytest.raises(RunError, match=re.escape(message)):
        upscale("clip.mp4", target, **flags)
    assert not Path("big.mp4").exists()


def test_an_encoder_that_fails_says_why(capfd):
    make(pictures("1040x16", seconds=0.08), "-c:v libx264 clip.mp4")
    with pytest.raises(
        RunError, match=r"libx264 cannot encode 16640 x 256 pixels \(.*invalid width x height.*\); choose another"
    ):
        upscale("clip.mp4", scale=16)
    assert [path.name for path in Path().rglob("*")] == ["clip.mp4"]
    assert capfd.readouterr() == ("", "")


def test_without_the_package_the_error_names_it(tmp_path):
    make(pictures(seconds=0.2), "-c:v libx264 clip.mp4")
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "av.py").write_text("raise ImportError")
    environment = program_environment() | {"PYTHONPATH": str(tmp_path / "site")}
    command = [sys.executable, ROOT / "main.py", "--input=clip.mp4"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "clip.mp4: Videos need the package av: pip install 'srcnn_tf[video]'.\n" in done.stderr


def test_times_are_written_as_people_do():
    assert [clock_time(seconds) for seconds in (0, 59.97, 61.25, 3723.4)] == ["0:00.0", "1:00.0", "1:01.2", "1:02:03.4"]


def test_frames_of_a_clip_that_begins_late_keep_their_distance():
    make(pictures(seconds=0.4), "-c:v libx264 -output_ts_offset 5 clip.mkv")
    upscale("clip.mkv", "big.mkv")
    assert times("big.mkv") == times("clip.mkv")
    assert len(frames("big.mkv")) == 10

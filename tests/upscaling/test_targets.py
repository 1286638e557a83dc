"""Which files are taken, and what their results are called."""

import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import forbid, synthetic_image
from networks import save
from PIL import Image

from srcnn_tf import cli
from srcnn_tf.config import Config
from srcnn_tf.errors import RunError, UsageError
from srcnn_tf.images.read import read_image
from srcnn_tf.model import build_model
from srcnn_tf.system.origins import ORIGINS
from srcnn_tf.upscaling.image_files import upscale_files


def upscale(**flags):
    upscale_files(Config(**{"scale": 2} | flags))


def written(folder="sample/enlarged"):
    paths = [path for path in Path(folder).rglob("*") if path.is_file() and path.name != ORIGINS]
    return sorted(path.relative_to(folder).as_posix() for path in paths)


def run(*words):
    return cli.run(["main.py", *map(str, words)])


def make(name, side=12, seed=0, **options):
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(synthetic_image(side, side, seed)).save(name, **options)


def test_known_endings_are_upscaled_and_others_are_counted_in_a_line(capsys):
    for name in ("b.jfif", "c.jpe", "in/d", "e.MPO", "f.jpg"):
        make(f"in/{Path(name).name}", format="JPEG")
    make("in/g.dib", format="BMP")
    make("in/h.apng", format="PNG")
    for name in ("notes.txt", "more.txt", "x.psd", "README.md", "Thumbs.db"):
        Path("in", name).write_text("x")
    make("in/@eaDir/b.jfif/SYNOPHOTO_THUMB_M.jpg")
    upscale(input="in", output="out")
    assert written("out") == ["b_x2.jfif", "c_x2.jpe", "e_x2.jpg", "f_x2.jpg", "g_x2.dib", "h_x2.apng"]
    assert "Left out of the files below in: 1 .psd, 2 .txt, 1 without an ending." in capsys.readouterr().out
    with Image.open("out/b_x2.jfif") as image:
        assert (image.format, image.size) == ("JPEG", (24, 24))


def test_a_missing_library_is_a_problem_for_each_file_with_the_command(monkeypatch, capsys):
    make("in/a.png")
    Path("in/IMG_1.HEIC").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0heicmif1" + bytes(40))
    Path("in/b.avif").write_bytes(b"\0\0\0\x18ftypavif\0\0\0\0avifmif1" + bytes(40))
    Path("in/c.dcm").write_bytes(bytes(128) + b"DICM" + bytes(40))
    Path("in/d.jp2").write_bytes(b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(40))
    for name in ("decode.HEIC", "decode.AVIF", "formats.dicom.PYDICOM", "formats.raster.RASTERIO"):
        monkeypatch.setattr(f"srcnn_tf.images.{name}", False)
    with pytest.raises(RunError, match="4 of 5"):
        upscale(input="in", output="out")
    problems = sorted(capsys.readouterr().err.splitlines())
    commands = {"IMG_1.HEIC": "'srcnn_tf[heic]'", "b.avif": "--upgrade pillow", "c.dcm": "'srcnn_tf[dicom]'"}
    commands["d.jp2"] = "'srcnn_tf[geo]'"
    for problem, (name, command) in zip(problems, commands.items(), strict=True):
        assert problem.startswith(f"Problem: in/{name}: ")
        assert f"pip install {command}" in problem
    assert written("out") == ["a_x2.png"]


@pytest.mark.linux
def test_a_folder_that_may_not_be_read_is_reported_and_the_rest_is_done(monkeypatch, capsys):
    make("in/a.png")
    Path("in/lost+found").mkdir()
    forbid(monkeypatch, "in/lost+found")
    with pytest.raises(RunError, match="1 of 2"):
        upscale(input="in", output="out")
    assert "Problem: in/lost+found: cannot be searched (Permission denied)" in capsys.readouterr().err
    assert written("out") == ["a_x2.png"]


def test_files_that_would_have_one_name_get_two(capsys):
    make("in/a.gif", 14)
    make("in/a.png", 12)
    make("in/b.png", 12)
    for _ in range(2):
        upscale(input="in", output="out")
    assert written("out") == ["a_gif_x2.png", "a_x2.png", "b_x2.png"]
    assert read_image("out/a_x2.png").shape[0] == 24
    printed = capsys.readouterr().out
    assert printed.count("in/a.gif: written as a_gif_x2.png, as a_x2.png is the upscaled in/a.png") == 1
    assert "3 of 3 already exist" in printed


def test_a_result_knows_its_source_and_another_one_gets_another_name(capsys):
    for day in (1, 2, 3):
        make(f"day{day}/IMG_1.png", 10 + day)
    for overwrite in (False, False, True):
        for day in (1, 2, 3):
            upscale(input=f"day{day}/IMG_1.png", overwrite=overwrite)
    assert written() == ["IMG_1_x2.png", "IMG_1_x2_2.png", "IMG_1_x2_3.png"]
    assert [len(read_image(f"sample/enlarged/{name}")) for name in written()] == [22, 24, 26]
    assert "day2/IMG_1.png: written as IMG_1_x2_2.png, as IMG_1_x2.png is the upscaled day1/IMG_1.png" in (
        capsys.readouterr().out
    )


def test_results_that_a_shell_names_beside_their_sources_are_left_out(capsys):
    for name in ("a.png", "b.png"):
        make(name)
    for scale in (2, 2, 3):
        upscale(input=[str(path) for path in sorted(Path().glob("*.png"))], output=".", scale=scale)
    assert written(".") == ["a.png", "a_x2.png", "a_x3.png", "b.png", "b_x2.png", "b_x3.png"]
    assert "Left out of the files that are named: 2 that this program made of the others" in capsys.readouterr().out
    upscale(input="a_x2.png", output=".")
    assert "a_x2_x2.png" in written(".")


def test_the_results_of_a_folder_that_was_renamed_stay_its_results(capsys):
    make("photos/a.png")
    upscale(input="photos")
    Path("photos").rename("pictures")
    upscale(input="pictures")
    assert "1 of 1 already exist" in capsys.readouterr().out
    make("photos/a.png", 14)  # another one in its place
    upscale(input=["photos", "pictures"])
    assert written() == ["a_x2.png", "a_x2_2.png"]


def test_a_named_result_of_another_image_is_replaced_only_with_overwrite(capsys):
    make("a.png", 11)
    make("b.png", 12)
    upscale(input="a.png", output="big.png")
    with pytest.raises(RunError, match="1 of 1"):
        upscale(input="b.png", output="big.png")
    assert "b.png: big.png is the upscaled a.png; --overwrite replaces it" in capsys.readouterr().err
    assert len(read_image("big.png")) == 22
    upscale(input="b.png", output="big.png", overwrite=True)
    assert len(read_image("big.png")) == 24


def test_results_of_earlier_runs_below_the_input_are_left_out(capsys):
    make("photos/a.png")
    upscale(input="photos", output="photos/x2")
    upscale(input="photos", output="photos/x3", scale=3)
    assert written("photos") == ["a.png", "x2/a_x2.png", "x3/a_x3.png"]
    assert "Left out of the files below photos: 1 that this program made." in capsys.readouterr().out
    # A file that somebody else wrote under that name is an image as any other.
    make("photos/x2/a_x2.png", 50)
    upscale(input="photos", output="out")
    assert written("out") == ["a_x2.png", "x2/a_x2_x2.png"]


def test_the_list_is_moved_with_the_tree(capsys):
    make("one/in/a.png")
    upscale(input="one/in", output="one/out")
    Path("one").rename("two")
    upscale(input="two/in", output="two/out")
    assert "1 of 1 already exist" in capsys.readouterr().out


def test_a_damaged_list_loses_only_its_damaged_lines(capsys):
    make("in/a.png")
    make("in/b.png")
    upscale(input="in", output="out")
    path = Path("out", ORIGINS)
    first, second = [line for line in path.read_bytes().split(b"\n") if line]
    path.write_bytes(b"\n" + first + b"\n" + second[:30] + b"\n[]\n\xff{")
    make("other/a.png")
    upscale(input="other", output="out")
    assert written("out") == ["a_x2.png", "a_x2_2.png", "b_x2.png"]


def test_a_changed_image_is_upscaled_again_and_other_options_are_said(capsys):
    make("a.jpg")
    upscale(input="a.jpg")
    make("a.jpg", 20)
    os.utime("a.jpg", (time.time() + 5, time.time() + 5))
    upscale(input="a.jpg")
    assert read_image("sample/enlarged/a_x2.jpg").shape[0] == 40
    assert "a.jpg: has changed since sample/enlarged/a_x2.jpg was made of it, and is upscaled again" in (
        capsys.readouterr().out
    )
    upscale(input="a.jpg")
    assert "made otherwise" not in capsys.readouterr().out
    upscale(input="a.jpg", quality=50)
    printed = capsys.readouterr().out
    assert "1 of 1 already exist; --overwrite upscales them again." in printed
    assert "Of these, 1 were made otherwise: --scale=2 (shipped weights); now --scale=2 --quality=50 (ship" in printed
    config = Config(degradation="matlab", scale=2)
    save(build_model(config.network), config)
    upscale(input="a.jpg")
    assert "now --scale=2 (/" in capsys.readouterr().out.replace(str(Path.cwd()), "/")


@pytest.mark.parametrize("flags", [{"scale": 2.5}, {"width": 30}, {"height": 30}])
def test_other_weights_of_the_users_own_are_said(flags, capsys):
    make("a.png")
    upscale(input="a.png", **flags)
    config = Config(degradation="matlab", scale=3)
    save(build_model(config.network), config)
    upscale(input="a.png", **flags)
    printed, weights = capsys.readouterr().out, config.search.own(config.network)
    assert "(shipped weights); now " in printed
    assert str(weights.absolute()) in printed
    upscale(input="a.png", overwrite=True, **flags)
    capsys.readouterr()
    upscale(input="a.png", **flags)
    assert "made otherwise" not in capsys.readouterr().out


def test_flags_are_checked_even_if_nothing_is_left_to_do():
    make("a.png")
    for size in ({"scale": 2}, {"scale": 3, "width": 20}):
        upscale(input="a.png", **size)
        with pytest.raises(RunError, match="--weights=absent: there is no such file"):
            upscale(input="a.png", weights="absent", **size)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif"])
def test_the_size_of_a_photograph_stored_on_its_side_is_the_upright_one(name, capsys):
    """It is 20 pixels wide, and stored with 30, of which 25 would be a reduction."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(synthetic_image(20, 30)).save(name, exif=exif)
    for line in ("Weights: shipped", "1 of 1 already exist"):
        upscale(input=name, width=25)
        assert line in capsys.readouterr().out


def test_several_inputs_are_given_in_every_way(capsys):
    for name in ("a.png", "b.png", "c d.png", "photo[1].png", "sub/e.png"):
        make(name)
    commands = {
        ("--input", "a.png", "b.png", "--scale=2"): ["a", "b"],
        ("a.png", "--scale=2", "b.png"): ["a", "b"],
        ("--input=[ab].png", "--scale=2"): ["a", "b"],
        ("--scale=2", "c*.png"): ["c d"],
        ("--input=a.png", "--scale=2", "--input=b.png"): ["a", "b"],
        ("photo[1].png", "--scale=2"): ["photo[1]"],
        ("a.png", "sub", "a.png", Path("a.png").absolute(), "--scale=2"): ["a", "e"],
        ("--input=**/*.png", "--scale=2"): ["a", "b", "c d", "e", "photo[1]"],
    }
    for number, (words, names) in enumerate(commands.items()):
        assert run(*words, f"--output=out{number}") == 0, words
        assert written(f"out{number}") == [f"{name}_x2.png" for name in names]
        assert f"{len(names)} of {len(names)} upscaled" in capsys.readouterr().out
    # What a pattern finds of this program's own is left out.
    assert run("--input=out0/*.png", "--scale=2", "--output=out") == 1
    assert "Left out of out0/*.png: 2 that this program made" in capsys.readouterr().err
    assert run("out0/a_x2.png", "--scale=2", "--output=out") == 0  # which is named
    assert run("a.png", "absent/*.png") == 2
    assert run("--input=a.png", "--input=absent.png", "--output=other") == 1
    assert "Problem: --input=absent.png: there is no such file or folder." in capsys.readouterr().err
    assert written("other") == ["a_x3.png"]


def test_one_output_file_for_several_images_is_an_error(capsys):
    make("in/a.png")
    make("b.png")
    for words in (["--input=in"], ["in/a.png", "b.png"]):
        assert run(*words, "--output=big.png") == 2
        assert "--output=big.png is one file, and several are to be upscaled" in capsys.readouterr().err
    assert run("--input=b.png", "--output=big.png", "--format=jpg") == 2
    assert "--output=big.png and --format=jpg are two formats" in capsys.readouterr().err
    assert run("--input=b.png", "--output=big.jpeg", "--format=jpg") == 0
    assert run("--input=in", "--output=big.png/") == 0
    assert written("big.png") == ["a_x3.png"]


@pytest.mark.parametrize("name", ["png", "jpg", "webp", "avif", "tif"])
def test_one_format_for_a_folder(name, capsys):
    make("in/a.bmp")
    make("in/b.webp")
    Image.fromarray(np.dstack([synthetic_image(12, 12), np.full((12, 12), 9, np.uint8)])).save("in/c.png")
    upscale(input="in", output="out", format=name)
    assert written("out") == [f"a_x2.{name}", f"b_x2.{name}", f"c_x2.{'png' if name == 'jpg' else name}"]
    reason = "in/c.png: JPEG holds no transparency, and the image has it: written as c_x2.png"
    assert (reason in capsys.readouterr().out) == (name == "jpg")


def test_names_that_would_become_too_long_are_shortened_visibly_and_unambiguously():
    fits = "\u3042" * 81  # 243 bytes
    for name in (fits, "x" * 251, "x" * 250 + "y"):
        make(f"in/{name}.png")
    upscale(input="in", output="out", scale=3)
    names = written("out")
    assert len({*names}) == 3
    assert f"{fits}_x3.png" in names
    for name in names:
        assert len(name.encode()) <= 255
        assert name.endswith("_x3.png")
    assert sum("~" in name for name in names) == 2


@pytest.mark.parametrize(
    ("name", "value"), [("page", "linked"), ("format", "png"), ("edges", "wrap"), ("value_range", "dtype")]
)
def test_flags_for_images_are_refused_where_there_are_only_videos(name, value):
    Path("clip.mp4").touch()
    with pytest.raises(UsageError, match=f"--{name} is for images, and only videos are to be upscaled"):
        upscale(input="clip.mp4", **{name: value})


def test_without_its_library_a_video_is_a_problem_and_the_images_are_upscaled(monkeypatch, capsys):
    make("in/a.png")
    Path("in/clip.MP4").write_bytes(b"nothing")
    monkeypatch.delitem(sys.modules, "srcnn_tf.upscaling.video.upscale", raising=False)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(RunError, match="1 of 2"):
        upscale(input="in", output="out")
    assert written("out") == ["a_x2.png"]
    problem = capsys.readouterr().err
    assert problem.startswith("Problem: in/clip.MP4: ")
    assert "pip install 'srcnn_tf[video]'" in problem

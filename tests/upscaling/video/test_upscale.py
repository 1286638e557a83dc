"""Videos of many kinds, each made by FFmpeg for the test, and checked by FFmpeg's own program."""

import re
from pathlib import Path

import numpy as np
import pytest
from clips import COLS, ROWS, TONE, describe, digest, end, ffmpeg, frames, make, pictures, psnr, size_of, times, upscale
from PIL import Image

from srcnn_tf.api import upscale_image
from srcnn_tf.images.resize import imresize
from srcnn_tf.upscaling.video.recognize import is_video
from srcnn_tf.upscaling.video.source import inspect

PICTURES = pictures()
LOSSLESS = "-c:v libx264 -qp 0 -pix_fmt yuv420p"
BT709 = "-colorspace bt709 -color_primaries bt709 -color_trc bt709 -color_range tv"
TAGGED = "setparams=range=tv:colorspace=bt2020nc:color_primaries=bt2020:color_trc=smpte2084"
MASTER = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)"


# --- Frames ---


@pytest.mark.parametrize("target", ["big.mp4", "big.mkv"])
def test_luma_is_upscaled_by_the_network_and_all_else_is_kept(target, tmp_path):
    make(pictures(rate="30000/1001"), TONE, LOSSLESS, BT709, "-c:a aac clip.mp4")
    notes = upscale("clip.mp4", target, quality=100)
    source, upscaled = frames("clip.mp4"), frames(target)
    assert upscaled.shape == (30, 3, 2 * ROWS, 2 * COLS)
    for number in (0, 29):
        expected = upscale_image(source[number, 0], scale=2, degradation="matlab")
        assert psnr(upscaled[number, 0], expected) > 36
        assert psnr(upscaled[number, 0], expected) > psnr(upscaled[number, 0], imresize(source[number, 0], 2)) + 1
    assert "29.97 fps" in describe(target)
    assert re.search(r"yuv420p\(tv, bt709[,)/]", describe(target))
    assert digest("clip.mp4", "a:0") == digest(target, "a:0")
    assert notes.startswith("clip.mp4: matlab weights, as it is hardly compressed (quantizer")
    assert {path.name for path in tmp_path.iterdir()} == {"clip.mp4", target}


@pytest.mark.parametrize(("color_range", "black"), [("pc", 0), ("tv", 16)])
def test_black_stays_black(color_range, black):
    options = f"-vf scale=out_range={color_range},format=yuv420p -color_range {color_range} -c:v libx264 -qp 0 clip.mkv"
    make("-f lavfi -i color=black:64x48:10:0.3,format=rgb24", options)
    assert (frames("clip.mkv")[:, 0] == black).all()
    upscale("clip.mkv", "big.mkv", degradation="jpeg", quality=100)
    assert np.abs(frames("big.mkv")[:, 0].astype(int) - black).max() <= 1


@pytest.mark.parametrize("words", [f"{pictures(rate=1000, seconds=0.05)} -c:v libx264 fast.mp4", None])
def test_every_frame_keeps_its_time_and_duration(words):
    if words is None:  # 60 frames per second, then 10
        select = "-vf select='lt(t,1)+not(mod(n,6))'"
        words = f"{pictures(rate=60, seconds=4)} -f lavfi -i sine=d=4 {select} -fps_mode vfr -c:v libx264 fast.mp4"
    make(words)
    upscale("fast.mp4")
    assert times("big.mp4") == times("fast.mp4")
    assert end("big.mp4") == end("fast.mp4")
    assert len(times("big.mp4")) in (50, 90)


@pytest.mark.parametrize(
    "words",
    [
        "-c:v mpeg2video clip.mpg",
        "-c:v mpeg2video clip.m2v",
        "-c:v mpeg4 -bf 2 -f avi clip.divx",
        "-c:v libx264 clip.h264",
        "-c:v libx264 clip.3g2",
        "-c:v libx264 clip.f4v",
        "-c:v mpeg2video camera.mxf",
        "-s 720x576 -c:v dvvideo -pix_fmt yuv420p clip.dv",
        "-c:v libtheora -q:v 10 clip.ogv",
        "-c:v libvpx-vp9 clip.webm",
        "-c:v prores clip.mov",
        "-pix_fmt yuv420p clip.y4m",
        "-c:v libsvtav1 -preset 8 clip.mkv",
        "-c:v wmv2 clip.asf",
        "-c:v mjpeg clip.avi",
        "-c:v ffv1 -pix_fmt yuv411p -f nut no_ending",
        "-c:v libx264 -f matroska wrong.mp4",
    ],
)
def test_every_format_is_read_by_content_and_no_frame_is_lost_or_late(words, capfd):
    seconds = 0.08 if ".dv" in words else 0.4
    name = make("-loglevel quiet", pictures(seconds=seconds), words)
    assert is_video(Path(name))
    upscale(name)
    assert capfd.readouterr() == ("", "")
    expected, found = np.array(times(name, decoded=True)), np.array(times("big.mp4"))
    np.testing.assert_allclose(found - found[0], expected - expected[0], atol=0.0006)
    assert len(found) > 4 or seconds < 0.1


@pytest.mark.parametrize("words", ["-c:v mpeg2video clip.mpg", "-c:v libx264 -x264-params tff=1 clip.mp4", None])
def test_interlaced_frames_are_deinterlaced(words):
    if words:
        name = make(PICTURES, "-vf setfield=tff -flags +ildct+ilme", words)
    else:  # a bar moves by 2 pixels from field to field
        bar = "nullsrc=s=160x120:r=50:d=1,geq=lum='if(between(X,2*N,2*N+40),220,40)':cb=128:cr=128"
        filters = "-vf tinterlace=interleave_top,setfield=tff -pix_fmt yuv420p -c:v libx264 -crf 10 -flags +ildct+ilme"
        name = make(f"-f lavfi -i {bar}", filters, "-x264-params tff=1 clip.mp4")
    notes = upscale(name, quality=100)
    assert f"{name}: is interlaced: deinterlaced" in notes
    assert len(times("big.mp4")) == 25
    assert "progressive" in describe("big.mp4")
    if words is None:
        luma, combed = frames("big.mp4", "gray", 1)[10, 0].astype(float), frames(name, "gray", 1)[10, 0].astype(float)
        assert comb(combed) > 5
        assert comb(luma) < comb(combed) / 5
        Path("big.mp4").unlink()
        assert "interlaced" not in upscale(name, quality=100, deinterlace=False)
        assert comb(frames("big.mp4", "gray", 1)[10, 0, ::2].astype(float)) > comb(luma[::2]) + 2


def comb(luma):
    """How much rows differ from the mean of those above and below."""
    return np.abs(luma[1:-1] - (luma[:-2] + luma[2:]) / 2).mean()


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_turned_frames_become_upright(turn):
    make(pictures(seconds=0.2), LOSSLESS, "t.mp4")
    make(f"-display_rotation {turn} -i t.mp4 -c copy clip.mp4")
    upscale("clip.mp4", quality=100)
    assert "rotation" not in describe("big.mp4")
    source, upscaled = frames("clip.mp4"), frames("big.mp4")  # FFmpeg turns the source
    assert upscaled.shape[2:] == tuple(2 * side for side in source.shape[2:])
    assert psnr(upscaled[0, 0], imresize(source[0, 0], 2)) > 24


def test_frames_of_another_size_are_resized_to_the_first():
    make(pictures(seconds=0.4), "-c:v mpeg2video one.ts")
    make(pictures("32x24", seconds=0.4), "-c:v mpeg2video two.ts")
    Path("clip.ts").write_bytes(Path("one.ts").read_bytes() + Path("two.ts").read_bytes())
    notes = upscale("clip.ts")
    assert "its frames have another size from 0:00.4 on" in notes
    assert len(times("big.mp4")) == len(times("clip.ts", decoded=True)) > 15
    assert size_of("big.mp4") == (128, 96)


def test_times_that_jump_are_continued():
    make(pictures(seconds=1), TONE, "-c:v mpeg2video -c:a mp2 -output_ts_offset 100 one.ts")
    make(pictures(seconds=1), TONE, "-c:v mpeg2video -c:a mp2 two.ts")
    Path("clip.ts").write_bytes(Path("one.ts").read_bytes() + Path("two.ts").read_bytes())
    notes = upscale("clip.ts")
    assert "clip.ts: its times jump at 0:01.0, and are continued there" in notes
    found = np.array(times("big.mp4"))
    assert len(found) == 50
    assert found[-1] == pytest.approx(1.96, abs=0.1)
    audio = times("big.mp4", "a:0")
    assert audio[-1] == pytest.approx(1.98, abs=0.15)


def test_videos_and_images_of_a_folder_are_upscaled(run_main):
    Path("in").mkdir()
    make(pictures(seconds=0.2), "-c:v libx264 in/clip.mp4")
    make(f"{TONE} -c:a aac in/song.mp4")
    Image.fromarray(np.zeros((ROWS, COLS, 3), np.uint8)).save("in/photo.png")
    done = run_main("--input=in", "--output=out", "--scale=2", check=False)
    assert done.returncode == 1
    assert "Problem: in/song.mp4: has no video, only audio; give a file with one." in done.stderr
    assert "2 of 3 upscaled, to out." in done.stdout
    assert size_of("out/clip_x2.mp4") == (2 * COLS, 2 * ROWS)
    with Image.open("out/photo_x2.png") as image:
        assert image.size == (2 * COLS, 2 * ROWS)


def test_a_width_does_not_mean_that_a_video_needs_no_weights(run_main):
    make(pictures(seconds=0.2), "-c:v libx264 clip.mp4")
    assert "Weights: those for the size of each video\n" in run_main("clip.mp4", "--width=128").stdout
    assert size_of("sample/enlarged/clip_width128.mp4") == (2 * COLS, 2 * ROWS)


@pytest.mark.parametrize("words", ["-c:v libx264 clip.h264", "-c:v rv20 -f rm clip.rmvb", "-c:v ffv1 -f nut clip"])
def test_a_video_that_is_named_becomes_one_whatever_its_ending(words, run_main):
    name = make(pictures(seconds=0.2), words)
    run_main(f"--input={name}", "--output=out", "--scale=2")
    assert size_of("out/clip_x2.mkv") == (2 * COLS, 2 * ROWS)


# --- Colours ---


@pytest.mark.parametrize(
    ("size", "words", "expected"),
    [
        ("640x480", "-c:v mpeg4 -q:v 1 -pix_fmt yuv420p clip.avi", "yuv420p(tv, smpte170m"),
        ("720x576", "-c:v mpeg4 -q:v 1 -pix_fmt yuv420p clip.avi", "yuv420p(tv, bt470bg/bt470bg/smpte170m"),
        ("1280x720", "-c:v mpeg4 -q:v 1 -pix_fmt yuv420p clip.avi", "yuv420p(tv, bt709"),
        ("64x48", f"{LOSSLESS} {BT709} clip.mp4", "yuv420p(tv, bt709"),
        ("64x48", "-c:v libx264 -qp 0 -pix_fmt yuvj420p clip.mp4", "yuvj420p(pc, smpte170m"),
        ("64x48", "-c:v libx264 -qp 0 -pix_fmt yuv444p clip.mp4", "yuv420p(tv, smpte170m"),
        ("64x48", "-c:v mjpeg -q:v 1 -pix_fmt yuvj420p clip.avi", "yuvj420p(pc, bt470bg"),
        ("64x48", "-c:v ffv1 -pix_fmt bgr0 clip.mkv", "yuv420p(tv, bt709/bt709/iec61966-2-1"),
    ],
)
def test_colours_stay_what_they_are(size, words, expected):
    name = make(f"-f lavfi -i color=0xC04020:s={size}:r=5:d=0.4", words)
    upscale(name, quality=100, scale=1.0625 if size != "64x48" else 2)
    assert expected in describe("big.mp4").replace("bt709/bt709/bt709", "bt709").replace(
        "smpte170m/smpte170m/smpte170m", "smpte170m"
    )
    # FFmpeg converts both to RGB by their own tags; without tags, by BT.601.
    colors = [frames(path, "rgb24", 3)[0].mean(axis=(0, 1)) for path in (name, "big.mp4")]
    if size != "1280x720":
        np.testing.assert_allclose(*colors, atol=2.5)  # the matrix of the other tag would make it 20


@pytest.mark.parametrize(
    ("words", "column"), [("-c:v libx264 -qp 0 e.mp4", 62.5), ("-c:v mpeg1video -q:v 1 e.mpg", 63)]
)
def test_chroma_stays_where_it_is(words, column):
    edge = "color=black:s=64x48:r=25:d=0.2,format=yuv444p,geq=lum=90:cb=128:cr='if(lt(X,32),60,200)'"
    name = make(f"-f lavfi -i {edge} -pix_fmt yuv420p", words)
    upscale(name, quality=100)
    row = chroma_row("big.mp4", 96, 128)
    first = int(np.argmax(row > 130))
    edge = first - 1 + (130 - row[first - 1]) / (row[first] - row[first - 1])
    # A chroma pixel of H.264 is at the left one of its two luma columns; those of MPEG-1 are between them, from where
    # they are moved by a quarter of a chroma pixel.
    assert 2 * edge == pytest.approx(column if column == 62.5 else 63.5, abs=0.1)


def chroma_row(name, rows, cols):
    data = ffmpeg("-loglevel error", f"-i {name}", "-f rawvideo -pix_fmt yuv420p -")[0]
    planes = np.frombuffer(data, np.uint8)[: rows * cols * 3 // 2]
    return planes[-rows * cols // 4 :].reshape(rows // 2, cols // 2)[10].astype(float)


def test_pixels_that_are_not_square_stay_so():
    make(PICTURES, f"-vf setsar=64/45 {LOSSLESS} clip.mp4")
    upscale("clip.mp4")
    assert "SAR 64:45" in describe("big.mp4")


def test_ten_bits_become_h265_with_the_metadata_of_hdr10():
    parameters = f"log-level=none:colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc:master-display={MASTER}"
    filters = f"-vf format=yuv420p10le,{TAGGED} -pix_fmt yuv420p10le -c:v libx265"
    make(pictures(rate=10, seconds=0.5), filters, f"-x265-params {parameters}:max-cll=1000,400 -tag:v hvc1 clip.mp4")
    notes = upscale("clip.mp4", quality=100)
    assert "encoded as H.265, as it has 10 bits" in notes
    printed = describe("big.mp4")
    assert "hevc (Main 10) (hvc1" in printed
    assert "yuv420p10le(tv, bt2020nc/bt2020/smpte2084)" in printed
    data = [ffmpeg(f"-i {name}", "-vf showinfo -frames:v 1 -f null -")[1] for name in ("clip.mp4", "big.mp4")]
    found = [re.findall(r"(?:Mastering display|Content light).*?(?=\n)", text, re.I) for text in data]
    assert len(found[0]) >= 2
    assert found[0] == found[1]
    source, upscaled = (frames(name, "gray10le", 1, dtype="<u2")[0, 0] for name in ("clip.mp4", "big.mp4"))
    expected = upscale_image(source << 6, scale=2, degradation="matlab") / 64
    assert psnr(upscaled / 4, expected / 4) > 36
    assert len(np.unique(upscaled % 4)) == 4  # ten bits, not eight


@pytest.mark.parametrize(
    ("codec", "pixel_format", "expected", "note"),
    [
        ("h264", "yuv420p10le", "h264 (High), yuv420p(", "its 10 bits become 8"),
        ("h265", "yuv420p", "hevc (Main), yuv420p(", ""),
        ("av1", "yuv420p12le", "av1 (libdav1d) (Main), yuv420p10le(", "its 12 bits become 10"),
        (None, "yuv422p12le", "hevc (Main 10), yuv420p10le(", "its 12 bits become 10"),
        (None, "gbrp", "h264 (High), yuv420p(", "its colours get half the resolution"),
    ],
)
def test_codecs(codec, pixel_format, expected, note, capfd):
    make(pictures(rate=10, seconds=0.3), f"-pix_fmt {pixel_format} -c:v ffv1 clip.mkv")
    notes = upscale("clip.mkv", "big.mkv", codec=codec)
    assert expected in describe("big.mkv")
    assert note in notes
    assert times("big.mkv") == times("clip.mkv")
    assert capfd.readouterr().err == ""  # of the encoders


def test_sides_become_even():
    make(pictures("63x47", 10, 0.5, "testsrc"), "-c:v libx264 -qp 0 -pix_fmt yuv444p odd.mp4")
    notes = upscale("odd.mp4", scale=3, quality=100)
    assert "odd.mp4: 188 x 140 pixels, as the sides have to be even" in notes
    assert "its colours get half the resolution" in notes
    assert "yuv420p" in describe("big.mp4")
    assert size_of("big.mp4") == (188, 140)
    source, upscaled = frames("odd.mp4"), frames("big.mp4")
    assert psnr(upscaled[0, 0], upscale_image(source[0, 0], scale=3, degradation="matlab")[:140, :188]) > 36
    assert psnr(upscaled[0, 1], imresize(source[0, 1], 3)[:140, :188]) > 25
    make(pictures(seconds=0.2), f"{LOSSLESS} clip.mp4")
    assert "100 x 76 pixels" in upscale("clip.mp4", "w.mp4", width=101)


@pytest.mark.parametrize("words", ["-c:v libvpx-vp9 -pix_fmt yuva420p clip.webm", "-c:v png -pix_fmt rgba clip.mov"])
def test_transparency_is_named(words):
    alpha = "format=yuva420p,geq=lum='p(X,Y)':a='255*X/W'"
    name = make(pictures(seconds=0.2), f"-vf {alpha}", words)
    assert "left out: its transparency" in upscale(name)


@pytest.mark.parametrize("ending", ["gif", "png", "webp"])
def test_transparent_pixels_become_white_whatever_colour_is_below_them(ending):
    rgba = np.zeros((ROWS, COLS, 4), np.uint8)
    rgba[..., 0], rgba[:16, :, 3], rgba[16:32, :, 3] = 200, 255, 0 if ending == "gif" else 128
    options = {"lossless": True, "exact": True} if ending == "webp" else {}
    pages = [Image.fromarray(rgba), Image.fromarray(rgba // 2)]
    pages[0].save(f"a.{ending}", save_all=True, append_images=pages[1:], duration=100, **options)
    assert "left out: its transparency" in upscale(f"a.{ending}", "clip.mp4")
    found = frames("clip.mp4", "rgb24", 3)[0, 8::32].mean(axis=1)
    half = [255, 255, 255] if ending == "gif" else [227, 127, 127]
    np.testing.assert_allclose(found, [[200, 0, 0], half, [255, 255, 255]], atol=4)


@pytest.mark.parametrize("ending", ["gif", "png", "webp"])
def test_animated_images_become_videos(ending):
    pages = [Image.fromarray(np.full((ROWS, COLS, 3), 60 * number, np.uint8)) for number in range(4)]
    options = {"lossless": True} if ending == "webp" else {}
    pages[0].save(f"a.{ending}", save_all=True, append_images=pages[1:], duration=[100, 200, 300, 400], **options)
    upscale(f"a.{ending}", "clip.mp4")
    assert [is_video(Path(f"a.{ending}"), is_animation_wanted=wanted) for wanted in (True, False)] == [True, False]
    assert times("clip.mp4") == [0, 0.1, 0.3, 0.6]
    assert end("clip.mp4") == 1
    found = frames("clip.mp4", "rgb24", 3).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(found, [0, 60, 120, 180], atol=2)


@pytest.mark.parametrize(
    ("words", "weights", "why"),
    [
        ("-c:v libx264 -crf 14 clip.mp4", "matlab", r"hardly compressed \(quantizer [12]\d\.\d of H\.264\)"),
        ("-c:v libx264 -crf 24 clip.mp4", "jpeg90", r"compressed \(quantizer [23]\d\.\d of H\.264\)"),
        (
            "-c:v libx264 -crf 34 -pix_fmt yuv420p10le clip.mp4",
            "jpeg",
            r"compressed \(quantizer [23]\d\.\d of H\.264\)",
        ),
        ("-c:v mpeg4 -q:v 31 clip.avi", "jpeg", r"compressed \(0\.\d+ bits per pixel of mpeg4\)"),
        ("-c:v ffv1 clip.mkv", "matlab", r"hardly compressed \(ffv1, without loss\)"),
    ],
)
def test_weights_are_chosen_by_what_the_stream_says(words, weights, why):
    noise = "-vf noise=alls=4:allf=t,format=yuv420p" if "264" in words else "-vf scale=320:240"
    name = make(pictures(seconds=0.6), noise, words)
    assert re.search(f"{weights} weights, as it is {why}", upscale(name))


NOISE = "noise=alls=4:allf=t"


@pytest.mark.parametrize(
    ("words", "trim", "weights"),
    [
        (f"-crf 34 -g 20 -filter_complex color=s=64x48:r=25:d=1[a];[0]{NOISE}[b];[a][b]concat", "", "jpeg"),
        (f"-crf 17 -vf {NOISE}", "-ss 0.7", "matlab"),  # its first frame refers to a key frame that is not shown
    ],
)
def test_black_and_trimmed_beginnings_do_not_decide(words, trim, weights):
    make(pictures(seconds=2), words, "-c:v libx264 -pix_fmt yuv420p whole.mp4")
    make(trim, "-i whole.mp4 -c copy clip.mp4")
    assert f"clip.mp4: {weights} weights" in upscale("clip.mp4")


@pytest.mark.parametrize(
    "words",
    [
        "-vf select=lt(t\\,0.2)+gt(t\\,0.8) -fps_mode vfr -c:v libx265 -x265-params log-level=none clip.mp4",
        "-c:v libvpx-vp9 -live 1 clip.webm",  # as browsers record it: without a duration
        "-c:v libx265 -x265-params log-level=none clip.hevc",
    ],
)
def test_bits_per_pixel_are_those_of_the_frames_there_are(words):
    name = make(pictures(rate=60), words)
    lines = ffmpeg(f"-i {name} -c copy -f framecrc -")[0].decode().splitlines()
    sizes = [int(line.split(",")[4]) for line in lines if line[0] != "#"]
    assert inspect(Path(name)).bits_per_pixel == pytest.approx(8 * np.mean(sizes) / (ROWS * COLS), rel=0.1)

"""Audio, subtitles, chapters and tags of upscaled videos."""

import re
from pathlib import Path

import numpy as np
import pytest
from clips import TONE, describe, digest, ffmpeg, make, pictures, times, upscale

PICTURES = pictures()
H264 = "-c:v libx264"


@pytest.mark.parametrize("target", ["big.mp4", "big.mkv", "big.mov"])
def test_all_audio_tracks_are_kept_with_languages_dispositions_and_tags(target):
    words = "-map 0 -map 1 -map 2 -metadata creation_time=2020-01-02T03:04:05Z -metadata title=T"
    words += " -metadata:s:a:0 language=eng -metadata:s:a:1 language=deu -disposition:a:0 0 -disposition:a:1 default"
    words += " -timecode 01:02:03:04 -c:v libx264 -c:a aac clip.mp4"
    make(PICTURES, "-f lavfi -i sine=d=1 -f lavfi -i sine=f=880:d=1", words)
    notes = upscale("clip.mp4", target)
    printed = describe(target)
    tracks = re.findall(r"Stream #0:\d(?:\[\w+\])?(?:\((\w+)\))?: Audio: aac(.*)\n", printed)
    # QuickTime's list of languages has this one by another name only.
    assert [("default" in words) for _, words in tracks] == [False, True]
    assert [language for language, _ in tracks] == ["eng", "deu" if target != "big.mov" else ""]
    assert re.search(r"title\s+: T\n", printed)
    assert "2020-01-02T03:04:05" in printed
    assert re.search(r"timecode\s+: 01:02:03:04", printed, re.I)
    assert [digest(target, f"a:{number}") for number in (0, 1)] == [
        digest("clip.mp4", f"a:{number}") for number in (0, 1)
    ]
    assert ("left out, as MOV does not hold them: tags language deu" in notes) is (target == "big.mov")


@pytest.mark.parametrize(
    ("words", "name", "source", "kinds"),
    [
        ("-c:v libx264 -c:a pcm_bluray -ac 2", "bluray.m2ts", "pcm_bluray", ("flac", "aac")),
        ("-c:v mpeg2video -c:a pcm_dvd -ac 2", "dvd.vob", "pcm_dvd", ("flac", "aac")),
        ("-c:v wmv2 -c:a wmav2", "wma.wmv", "wmav2", ("aac", "aac")),
        ("-c:v libx264 -c:a pcm_s24le -ac 6", "multi.mkv", "pcm_s24le", ("pcm_s24le", "aac")),
        ("-c:v libx264 -c:a pcm_s16le -ac 1", "camera.mov", "pcm_s16le", ("pcm_s16le", "aac")),
        ("-c:v libx264 -c:a libvorbis -ac 2", "web.mkv", "vorbis", ("vorbis", "aac")),
        ("-c:v flv1 -c:a nellymoser -ar 22050 -ac 1", "old.flv", "nellymoser", ("aac", "aac")),
    ],
)
@pytest.mark.parametrize("ending", ["mkv", "mp4"])
def test_audio_that_a_format_does_not_hold_is_encoded_anew(words, name, source, kinds, ending):
    make(PICTURES, "-f lavfi -i sine=f=440:d=1:r=48000", words, name)
    notes = upscale(name, f"big.{ending}")
    kind = kinds[ending == "mp4"]
    assert f"Audio: {kind}" in describe(f"big.{ending}")
    assert (f"audio ({source}) becomes {kind.upper()}" in notes) is (kind != source)
    samples = [sound(path) for path in (name, f"big.{ending}")]
    assert len(samples[1]) == pytest.approx(len(samples[0]), abs=2500)
    # The same tone, as loud.
    spectra = [np.abs(np.fft.rfft(values[4000:40000] * np.hanning(36000))) for values in samples]
    assert spectra[0].argmax() == spectra[1].argmax()
    assert spectra[1].max() == pytest.approx(spectra[0].max(), rel=0.1)


def sound(name):
    data = ffmpeg("-loglevel quiet", f"-i {name}", "-map 0:a:0 -ac 1 -ar 48000 -f f32le -")[0]
    return np.frombuffer(data, "<f4")


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
@pytest.mark.parametrize(
    "words",
    [
        "-c:v mpeg2video -c:a mp2 clip.ts",
        "-c:v mpeg2video -c:a mp2 clip.mpg",
        "-c:v libx264 -c:a aac clip.mp4",
        "-c:v libx264 -c:a aac clip.mkv",
        "-c:v libvpx -c:a libvorbis clip.webm",
        "-c:v wmv2 -c:a wmav2 clip.wmv",
        "-c:v mpeg4 -c:a libmp3lame clip.nut",
        "-c:v flv1 -c:a libmp3lame -ar 44100 clip.flv",
    ],
)
def test_audio_stays_in_step(words, ending):
    """A tone begins 0.8 s after the pictures do: when its samples become loud is measured, from the first frame on."""
    name = make(pictures(seconds=3), "-itsoffset 0.8 -f lavfi -i sine=d=2:r=44100 -map 0:v -map 1:a", words)
    upscale(name, f"big.{ending}")
    late = [onset(path) for path in (name, f"big.{ending}")]
    assert late[0] == pytest.approx(0.8, abs=0.08)
    assert late[1] == pytest.approx(late[0], abs=0.03)


def onset(name):
    """Seconds from the first frame to the first loud sample."""
    # FFmpeg begins at the first of the streams that are mapped.
    filters = "-af aresample=async=1:first_pts=0 -ac 1 -ar 8000 -f f32le -"
    data = ffmpeg(f"-loglevel quiet -i {name} -map 0:v:0 -f null - -map 0:a:0", filters)[0]
    samples = np.abs(np.frombuffer(data, "<f4"))
    return int(np.argmax(samples > 0.02)) / 8000 - times(name, decoded=True)[0]


def make_subtitled(name="clip.mkv", codec="srt"):
    Path("s.srt").write_text("1\n00:00:00,200 --> 00:00:00,800\nHello <i>there</i>\n")
    text = ";FFMETADATA1\ntitle=Film\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=500\ntitle=One\n"
    Path("m.txt").write_text(f"{text}[CHAPTER]\nTIMEBASE=1/1000\nSTART=500\nEND=1000\ntitle=Two\n")
    sound = "-f lavfi -i aevalsrc=sin(440*t)|0|0|0|0|sin(80*t):c=5.1:d=1"
    words = "-i s.srt -i m.txt -map 0 -map 1 -map 2 -map_metadata 3 -map_chapters 3 -metadata:s:s language=fra"
    return make(PICTURES, sound, words, f"-c:v libx264 -c:a ac3 -c:s {codec} {name}")


@pytest.mark.parametrize(
    ("name", "codec", "target", "expected", "is_converted"),
    [
        ("clip.mkv", "srt", "big.mkv", "subrip", False),
        ("clip.mkv", "ass", "big.mkv", "ass", False),
        ("clip.mkv", "srt", "big.mp4", "mov_text", True),
        ("clip.mkv", "ass", "big.mov", "mov_text", True),
        ("clip.mp4", "mov_text", "big.mkv", "subrip", True),
        ("clip.mp4", "mov_text", "big.mp4", "mov_text", False),
    ],
)
def test_subtitles_and_chapters_are_kept(name, codec, target, expected, is_converted):
    make_subtitled(name, codec)
    notes = upscale(name, target)
    printed = describe(target)
    assert f"(fra): Subtitle: {expected}" in printed
    assert "Audio: ac3" in printed
    assert "5.1(side)" in printed
    assert re.search(r"title\s+: Film\n", printed)
    assert re.findall(r"Chapter #0:\d: start (\S+), end (\S+)\n.*\n\s+title\s+: (\w+)", printed) == [
        ("0.000000", "0.500000", "One"),
        ("0.500000", "1.000000", "Two"),
    ]
    text = ffmpeg("-loglevel error -copyts", f"-i {target}", "-map 0:s:0 -f srt -")[0].decode()
    assert re.search(r"00:00:00,(\d+) --> 00:00:00,800\nHello", text)
    assert int(re.search(r"00:00:00,(\d+)", text)[1]) == pytest.approx(200, abs=1)
    assert ("subtitles" in notes) is is_converted
    assert "left out" not in notes


@pytest.mark.parametrize("target", ["big.mp4", "big.mkv"])
def test_covers_and_fonts(target):
    make("-f lavfi -i color=red:s=32x32:d=0.04:r=25 -frames:v 1 cover.png")
    Path("font.ttf").write_bytes(b"a font")
    make(
        PICTURES,
        TONE,
        "-i cover.png -map 0 -map 1 -map 2 -c:v:0 libx264 -c:a aac -c:v:1 copy -disposition:v:1",
        "attached_pic clip.mp4",
    )
    make("-i clip.mp4 -map 0:v:0 -map 0:a -c copy -attach font.ttf -metadata:s:t mimetype=font/ttf clip.mkv")
    notes = upscale("clip.mp4", target)
    assert "left out" not in notes
    assert "png" in describe(target)
    assert "(attached pic)" in describe(target)
    notes = upscale("clip.mkv", f"font{target}")
    assert ("left out, as MP4 does not hold it: attachment font.ttf" in notes) is (target == "big.mp4")
    assert ("font.ttf" in describe(f"font{target}")) is (target == "big.mkv")


def test_what_is_left_out_is_named():
    make(PICTURES, PICTURES, "-map 0 -map 1 -c:v libx264 -metadata software=mine two.mkv")
    notes = upscale("two.mkv", "big.mp4")
    assert "left out: another video (h264)" in notes
    assert "left out, as MP4 does not hold them: tags" in notes
    assert "SOFTWARE" in notes.upper()


def test_a_title_in_latin_1_is_no_error():
    make(PICTURES, f"{H264} -metadata title=caffe clip.avi")
    data = Path("clip.avi").read_bytes().replace(b"caffe", b"caf\xe9\0")
    Path("clip.avi").write_bytes(data)
    upscale("clip.avi", "big.mp4")
    assert "café" in describe("big.mp4")

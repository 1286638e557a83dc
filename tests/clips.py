"""Small videos of kinds that people have, and what FFmpeg's own program says of videos."""

import os
import re
import subprocess
from fractions import Fraction
from pathlib import Path

import imageio_ffmpeg
import numpy as np

from srcnn_tf.config import Config
from srcnn_tf.upscaling.image_files import make_upscaler
from srcnn_tf.upscaling.video.upscale import upscale_video

ROWS, COLS = 48, 64
TONE = "-f lavfi -i sine=d=1:r=48000"


def pictures(size="64x48", rate=25, seconds=1, name="testsrc2"):
    """The words for FFmpeg that make test pictures."""
    return f"-f lavfi -i {name}=s={size}:r={rate}:d={seconds}"


def ffmpeg(*words):
    """Runs FFmpeg with words that blanks separate; returns what it writes and what it prints."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-hide_banner", "-nostdin"]
    command += [part for word in words for part in word.split()]
    done = subprocess.run(command, capture_output=True, env=os.environ | {"SVT_LOG": "1"})
    return done.stdout, done.stderr.decode(errors="replace")


def make(*words):
    """Makes a clip; the last word is its name, which is returned."""
    printed = ffmpeg("-loglevel error", *words)[1]
    assert not printed, printed
    return words[-1].split()[-1]


def upscale(source, target="big.mp4", **flags):
    """Upscales a clip, by 2 if nothing else is said; returns the notes."""
    config = Config(input=str(source), **{"scale": 2} | flags)
    return "\n".join(upscale_video(make_upscaler(config), config, (Path(source), Path(target))))


def describe(name):
    """What FFmpeg prints of a file."""
    return ffmpeg("-i", f"file:{name}")[1]


def times(name, stream="v:0", decoded=False, absolute=False):
    """Times in seconds of the packets of a stream, or of its decoded frames, in the order in which they are shown.

    FFmpeg counts from the start of the file, which audio may make negative; `absolute` gives what the file has.
    """
    copied = "-copyts" if absolute else ""
    how = "-fps_mode passthrough -enc_time_base demux" if decoded else "-c copy"
    text = ffmpeg("-loglevel error", copied, f"-i file:{name}", f"-map 0:{stream} {how} -f framecrc -")[0].decode()
    base = Fraction(*map(int, re.search(r"#tb 0: (\d+)/(\d+)", text).groups()))
    return sorted(float(int(line.split(",")[2]) * base) for line in text.splitlines() if line[0] != "#")


def end(name):
    """The duration of a file in seconds, as FFmpeg prints it."""
    hours, minutes, seconds = re.search(r"Duration: (\d+):(\d+):([\d.]+)", describe(name)).groups()
    return 3600 * int(hours) + 60 * int(minutes) + float(seconds)


def frames(name, pixel_format="yuv444p", channels=3, *options, dtype=np.uint8):
    """The frames `(n, channels, rows, cols)`, or `(n, rows, cols, channels)` in rgb24; each once."""
    cols, rows = size_of(name)
    words = ["-loglevel error", f"-i file:{name}", *options, "-map 0:v:0 -fps_mode passthrough -f rawvideo"]
    data = ffmpeg(*words, f"-pix_fmt {pixel_format} -")[0]
    shape = (-1, rows, cols, channels) if pixel_format == "rgb24" else (-1, channels, rows, cols)
    return np.frombuffer(data, dtype).reshape(shape)


def size_of(name):
    """Columns and rows of an upright frame, as FFmpeg shows it."""
    printed = describe(name)
    cols, rows = map(int, re.search(r"Video: .*?, (\d+)x(\d+)", printed).groups())
    turned = re.search(r"rotation of (-?\d+)", printed)
    return (rows, cols) if turned and abs(int(turned[1])) == 90 else (cols, rows)


def digest(name, stream):
    """The checksum of a stream's packets."""
    return ffmpeg("-loglevel error", f"-i file:{name}", f"-map 0:{stream} -c copy -f md5 -")[0].decode()


def psnr(actual, expected):
    """In dB, of 8 bits."""
    return -10 * np.log10(np.mean((actual / 255 - expected / 255.0) ** 2))

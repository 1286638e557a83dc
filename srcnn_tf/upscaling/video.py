"""Upscales videos frame by frame, with FFmpeg to decode and encode them."""

from __future__ import annotations

import re
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from srcnn_tf.config import Config
from srcnn_tf.errors import RunError
from srcnn_tf.images.formats import MAX_PIXELS
from srcnn_tf.images.page import as_array
from srcnn_tf.images.resize import imresize
from srcnn_tf.system.files import atomic_write
from srcnn_tf.upscaling.targets import VIDEO_OUTPUT_EXTENSIONS, Job, target_size
from srcnn_tf.upscaling.upscaler import Upscaler

try:
    import imageio_ffmpeg
except ImportError as error:
    raise RunError("Videos need the package imageio-ffmpeg: pip install 'srcnn_tf[video]'.") from error

# Frames are Y, Cb and Cr in the studio range, which the network was trained on; so no colour is ever converted.
PLANES = ["-vf", "scale=out_range=tv,format=yuv444p"]
BEST_CRF, CRF_PER_QUALITY = 14, 0.8  # of x264; 18 at the default quality of 95, which looks like the frames


def upscale_video(upscaler: Upscaler, config: Config, job: Job) -> list[str]:
    """Upscales a video: luma by the network, chroma by bicubic interpolation.

    Frame rate, the first audio stream and colour tags are kept; the video stream becomes H.264 of 8 bits. Frames are
    decoded, upscaled and encoded one by one. A progress bar counts them.

    Args:
        upscaler: what upscales it.
        config: gives the size, the quality and the largest size.
        job: the file to read, and the one to write.

    Returns:
        What to report.

    Raises:
        RunError: the video cannot be read, the result cannot be written, or there are no weights.
    """
    source, target = job
    if target.suffix.lower() not in VIDEO_OUTPUT_EXTENSIONS:
        expected = ", ".join(sorted(VIDEO_OUTPUT_EXTENSIONS))
        raise RunError(f"{target}: no video format to write has this extension; use one of {expected}.")
    metadata, frame_count = _inspect(source)
    cols, rows = metadata["size"]
    size = target_size(rows, cols, config)
    if size[0] * size[1] > (config.max_megapixels or MAX_PIXELS / 1e6) * 1e6:
        raise RunError(f"{source}: frames of {size[1]} x {size[0]} pixels are more than --max_megapixels allows.")
    rate = _frame_rate(metadata["fps"])
    factors, done = (Fraction(size[0], rows), Fraction(size[1], cols)), 0
    with atomic_write(target) as temporary:
        try:
            with (
                closing(_read_frames(source, rate, rows, cols)) as frames,
                closing(_writer(temporary, source, size, rate, metadata, config.quality)) as writer,
                ThreadPoolExecutor(2) as pool,
                tqdm(total=frame_count, unit=" frames", disable=None, dynamic_ncols=True) as bar,
            ):
                for frame in frames:
                    chroma = [pool.submit(imresize, plane, factors) for plane in frame[1:]]
                    luma = as_array(upscaler(frame[0], size, is_compressed=True))
                    writer.send(np.stack([luma, *(plane.result() for plane in chroma)]))
                    done += 1
                    bar.update()
        except OSError as error:  # what FFmpeg printed
            raise RunError(f"{target}: cannot be encoded ({_last_line(error)}); free some disk space.") from error
        if not done:
            raise RunError(f"{source}: no frame of it can be decoded; replace it.")
        _check_written(temporary, target, done)
    return [f"{source}: {done} frames upscaled"]


def _inspect(source: Path) -> tuple[dict[str, Any], int]:
    """Returns what FFmpeg says of a video, and its number of frames."""
    try:
        with closing(imageio_ffmpeg.read_frames(str(source))) as frames:
            metadata = next(frames)
        return metadata, imageio_ffmpeg.count_frames_and_secs(str(source))[0]
    except Exception as error:  # of a damaged file: OSError, RuntimeError, IndexError and more
        raise RunError(f"{source}: cannot be read as a video ({_last_line(error)}); replace it.") from error


def _check_written(path: Path, target: Path, frame_count: int) -> None:
    """Checks that all frames are in a file: FFmpeg's failure at the end, as on a full disk, raises no error."""
    try:
        written = imageio_ffmpeg.count_frames_and_secs(str(path))[0]
    except Exception:  # there is no file, or no index in it
        written = 0
    if written < frame_count:
        raise RunError(f"{target}: only {written} of {frame_count} frames could be written; free some disk space.")


def _last_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()


def _frame_rate(printed: float) -> Fraction:
    """Returns the frame rate that FFmpeg prints with two decimals: 29.97 is 30000/1001."""
    for rate in (24, 30, 48, 60, 120):
        if abs(printed - rate * 1000 / 1001) < 0.01:
            return Fraction(rate * 1000, 1001)
    return Fraction(str(printed))


def _read_frames(source: Path, rate: Fraction, rows: int, cols: int) -> Generator[NDArray[np.uint8]]:
    """Yields frames `(3, rows, cols)`: Y, Cb and Cr in the studio range, all of the same size."""
    # A video without a constant frame rate gets one, so that it stays as long as its audio.
    options = [*PLANES, "-r", str(rate)]
    frames = imageio_ffmpeg.read_frames(str(source), pix_fmt="yuv444p", bits_per_pixel=24, output_params=options)
    with closing(frames):
        next(frames)
        for frame in frames:
            yield np.frombuffer(frame, np.uint8).reshape(3, rows, cols)


def _writer(
    path: Path, source: Path, size: tuple[int, int], rate: Fraction, metadata: dict[str, Any], quality: int
) -> Any:
    """Starts FFmpeg; returns a generator that is sent frames."""
    writer = imageio_ffmpeg.write_frames(
        str(path),
        size[::-1],
        pix_fmt_in="yuv444p",
        # The format that all players know has one chroma pixel for 2 x 2 of luma.
        pix_fmt_out="yuv444p" if size[0] % 2 or size[1] % 2 else "yuv420p",
        fps=rate,
        macro_block_size=1,
        codec="libx264",
        quality=None,
        output_params=[
            *("-crf", str(min(51, round(BEST_CRF + CRF_PER_QUALITY * (100 - quality))))),
            *("-vf", "setparams=" + ":".join(["range=tv", *_color_tags(metadata["pix_fmt"])])),
        ],
        audio_path=str(source) if metadata.get("audio_codec") else None,
        audio_codec="copy" if metadata.get("audio_codec") else None,
    )
    writer.send(None)
    return writer


def _color_tags(pixel_format: str) -> list[str]:
    """Returns options of FFmpeg's filter setparams, from what it prints, such as `yuv420p(tv, bt709/unknown/bt709)`.

    RGB frames have been converted by BT.601, FFmpeg's default.
    """
    if pixel_format.startswith(("rgb", "bgr", "gbr", "pal", "argb", "abgr", "0rgb", "0bgr")):
        return ["colorspace=smpte170m"]
    printed = re.search(r"\((?:(?:tv|pc), )?([a-z0-9-]+)(?:/([a-z0-9-]+)/([a-z0-9-]+))?", pixel_format)
    if printed is None or printed[1] in ("tv", "pc", "progressive", "unknown"):
        return []
    values = [printed[1], printed[2] or printed[1], printed[3] or printed[1]]
    names = ("colorspace", "color_primaries", "color_trc")
    return [f"{name}={value}" for name, value in zip(names, values, strict=True) if value != "unknown"]

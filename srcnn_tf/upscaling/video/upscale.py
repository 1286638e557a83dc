"""Upscales a video file: luma by the network, chroma by bicubic interpolation; all else is kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from itertools import chain, count, islice
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

import srcnn_tf
from srcnn_tf.config import Config
from srcnn_tf.errors import RunError
from srcnn_tf.images.formats.interface import MAX_PIXELS
from srcnn_tf.images.page import as_array
from srcnn_tf.system.files import atomic_write
from srcnn_tf.system.jobs import Progress
from srcnn_tf.upscaling.sizes import scaled_size, upscaling_factor
from srcnn_tf.upscaling.targets import Job
from srcnn_tf.upscaling.upscaler import Upscaler
from srcnn_tf.upscaling.video.recognize import VIDEO_FORMATS
from srcnn_tf.upscaling.video.segments import Segments, segments_folder
from srcnn_tf.upscaling.video.source import FULL_RANGE, Source, inspect, reason

try:
    import av

    from srcnn_tf.upscaling.video.encoding import Encoding, Enlarger, add_video_stream, crf_of, read_luma
    from srcnn_tf.upscaling.video.frames import Frame, read_frames
    from srcnn_tf.upscaling.video.streams import join
except ImportError as error:
    raise RunError("Videos need the package av: pip install 'srcnn_tf[video]'.") from error

# Quantizers of H.264 below which weights for a degradation restore most: CRF 21 and 28, see docs/experiments.md.
QUANTIZER_LIMITS = {"matlab": 20.5, "jpeg90": 27.5}
# Other codecs do not say theirs: bits per pixel of each frame from which on `matlab` weights restore most, and half of
# which `jpeg90` needs. Of a codec of single frames, most.
MILD_COMPRESSION = {"h264": 0.25, "hevc": 0.08, "vp9": 0.1, "av1": 0.08, "vp8": 0.3, "mpeg4": 0.4, "mpeg2video": 0.5}
MILD_COMPRESSION_OF_FRAMES = 1.5


def upscale_video(upscaler: Upscaler, config: Config, job: Job) -> list[str]:
    """Upscales one video.

    Every frame keeps its time, and all other streams are kept where the format of the result holds them. Interrupted,
    it is resumed by the same call. Its frames, or its time, have a progress bar.

    Args:
        upscaler: what upscales luma.
        config: gives the size, the quality, the codec, and whether to deinterlace.
        job: the file to read, and the one to write.

    Returns:
        What to report: what was left out or changed, and which weights were chosen.

    Raises:
        RunError: it cannot be upscaled. There is no partial file of the result's name.
    """
    path, target = job
    if target.suffix.lower() not in VIDEO_FORMATS:
        expected = ", ".join(sorted(VIDEO_FORMATS))
        raise RunError(f"{target}: no video format to write has this extension; use one of {expected}.")
    source, notes = inspect(path), list[str]()
    if source.colors.range != FULL_RANGE:
        upscaler = upscaler.for_luma()
    try:
        size = scaled_size(source.rows, source.cols, config.scale, config.width, config.height)
        if size[0] * size[1] > (config.max_megapixels or MAX_PIXELS / 1e6) * 1e6:
            raise RunError(f"frames of {size[1]} x {size[0]} pixels are more than --max_megapixels allows.")
        (suited, why), factor = suited_to_stream(source), upscaling_factor((source.rows, source.cols), size)
        passes = upscaler.passes(factor, suited)
    except RunError as error:
        raise RunError(f"{path}: {error}") from error
    if config.degradation == "auto" and passes:
        notes.append(f"{passes[0].spec.degradation} weights, as {why}")
    encoding, was_there = _choose_encoding(source, size, config, notes), target.is_file()

    def upscale(luma: NDArray) -> NDArray:
        return as_array(upscaler(luma, size, suited))

    with segments_folder(target) as folder:
        if target.is_file() and not was_there:
            return [f"{path}: another process has made {target} meanwhile"]
        weights = f"{upscaler.describe(factor)} {[each.spec for each in passes]} {config.self_ensemble}"
        segments = Segments(folder, _identity(encoding, size, config, weights), encoding.rows, encoding.cols)
        try:
            if segments.end is None:
                _make_segments(segments, encoding, Enlarger(source, size, encoding), upscale, config.deinterlace)
            with atomic_write(target) as temporary:
                notes += [*segments.notes, *join(encoding, segments, target, temporary)]
        except av.FFmpegError as error:  # no OSError, of which `atomic_write` says what to do
            raise RunError(f"{target}: cannot be encoded ({reason(error)}); choose another --codec or name.") from error
        segments.remove()
    return [f"{path}: {note}" for note in dict.fromkeys([*source.notes, *notes])]


def suited_to_stream(source: Source) -> tuple[str, str]:
    """Returns the degradation whose weights suit a compressed video best, and what says so."""
    if source.quantizer is not None:
        how, found = f"quantizer {source.quantizer:.1f} of H.264", source.quantizer
        suited = next((name for name, limit in QUANTIZER_LIMITS.items() if found < limit), "jpeg")
    elif math.isinf(source.bits_per_pixel):
        how, suited = f"{source.codec}, without loss", "matlab"
    else:
        how = f"{source.bits_per_pixel:.3f} bits per pixel of {source.codec}"
        share = source.bits_per_pixel / MILD_COMPRESSION.get(source.codec, MILD_COMPRESSION_OF_FRAMES)
        suited = "matlab" if share >= 1 else "jpeg90" if share >= 0.5 else "jpeg"
    return suited, f"it is {'hardly compressed' if suited == 'matlab' else 'compressed'} ({how})"


def _choose_encoding(source: Source, size: tuple[int, int], config: Config, notes: list[str]) -> Encoding:
    """Chooses codec, bits and even sides, and notes what changes with them."""
    codec = config.codec or ("h264" if source.bits == 8 else "h265")
    bits = 8 if source.bits == 8 or codec == "h264" else 10
    rows, cols = (side - side % 2 for side in size)
    if (rows, cols) != size:
        notes.append(f"{cols} x {rows} pixels, as the sides have to be even: the last row or column is left out")
    if source.bits > bits:
        notes.append(f"its {source.bits} bits become {bits}")
    elif config.codec is None and bits > 8:
        notes.append(f"encoded as H.265, as it has {bits} bits")
    if source.has_full_chroma:
        notes.append("its colours get half the resolution in rows and columns (4:2:0), as phones and browsers need it")
    return Encoding(codec, bits, rows, cols, crf_of(config.quality), source)


def _identity(encoding: Encoding, size: tuple[int, int], config: Config, weights: str) -> dict[str, Any]:
    """Returns what determines the upscaled frames; not the path, so that a film that was moved is resumed."""
    status = encoding.source.path.stat()
    encoding = replace(encoding, source=replace(encoding.source, path=Path()))
    versions = [srcnn_tf.__version__, av.__version__, str(av.library_versions)]
    values = {"size": size, "deinterlace": config.deinterlace, "weights": weights, "versions": versions}
    return values | {"encoding": repr(encoding), "modified": status.st_mtime_ns, "bytes": status.st_size}


def _make_segments(
    segments: Segments,
    encoding: Encoding,
    enlarger: Enlarger,
    upscale: Callable[[NDArray], NDArray],
    is_deinterlaced: bool,
) -> None:
    """Makes the segments that are not there yet, with a progress bar."""
    source, notes, last = encoding.source, list[str](), None
    with (
        closing(read_frames(source, is_deinterlaced, notes)) as frames,
        closing(_write_segments(segments, frames, encoding, enlarger, upscale)) as done,
        _progress_bar(source) as bar,
    ):
        for frame in done:
            last = frame
            seconds = float(frame.time * source.time_base)
            bar.update(1 if source.frame_count else max(0, min(seconds, bar.total or seconds) - bar.n))
    if last is None:
        raise RunError(f"{source.path}: no frame of it can be decoded; replace it.")
    segments.complete(last.time + last.duration, notes)


def _progress_bar(source: Source) -> Progress:
    """Returns a bar that counts frames; if their number is not known, seconds of the video."""
    if source.seconds and not source.frame_count:
        return Progress(source.seconds, "{n:.1f} of {total:.1f} seconds of video [{elapsed}<{remaining}]")
    text = (
        "{n:.0f} of {total:.0f} frames [{elapsed}<{remaining}]" if source.frame_count else "{n:.0f} frames [{elapsed}]"
    )
    return Progress(source.frame_count, text)


def _write_segments(
    segments: Segments,
    frames: Generator[Frame],
    encoding: Encoding,
    enlarger: Enlarger,
    upscale: Callable[[NDArray], NDArray],
) -> Generator[Frame]:
    """Upscales the frames that are in no segment yet, encodes them, and yields all, those in segments at once."""
    with ThreadPoolExecutor(1) as pool:  # the next frame is decoded while one is upscaled
        ahead = _read_ahead(frames, pool)
        for number in count():
            part = islice(ahead, segments.frames)
            if number < segments.finished:
                yield from part
                continue
            if (first := next(part, None)) is None:
                return
            with (
                atomic_write(segments.path(number)) as temporary,
                # NUT keeps times exactly; those of decoding, which may be negative, it does not need.
                av.open(f"file:{temporary}", "w", format="nut", options={"avoid_negative_ts": "disabled"}) as output,
            ):
                stream = add_video_stream(output, encoding)
                for frame in chain([first], part):
                    enlarged = enlarger(frame.picture, upscale(read_luma(frame.picture)))
                    enlarged.pts, enlarged.time_base, enlarged.duration = (
                        frame.time,
                        encoding.source.time_base,
                        frame.duration,
                    )
                    output.mux(stream.encode(enlarged))
                    yield frame
                output.mux(stream.encode(None))
            segments.finished = number + 1


def _read_ahead(frames: Iterator[Frame], pool: ThreadPoolExecutor) -> Iterator[Frame]:
    future = pool.submit(next, frames, None)
    while (frame := future.result()) is not None:
        future = pool.submit(next, frames, None)
        yield frame

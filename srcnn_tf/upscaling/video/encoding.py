"""Scales the chroma of frames, puts the upscaled luma into them, and encodes them."""

from __future__ import annotations

import contextlib
import logging
import os
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.codec.context import Flags
from numpy.typing import NDArray

from srcnn_tf.errors import RunError
from srcnn_tf.system.threads import cores
from srcnn_tf.upscaling.video.frames import make_graph
from srcnn_tf.upscaling.video.source import Mastering, Source, reason

BEST_CRF, CRF_PER_QUALITY = 14, 0.8  # of x264; 18 at the default quality of 95, which looks like the frames
logging.getLogger("libav").addHandler(logging.NullHandler())  # else Python would print what other threads log meanwhile
FASTEST_AV1 = 240  # frames per second that SVT-AV1 takes; the times of frames do not depend on it
MOST_AV1_THREADS = 6  # the largest level of parallelism of SVT-AV1


@dataclass(frozen=True)
class Encoding:
    """How a video is encoded.

    Attributes:
        codec: `h264`, `h265` or `av1`.
        bits: 8 or 10.
        rows: of a frame, even.
        cols: of a frame, even.
        crf: constant rate factor, as x264 counts it.
        source: what is encoded: its colours, times and the aspect of its pixels are kept.
    """

    codec: str
    bits: int
    rows: int
    cols: int
    crf: int
    source: Source


def crf_of(quality: int) -> int:
    """Returns the constant rate factor of x264 for `--quality`."""
    return min(51, round(BEST_CRF + CRF_PER_QUALITY * (100 - quality)))


class Enlarger:
    """Makes frames of the upscaled size: luma is given, chroma is interpolated with bicubic filters."""

    def __init__(self, source: Source, size: tuple[int, int], encoding: Encoding) -> None:
        """Makes no graph yet.

        Args:
            source: the video.
            size: rows and columns of an upscaled frame, before it is made even.
            encoding: gives the even size, and the number of bits.
        """
        self._source, self._size, self._encoding = source, size, encoding
        self._graph: Any = None
        self._format = ""

    def __call__(self, picture: av.VideoFrame, luma: NDArray) -> av.VideoFrame:
        """Returns an upscaled frame.

        Args:
            picture: of `frames.read_frames`.
            luma: `(rows, cols)`, uint8, or uint16 with the full range of 16 bits.
        """
        if picture.format.name != self._format:
            self._graph, self._format = self._make_graph(picture), picture.format.name
        self._graph.vpush(picture)
        frame: av.VideoFrame = self._graph.vpull()
        frame.make_writable()
        values = luma[: frame.height, : frame.width]
        if luma.dtype == np.uint16:
            values = _rounded(values, self._encoding.bits)
        view_luma(frame)[:] = values
        frame.pict_type = 0  # the encoder chooses it
        return frame

    def _make_graph(self, picture: av.VideoFrame) -> Any:
        (rows, cols), filters = self._size, []
        if self._source.rows % 2 or self._source.cols % 2:  # as many luma pixels as those chroma has
            even = self._source.rows + self._source.rows % 2, self._source.cols + self._source.cols % 2
            filters.append(("pad", f"{even[1]}:{even[0]}"))
            rows, cols = (
                round(Fraction(rows * even[0], self._source.rows)),
                round(Fraction(cols * even[1], self._source.cols)),
            )
        siting = "center" if self._source.has_centered_chroma else "left"
        # Keys' kernel with a = -1/2, as of images. Of what is encoded, players assume that chroma is at the left.
        kernel = "flags=bicubic+accurate_rnd:param0=0:param1=0.5"
        filters.append(("scale", f"{cols}:{rows}:{kernel}:in_chroma_loc={siting}:out_chroma_loc=left"))
        filters.append(("format", pixel_format(self._encoding.bits)))
        filters.append(("crop", f"{self._encoding.cols}:{self._encoding.rows}:0:0"))
        return make_graph(picture, filters)


def read_luma(picture: av.VideoFrame) -> NDArray:
    """Returns the luma of a frame, `(rows, cols)`: uint8, or uint16 with the full range of 16 bits."""
    bits = picture.format.components[0].bits
    return view_luma(picture) if bits == 8 else view_luma(picture) << (16 - bits)


def view_luma(frame: av.VideoFrame) -> NDArray:
    """Returns the luma of a frame, `(rows, cols)`, as a view of its memory."""
    dtype = np.uint8 if frame.format.components[0].bits == 8 else np.dtype("<u2")
    plane: Any = frame.planes[0]
    return np.frombuffer(plane, dtype).reshape(plane.height, -1)[:, : plane.width]


def _rounded(values: NDArray, bits: int) -> NDArray:
    """Rounds 16 bits to fewer."""
    shift = 16 - bits
    return np.minimum((values.astype(np.uint32) + (1 << shift - 1)) >> shift, (1 << bits) - 1)


def pixel_format(bits: int) -> str:
    """Returns FFmpeg's name of the format that is encoded, which phones and browsers play: 4:2:0."""
    return "yuv420p" if bits == 8 else "yuv420p10le"


def add_video_stream(container: av.container.OutputContainer, encoding: Encoding) -> Any:
    """Adds a stream with an encoder to a file, and opens the encoder.

    Raises:
        RunError: the encoder cannot encode this; says what the encoder said.
    """
    source, rate = encoding.source, encoding.source.rate
    name, options = _encoder(encoding)
    stream: Any = container.add_stream(name, rate=min(rate, Fraction(FASTEST_AV1)) if encoding.codec == "av1" else rate)
    context = stream.codec_context
    context.options = options
    context.width, context.height, context.pix_fmt = encoding.cols, encoding.rows, pixel_format(encoding.bits)
    context.time_base = stream.time_base = source.time_base
    context.sample_aspect_ratio = source.pixel_aspect
    context.color_range, context.colorspace = source.colors.range, source.colors.matrix
    context.color_primaries, context.color_trc = source.colors.primaries, source.colors.transfer
    context.flags |= Flags.frame_duration
    if encoding.codec == "h264":
        context.thread_count = cores() + (cores() + 1) // 2  # as many as x264 chooses for so many cores
    if encoding.codec == "h265" and container.format.name in ("mp4", "mov"):
        context.codec_tag = "hvc1"  # Apple's players take no other
    os.environ["SVT_LOG"] = "0"  # of SVT-AV1: nothing goes to the terminal
    try:
        context.open()
    except av.FFmpegError as error:
        raise RunError(
            f"{source.path}: {name} cannot encode {encoding.cols} x {encoding.rows} pixels "
            f"({_said(context) or reason(error)}); choose another --codec or size."
        ) from error
    return stream


def _said(context: Any) -> str:
    """Returns what an encoder says when it cannot be opened."""
    av.logging.set_level(av.logging.ERROR)
    try:
        with av.logging.Capture() as lines, contextlib.suppress(av.FFmpegError):
            context.open()
    finally:
        av.logging.set_level(None)
    return " ".join(text.strip() for _, _, text in lines)


def _encoder(encoding: Encoding) -> tuple[str, dict[str, str]]:
    """Returns FFmpeg's name of the encoder, and its options."""
    crf, mastering, parameters = str(encoding.crf), encoding.source.mastering, {}
    if encoding.codec == "h264":
        return "libx264", {"crf": crf}
    if encoding.codec == "h265":
        if mastering.display:  # in units of 1 / 50,000, and of 1 / 10,000 cd/m2
            parameters["master-display"] = _display(mastering, 50_000, 10_000)
        if mastering.light:
            parameters["max-cll"] = ",".join(map(str, mastering.light))
        if parameters:
            parameters["hdr10"] = "1"
        parameters |= {"log-level": "none", "pools": str(cores())}
        return "libx265", {"crf": crf, "x265-params": _joined(parameters)}
    if mastering.display:
        parameters["mastering-display"] = _display(mastering, 1, 1)
    if mastering.light:
        parameters["content-light"] = ",".join(map(str, mastering.light))
    parameters["lp"] = str(min(cores(), MOST_AV1_THREADS))
    return "libsvtav1", {"crf": crf, "preset": "8", "svtav1-params": _joined(parameters)}


def _display(mastering: Mastering, per_unit: int, per_candela: int) -> str:
    """Returns the colour volume of a display as the encoders take it: x265 whole numbers, SVT-AV1 decimals."""

    def pair(name: str, values: tuple[Fraction, Fraction], units: int) -> str:
        digits = 0 if units > 1 else 5
        return f"{name}({float(values[0] * units):.{digits}f},{float(values[1] * units):.{digits}f})"

    red, green, blue, white, (least, largest) = mastering.display
    points = {"G": green, "B": blue, "R": red, "WP": white}
    text = "".join(pair(name, point, per_unit) for name, point in points.items())
    return text + pair("L", (largest, least), per_candela)


def _joined(parameters: dict[str, str]) -> str:
    return ":".join(f"{name}={value}" for name, value in parameters.items())

"""Decodes the frames of a video: progressive, upright, of one size, each with its time."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from typing import Any, NamedTuple

import av

from srcnn_tf.errors import RunError
from srcnn_tf.upscaling.video.source import (
    FULL_RANGE,
    GAP,
    Source,
    clock_time,
    decode,
    open_video,
    read_packets,
    reason,
    set_threads,
    video_stream,
)

# Filters that put a transparent frame on white, as pages mostly are: 255 - (255 - value) * alpha.
ON_WHITE = [("negate", ""), ("premultiply", "inplace=1"), ("negate", "")]
MATRIX_NAMES = {1: "bt709", 5: "bt470bg", 6: "smpte170m", 9: "bt2020nc"}  # that RGB may be converted to


class Frame(NamedTuple):
    """A frame, and when it is shown.

    Attributes:
        picture: planar YCbCr of 8 bits, or of 10 where the source has more.
        time: since the start of the file, in units of `Source.time_base`.
        duration: in the same unit.
    """

    picture: av.VideoFrame
    time: int
    duration: int


def read_frames(source: Source, is_deinterlaced: bool, notes: list[str]) -> Generator[Frame]:
    """Yields the frames of a video, in the order in which they are shown, at times that increase strictly.

    Args:
        source: a video.
        is_deinterlaced: whether interlaced frames become progressive ones.
        notes: gets a line on what was deinterlaced, resized, or cannot be decoded.

    Raises:
        RunError: the file cannot be read.
    """
    with open_video(source.path) as container:
        stream = video_stream(container)
        assert stream is not None  # as `inspect` has found it
        set_threads(stream)
        timeline, preparation = _Timeline(source), _Preparation(source, is_deinterlaced, notes)
        others = [one for one in container.streams.audio if one.codec_context is not None]
        for packet in read_packets(container, [stream, *others], notes):
            if packet.stream.index == stream.index:
                frames = decode(stream, packet)
                timeline.is_damaged |= packet.is_corrupt
                for frame in frames:
                    yield from preparation(frame, *timeline(frame))
        for frame in decode(stream, None):
            yield from preparation(frame, *timeline(frame))
        yield from preparation.finish()
        notes += timeline.holes()


class _Timeline:
    """Says when frames are shown.

    Attributes:
        is_damaged: whether a packet since the last frame is damaged.
    """

    def __init__(self, source: Source) -> None:
        self._base = source.time_base
        self._usual = max(1, round(1 / source.rate / source.time_base))  # ticks a frame
        self._end: int | None = None  # of the last frame, as its duration says
        self._last = -1  # no time is negative
        self._gaps: list[tuple[int, int, bool]] = []  # begin, end, and whether something is damaged there
        self._frames = self._irregular = 0
        self.is_damaged = False

    def __call__(self, frame: av.VideoFrame) -> tuple[int, int]:
        """Returns the time and the duration of the next frame."""
        time = frame.pts if frame.pts is not None else frame.dts  # AVI has no others
        if time is None:
            time = 0 if self._end is None else self._end
        time = max(time, self._last + 1)
        duration = frame.duration or self._usual
        if self._end is not None and (time - self._end) * self._base > GAP:
            self._gaps.append((self._end, time, self.is_damaged or frame.is_corrupt))
        elif self._end is not None:
            self._irregular += abs(time - self._end) > duration / 2
        self._frames += 1
        self._last, self._end, self.is_damaged = time, time + duration, False
        return time, duration

    def holes(self) -> list[str]:
        """Names the holes. In a video whose frames come irregularly, a long gap is none."""
        is_regular = 10 * self._irregular < self._frames
        gaps = [(begin, end) for begin, end, is_damaged in self._gaps if is_regular or is_damaged]
        in_seconds = [[clock_time(float(ticks * self._base)) for ticks in gap] for gap in gaps]
        return [f"has a hole: no frame from {begin} to {end}" for begin, end in in_seconds]


class _Preparation:
    """Makes frames progressive, upright, of the size of the first one, and planar YCbCr."""

    def __init__(self, source: Source, is_deinterlaced: bool, notes: list[str]) -> None:
        self._source, self._is_deinterlaced, self._notes = source, is_deinterlaced, notes
        self._graph: av.filter.Graph | None = None
        self._properties: tuple[Any, ...] = ()  # that a graph is made for
        self._is_interlaced = False
        self._times: deque[tuple[int, int]] = deque()  # of the frames that are in the graph

    def __call__(self, frame: av.VideoFrame, time: int, duration: int) -> Iterator[Frame]:
        """Takes a frame, and yields those that are ready."""
        if frame.interlaced_frame and self._is_deinterlaced and not self._is_interlaced:
            self._is_interlaced = True
            self._notes.append("is interlaced: deinterlaced (--deinterlace=False leaves it)")
        size = frame.width, frame.height
        properties = (frame.format.name, *size, frame.color_range, frame.colorspace, self._is_interlaced)
        if properties != self._properties:
            yield from self.finish()
            if self._properties and self._properties[1:3] != size:
                when = clock_time(float(time * self._source.time_base))
                self._notes.append(f"its frames have another size from {when} on, and are resized to that of the first")
            self._graph, self._properties = self._make_graph(frame), properties
        assert self._graph is not None
        self._times.append((time, duration))
        self._graph.vpush(frame)
        yield from self._ready()

    def finish(self) -> Iterator[Frame]:
        """Yields the frames that are left."""
        if self._graph is not None:
            self._graph.vpush(None)
            yield from self._ready()
            self._graph = None

    def _ready(self) -> Iterator[Frame]:
        while self._times:
            try:
                picture = self._graph.vpull()  # type: ignore[union-attr]
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            yield Frame(picture, *self._times.popleft())

    def _make_graph(self, frame: av.VideoFrame) -> av.filter.Graph:
        source, colors = self._source, self._source.colors
        filters = [("bwdif", "send_frame:auto:interlaced")] * self._is_interlaced + list(source.turn)
        if frame.format.is_rgb and any(one.is_alpha for one in frame.format.components):
            filters += ON_WHITE
        matrix = MATRIX_NAMES.get(colors.matrix) if source.is_rgb else None
        size = f"{source.cols}:{source.rows}:flags=bicubic+accurate_rnd"
        color_range = "full" if colors.range == FULL_RANGE else "limited"
        filters.append(("scale", f"{size}:out_range={color_range}" + (f":out_color_matrix={matrix}" if matrix else "")))
        depth = "10le" if source.bits > 8 else ""
        filters.append(("format", "|".join(f"yuv{layout}p{depth}" for layout in (420, 422, 440, 444))))
        return make_graph(frame, filters)


def make_graph(frame: av.VideoFrame, filters: list[tuple[str, str]]) -> av.filter.Graph:
    """Returns a graph of filters, one after the other, for frames like this one; times are frame numbers."""
    graph = av.filter.Graph()
    size = f"video_size={frame.width}x{frame.height}:pix_fmt={frame.format.name}:time_base=1/1000"
    try:
        buffer = graph.add("buffer", f"{size}:colorspace={frame.colorspace}:range={frame.color_range}")
        nodes = [graph.add(name, arguments or None) for name, arguments in filters]
        graph.link_nodes(buffer, *nodes, graph.add("buffersink")).configure()
    except av.FFmpegError as error:
        raise RunError(f"frames of the format {frame.format.name} cannot be converted ({reason(error)})") from error
    return graph

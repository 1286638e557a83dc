"""Joins the segments of a video with all other streams of its source."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from srcnn_tf.upscaling.video.encoding import Encoding, add_video_stream
from srcnn_tf.upscaling.video.recognize import VIDEO_FORMATS
from srcnn_tf.upscaling.video.segments import Segments
from srcnn_tf.upscaling.video.source import decode, is_cover, open_video, read_packets, video_stream

NAMES = {"mp4": "MP4", "mov": "MOV", "matroska": "Matroska"}
# Layouts that AAC and FLAC have, by the number of channels.
LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "4.0", 5: "5.0", 6: "5.1", 7: "7.1", 8: "7.1"}
AAC_BITS = 96_000  # per second and channel
UNUSUAL_IN_MP4 = ("pcm", "vorbis")  # beginnings of codecs' names: FFmpeg writes them, browsers and phones expect AAC
# Tags of the former file and encoding begin with one of these; they are wrong in the result.
FORMER_TAGS = (
    *("encoder", "duration", "bps", "number_of_", "_statistics_", "vendor_id", "alpha_mode"),
    *("major_brand", "minor_version", "compatible_brands"),
)


def join(encoding: Encoding, segments: Segments, target: Path, path: Path) -> list[str]:
    """Writes the upscaled video with everything else of the source.

    Args:
        encoding: of the video.
        segments: its upscaled frames; all are complete.
        target: the final name, whose ending selects the format.
        path: the file to write.

    Returns:
        What is converted or left out, a line each.
    """
    source = encoding.source
    notes: list[str] = []
    container_format = VIDEO_FORMATS[target.suffix.lower()]
    with open_video(source.path) as original:
        video = video_stream(original)
        assert video is not None  # as `inspect` has found it
        # Matroska says by how much a codec is late, so that its first packets may have negative times.
        options = {"avoid_negative_ts": "disabled"} if container_format == "matroska" else {}
        with av.open(f"file:{path}", "w", format=container_format, options=options) as output:
            new = add_video_stream(output, encoding)
            _keep_tags(video, new)
            output.metadata.update(_tags(original.metadata))
            output.set_chapters(_chapters(original))
            others = _add_others(original, video, output, notes)
            output.start_encoding()
            packets: Iterator[Any] = _video_packets(segments, source.time_base, new)
            ahead = next(packets, None)
            wanted = [stream for stream in original.streams if stream.index in others]
            audio = [stream for stream in original.streams.audio if stream.codec_context is not None]
            read = list({stream.index: stream for stream in [video, *audio, *wanted]}.values())
            packet: Any
            for packet in read_packets(original, read, notes) if others else ():
                if (other := others.get(packet.stream.index)) is None:
                    continue
                time = packet.dts if packet.dts is not None else packet.pts
                while ahead is not None and time is not None:
                    if ahead.dts * ahead.time_base > time * packet.time_base:
                        break
                    output.mux(ahead)
                    ahead = next(packets, None)
                output.mux(other.packets(packet))
            while ahead is not None:
                output.mux(ahead)
                ahead = next(packets, None)
            for other in others.values():
                output.mux(other.packets(None))
        missing = _missing_tags(original, others, path)
    if missing:
        notes.append(f"left out, as {NAMES[container_format]} does not hold them: tags {', '.join(missing)}")
    return notes


def _video_packets(segments: Segments, time_base: Fraction, stream: Any) -> Iterator[Any]:
    """Yields the packets of all segments, in the order of decoding, for a stream.

    They are decoded at the times at which frames are shown, less a delay. Then MP4, which has the durations of
    decoding, has those of the frames.
    """
    paths, end = [segments.path(number) for number in range(segments.finished)], segments.end
    assert end is not None  # all are complete
    coded = [packet.pts for path in paths for packet in _packets_of(path, time_base)]
    shown = sorted(coded)
    delay = max(time - own for time, own in zip(shown, coded, strict=True))
    following = dict(zip(shown, [*shown[1:], end], strict=True))
    packets = (packet for path in paths for packet in _packets_of(path, time_base))
    for number, packet in enumerate(packets):
        packet.dts = shown[number] - delay
        is_last = number == len(shown) - 1
        packet.duration = end - shown[-1] if is_last else following[packet.pts] - packet.pts
        packet.stream = stream
        yield packet


def _packets_of(path: Path, time_base: Fraction) -> Iterator[Any]:
    packet: Any
    with av.open(f"file:{path}") as container:
        for packet in container.demux(video=0):
            if packet.size:
                factor = packet.time_base / time_base
                packet.pts, packet.dts, packet.time_base = round(packet.pts * factor), None, time_base
                yield packet


def _tags(tags: dict[str, str]) -> dict[str, str]:
    """Returns the tags that stay true, in UTF-8."""
    kept = {name: value for name, value in tags.items() if not name.lower().startswith(FORMER_TAGS)}
    return {name: _in_utf8(value) for name, value in kept.items()}


def _keep_tags(stream: Any, new: Any) -> None:
    new.metadata.update(_tags(stream.metadata))
    new.disposition = stream.disposition


def _in_utf8(text: str) -> str:
    data = text.encode("utf-8", "surrogateescape")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _missing_tags(original: Any, others: Iterable[int], path: Path) -> list[str]:
    """Lists the tags of a file, and the languages of the streams that are kept, that its result does not have."""
    with open_video(path) as result:
        found = {name.lower() for stream in result.streams for name in stream.metadata}
        found |= {name.lower() for name in result.metadata}
        found |= {f"language {stream.language}" for stream in result.streams}
    expected = sorted(_tags(original.metadata)) + [f"language {original.streams[index].language}" for index in others]
    return [name for name in dict.fromkeys(expected) if name.lower() not in {*found, "language none", "language und"}]


def _chapters(original: av.container.InputContainer) -> list[Any]:
    chapters = original.chapters()
    for chapter in chapters:
        base = chapter["time_base"]
        if base:
            begin = round((original.start_time or 0) / 1e6 / base)
            chapter["start"], chapter["end"] = max(0, chapter["start"] - begin), max(0, chapter["end"] - begin)
        chapter["metadata"] = _tags(chapter["metadata"])
    return chapters


def _add_others(original: Any, video: Any, output: Any, notes: list[str]) -> dict[int, Any]:
    """Adds all other streams that the format holds, or that can be converted, to a file.

    Returns:
        By the index of a stream, what makes the packets of the result: its method `packets` takes a packet, or None at
        the end.
    """
    others: dict[int, Any] = {}
    left_out = []
    is_matroska = output.format.name == "matroska"
    for stream in original.streams:
        if stream.index == video.index:
            continue
        name, held = _describe(stream), _is_held(stream, output.format.name)
        if stream.type == "attachment":
            if is_matroska:
                output.add_attachment(stream.name or "attachment", stream.mimetype or "", stream.data)
            else:
                left_out.append(f"attachment {stream.name}")
        elif stream.type == "video" and is_cover(stream) and is_matroska:
            _attach_cover(original, stream, output)
        elif stream.type in ("audio", "subtitle") or is_cover(stream):
            if held:
                others[stream.index] = Copied(output, stream)
            elif stream.type == "audio" and stream.codec_context is not None:
                other = EncodedAudio(output, stream)
                others[stream.index] = other
                notes.append(f"{name} becomes {other.name}, which players of {NAMES[output.format.name]} know")
            elif stream.codec_context is not None and stream.type == "subtitle" and stream.codec_context.codec.text_sub:
                converted = ConvertedSubtitles(output, stream)
                others[stream.index] = converted
                notes.append(f"{name} become {converted.name}, as {NAMES[output.format.name]} does not hold them")
            else:
                left_out.append(name)
        elif stream.type == "video":
            notes.append(f"left out: {name}")
        elif not _is_represented(stream, original):
            left_out.append(name)
    if left_out:
        notes.append(f"left out, as {NAMES[output.format.name]} does not hold it: {', '.join(left_out)}")
    return others


def _describe(stream: Any) -> str:
    codec = stream.codec_context.codec.name if stream.codec_context is not None else stream.name or "unknown"
    kind = {"subtitle": "subtitles", "video": "cover" if is_cover(stream) else "another video"}.get(stream.type)
    language = stream.metadata.get("language", "und")
    return f"{kind or stream.type} ({codec}{'' if language == 'und' else ', ' + language})"


def _is_represented(stream: Any, original: Any) -> bool:
    """Tells whether a data stream has what tags and chapters of the result say, too."""
    handler = stream.metadata.get("handler_name", "").lower()
    is_timecode = "timecode" in stream.metadata or "timecode" in handler
    return stream.type == "data" and (is_timecode or (bool(original.chapters()) and stream.name == "bin_data"))


def _is_held(stream: Any, container_format: str) -> bool:
    """Tells whether a format holds a stream as it is, so that players find it there."""
    if stream.codec_context is None:
        return False
    if container_format == "mp4" and stream.name.startswith(UNUSUAL_IN_MP4):
        return False
    try:
        with av.open(io.BytesIO(), "w", format=container_format) as output:
            output.add_stream_from_template(stream, opaque=True)
            output.start_encoding()
    except (av.FFmpegError, ValueError):
        return False
    return True


def _attach_cover(original: Any, stream: Any, output: Any) -> None:
    """Attaches a cover as Matroska has it."""
    with open_video(original.name.removeprefix("file:")) as again:
        data = next(bytes(packet) for packet in again.demux(again.streams[stream.index]) if packet.size)
    kind = "png" if stream.codec_context.codec.name == "png" else "jpeg"
    output.add_attachment(f"cover.{kind.replace('jpeg', 'jpg')}", f"image/{kind}", data)


class Copied:
    """A stream that is copied."""

    def __init__(self, output: Any, stream: Any) -> None:
        self._new = output.add_stream_from_template(stream, opaque=True)
        _keep_tags(stream, self._new)
        self._last: int | None = None

    def packets(self, packet: Any) -> list[Any]:
        """Returns the packet for the result."""
        if packet is None:
            return []
        time = packet.dts if packet.dts is not None else packet.pts
        if time is None:  # of covers
            time = 0 if self._last is None else self._last + 1
        packet.dts = self._last = time if self._last is None else max(time, self._last + 1)
        packet.pts = packet.dts if packet.pts is None else max(packet.pts, packet.dts)
        packet.stream = self._new
        return [packet]


class EncodedAudio:
    """Audio that is encoded anew: as FLAC what was lossless, if the format is Matroska; else as AAC.

    Attributes:
        name: of the codec.
    """

    def __init__(self, output: Any, stream: Any) -> None:
        context = stream.codec_context
        is_lossless = bool(context.codec.lossless) and not context.codec.lossy
        self.name = "FLAC" if is_lossless and output.format.name == "matroska" else "AAC"
        rates = av.Codec(self.name.lower(), "w").audio_rates
        rate = context.sample_rate if not rates or context.sample_rate in rates else 48_000
        self._stream, self._new = stream, output.add_stream(self.name.lower(), rate=rate)
        self._new.layout = LAYOUTS.get(context.channels, "stereo")
        if self.name == "AAC":
            self._new.bit_rate = AAC_BITS * self._new.layout.nb_channels
        else:
            self._new.format = "s16" if context.format.name.startswith(("u8", "s16")) else "s32"
        _keep_tags(stream, self._new)
        self._new.codec_context.open()
        self._graph: Any = None
        self._properties: tuple[Any, ...] = ()

    def packets(self, packet: Any) -> list[Any]:
        """Decodes a packet, and returns those that are encoded."""
        made: list[Any] = []
        for frame in decode(self._stream, packet):
            properties = frame.sample_rate, frame.format.name, frame.layout.name
            if properties != self._properties:
                made += self._encode(None)
                self._graph, self._properties = self._make_graph(frame), properties
            made += self._encode(frame)
        if packet is None:
            made += self._encode(None)
            made += self._new.encode(None)
        return made

    def _encode(self, frame: Any) -> list[Any]:
        if self._graph is None:
            return []
        made: list[Any] = []
        self._graph.push(frame)
        while True:
            try:
                ready = self._graph.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return made
            made += self._new.encode(ready)

    def _make_graph(self, frame: Any) -> Any:
        """Makes a graph that resamples, and fills gaps with silence, so that audio stays in step."""
        graph, new = av.filter.Graph(), self._new
        buffer = graph.add_abuffer(
            sample_rate=frame.sample_rate,
            format=frame.format.name,
            layout=frame.layout.name if "channels" not in frame.layout.name else LAYOUTS[frame.layout.nb_channels],
            time_base=frame.time_base,
        )
        kinds = f"sample_fmts={new.format.name}:sample_rates={new.rate}:channel_layouts={new.layout.name}"
        nodes = [graph.add("aresample", "async=1"), graph.add("aformat", kinds), graph.add("abuffersink")]
        graph.link_nodes(buffer, *nodes).configure()
        if new.frame_size:
            graph.set_audio_frame_size(new.frame_size)
        return graph


class ConvertedSubtitles:
    """Subtitles of a text format that are converted to that of the result.

    Attributes:
        name: of the format.
    """

    def __init__(self, output: Any, stream: Any) -> None:
        self.name = "srt" if output.format.name == "matroska" else "mov_text"
        self._stream, self._new = stream, output.add_stream(self.name)
        _keep_tags(stream, self._new)
        stream.codec_context.open(strict=False)
        self._new.codec_context.subtitle_header = stream.codec_context.subtitle_header
        self._new.codec_context.time_base = self._new.time_base = stream.time_base
        self._new.codec_context.open()

    def packets(self, packet: Any) -> list[Any]:
        """Converts a packet."""
        if packet is None:
            return []
        try:
            subtitles = self._stream.decode2(packet)
            if subtitles is None or not len(subtitles):
                return []
            made = self._new.codec_context.encode_subtitle(subtitles)
        except av.FFmpegError:
            return []
        made.pts = made.dts = packet.pts
        made.duration, made.time_base, made.stream = packet.duration, packet.time_base, self._new
        return [made]

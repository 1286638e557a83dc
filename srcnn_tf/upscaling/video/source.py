"""Opens video files, and says what their pictures are like."""

from __future__ import annotations

import io
import math
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageSequence

from srcnn_tf.errors import RunError
from srcnn_tf.system.threads import cores

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.stream import Stream
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

try:
    import av
except ImportError:  # `open_video` says how to install it
    av = None  # type: ignore[assignment]

# Demuxers of FFmpeg that take a text or an image for a video, or open other files that it names.
NOT_VIDEOS = frozenset({"tty", "ico", "fits", "image2", "hls", "dash", "concat", "sdp", "rtsp", "imf"})
TS_DISCONT = 0x0200  # FFmpeg's flag of a format whose times may jump
JUMP, JUMP_BACK = 10, 0.25  # seconds: times of joined recordings jump by more; a hole in one is shorter
GAP = 1  # seconds without a frame that are a hole, and that a file ends early
FIRST_PACKETS, FIRST_KEY_FRAMES = 500, 8  # by which a film is judged, as many begin with black

# Side data of frames that cannot be given to the encoders, or would be wrong in an upscaled frame.
LEFT_OUT = {
    "DYNAMIC_HDR_PLUS": "HDR10+ data",
    "DYNAMIC_HDR_VIVID": "HDR Vivid data",
    "DOVI_METADATA": "Dolby Vision data",
    "DOVI_RPU_BUFFER": "Dolby Vision data",
    "SPHERICAL": "the mark of a 360-degree video",
    "STEREO3D": "the mark of a 3D video",
    "ICC_PROFILE": "ICC profile",
}
# Of codecs that place a chroma pixel in the middle of its luma pixels; the others place it at the left.
CENTERED_CHROMA = frozenset({"mpeg1video", "mjpeg", "theora", "h261", "h263", "h263i", "h263p", "flv"})
UNKNOWN, BT709, BT470BG, SMPTE170M, SRGB, BT2020 = 2, 1, 5, 6, 13, 9  # numbers of matrix, primaries, transfer (H.273)
FULL_RANGE = 2


@dataclass(frozen=True)
class Colors:
    """What the numbers of a frame mean: numbers of H.273, as FFmpeg has them too."""

    range: int
    matrix: int
    primaries: int
    transfer: int


@dataclass(frozen=True)
class Source:
    """A video stream of a file.

    Attributes:
        path: the file.
        codec: FFmpeg's name of the decoder.
        rows: of an upright frame.
        cols: of an upright frame.
        turn: names and arguments of the filters that make it upright.
        pixel_aspect: width to height of a pixel.
        bits: of a luma value, 8 to 16.
        is_rgb: whether it is converted from RGB.
        has_full_chroma: whether chroma has more pixels than 4:2:0, in rows or columns.
        colors: what values mean, with the usual assumption where the file does not say.
        has_centered_chroma: whether a chroma pixel is in the middle of its luma pixels.
        time_base: unit of all times, in seconds.
        rate: frames per second, about.
        frame_count: number of frames, if the file says so.
        seconds: duration, if the file says so.
        bits_per_pixel: of the compressed stream, per pixel of each frame.
        quantizer: of H.264 (QP), 0 to 51; about its constant rate factor.
        mastering: HDR10's static metadata: colour volume of the mastering display, and light levels, if there are any.
        notes: what is left out.
    """

    path: Path
    codec: str
    rows: int
    cols: int
    turn: tuple[tuple[str, str], ...]
    pixel_aspect: Fraction
    bits: int
    is_rgb: bool
    has_full_chroma: bool
    colors: Colors
    has_centered_chroma: bool
    time_base: Fraction
    rate: Fraction
    frame_count: int | None
    seconds: float | None
    bits_per_pixel: float
    quantizer: float | None
    mastering: Mastering
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Mastering:
    """HDR10's static metadata.

    Attributes:
        display: red, green, blue and white as (x, y) of CIE 1931; then the least and the largest luminance in cd/m2.
        light: MaxCLL and MaxFALL, in cd/m2.
    """

    display: tuple[tuple[Fraction, Fraction], ...] = ()
    light: tuple[int, int] | None = None


@contextmanager
def open_video(path: Path) -> Iterator[InputContainer]:
    """Opens a file to read.

    Raises:
        RunError: it cannot be read as a video, or PyAV is not installed.
    """
    if av is None:
        raise RunError("Videos need the package av: pip install 'srcnn_tf[video]'.")
    try:
        # With a protocol, as a colon would end one; titles in Latin-1 are no reason to fail.
        name = _as_animated_png(path) or f"file:{path}"
        container = av.open(name, "r", metadata_errors="surrogateescape")
    except (av.FFmpegError, OSError) as error:
        raise RunError(f"{path}: cannot be read as a video ({reason(error)}); replace it.") from error
    with container:
        if container.format.name in NOT_VIDEOS or container.format.name.endswith("_pipe"):
            raise RunError(f"{path}: cannot be read as a video (it is a text or an image); replace it.")
        yield container


def reason(error: Exception) -> str:
    """Returns what an error of FFmpeg or of the system says."""
    return str(getattr(error, "strerror", None) or error or type(error).__name__).rstrip(".")


def _as_animated_png(path: Path) -> io.BytesIO | None:
    """Returns an animated WebP file, which FFmpeg does not decode, as an animated PNG file."""
    with open(path, "rb") as file:
        head = file.read(12)
    if head[:4] != b"RIFF" or head[8:] != b"WEBP":
        return None
    buffer = io.BytesIO()
    try:
        with Image.open(path, formats=["WEBP"]) as image:
            durations = []
            for page in ImageSequence.Iterator(image):
                page.load()  # only then it has its duration
                durations.append(page.info.get("duration", 0))
            image.save(buffer, "PNG", save_all=True, duration=durations, compress_level=1)
        buffer.seek(0)
    except Exception as error:  # Pillow raises many kinds
        raise RunError(f"{path}: cannot be read as a video ({error}); replace it.") from error
    return buffer


def video_stream(container: InputContainer) -> VideoStream | None:
    """Returns the video stream to upscale, if there is one besides covers."""
    videos = [stream for stream in container.streams.video if not is_cover(stream)]
    best = container.streams.best("video")
    return next((stream for stream in videos if best is not None and stream.index == best.index), None) or next(
        iter(videos), None
    )


def is_cover(stream: Stream) -> bool:
    """Tells whether a stream is one picture, such as the cover of a film."""
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def inspect(path: Path) -> Source:
    """Opens a video, decodes its first frame and describes it.

    Raises:
        RunError: it has no video, no frame of it can be decoded, or it is encrypted.
    """
    with open_video(path) as container:
        stream = video_stream(container)
        if stream is None:
            kinds = sorted({"a cover" if is_cover(stream) else stream.type for stream in container.streams})
            raise RunError(f"{path}: has no video, only {' and '.join(kinds) or 'nothing'}; give a file with one.")
        if stream.codec_context is None:
            raise RunError(f"{path}: there is no decoder for its video; convert it to another format.")
        frame = _first_frame(path, container, stream)
        return _describe(path, container, stream, frame)


def set_threads(stream: VideoStream) -> None:
    """Lets the decoder use the cores that this process may use."""
    stream.thread_type = "AUTO"
    stream.thread_count = cores()


def _first_frame(path: Path, container: InputContainer, stream: VideoStream) -> VideoFrame:
    for packet in read_packets(container, [stream], []):
        if packet.has_sidedata("encryption_info") or _tag(stream) in ("drmi", "encv"):
            raise RunError(f"{path}: is encrypted (DRM), so that no frame can be decoded; give a file that is not.")
        if frames := decode(stream, packet):
            return frames[0]
    if frames := decode(stream, None):
        return frames[0]
    raise RunError(f"{path}: no frame of it can be decoded; replace it.")


def _quantizer(path: Path) -> float | None:
    """Returns the largest mean quantizer of the first key frames of H.264, as for 8 bits. That of black is small."""
    found = list[float]()
    with open_video(path) as container:
        stream: Any = video_stream(container)
        # Frames in several threads would be returned before all of their quantizers are known.
        stream.codec_context.options, stream.thread_type = {"export_side_data": "venc_params"}, "SLICE"
        packets = islice(read_packets(container, [stream], []), FIRST_PACKETS)
        for packet in islice((one for one in packets if one.is_keyframe), FIRST_KEY_FRAMES):
            alone = av.Packet(bytes(packet))  # without its flags, by which a file that was trimmed hides it
            frames = decode(stream.codec_context, alone) + decode(stream.codec_context, None)
            found += [mean for frame in frames if (mean := _mean_quantizer(frame)) is not None]
            stream.codec_context.flush_buffers()
    return max(found, default=None)


def _mean_quantizer(frame: VideoFrame) -> float | None:
    if (found := next((side for side in _sides(frame) if side.type.name == "VIDEO_ENC_PARAMS"), None)) is None:
        return None
    # Of a thousand blocks; `qp_map` fails where interlaced frames have a row of them more.
    blocks = range(0, found.nb_blocks, max(1, found.nb_blocks // 1000))
    deltas = [found.block_params(block).delta_qp for block in blocks]
    return found.qp + sum(deltas) / max(1, len(deltas)) - 6 * (frame.format.components[0].bits - 8)


def _tag(stream: VideoStream) -> str:
    try:
        return stream.codec_tag
    except UnicodeDecodeError:
        return ""


def decode(stream: Any, packet: Packet | None) -> list[Any]:
    """Decodes a packet; without one, returns what the decoder still has. Of a damaged one, nothing."""
    try:
        return list(stream.decode(packet))
    except av.error.EOFError:  # it is finished already
        return []
    except av.FFmpegError:
        return []


def read_packets(container: InputContainer, streams: Sequence[Stream], notes: list[str]) -> Iterator[Packet]:
    """Yields the packets of some streams, with times from 0 on, in the order of the file.

    Where recordings were joined, times jump; they are continued there.

    Args:
        container: an open file.
        streams: of it.
        notes: gets a line on times that jump, and on an early end.
    """
    clock = Clock(container)
    packets = container.demux(list(streams))
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            break
        except av.FFmpegError as error:
            notes.append(f"cannot be read from {clock_time(clock.reached)} on ({reason(error)})")
            return
        if packet.size:  # those without content, at the end, would flush the decoders
            clock.shift(packet, notes)
            yield packet
    durations = [float(one.duration * one.time_base) for one in streams if one.duration and one.time_base]
    if container.format.name == "avi":  # its durations are what is there; its numbers of frames, what should be
        durations += [float(one.frames / one.average_rate) for one in container.streams.video if one.average_rate]
    seconds = max([(container.duration or 0) / 1e6, *durations])
    if seconds - clock.reached > GAP:
        notes.append(f"ends early, at {clock_time(clock.reached)} of {clock_time(seconds)}")


@dataclass
class Clock:
    """Shifts the times of packets so that the file begins at 0 and time never jumps.

    Attributes:
        container: an open file.
        offset: seconds that are added to each time.
        reached: the end of all packets so far, in seconds.
        ends: that of each stream.
    """

    container: InputContainer
    offset: float = 0.0
    reached: float = 0.0
    ends: dict[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Begins at the start of the file."""
        self.offset = -(self.container.start_time or 0) / 1e6
        self._jumps = bool(self.container.format.flags & TS_DISCONT)

    def shift(self, packet: Packet, notes: list[str]) -> None:
        """Shifts the times of a packet, and notes where they jump."""
        time, base = packet.dts if packet.dts is not None else packet.pts, packet.time_base
        if time is None:
            return
        begin, index = float(time * base) + self.offset, packet.stream.index
        if packet.stream.type in ("video", "audio"):
            if self._jumps and index in self.ends and not -JUMP_BACK <= begin - self.ends[index] <= JUMP:
                notes.append(f"its times jump at {clock_time(self.ends[index])}, and are continued there")
                self.offset += self.ends[index] - begin
                begin = self.ends[index]
            self.ends[index] = begin + float((packet.duration or 0) * base)
            shown = self.ends[index] if packet.pts is None else self.ends[index] + float((packet.pts - time) * base)
            self.reached = max(self.reached, shown)
        ticks = round(self.offset / base)
        packet.pts = None if packet.pts is None else packet.pts + ticks
        packet.dts = None if packet.dts is None else packet.dts + ticks


def clock_time(seconds: float) -> str:
    """Returns a time as people write it, 1:02:03.4."""
    tenths = round(seconds * 10)
    minutes, tenths = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{tenths / 10:04.1f}" if hours else f"{minutes}:{tenths / 10:04.1f}"


def _describe(path: Path, container: InputContainer, stream: VideoStream, frame: VideoFrame) -> Source:
    turn, is_swapped = _upright(_side_data(frame, "DISPLAYMATRIX"))
    rows, cols = (frame.width, frame.height) if is_swapped else (frame.height, frame.width)
    aspect = stream.sample_aspect_ratio or Fraction(1)
    if aspect <= 0:
        aspect = Fraction(1)
    rate = stream.guessed_rate or stream.average_rate or Fraction(25)
    seconds = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else 0.0
    seconds = seconds or (container.duration or 0) / 1e6
    components = [one for one in frame.format.components if not one.is_alpha]
    sides = [side.type.name for side in _sides(frame)]
    notes = [f"left out: {LEFT_OUT[name]}" for name in sides if name in LEFT_OUT]
    if _is_transparent(frame) or stream.metadata.get("alpha_mode") == "1":
        notes.append("left out: its transparency")
    return Source(
        path=path,
        codec=stream.codec_context.codec.canonical_name,
        rows=rows,
        cols=cols,
        turn=turn,
        pixel_aspect=1 / aspect if is_swapped else aspect,
        bits=max((one.bits for one in components), default=8),
        is_rgb=frame.format.is_rgb or frame.format.has_palette,
        has_full_chroma=_has_full_chroma(frame.format),
        colors=_colors(frame),
        has_centered_chroma=stream.codec_context.codec.canonical_name in CENTERED_CHROMA,
        time_base=stream.time_base or 1 / rate,
        rate=rate,
        frame_count=stream.frames or None,
        seconds=seconds or None,
        bits_per_pixel=_bits_per_frame(path, container, stream, seconds) / (rows * cols),
        quantizer=_quantizer(path) if stream.codec_context.name == "h264" else None,
        mastering=_mastering(frame),
        notes=tuple(dict.fromkeys(notes)),
    )


def _colors(frame: VideoFrame) -> Colors:
    """Returns what the values of a frame mean; what the file does not say, as players assume it at this size."""
    matrix, primaries, transfer = frame.colorspace, frame.color_primaries, frame.color_trc
    if frame.format.is_rgb or frame.format.has_palette:
        known = [BT709 if primaries == UNKNOWN else primaries, SRGB if transfer == UNKNOWN else transfer]
        return Colors(1, BT709, *known)
    if matrix == UNKNOWN:
        if primaries == BT2020:
            matrix = BT2020
        elif frame.height >= 720 or frame.width >= 1280:
            matrix = BT709
        else:
            matrix = BT470BG if frame.height in (576, 288) else SMPTE170M
        if primaries == UNKNOWN:
            primaries = matrix
        if transfer == UNKNOWN:
            transfer = SMPTE170M if matrix == BT470BG else matrix
    is_full = frame.color_range == FULL_RANGE or frame.format.name.startswith("yuvj")
    return Colors(FULL_RANGE if is_full else 1, matrix, primaries, transfer)


def _has_full_chroma(pixels: Any) -> bool:
    if pixels.is_rgb or pixels.has_palette:
        return True
    chroma = [one for one in pixels.components[1:] if not one.is_alpha]
    return any(2 * one.width > pixels.width + 1 or 2 * one.height > pixels.height + 1 for one in chroma)


def _is_transparent(frame: VideoFrame) -> bool:
    if not any(one.is_alpha for one in frame.format.components):
        return False
    return min(bytes(frame.reformat(format="rgba").planes[0])[3::4]) < 255


def _bits_per_frame(path: Path, container: InputContainer, stream: VideoStream, seconds: float) -> float:
    """Returns the mean bits of a frame: by the size of the file less audio; if its duration is unknown, of the first.

    Infinity, if nothing is lost.
    """
    codec = stream.codec_context.codec
    if codec.lossless and not codec.lossy:
        return math.inf
    total = 8 * container.size / seconds if seconds and container.size > 0 else float(container.bit_rate or 0)
    audio = sum(one.bit_rate or 0 for one in container.streams.audio if one.codec_context is not None)
    rates = [rate for rate in (stream.bit_rate, total - audio) if rate and rate > 0]
    if rates and stream.average_rate:
        return min(rates) / float(stream.average_rate)
    with open_video(path) as again:
        video: Any = video_stream(again)
        sizes = [packet.size for packet in islice(read_packets(again, [video], []), FIRST_PACKETS)]
    return 8 * sum(sizes) / len(sizes)


def _sides(frame: VideoFrame) -> list[Any]:
    return list(frame.side_data)  # typed as a mapping of names


def _side_data(frame: VideoFrame, name: str) -> bytes | None:
    return next((bytes(side) for side in _sides(frame) if side.type.name == name), None)


def _upright(matrix: bytes | None) -> tuple[tuple[tuple[str, str], ...], bool]:
    """Returns the filters that apply a display matrix, and whether they swap rows and columns.

    The matrix takes (column, row) to the place where it is shown, in 16.16 fixed point: x' = a x + c y, y' = b x + d y.
    """
    if matrix is None:
        return (), False
    a, b, _, c, d, *_ = struct.unpack("9i", matrix)
    if abs(a) + abs(d) < abs(b) + abs(c):
        direction = {(True, False): "clock", (False, True): "cclock", (True, True): "cclock_flip"}
        return (("transpose", direction.get((b > 0, c > 0), "clock_flip")),), True
    return tuple((name, "") for name, sign in (("hflip", a), ("vflip", d)) if sign < 0), False


def _mastering(frame: VideoFrame) -> Mastering:
    display: tuple[tuple[Fraction, Fraction], ...] = ()
    if data := _side_data(frame, "MASTERING_DISPLAY_METADATA"):
        # Ten fractions (the primaries, the white point, the luminances), and whether each group is known.
        *numbers, has_primaries, has_luminance = struct.unpack_from("22i", data)
        values = [Fraction(number, max(1, unit)) for number, unit in zip(numbers[::2], numbers[1::2], strict=True)]
        if has_primaries and has_luminance:
            display = tuple(zip(values[::2], values[1::2], strict=True))
    light = _side_data(frame, "CONTENT_LIGHT_LEVEL")
    return Mastering(display, struct.unpack_from("2I", light) if light else None)

"""Tells whether a file is a video; of most files without FFmpeg."""

from __future__ import annotations

from pathlib import Path

from srcnn_tf.errors import RunError

# Endings that are written, as FFmpeg names their formats; and those that are looked for in folders.
VIDEO_FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}
VIDEO_EXTENSIONS = VIDEO_FORMATS.keys() | {
    *(".3g2", ".3gp", ".asf", ".avi", ".divx", ".dv", ".f4v", ".flv", ".m2t", ".m2ts", ".m2v", ".mpeg", ".mpg", ".mts"),
    *(".mxf", ".ogv", ".rm", ".rmvb", ".tp", ".trp", ".ts", ".vob", ".webm", ".wmv", ".wtv", ".y4m"),
}
# What images begin with (BMP, GIF, JPEG, PNG, TIFF), and the brands of those that are ISO files.
IMAGE_SIGNATURES = (b"BM", b"GIF8", b"\xff\xd8\xff", b"\x89PNG", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
IMAGE_BRANDS = frozenset({b"avif", b"avis", b"heic", b"heix", b"hevc", b"heim", b"mif1", b"msf1", b"crx "})


def is_video(path: Path, is_animation_wanted: bool = False) -> bool:
    """Tells by its content whether a file is a video, whatever its name is; a damaged one is known by its name.

    Args:
        path: the file.
        is_animation_wanted: whether an animated GIF, PNG or WebP file counts as one.
    """
    if not path.is_file():  # a pipe would have to be waited for
        return False
    try:
        with open(path, "rb") as file:
            head = file.read(132)
    except OSError:  # reported when it is read
        return path.suffix.lower() in VIDEO_EXTENSIONS
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return is_animation_wanted
    if head.startswith((b"GIF8", b"\x89PNG")):
        return is_animation_wanted
    if head[128:] == b"DICM":  # in whose pixels FFmpeg may find a video
        return False
    if head.startswith(IMAGE_SIGNATURES) or (head[4:8] == b"ftyp" and head[8:12] in IMAGE_BRANDS):
        return False
    if path.suffix.lower() in VIDEO_EXTENSIONS:  # without a video stream, or damaged: `inspect` says so
        return True
    from srcnn_tf.upscaling.video.source import open_video, video_stream  # whose import takes 0.1 s

    try:
        with open_video(path) as container:
            return video_stream(container) is not None
    except RunError:
        return False

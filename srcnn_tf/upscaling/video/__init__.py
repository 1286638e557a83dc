"""Upscales videos, with FFmpeg in this process by PyAV.

In reading order: `recognize` tells whether a file is a video; `source` opens one and says what it holds; `frames`
decodes its frames, progressive and upright; `encoding` scales their chroma and encodes them; `segments` keeps what is
finished, so that an interrupted film is resumed; `streams` joins the segments with all other streams of the source;
`upscale` does all this for a file.
"""

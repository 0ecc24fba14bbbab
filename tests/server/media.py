"""Sound files of the kinds that browsers and phones record, made when a test needs one."""

from __future__ import annotations

import io
from typing import Any

import av
import numpy as np


def tone(seconds: float, rate: int = 48_000, hertz: float = 440.0) -> np.ndarray:
    """(n,) float32."""
    return (0.3 * np.sin(np.arange(round(seconds * rate)) * 2 * np.pi * hertz / rate)).astype(np.float32)


def media_file(
    container_format: str,
    codec: str,
    channels: list[np.ndarray],
    rate: int = 48_000,
    video: bool = False,
    **options: str,
) -> bytes:
    """Sound, each channel (n,) float32, and with `video` a second of pictures before it. Options are the muxer's."""
    file = io.BytesIO()
    with av.open(file, "w", format=container_format, options=options) as container:
        if video:
            pictures: Any = container.add_stream("libvpx" if container_format == "webm" else "mpeg4", rate=10)
            pictures.width, pictures.height, pictures.pix_fmt = 64, 64, "yuv420p"
        layout = "mono" if len(channels) == 1 else "stereo"
        sound: Any = container.add_stream(codec, rate=rate, layout=layout)
        if video:
            for index in range(10):
                picture = av.VideoFrame.from_ndarray(np.full((64, 64, 3), index, np.uint8))
                picture.pts = index
                container.mux(pictures.encode(picture))
            container.mux(pictures.encode(None))
        context = sound.codec_context
        resampler = av.AudioResampler(context.format, layout, rate, frame_size=context.frame_size or None)
        both = np.stack(channels)
        for start in range(0, both.shape[1], rate):
            frame = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(both[:, start : start + rate]), format="fltp", layout=layout
            )
            frame.sample_rate, frame.pts = rate, start
            for piece in resampler.resample(frame):
                container.mux(sound.encode(piece))
        for piece in resampler.resample(None):
            container.mux(sound.encode(piece))
        container.mux(sound.encode(None))
    return file.getvalue()

"""WebM, MP4, M4A, AAC and AMR: what browsers and phones record, read by FFmpeg's libraries.

The bytes are a stranger's, and FFmpeg is large: the container is recognised here and FFmpeg opens that one and no
other, only the decoders below are used, pictures are not decoded, nothing is opened beside the bytes in memory, and
single allocations, streams, channels and processor time are bounded.
"""

from __future__ import annotations

import ctypes
import io
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from model.audio import AudioError
from server.mono import CHANNELS, RATES

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer

_PCM = "pcm_u8 pcm_s16le pcm_s16be pcm_s24le pcm_s24be pcm_s32le pcm_s32be pcm_f32le pcm_f32be pcm_f64le pcm_f64be"
_DECODERS = frozenset(
    f"aac aac_latm opus libopus vorbis libvorbis mp3 mp3float mp2 flac alac ac3 eac3 pcm_alaw pcm_mulaw {_PCM} "
    "amrnb libopencore_amrnb amrwb libopencore_amrwb".split()
)
_OPTIONS = {
    "codec_whitelist": ",".join(sorted(_DECODERS)),
    "protocol_whitelist": "none",
    "max_streams": "16",
    "probesize": str(1 << 20),
}
_LARGEST_ALLOCATION = 16 << 20
"""Bytes. The index of an MP4 file is made from numbers in its head: some bytes can claim gigabytes. Enough for the
index of two hours of AAC."""
_BLOCK_S = 1.0
"""Frames are joined to blocks of this length: each costs time of the interpreter."""
_MP4_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")
_ID3_HEAD = 10


def media_format(data: bytes) -> str | None:
    """FFmpeg's name of the container that these bytes begin; None: none of those read here."""
    if data.startswith(b"\x1a\x45\xdf\xa3"):
        return "matroska"
    if data[4:8] in _MP4_BOXES:
        return "mov"
    if data.startswith(b"#!AMR"):
        return "amr"
    start = 0
    if data.startswith(b"ID3") and len(data) >= _ID3_HEAD:
        start = _ID3_HEAD + sum((byte & 127) << shift for byte, shift in zip(data[6:10], (21, 14, 7, 0), strict=True))
    head = data[start : start + 2]
    return "aac" if len(head) == 2 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0 else None


def media_blocks(data: bytes, container_format: str, check: Callable[[], None]) -> Iterator[tuple[np.ndarray, int]]:
    """((n, channels) float32, rate), in order, of the first audio stream. What is damaged or cut off is left out.

    `check` is called between all steps, and raises when there were too many. Raises `AudioError` for what cannot be
    read.
    """
    av = _library()
    try:
        with av.open(_Checked(data, check), "r", container_format, _OPTIONS, metadata_errors="replace") as container:
            yield from _joined(_frames(container, _audio_stream(container), check))
    except (av.error.FFmpegError, UnicodeError, OverflowError, MemoryError) as error:
        raise AudioError(
            f"not a readable {container_format} file ({type(error).__name__}); send it whole, or as WAV"
        ) from error


@cache
def _library() -> ModuleType:
    """Loaded for the first such file: most servers never get one, and it takes 30 MB."""
    import av
    import av.container.core
    import av.logging

    av.logging.set_level(None)
    with suppress(OSError, AttributeError):  # PyAV has no name for it, and Windows finds it in no library of PyAV's
        ctypes.CDLL(av.container.core.__file__).av_max_alloc(ctypes.c_size_t(_LARGEST_ALLOCATION))
    return av


class _Checked(io.BytesIO):
    """Bytes whose reading counts as work."""

    def __init__(self, data: bytes, check: Callable[[], None]) -> None:
        super().__init__(data)
        self._check = check

    def read(self, size: int | None = -1, /) -> bytes:
        self._check()
        return super().read(size)


def _audio_stream(container: InputContainer) -> AudioStream:
    for stream in container.streams.audio:
        if stream.codec_context is not None and stream.codec_context.name in _DECODERS:
            stream.codec_context.thread_count = 1
            return stream
    found = (
        ", ".join(sorted({getattr(s.codec_context, "name", None) or s.type for s in container.streams})) or "nothing"
    )
    raise AudioError(
        f"no audio stream that can be read in it (found: {found[:80]}); send AAC, Opus, Vorbis, MP3 or PCM"
    )


def _frames(container: InputContainer, stream: AudioStream, check: Callable[[], None]) -> Iterator[AudioFrame]:
    error = _library().error
    packets = container.demux(stream)
    while True:
        check()
        try:
            packet = next(packets)
        except (StopIteration, error.InvalidDataError, error.EOFError):  # the rest is damaged or missing
            return
        try:
            yield from packet.decode()
        except error.InvalidDataError:  # of this packet alone
            continue


def _joined(frames: Iterator[AudioFrame]) -> Iterator[tuple[np.ndarray, int]]:
    blocks: list[np.ndarray] = []
    rate = channels = count = 0
    for frame in frames:
        block = _samples(frame)
        if blocks and (frame.sample_rate != rate or block.shape[1] != channels or count >= _BLOCK_S * rate):
            yield np.concatenate(blocks), rate
            blocks, count = [], 0
        rate, channels = frame.sample_rate, block.shape[1]
        blocks.append(block)
        count += len(block)
    if blocks:
        yield np.concatenate(blocks), rate


def _samples(frame: AudioFrame) -> np.ndarray:
    """(n, channels) float32."""
    channels = frame.layout.nb_channels
    if not 1 <= channels <= CHANNELS or not RATES[0] <= frame.sample_rate <= RATES[1]:
        raise AudioError(
            f"{channels} channels at {frame.sample_rate} Hz; send 1 to {CHANNELS} at {RATES[0]} to {RATES[1]} Hz"
        )
    found = frame.to_ndarray()
    samples = found.T if frame.format.is_planar else found.reshape(-1, channels)
    if samples.dtype.kind == "f":
        return samples.astype(np.float32)
    scale = float(1 << (8 * samples.dtype.itemsize - 1))
    offset = scale if samples.dtype.kind == "u" else 0.0
    return ((samples.astype(np.float64) - offset) / scale).astype(np.float32)

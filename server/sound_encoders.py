"""An answer's sound as a file that is sent while it is made: raw PCM, WAV, FLAC, MP3, Opus."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

import numpy as np
import soundfile

from server.audio import to_pcm16
from server.events import ANSWER_SAMPLE_RATE

SoundFormat = Literal["mp3", "opus", "flac", "wav", "pcm"]
SOUND_FORMATS: tuple[SoundFormat, ...] = get_args(SoundFormat)
MEDIA_TYPES: dict[SoundFormat, str] = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}
_UNKNOWN_BYTES = 0xFFFFFFFF


class SoundEncoder(Protocol):
    """(n,) float32 at 24 kHz in pieces → a file in pieces."""

    def encode(self, samples: np.ndarray) -> bytes:
        """What can be sent after these samples; the first time, the file's head is before it."""
        ...

    def finish(self) -> bytes:
        """What is still owed."""
        ...


def sound_encoder(kind: SoundFormat) -> SoundEncoder:
    """Begin a file."""
    if kind == "pcm":
        return _Pcm(b"")
    if kind == "wav":
        return _Pcm(_wav_head())
    return _File(*{"mp3": ("MP3", "MPEG_LAYER_III"), "opus": ("OGG", "OPUS"), "flac": ("FLAC", "PCM_16")}[kind])


def _wav_head() -> bytes:
    """Of mono PCM16 whose length nobody knows yet: readers take what comes until the end."""
    rate = ANSWER_SAMPLE_RATE
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate, 2 * rate, 2, 16)
    riff = struct.pack("<4sI4s", b"RIFF", _UNKNOWN_BYTES, b"WAVE")
    return riff + form + struct.pack("<4sI", b"data", _UNKNOWN_BYTES)


@dataclass
class _Pcm:
    """Little-endian PCM16 behind a head."""

    head: bytes

    def encode(self, samples: np.ndarray) -> bytes:
        head, self.head = self.head, b""
        return head + to_pcm16(samples)

    def finish(self) -> bytes:
        head, self.head = self.head, b""
        return head


class _Sent:
    """A file that only grows. At its end libsndfile goes back to write length and checksum into the head: that was sent
    long ago, and says "unknown", as these formats allow."""

    def __init__(self) -> None:
        self._new = bytearray()
        self._at = self._end = 0

    def write(self, data: bytes) -> int:
        self._at += len(data)
        grown = self._at - self._end
        if grown > 0:
            self._new += bytes(data)[-grown:]
            self._end = self._at
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + (0, self._at, self._end)[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, count: int = -1) -> bytes:
        """Nothing is kept."""
        return b""

    def take(self) -> bytes:
        """What was written since the last time."""
        new, self._new = bytes(self._new), bytearray()
        return new


class _File:
    """What libsndfile can write from the first byte to the last."""

    def __init__(self, container: str, coding: str) -> None:
        self._sent = _Sent()
        # a constant bit rate, or readers of an MP3 would look for its length in the head
        rate = {"bitrate_mode": "CONSTANT", "compression_level": 0.5} if container == "MP3" else {}
        self._file = soundfile.SoundFile(self._sent, "w", ANSWER_SAMPLE_RATE, 1, coding, format=container, **rate)

    def encode(self, samples: np.ndarray) -> bytes:
        self._file.write(samples)
        return self._sent.take()

    def finish(self) -> bytes:
        self._file.close()
        return self._sent.take()

"""Bytes of a microphone to samples at 16 kHz, and samples of an answer to bytes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Literal

import numpy as np
import soxr

from server import g711
from server.events import ANSWER_SAMPLE_RATE
from server.turns import SAMPLE_RATE

Encoding = Literal["pcm16", "mulaw", "alaw"]


class MicrophoneDecoder:
    """Mono sound at any rate, in pieces of any length → float32 at 16 kHz, as one stream.

    PCM16 is little-endian; half a sample at the end of a piece is kept for the next. The resampler (soxr) keeps its
    state, so pieces join as if the whole had been converted at once. At other rates than 16 kHz its filter holds back
    20–70 ms.
    """

    def __init__(self, sample_rate: int, encoding: Encoding = "pcm16") -> None:
        self.sample_rate, self.encoding = sample_rate, encoding
        self._begin()

    def _begin(self) -> None:
        self._half = b""
        self._resampler: soxr.ResampleStream | None = None
        if self.sample_rate != SAMPLE_RATE:
            self._resampler = soxr.ResampleStream(self.sample_rate, SAMPLE_RATE, 1, "float32", quality="HQ")

    def decode(self, data: bytes, last: bool = False) -> np.ndarray:
        """Bytes → (n,) float32 within [-1, 1]; `last` gives what the resampler still holds."""
        samples = self._samples(data)
        if self._resampler is None or not (len(samples) or last):
            return samples
        resampled: np.ndarray = self._resampler.resample_chunk(samples, last)
        return resampled.clip(-1, 1)

    @property
    def sample_bytes(self) -> int:
        """Bytes of one sample."""
        return 2 if self.encoding == "pcm16" else 1

    async def decode_in_slices(self, data: bytes, last: bool = False) -> AsyncIterator[np.ndarray]:
        """The same, a second at a time: others get their turn while much is decoded."""
        step = self.sample_rate * self.sample_bytes
        for start in range(0, len(data), step):
            yield self.decode(data[start : start + step])
            await asyncio.sleep(0)
        if last:
            yield self.decode(b"", last=True)

    def restart(self) -> np.ndarray:
        """End the stream → (n,) float32, what the resampler still held. What comes next begins with a whole sample."""
        rest = self.decode(b"", last=True)
        self._begin()
        return rest

    def skip(self, data: bytes) -> None:
        """A piece that is not decoded: what comes next still begins in the same place of a sample."""
        if (len(self._half) + len(data)) % self.sample_bytes:
            self._half = data[-1:] or self._half
        else:
            self._half = b""

    def seconds(self, data: bytes) -> float:
        """How much sound these bytes are."""
        return len(data) / self.sample_bytes / self.sample_rate

    def _samples(self, data: bytes) -> np.ndarray:
        if self.encoding != "pcm16":
            return g711.decode(data, self.encoding)
        data = self._half + data
        whole = len(data) - len(data) % 2
        self._half = data[whole:]
        return np.frombuffer(data[:whole], "<i2").astype(np.float32) / 32768


class AnswerEncoder:
    """An answer's sound, 24 kHz float32 in pieces → bytes: PCM16 at 24 kHz, or G.711 at 8 kHz."""

    def __init__(self, encoding: Encoding) -> None:
        self._encoding = encoding
        self._resampler: soxr.ResampleStream | None = None
        if encoding != "pcm16":
            self._resampler = soxr.ResampleStream(ANSWER_SAMPLE_RATE, g711.SAMPLE_RATE, 1, "float32", quality="HQ")

    def encode(self, samples: np.ndarray, last: bool = False) -> bytes:
        """(n,) float32 → bytes; `last` gives what the resampler still holds."""
        if self._encoding == "pcm16" or self._resampler is None:
            return to_pcm16(samples)
        return g711.encode(self._resampler.resample_chunk(samples.astype(np.float32), last), self._encoding)


def to_pcm16(samples: np.ndarray) -> bytes:
    """(n,) float32 → little-endian PCM16, clipped."""
    pcm: np.ndarray = (np.clip(samples, -1, 1) * 32767).round().astype("<i2")
    return pcm.tobytes()


_SPARE_SAMPLES = SAMPLE_RATE // 2
"""Room for so much more when a buffer is laid anew: hundreds of microphones are open, most of them silent."""


class AudioBuffer:
    """The last stretch of the microphone, addressed by sample position from the beginning of the conversation."""

    def __init__(self) -> None:
        self._data = np.empty(_SPARE_SAMPLES, np.float32)
        self._offset = 0
        self._begin = 0
        self.end = 0
        """Position behind the newest sample."""

    def __len__(self) -> int:
        return self.end - self._begin

    def append(self, samples: np.ndarray) -> None:
        """(n,) float32 more."""
        held = len(self)
        if self._offset + held + len(samples) > len(self._data):
            wanted = held + len(samples)
            kept = self._data[self._offset : self._offset + held]
            room = np.empty(wanted + _SPARE_SAMPLES, np.float32)
            room[:held] = kept
            self._data, self._offset = room, 0
        self._data[self._offset + held : self._offset + held + len(samples)] = samples
        self.end += len(samples)

    def drop_before(self, position: int) -> None:
        """Forget what is older."""
        dropped = min(max(position - self._begin, 0), len(self))
        self._begin += dropped
        self._offset += dropped

    def slice(self, begin: int, end: int) -> np.ndarray:
        """Samples [begin, end), as far as they are still or already there; a copy."""
        first = self._offset - self._begin + max(begin, self._begin)
        last = self._offset - self._begin + min(end, self.end)
        return self._data[first : max(first, last)].copy()

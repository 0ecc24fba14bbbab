"""Bytes of a microphone to samples at 16 kHz, and samples of an answer to bytes."""

from __future__ import annotations

import numpy as np
import soxr

from server.turns import SAMPLE_RATE


class MicrophoneDecoder:
    """PCM16 little-endian mono at any rate, in pieces of any length → float32 at 16 kHz, as one stream.

    Half a sample at the end of a piece is kept for the next; the resampler (soxr) keeps its state, so pieces join as
    if the whole had been converted at once. At other rates than 16 kHz its filter holds back 20–70 ms.
    """

    def __init__(self, sample_rate: int) -> None:
        self.sample_rate = sample_rate
        self._half = b""
        self._resampler: soxr.ResampleStream | None = None
        if sample_rate != SAMPLE_RATE:
            self._resampler = soxr.ResampleStream(sample_rate, SAMPLE_RATE, 1, "float32", quality="HQ")

    def decode(self, data: bytes) -> np.ndarray:
        """Bytes → (n,) float32 within [-1, 1]."""
        data = self._half + data
        whole = len(data) - len(data) % 2
        self._half = data[whole:]
        samples = np.frombuffer(data[:whole], "<i2").astype(np.float32) / 32768
        if self._resampler is None or not len(samples):
            return samples
        resampled: np.ndarray = self._resampler.resample_chunk(samples)
        return resampled.clip(-1, 1)

    def seconds(self, data: bytes) -> float:
        """How much sound these bytes are."""
        return len(data) / 2 / self.sample_rate


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

"""Blocks of sound of any rate and channel count → one recording at 16 kHz, within bounds of length and of work."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import soxr

from model.audio import AudioError, to_mono
from server.turns import SAMPLE_RATE

RATES = (4_000, 384_000)
CHANNELS = 32
_CANCELLED = 0.1
"""Of the power that independent channels would leave in their mean: below that they cancel each other."""
_INAUDIBLE = 1e-9
"""Power: -90 dB."""
_WORK_S, _WORK_SHARE = 5.0, 0.05
"""Processor time for a file, and in addition for each second that it may last."""


class SoundTooLong(AudioError):
    """More seconds than can be heard."""

    code = "audio_too_long"


class WorkLimit:
    """How much processor time of this thread one file may take."""

    def __init__(self, longest_s: float, clock: Callable[[], float] = time.thread_time) -> None:
        self._clock, self._end = clock, clock() + _WORK_S + _WORK_SHARE * longest_s

    def check(self) -> None:
        """Raises `AudioError` when it is used up."""
        if self._clock() > self._end:
            raise AudioError("the file takes too long to decode; send it as WAV or FLAC, or in shorter pieces")


class MonoRecording:
    """Takes blocks and keeps what is heard. Raises `SoundTooLong` when there is more than `longest_s`."""

    def __init__(self, longest_s: float) -> None:
        self._longest_s = longest_s
        self._seconds = 0.0
        self._rate = 0
        self._resampler: soxr.ResampleStream | None = None
        self._pieces: list[np.ndarray] = []
        self._mixer = _Mixer()

    def add(self, block: np.ndarray, rate: int) -> None:
        """(n, channels) float32. The rate may change between blocks."""
        if rate != self._rate:
            self._change_rate(rate)
        self._seconds += len(block) / rate
        if self._seconds > self._longest_s:
            raise SoundTooLong(f"the recording lasts more than {self._longest_s:g} s; send at most that")
        mono = self._mixer.mix(block)
        self._pieces.append(self._resampler.resample_chunk(mono) if self._resampler else mono)

    def finish(self) -> np.ndarray:
        """(n,) float32, within [-1, 1]. Raises `AudioError` when there is nothing."""
        self._flush()
        samples: np.ndarray = np.concatenate([np.empty(0, np.float32), *self._pieces]).clip(-1, 1)
        if not len(samples):
            raise AudioError("the file holds no samples; send a recording that is not empty")
        return samples

    def _change_rate(self, rate: int) -> None:
        if not RATES[0] <= rate <= RATES[1]:
            raise AudioError(f"a sample rate of {rate} Hz; send {RATES[0]} to {RATES[1]} Hz")
        self._flush()
        self._rate = rate
        resamples = rate != SAMPLE_RATE
        self._resampler = soxr.ResampleStream(rate, SAMPLE_RATE, 1, "float32", quality="HQ") if resamples else None

    def _flush(self) -> None:
        if self._resampler is not None:
            self._pieces.append(self._resampler.resample_chunk(np.empty(0, np.float32), True))


class _Mixer:
    """The mean of the channels; where they cancel each other, the loudest one, from then on."""

    def __init__(self) -> None:
        self._chosen: int | None = None

    def mix(self, block: np.ndarray) -> np.ndarray:
        channels = block.shape[1]
        if not 1 <= channels <= CHANNELS:
            raise AudioError(f"{channels} channels; send 1 to {CHANNELS}")
        mono = to_mono(block)
        if channels == 1 or not len(block):
            return mono
        if self._chosen is None:
            power = block.var(0, dtype=np.float64)
            if power.max() > _INAUDIBLE and mono.var(dtype=np.float64) < _CANCELLED * power.sum() / channels**2:
                self._chosen = int(power.argmax())
        return mono if self._chosen is None else np.ascontiguousarray(block[:, min(self._chosen, channels - 1)])

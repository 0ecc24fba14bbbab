"""A loudspeaker and a microphone in one room: what is played comes back late, softer, bent, with the room's sound."""

from __future__ import annotations

import numpy as np
import soxr

from benchmarks.conversation import ANSWER_RATE, CHUNK_MS, PAGE_LEAD_MS
from benchmarks.questions import MICROPHONE_RATE
from benchmarks.sounds import SPEECH_RMS, active_rms

STEP = MICROPHONE_RATE * CHUNK_MS // 1000
_PLAYED_STEP = ANSWER_RATE * CHUNK_MS // 1000
_REVERBERATION_S = 0.3
"""Until the room's sound is 60 dB softer."""
_DIRECT_DB = 3.0
"""Of the direct sound over all that the walls send back."""
_DRIVE = 2.0
"""The loudspeaker bends the peaks: tanh of twice full level."""
_NOISE_RMS = 3e-4
_PEAK = 0.5
"""Of an answer's sound."""


class Room:
    """Plays an answer as the page does, and says what the microphone hears of it, in steps of 40 ms."""

    def __init__(self, echo_db: float | None, delay_ms: float, seed: int) -> None:
        """`echo_db`: level of the echo relative to normal speech at the microphone; None: headphones. `delay_ms`: at
        least 40."""
        self._rng = np.random.default_rng(seed)
        self._echo_db = echo_db
        self._response = self._impulse_response(round((delay_ms - CHUNK_MS) * MICROPHONE_RATE / 1000))
        self._history = np.zeros(len(self._response) - 1 + STEP, np.float32)
        self._resampler = soxr.ResampleStream(ANSWER_RATE, MICROPHONE_RATE, 1, "float32")
        # one step ahead: it gives its samples out in bursts, and a gap in what is played is another path of the echo
        self._resampled = self._resampler.resample_chunk(np.zeros(_PLAYED_STEP, np.float32))
        self._waiting = np.zeros(0, np.float32)
        self._gain: float | None = None
        self._gathering = True
        self.position_ms = 0.0
        """Of the answer, as played."""

    @property
    def speaking(self) -> bool:
        """Sound of an answer waits or is played."""
        return len(self._waiting) > 0

    def receive(self, pcm: bytes) -> None:
        """More of an answer."""
        sound = np.frombuffer(pcm, "<i2").astype(np.float32) / 32768
        self._waiting = np.concatenate([self._waiting, sound])
        if self._gain is None and len(self._waiting) >= ANSWER_RATE:
            at_microphone = soxr.resample(self._waiting, ANSWER_RATE, MICROPHONE_RATE)
            self._gain = SPEECH_RMS / active_rms(np.convolve(_bent(at_microphone), self._response))

    def drop(self, position_ms: float | None = None) -> None:
        """Stop playing; what comes next begins at this place of an answer, or where it is."""
        self._waiting, self._gathering = self._waiting[:0], True
        if position_ms is not None:
            self.position_ms = position_ms

    def step(self) -> np.ndarray:
        """Play 40 ms → what the microphone hears meanwhile, (640,) float32."""
        if self._gathering and len(self._waiting) >= PAGE_LEAD_MS * ANSWER_RATE / 1000:
            self._gathering = False
        piece = np.zeros(_PLAYED_STEP, np.float32)
        if not self._gathering:
            played = self._waiting[:_PLAYED_STEP]
            piece[: len(played)] = played
            self._waiting = self._waiting[_PLAYED_STEP:]
            self.position_ms += 1000 * len(played) / ANSWER_RATE
            self._gathering = not len(self._waiting)
        noise = (self._rng.standard_normal(STEP) * _NOISE_RMS).astype(np.float32)
        if self._echo_db is None:
            return noise
        self._resampled = np.concatenate([self._resampled, self._resampler.resample_chunk(piece)])
        fresh, self._resampled = self._resampled[:STEP], self._resampled[STEP:]
        self._history = np.concatenate([self._history[STEP:], _bent(fresh)])
        size = 1 << (len(self._history) + len(self._response) - 1).bit_length()
        heard = np.fft.irfft(np.fft.rfft(self._history, size) * np.fft.rfft(self._response, size), size)
        heard = heard[len(self._response) - 1 : len(self._history)]
        loud = 10 ** (self._echo_db / 20) * (self._gain or 0.0)
        return (loud * heard).astype(np.float32) + noise

    def _impulse_response(self, delay: int) -> np.ndarray:
        time = np.arange(round(_REVERBERATION_S * MICROPHONE_RATE)) / MICROPHONE_RATE
        walls = self._rng.standard_normal(len(time)) * 10 ** (-3 * time / _REVERBERATION_S)
        walls[: MICROPHONE_RATE // 500] = 0  # the nearest wall is a foot away
        walls *= 10 ** (-_DIRECT_DB / 20) / np.sqrt(np.square(walls).sum())
        walls[0] += 1
        response: np.ndarray = np.concatenate([np.zeros(delay), walls]).astype(np.float32)
        return response


def _bent(sound: np.ndarray) -> np.ndarray:
    drive = _DRIVE / _PEAK
    bent: np.ndarray = np.tanh(drive * sound) / drive
    return bent.astype(np.float32)

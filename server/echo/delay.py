"""How long after it was sent an answer is heard in the microphone: generalised cross-correlation, block by block."""

from __future__ import annotations

import numpy as np

from server.echo.blocks import BINS, BLOCK, TRANSFORM

LONGEST_MS = 800
"""Network, jitter buffer, loudspeaker, air, microphone and network again."""
LAG_BLOCKS = LONGEST_MS * 16 // BLOCK
_KEPT = 0.9
"""Of the correlation, from block to block: a memory of 0.3 s."""
_SURE = 12.0
"""A peak of so many times the correlation's usual size is an echo; chance, or another voice, makes less than 10."""
_SILENT = 3e-7
"""Power, of full scale 1: -65 dB."""
_QUIET = 0.01
"""Of the loudest block's power."""
_FADES = 0.995
"""Of the loudest block's power, from block to block: 6 s to a third."""
_LOWEST = 6
"""Below 100 Hz rooms hum."""
_SHORT, _LONG = np.hanning(BLOCK).astype(np.float32), np.hanning(TRANSFORM).astype(np.float32)
"""Without these the edges of blocks would be alike in all sounds."""


class DelaySearch:
    """Correlates the microphone with what was sent, for all delays of up to 800 ms at once."""

    def __init__(self) -> None:
        self._sent = np.zeros((LAG_BLOCKS, BINS), np.complex64)
        self._newest = 0
        """Row of the latest block; older ones follow, around the end."""
        self._correlation = np.zeros((LAG_BLOCKS, BINS), np.complex64)
        self._powers = np.zeros(LAG_BLOCKS, np.float32)
        self._chance = np.zeros(LAG_BLOCKS, np.float32)
        self._sent_level, self._heard_level = _Level(), _Level()

    def forget(self) -> None:
        """Nothing was sent for long."""
        self._sent[:] = 0
        self._powers[:] = 0
        self.begin_anew()

    def begin_anew(self) -> None:
        """What is heard from now on may have another delay."""
        self._correlation[:] = 0
        self._chance[:] = 0

    def push(self, sent: np.ndarray, block: np.ndarray) -> None:
        """The latest two blocks sent, (1024,), and the microphone's latest block, (512,)."""
        self._newest = (self._newest - 1) % LAG_BLOCKS
        self._sent[self._newest], self._powers[self._newest] = 0, 0
        if self._sent_level.loud(sent):
            spectrum = _whitened(sent * _LONG)
            self._sent[self._newest], self._powers[self._newest] = spectrum.conj(), np.vdot(spectrum, spectrum).real
        if not self._heard_level.loud(block):
            return
        heard = _whitened(np.concatenate([np.zeros(BLOCK, np.float32), block * _SHORT]))
        self._correlation *= _KEPT
        self._chance *= _KEPT**2
        power, first = np.float32(np.vdot(heard, heard).real / BINS), LAG_BLOCKS - self._newest
        for lags, blocks in ((slice(first), slice(self._newest, None)), (slice(first, None), slice(self._newest))):
            self._correlation[lags] += self._sent[blocks] * heard
            self._chance[lags] += self._powers[blocks] * power

    def find(self) -> int | None:
        """→ the samples of delay, where an echo is certain."""
        lags = np.abs(np.fft.irfft(self._correlation, TRANSFORM)[:, :BLOCK])
        lags *= (TRANSFORM / np.sqrt(2 * self._chance + 1e-6))[:, None]  # in standard deviations of what chance makes
        peak = int(lags.argmax())
        return peak if lags.ravel()[peak] >= _SURE else None


class _Level:
    """Which blocks are loud enough to tell anything: noise between words is alike in all of an answer."""

    def __init__(self) -> None:
        self._loudest = _SILENT

    def loud(self, block: np.ndarray) -> bool:
        power = float(block @ block) / len(block)
        self._loudest = max(power, self._loudest * _FADES, _SILENT)
        return power >= _QUIET * self._loudest


def _whitened(sound: np.ndarray) -> np.ndarray:
    """Its spectrum, where every frequency counts nearly alike, or a voice would be like itself a pitch later."""
    spectrum = np.fft.rfft(sound).astype(np.complex64)
    spectrum[:_LOWEST] = 0
    root = np.sqrt(np.abs(spectrum))
    return spectrum / (root * np.sqrt(root) + 1e-3)

"""The way from what was sent to the microphone, learned while it is used: a Kalman filter of each frequency.

After Enzner and Vary, "Frequency-domain adaptive Kalman filter for acoustic echo control in hands-free telephones"
(Signal Processing 86, 2006), with the impulse response cut into blocks. Unlike NLMS it needs no step size and no
detector of double talk: it knows how unsure it is of each coefficient, and learns little while somebody else speaks.
"""

from __future__ import annotations

import numpy as np

from server.echo.blocks import BINS, BLOCK, TRANSFORM

PARTITIONS = 4
"""Blocks of the impulse response: 128 ms from where the echo begins."""
_UNSURE = 0.3
"""Variance of a coefficient of which nothing is known; a loudspeaker at -6 dB has coefficients of about 0.5."""
_STEADY = 0.998
"""How much of the path is the same a block later: with less, a clock that drifts is followed faster (100 ppm)."""
_NEAR_KEPT = 0.6
"""Of the estimate of everybody else's power, from block to block."""


class AdaptiveFilter:
    """Predicts the echo in a block of the microphone from the spectra of what was sent."""

    def __init__(self) -> None:
        self._path = np.zeros((PARTITIONS, BINS), np.complex64)
        self._variance = np.empty((PARTITIONS, BINS), np.float32)
        self._near = np.zeros(BINS, np.float32)
        self._turn = 0
        self.forget()

    def forget(self) -> None:
        """The path is another one."""
        self._path[:] = 0
        # a room answers less and less
        self._variance[:] = _UNSURE * 0.5 ** np.arange(PARTITIONS)[:, None]
        self._near[:] = 0

    def copy(self) -> AdaptiveFilter:
        """One that learns on its own."""
        other = AdaptiveFilter()
        other._path, other._variance, other._near = self._path.copy(), self._variance.copy(), self._near.copy()
        return other

    def moved(self, samples: int) -> AdaptiveFilter:
        """One that has learned the same way, so much later (or earlier, if negative)."""
        other = self.copy()
        response = np.fft.irfft(self._path, TRANSFORM)[:, :BLOCK].ravel()
        kept = response[max(0, -samples) : len(response) - max(0, samples)]
        moved = np.pad(kept, (max(0, samples), max(0, -samples)))
        other._path = np.fft.rfft(moved.reshape(PARTITIONS, BLOCK), TRANSFORM).astype(np.complex64)
        return other

    def cancel(self, spectra: np.ndarray, block: np.ndarray, learn: bool = True) -> tuple[np.ndarray, np.ndarray]:
        """(4, 513) spectra of what was sent, newest first, and the microphone's block (512,) → (rest, echo) of it."""
        echo = np.fft.irfft((spectra * self._path).sum(0), TRANSFORM)[BLOCK:].astype(np.float32)
        rest = block - echo
        if learn:
            self._learn(spectra, rest)
        return rest, echo

    def _learn(self, spectra: np.ndarray, rest: np.ndarray) -> None:
        error = np.fft.rfft(np.concatenate([np.zeros(BLOCK, np.float32), rest])).astype(np.complex64)
        power = spectra.real**2 + spectra.imag**2
        unsure = (power * self._variance).sum(0)
        measured = error.real**2 + error.imag**2
        self._near = _NEAR_KEPT * self._near + (1 - _NEAR_KEPT) * measured if self._near.any() else measured
        gain = self._variance / (unsure + 2 * self._near + 1e-9)
        self._path += gain * spectra.conj() * error
        self._constrain()
        self._path *= _STEADY
        size = self._path.real**2 + self._path.imag**2
        self._variance *= np.maximum(1 - 0.5 * gain * power, 0)
        self._variance = _STEADY**2 * self._variance + (1 - _STEADY**2) * size

    def _constrain(self) -> None:
        """An impulse response is no longer than its block; one partition at a time, which is as good and cheaper."""
        self._turn = (self._turn + 1) % PARTITIONS
        response = np.fft.irfft(self._path[self._turn], TRANSFORM)
        response[BLOCK:] = 0
        self._path[self._turn] = np.fft.rfft(response)

"""What the filter leaves of an echo, taken out by its spectrum: what bends in a loudspeaker, and a room's late sound.

The filter's prediction, spread over the blocks that follow, says in which frequencies and how strongly an echo is to be
expected; what share of it usually remains is learned while nobody else speaks. What is not explained so is somebody.
"""

from __future__ import annotations

import numpy as np

from server.echo.blocks import BINS, BLOCK, TRANSFORM

_BANDS = 24
_FADES = 0.6
"""Of an echo's power, from one block to the next: a room of 0.4 s."""
_WORST = 0.5
"""Share of the echo's power that may remain before anything was learned."""
_MARGIN = 8.0
"""The rest of the echo may be so many times the usual for a moment."""
_FLOOR = 0.001
"""Of the power where there is nothing but echo: -30 dB."""
_LEARNED, _LEARNED_WHILE_FOREIGN = 0.15, 0.01
"""Of a new block's share, on the logarithm's scale."""
_SOMEBODY = 0.25
"""With so much of the power unexplained, somebody else is there."""
_AUDIBLE = 1e-3
"""Power of a band (about -65 dB) below which nothing is learned of it."""


class Residue:
    """Suppresses the rest of the echo. It delays nothing: where there is no echo, what comes is what goes."""

    def __init__(self) -> None:
        self._window = np.hanning(TRANSFORM).astype(np.float32)
        self._edges = _band_edges()
        self._before = np.zeros(BLOCK, np.float32)
        self._response = np.ones(BINS, np.complex64)
        self.forget()

    def forget(self) -> None:
        """The path is another one."""
        self._share = np.full(_BANDS, _WORST, np.float32)
        self._expected = np.zeros(_BANDS, np.float32)
        self._echo_before = np.zeros(BLOCK, np.float32)

    def suppress(self, rest: np.ndarray, echo: np.ndarray) -> tuple[np.ndarray, float]:
        """What the filter left of a block and the echo that it found in it, (512,) each → (what somebody else made,
        how much of the power that is, 0…1)."""
        joined = np.concatenate([self._before, rest])
        heard = self._bands(joined)
        echoed = self._bands(np.concatenate([self._echo_before, echo]))
        self._before, self._echo_before = rest, echo
        self._expected = np.maximum(echoed, _FADES * self._expected)
        foreign = np.maximum(heard - _MARGIN * self._share * self._expected, 0)
        unexplained = float(foreign.sum() / (heard.sum() + self._expected.sum() + 1e-9))
        self._learn(heard, unexplained)
        gain = np.divide(foreign, heard, out=np.ones_like(heard), where=heard > 0)
        return self._shape(joined, np.maximum(gain, _FLOOR)), unexplained

    def _bands(self, sound: np.ndarray) -> np.ndarray:
        spectrum = np.fft.rfft(sound * self._window)
        power = spectrum.real**2 + spectrum.imag**2
        return np.add.reduceat(power, self._edges).astype(np.float32)

    def _learn(self, heard: np.ndarray, unexplained: float) -> None:
        rate = _LEARNED if unexplained < _SOMEBODY else _LEARNED_WHILE_FOREIGN
        seen = self._expected > _AUDIBLE
        ratio = np.clip(heard[seen] / self._expected[seen], 1e-4, 1.0)
        self._share[seen] *= (ratio / self._share[seen]) ** rate

    def _shape(self, joined: np.ndarray, gain: np.ndarray) -> np.ndarray:
        """Filter with these gains of power, from those of the block before to these without a step."""
        response = _minimum_phase(np.interp(_BIN_NUMBERS, self._edges + 0.5 * np.diff(self._edges, append=BINS), gain))
        if np.all(gain == 1) and np.all(self._response == 1):
            return joined[BLOCK:]
        spectrum = np.fft.rfft(joined)
        old, new = np.fft.irfft(spectrum * np.stack([self._response, response]), TRANSFORM)[:, BLOCK:]
        self._response = response
        return (old + (new - old) * _FADE).astype(np.float32)


_BIN_NUMBERS = np.arange(BINS)
_FADE = np.linspace(0, 1, BLOCK, dtype=np.float32)
_FOLD = np.concatenate([[1.0], np.full(BLOCK - 1, 2.0), [1.0], np.zeros(BLOCK - 1)]).astype(np.float32)


def _band_edges() -> np.ndarray:
    """First bin of each band, about equally wide to the ear (mel)."""
    mel = np.linspace(0, 2595 * np.log10(1 + 8000 / 700), _BANDS + 1)
    hertz = 700 * (10 ** (mel / 2595) - 1)
    edges = np.round(hertz / 16_000 * TRANSFORM).astype(int)[:-1]
    return np.maximum(edges, np.arange(_BANDS))


def _minimum_phase(power_gain: np.ndarray) -> np.ndarray:
    """Gains of power (513,) → the response that has them and answers as early as it can (through the cepstrum)."""
    cepstrum = np.fft.irfft(0.5 * np.log(power_gain), TRANSFORM)
    response: np.ndarray = np.exp(np.fft.rfft(cepstrum * _FOLD)).astype(np.complex64)
    return response

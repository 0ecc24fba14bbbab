"""Takes the server's own answer out of what the microphone hears, while the answer is played and shortly after."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from server.echo.adaptive_filter import PARTITIONS, AdaptiveFilter
from server.echo.blocks import BLOCK
from server.echo.delay import LONGEST_MS, DelaySearch
from server.echo.reference import Reference
from server.echo.residue import Residue

_HEAD_SAMPLES = 48
"""Sound that comes before the strongest: 3 ms."""
_LINGERS = (LONGEST_MS + 200) * 16
"""Samples after the end of an answer in which it may still be heard."""
_HELD_BLOCKS = 16
"""Of the microphone, to learn from once the delay is known: half a second."""
_LOOK_EVERY = 4
"""Blocks from one search for the delay to the next."""
_MOVED_SAMPLES = 16
"""A delay that differs by more is another one: a jitter buffer ran dry, another answer began."""
_DRIFTED_SAMPLES = 64
"""A delay that differs by no more may be the same one, seen by clocks that drift."""
_BETTER = 0.8
"""Another delay must leave so much less of the last half second."""
_OWN_UNLEARNED, _OWN_AT_FIRST, _OWN = 0.7, 0.1, 0.02
"""With so little of the power unexplained, a window holds the answer and nobody else: until most of an answer's
echo was predicted, then in its first second, then."""
_LEARNED = 0.16
"""The way is learned once so little of the power of 0.3 s was left: 8 dB."""
_POWER_KEPT = 0.9
"""Of the sums of power, from block to block."""
_INAUDIBLE = BLOCK * (10 ** (-60 / 20)) ** 2
"""Power of a block at -60 dB of full scale: no voice, no echo of one, and nothing to learn from. Headphones, mostly."""
_AT_FIRST_BLOCKS = 32
"""What is heard of an answer before its delay is known makes the detector of voices expect more."""


@dataclass(frozen=True)
class Cleaned:
    """More of the microphone without the answer's echo."""

    samples: np.ndarray
    """(n,) float32, 16 kHz."""
    own: list[bool]
    """For each window of 512 that these samples complete: it held the answer's echo and nothing else."""


class EchoCanceller:
    """One conversation's. Positions count the microphone's samples."""

    def __init__(self) -> None:
        self._position = 0
        self._reference = Reference()
        self._rest = np.zeros(0, np.float32)
        self._microphone: deque[tuple[np.ndarray, float]] = deque(maxlen=_HELD_BLOCKS)
        self._active = False
        self._blocks = 0
        self._own = False
        self._delay: int | None = None
        self._certain = False
        """The delay was found since this answer began."""
        self._spectra: deque[np.ndarray] = deque(maxlen=PARTITIONS)
        self._learned = False
        """Most of this answer's echo was predicted for a moment. Until then it is easily taken for somebody."""
        self._heard = self._left = 0.0

    # 0.2 MB, made when the first answer is played: most conversations that are open are silent

    @cached_property
    def _search(self) -> DelaySearch:
        return DelaySearch()

    @cached_property
    def _filter(self) -> AdaptiveFilter:
        return AdaptiveFilter()

    @cached_property
    def _residue(self) -> Residue:
        return Residue()

    def played(self, samples: np.ndarray) -> None:
        """(n,) float32, 24 kHz: sent now, to be played behind what was sent before."""
        if self._reference.end < self._position:  # another answer, or its maker was late: perhaps another delay
            self._doubt()
            self._search.begin_anew()
        self._reference.append(samples, self._position)

    def stopped(self) -> None:
        """The client throws away what it has not played."""
        self._reference.cut(self._position)

    @property
    def audible(self) -> bool:
        """An answer may be heard in the microphone."""
        begin, end = self._reference.begin, self._reference.end
        return begin < end and self._position < end + _LINGERS

    def clean(self, samples: np.ndarray) -> Cleaned:
        """(n,) float32, 16 kHz, any n → (m,) without the answer's echo. While one may be heard, whole windows come out;
        otherwise the samples themselves, at once."""
        pieces, own = [], []
        samples = np.concatenate([self._rest, samples]) if len(self._rest) else samples
        self._rest = samples[:0]
        while len(samples):
            room = BLOCK - self._position % BLOCK
            if room == BLOCK and self.audible:
                if len(samples) < BLOCK:
                    self._rest = samples.copy()
                    break
                pieces.append(self._block(samples[:BLOCK]))
                own.append(self._own)
                count = BLOCK
            else:
                self._active = False
                count = min(room, len(samples))
                pieces.append(samples[:count])
                own += [False] * (count == room)
            self._position += count
            samples = samples[count:]
        return Cleaned(pieces[0] if len(pieces) == 1 else np.concatenate([samples[:0], *pieces]), own)

    # one block

    def _block(self, block: np.ndarray) -> np.ndarray:
        if not self._active:
            self._begin()
        position, power = self._position, float(block @ block)
        self._search.push(self._reference.window(position - BLOCK, position + BLOCK), block)
        self._reference.drop_before(position - (LONGEST_MS * 16 + (_HELD_BLOCKS + PARTITIONS) * BLOCK))
        self._blocks += 1
        if power < _INAUDIBLE:
            self._own = False
            self._microphone.append((block, power))
            self._spectra.clear()
            return block
        if self._blocks % _LOOK_EVERY == 0 or not self._certain:
            self._look()
        if self._delay is None:
            self._microphone.append((block, power))
            cleaned = block
        else:
            cleaned = self._cancel(position, block)
        return cleaned

    def _begin(self) -> None:
        self._active, self._own = True, False
        self._doubt()
        self._search.forget()
        self._microphone.clear()
        self._spectra.clear()

    def _doubt(self) -> None:
        """What was found in the last answer may not hold for this one."""
        self._certain = self._learned = False
        self._blocks = 0
        self._heard = self._left = 0.0

    def _look(self) -> None:
        found = self._search.find()
        if found is None:
            return
        delay = max(0, found - _HEAD_SAMPLES)
        if self._delay is None or abs(delay - self._delay) > _MOVED_SAMPLES:
            self._try(delay)
        self._certain = True

    def _try(self, delay: int) -> None:
        """Go through the last half second again with another delay; keep what explains it better. The way may be
        another one, or the same one out of its place: clocks that drift move it by a sample a second."""
        before = self._delay
        choices = [(delay, self._filter.copy())]
        if before is not None and abs(delay - before) <= _DRIFTED_SAMPLES:
            choices.append((delay, self._filter.moved(before - delay)))
        now = (before, self._filter, self._spectra)
        best, least = now, _BETTER * sum(power for _, power in self._microphone) if self._certain else math.inf
        for self._delay, self._filter in choices:
            self._spectra = deque(maxlen=PARTITIONS)
            left = self._again()
            if left < least:
                best, least = (self._delay, self._filter, self._spectra), left
        self._delay, self._filter, self._spectra = best

    def _again(self) -> float:
        """What is left of the power of the last half second."""
        left = 0.0
        for number, (block, _) in enumerate(self._microphone):
            rest, _ = self._filtered(self._position - (len(self._microphone) - number) * BLOCK, block, learn=True)
            left += float(rest @ rest)
        return left

    def _cancel(self, position: int, block: np.ndarray) -> np.ndarray:
        rest, echo = self._filtered(position, block, learn=self._certain)
        cleaned, unexplained = self._residue.suppress(rest, echo)
        power, left = float(block @ block), float(rest @ rest)
        self._heard, self._left = _POWER_KEPT * self._heard + power, _POWER_KEPT * self._left + left
        self._learned = self._learned or self._left < _LEARNED * self._heard
        if not self._learned:
            self._own = unexplained < _OWN_UNLEARNED
        else:
            self._own = unexplained < (_OWN_AT_FIRST if self._blocks < _AT_FIRST_BLOCKS else _OWN)
        self._microphone.append((block, left))
        return cleaned

    def _filtered(self, position: int, block: np.ndarray, learn: bool) -> tuple[np.ndarray, np.ndarray]:
        """(what is left of a block, the echo that was found), (512,) each; never louder than the block."""
        while len(self._spectra) < PARTITIONS - 1:
            self._spectra.appendleft(self._spectrum(position - (PARTITIONS - 1 - len(self._spectra)) * BLOCK))
        self._spectra.appendleft(self._spectrum(position))
        rest, echo = self._filter.cancel(np.stack(self._spectra), block, learn)
        return (rest if rest @ rest <= block @ block else block), echo

    def _spectrum(self, position: int) -> np.ndarray:
        """Of the sound sent in the two blocks that reach the microphone until the end of the block at `position`."""
        assert self._delay is not None
        begin = position - self._delay
        return np.fft.rfft(self._reference.window(begin - BLOCK, begin + BLOCK)).astype(np.complex64)

"""Bounds on what one client, and all of them together, may use."""

from __future__ import annotations

import time
from collections.abc import Callable


class TokenBucket:
    """`rate` units a second on average, `burst` at once. Also bounds how far audio may run ahead of real time:
    a second of sound is a unit, the lead is the burst and the rate is 1.
    """

    def __init__(self, rate: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate = rate
        self.burst = burst
        self._clock = clock
        self._level = burst
        self._at = clock()

    def take(self, units: float) -> bool:
        """Take them if they are there; otherwise nothing is taken."""
        if units > self.level:
            return False
        self._level -= units
        return True

    @property
    def level(self) -> float:
        """What is there now."""
        now = self._clock()
        self._level = min(self.burst, self._level + (now - self._at) * self.rate)
        self._at = now
        return self._level

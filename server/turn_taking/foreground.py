"""Who sits in front of the microphone: speech much fainter than theirs is somebody else's, and is not counted.

The level of the foreground speaker is learned from their turns. Voices of other people in the room, a radio or a
television are as much speech as theirs; only their level tells them apart.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from model.voice_activity import WINDOW_SAMPLES

_MARGIN_DB = 6.0
"""A window this far below the foreground's level is somebody else's."""
_HOLD_WINDOWS = 9
"""Fainter windows that still belong to the foreground after a loud one (288 ms): unstressed syllables and word ends."""
_LEVEL_PERCENTILE = 70
"""Of a turn's voiced windows: what is said with full voice."""
_LEAST_WINDOWS = 20
"""Voiced windows of a turn (640 ms) from which a level is learned."""
_TURNS = 4
"""Turns that count: the quietest of them, so that two people who share a microphone are both in front of it."""
_BUFFERED = 8 * WINDOW_SAMPLES
"""Samples that are kept while windows are late, as behind an echo canceller."""
_FORGOTTEN_DB = 0.2 * WINDOW_SAMPLES / 16_000
"""By so much a window of voice that is not counted lowers the level: 0.2 dB a second. Somebody who has moved away from
the microphone is heard again after a while."""


class LevelMeter:
    """The level of each window of one microphone."""

    def __init__(self) -> None:
        self._rest = np.zeros(0, np.float32)

    def levels(self, samples: np.ndarray, count: int) -> list[float]:
        """(n,) float32 more of the microphone, which complete `count` windows → the level of each, in decibels."""
        joined = np.concatenate([self._rest, samples])
        whole = joined[: count * WINDOW_SAMPLES]
        self._rest = joined[count * WINDOW_SAMPLES :][-_BUFFERED:]
        power = np.square(whole[: len(whole) // WINDOW_SAMPLES * WINDOW_SAMPLES].reshape(-1, WINDOW_SAMPLES)).mean(1)
        found: list[float] = (10 * np.log10(power + 1e-12)).tolist()
        return [*found, *[0.0] * (count - len(found))]


class Foreground:
    """Tells, window for window, whether speech is the foreground speaker's. Belongs to one microphone."""

    def __init__(self) -> None:
        self._levels: deque[float] = deque(maxlen=_TURNS)
        self._turn: list[float] = []
        """Levels of the open turn's voiced windows."""
        self._since_loud = 0

    @property
    def level_db(self) -> float | None:
        """The foreground speaker's, in decibels below full scale; None until somebody has spoken."""
        return min(self._levels, default=None)

    def counts(self, level_db: float, voiced: bool, speaking: bool) -> bool:
        """Whether a window is heard at all. `speaking`: in an open turn, where faint windows may follow loud ones."""
        foreground = self.level_db
        if foreground is None or level_db >= foreground - _MARGIN_DB:
            self._since_loud = 0
        else:
            self._since_loud += 1
        counted = self._since_loud <= (_HOLD_WINDOWS if speaking else 0)
        if voiced and not counted:
            self._levels = deque((level - _FORGOTTEN_DB for level in self._levels), _TURNS)
        if voiced and counted:
            self._turn.append(level_db)
        return counted

    def turn_ended(self) -> None:
        """Learn from the turn that has ended."""
        if len(self._turn) >= _LEAST_WINDOWS:
            self._levels.append(float(np.percentile(self._turn, _LEVEL_PERCENTILE)))
        self._turn = []

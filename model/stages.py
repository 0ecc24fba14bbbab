"""How long the parts of the way to an answer's first sound take."""

from __future__ import annotations

import time
from typing import Literal

Stage = Literal["hearing", "waiting", "reading", "writing", "decoding"]
"""In this order. hearing: sound to words or features; waiting: for a slot; reading: the prompt, to the first token;
writing: to the frames of the first piece of sound; decoding: those to sound."""


class Stopwatch:
    """Seconds of each stage. A stage counts once, from the end of the one before; what an answer does not do is absent.

    It goes from thread to thread with the answer, never two at a time.
    """

    def __init__(self) -> None:
        self.seconds: dict[Stage, float] = {}
        self._last = time.monotonic()

    def ends(self, stage: Stage) -> None:
        """The stage is over now; ignored when it ended before."""
        if stage not in self.seconds:
            now = time.monotonic()
            self.seconds[stage], self._last = now - self._last, now

"""Turns longer than the ears' window: heard piece by piece while they go on, split where the speaker paused longest.

Positions are samples of the microphone.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from server.turns import ms_to_samples

EARS_MS = 30_000
"""What the ears hear at once."""
PIECE_MS = 28_000
"""A turn with so much unheard sound is split: a last word and half of a pause still fit the ears."""
_LEAST_PIECE_MS = 8_000
"""Pauses before this are not split at, so that few pieces do for a turn."""
_QUIET_MS = 30
"""Without a pause, a turn is split in the middle of its quietest stretch of this length."""
_SEARCH_MS = 6_000
"""That stretch is looked for in the last seconds of the piece."""


@dataclass
class Pieces:
    """What of one turn has been sent ahead to be heard, and where the rest begins."""

    unheard_from: int
    """Sound before this belongs to a piece."""
    texts: dict[int, str] = field(default_factory=dict)
    """What was heard so far, by generation, in the order of speech."""
    pending: set[int] = field(default_factory=set)
    """Generations that are still hearing."""
    pauses: list[tuple[int, int]] = field(default_factory=list)
    """Beginning and end of each pause since `unheard_from`."""
    paused_at: int | None = None
    """Where speech ended, while it pauses."""

    @property
    def text(self) -> str:
        """What all pieces say."""
        return " ".join(text.strip() for text in self.texts.values() if text.strip())

    def pause(self, at_sample: int) -> None:
        """Speech ended here, perhaps for good."""
        self.paused_at = at_sample

    def resume(self, at_sample: int) -> None:
        """It went on here."""
        if self.paused_at is not None:
            self.pauses.append((self.paused_at, at_sample))
        self.paused_at = None

    def due(self, now: int) -> bool:
        """There is as much unheard sound as makes a piece, and somebody is speaking on."""
        return self.paused_at is None and now - self.unheard_from >= ms_to_samples(PIECE_MS)

    def split(self, samples: np.ndarray) -> int:
        """(n,) unheard sound → the position at which its first piece ends: the middle of the longest pause, else of
        the quietest moment of its last seconds."""
        earliest = self.unheard_from + ms_to_samples(_LEAST_PIECE_MS)
        pauses = [pause for pause in self.pauses if pause[0] >= earliest]
        if pauses:
            begin, end = max(pauses, key=lambda pause: pause[1] - pause[0])
            return (begin + end) // 2
        return self.unheard_from + quietest(samples)

    def send(self, generation_id: int, end: int) -> None:
        """Sound up to `end` is being heard."""
        self.unheard_from = end
        self.texts[generation_id] = ""
        self.pending.add(generation_id)
        self.pauses = [pause for pause in self.pauses if pause[0] >= end]


def quietest(samples: np.ndarray) -> int:
    """(n,) → the middle of the quietest moment in its last seconds."""
    stretch = ms_to_samples(_QUIET_MS)
    first = max(0, len(samples) - ms_to_samples(_SEARCH_MS))
    energy = np.concatenate([[0.0], np.cumsum(np.square(samples[first:], dtype=np.float64))])
    return first + int(np.argmin(energy[stretch:] - energy[:-stretch])) + stretch // 2


def split_sound(sound: np.ndarray) -> list[np.ndarray]:
    """(n,) float32, 16 kHz, any length → pieces that the ears can hear, split where it is quiet."""
    pieces = []
    while len(sound) > ms_to_samples(EARS_MS):
        end = quietest(sound[: ms_to_samples(PIECE_MS)])
        pieces.append(sound[:end])
        sound = sound[end:]
    return [*pieces, sound]

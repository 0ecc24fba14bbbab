"""What a client has sent and not committed yet, where the server does not look for turns itself."""

from __future__ import annotations

import numpy as np

from server.audio import AudioBuffer
from server.events import Problem
from server.turns import ms_to_samples, samples_to_ms

SHORTEST_COMMIT_MS = 100


class Uncommitted:
    """The end of a microphone's sound, from the last commit on."""

    def __init__(self, audio: AudioBuffer) -> None:
        self._audio = audio
        self._begin = 0
        self._told = False
        self.turn_id: int | None = None
        """Of a turn that began before the client took over finding turns: this sound is the rest of it."""

    @property
    def ms(self) -> int:
        """How much it is."""
        return samples_to_ms(self._audio.end - self._begin)

    def clear(self) -> None:
        """What was sent so far is not wanted."""
        self._begin, self._told, self.turn_id = self._audio.end, False, None

    @property
    def begin(self) -> int:
        """Position of its first sample."""
        return self._begin

    def adopt(self, turn_id: int | None, begin: int) -> None:
        """Speech that was found and is not over is its beginning, as far back as it is kept."""
        self._begin = max(begin, self._audio.end - len(self._audio))
        self._told, self.turn_id = False, turn_id

    def keep(self, longest_ms: int) -> Problem | None:
        """Hold no more than so much; told once that the oldest is lost."""
        longest = ms_to_samples(longest_ms)
        lost = self._audio.end - self._begin > longest
        if lost:
            self._begin = self._audio.end - longest
        if not lost or self._told:
            return None
        self._told = True
        message = f"only the last {longest_ms / 1000:g} s are kept of what is not committed; commit or clear more often"
        return Problem("audio_buffer_full", message)

    def take(self) -> np.ndarray | Problem:
        """Commit it → (n,) float32, 16 kHz."""
        begin = self._begin
        self.clear()
        if self._audio.end - begin < ms_to_samples(SHORTEST_COMMIT_MS):
            held_ms = samples_to_ms(self._audio.end - begin)
            return Problem("no_audio", f"{held_ms} ms of sound to commit; send at least {SHORTEST_COMMIT_MS} ms")
        return self._audio.slice(begin, self._audio.end)

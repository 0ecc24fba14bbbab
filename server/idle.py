"""Somebody who says nothing for long after an answer is asked, once, whether they are still there."""

from __future__ import annotations

from dataclasses import dataclass, replace

from model.request import Request, Turn
from model.sampling import SamplingParams
from server.turns import samples_to_ms

INSTRUCTION = "Nobody has spoken for a while. Ask whether the person is still there."
"""To the model, which finds the words."""
_EXAMPLES = (Turn(INSTRUCTION, "Are you still there?"), Turn(INSTRUCTION, "Hello, can you still hear me?"))
"""A small model follows the instruction only when it has seen how, and only without the conversation before it."""


def idle_request(request: Request) -> Request:
    """The question whether somebody is there, otherwise as `request` wants its answers."""
    greedy = SamplingParams(repetition_penalty=1.0)
    return replace(request, text=INSTRUCTION, history=_EXAMPLES, sampling=greedy, max_sentences=1)


@dataclass
class IdleWatch:
    """Counts the silence after an answer, in samples of the microphone."""

    _samples: int = 0
    _armed: bool = False

    def answered(self) -> None:
        """Somebody spoke or typed, and an answer to it began: the next long silence is asked about."""
        self._samples, self._armed = 0, True

    def busy(self) -> None:
        """Somebody speaks, or an answer is made or played: silence counts from the end of that."""
        self._samples = 0

    def due_after(self, samples: int, idle_ms: int | None) -> int | None:
        """So many more samples of silence → milliseconds of it, once, when `idle_ms` have passed since somebody was
        answered."""
        self._samples += samples
        if not self._armed or not idle_ms or samples_to_ms(self._samples) < idle_ms:
            return None
        self._armed = False
        return samples_to_ms(self._samples)

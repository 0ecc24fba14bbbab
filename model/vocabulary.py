"""The eight streams of Mini-Omni: tasks, ids, prompts and the delay between text and audio."""

from __future__ import annotations

from enum import Enum


class Task(Enum):
    """What goes in (A: audio, T: text) and what comes out, as the published model names them."""

    A1A2 = "A1A2"
    A1T2 = "A1T2"
    A1T1 = "A1T1"
    T1A2 = "T1A2"
    T1T2 = "T1T2"

    @property
    def hears(self) -> bool:
        """The question is audio."""
        return self.value.startswith("A1")

    @property
    def speaks(self) -> bool:
        """The answer is audio, with its text beside it."""
        return self.value.endswith("A2")

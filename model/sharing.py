"""Whose each answer in progress is, and what follows from it for who works first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from model import pacing
from model.answer import Answer


class Shares:
    """Knows the client of each answer, by the answer's number."""

    def __init__(self) -> None:
        self._clients: dict[int, str | None] = {}

    def began(self, number: int, client: str | None) -> None:
        """An answer of this client is in progress."""
        self._clients[number] = client

    def held(self, client: str | None, numbers: Iterable[int]) -> int:
        """How many of these answers are this client's; 0 for None."""
        return 0 if client is None else sum(self._clients.get(number) == client for number in numbers)

    def in_turn(self, answers: Mapping[int, Answer]) -> list[tuple[int, Answer]]:
        """(how many older ones its client has, answer): the first of every client before anybody's second."""
        self._clients = {number: client for number, client in self._clients.items() if number in answers}
        seen: Counter[str] = Counter()
        ranked = []
        for number, answer in answers.items():
            client = self._clients.get(number)
            ranked.append((0 if client is None else seen[client], answer))
            if client is not None:
                seen[client] += 1
        return sorted(ranked, key=lambda pair: pair[0])

    def keeps_waiting(self, client: str | None, answers: Mapping[int, Answer]) -> bool:
        """Whether somebody other than this client waits for a first sound. May be asked from any thread."""
        return any(answer.silent and self._clients.get(number) != client for number, answer in list(answers.items()))


def can_rest(older: int, answer: Answer) -> bool:
    """Whether an answer may stand still while somebody is heard: its listener has sound for long enough, or its client
    has an older one."""
    return older > 0 or (answer.speaking and answer.lead_seconds >= pacing.LONG_LEAD_SECONDS)

"""How long to wait at a pause: the likelier it is that the words so far end the turn, the shorter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Eagerness = Literal["low", "auto", "high"]


@dataclass(frozen=True)
class Waits:
    """Silence that ends a turn, by the probability that it is over: `longest_ms` up to `unlikely`, `shortest_ms` from
    `likely` on, straight between them."""

    shortest_ms: int
    longest_ms: int
    unlikely: float
    likely: float

    def silence_ms(self, probability: float) -> float:
        """Milliseconds to wait; `probability` in 0–1."""
        share = (probability - self.unlikely) / (self.likely - self.unlikely)
        return self.longest_ms + min(max(share, 0.0), 1.0) * (self.shortest_ms - self.longest_ms)


WAITS: dict[Eagerness, Waits] = {
    "low": Waits(320, 2400, 0.4, 0.9),
    "auto": Waits(256, 1500, 0.5, 0.85),
    "high": Waits(256, 1200, 0.2, 0.6),
}
"""Chosen for the least waiting where 1.5, 3 and 10 % of hesitating speakers are cut in on, among utterances of
`training.data.turns` that the judge was not fitted to."""

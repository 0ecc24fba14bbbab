"""How the next token is chosen, per request."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SamplingParams:
    """Greedy by default. `top_k=1` or `temperature=0` is greedy; `top_k=0` and `top_p=1` switch those limits off.

    With a `seed` the same request gives the same answer in any company; without one a fresh seed is drawn.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int | None = None

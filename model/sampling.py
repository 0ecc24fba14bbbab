"""How the next token is chosen, per request."""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

PENALIZED_TOKENS = 160
"""The last so many of what was said: about four answers."""


@dataclass(frozen=True)
class SamplingParams:
    """Greedy by default. `top_k=1` or `temperature=0` is greedy; `top_k=0` and `top_p=1` switch those limits off.

    With a `seed` the same request gives the same answer in any company; without one a fresh seed is drawn.
    A `repetition_penalty` above 1 makes tokens less likely that this answer or the last ones already hold (Keskar et
    al. 2019, CTRL): small models else say the same sentence again and again.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int | None = None
    repetition_penalty: float | None = None
    """None: the model's own, 1 (off) where it has none."""

    def __post_init__(self) -> None:
        if not 0 <= self.temperature <= 10:
            raise ValueError(f"temperature is {self.temperature}, wanted 0 (greedy) to 10")
        if self.top_k < 0:
            raise ValueError(f"top_k is {self.top_k}, wanted 0 (off) or more")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p is {self.top_p}, wanted above 0 and at most 1 (off)")
        if self.repetition_penalty is not None and not 1 <= self.repetition_penalty <= 2:
            raise ValueError(f"repetition_penalty is {self.repetition_penalty}, wanted 1 (off) to 2")

    @property
    def greedy(self) -> bool:
        return self.temperature == 0 or self.top_k == 1


class Sampler:
    """One request's source of chance: the same seed draws the same numbers, whoever else is being answered."""

    def __init__(self, params: SamplingParams) -> None:
        self.params = params
        self._penalty = params.repetition_penalty or 1.0
        self._generator = torch.Generator()
        self._generator.manual_seed(secrets.randbits(62) if params.seed is None else params.seed)
        self._said: deque[int] = deque(maxlen=PENALIZED_TOKENS)

    def remember(self, tokens: Iterable[int]) -> None:
        """Tokens that were said, oldest first."""
        if self._penalty > 1:
            self._said.extend(tokens)

    @property
    def penalizes(self) -> bool:
        """Some choices are less likely than the model says."""
        return bool(self._said)

    def penalized(self, logits: Tensor) -> Tensor:
        """Logits (…, choices) → the same, lower where a token was said."""
        said = torch.tensor(sorted(set(self._said)), device=logits.device)
        values, penalty = logits[..., said], self._penalty
        lower = torch.where(values > 0, values / penalty, values * penalty)
        return logits.index_copy(-1, said, lower)

    def uniform(self, count: int) -> Tensor:
        """(count,) numbers in [0, 1)."""
        return torch.rand(count, generator=self._generator)


def sample(logits: Tensor, samplers: Sequence[Sampler]) -> Tensor:
    """Logits (rows, …, choices), a sampler a row → tokens (rows, …). Rows do not influence each other."""
    tokens = logits.argmax(-1)
    for row, sampler in enumerate(samplers):
        if sampler.params.greedy and not sampler.penalizes:
            continue
        choices = sampler.penalized(logits[row]) if sampler.penalizes else logits[row]
        if sampler.params.greedy:
            tokens[row] = choices.argmax(-1)
        else:
            tokens[row] = _draw(choices.reshape(-1, logits.shape[-1]), sampler).view(tokens[row].shape)
    return tokens


def _draw(logits: Tensor, sampler: Sampler) -> Tensor:
    """(n, choices) → (n,) by temperature, then top-k, then top-p."""
    params = sampler.params
    count = min(params.top_k or logits.shape[-1], logits.shape[-1])
    values, indices = (logits.float() / params.temperature).topk(count)
    probabilities = values.softmax(-1)
    outside = probabilities.cumsum(-1) - probabilities > params.top_p
    kept = probabilities.masked_fill(outside, 0.0).cumsum(-1)
    point = sampler.uniform(len(logits)).to(kept)[:, None] * kept[:, -1:]
    picked = torch.searchsorted(kept, point, right=True).clamp(max=count - 1)
    return indices.gather(-1, picked)[:, 0]

"""The cache of many sequences as `transformers`' bodies see one. To import it takes a second, so the embedded model's
way, which needs none of them, does not."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers import Cache

from model.cache import SlotCache


class BodyCache(Cache):
    """A `SlotCache` whose layer `first` is the body's first: 0, or more for blocks that follow another body's."""

    def __init__(self, cache: SlotCache, first: int = 0) -> None:
        self.layers = []  # transformers' own per-layer caches: none, so that it asks for no masks of theirs
        self._cache, self._first = cache, first

    def update(self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: Any, **kwargs: Any) -> Any:
        return self._cache.update(key_states, value_states, self._first + layer_idx)

    def get_seq_length(self, layer_idx: int = 0) -> int:
        return self._cache.length

    @property
    def is_compileable(self) -> bool:
        return False

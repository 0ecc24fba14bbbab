"""Keys and values of many sequences in one preallocated tensor."""

from __future__ import annotations

import math
import mmap
from typing import Any

import torch
from torch import Tensor
from transformers import Cache


class SlotCache(Cache):
    """A row per sequence, a place per position, plugged into `transformers`' cache interface.

    `select` says which rows and positions the next forward pass is about; attention then sees the keys of those rows
    from position 0 to the last one selected, under the mask that `select` returns. Rows never see each other, so a
    slot can be given to a new sequence without clearing it.
    """

    def __init__(self, layers: int, slots: int, heads: int, window: int, head_dim: int, like: Tensor) -> None:
        self.layers = []  # transformers' own per-layer caches: none, so that it asks for no masks of theirs
        shape = (layers, slots, heads, window, head_dim)
        self.all_keys, self.all_values = _zeros(shape, like), _zeros(shape, like)
        self.keys, self.values = list(self.all_keys), list(self.all_values)
        self.window = window
        self.slots = slots
        self._rows = torch.zeros(0, dtype=torch.long)
        self._positions = torch.zeros(0, 0, dtype=torch.long)
        self._length = 0

    def select(self, rows: Tensor, positions: Tensor) -> Tensor:
        """Rows (n,) and their positions (n, steps) → attention mask (n, 1, steps, length), True where seen."""
        self._rows, self._positions = rows, positions
        self._length = int(positions.max()) + 1
        if self._length > self.window:
            raise ValueError(f"position {self._length - 1} is outside the window of {self.window} positions")
        seen = torch.arange(self._length, device=positions.device)
        return (seen <= positions[..., None])[:, None]

    def update(self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: Any, **kwargs: Any) -> Any:
        """Keep (n, heads, steps, head_dim) at the selected places; return everything up to the last position."""
        keys, values = self.keys[layer_idx], self.values[layer_idx]
        rows = self._rows[:, None]
        keys[rows, :, self._positions] = key_states.transpose(1, 2)
        values[rows, :, self._positions] = value_states.transpose(1, 2)
        if len(self._rows) == 1:  # the common case needs no copy
            row = int(self._rows[0])
            return keys[row : row + 1, :, : self._length], values[row : row + 1, :, : self._length]
        return keys[self._rows, :, : self._length], values[self._rows, :, : self._length]

    def clear(self, row: int) -> None:
        """Forget a row whose values cannot be trusted: not even a masked position may hold NaN."""
        for kept in (*self.keys, *self.values):
            kept[row] = 0

    def copy(self, source: int, target: int, end: int, begin: int = 0) -> None:
        """Give row `target` the positions from `begin` up to `end` of row `source`."""
        for kept in (*self.keys, *self.values):
            kept[target, :, begin:end] = kept[source, :, begin:end]

    def get_seq_length(self, layer_idx: int = 0) -> int:
        return self._length

    @property
    def is_compileable(self) -> bool:
        return False


def _zeros(shape: tuple[int, ...], like: Tensor) -> Tensor:
    """On a CPU, memory that the system gives only where it is written to: most windows are never filled.

    In small pages: one of 2 MB would hold the beginnings of several windows, and NumPy asks for those.
    """
    if like.device.type != "cpu":
        return like.new_zeros(shape)
    memory = mmap.mmap(-1, max(1, math.prod(shape)) * like.itemsize)
    if hasattr(mmap, "MADV_NOHUGEPAGE"):
        memory.madvise(mmap.MADV_NOHUGEPAGE)
    return torch.frombuffer(memory, dtype=like.dtype).view(shape)


class LayersFrom(Cache):
    """A cache whose layer 0 is layer `first` of another: for blocks that follow the body's own."""

    def __init__(self, cache: SlotCache, first: int) -> None:
        self.layers = []
        self._cache, self._first = cache, first

    def update(self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: Any, **kwargs: Any) -> Any:
        return self._cache.update(key_states, value_states, self._first + layer_idx)

    def get_seq_length(self, layer_idx: int = 0) -> int:
        return self._cache.get_seq_length()

    @property
    def is_compileable(self) -> bool:
        return False

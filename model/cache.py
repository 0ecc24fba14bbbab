"""Keys and values of many sequences in one preallocated tensor."""

from __future__ import annotations

import math
import mmap

import torch
from torch import Tensor


class SlotCache:
    """A row per sequence, a place per position; `transformers`' bodies see it as a `BodyCache`.

    `select` says which rows and positions the next forward pass is about; attention then sees the keys of those rows
    from position 0 to the last one selected, under the mask that `select` returns. Rows never see each other, so a
    slot can be given to a new sequence without clearing it.
    """

    def __init__(self, layers: int, slots: int, heads: int, window: int, head_dim: int, like: Tensor) -> None:
        shape = (layers, slots + 1, heads, window, head_dim)
        self.spare = slots
        """A row more, that is written where there must be one and that nobody reads."""
        self.all_keys, self.all_values = _zeros(shape, like), _zeros(shape, like)
        self.keys, self.values = list(self.all_keys), list(self.all_values)
        self.window = window
        self.slots = slots
        self._rows = torch.zeros(0, dtype=torch.long)
        self._positions = torch.zeros(0, 0, dtype=torch.long)
        self._length = 0
        self._fixed = False

    def select(self, rows: Tensor, positions: Tensor, length: int | None = None) -> Tensor:
        """Rows (n,) and their positions (n, steps) → attention mask (n, 1, steps, length), True where seen.

        `length` fixes how many positions are looked at: nothing then depends on what the tensors hold.
        """
        self._rows, self._positions, self._fixed = rows, positions, length is not None
        self._length = int(positions.max()) + 1 if length is None else length
        if self._length > self.window:
            raise ValueError(f"position {self._length - 1} is outside the window of {self.window} positions")
        seen = torch.arange(self._length, device=positions.device)
        return (seen <= positions[..., None])[:, None]

    def update(self, new_keys: Tensor, new_values: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        """Keep (n, heads, steps, head_dim) at the selected places; return everything up to the last position."""
        keys, values = self.keys[layer], self.values[layer]
        rows = self._rows[:, None]
        keys[rows, :, self._positions] = new_keys.transpose(1, 2)
        values[rows, :, self._positions] = new_values.transpose(1, 2)
        if len(self._rows) == 1 and not self._fixed:  # the common case needs no copy
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

    @property
    def length(self) -> int:
        """Positions that the selected rows see."""
        return self._length


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

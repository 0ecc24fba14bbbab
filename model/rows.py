"""Rows of the body's cache: who has which, what each holds, and the next step of any set of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from model.network import OmniNetwork


@dataclass
class BodyRow:
    """One sequence in the body's cache."""

    slot: int
    waiting: Tensor
    """Embeddings not yet run, (positions, width): the prompt at first, then one position a step."""
    writes: bool
    """Its text logits are wanted."""
    speaks: bool
    """Its audio logits are wanted."""
    position: int = 0
    alike: bool = True
    """All rows of its answer hold the same so far."""
    ids: list[int] = field(default_factory=list)
    """Tokens of all positions, those that wait included, where the row is text only."""


class RowPool:
    """A fixed number of rows, handed out and taken back. What a row holds stays until it is handed out again."""

    def __init__(self, network: OmniNetwork, rows: int, window: int) -> None:
        self.network = network
        self.window = window
        self.free = list(range(rows))
        """Rows that may be claimed, the longest unused first."""
        self._cache = network.new_cache(rows, window)
        self._last: dict[int, BodyRow] = {}

    def claim(self, row: BodyRow) -> None:
        """The row is in use from now on."""
        self.free.remove(row.slot)
        self._last[row.slot] = row

    def keys_and_values(self, row: BodyRow) -> tuple[Tensor, Tensor]:
        """Of the positions that a row has run, (layers, heads, positions, head_dim) each: views."""
        cache = self._cache
        return cache.all_keys[:, row.slot, :, : row.position], cache.all_values[:, row.slot, :, : row.position]

    def restore(self, ids: list[int], keys: Tensor, values: Tensor) -> None:
        """Let a free row hold the keys and values of these tokens' positions, as `keys_and_values` gave them."""
        row = BodyRow(self.free[-1], keys.new_zeros(0), writes=False, speaks=False, position=len(ids), ids=ids)
        for kept, given in zip(self.keys_and_values(row), (keys, values), strict=True):
            kept.copy_(given)
        self._last[row.slot] = row

    def distrust(self, row: BodyRow) -> None:
        """Forget what the row holds, so that NaN in it reaches no later sequence through a masked position."""
        self._cache.clear(row.slot)
        self._last.pop(row.slot, None)

    def place(self, ids: list[int]) -> tuple[int, int]:
        """A free slot for a prompt, and how many of its first positions are in the cache of that slot already.

        The slot that holds the conversation so far is taken; where another one shares the beginning (the system
        prompt, at least), that is copied. The last position is always run: it predicts the first token.
        """
        shared = {slot: common_length(row.ids[: row.position], ids[:-1]) for slot, row in self._last.items()}
        source = max(shared, key=lambda slot: shared[slot], default=None)
        if source is None or not shared[source]:
            return self.free[0], 0
        known = shared[source]
        if source in self.free and known == self._last[source].position:
            return source, known
        target = self.free[0]
        if target != source:
            self._last.pop(target, None)
            self._cache.copy(source, target, known)
        return target, known

    def hidden(self, rows: Sequence[BodyRow], count: int) -> Tensor:
        """The next `count` positions of rows through the body → hidden states of the last (rows, width)."""
        return self._checked(self._states(rows, count)[:, -1])

    def every_hidden(self, row: BodyRow) -> Tensor:
        """All waiting positions of a row through the body → hidden states of each (positions, width)."""
        return self._checked(self._states([row], len(row.waiting))[0])

    def _states(self, rows: Sequence[BodyRow], count: int) -> Tensor:
        embedded = torch.stack([row.waiting[:count] for row in rows])
        positions = torch.stack([torch.arange(row.position, row.position + count) for row in rows])
        slots = torch.tensor([row.slot for row in rows])
        states: Tensor = self.network(embedded, positions.to(embedded.device), slots.to(embedded.device), self._cache)
        return states

    @staticmethod
    def _checked(hidden: Tensor) -> Tensor:
        if not hidden.isfinite().all():
            raise ArithmeticError("the model computed what is not a number")
        return hidden

    @staticmethod
    def alike(rows: Sequence[BodyRow], count: int) -> int:
        """How many of the next `count` positions are the same in all of several rows that have been the same so far.

        Both rows of a spoken question are, but for the last position of the prompt (paper section 3.3).
        """
        first, *others = rows
        if not others or any(row.position != first.position or not row.alike for row in rows):
            return 0
        same = torch.stack([(row.waiting[:count] == first.waiting[:count]).all(-1) for row in others]).all(0)
        return int(same.long().cumprod(0).sum())

    def hidden_once(self, rows: Sequence[BodyRow], count: int) -> Tensor:
        """`hidden` for rows that are alike: one is run, the others take over its keys and values."""
        hidden = self.hidden(rows[:1], count)
        for row in rows[1:]:
            self._cache.copy(rows[0].slot, row.slot, rows[0].position + count, rows[0].position)
        return hidden.expand(len(rows), -1)

    def logits(self, rows: Sequence[BodyRow], hidden: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Text logits of the rows that write, audio logits of those that speak, in their order."""
        written = [index for index, row in enumerate(rows) if row.writes]
        spoken = [index for index, row in enumerate(rows) if row.speaks]
        return (
            self.network.text_logits(hidden[written]) if written else None,
            self.network.audio_logits(hidden[spoken]) if spoken else None,
        )


def common_length(one: Sequence[int], other: Sequence[int]) -> int:
    """Length of the beginning that two sequences share."""
    for index, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return index
    return min(len(one), len(other))

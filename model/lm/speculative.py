"""Drafts for speculative decoding: cheap guesses of the next tokens, which the language model verifies in one step.

A step of a large model waits for memory, so a few positions take little longer than one. Each draft that is the token
which the model itself chooses saves a step; the first that is not ends the step. The answer is the same with any
drafts (Leviathan et al. 2023, with a sampler in place of a draft model's distribution).

Drafts come from the conversation itself, where its last tokens have occurred before (prompt lookup), and from a table
of what usually follows the last two or three tokens of an answer, counted by `training.draft_table`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file
from tokenizers import Tokenizer

TABLE_FILE = "draft_table.safetensors"
"""In the folder of a checkpoint."""
ORDERS = (3, 2)
"""Tokens of context in a table. The longer is asked first."""
LONGEST = 3
"""Drafts of a step. With its own token, four positions are verified: as many as the kernel computes at once."""
_TOKEN_BITS = 18
_START = 1
"""In place of the tokens before an answer; 0 stands for any."""
_LOOKED_AT = 256
"""Tokens of the conversation that are looked through."""
_FOUND = {3: 0.7, 2: 0.5, 1: 0.2}
"""How often what followed so many tokens in the conversation follows them again, where the sources before it know
nothing: measured on 170 answers."""
_LEAST, _LEAST_LONG = 0.15, 0.6
"""Expected tokens that one draft, and two more after it, must save. On two cores one draft costs 0.11 of a step, and
two more cost 0.33."""


def context_key(written: Sequence[int], order: int) -> int:
    """The last `order` tokens of an answer as one integer; the answer is shorter where it has just begun."""
    tokens = [token + 2 for token in written[-order:]]
    key = 0
    for token in [_START] * (order - len(tokens)) + tokens:
        key = key << _TOKEN_BITS | token
    return key


@dataclass(frozen=True)
class DraftTable:
    """What usually follows the last tokens of an answer."""

    keys: np.ndarray
    """(n,) int64, rising: `context_key` of each context."""
    tokens: np.ndarray
    """(n,) int32: what follows most often."""
    shares: np.ndarray
    """(n,) uint8: how often it does, of 255."""

    @classmethod
    def open(cls, path: Path) -> DraftTable:
        """From a file that `training.draft_table` wrote."""
        return cls(**load_file(path))

    def after(self, written: Sequence[int], order: int) -> tuple[int, float] | None:
        """The token that follows the last `order` tokens most often, and how often; None for an unknown context."""
        key = context_key(written, order)
        at = int(np.searchsorted(self.keys, key))
        if at == len(self.keys) or self.keys[at] != key:
            return None
        return int(self.tokens[at]), float(self.shares[at]) / 255


class Drafter:
    """Drafts answers of one model; for all its conversations."""

    def __init__(self, tokenizer: Tokenizer, table: DraftTable | None) -> None:
        """`table` None: drafts come from the conversation alone."""
        self._table = table

        @cache
        def letters(token: int) -> str:
            """A token's text without the space before it and in small letters: "The" continues as " the" does."""
            return (tokenizer.id_to_token(token) or "").lstrip("Ġ▁").casefold()

        self._letters: Callable[[int], str] = letters

    def draft(self, ids: Sequence[int], written: int, most: int = LONGEST) -> list[int]:
        """None, one or `LONGEST` tokens, at most `most`, that may follow `ids`, of which the last `written` are the
        answer so far."""
        seen = list(ids[-_LOOKED_AT:])
        letters = [self._letters(token) for token in seen]
        drafts: list[int] = []
        shares: list[float] = []
        while len(drafts) < min(most, LONGEST):
            found = self._next(seen, letters, seen[len(seen) - min(written + len(drafts), ORDERS[0]) :])
            if found is None:
                break
            token, share = found
            drafts.append(token)
            shares.append(share)
            seen.append(token)
            letters.append(self._letters(token))
        if not drafts or shares[0] < _LEAST:
            return []
        if len(drafts) == LONGEST and shares[0] * shares[1] * (1 + shares[2]) >= _LEAST_LONG:
            return drafts
        return drafts[:1]

    def _next(self, seen: list[int], letters: list[str], answer: list[int]) -> tuple[int, float] | None:
        """The likeliest token after `seen`, and about how often it is right. `answer`: its last tokens."""
        for length in _FOUND:
            if length <= len(answer) and (token := _repeated(seen, letters, length)) is not None:
                return token, _FOUND[length]
            if self._table is None or length not in ORDERS:
                continue
            if (found := self._table.after(answer, length)) is not None:
                return found
        return None


def _repeated(seen: list[int], letters: list[str], length: int) -> int | None:
    """What followed the last `length` tokens where they occurred before, the last time."""
    wanted = letters[-length:]
    for begin in range(len(letters) - length - 1, -1, -1):
        if letters[begin : begin + length] == wanted:
            return seen[begin + length]
    return None

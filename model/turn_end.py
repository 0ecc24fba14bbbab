"""Is the question over? How likely what was heard ends the speaker's turn.

The body reads the words as a user's message and tells, after the last of them, how likely the sentence or the message
ends there: in what the ears wrote down, and in the draft that their adapter spelled. Whisper's decoder likes to
complete what was cut off ("What is the" becomes "What is that?"), the draft says what was to be heard. The encoder's
states around the end know how it was said: the voice falls at an end, and lingers on a word before a hesitation. A
linear head weighs all of it; `training.turn_end` fits it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from model.audio import SAMPLES_PER_STATE
from model.lm.chat import END_OF_TURN
from model.lm.unfinished import is_unfinished

if TYPE_CHECKING:
    from model.network import OmniNetwork

_SYSTEM_PROMPT = "You are a kind and helpful voice assistant named Omni. Give short, clear answers in plain English."
"""What `turn_end.safetensors` was fitted with; answers have a prompt of their own (`model.lm.defaults`)."""
_ENDS = (".", "?", "!", "...")
"""Marks after which a sentence is over; the end of the message is a fifth."""
_LONGEST_CHARACTERS = 100
"""Of what was said last; what came before it does not matter."""
_LONGEST_TOKENS = 60
_PARTS = ((-25, 0), (-5, 3), (2, 8))
"""The last half second, the last sound, the silence after it: states of 20 ms, from the end of sound."""
_QUIET = 1e-3
"""Power below which a piece counts as silence, as a share of the loudest piece's."""


@dataclass(frozen=True)
class Ending:
    """What the ears know of the end of an utterance beside its words."""

    draft: str
    """The words as they sounded."""
    tail: np.ndarray
    """(3 · width,) float32: mean encoder states of the last half second, of the last sound, of the silence after it."""

    @classmethod
    def of(cls, draft: str, states: Tensor, samples: np.ndarray) -> Ending:
        """States (T, width) of (samples,) float32 at 16 kHz and of the silence after them."""
        pieces = samples[: len(samples) // SAMPLES_PER_STATE * SAMPLES_PER_STATE].reshape(-1, SAMPLES_PER_STATE)
        power = np.square(pieces, dtype=np.float64).mean(1)
        end = int(np.flatnonzero(power >= power.max() * _QUIET)[-1]) + 1 if len(power) else 1
        means = [states[max(0, end + first) : end + last].float().mean(0) for first, last in _PARTS]
        return cls(draft, torch.cat(means).cpu().numpy())


class TurnEnd:
    """Judges with one network, one question at a time."""

    def __init__(self, network: OmniNetwork, tokenizer: Tokenizer, weights: Mapping[str, Tensor]) -> None:
        """`weights` as in `shapes`."""
        self.network, self.tokenizer = network, tokenizer
        self.weights = dict(weights)
        ends = [tokenizer.encode(f"a{mark}").ids[-1] for mark in _ENDS]
        self._ends = torch.tensor([*ends, tokenizer.token_to_id(END_OF_TURN)])
        opening = f"<|im_start|>system\n{_SYSTEM_PROMPT}{END_OF_TURN}\n<|im_start|>user\n"
        ids = tokenizer.encode(opening).ids
        self._begin = len(ids)
        self._cache = network.new_cache(2, len(ids) + _LONGEST_TOKENS)
        with torch.inference_mode():
            self._run([ids, ids], 0)

    @staticmethod
    def shapes(ears_width: int) -> dict[str, tuple[int, ...]]:
        """Of the weights: of the log-odds of what was written and of the draft, and of `Ending.tail`."""
        return {"words": (2,), "tail": (len(_PARTS) * ears_width,), "bias": (1,)}

    def __call__(self, text: str, ending: Ending) -> float:
        """The probability that somebody who said this, and ended so, has said all; 0 where there are no words, and
        where the words must go on."""
        if not has_words(text) or is_unfinished(text, ending.draft):
            return 0.0
        weights = self.weights
        logit = self.log_odds(text, ending.draft) @ weights["words"] + torch.from_numpy(ending.tail) @ weights["tail"]
        return float((logit + weights["bias"]).sigmoid())

    @torch.inference_mode()
    def log_odds(self, text: str, draft: str) -> Tensor:
        """(2,): that a sentence or the message ends after the last word of what was written, and of the draft.

        Marks after the last word are not read: ears put them anywhere. A draft without words counts as the text.
        """
        texts = [text, draft if has_words(draft) else text]
        rows = [self.tokenizer.encode(_last_part(one)).ids[-_LONGEST_TOKENS:] for one in texts]
        hidden = self._run(rows, self._begin)
        last = torch.stack([states[len(ids) - 1] for states, ids in zip(hidden, rows, strict=True)])
        if not last.isfinite().all():
            raise ArithmeticError("the model computed what is not a number")
        logits = self.network.text_logits(last).cpu()
        others = logits.index_fill(1, self._ends, -torch.inf)
        return logits[:, self._ends].logsumexp(-1) - others.logsumexp(-1)

    def _run(self, rows: Sequence[list[int]], begin: int) -> Tensor:
        """Tokens from position `begin` on → hidden states (n, longest, width); those past a row's end mean nothing."""
        longest = max(map(len, rows))
        ids = torch.tensor([row + [row[-1]] * (longest - len(row)) for row in rows])
        positions = torch.arange(begin, begin + longest).expand(len(rows), -1)
        device = self.network.device
        slots = torch.arange(len(rows), device=device)
        hidden: Tensor = self.network(self.network.embed(ids), positions.to(device), slots, self._cache)
        return hidden


def has_words(text: str) -> bool:
    """There is a letter or a figure in it."""
    return any(map(str.isalnum, text))


def _last_part(text: str) -> str:
    """The text up to its last letter or figure, the beginning of a long one left out."""
    end = max(index for index, letter in enumerate(text) if letter.isalnum()) + 1
    part = text[:end].strip()
    return part if len(part) <= _LONGEST_CHARACTERS else re.sub(r"^\S*\s+", "", part[-_LONGEST_CHARACTERS:])

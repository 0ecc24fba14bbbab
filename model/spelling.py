"""From letters to phonemes: the first part of the TTS adapter, a small network of its own."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.convnext import ConvStack
from model.normalize.common import MARKS

if TYPE_CHECKING:
    from model.tts_adapter import TtsAdapterConfig

ALPHABET = "\0 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ" + MARKS
"""Letters that `Spelling` reads; index 0 is what surrounds a sentence."""


def spell(text: str) -> list[int]:
    """Indices into `ALPHABET`; accents are dropped and other characters ignored."""
    plain = unicodedata.normalize("NFKD", text)
    return [index for letter in plain if (index := ALPHABET.find(letter)) > 0]


class Spelling(nn.Module):
    """Letters of a sentence → for each letter, `slots` places that hold a phoneme or nothing (CTC)."""

    def __init__(self, config: TtsAdapterConfig) -> None:
        super().__init__()
        self.slots, self.blank = config.slots, config.phonemes
        self.letters = nn.Embedding(len(ALPHABET), config.spelling_width)
        self.stack = ConvStack(config.spelling_blocks, config.spelling_width, 3 * config.spelling_width, config.kernel)
        self.spread = nn.Linear(config.spelling_width, config.slots * 128)
        self.heads = nn.Linear(128, config.phonemes + 1)

    @property
    def reach(self) -> int:
        """Letters ahead that decide a letter's phonemes."""
        return self.stack.reach

    def forward(self, letters: Tensor, mask: Tensor, wanted: slice = slice(None)) -> Tensor:
        """(rows, n) letters, (rows, n, 1) mask → logits of the `wanted` letters (rows, n, slots, phonemes + 1)."""
        x = self.spread(self.stack(self.letters(letters), mask)[:, wanted])
        logits: Tensor = self.heads(F.gelu(x.unflatten(-1, (self.slots, -1))))
        return logits

    def read(self, best: Tensor) -> list[int]:
        """Greedy CTC: best classes of a word's places (letters, slots) → its phonemes."""
        collapsed = torch.unique_consecutive(best.flatten()).tolist()
        return [p for p in collapsed if p != self.blank]

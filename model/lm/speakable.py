"""Which tokens an answer may consist of: those that the voice can say.

The voice reads English. A third of Qwen's vocabulary is Chinese, Cyrillic, Arabic and so on: no logits are computed for
it, which saves a fifteenth of what a step reads, and an answer never holds what would not be heard.
"""

from __future__ import annotations

import unicodedata

import numpy as np
from tokenizers import Tokenizer

_LAST_LATIN = 0x24F
"""The end of Latin Extended-B."""
_PUNCTUATION = range(0x2000, 0x20D0)
"""General punctuation, superscripts and currencies."""


def is_speakable(text: str) -> bool:
    """Whether all letters of a text are Latin, and nothing else in it is outside Latin text: no emoji, no script that
    the voice cannot read, no part of a character."""
    return all(ord(one) <= _LAST_LATIN or ord(one) in _PUNCTUATION for one in unicodedata.normalize("NFC", text))


def speakable_tokens(tokenizer: Tokenizer) -> np.ndarray:
    """The ids of a tokenizer's tokens that the voice can say, rising, int32. Control tokens are among them."""
    size = tokenizer.get_vocab_size(with_added_tokens=True)
    texts = tokenizer.decode_batch([[token] for token in range(size)], skip_special_tokens=False)
    return np.array([token for token, text in enumerate(texts) if is_speakable(text)], np.int32)

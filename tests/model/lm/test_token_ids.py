"""Long texts are tokenised as short ones are."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import Tokenizer

from model.lm.chat import token_ids

TOKENIZER = Path(__file__).parents[3] / "checkpoints" / "smol-omni" / "tokenizer.json"


@pytest.mark.parametrize("text", ["", "Hello.", "The quick brown fox. " * 500, "<|im_start|>user\n" + "😀" * 3000])
@pytest.mark.parametrize("special", [False, True])
def test_ids_are_the_tokenizers(text: str, special: bool) -> None:
    tokenizer = Tokenizer.from_file(str(TOKENIZER))
    assert token_ids(tokenizer, text, special) == tokenizer.encode(text, add_special_tokens=special).ids

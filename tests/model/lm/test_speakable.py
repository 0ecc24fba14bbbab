"""Tokens that the voice can say."""

from __future__ import annotations

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from model.lm.speakable import is_speakable, speakable_tokens


@pytest.mark.parametrize("text", ["Hello", " naïve", "café", "“yes” – no…", "€5", "Łódź", "<|im_end|>", "", "\n"])
def test_latin_text_and_its_punctuation_are_spoken(text: str) -> None:
    assert is_speakable(text)


@pytest.mark.parametrize("text", ["你好", "привет", "مرحبا", "😀", "\N{REPLACEMENT CHARACTER}", "→", "■", "日本 ok"])
def test_other_scripts_and_signs_are_not(text: str) -> None:
    assert not is_speakable(text)


def test_tokens_are_judged_by_the_text_that_they_stand_for() -> None:
    parts = ["h", "i", "é".encode(), "你".encode(), "你".encode()[:1]]
    alphabet = pre_tokenizers.ByteLevel(add_prefix_space=False)

    def written(part: str | bytes) -> str:
        if isinstance(part, str):
            return part
        table = Tokenizer(models.BPE())
        table.pre_tokenizer = alphabet
        if part in ("é".encode(), "你".encode()):
            return "".join(piece for piece, _ in alphabet.pre_tokenize_str(part.decode()))
        return alphabet.pre_tokenize_str("你")[0][0][:1]

    tokenizer = Tokenizer(models.BPE(vocab={written(part): number for number, part in enumerate(parts)}, merges=[]))
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken("<|im_end|>")])
    assert speakable_tokens(tokenizer).tolist() == [0, 1, 2, 5]

"""Spoken forms of every class of tokens, by hand."""

from __future__ import annotations

import pytest

from model.text import speakable
from tests.model.normalize.classes import CASES


@pytest.mark.parametrize(
    ("written", "said"), [pytest.param(*case, id=case[0]) for cases in CASES.values() for case in cases]
)
def test_a_token_is_said_as_a_person_reads_it(written: str, said: str) -> None:
    assert speakable(written) == said


@pytest.mark.parametrize("name", CASES)
def test_a_class_is_said_so_within_a_sentence(name: str) -> None:
    for written, said in CASES[name]:
        if said and said[-1].isalpha() and not written.endswith((".", '"', "(", "'")) and '"' not in written:
            inside = speakable(f"They said that {written} and no more.")
            assert said.lower().rstrip(".") in inside.lower(), inside

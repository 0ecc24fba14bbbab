"""Speculative decoding: drafts save steps and change nothing; where they come from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from model.engine import Engine
from model.lm.speculative import LONGEST, Drafter, DraftTable, context_key
from model.omni import MiniOmni
from model.request import Done, OmniError, Request
from model.rows import RowPool
from model.sampling import SamplingParams
from model.vocabulary import Task

WORDS = ["what", "is", "the", "Ġcapital", "Ġof", "ĠFrance", "?", "The", "Ġis", "ĠParis", ".", "Ġthe", "Ġa", "Ġcat"]
ID = {word: number for number, word in enumerate(WORDS)}


def ids(text: str) -> list[int]:
    return [ID[word] for word in text.split()]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer(WordLevel(ID, unk_token="?"))


def table(*entries: tuple[str, str, float]) -> DraftTable:
    """Contexts in words ("^" for the beginning of the answer), what follows, and how often."""
    keyed = {}
    for context, token, share in entries:
        words = context.split()
        keyed[context_key([ID[w] for w in words if w != "^"], len(words))] = ID[token], round(255 * share)
    keys = sorted(keyed)
    return DraftTable(
        np.array(keys, np.int64),
        np.array([keyed[key][0] for key in keys], np.int32),
        np.array([keyed[key][1] for key in keys], np.uint8),
    )


# -- where drafts come from -------------------------------------------------------------------------------------------
def test_what_followed_before_follows_again(tokenizer: Tokenizer) -> None:
    drafter = Drafter(tokenizer, None)
    seen = ids("what is the Ġcapital Ġof ĠFrance ? The Ġcapital Ġof")
    assert drafter.draft(seen, 3) == ids("ĠFrance ? The")
    assert drafter.draft(seen, 3, most=1) == ids("ĠFrance")
    assert drafter.draft(seen, 3, most=0) == []
    assert drafter.draft(seen[:-1], 2) == ids("Ġof"), "two tokens are less certain: only one is drafted"


def test_a_capital_letter_and_a_space_make_no_difference(tokenizer: Tokenizer) -> None:
    assert Drafter(tokenizer, None).draft(ids("what is the Ġcapital ? The"), 1) == ids("Ġcapital")


def test_what_follows_the_mark_before_an_answer_counts_for_nothing(tokenizer: Tokenizer) -> None:
    """Turns begin with the same mark (here "?"): what an example turn goes on with is no draft of the answer."""
    seen = ids("? what is . ? what")
    assert Drafter(tokenizer, table(("^ ^ what", "Ġcat", 0.5))).draft(seen, 1) == ids("Ġcat")
    assert Drafter(tokenizer, table(("^ what", "Ġcat", 0.5))).draft(seen, 1) == ids("Ġcat")
    assert Drafter(tokenizer, None).draft(seen, 1) == ids("is"), "one token is looked up where nothing else is known"


def test_nothing_is_drafted_where_nothing_is_known(tokenizer: Tokenizer) -> None:
    assert Drafter(tokenizer, None).draft(ids("what is the"), 1) == []
    assert Drafter(tokenizer, table()).draft(ids("what is the"), 1) == []


def test_a_longer_context_is_asked_first(tokenizer: Tokenizer) -> None:
    entries = table(("Ġof Ġis", "ĠParis", 0.4), ("ĠFrance Ġof Ġis", "Ġthe", 0.3))
    drafter = Drafter(tokenizer, entries)
    assert drafter.draft(ids("The ĠFrance Ġof Ġis"), 4) == ids("Ġthe")
    assert drafter.draft(ids("ĠParis Ġof Ġis"), 3) == ids("ĠParis")
    assert drafter.draft(ids("what Ġof Ġis"), 1) == [], "the question is no context of the table"


def test_the_beginning_of_an_answer_is_a_context(tokenizer: Tokenizer) -> None:
    drafter = Drafter(tokenizer, table(("^ ^ The", "Ġcat", 0.5), (". The", "Ġa", 0.5)))
    assert drafter.draft(ids("? The"), 1)[:1] == ids("Ġcat")
    assert drafter.draft(ids("? ĠParis . The"), 3)[:1] == ids("Ġa")


def test_three_are_drafted_where_they_are_likely(tokenizer: Tokenizer) -> None:
    def drafts(share: float) -> list[int]:
        entries = table(("^ The", "Ġcat", share), ("The Ġcat", "Ġis", share), ("Ġcat Ġis", "Ġa", share))
        return Drafter(tokenizer, entries).draft(ids("The"), 1)

    assert drafts(0.9) == ids("Ġcat Ġis Ġa")
    assert drafts(0.4) == ids("Ġcat")
    assert drafts(0.05) == []


def test_a_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    made = table(("^ The", "Ġcat", 0.5), ("The Ġcat", "Ġis", 0.8))
    save_file({"keys": made.keys, "tokens": made.tokens, "shares": made.shares}, tmp_path / "table.safetensors")
    read = DraftTable.open(tmp_path / "table.safetensors")
    assert read.after(ids("The Ġcat"), 2) == (ID["Ġis"], pytest.approx(0.8))
    assert read.after(ids("The Ġcat"), 3) is None
    assert read.after(ids("The"), 2) == (ID["Ġcat"], pytest.approx(0.5, abs=0.01))


@pytest.mark.parametrize("order", [1, 2, 3])
def test_contexts_have_different_keys(order: int) -> None:
    contexts = [[], [0], [1], [0, 0], [0, 1], [1, 0], [5, 0, 1], [151_935, 151_935, 151_935]]
    seen = {tuple(context[-order:]) for context in contexts}
    assert len({context_key(list(context), order) for context in seen}) == len(seen)
    assert all(0 < context_key(list(context), order) < 2**63 for context in seen)


# -- what they do to answers ------------------------------------------------------------------------------------------
class Script(Drafter):
    """Drafts what a test says: the next tokens of an answer that is known, or others."""

    def __init__(self, answer: list[int], wrong_every: int = 0) -> None:
        self.answer, self.wrong_every, self.asked = answer, wrong_every, 0

    def draft(self, ids: object, written: int, most: int = LONGEST) -> list[int]:
        self.asked += 1
        drafts = self.answer[written : written + min(most, LONGEST)]
        if self.wrong_every and self.asked % self.wrong_every == 0 and drafts:
            drafts[-1] += 1
        return drafts


def asked(embedded: MiniOmni, drafter: Drafter | None, request: Request) -> tuple[Done, list[int], int]:
    """The answer, its tokens and the body's steps for it."""
    engine = Engine(embedded, max_slots=2)
    embedded.__dict__["drafter"] = drafter
    try:
        answer = engine.begin(engine.prepare(request))
    finally:
        embedded.__dict__.pop("drafter")
    steps = 0
    while True:
        steps += 1
        for _, event in engine.step():
            assert not isinstance(event, OmniError), event
            if isinstance(event, Done):
                assert sorted(engine._rows.free) == [0, 1]
                return event, answer.text_tokens, steps


REQUESTS = {
    "greedy": Request(text="Why is the sky blue?", task=Task.T1T2, max_tokens=24),
    "drawn": Request(
        text="Tell me about cats.", task=Task.T1T2, max_tokens=24, sampling=SamplingParams(0.8, top_p=0.9, seed=7)
    ),
    "spoken": Request(text="What is the capital of France?", task=Task.T1A2, max_tokens=12),
}


@pytest.mark.parametrize("kind", REQUESTS)
def test_drafts_save_steps_and_change_nothing(embedded: MiniOmni, kind: str) -> None:
    plain, tokens, steps = asked(embedded, None, REQUESTS[kind])
    for wrong_every in (0, 1, 2):
        done, drafted, fewer = asked(embedded, Script(tokens, wrong_every), REQUESTS[kind])
        assert drafted == tokens
        assert (done.text, done.reason, done.audio_seconds) == (plain.text, plain.reason, plain.audio_seconds)
        assert fewer <= steps
    _, _, fewest = asked(embedded, Script(tokens), REQUESTS[kind])
    if kind != "spoken":  # where speech is what takes the steps
        assert fewest < steps / 2


def test_useless_drafts_change_nothing(embedded: MiniOmni) -> None:
    _, tokens, _ = asked(embedded, None, REQUESTS["greedy"])
    _, drafted, _ = asked(embedded, Script([token + 1 for token in tokens]), REQUESTS["greedy"])
    assert drafted == tokens


def test_a_broken_step_ends_the_answer_alone(embedded: MiniOmni, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RowPool, "every_hidden", lambda *_: 1 / 0)
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        asked(embedded, Script([5] * 30), REQUESTS["greedy"])


def test_a_small_model_is_not_drafted(embedded: MiniOmni) -> None:
    assert embedded.drafter is None

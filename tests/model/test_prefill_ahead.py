"""What comes before a question is prefilled before it is asked, and once for all starts of a server."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch

from model.engine import Engine
from model.network import OmniNetwork
from model.omni import MiniOmni
from model.prefill_ahead import PrefillAhead
from model.request import Done, Request, Turn
from model.rows import RowPool
from model.vocabulary import Task

MOMENT = datetime(2027, 3, 10, 9, 30, tzinfo=UTC)


def typed(text: str, *history: Turn, instructions: str | None = None) -> Request:
    return Request(
        text=text, task=Task.T1T2, max_tokens=8, history=history, asked_at=MOMENT, system_prompt=instructions
    )


def answer(engine: Engine, request: Request) -> Done:
    number = engine.submit(engine.prepare(request))
    while True:
        for of, event in engine.step():
            if of == number and isinstance(event, Done):
                return event


def prefill(engine: Engine) -> None:
    while engine.prefills_ahead:
        assert engine.step() == []


def new_tokens(omni: MiniOmni, question: str) -> int:
    """Of a question itself, and the marks around it that follow it."""
    assert omni.tokenizer is not None
    return len(omni.tokenizer.encode(f"{question}<|im_end|>\n<|im_start|>assistant\n").ids)


@pytest.fixture
def engine(embedded: MiniOmni) -> Engine:
    return Engine(embedded, max_slots=2)


def test_after_an_answer_only_the_next_question_is_left(embedded: MiniOmni, engine: Engine) -> None:
    first = answer(engine, typed("Good morning!"))
    follow_up = typed("Why is the sky blue?", Turn("Good morning!", first.text, MOMENT))
    assert engine.prefills_ahead
    prefill(engine)
    second = answer(engine, follow_up)
    assert second.prompt_tokens - second.cached_tokens == new_tokens(embedded, "Why is the sky blue?")
    assert second.text == answer(Engine(embedded, max_slots=1), follow_up).text


def test_instructions_are_prefilled_before_the_first_question(embedded: MiniOmni, engine: Engine) -> None:
    request = typed("Who are you?", instructions="You are a cheerful pirate who sails from Lisbon to Rio.")
    engine.prefill_ahead(typed("", instructions=request.system_prompt))
    prefill(engine)
    done = answer(engine, request)
    assert done.prompt_tokens - done.cached_tokens == new_tokens(embedded, "Who are you?")
    assert done.text == answer(Engine(embedded, max_slots=1), request).text


def test_what_is_there_is_not_prefilled_again(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    engine.prefill_ahead(typed(""))
    prefill(engine)
    ran: list[int] = []
    hidden = RowPool.hidden
    monkeypatch.setattr(RowPool, "hidden", lambda pool, rows, count: ran.append(count) or hidden(pool, rows, count))
    engine.prefill_ahead(typed(""))
    prefill(engine)
    assert ran == []


def test_a_question_comes_first(embedded: MiniOmni, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the middle of a prompt that is prefilled: what has been read counts, and nothing else changes."""
    monkeypatch.setattr("model.engine.PREFILL_POSITIONS", 8)
    engine = Engine(embedded, max_slots=2)
    request = typed("Who are you?", instructions="You are a cheerful pirate who sails from Lisbon to Rio.")
    engine.prefill_ahead(request)
    engine.prefill_ahead(typed("", instructions="Speak like a poet."))
    engine.step()
    done = answer(engine, request)
    assert done.cached_tokens == 8
    assert done.text == answer(Engine(embedded, max_slots=1), request).text
    assert sorted(engine._rows.free) == [0, 1]


def test_instructions_that_do_not_fit_are_left_to_the_question(engine: Engine) -> None:
    engine.prefill_ahead(typed("", instructions="word " * 2000))
    assert engine.step() == []
    assert not engine.prefills_ahead


def test_a_model_without_a_chat_format_prefills_nothing(public: MiniOmni) -> None:
    engine = Engine(public, max_slots=1)
    engine.prefill_ahead(Request(text="Hello"))
    assert not engine.prefills_ahead


def test_what_breaks_ahead_reaches_no_answer(
    embedded: MiniOmni, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = typed("Who are you?")
    engine.prefill_ahead(request)
    with monkeypatch.context() as broken:
        broken.setattr(RowPool, "hidden", lambda *_: 1 / 0)
        prefill(engine)
    assert answer(engine, request).text == answer(Engine(embedded, max_slots=1), request).text


# -- the file ---------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def packed() -> Iterator[MiniOmni]:
    """smol-omni as it is served: its cache is float16."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield MiniOmni.from_pretrained("smol-omni")
    torch.set_num_threads(before)


def restored(omni: MiniOmni, path: Path | None) -> tuple[RowPool, list[int]]:
    """A pool of rows that the file was restored into, and the tokens of the row that holds it."""
    rows = RowPool(omni.network, 2, 256)
    PrefillAhead(omni, rows, 32, 2).load_shared(path)
    (row,) = [row for row in rows._last.values() if row.position == len(row.ids)][-1:]
    return rows, row.ids


def test_the_shared_prompt_is_computed_once(packed: MiniOmni, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "smol-omni.prompt"
    rows, ids = restored(packed, path)
    assert packed.chat is not None
    for request in (Request(asked_at=MOMENT), Request(system_prompt="Be kind.")):
        assert packed.chat.encode("Hi.", request, 200)[: len(ids)] == ids
    assert len(ids) > 20
    monkeypatch.setattr(RowPool, "hidden", lambda *_: pytest.fail("it is computed again"))
    again, _ = restored(packed, path)
    of, here = (next(row for row in pool._last.values() if row.ids == ids) for pool in (rows, again))
    for computed, read in zip(rows.keys_and_values(of), again.keys_and_values(here), strict=True):
        assert computed.abs().sum() > 0
        assert torch.equal(computed, read)
    assert again.place([*ids, 5, 6]) == (here.slot, len(ids))


@pytest.mark.parametrize("change", ["weights", "prompt", "processor", "damage"])
def test_a_file_of_something_else_is_made_anew(
    packed: MiniOmni, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    path = tmp_path / "smol-omni.prompt"
    restored(packed, path)
    made = path.read_bytes()
    if change == "weights":
        monkeypatch.setattr(OmniNetwork, "fingerprint", "others")
    elif change == "prompt":
        monkeypatch.setattr("model.prefill_ahead._QUESTIONS", ("Where?", "When?"))
        monkeypatch.setattr(PrefillAhead, "_shared", lambda _: [5, 6, 7])
    elif change == "processor":
        monkeypatch.setattr("model.prefill_ahead.host_features", lambda: {"avx2": True})
    else:
        path.write_bytes(made[:-100])
    _, ids = restored(packed, path)
    assert path.read_bytes() != made[:-100]
    assert (path.read_bytes() == made) == (change == "damage")
    assert (ids == [5, 6, 7]) == (change == "prompt")


def test_without_a_file_it_is_computed(packed: MiniOmni) -> None:
    _, ids = restored(packed, None)
    assert len(ids) > 20


def test_what_breaks_leaves_no_file(packed: MiniOmni, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "smol-omni.prompt"
    with monkeypatch.context() as broken:
        broken.setattr(RowPool, "hidden", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            restored(packed, path)
    assert not path.exists()
    restored(packed, path)
    assert path.exists()

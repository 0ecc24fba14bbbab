"""What a slot has been through is not read again, and what broke one answer reaches no other."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from model import pacing
from model.engine import Engine
from model.omni import MiniOmni
from model.prepare import Prepared
from model.request import Done, GenerationFailed, Request, Turn
from model.tts_adapter import SpeechCache
from model.vocabulary import Task
from tests.model.test_engine import Tap, Told, heard, run, tokens_of

FIRST = "My name is Ada. What is your name?"


def typed(text: str, *history: Turn) -> Prepared:
    request = Request(text=text, task=Task.T1T2, max_tokens=6, history=history)
    return Prepared(request, Task.T1T2, question=text)


def text_of(told: Told, number: int) -> str:
    done = told[number][-1]
    assert isinstance(done, Done)
    return done.text


def test_the_next_turn_reads_only_what_is_new(embedded: MiniOmni) -> None:
    assert embedded.chat
    engine = Engine(embedded, max_slots=2)
    answer = text_of(run(engine, {0: [typed(FIRST)]}), 1)
    read_before = engine.prefilled
    follow_up = typed("What is my name?", Turn(FIRST, answer))
    again = text_of(run(engine, {0: [follow_up]}), 2)
    prompt = embedded.chat.encode("What is my name?", follow_up.request, 700)
    assert engine.prefilled - read_before < len(prompt) // 2

    fresh = Engine(embedded, max_slots=1)
    assert text_of(run(fresh, {0: [follow_up]}), 1) == again
    assert fresh.prefilled == len(prompt)


def test_conversations_that_begin_alike_do_not_mix(embedded: MiniOmni) -> None:
    """Three share the system prompt: it is copied from a slot whose answer is still being written."""
    questions = [typed("What is the capital of France?"), typed("Good morning!"), typed("Why is the sky blue?")]
    alone = [text_of(run(Engine(embedded, max_slots=1), {0: [one]}), 1) for one in questions]
    engine = Engine(embedded, max_slots=2)
    told = run(engine, {0: questions[:1], 2: questions[1:2], 5: questions[2:]})
    assert [text_of(told, number) for number in (1, 2, 3)] == alone
    lengths = [len(embedded.chat.encode(one.question or "", one.request, 700)) for one in questions if embedded.chat]
    assert engine.prefilled < sum(lengths) - 2 * 10


def test_the_same_question_again_is_answered_the_same(embedded: MiniOmni) -> None:
    engine = Engine(embedded, max_slots=1)
    told = run(engine, {0: [typed("Good morning!"), typed("Good morning!")]})
    assert text_of(told, 1) == text_of(told, 2)


def test_an_answer_that_is_not_a_number_fails_alone_and_leaves_no_trace(public: MiniOmni) -> None:
    good, bad = heard(9, Task.A1A2, 2), heard(9, Task.A1A2, 3)
    assert bad.features is not None
    bad.features[0, 4] = float("nan")
    lonely = Tap(public, max_slots=1)
    run(lonely, {0: [good]})

    engine = Tap(public, max_slots=2)
    told = run(engine, {0: [good, bad], 4: [good]})  # the last one is given the slots of the one that failed
    assert isinstance(told[2][-1], GenerationFailed)
    assert len(told[2]) == 1
    assert isinstance(told[1][-1], Done)
    assert isinstance(told[3][-1], Done)
    assert tokens_of(engine.begun[0]) == tokens_of(lonely.begun[0])
    assert tokens_of(engine.begun[2]) == tokens_of(lonely.begun[0])


def test_a_step_of_several_that_breaks_is_tried_one_by_one(public: MiniOmni) -> None:
    """While decoding, too: NaN in the middle of an answer ends that answer only."""
    engine = Tap(public, max_slots=2)
    first, second = (engine.submit(heard(9, Task.A1A2, seed)) for seed in (2, 3))
    for _ in range(3):
        engine.step()
    engine.begun[1].rows[0].waiting = torch.full_like(engine.begun[1].rows[0].waiting, float("nan"))
    told = run(engine)
    assert isinstance(told[second][-1], GenerationFailed)
    assert isinstance(told[first][-1], Done)
    lonely = Tap(public, max_slots=1)
    run(lonely, {0: [heard(9, Task.A1A2, 2)]})
    assert tokens_of(engine.begun[0]) == tokens_of(lonely.begun[0])
    assert sorted(engine._rows.free) == [0, 1, 2, 3]


def test_a_speech_step_that_breaks_ends_one_answer(embedded: MiniOmni, monkeypatch: pytest.MonkeyPatch) -> None:
    adapter = embedded.adapter
    assert adapter is not None
    step, together = adapter.step, []

    def stumble(conditions: Tensor, previous: Tensor, positions: Tensor, slots: Tensor, cache: SpeechCache) -> Tensor:
        together.append(len(slots))
        if (slots == 1).any() and (positions > 2).any():
            raise ArithmeticError("the adapter broke")
        return step(conditions, previous, positions, slots, cache)

    monkeypatch.setattr(adapter, "step", stumble)
    monkeypatch.setattr(pacing, "NEWCOMER_LEAD_SECONDS", -1e9)  # nobody waits for anybody: they speak together
    request = Request(text="Good morning!", max_tokens=24, max_seconds=2)
    both = [Prepared(request, Task.T1A2, question=request.text)] * 2
    told = run(Engine(embedded, max_slots=2), {0: both})
    assert isinstance(told[1][-1], Done)
    failure = told[2][-1]
    assert isinstance(failure, GenerationFailed)
    assert "the adapter broke" in str(failure)
    assert max(together) == 2

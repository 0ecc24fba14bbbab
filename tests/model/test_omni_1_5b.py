"""omni-1.5b itself, with its real weights: what it says, alone and beside others."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
import torch

from model.engine import Engine
from model.omni import MiniOmni
from model.request import Done, Request, Turn
from model.sampling import SamplingParams
from model.vocabulary import Task

GREEDY = SamplingParams(top_k=1)


@pytest.fixture(scope="module")
def omni() -> MiniOmni:
    return MiniOmni.from_pretrained("omni-1.5b")


@pytest.fixture(scope="module")
def engine(omni: MiniOmni) -> Iterator[Engine]:
    """One for most tests: the system prompt is read once."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield Engine(omni)
    torch.set_num_threads(before)


def asked(text: str, *history: Turn, task: Task = Task.T1T2, asked_at: datetime | None = None) -> Request:
    return Request(text=text, history=history, task=task, sampling=GREEDY, asked_at=asked_at)


def answers(engine: Engine, *requests: Request) -> list[str]:
    """The answers to requests that are made at the same time."""
    numbers = [engine.submit(engine.prepare(request)) for request in requests]
    done: dict[int, Done] = {}
    while len(done) < len(numbers):
        done |= {number: event for number, event in engine.step() if isinstance(event, Done)}
    return [done[number].text for number in numbers]


def test_its_language_model_is_served_as_it_was_published(omni: MiniOmni) -> None:
    assert omni.name == "omni-1.5b"
    assert omni.config.body["num_hidden_layers"] == 28
    assert omni.network.weight_format == "int8"
    assert 0.9e9 < omni.network.bytes_of_a_step < 1e9


@pytest.mark.parametrize(
    ("question", "word"),
    [
        ("What is the capital of Portugal?", "Lisbon"),
        ("How many days are in a week?", "seven"),
        ("What is two plus two?", "four"),
        ("Who wrote Romeo and Juliet?", "Shakespeare"),
        ("What is the opposite of hot?", "cold"),
    ],
)
def test_everyday_questions_have_right_answers(engine: Engine, question: str, word: str) -> None:
    (answer,) = answers(engine, asked(question))
    assert word.lower() in answer.lower()
    assert len(answer.split()) < 20


def test_names_are_kept_over_turns_and_corrections_hold(engine: Engine) -> None:
    told = Turn("My name is Clara and my dog is called Biscuit.", "Nice to meet you, Clara! Biscuit is a lovely name.")
    moved = Turn("We meet on Tuesday. No, I mean Thursday.", "Got it, you meet on Thursday.")
    (name, dog, day) = answers(
        engine,
        asked("What is my name?", told),
        asked("What is my dog called?", told, moved),
        asked("On which day do we meet?", told, moved),
    )
    assert "Clara" in name
    assert "Biscuit" in dog
    assert "Thursday" in day


def test_it_knows_the_day_from_its_prompt(engine: Engine) -> None:
    moment = datetime(2027, 3, 10, 9, 30, tzinfo=ZoneInfo("Europe/Lisbon"))
    (answer,) = answers(engine, asked("What day is it?", asked_at=moment))
    assert "Wednesday" in answer


def test_an_answer_is_the_same_beside_others(omni: MiniOmni, engine: Engine) -> None:
    questions = ["Why is the sky blue?", "Tell me a short joke.", "What do bees make?", "Name a large animal."]
    alone = [answers(engine, asked(question))[0] for question in questions]
    assert answers(Engine(omni), *map(asked, questions)) == alone
    assert len(set(alone)) == len(questions)


def test_a_second_turn_reads_only_what_is_new(engine: Engine) -> None:
    (first,) = answers(engine, asked("What is the capital of France?"))
    before = engine.prefilled
    (second,) = answers(engine, asked("And of Italy?", Turn("What is the capital of France?", first)))
    assert engine.prefilled - before < 20
    assert "Rome" in second


def test_a_spoken_answer_says_its_text(engine: Engine) -> None:
    number = engine.submit(engine.prepare(asked("What is the capital of Spain?", task=Task.T1A2)))
    done = None
    while done is None:
        done = next((event for of, event in engine.step() if of == number and isinstance(event, Done)), None)
    assert "Madrid" in done.text
    assert 0.03 * len(done.text) < done.audio_seconds < 0.15 * len(done.text)

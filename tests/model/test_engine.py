"""Continuous batching: nobody's answer depends on who else is being answered."""

from __future__ import annotations

import dataclasses
from collections import defaultdict

import numpy as np
import pytest
import torch

from model.answer import Answer, BodyAnswer
from model.engine import Engine
from model.omni import MiniOmni
from model.planned_answer import AdapterAnswer
from model.prepare import Prepared
from model.request import (
    AudioChunk,
    Done,
    EngineFull,
    Event,
    GenerationFailed,
    InvalidRequest,
    OmniError,
    Request,
    TextDelta,
)
from model.sampling import SamplingParams
from model.vocabulary import Task

Told = dict[int, list[Event | OmniError]]


def run(engine: Engine, joins: dict[int, list[Prepared]] | None = None) -> Told:
    """Step until nobody is left; `joins` come in at their step. Events by the order of joining."""
    told: Told = defaultdict(list)
    step = 0
    joins = joins or {}
    while engine.busy or any(at >= step for at in joins):
        for prepared in joins.get(step, []):
            engine.submit(prepared)
        for number, event in engine.step():
            told[number].append(event)
        step += 1
    return told


def essence(events: list[Event | OmniError]) -> tuple[str, np.ndarray, Done]:
    """An answer's text, its sound and its end."""
    text = "".join(e.text for e in events if isinstance(e, TextDelta))
    sound = [e.samples for e in events if isinstance(e, AudioChunk)]
    done = events[-1]
    assert isinstance(done, Done)
    return text, np.concatenate(sound) if sound else np.zeros(0, np.float32), done


QUESTIONS = ("What is your name?", "Good morning!", "How many days are in a week?", "What is the capital of France?")


def asked(text: str, task: Task = Task.T1A2, **options: object) -> Prepared:
    request = Request(text=text, task=task, max_tokens=14, **options)  # type: ignore[arg-type]
    return Prepared(request, task, question=text)


def test_embedded_answers_in_a_crowd_equal_answers_alone(embedded: MiniOmni) -> None:
    prepared = [asked(text) for text in QUESTIONS]
    alone = [essence(run(Engine(embedded, max_slots=1), {0: [one]})[1]) for one in prepared]
    crowd = run(Engine(embedded, max_slots=3), {0: prepared[:1], 4: prepared[1:2], 5: prepared[2:3], 9: prepared[3:]})
    for number, (text, sound, done) in enumerate(alone, start=1):
        text_in_crowd, sound_in_crowd, done_in_crowd = essence(crowd[number])
        assert (text, done) == (text_in_crowd, done_in_crowd)
        assert text
        assert len(sound) == round(done.audio_seconds * 24_000)
        np.testing.assert_allclose(sound, sound_in_crowd, atol=1e-4)


class Tap(Engine):
    """Remembers every answer that it began."""

    def __init__(self, omni: MiniOmni, max_slots: int) -> None:
        super().__init__(omni, max_slots, window=128)
        self.begun: list[Answer] = []

    def _begin(self, prepared: Prepared) -> Answer:
        answer = super()._begin(prepared)
        self.begun.append(answer)
        return answer


def heard(frames: int, task: Task, seed: int, sampling: SamplingParams | None = None) -> Prepared:
    features = torch.randn(1, frames, 48, generator=torch.Generator().manual_seed(seed))
    request = Request(sampling=sampling or SamplingParams(), max_tokens=20, max_seconds=2)
    return Prepared(request, task, features=features)


def tokens_of(answer: Answer) -> tuple[list[list[int]], list[int]]:
    assert isinstance(answer, BodyAnswer | AdapterAnswer)
    return [step.tolist() for step in answer.audio_tokens], answer.text_tokens


def test_published_answers_in_a_crowd_equal_answers_alone(public: MiniOmni) -> None:
    prepared = [
        heard(21, Task.A1A2, 1),
        heard(8, Task.A1T2, 2),
        heard(33, Task.A1A2, 3),
        Prepared(Request(max_seconds=1), Task.T1A2, text_ids=(5, 17, 900)),
        heard(12, Task.A1T1, 4),
    ]
    alone = []
    for one in prepared:
        engine = Tap(public, max_slots=1)
        run(engine, {0: [one]})
        alone.append(tokens_of(engine.begun[0]))
    crowd = Tap(public, max_slots=3)
    run(crowd, {0: prepared[:2], 3: prepared[2:3], 4: prepared[3:4], 11: prepared[4:]})
    assert [tokens_of(answer) for answer in crowd.begun] == alone
    assert all(audio or text for audio, text in alone)


def test_a_seed_gives_the_same_answer_in_any_company(public: MiniOmni) -> None:
    def seeded(seed: int) -> Prepared:
        return heard(9, Task.A1A2, 7, SamplingParams(temperature=1.0, top_k=50, top_p=0.9, seed=seed))

    lonely = Tap(public, max_slots=1)
    run(lonely, {0: [seeded(11)]})
    crowd = Tap(public, max_slots=3)
    run(crowd, {0: [seeded(5)], 2: [seeded(11), seeded(6)]})
    assert tokens_of(crowd.begun[1]) == tokens_of(lonely.begun[0])
    assert tokens_of(crowd.begun[0]) != tokens_of(lonely.begun[0])


def test_a_seed_gives_the_same_embedded_answer_in_any_company(embedded: MiniOmni) -> None:
    def seeded(seed: int) -> Prepared:
        options = SamplingParams(temperature=0.8, top_k=40, top_p=0.95, seed=seed)
        return asked("Tell me something.", Task.T1T2, sampling=options)

    text, _, _ = essence(run(Engine(embedded, max_slots=1), {0: [seeded(11)]})[1])
    crowd = run(Engine(embedded, max_slots=3), {0: [seeded(5)], 2: [seeded(11), asked(QUESTIONS[0], Task.T1T2)]})
    assert essence(crowd[2])[0] == text
    assert essence(crowd[1])[0] != text


def test_a_cancelled_answer_leaves_and_its_slot_is_used_again(public: MiniOmni) -> None:
    engine = Tap(public, max_slots=1)
    first = engine.submit(heard(9, Task.A1A2, 1))
    second = engine.submit(heard(9, Task.A1A2, 2))
    for _ in range(4):
        engine.step()
    engine.cancel(first)
    told = run(engine)
    assert first not in told
    assert isinstance(told[second][-1], Done)
    lonely = Tap(public, max_slots=1)
    run(lonely, {0: [heard(9, Task.A1A2, 2)]})
    assert tokens_of(engine.begun[1]) == tokens_of(lonely.begun[0])


def test_a_waiting_request_can_be_cancelled(public: MiniOmni) -> None:
    engine = Engine(public, max_slots=1, window=128)
    engine.submit(heard(5, Task.A1T2, 1))
    waiting = engine.submit(heard(5, Task.A1T2, 2))
    engine.cancel(waiting)
    assert waiting not in run(engine)


def test_a_failing_answer_fails_alone(embedded: MiniOmni) -> None:
    broken = dataclasses.replace(embedded)

    class Stumbling:
        """Speaks until its second chunk, where it breaks."""

        def __init__(self) -> None:
            assert embedded.mouth is not None
            self.inner, self.pushed = embedded.mouth.stream(), 0

        def push(self, frames: torch.Tensor) -> np.ndarray:
            self.pushed += 1
            if self.pushed == 2:
                raise ArithmeticError("the stream broke")
            return self.inner.push(frames)

        def finish(self) -> np.ndarray:
            return self.inner.finish()

    streams = iter([Stumbling(), embedded.mouth.stream()])  # type: ignore[union-attr]

    class Mouth:
        def decode(self, frames: torch.Tensor) -> torch.Tensor:
            return embedded.mouth.decode(frames)  # type: ignore[union-attr]

        def stream(self) -> object:
            return next(streams)

    broken.mouth = Mouth()  # type: ignore[assignment]
    told = run(Engine(broken, max_slots=2), {0: [asked(QUESTIONS[0]), asked(QUESTIONS[1])]})
    failure = told[1][-1]
    assert isinstance(failure, GenerationFailed)
    assert "the stream broke" in str(failure)
    assert isinstance(told[2][-1], Done)


def test_a_full_engine_refuses(public: MiniOmni) -> None:
    engine = Engine(public, max_slots=1, max_queue=2, window=128)
    for seed in range(3):
        engine.submit(heard(5, Task.A1T2, seed))
    with pytest.raises(EngineFull):
        engine.submit(heard(5, Task.A1T2, 9))
    assert len(run(engine)) == 3


@pytest.mark.parametrize(
    "request_",
    [
        Request(),
        Request(text="   "),
        Request(task=Task.A1A2, text="hello"),
        Request(audio=np.zeros(0, np.float32)),
        Request(audio=np.zeros((2, 8), np.float32)),
        Request(audio=np.zeros(31 * 16_000, np.float32)),
    ],
)
def test_what_cannot_be_answered_is_refused_with_words(embedded: MiniOmni, request_: Request) -> None:
    with pytest.raises(InvalidRequest):
        Engine(embedded, max_slots=1).prepare(request_)


def test_a_question_longer_than_the_window_is_refused_alone(embedded: MiniOmni) -> None:
    told = run(Engine(embedded, max_slots=2, window=128), {0: [asked("word " * 400), asked("Hello!")]})
    assert isinstance(told[1][-1], InvalidRequest)
    assert isinstance(told[2][-1], Done)


def test_an_answer_ends_at_its_limits(embedded: MiniOmni) -> None:
    short = Request(text="Tell me a long story.", max_tokens=40, max_seconds=0.5)
    *_, done = embedded.generate(short)
    assert isinstance(done, Done)
    assert done.reason == "length"
    assert done.audio_seconds == pytest.approx(0.5, abs=0.1)


def test_an_answer_ends_after_its_sentences(embedded: MiniOmni) -> None:
    question = Request(text="Why is the sky blue?", task=Task.T1T2, max_tokens=90)
    *_, whole = embedded.generate(question)
    *_, cut = embedded.generate(dataclasses.replace(question, max_sentences=1))
    assert isinstance(whole, Done)
    assert isinstance(cut, Done)
    assert cut.reason == "length"
    assert whole.text.startswith(cut.text)
    assert cut.text.endswith(".")
    assert len(cut.text) < len(whole.text)


def test_leaving_the_loop_frees_the_engine(embedded: MiniOmni) -> None:
    for event in embedded.generate(Request(text="Hello!")):
        if isinstance(event, TextDelta):
            break
    *_, done = embedded.generate(Request(text="Hello!", task=Task.T1T2, max_tokens=3))
    assert isinstance(done, Done)
    assert done.frames == 0


def test_one_client_takes_half_of_the_slots_and_the_next_is_answered_at_once(embedded: MiniOmni) -> None:
    engine = Engine(embedded, max_slots=4, max_queue=8)

    def typed(client: str | None) -> int:
        question = Request(text="Hello!", task=Task.T1T2, max_tokens=6, client=client)
        return engine.submit(engine.prepare(question))

    hostile = [typed("hostile") for _ in range(6)]
    engine.step()
    assert engine.active == 2
    other, nobody = typed("other"), typed(None)
    engine.step()
    assert engine.active == 4
    ended = [number for _ in range(60) for number, event in engine.step() if isinstance(event, Done)]
    assert sorted(ended) == sorted([*hostile, other, nobody])
    assert set(ended[:4]) >= {other, nobody}
    assert not engine.busy


def test_answers_rest_while_somebody_is_heard_where_they_can(embedded: MiniOmni) -> None:
    engine = Engine(embedded, max_slots=4, max_queue=8)
    for _ in range(2):
        engine.submit(engine.prepare(Request(text="Hello!", task=Task.T1T2, max_tokens=4, client="one")))
    engine.listening = lambda: True
    first = [number for _ in range(20) for number, event in engine.step() if isinstance(event, Done)]
    assert first == [1, 2], "the second goes on when the first has ended"
    assert not engine.resting

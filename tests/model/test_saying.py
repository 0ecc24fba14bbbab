"""A given text is said, word for word, by the embedded model."""

from __future__ import annotations

import asyncio
import re
import threading
from contextlib import aclosing

import numpy as np
import pytest
import soxr

from model import async_engine
from model.async_engine import AsyncEngine
from model.engine import Engine
from model.omni import MiniOmni
from model.request import AudioChunk, Done, Event, InvalidRequest, Request, TextDelta
from model.vocabulary import Task

TEXT = "The next train to London leaves at half past nine. Please bring a warm coat, and something to read!"


@pytest.fixture(scope="module")
def quick() -> MiniOmni:
    """The embedded model as it is served."""
    return MiniOmni.from_pretrained()


def sound(events: list[Event]) -> np.ndarray:
    """(n,) at 24 kHz."""
    return np.concatenate([event.samples for event in events if isinstance(event, AudioChunk)])


def words(text: str) -> list[str]:
    return re.findall(r"[a-z]+", text.lower())


def heard(omni: MiniOmni, samples: np.ndarray) -> list[str]:
    assert omni.ears
    return words(omni.ears.hear(soxr.resample(samples, 24_000, 16_000).astype(np.float32)).text)


def said(omni: MiniOmni, text: str, **options: float) -> list[Event]:
    return list(omni.generate(Request(say=text, **options)))  # type: ignore[arg-type]


def test_the_words_are_said_and_no_others(quick: MiniOmni) -> None:
    events = said(quick, f"  {TEXT}\n")
    done = events[-1]
    assert isinstance(done, Done)
    assert (done.reason, done.text, done.text_tokens) == ("stop", TEXT, 0)
    assert done.prompt_tokens > 15
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == TEXT
    assert heard(quick, sound(events)) == words(TEXT)
    assert len(sound(events)) == round(done.audio_seconds * 24_000)
    chunks = [event for event in events if isinstance(event, AudioChunk)]
    assert chunks[-1].spoken_characters == len(TEXT)
    first = next(index for index, event in enumerate(events) if isinstance(event, AudioChunk))
    written = "".join(event.text for event in events[:first] if isinstance(event, TextDelta))
    assert len(written) < len(TEXT) / 2, "the first sound does not wait for the end of the text"


@pytest.mark.parametrize("speed", [0.5, 1.25])
def test_speed_changes_how_long_it_takes_and_not_the_words(quick: MiniOmni, speed: float) -> None:
    natural, other = sound(said(quick, TEXT)), sound(said(quick, TEXT, speed=speed))
    assert len(other) == pytest.approx(len(natural) / speed, abs=2 * 2048)
    assert heard(quick, other) == words(TEXT)


def test_in_company_it_sounds_as_alone(embedded: MiniOmni) -> None:
    text = "Good morning to all of you."
    alone = sound(said(embedded, text))
    engine = Engine(embedded, max_slots=3)
    question = Request(text="What is your name?", max_tokens=8)
    numbers = [engine.submit(engine.prepare(one)) for one in (question, Request(say=text), Request(say=text))]
    told: dict[int, list[Event]] = {number: [] for number in numbers}
    while engine.busy:
        for number, event in engine.step():
            told[number].append(event)  # type: ignore[arg-type]
    for number in numbers[1:]:
        np.testing.assert_allclose(sound(told[number]), alone, atol=1e-4)
    assert len(engine._free_speech) == 3, "every slot is free again"
    assert len(engine._rows.free) == 3


def test_a_text_ends_at_its_limit(quick: MiniOmni) -> None:
    done = said(quick, TEXT, max_seconds=1.0)[-1]
    assert isinstance(done, Done)
    assert done.reason == "length"
    assert done.audio_seconds == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (Request(say=" … * "), "no word"),
        (Request(say=""), "no word"),
        (Request(say="Hi", speed=2), "0.5 to 1.25"),
        (Request(say="Hi", text="Hello?"), "no question"),
        (Request(say="Hi", audio=np.zeros(8, np.float32)), "no question"),
        (Request(say="Hi", task=Task.T1T2), "no question"),
    ],
)
def test_what_cannot_be_said_is_refused(embedded: MiniOmni, request_: Request, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        Engine(embedded, max_slots=1).prepare(request_)


@pytest.mark.parametrize("request_", [Request(say="Hello."), Request(text="Hello.", speed=0.8)], ids=["say", "speed"])
def test_the_published_model_says_its_own_answers_at_its_own_speed(public: MiniOmni, request_: Request) -> None:
    with pytest.raises(InvalidRequest, match="embedded model"):
        Engine(public, max_slots=1, window=128).prepare(request_)


async def test_a_long_text_rests_while_nobody_takes_it(quick: MiniOmni, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(async_engine, "UNTAKEN_SAMPLES", 24_000)
    alone = sound(said(quick, TEXT))
    resting, loop = asyncio.Event(), asyncio.get_running_loop()
    hold = Engine.hold

    def noted(engine: Engine, number: int, held: bool) -> None:
        hold(engine, number, held)
        if held:
            loop.call_soon_threadsafe(resting.set)

    monkeypatch.setattr(Engine, "hold", noted)
    engine = AsyncEngine(quick, max_slots=2)
    await engine.start()
    try:
        async with aclosing(engine.generate(Request(say=TEXT))) as events:
            taken = [await anext(events)]
            await resting.wait()
            assert engine._engine is not None
            assert not engine._engine.busy, "the engine has nothing to do"
            assert engine._engine.active == 1
            *_, other = [event async for event in engine.generate(Request(text="Hi!", task=Task.T1T2, max_tokens=3))]
            assert isinstance(other, Done), "others are answered meanwhile"
            passed = threading.Event()
            engine._commands.put(passed.set)  # done by the engine's thread, which is not stuck
            await asyncio.to_thread(passed.wait, 10)
            waiting = engine._listeners[1].untaken
            assert 24_000 < waiting < 24_000 + 3 * 8 * 2048 < len(alone)
            taken += [event async for event in events]
    finally:
        await engine.stop()
    np.testing.assert_allclose(sound(taken), alone, atol=1e-4)

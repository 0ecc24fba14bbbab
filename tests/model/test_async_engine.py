"""The engine behind `async for`: order, leaving, refusing, surviving, closing."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace

import numpy as np
import pytest
import pytest_asyncio
import torch

from model.answer import Voice
from model.async_engine import AsyncEngine
from model.cancellation import Unwanted
from model.ears import Ears
from model.omni import MiniOmni
from model.prefill_ahead import PrefillAhead
from model.request import AudioChunk, Done, EngineFull, Event, GenerationFailed, InvalidRequest, Request, TextDelta
from model.vocabulary import Task

pytestmark = pytest.mark.asyncio(loop_scope="module")


def typed(text: str, tokens: int = 4) -> Request:
    return Request(text=text, task=Task.T1T2, max_tokens=tokens)


async def collect(events: AsyncIterator[Event]) -> list[Event]:
    return [event async for event in events]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(embedded: MiniOmni) -> AsyncIterator[AsyncEngine]:
    engine = AsyncEngine(embedded, max_slots=2, max_queue=1)
    await engine.start()
    yield engine
    await engine.stop()


async def test_events_come_in_order_and_end_with_done(engine: AsyncEngine) -> None:
    events = await collect(engine.generate(Request(text="Good morning!", max_tokens=8, max_seconds=1)))
    assert isinstance(events[0], TextDelta)
    assert any(isinstance(event, AudioChunk) for event in events)
    assert [isinstance(event, Done) for event in events] == [False] * (len(events) - 1) + [True]
    assert engine.active == 0


async def test_it_has_the_name_of_its_model(engine: AsyncEngine) -> None:
    assert engine.name == "smol-omni"
    assert AsyncEngine("gpt-omni/mini-omni").name == "gpt-omni/mini-omni", "not opened yet: as it was asked for"


async def test_an_answer_tells_what_its_first_sound_took(engine: AsyncEngine) -> None:
    began = time.monotonic()
    first = None
    async for event in engine.generate(Request(text="Good morning!", max_tokens=8, max_seconds=1)):
        if isinstance(event, AudioChunk) and first is None:
            first = time.monotonic() - began
    assert isinstance(event, Done)
    assert first is not None
    assert list(event.stages) == ["waiting", "reading", "writing", "decoding"]
    assert all(seconds > 0 for seconds in event.stages.values())
    assert 0.5 * first <= sum(event.stages.values()) <= first
    (*_, done) = await collect(engine.generate(typed("Hello!")))
    assert isinstance(done, Done)
    assert list(done.stages) == ["waiting", "reading"]


async def test_answers_at_once_equal_answers_alone(engine: AsyncEngine, embedded: MiniOmni) -> None:
    questions = [typed("Good morning!"), typed("What is the capital of France?"), typed("Why is the sky blue?")]
    together = await asyncio.gather(*(collect(engine.generate(request)) for request in questions))
    for request, events in zip(questions, together, strict=True):
        *_, done = embedded.generate(request)
        assert events[-1] == done


async def test_leaving_the_loop_frees_the_slot(engine: AsyncEngine) -> None:
    async with contextlib.aclosing(engine.generate(typed("Tell me a story.", 200))) as events:
        async for _ in events:
            break
    assert engine.active == 0
    (*_, done) = await collect(engine.generate(typed("Hello!", 1)))  # comes after the leaving, on the same thread
    assert isinstance(done, Done)
    assert engine._engine is not None
    assert engine._engine.active == 0


async def test_one_too_many_is_refused_and_nobody_else_notices(engine: AsyncEngine) -> None:
    waiting = [asyncio.ensure_future(collect(engine.generate(typed("Hello!")))) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(EngineFull, match="try again later"):
        await collect(engine.generate(typed("Hello!")))
    for events in await asyncio.gather(*waiting):
        assert isinstance(events[-1], Done)


async def test_a_client_that_has_its_share_is_refused_and_others_are_not(engine: AsyncEngine) -> None:
    own = asyncio.ensure_future(collect(engine.generate(replace(typed("Hello!"), client="hostile"))))
    await asyncio.sleep(0)
    also = asyncio.ensure_future(collect(engine.generate(replace(typed("Hello!"), client="hostile"))))
    await asyncio.sleep(0)
    with pytest.raises(EngineFull, match="of this client"):
        await collect(engine.generate(replace(typed("Hello!"), client="hostile")))
    other = await collect(engine.generate(replace(typed("Hello!"), client="other")))
    for events in (await own, await also, other):
        assert isinstance(events[-1], Done)


async def test_a_senseless_request_is_refused(engine: AsyncEngine) -> None:
    with pytest.raises(InvalidRequest):
        await collect(engine.generate(typed("  ")))
    assert engine.active == 0


async def test_the_engine_survives_a_step_that_breaks(engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    assert engine._engine is not None

    def broken() -> list[tuple[int, Event]]:
        raise MemoryError("no memory for this step")

    monkeypatch.setattr(engine._engine, "step_deferred", broken)
    with pytest.raises(GenerationFailed, match="no memory"):
        await collect(engine.generate(typed("Hello!")))
    monkeypatch.undo()
    *_, done = await collect(engine.generate(typed("Hello!")))
    assert isinstance(done, Done)


async def test_sound_that_cannot_be_decoded_ends_its_answer_alone(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = Voice._decode, []

    def broken(voice: Voice, frames: list[torch.Tensor], last: bool, spoken: int | None) -> AudioChunk | None:
        calls.append(voice)
        if voice is calls[0] and calls.count(voice) == 2:
            raise ValueError("no sound in it")
        return real(voice, frames, last, spoken)

    monkeypatch.setattr(Voice, "_decode", broken)
    asked = Request(text="Tell me about the sea.", max_tokens=24, max_seconds=3)
    first = asyncio.ensure_future(collect(engine.generate(asked)))
    await asyncio.sleep(0.05)
    second = asyncio.ensure_future(collect(engine.generate(asked)))
    with pytest.raises(GenerationFailed, match="no sound in it"):
        await first
    *events, done = await second
    assert isinstance(done, Done)
    assert done.audio_seconds == sum(len(e.samples) for e in events if isinstance(e, AudioChunk)) / 24_000
    assert engine._engine is not None
    assert not engine._listeners
    *_, done = await collect(engine.generate(typed("Hello!", 1)))
    assert not engine._engine.busy


async def test_closing_ends_what_is_in_progress(embedded: MiniOmni) -> None:
    engine = AsyncEngine(embedded, max_slots=1)
    with pytest.raises(EngineFull):  # not open yet
        await collect(engine.generate(typed("Hello!")))
    await engine.start()
    await engine.start()  # is open already
    events: AsyncGenerator[Event, None] = engine.generate(typed("Tell me a long story.", 200))
    assert isinstance(await anext(events), TextDelta)
    await engine.stop()
    with pytest.raises(GenerationFailed, match="being closed"):
        await collect(events)
    with pytest.raises(EngineFull):
        await collect(engine.generate(typed("Hello!")))


async def test_a_stopped_engine_starts_again_with_the_same_model(embedded: MiniOmni) -> None:
    engine = AsyncEngine(embedded, max_slots=1)
    await engine.start()
    async with contextlib.aclosing(engine.generate(typed("Tell me a story.", 200))) as events:
        await anext(events)
        await engine.stop()
    await engine.start()
    (*_, done) = await collect(engine.generate(typed("Hello!", 1)))
    assert isinstance(done, Done)
    await engine.stop()


async def test_hearing_that_nobody_waits_for_is_given_up(engine: AsyncEngine) -> None:
    """Or a person who pauses and speaks on would wait for the hearing of the pause as well."""
    assert engine._engine is not None
    ears = engine._engine.omni.ears
    assert isinstance(ears, Ears)
    ended: list[type[BaseException] | None] = []
    entered = asyncio.Event()
    loop = asyncio.get_running_loop()
    encoder = ears.encoder

    class Slow(torch.nn.Module):
        """The encoder, over and over until it is given up."""

        def forward(self, mel: torch.Tensor) -> torch.Tensor:
            loop.call_soon_threadsafe(entered.set)
            try:
                while True:
                    encoder(mel)
            except BaseException as error:
                ended.append(type(error))
                raise

    ears.encoder = Slow()  # type: ignore[assignment]
    try:
        audio = np.random.default_rng(0).standard_normal(16_000).astype(np.float32) * 0.1
        asking = asyncio.create_task(collect(engine.generate(Request(audio=audio))))
        await entered.wait()
        asking.cancel()
        await asyncio.wait([asking])
        ears.encoder = encoder
        await collect(engine.generate(Request(audio=audio, max_tokens=1)))  # the same thread hears it, so it is free
    finally:
        ears.encoder = encoder
    assert ended == [Unwanted]


async def test_what_comes_before_a_question_is_prefilled(embedded: MiniOmni, monkeypatch: pytest.MonkeyPatch) -> None:
    complete, step = threading.Event(), PrefillAhead.step

    def watched(ahead: PrefillAhead) -> None:
        step(ahead)
        if not ahead.busy:
            complete.set()

    monkeypatch.setattr(PrefillAhead, "step", watched)
    engine = AsyncEngine(embedded, max_slots=1)
    engine.prefill_ahead(typed("Hello."))  # before the start: nothing to do it with
    await engine.start()
    request = replace(typed("Hello."), system_prompt="You are a cheerful pirate who sails from Lisbon to Rio.")
    engine.prefill_ahead(request)
    assert await asyncio.to_thread(complete.wait, 20)
    done = (await collect(engine.generate(request)))[-1]
    assert isinstance(done, Done)
    assert done.cached_tokens > done.prompt_tokens - 12
    await engine.stop()

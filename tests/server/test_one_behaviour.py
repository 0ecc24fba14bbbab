"""The command, `/ws`, `/v1/realtime` and `/chat` give the same answer to the same question."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import UTC, datetime

import httpx
import numpy as np
import pytest
import soundfile

from model.__main__ import main
from model.async_engine import AsyncEngine
from model.request import Done, Event, Request
from server.options import SessionOptions
from server.settings import Settings
from tests.server.harness import client, running, settings
from tests.server.realtime import api

QUESTION = "What is the capital of France?"
TALKATIVE = "Tell me about your favorite season."


class Recorder:
    """An engine, and the texts of the answers that it made."""

    def __init__(self) -> None:
        self._engine = AsyncEngine()
        self.requests: list[Request] = []
        self.texts: list[str] = []

    @property
    def name(self) -> str:
        return self._engine.name

    async def start(self) -> None:
        await self._engine.start()

    async def stop(self) -> None:
        await self._engine.stop()

    def prefill_ahead(self, request: Request) -> None:
        self._engine.prefill_ahead(request)

    async def generate(self, request: Request) -> AsyncGenerator[Event, None]:
        self.requests.append(request)
        async with aclosing(self._engine.generate(request)) as events:
            async for event in events:
                if isinstance(event, Done):
                    self.texts.append(event.text)
                yield event


def by_command(capsys: pytest.CaptureFixture[str], question: str) -> str:
    assert main(["--text", question, "--time-zone", "UTC"]) == 0
    text: str = json.loads(capsys.readouterr().out)["text"]
    return text.strip()


async def test_four_ways_to_ask_and_one_answer(capsys: pytest.CaptureFixture[str], question: np.ndarray) -> None:
    answers = {QUESTION: [by_command(capsys, QUESTION)], TALKATIVE: [by_command(capsys, TALKATIVE)]}
    recorder = Recorder()
    async with running(recorder, time_zone="UTC") as server:
        for asked, told in answers.items():
            async with client(server.url) as c:
                await c.start()
                await c.send("text", text=asked)
                told.append(dict((await c.until("response_done"))[-1])["text"].strip())
            async with api(server) as talk:
                await talk.greeted()
                await talk.type(asked)
                await talk.send("response.create")
                await talk.until("response.done")
                told.append(recorder.texts[-1].strip())
        file = io.BytesIO()
        soundfile.write(file, question, 16_000, format="WAV")
        body = {"audio": base64.b64encode(file.getvalue()).decode()}
        async with httpx.AsyncClient(timeout=120) as web:
            assert (await web.post(f"{server.base}/chat", json=body)).status_code == 200
        answers[QUESTION].append(recorder.texts[-1].strip())
    assert [len(told) for told in answers.values()] == [4, 3]
    assert all(len(set(told)) == 1 for told in answers.values()), answers
    assert all(one.endswith((".", "!", "?")) for told in answers.values() for one in told)


def test_limits_are_the_models_own_unless_an_operator_sets_others() -> None:
    given, plain, options = settings(), Request(), SessionOptions()
    limits = (plain.max_tokens, plain.max_sentences, plain.max_seconds)
    assert (options.max_tokens, options.max_sentences, options.max_seconds) == limits
    assert (given.max_answer_tokens, given.max_answer_sentences, given.max_answer_s) == limits
    assert given.repetition_penalty is plain.sampling.repetition_penalty is None


def test_an_operators_time_zone_must_exist() -> None:
    assert Settings(time_zone="Asia/Tokyo", _env_file=None).time_zone == "Asia/Tokyo"
    with pytest.raises(ValueError, match="not an IANA time zone"):
        Settings(time_zone="Mars/Base", _env_file=None)


def test_a_question_keeps_its_time_from_the_first_request_to_the_history() -> None:
    from server.memory import Memory, Message

    moments = iter(datetime(2026, 3, 11, 15, minute, tzinfo=UTC) for minute in range(9))
    memory = Memory(wall_clock=lambda: next(moments))
    memory.append(Message("one", "user", "What day is it?"))
    memory.append(Message("two", "assistant", "Wednesday."))
    (turn,) = memory.turns(0.0)
    assert turn.asked_at == datetime(2026, 3, 11, 15, 0, tzinfo=UTC)

"""A server with two models: each client chooses the one that answers it, in every protocol."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path

import pytest
from openai import NotFoundError

from model.async_engine import AsyncEngine
from model.checkpoint import EMBEDDED
from server.models import Models, UnknownModel
from tests.server.harness import client, running, settings
from tests.server.realtime import api
from tests.server.scripted import WARM_UPS, ScriptedGenerator
from tests.server.test_http import http, openai, wav


@pytest.fixture
def first() -> ScriptedGenerator:
    return ScriptedGenerator(name="omni-1.5b")


@pytest.fixture
def second() -> ScriptedGenerator:
    return ScriptedGenerator(name="smol-omni")


def asked(*generators: ScriptedGenerator) -> list[int]:
    """How many questions each was asked, besides the server's own."""
    return [len(generator.requests) - WARM_UPS for generator in generators]


# the settings


@pytest.mark.parametrize(
    ("given", "models"),
    [
        ({}, ("smol-omni",)),  # what `tests.conftest` sets
        ({"also_models": " smol-omni, ,folder/of a model "}, ("a", "smol-omni", "folder/of a model")),
    ],
)
def test_models_are_the_first_and_the_others(given: dict[str, str], models: tuple[str, ...]) -> None:
    first = {"model": "a"} if given else {}
    assert settings(**first, **given).models == models


# the collection


async def test_names_are_known_once_all_are_loaded(first: ScriptedGenerator, second: ScriptedGenerator) -> None:
    models = Models([first, second])
    assert (models.names, models.default) == ((), first)
    await models.start()
    assert models.names == ("omni-1.5b", "smol-omni")
    assert models.get(None) is models.get("omni-1.5b") is first
    assert models.get_or_default("smol-omni") is second
    assert models.get_or_default("gpt-realtime") is models.get_or_default(None) is first
    with pytest.raises(UnknownModel, match=r"no model 'gpt-realtime' here; choose one of: omni-1.5b, smol-omni"):
        models.get("gpt-realtime")
    await models.stop()
    assert (first.running, second.running) == (False, False)


async def test_two_models_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="two models are called 'smol-omni'"):
        await Models([ScriptedGenerator(), ScriptedGenerator()]).start()
    with pytest.raises(ValueError, match="at least one"):
        Models([])


async def test_a_server_is_ready_when_every_model_has_answered(first: ScriptedGenerator) -> None:
    class Slow(ScriptedGenerator):
        loaded = asyncio.Event()

        async def start(self) -> None:
            await self.loaded.wait()

    slow = Slow(name="smol-omni")
    async with running(first, until_ready=False, also=[slow]) as server, http(server) as talk:
        told = await talk.get("/ready")
        assert (told.status_code, told.json()) == (503, {"ready": False, "model": "omni-1.5b", "models": []})
        assert (await talk.get("/v1/models")).json()["data"] == []
        slow.loaded.set()
        assert await server.service.wait_ready(60)
        told = await talk.get("/ready")
        names = ["omni-1.5b", "smol-omni"]
        assert (told.status_code, told.json()) == (200, {"ready": True, "model": names[0], "models": names})
    assert asked(first, slow) == [0, 0], "both were warmed up"


# /ws


async def test_start_chooses_the_model(first: ScriptedGenerator, second: ScriptedGenerator) -> None:
    names = ["omni-1.5b", "smol-omni"]
    async with running(first, also=[second]) as server, client(server.url) as talk:
        ready = await talk.start()
        assert (ready["model"], ready["models"]) == ("omni-1.5b", names)
        await talk.send("text", text="One?")
        await talk.until("response_done")
        ready = await talk.start(model="smol-omni")
        assert (ready["model"], ready["models"]) == ("smol-omni", names)
        await talk.send("text", text="Two?")
        await talk.until("response_done")
        assert asked(first, second) == [1, 1]
        assert [turn.user for turn in second.requests[-1].history] == ["One?"], "the memory is kept"
        assert (await talk.start())["model"] == "omni-1.5b", "left out, it is the default again"


async def test_an_unknown_model_is_refused_and_the_conversation_goes_on(
    first: ScriptedGenerator, second: ScriptedGenerator
) -> None:
    async with running(first, also=[second]) as server, client(server.url) as talk:
        await talk.send("start", model="gpt-4o")
        error = await talk.next("error")
        assert (error["code"], error["field"], error["fatal"]) == ("unknown_model", "model", False)
        assert "omni-1.5b, smol-omni" in error["message"]
        await talk.send("text", text="One?")
        assert (await talk.next("error"))["code"] == "not_started", "the start was dropped"
        await talk.start(model="smol-omni")
        await talk.send("start", model="gpt-4o")
        await talk.next("error")
        await talk.send("text", text="One?")
        await talk.until("response_done")
    assert asked(first, second) == [0, 1]


async def test_an_answer_in_progress_is_finished_by_the_model_that_began_it(second: ScriptedGenerator) -> None:
    gate = asyncio.Event()
    first = ScriptedGenerator(name="omni-1.5b", gate=gate)
    async with running(first, also=[second]) as server, client(server.url) as talk:
        await talk.start()
        await talk.send("text", text="One?")
        await first.waiting.wait()
        await talk.start(model="smol-omni")
        gate.set()
        end = (await talk.until("response_done"))[-1]
        assert isinstance(end, dict)
        assert end["reason"] == "stop"
        assert (asked(first, second), first.cancelled) == ([1, 0], 0)
        await talk.send("text", text="Two?")
        await talk.until("response_done")
    assert asked(first, second) == [1, 1]


async def test_conversations_choose_apart(first: ScriptedGenerator, second: ScriptedGenerator) -> None:
    async with running(first, also=[second]) as server, client(server.url) as a, client(server.url) as b:
        await a.start()
        await b.start(model="smol-omni")
        for talk, text in ((a, "from a"), (b, "from b")):
            await talk.send("text", text=text)
            await talk.until("response_done")
    assert (first.requests[-1].text, second.requests[-1].text) == ("from a", "from b")


async def test_every_session_counts_whichever_model_it_uses(
    first: ScriptedGenerator, second: ScriptedGenerator
) -> None:
    async with running(first, also=[second], max_sessions=1) as server, client(server.url) as talk:
        await talk.start(model="smol-omni")
        async with client(server.url) as other:
            assert (await other.next("error"))["code"] == "busy"


# the Realtime API


@pytest.mark.parametrize(
    ("query", "shown"),
    [("?model=smol-omni", "smol-omni"), ("?model=gpt-realtime", "omni-1.5b"), ("", "omni-1.5b")],
)
async def test_realtime_takes_the_model_of_the_address(
    first: ScriptedGenerator, second: ScriptedGenerator, query: str, shown: str
) -> None:
    async with running(first, also=[second]) as server, api(server, query=query) as talk:
        assert (await talk.next("session.created"))["session"]["model"] == shown
        await talk.next("conversation.created")
        await talk.type("One?")
        await talk.send("response.create")
        await talk.until("response.done")
    assert asked(first, second) == ([0, 1] if shown == "smol-omni" else [1, 0])


async def test_realtime_sessions_change_to_a_loaded_model_and_ignore_others(
    first: ScriptedGenerator, second: ScriptedGenerator
) -> None:
    async with running(first, also=[second]) as server, api(server, query="?model=gpt-realtime") as talk:
        await talk.next("session.created")
        await talk.next("conversation.created")
        for name, shown in (("smol-omni", "smol-omni"), ("gpt-realtime", "smol-omni"), ("omni-1.5b", "omni-1.5b")):
            await talk.send("session.update", session={"type": "realtime", "model": name})
            assert (await talk.next("session.updated"))["session"]["model"] == shown


async def test_client_secrets_carry_the_model(first: ScriptedGenerator, second: ScriptedGenerator) -> None:
    async with running(first, also=[second], api_keys="a-key-of-the-application") as server, http(server) as talk:
        issued = await talk.post(
            "/v1/realtime/client_secrets",
            json={"session": {"type": "realtime", "model": "smol-omni"}},
            headers={"Authorization": "Bearer a-key-of-the-application"},
        )
        assert issued.json()["session"]["model"] == "smol-omni"
        key = {"Authorization": f"Bearer {issued.json()['value']}"}
        async with api(server, query="?model=gpt-realtime", additional_headers=key) as talk:
            assert (await talk.next("session.created"))["session"]["model"] == "smol-omni"


# HTTP


async def test_models_are_listed_and_found_by_name(first: ScriptedGenerator, second: ScriptedGenerator) -> None:
    async with running(first, also=[second]) as server, openai(server) as talk:
        assert [model.id for model in (await talk.models.list()).data] == ["omni-1.5b", "smol-omni"]
        assert (await talk.models.retrieve("smol-omni")).id == "smol-omni"
        with pytest.raises(NotFoundError, match=r"choose one of: omni-1\.5b, smol-omni"):
            await talk.models.retrieve("gpt-4o")


@pytest.mark.parametrize(("name", "calls"), [("smol-omni", [0, 1]), ("omni-1.5b", [1, 0]), ("tts-1", [1, 0])])
async def test_openai_routes_take_the_model_that_is_named(
    first: ScriptedGenerator, second: ScriptedGenerator, name: str, calls: list[int]
) -> None:
    async with running(first, also=[second]) as server, openai(server) as talk:
        await talk.audio.speech.create(model=name, voice="omni", input="Hello.", response_format="pcm")
        assert asked(first, second) == calls
        await talk.audio.transcriptions.create(model=name, file=("question.wav", wav()))
        assert asked(first, second) == [2 * count for count in calls]


async def test_chat_takes_a_model(first: ScriptedGenerator, second: ScriptedGenerator) -> None:
    audio = base64.b64encode(wav()).decode()
    async with running(first, also=[second]) as server, http(server) as talk:
        assert (await talk.post("/chat", json={"audio": audio, "model": "smol-omni"})).status_code == 200
        assert (await talk.post("/chat", json={"audio": audio})).status_code == 200
        refused = await talk.post("/chat", json={"audio": audio, "model": "gpt-4o"})
    assert asked(first, second) == [1, 1]
    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "model_not_found")
    assert "omni-1.5b, smol-omni" in refused.json()["error"]["message"]
    assert refused.json()["error"]["param"] == "model"


# real models


async def test_two_engines_answer_at_the_same_time(tmp_path: Path) -> None:
    """The same checkpoint under two names: what one answers is not changed by the other."""
    link = tmp_path / "second-omni"
    link.symlink_to(EMBEDDED)
    engines = [AsyncEngine(path, max_slots=2, threads=1) for path in (EMBEDDED, link)]

    async def answer(url: str, model: str, text: str) -> tuple[str, int]:
        async with client(url) as talk:
            assert (await talk.start(model=model))["model"] == model
            await talk.send("text", text=text)
            messages = [await talk.receive(timeout_s=120)]
            while not (isinstance(messages[-1], dict) and messages[-1]["type"] == "response_done"):
                messages.append(await talk.receive(timeout_s=120))
            return messages[-1]["text"], sum(len(sound) for sound in messages if isinstance(sound, bytes))

    async with running(engines[0], until_ready=False, also=[engines[1]]) as server:
        assert await server.service.wait_ready(240)
        assert server.service.models.names == ("smol-omni", "second-omni")
        questions = ("What is the capital of France?", "Why is the sky blue?")
        asked = [(model, question) for question in questions for model in server.service.models.names]
        answers = await asyncio.gather(*(answer(server.url, *one) for one in asked))
    assert answers[0] == answers[1]
    assert answers[2] == answers[3]
    assert "Paris" in answers[0][0]
    assert min(sound for _, sound in answers) > 24_000

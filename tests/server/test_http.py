"""What holds for every HTTP endpoint: keys, origins, limits, errors as OpenAI tells them, places, endings."""

from __future__ import annotations

import asyncio
import base64
import io
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile
from openai import AsyncOpenAI, NotFoundError

from model.request import AudioChunk, EngineFull, GenerationFailed
from server.app import create_app
from tests.server.harness import Running, running, settings
from tests.server.scripted import ScriptedGenerator, tone

KEY = "a-key-of-the-operator"
ROUTES = ("/chat", "/v1/audio/speech", "/v1/audio/transcriptions")


def wav(seconds: float = 1.0, rate: int = 16_000, channels: int = 1) -> bytes:
    """A tone."""
    sound = 0.1 * np.sin(np.arange(round(seconds * rate)) * 2 * np.pi * 220 / rate)
    file = io.BytesIO()
    soundfile.write(file, np.repeat(sound[:, None], channels, 1), rate, format="WAV", subtype="PCM_16")
    return file.getvalue()


def asks(route: str) -> dict[str, Any]:
    """A good request for this route."""
    if route == "/chat":
        return {"json": {"audio": base64.b64encode(wav()).decode()}}
    if route == "/v1/audio/speech":
        return {"json": {"model": "smol-omni", "input": "Hello there.", "voice": "omni", "response_format": "pcm"}}
    return {"data": {"model": "smol-omni"}, "files": {"file": ("question.wav", wav())}}


@asynccontextmanager
async def http(server: Running, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=server.base, timeout=30, **options) as client:
        yield client


@asynccontextmanager
async def openai(server: Running) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(api_key="any", base_url=f"{server.base}/v1", max_retries=0) as client:
        yield client


def told(response: httpx.Response) -> dict[str, Any]:
    """The error object, which has just these fields."""
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    return dict(error)


@pytest.mark.parametrize("route", ROUTES)
async def test_keys_guard_every_route(route: str) -> None:
    async with running(ScriptedGenerator(), api_keys=KEY) as server, http(server) as client:
        for key in (None, "wrong", server.service.keys.issue({}, 60).value):
            headers = {"Authorization": f"Bearer {key}"} if key else {}
            refused = await client.post(route, headers=headers, **asks(route))
            assert refused.status_code == 401
            assert told(refused)["code"] == "invalid_api_key"
        good = await client.post(route, headers={"Authorization": f"Bearer {KEY}"}, **asks(route))
    assert good.status_code == 200


@pytest.mark.parametrize("route", ROUTES)
async def test_pages_of_other_sites_are_refused_where_no_key_is_wanted(route: str) -> None:
    async with running(ScriptedGenerator()) as server, http(server) as client:
        refused = await client.post(route, headers={"Origin": "https://elsewhere.example"}, **asks(route))
        own = await client.post(route, headers={"Origin": server.base}, **asks(route))
    assert (refused.status_code, own.status_code) == (403, 200)
    assert "--allowed-origins" in told(refused)["message"]


@pytest.mark.parametrize("route", ROUTES)
async def test_a_busy_engine_says_when_to_try_again(route: str) -> None:
    generator = ScriptedGenerator()
    async with running(generator) as server, http(server) as client:
        generator.script = [EngineFull("4 answers are in progress; try again later")]
        busy = await client.post(route, **asks(route))
        figures = (await client.get("/metrics")).text
    assert busy.status_code == 503
    assert int(busy.headers["Retry-After"]) > 0
    assert told(busy)["code"] == "busy"
    assert told(busy)["type"] == "server_error"
    assert f'omni_http_requests_total{{route="{route}",status="503"}} 1.0' in figures
    assert 'omni_errors_total{code="busy"} 1.0' in figures


@pytest.mark.parametrize("route", ROUTES)
async def test_a_model_that_is_loading_says_so(route: str) -> None:
    class Loading(ScriptedGenerator):
        async def start(self) -> None:
            await asyncio.Event().wait()

    async with running(Loading(), until_ready=False) as server, http(server) as client:
        response = await client.post(route, **asks(route))
    assert response.status_code == 503
    assert "Retry-After" in response.headers
    assert told(response)["code"] == "not_ready"


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("declared", [True, False])
async def test_a_body_that_is_too_large_is_refused(route: str, declared: bool) -> None:
    body = b'{"input": "' + 200_000 * b"x" + b'"}'
    if "transcriptions" in route:
        part = b'--x\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n'
        body = part + body + b"\r\n--x--\r\n"

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 10_000):
            yield body[start : start + 10_000]

    headers = {"Content-Type": "multipart/form-data; boundary=x"} if "transcriptions" in route else {}
    async with running(ScriptedGenerator(), max_upload_bytes=100_000) as server, http(server) as client:
        response = await client.post(route, content=body if declared else pieces(), headers=headers)
    assert response.status_code == 413
    assert told(response)["code"] == "body_too_large"


@pytest.mark.parametrize("route", ROUTES)
async def test_a_fault_is_told_as_one(route: str) -> None:
    generator = ScriptedGenerator()
    async with running(generator) as server, http(server) as client:
        generator.script = [GenerationFailed("the stream broke")]
        failed = await client.post(route, **asks(route))
        generator.script = [ZeroDivisionError("a fault")]
        broken = await client.post(route, **asks(route))
    assert (failed.status_code, broken.status_code) == (500, 500)
    assert told(failed)["code"] == "generation_failed"
    assert told(broken)["code"] == "internal_error"
    assert "a fault in the server" in told(broken)["message"]


@pytest.mark.parametrize("route", ["/chat", "/v1/audio/speech"])
async def test_a_client_that_goes_ends_its_answer(route: str) -> None:
    generator = ScriptedGenerator()
    async with running(generator) as server, http(server) as client:
        generator.ended.clear()
        generator.script = [AudioChunk(tone(1)), *(AudioChunk(tone(50)) for _ in range(1000))]
        async with client.stream("POST", route, **asks(route)) as response:
            assert response.status_code == 200
            async for _ in response.aiter_bytes():
                break
        await asyncio.wait_for(generator.ended.wait(), 10)
    assert generator.cancelled == 1
    assert generator.produced < 900


@pytest.mark.parametrize("route", ROUTES)
async def test_a_client_that_goes_before_the_first_sound_ends_its_answer(route: str) -> None:
    generator = ScriptedGenerator(gate=asyncio.Event())
    async with running(generator) as server, http(server) as client:
        generator.ended.clear()
        asking = asyncio.create_task(client.post(route, **asks(route)))
        await generator.waiting.wait()
        asking.cancel()
        await asyncio.wait_for(generator.ended.wait(), 10)
    assert generator.cancelled == 1


@pytest.mark.parametrize("route", ["/chat", "/v1/audio/speech"])
async def test_an_answer_waits_for_a_client_that_does_not_read(route: str) -> None:
    """What is made ahead is what sockets hold, not the answer; who takes nothing for long is dropped."""
    generator = ScriptedGenerator()
    async with running(generator, send_timeout_s=0.5) as server:
        generator.ended.clear()
        generator.script = [AudioChunk(tone(100)) for _ in range(1000)]  # 400 MB as it is sent
        request = httpx.Request("POST", f"{server.base}{route}", **asks(route))
        host, port = server.base.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        head = f"POST {route} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in request.headers.items()) + "\r\n"
        writer.write(head.encode() + request.read())
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        await asyncio.wait_for(generator.ended.wait(), 20)
        figures = server.service.metrics.render().decode()
        writer.close()
    assert generator.produced < 100
    assert generator.cancelled == 1
    assert 'omni_errors_total{code="slow_reader"} 1.0' in figures


@pytest.mark.parametrize("route", ["/chat", "/v1/audio/speech"])
async def test_an_answer_that_breaks_is_not_taken_for_whole(route: str) -> None:
    generator = ScriptedGenerator()
    async with running(generator) as server, http(server) as client:
        generator.script = [AudioChunk(tone(3)), GenerationFailed("the stream broke")]
        with pytest.raises(httpx.RemoteProtocolError):
            await client.post(route, **asks(route))


async def test_answers_in_progress_end_before_the_server_does() -> None:
    generator = ScriptedGenerator(gate=asyncio.Event())
    async with running(generator) as server, http(server) as client:
        asking = asyncio.create_task(client.post("/v1/audio/speech", **asks("/v1/audio/speech")))
        await generator.waiting.wait()
        draining = asyncio.create_task(server.service.drain(20))
        refused = await client.post("/v1/audio/speech", **asks("/v1/audio/speech"))
        assert generator.gate
        generator.gate.set()
        answered = await asking
        await draining
    assert refused.status_code == 503
    assert answered.status_code == 200
    assert len(answered.content) > 1000


async def test_client_secrets_tell_errors_alike() -> None:
    async with running(ScriptedGenerator()) as server, http(server) as client:
        bad = await client.post("/v1/realtime/client_secrets", json={"expires_after": {"seconds": 1}})
    assert bad.status_code == 400
    assert told(bad)["param"] == "expires_after.seconds"


def test_the_documentation_describes_the_routes() -> None:
    paths = create_app(settings(), [ScriptedGenerator()]).openapi()["paths"]
    for route in ROUTES:
        described = paths[route]["post"]
        assert described["summary"]
        assert {"200", "400", "401", "413", "503"} <= set(described["responses"])
        (body,) = described["requestBody"]["content"].values()
        assert body["schema"]["required"]


async def test_the_model_is_named_to_those_who_ask() -> None:
    async with running(ScriptedGenerator()) as server, openai(server) as client:
        (model,) = (await client.models.list()).data
        assert await client.models.retrieve(model.id) == model
        with pytest.raises(NotFoundError) as other:
            await client.models.retrieve("gpt-4o")
    assert (model.id, model.object, other.value.code) == ("smol-omni", "model", "model_not_found")
    assert time.time() - 60 < model.created <= time.time()


async def test_keys_guard_the_models() -> None:
    async with running(ScriptedGenerator(), api_keys=KEY) as server, http(server) as client:
        refused = await client.get("/v1/models")
        good = await client.get("/v1/models", headers={"Authorization": f"Bearer {KEY}"})
    assert (refused.status_code, told(refused)["code"], good.status_code) == (401, "invalid_api_key", 200)


async def test_what_is_not_there_is_told_alike() -> None:
    async with running(ScriptedGenerator()) as server, http(server) as client:
        for response in (await client.get("/v1/audio/speech"), await client.post("/v1/images/generations", json={})):
            assert response.status_code == 404
            assert told(response)["code"] == "unknown_url"

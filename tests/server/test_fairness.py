"""One client that floods the server: it is refused, and the others are served."""

from __future__ import annotations

import asyncio
import base64

import httpx
import numpy as np

from tests.server.harness import client, running
from tests.server.media import media_file, tone
from tests.server.realtime import api
from tests.server.scripted import ScriptedGenerator

PENDING = 16
BESIDE = {
    "conversation": "none",
    "output_modalities": ["text"],
    "input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Tell me a story."}]}],
}


async def test_a_conversation_has_so_many_requests_pending_and_no_more() -> None:
    generator = ScriptedGenerator(gate=asyncio.Event())
    async with running(generator) as server, api(server) as hostile:
        await hostile.greeted()
        for _ in range(PENDING + 5):
            await hostile.send("response.create", response=BESIDE)
        refused = []
        while len(refused) < 5:
            event = await hostile.receive()
            if event["type"] == "response.done":
                refused.append(event["response"])
        assert {one["status_details"]["error"]["code"] for one in refused} == {"busy"}
        async with client(server.url) as other:
            await other.start()
            await other.send("text", text="Hello?")
            await asyncio.wait_for(generator.waiting.wait(), 5)
            assert generator.gate
            generator.gate.set()
            await other.until("response_done")
    asked = [request for request in generator.requests if request.client]
    assert len(asked) == PENDING + 1
    assert len({request.client for request in asked}) == 2, "each connection is a client of its own"


async def test_sound_in_items_has_a_budget_that_is_counted_before_it_is_decoded() -> None:
    silence = base64.b64encode(np.zeros(24_000 * 10, "<i2").tobytes()).decode()
    async with running(ScriptedGenerator(), max_frame_bytes=1 << 20) as server, api(server, checked=False) as talk:
        await talk.greeted()
        item = {"type": "message", "role": "user", "content": [{"type": "input_audio", "audio": silence}]}
        for _ in range(31):
            await talk.send("conversation.item.create", item=item)
        (*_, refused) = await talk.until("error")
        assert refused["error"]["code"] == "audio_too_fast"
        assert "ahead of real time" in refused["error"]["message"]
        await talk.type("Written, it is taken.")


async def test_requests_of_one_key_or_address_are_one_clients() -> None:
    generator = ScriptedGenerator()
    sound = media_file("webm", "libopus", [tone(1)], live="1")
    async with running(generator, api_keys="a,b") as server, httpx.AsyncClient(base_url=server.base) as http:
        for key in ("a", "a", "b"):
            headers = {"Authorization": f"Bearer {key}"}
            body = {"model": "m", "input": "Hello.", "voice": "v"}
            assert (await http.post("/v1/audio/speech", json=body, headers=headers)).status_code == 200
            form = {"model": "m"}
            files = {"file": ("a.webm", sound)}
            answer = await http.post("/v1/audio/transcriptions", data=form, files=files, headers=headers)
            assert answer.status_code == 200
    clients = [request.client for request in generator.requests if request.client]
    assert len(clients) == 6
    assert len(set(clients)) == 2
    assert clients[0] == clients[1] == clients[3] != clients[4]
    assert not any(client.rpartition(" ")[2] == "a" for client in clients), "no key is kept"


async def test_without_keys_the_address_counts_and_no_invented_key() -> None:
    generator = ScriptedGenerator()
    async with running(generator) as server, httpx.AsyncClient(base_url=server.base) as http:
        for key in ("one", "two"):
            body = {"model": "m", "input": "Hello.", "voice": "v"}
            await http.post("/v1/audio/speech", json=body, headers={"Authorization": f"Bearer {key}"})
    assert {request.client for request in generator.requests if request.client} == {"address 127.0.0.1"}

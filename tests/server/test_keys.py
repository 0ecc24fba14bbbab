"""Keys: API keys, short-lived client secrets, and the ways in which clients send them."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from openai import AsyncOpenAI, AuthenticationError
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from server.auth import KEY_SUBPROTOCOL, Keys, bearer, subprotocol_key
from tests.server.harness import FakeClock, Running, running
from tests.server.realtime import api
from tests.server.scripted import ScriptedGenerator

KEY = "a-key-of-the-operator"


def headers(key: str) -> dict[str, Any]:
    return {"additional_headers": {"Authorization": f"Bearer {key}"}}


def with_keys() -> Any:
    return running(ScriptedGenerator(), api_keys=f" {KEY} ,another")


async def test_without_keys_everybody_is_let_in() -> None:
    async with running(ScriptedGenerator()) as server, api(server, **headers("whatever")) as talk:
        await talk.greeted()


@pytest.mark.parametrize("path", ["/v1/realtime", "/ws"])
@pytest.mark.parametrize("key", ["wrong", "", KEY[:-1], "ek_forged"])
async def test_a_wrong_key_is_refused_before_the_handshake(path: str, key: str) -> None:
    async with with_keys() as server:
        with pytest.raises(InvalidStatus) as refused:
            async with connect(server.base.replace("http", "ws") + path, **headers(key)):
                pass
    response = refused.value.response
    assert response.status_code == 401
    assert json.loads(response.body)["error"]["code"] == "invalid_api_key"


async def test_keys_come_as_bearer_or_as_subprotocol() -> None:
    async with with_keys() as server:
        async with api(server, **headers(KEY)) as talk:
            await talk.greeted()
        offered = ["realtime", f"{KEY_SUBPROTOCOL}another"]
        async with api(server, subprotocols=offered, origin="https://elsewhere.example") as talk:
            assert talk.socket.subprotocol == "realtime"
            await talk.greeted()
        async with connect(server.url, subprotocols=["omni", f"{KEY_SUBPROTOCOL}{KEY}"]) as socket:
            assert socket.subprotocol == "omni"
            await socket.send('{"type": "start"}')
            assert json.loads(await socket.recv())["type"] == "ready"


async def test_a_page_of_another_site_needs_a_key_or_leave() -> None:
    async with running(ScriptedGenerator()) as server:
        with pytest.raises(InvalidStatus) as refused:
            async with api(server, origin="https://elsewhere.example"):
                pass
    assert refused.value.response.status_code == 403
    assert b"--allowed-origins" in refused.value.response.body


async def secret(server: Running, **session: Any) -> Any:
    async with AsyncOpenAI(api_key=KEY, base_url=f"{server.base}/v1", max_retries=0) as client:
        return await client.realtime.client_secrets.create(
            session={"type": "realtime", **session}, expires_after={"anchor": "created_at", "seconds": 60}
        )


async def test_a_client_secret_opens_conversations_as_it_says() -> None:
    async with with_keys() as server:
        issued = await secret(server, instructions="Be brief.")
        assert issued.session.instructions == "Be brief."
        offered = ["realtime", f"{KEY_SUBPROTOCOL}{issued.value}"]
        for _ in range(2):
            async with api(server, subprotocols=offered) as talk:
                session = await talk.greeted()
                assert session["instructions"] == "Be brief."


async def test_client_secrets_are_for_those_with_an_api_key_and_for_sessions() -> None:
    async with with_keys() as server:
        issued = await secret(server)
        for key in ("wrong", issued.value):
            async with AsyncOpenAI(api_key=key, base_url=f"{server.base}/v1", max_retries=0) as client:
                with pytest.raises(AuthenticationError, match="Authorization: Bearer"):
                    await client.realtime.client_secrets.create()
        async with httpx.AsyncClient(base_url=server.base, headers={"Authorization": f"Bearer {KEY}"}) as http:
            bad = await http.post("/v1/realtime/client_secrets", json={"session": {"tools": [{}]}})
    assert bad.status_code == 400
    assert bad.json()["error"]["param"] == "session.tools"


def test_client_secrets_end_and_cannot_be_changed() -> None:
    clock = FakeClock()
    keys = Keys((KEY,), clock)
    issued = keys.issue({"instructions": "Be brief."}, 60)
    grant = Keys((KEY,), clock).check(issued.value)
    assert grant is not None, "another replica with the same keys takes it"
    assert grant.session == {"instructions": "Be brief."}
    assert Keys(("other",), clock).check(issued.value) is None
    assert keys.check(issued.value[:-1]) is None
    clock.now += 61
    assert keys.check(issued.value) is None


def test_where_keys_are_found() -> None:
    assert bearer("Bearer abc") == "abc"
    assert bearer("bearer  abc ") == "abc"
    assert bearer("Basic abc") is None
    assert bearer(None) is None
    assert subprotocol_key(["realtime", f"{KEY_SUBPROTOCOL}abc"]) == "abc"
    assert subprotocol_key(["realtime"]) is None


async def test_secrets_are_not_shown_by_settings() -> None:
    async with with_keys() as server:
        assert KEY not in repr(server.service.settings)

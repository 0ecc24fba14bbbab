"""A server that wants keys: whom it lets in, as unchanged clients tell it."""

from __future__ import annotations

import asyncio
import json

from tests.realtime_clients.harness import HERE, need, run
from tests.server.harness import running
from tests.server.scripted import ScriptedGenerator

KEY = "sk-test"
PERSONA = "You are a test."


async def told(driver: str) -> dict[str, str]:
    need(driver)
    async with running(ScriptedGenerator(), api_keys=KEY, system_prompt=PERSONA) as server:
        printed = await asyncio.to_thread(run, HERE / "drivers" / driver, server.base, KEY)
    said: dict[str, str] = json.loads(printed.splitlines()[-1])
    return said


async def test_python_clients_with_keys_and_client_secrets() -> None:
    said = await told("keys.py")
    assert said.pop("secret").startswith("ek_")
    assert said == {
        "key": PERSONA,
        "wrong key": "401",
        "with the secret": "Speak like a pirate.",
        "secret with a wrong key": "401 invalid_api_key",
        "agent with the secret": "answered",
        "agent with a wrong key": "401",
    }


async def test_node_clients_with_subprotocols_and_client_secrets() -> None:
    said = await told("keys.mjs")
    refused = [said.pop(name) for name in ("wrong key as a subprotocol", "agent with a wrong key")]
    assert all("401" in message for message in refused), refused
    assert said == {
        "key as a subprotocol": PERSONA,
        "secret as a subprotocol": "Speak like a pirate.",
        "agent with the secret": "answered",
        "agent in a browser": "answered",
    }

"""Who is let in, as the `openai` package and openai-agents tell it: `keys.py URL KEY` prints JSON."""

from __future__ import annotations

import asyncio
import json
import sys

from agents.realtime import RealtimeAgent, RealtimeRunner
from openai import AsyncOpenAI, AuthenticationError
from openai.types.realtime import RealtimeSessionCreateRequestParam
from websockets.exceptions import InvalidStatus

SESSION: RealtimeSessionCreateRequestParam = {"type": "realtime", "instructions": "Speak like a pirate."}


async def instructions(url: str, key: str) -> str:
    """How a session that this key opens begins, or the HTTP status of its refusal."""
    client = AsyncOpenAI(base_url=f"{url}/v1", api_key=key)
    try:
        async with client.realtime.connect(model="smol-omni") as connection:
            return str((await connection.recv()).session.instructions)
    except InvalidStatus as refused:
        return str(refused.response.status_code)


async def agent_asks(url: str, key: str) -> str:
    """What an agent of the Agents SDK says that connects with this key."""
    runner = RealtimeRunner(RealtimeAgent(name="Assistant"))
    address = f"{url.replace('http', 'ws')}/v1/realtime"
    try:
        session = await runner.run(model_config={"url": address, "api_key": key})
        async with session:
            await session.send_message("Hello.")
            async for event in session:
                if event.type == "agent_end":
                    return "answered"
    except InvalidStatus as refused:
        return str(refused.response.status_code)
    return "closed"


async def issue(url: str, key: str) -> str:
    """A client secret, or how it was refused."""
    client = AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)
    try:
        issued = await client.realtime.client_secrets.create(session=SESSION)
    except AuthenticationError as refused:
        return f"{refused.status_code} {refused.code}"
    return issued.value


async def main(url: str, key: str) -> None:
    secret = await issue(url, key)
    told = {
        "key": await instructions(url, key),
        "wrong key": await instructions(url, "wrong"),
        "secret": secret,
        "with the secret": await instructions(url, secret),
        "secret with a wrong key": await issue(url, "wrong"),
        "agent with the secret": await agent_asks(url, secret),
        "agent with a wrong key": await agent_asks(url, "wrong"),
    }
    print(json.dumps(told))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

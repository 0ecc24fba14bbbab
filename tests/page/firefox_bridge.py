"""Debian's Firefox behind Playwright: passes WebDriver BiDi through, and answers the one command that Firefox lacks.

Playwright sets media features on every page it opens. A Firefox that does not know that command would refuse the page,
so it is answered here; dark pages and reduced motion are then chosen by preferences when the browser is launched.
Now and then Firefox answers a command never; Playwright would wait for ever, so it is told of an error instead.

Runs in place of the browser: python -m tests.page.firefox_bridge FIREFOX [its arguments]
"""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sys
from typing import Any

from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

ANSWERED_HERE = "emulation.setMediaFeaturesOverride"
ANNOUNCEMENT = re.compile(r"^WebDriver BiDi listening on (ws://\S+)")
LONGEST_S = 90
"""More than any test waits for anything."""
WHOLE_FRAMES = {"max_size": None, "ping_interval": None, "compression": None}


async def bridge(playwright: ServerConnection, browser_url: str) -> None:
    """Carry every message both ways until one side closes."""
    assert playwright.request
    loop = asyncio.get_running_loop()
    unanswered: dict[int, asyncio.TimerHandle] = {}
    async with connect(browser_url + playwright.request.path, **WHOLE_FRAMES) as browser:  # type: ignore[arg-type]
        telling: set[asyncio.Task[None]] = set()

        def give_up(command: dict[str, Any]) -> None:
            message = f"{command['method']}: no answer within {LONGEST_S} s"
            told = {"type": "error", "id": command["id"], "error": "timeout", "message": message}
            telling.add(task := loop.create_task(playwright.send(json.dumps(told))))
            task.add_done_callback(telling.discard)

        async def commands() -> None:
            async for text in playwright:
                command = json.loads(text)
                if command["method"] == ANSWERED_HERE:
                    await playwright.send(json.dumps({"type": "success", "id": command["id"], "result": {}}))
                else:
                    unanswered[command["id"]] = loop.call_later(LONGEST_S, give_up, command)
                    await browser.send(text)

        async def events() -> None:
            async for text in browser:
                waited = unanswered.pop(json.loads(text).get("id"), None)
                if waited:
                    waited.cancel()
                await playwright.send(text)

        await asyncio.wait(
            [asyncio.create_task(commands()), asyncio.create_task(events())], return_when=asyncio.FIRST_COMPLETED
        )


async def main(command: list[str]) -> int:
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, process.terminate)
    assert process.stderr
    while line := (await process.stderr.readline()).decode(errors="replace"):
        if found := ANNOUNCEMENT.match(line):
            browser_url = found[1]
            break
        sys.stderr.write(line)
    else:
        return await process.wait()
    async with serve(lambda ws: bridge(ws, browser_url), "127.0.0.1", 0, **WHOLE_FRAMES) as server:  # type: ignore[arg-type]
        port = server.sockets[0].getsockname()[1]
        sys.stderr.write(f"WebDriver BiDi listening on ws://127.0.0.1:{port}\n")
        sys.stderr.flush()
        while await process.stderr.readline():  # so that the browser never waits for its log to be read
            pass
        return await process.wait()


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main(sys.argv[1:])))

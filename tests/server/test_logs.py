"""A client cannot fill the log."""

from __future__ import annotations

import structlog
from structlog.testing import capture_logs

from server.logs import LimitedLog
from tests.server.harness import FakeClock, client, running
from tests.server.scripted import ScriptedGenerator


def test_lines_are_limited_by_event_and_what_was_left_out_is_said() -> None:
    clock = FakeClock()
    log = LimitedLog(structlog.get_logger("test"), clock)
    with capture_logs() as lines:
        for _ in range(500):
            log.warning("problem", code="x")
        log.info("answered")
    assert [line["event"] for line in lines] == ["problem"] * 20 + ["answered"]
    clock.now += 1
    with capture_logs() as lines:
        log.warning("problem", code="y")
        log.warning("problem", code="z")
        log.close()
    assert lines == [
        {"event": "log_lines_left_out", "of": "problem", "lines": 480, "log_level": "warning"},
        {"event": "problem", "code": "y", "log_level": "warning"},
        {"event": "log_lines_left_out", "of": "problem", "lines": 1, "log_level": "warning"},
    ]


async def test_a_flood_of_bad_messages_is_a_few_lines() -> None:
    with capture_logs() as lines:
        async with running(ScriptedGenerator()) as server, client(server.url) as c:
            await c.start()
            for _ in range(1000):
                await c.socket.send("no JSON")
                await c.next("error")
    problems = [line for line in lines if line["event"] == "problem"]
    left_out = sum(line["lines"] for line in lines if line["event"] == "log_lines_left_out")
    assert 20 <= len(problems) < 60
    assert len(problems) + left_out == 1000

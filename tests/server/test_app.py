"""Around the conversation: health, readiness, figures, the page, who is let in, settings."""

from __future__ import annotations

import asyncio
import json
import resource
from pathlib import Path

import httpx
import numpy as np
import pytest
from websockets.exceptions import InvalidStatus

from server.auth import origin_allowed
from server.limits import TokenBucket
from server.settings import Settings
from tests.server.harness import FakeClock, client, kinds, pcm, running, settings
from tests.server.scripted import WARM_UPS, ScriptedGenerator


async def get(url: str) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False) as http:
        return await http.get(url)


def resident_bytes() -> int:
    """Of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def figures(text: str) -> dict[str, float]:
    rows = (line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#"))
    return {name: float(value) for name, value in rows}


async def test_health_and_ready_tell_loading_from_serving() -> None:
    class Slow(ScriptedGenerator):
        loaded = asyncio.Event()

        async def start(self) -> None:
            await self.loaded.wait()

    generator = Slow()
    async with running(generator, until_ready=False) as server:
        assert (await get(f"{server.base}/health")).json() == {"status": "ok"}
        ready = await get(f"{server.base}/ready")
        assert (ready.status_code, ready.json()) == (503, {"ready": False, "model": "smol-omni", "models": []})
        assert generator.requests == []
        generator.loaded.set()
        assert await server.service.wait_ready(60)
        assert (await get(f"{server.base}/ready")).status_code == 200
        assert len(generator.requests) == WARM_UPS, "ready means that it has answered and heard once"


async def test_a_model_that_does_not_start_is_told_to_the_process() -> None:
    class Broken(ScriptedGenerator):
        async def start(self) -> None:
            raise FileNotFoundError("config.json")

    from server.app import create_app

    failed = asyncio.Event()
    app = create_app(settings(), [Broken()], on_failure=failed.set)
    async with app.router.lifespan_context(app):
        async with asyncio.timeout(10):
            await failed.wait()
        assert isinstance(app.state.service.failure, FileNotFoundError)
        assert not app.state.service.ready


async def test_figures_count_what_happened(question: np.ndarray) -> None:
    async with running(ScriptedGenerator()) as server, client(server.url) as c:
        await c.start()
        await c.send("text", text="hello")
        await c.until("response_done")
        await c.send("playback", played_ms=10)
        await c.socket.send(pcm(np.concatenate([question, np.zeros(16_000, np.float32)])))
        await c.until("response_done")
        await c.send("dance")
        await c.until("error")
        response = await get(f"{server.base}/metrics")
        assert response.headers["content-type"].startswith("text/plain")
        found = figures(response.text)
    assert found["omni_ready"] == 1
    assert found["omni_sessions"] == 1
    assert found["omni_sessions_opened_total"] == 1
    assert found['omni_turns_total{kind="text"}'] == 1
    assert found['omni_turns_total{kind="voice"}'] == 1
    assert found['omni_answers_total{reason="stop"}'] == 2
    assert found['omni_interruptions_total{reason="speech"}'] == 1
    assert found['omni_errors_total{code="unknown_type"}'] == 1
    assert found["omni_first_audio_seconds_count"] == 2
    assert found["omni_real_time_factor_count"] == 2
    assert found['omni_stage_seconds_count{stage="hearing"}'] == 1
    assert found['omni_stage_seconds_count{stage="decoding"}'] == 2
    assert found['omni_speculations_total{outcome="used"}'] == 1
    assert found["omni_answer_audio_seconds_total"] == pytest.approx(2 * 11 * 4 * 2048 / 24_000)
    assert "process_resident_memory_bytes" in found


async def test_the_page_may_load_only_its_own_files(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<h1>Hello</h1>")
    (tmp_path / "app.js").write_text("export {};")
    async with running(ScriptedGenerator(), static_dir=tmp_path) as server:
        page = await get(f"{server.base}/")
        assert page.status_code == 200
        assert "<h1>" in page.text
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self'" in policy
        assert "unsafe" not in policy
        assert page.headers["x-content-type-options"] == "nosniff"
        script = await get(f"{server.base}/app.js")
        assert script.headers["content-type"].startswith("text/javascript")
        assert "content-security-policy" in script.headers
        assert (await get(f"{server.base}/../settings.py")).status_code == 404


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        (None, True),
        ("same", True),
        ("https://evil.example", False),
        ("null", False),
        ("https://friend.example", True),
    ],
)
async def test_origins(origin: str | None, allowed: bool) -> None:
    async with running(ScriptedGenerator(), allowed_origins="https://friend.example/") as server:
        wanted = server.base if origin == "same" else origin
        if allowed:
            async with client(server.url, origin=wanted) as c:
                await c.start()
        else:
            with pytest.raises(InvalidStatus) as refused:
                async with client(server.url, origin=wanted):
                    pass
            assert refused.value.response.status_code == 403
            assert server.service.sessions == 0


async def test_other_paths_take_no_websocket() -> None:
    async with running(ScriptedGenerator()) as server:
        with pytest.raises(InvalidStatus) as refused:
            async with client(server.url + "/elsewhere"):
                pass
        assert refused.value.response.status_code == 403


def test_origin_rules() -> None:
    assert origin_allowed("http://talk.example:8000", "talk.example:8000", ())
    assert origin_allowed("https://TALK.example", "talk.example", ())
    assert not origin_allowed("http://talk.example:8001", "talk.example:8000", ())
    assert not origin_allowed("http://talk.example.evil", "talk.example", ())
    assert not origin_allowed("file://talk.example", "talk.example", ())
    assert not origin_allowed("http://talk.example", None, ())
    assert origin_allowed("http://anything", "talk.example", ("*",))


async def test_busy_is_polite_and_a_place_that_is_given_back_is_free() -> None:
    async with running(ScriptedGenerator(), max_sessions=1) as server:
        async with client(server.url) as first:
            await first.start()
            async with client(server.url) as second:
                error = await second.next("error")
                assert (error["code"], error["fatal"]) == ("busy", True)
                await second.socket.wait_closed()
                assert second.socket.close_code == 1013
            await first.send("text", text="hello")
            assert kinds(await first.until("response_done"))[-1] == "response_done"
        async with asyncio.timeout(10):
            await server.service._empty.wait()
        async with client(server.url) as third:
            await third.start()
        assert figures(server.service.metrics.render().decode())['omni_sessions_refused_total{reason="busy"}'] == 1


async def test_draining_ends_answers_and_refuses_new_ones() -> None:
    generator = ScriptedGenerator(gate=asyncio.Event())
    async with running(generator) as server, client(server.url) as c, client(server.url) as idle:
        await c.start()
        await idle.start()
        await c.send("text", text="hello")
        await c.send("dance")
        await c.until("error")  # so the question has been taken
        draining = asyncio.create_task(server.service.drain(10))
        await asyncio.sleep(0)  # let it begin
        assert (await get(f"{server.base}/ready")).status_code == 503
        assert (await get(f"{server.base}/health")).status_code == 200
        async with client(server.url) as late:
            assert (await late.next("error"))["code"] == "shutting_down"
            await late.socket.wait_closed()
            assert late.socket.close_code == 1012
        await idle.send("text", text="one more")
        assert (await idle.next("error"))["code"] == "shutting_down"
        assert generator.gate is not None
        generator.gate.set()
        messages = await c.until("response_done")
        assert isinstance(messages[-1], dict)
        assert messages[-1]["reason"] == "stop", "the answer in progress ended as it should"
        assert (await c.next("error"))["code"] == "shutting_down"
        await draining
        assert server.service.sessions == 0


async def test_an_answer_that_outlasts_the_drain_is_cut_off() -> None:
    generator = ScriptedGenerator(gate=asyncio.Event())
    async with running(generator) as server, client(server.url) as c:
        await c.start()
        await c.send("text", text="hello")
        await c.send("dance")
        await c.until("error")
        await server.service.drain(0.05)
        assert kinds(await c.until("error")) == ["interrupted", "error"]
        await c.socket.wait_closed()
        assert c.socket.close_code == 1012
    assert generator.cancelled == 1


async def test_open_silent_conversations_are_small() -> None:
    silent = pcm(np.zeros(48_000, np.float32))
    async with running(ScriptedGenerator()) as server:

        async def converse(leave: asyncio.Event, talked: asyncio.Semaphore) -> None:
            async with client(server.url, max_queue=1) as c:
                await c.start()
                await c.socket.send(silent)
                await c.send("commit")
                await c.until("heard")
                talked.release()
                await leave.wait()

        leave, talked = asyncio.Event(), asyncio.Semaphore(0)
        tasks = [asyncio.create_task(converse(leave, talked))]
        await talked.acquire()
        before = resident_bytes()
        tasks += [asyncio.create_task(converse(leave, talked)) for _ in range(40)]
        for _ in range(40):
            await talked.acquire()
        each = (resident_bytes() - before) / 40
        leave.set()
        await asyncio.gather(*tasks)
    assert each < 1_000_000, f"{each / 1e6:.2f} MB each, their clients included"


def test_the_token_bucket() -> None:
    clock = FakeClock()
    bucket = TokenBucket(rate=2.0, burst=4.0, clock=clock)
    assert bucket.take(4.0)
    assert not bucket.take(0.1)
    clock.now += 1
    assert bucket.take(2.0)
    clock.now += 1000
    assert not bucket.take(4.1)
    assert bucket.take(4.0)


def test_flags_go_before_the_environment_and_that_before_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from pydantic_settings import CliApp

    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("OMNI_PORT=1\nOMNI_SLOTS=2\nOMNI_HOST=file\nUNRELATED=x\n")
    monkeypatch.setenv("OMNI_PORT", "3")
    monkeypatch.setenv("OMNI_SLOTS", "4")
    chosen = CliApp.run(Settings, cli_args=["--port", "5"])
    assert (chosen.port, chosen.slots, chosen.host) == (5, 4, "file")


async def test_logs_hold_no_text_unless_asked(capfd: pytest.CaptureFixture[str]) -> None:
    from server.logs import configure_logging

    for log_text in (False, True):
        configure_logging("info", "json")
        async with running(ScriptedGenerator(), log_text=log_text) as server, client(server.url) as c:
            await c.start()
            await c.send("text", text="a private question")
            await c.until("response_done")
        lines = [json.loads(line) for line in capfd.readouterr().err.splitlines() if line.startswith("{")]
        answered = next(line for line in lines if line["event"] == "answered")
        assert answered["first_audio_ms"] >= 0
        assert len(answered["session_id"]) == 16
        assert ("Paris" in json.dumps(lines)) is log_text

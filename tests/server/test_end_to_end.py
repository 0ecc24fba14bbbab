"""`python -m server` with the embedded model: real speech in, real speech out, over a real socket."""

from __future__ import annotations

import asyncio
import re
import signal
from collections.abc import Iterator
from contextlib import suppress

import httpx
import numpy as np
import pytest
from hibari import Hibari

from model.eagerness import WAITS
from tests.server.conftest import say
from tests.server.harness import Client, client, kinds, pcm
from tests.server.process import ServerProcess, server_process

QUIET = np.zeros(12_800, np.float32)


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with server_process() as running:
        yield running


def sound_of(messages: list[object]) -> np.ndarray:
    return np.frombuffer(b"".join(m for m in messages if isinstance(m, bytes)), "<i2").astype(np.float32) / 32768


async def ask(c: Client, question: np.ndarray) -> None:
    sound = pcm(np.concatenate([QUIET, question, QUIET]))
    for start in range(0, len(sound), 3200):
        await c.socket.send(sound[start : start + 3200])


async def answer(c: Client) -> list[dict[str, object] | bytes]:
    """Everything up to the end of the answer; the model may be slow on a busy machine."""
    messages: list[dict[str, object] | bytes] = []
    while not (messages and isinstance(messages[-1], dict) and messages[-1]["type"] == "response_done"):
        messages.append(await c.receive(timeout_s=120))
    return messages


async def test_a_spoken_question_is_heard_and_answered_aloud(server: ServerProcess, question: np.ndarray) -> None:
    async with client(server.url) as c:
        await c.start()
        await ask(c, question)
        messages = await answer(c)
    assert kinds(messages)[:4] == ["speech_started", "speech_stopped", "heard", "response_started"]
    heard = next(m for m in messages if isinstance(m, dict) and m["type"] == "heard")
    assert "capital of france" in str(heard["text"]).lower()
    end = messages[-1]
    assert isinstance(end, dict)
    assert end["reason"] == "stop"
    assert "Paris" in str(end["text"])
    sound = sound_of(list(messages))
    assert len(sound) == pytest.approx(float(str(end["audio_ms"])) * 24, abs=24)
    assert len(sound) > 24_000 * 0.03 * len(str(end["text"])), "as long as its text takes to say"
    assert 0.01 < float(np.sqrt(np.mean(sound**2))) < 0.5


@pytest.mark.parametrize(("said", "over"), [("What is the capital of France?", True), ("I want to book a, um", False)])
async def test_what_was_said_decides_how_soon_the_turn_ends(
    server: ServerProcess, voice: Hibari, said: str, over: bool
) -> None:
    async with client(server.url) as c:
        await c.start(eagerness="low")
        await c.socket.send(pcm(np.concatenate([QUIET, say(voice, said), QUIET[:2560]])))
        stopped: dict[str, object] = {}
        while stopped.get("type") != "speech_stopped":  # silence comes slowly, so that hearing has its time
            await c.socket.send(pcm(QUIET[:320]))
            with suppress(TimeoutError):
                message = await c.receive(timeout_s=0.1)
                stopped = message if isinstance(message, dict) else {}
    assert stopped["end_of_turn"] is not None, "it was judged before the longest silence had passed"
    asked_ms = WAITS["auto"].silence_ms(float(str(stopped["end_of_turn"])))
    assert asked_ms < 400 if over else asked_ms > 1000


async def test_a_typed_question_in_the_same_conversation(server: ServerProcess, question: np.ndarray) -> None:
    async with client(server.url) as c:
        await c.start()
        await c.send("text", text="Name a large animal.")
        first = (await answer(c))[-1]
        await c.send("text", text="Name another.")
        second = (await answer(c))[-1]
    assert isinstance(first, dict)
    assert isinstance(second, dict)
    assert first["text"]
    assert second["text"]
    assert (first["heard"], second["heard"]) == ("Name a large animal.", "Name another.")


async def test_two_answers_are_made_at_once(server: ServerProcess) -> None:
    order: list[str] = []

    async def ask_and_note(name: str, text: str) -> None:
        async with client(server.url) as c:
            await c.start()
            await c.send("text", text=text)
            heard_it = False
            while True:
                message = await c.receive(timeout_s=120)
                if isinstance(message, bytes) and not heard_it:
                    heard_it = True
                    order.append(f"{name} begins")
                elif isinstance(message, dict) and message["type"] == "response_done":
                    assert message["reason"] in ("stop", "length")
                    order.append(f"{name} ends")
                    return

    await asyncio.gather(
        ask_and_note("a", "What is the capital of France?"), ask_and_note("b", "What is the capital of Italy?")
    )
    assert sorted(order[:2]) == ["a begins", "b begins"], "neither waits for the other's end"


async def test_noise_is_not_answered(server: ServerProcess) -> None:
    async with client(server.url) as c:
        await c.start()
        noise = np.random.default_rng(0).standard_normal(32_000).astype(np.float32) * 0.02
        await c.socket.send(pcm(noise))
        await c.send("commit")
        assert (await c.next("heard"))["no_speech"] is True


async def test_an_interruption_frees_the_model(server: ServerProcess) -> None:
    async with client(server.url) as c:
        await c.start()
        await c.send("text", text="Tell me a long story about a dragon.")
        while not isinstance(await c.receive(timeout_s=120), bytes):
            pass
        await c.send("interrupt", played_ms=0)
        messages = await answer(c)
        assert [m["type"] for m in messages if isinstance(m, dict)][-2:] == ["interrupted", "response_done"]
        await c.send("text", text="What is the capital of France?")
        end = (await answer(c))[-1]
        assert isinstance(end, dict)
        assert end["reason"] == "stop"


async def test_figures_of_a_real_conversation(server: ServerProcess) -> None:
    async with httpx.AsyncClient(trust_env=False) as http:
        ready = await http.get(f"http://{server.address}/ready")
        figures = (await http.get(f"http://{server.address}/metrics")).text
    assert ready.json() == {"ready": True, "model": "smol-omni", "models": ["smol-omni"]}
    assert re.search(r'omni_answers_total\{reason="stop"\} [1-9]', figures)
    assert re.search(r"omni_first_audio_seconds_count [1-9]", figures)


async def test_sigterm_lets_the_answer_end_and_exits_with_0(server: ServerProcess) -> None:
    async with client(server.url) as c:
        await c.start()
        await c.send("text", text="What is the capital of France?")
        await c.receive(timeout_s=120)
        server.process.send_signal(signal.SIGTERM)
        end = (await answer(c))[-1]
        assert isinstance(end, dict)
        assert end["reason"] in ("stop", "interrupted")  # cut off only where the machine is too busy to end it in time
    returned = await asyncio.to_thread(server.process.wait, 30)
    assert returned == 0, "".join(server.log[-20:])


async def test_omni_1_5b_hears_and_remembers_a_name(voice: Hibari) -> None:
    """Two spoken turns with the 1.5 B language model: the answer to the second is in the first."""
    with server_process("--model", "omni-1.5b") as running:
        async with client(running.url) as c:
            ready = await c.start()
            assert ready["model"] == "omni-1.5b"
            await ask(c, say(voice, "My name is Clara, and I live in Lisbon."))
            await answer(c)
            await ask(c, say(voice, "What is my name?"))
            messages = await answer(c)
    end = messages[-1]
    assert isinstance(end, dict)
    assert "Clara" in str(end["text"])
    assert len(sound_of(list(messages))) > 24_000 * 0.03 * len(str(end["text"]))

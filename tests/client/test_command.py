"""`python -m client`, as a person types it."""

from __future__ import annotations

import json
import subprocess
import sys
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hibari import Hibari

from tests.page.live import LiveServer
from tests.page.scripted import ScriptedGenerator

WORDS = "The sea is blue and wide."
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def generator() -> ScriptedGenerator:
    tone = 0.2 * np.sin(2 * np.pi * 300 * np.arange(10 * 2048) / 24_000)
    return ScriptedGenerator(WORDS, tone.astype(np.float32), heard="Is the sea blue?")


@pytest.fixture(scope="module")
def server(generator: ScriptedGenerator) -> Iterator[LiveServer]:
    with LiveServer(generator) as running:
        yield running


def client(*arguments: object) -> tuple[int, list[dict[str, object]], str]:
    """Run the command → exit status, the JSON lines, standard error."""
    command = [sys.executable, "-m", "client", *map(str, arguments)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    return ran.returncode, [json.loads(line) for line in ran.stdout.splitlines()], ran.stderr


def test_a_stereo_44_khz_recording_is_answered_into_a_file(
    server: LiveServer, generator: ScriptedGenerator, tmp_path: Path
) -> None:
    spoken = Hibari(threads=1)("Is the sea blue?", seed=0)
    question, answer = tmp_path / "question.wav", tmp_path / "answer.wav"
    places = np.arange(0, len(spoken) - 1, 24_000 / 44_100)
    resampled = np.interp(places, np.arange(len(spoken)), spoken)
    soundfile.write(question, np.stack([resampled, resampled], axis=1), 44_100)
    status, events, _ = client(question, "--url", server.ws_url, "--out", answer)
    assert status == 0
    kinds = [event["type"] for event in events]
    assert kinds[0] == "speech_started"
    assert kinds[-1] == "response_done"
    assert {"heard", "text_delta", "audio", "text_done"} <= set(kinds)
    assert next(event["text"] for event in events if event["type"] == "heard") == "Is the sea blue?"
    assert sum(int(str(event["ms"])) for event in events if event["type"] == "audio") == pytest.approx(853, abs=10)
    with wave.open(str(answer)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (24_000, 1, 2)
        assert file.getnframes() == len(generator.sound)


def test_typed_questions_share_one_conversation(server: LiveServer, generator: ScriptedGenerator) -> None:
    wishes = ("--persona", "Be brief.", "--speed", "0.8")
    status, events, _ = client("--text", "One?", "--text", "Two?", *wishes, "--url", server.ws_url)
    assert status == 0
    assert [event["text"] for event in events if event["type"] == "text_done"] == [WORDS, WORDS]
    assert generator.requests[-1].text == "Two?"
    assert (generator.requests[-1].system_prompt, generator.requests[-1].speed) == ("Be brief.", 0.8)
    assert [turn.user for turn in generator.requests[-1].history] == ["One?"]


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (["--text", "Hello", "--url", "ws://127.0.0.1:9/ws"], 1, "no server answers"),
        (["nothing.wav"], 2, "nothing.wav cannot be read"),
        ([], 2, "give a sound file, --text, or --mic"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(arguments: list[str], status: int, sentence: str) -> None:
    got, events, told = client(*arguments)
    assert (got, events) == (status, [])
    assert sentence in told
    assert "Traceback" not in told


def test_a_model_is_chosen_by_name(generator: ScriptedGenerator) -> None:
    other = ScriptedGenerator(WORDS, generator.sound, name="omni-1.5b")
    with LiveServer(ScriptedGenerator(WORDS, generator.sound), [other]) as server:
        status, events, _ = client("--text", "Hello?", "--model", "omni-1.5b", "--url", server.ws_url)
        assert (status, events[-1]["type"]) == (0, "response_done")
        assert other.requests[-1].text == "Hello?"
        status, events, told = client("--text", "Hello?", "--model", "gpt-4o", "--url", server.ws_url)
        assert (status, events) == (1, [])
        assert "unknown_model" in told
        assert "smol-omni, omni-1.5b" in told


def test_a_missing_sounddevice_says_what_to_install(server: LiveServer, tmp_path: Path) -> None:
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')\n")
    command = [sys.executable, "-m", "client", "--mic", "--url", server.ws_url]
    ran = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False, env={"PYTHONPATH": str(tmp_path)}
    )
    assert ran.returncode == 1
    assert "pip install sounddevice" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_question_that_is_too_long_is_refused_before_it_is_sent(server: LiveServer, tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    soundfile.write(path, np.zeros(31 * 8000), 8000)
    status, events, told = client(path, "--url", server.ws_url)
    assert (status, events) == (2, [])
    assert "a question may last 30 s" in told

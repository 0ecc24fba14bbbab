"""`python -m model`: one question in, one JSON object out."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from model.__main__ import main
from model.audio import resample
from training.voices import speak

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def question(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A spoken question as a phone might record it: 44.1 kHz, two channels."""
    sound = resample(speak("hibari", "What is the capital of France?"), 16_000, 44_100)
    path = tmp_path_factory.mktemp("cli") / "question.wav"
    soundfile.write(path, np.stack([sound, 0.5 * sound], 1), 44_100, subtype="PCM_24")
    return path


def test_a_wav_in_a_wav_and_one_json_object_out(question: Path, tmp_path: Path) -> None:
    out = tmp_path / "answer.wav"
    ran = subprocess.run(
        [sys.executable, "-m", "model", question, "--out", out, "--max-tokens", "12"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    report = json.loads(ran.stdout)  # nothing else is on standard output
    assert "capital of France" in report["heard"]
    assert report["text"]
    assert report["task"] == "A1A2"
    assert report["model"] == "smol-omni"
    assert report["text_tokens"] <= 12
    info = soundfile.info(out)
    assert (info.samplerate, info.channels, info.subtype) == (24_000, 1, "PCM_16")
    assert info.frames == report["frames"] * 2048
    assert report["seconds"] == pytest.approx(info.frames / 24_000, abs=1e-3)
    assert report["out"] == str(out)
    assert 0 < report["first_audio_seconds"] <= report["answering_seconds"]
    assert report["real_time_factor"] == pytest.approx(report["answering_seconds"] / report["seconds"], abs=0.01)
    samples, _ = soundfile.read(out)
    assert np.abs(samples).max() > 0.05


def test_text_in_text_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--text", "What is the capital of France?", "--task", "T1T2", "--max-tokens", "20"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert "Paris" in report["text"]
    assert report["heard"] is None
    assert report["question_seconds"] is None
    assert (report["seconds"], report["frames"], report["real_time_factor"], report["out"]) == (0, 0, None, None)


def test_a_text_is_said_word_for_word(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "said.wav"
    assert main(["--say", "Dinner is ready.", "--out", str(out)]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["text"], report["text_tokens"], report["reason"]) == ("Dinner is ready.", 0, "stop")
    assert main([str(out), "--task", "A1T1"]) == 0
    assert json.loads(capsys.readouterr().out)["heard"] == "Dinner is ready."


def test_a_question_is_written_down(question: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(question), "--task", "A1T1"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["heard"] == report["text"] == "What is the capital of France?"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give one question"),
        (["question.wav", "--text", "Hello"], "give one question"),
        (["gone.wav"], "no such file"),
        (["README.md"], "README.md"),
        (["--text", "Hello", "--task", "A1A2"], "needs a WAV file"),
        (["x.wav", "--task", "T1A2"], "needs --text"),
        (["--text", "Hello", "--task", "T1T2", "--out", "a.wav"], "nothing for --out"),
        (["--text", "Hello", "--out", "no/such/folder/a.wav"], "does not exist"),
        (["--text", " "], "not empty"),
        (["--text", "Hello", "--say", "Hello"], "give one question"),
        (["--say", "Hello", "--task", "T1T2"], "leave --task out"),
        (["--say", "..."], "no word"),
        (["--say", "Hello", "--speed", "9"], "0.5 to 1.25"),
        (["--text", "Hello", "--model", "no/such/folder"], "no such folder"),
        (["--text", "Hello", "--temperature", "-1"], "temperature"),
        (["--text", "Hello", "--max-tokens", "0"], "above 0"),
        (["--text", "Hello", "--threads", "0"], "at least 1"),
        (["--text", "Hello", "--device", "abacus"], "abacus"),
    ],
)
def test_what_cannot_be_used_is_said(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert "Traceback" not in captured.err
    assert captured.out == ""


def test_a_question_that_is_too_long_is_refused_before_the_model_opens(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "long.wav"
    soundfile.write(path, np.zeros(31 * 8000), 8000)
    assert main([str(path)]) == 2
    assert "31.0 s" in capsys.readouterr().err


def test_unknown_tasks_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--text", "Hello", "--task", "A2A1"])
    assert stopped.value.code == 2
    assert "A1T2" in capsys.readouterr().err

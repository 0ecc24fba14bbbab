"""Every example runs as examples/README.md says, and prints what it says."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import pytest

from model.ears import Ears
from tests.realtime_clients.harness import ROOT, read_wav, run

EXAMPLES = ROOT / "examples"
README = (EXAMPLES / "README.md").read_text()
COMMANDS = re.findall(r"^(?:python|node) (examples/.+)$", README, re.MULTILINE)
PRINTED = README.split("## What they print\n```\n")[1].split("```")[0]
TYPED = [command for command in COMMANDS if "openai_" in command]


def start(command: str, answer: Path, url: str, question: str | None = None) -> str:
    program, *arguments = shlex.split(command)
    environment = {**os.environ, "OPENAI_BASE_URL": f"{url}/v1"}
    return run(ROOT / program, question or arguments[0], str(answer), environment=environment)


def test_each_example_is_documented_and_fits_a_screen() -> None:
    programs = sorted(path for path in EXAMPLES.iterdir() if path.suffix in (".py", ".mjs"))
    assert sorted(command.split()[0] for command in COMMANDS) == [str(path.relative_to(ROOT)) for path in programs]
    assert {path.name: count for path in programs if (count := len(path.read_text().splitlines())) > 60} == {}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_spoken_question(command: str, url: str, ears: Ears, tmp_path: Path) -> None:
    assert start(command, tmp_path / "answer.wav", url) == PRINTED
    assert "paris" in ears.hear(read_wav(tmp_path / "answer.wav")).text.lower()


@pytest.mark.parametrize("command", TYPED)
def test_a_typed_question(command: str, url: str, ears: Ears, tmp_path: Path) -> None:
    printed = start(command, tmp_path / "answer.wav", url, "Name the capital of France.")
    assert re.search(r"^said:  .*Paris", printed, re.MULTILINE)
    assert "paris" in ears.hear(read_wav(tmp_path / "answer.wav")).text.lower()

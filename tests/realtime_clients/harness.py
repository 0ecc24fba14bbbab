"""Starts the clients of others: each is a program of its own environment, and reports what its user was told."""

from __future__ import annotations

import json
import shutil
import subprocess
import wave
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soxr

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PYTHON = ROOT / ".venv-clients" / "bin" / "python"
CLIENTS = (
    "openai_python.py",
    "openai_agents.py",
    "pipecat_bot.py",
    "livekit.py",
    "openai_node.mjs",
    "openai_agents.mjs",
)
"""Drivers, in drivers/."""
TIMEOUT_S = 570
"""Of one program, on a machine that does other things as well."""


@dataclass(frozen=True)
class Turn:
    """An answer as a client told it to its user."""

    said: str
    heard: str | None
    cut: bool
    sound: np.ndarray
    """(n,) float32, 16 kHz."""


@dataclass(frozen=True)
class Scenario:
    """What came of one conversation."""

    turns: list[Turn]
    errors: list[str]
    remembered: str
    """What the server keeps of an answer that was cut."""


def read_wav(path: Path) -> np.ndarray:
    """(n,) float32, 16 kHz, of a WAV file of PCM16."""
    with wave.open(str(path)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32) / 32768
        resampled: np.ndarray = soxr.resample(samples, file.getframerate(), 16_000)
    return resampled


def need(program: str) -> None:
    """Skip where this program's language or its packages are missing."""
    if program.endswith(".py"):
        if not PYTHON.exists():
            pytest.skip("the clients' environment is missing; run: make clients")
    elif not shutil.which("node"):
        pytest.skip("node is missing; on Debian: apt-get install nodejs npm")
    elif not (ROOT / "node_modules").exists():
        pytest.skip("Node's clients are missing; run: make clients")


def run(program: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> str:
    """Run a client's program → what it printed. Skips where its language or packages are missing."""
    need(program.name)
    if program.suffix == ".py" and program.is_relative_to(HERE):
        start = [str(PYTHON), "-m", ".".join(program.relative_to(ROOT).with_suffix("").parts)]
    else:
        start = [str(PYTHON) if program.suffix == ".py" else "node", str(program)]
    done = subprocess.run(
        [*start, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    assert done.returncode == 0, (
        f"{program.name} ended with {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    )
    return done.stdout


def converse(driver: str, url: str, sounds: Path, out: Path) -> dict[str, Scenario | str]:
    """Every scenario of a driver → what came of it; a text: how it failed."""
    run(HERE / "drivers" / driver, url, str(sounds), str(out))
    report: dict[str, dict[str, Any]] = json.loads((out / "report.json").read_text())
    return {name: told.get("failure") or _scenario(told, out) for name, told in report.items()}


def _scenario(told: dict[str, Any], out: Path) -> Scenario:
    turns = [Turn(turn["said"], turn["heard"], turn["cut"], read_wav(out / turn["sound"])) for turn in told["turns"]]
    return Scenario(turns, told["errors"], told.get("remembered", ""))

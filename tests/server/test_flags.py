"""The server's command line: every setting is told, with its unit, its range and its default."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from server.flags import default_of, groups, parse, range_of
from server.settings import GROUPS, Settings

ROOT = Path(__file__).parents[2]
UNITS = {"_ms": "ms", "_s": "second", "_bytes": "bytes", "_tokens": "tokens", "_characters": "characters"}


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        parse(arguments)
    assert ended.value.code == 0
    return re.sub(r"\s+", " ", capsys.readouterr().out)


def test_help_lists_every_setting_in_its_group_with_default_and_range(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, "--help")
    for title, members in groups().items():
        section = text[text.index(f" {title}: ") :]
        for name in members:
            field = Settings.model_fields[name]
            assert f"--{name.replace('_', '-')}" in section
            told = f"{field.description} (default: {default_of(name)}"
            assert f"{told}; {range_of(name)})" in section or (not range_of(name) and f"{told})" in section), name
    assert list(groups()) == list(GROUPS.values())
    assert sum(map(len, groups().values())) == len(Settings.model_fields)


@pytest.mark.parametrize("name", [n for n in Settings.model_fields if n.endswith(tuple(UNITS))])
def test_descriptions_name_the_unit(name: str) -> None:
    unit = next(unit for end, unit in UNITS.items() if name.endswith(end))
    assert unit in (Settings.model_fields[name].description or "")


def test_defaults_and_ranges_are_words() -> None:
    assert [default_of(name) for name in ("port", "max_answer_s", "speculate", "log_text", "system_prompt")] == [
        "8000", "40", "on", "off", "none",
    ]  # fmt: skip
    assert range_of("end_silence_ms") == "200 to 3000"
    assert range_of("speech_threshold") == "above 0, below 1"
    assert range_of("host") == ""


@pytest.mark.parametrize("command", ["server", "client", "model"])
def test_every_command_tells_the_version_of_pyproject(command: str) -> None:
    told = subprocess.run(
        [sys.executable, "-m", command, "--version"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert told.stdout.split() == ["mini-omni", wanted]

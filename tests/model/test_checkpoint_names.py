"""Which model `auto` is, and what names stand for."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch

from model import checkpoint_names
from model.checkpoint import CheckpointError, find, read_config
from model.checkpoint_names import CHECKPOINTS, choose, packed_path
from model.settings import default_cache_dir, default_model
from model.weights.qwen_coder import QWEN_CODER_1_5B
from model.weights.sources import GgufSource
from server.settings import Settings

GB = 10**9


@pytest.mark.parametrize(
    ("available", "installed", "packed", "dtype", "chosen", "why"),
    [
        (8 * GB, True, False, "auto", "omni-1.5b", "its weights are on this machine"),
        (8 * GB, False, True, "int8", "omni-1.5b", "its weights are on this machine"),
        (None, True, False, "auto", "omni-1.5b", "its weights are on this machine"),
        (8 * GB, False, False, "auto", "smol-omni", "make setup"),
        (2 * GB, True, True, "auto", "smol-omni", "needs 3.0 GB of memory, and 2.0 GB are available"),
        (8 * GB, True, True, torch.float32, "smol-omni", "needs 10.0 GB"),
        (8 * GB, True, True, "bfloat16", "omni-1.5b", "memory is enough"),
    ],
)
def test_auto_takes_the_large_model_where_it_is_and_fits(
    available: int | None, installed: bool, packed: bool, dtype: object, chosen: str, why: str,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.setattr(checkpoint_names, "available_bytes", lambda: available)
    monkeypatch.setattr(GgufSource, "present", property(lambda _: installed))
    if packed:
        packed_path(tmp_path, QWEN_CODER_1_5B.name).write_bytes(b"")
    with caplog.at_level(logging.INFO):
        assert choose("auto", tmp_path, dtype) == chosen
    (record,) = caplog.records
    assert why in record.getMessage()


def test_other_names_are_as_they_are(caplog: pytest.LogCaptureFixture) -> None:
    for name in ("omni-1.5b", "smol-omni", "some/folder", "model.gguf"):
        assert choose(name) == name
    assert not caplog.records


def test_the_default_is_auto_unless_the_environment_names_another(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose(None) == default_model() == Settings(_env_file=None).model == "smol-omni", "as tests/conftest.py says"
    monkeypatch.setenv("OMNI_MODEL", " ")
    assert default_model() == Settings(_env_file=None).model == "auto"
    monkeypatch.delenv("OMNI_MODEL")
    assert default_model() == Settings(_env_file=None).model == "auto"


def test_packed_weights_lie_in_the_users_cache_unless_the_environment_names_another(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OMNI_CACHE_DIR", str(tmp_path / "own"))
    assert default_cache_dir() == Settings(_env_file=None).cache_dir == tmp_path / "own"
    monkeypatch.delenv("OMNI_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_cache_dir() == tmp_path / "xdg" / "mini-omni"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert default_cache_dir() == tmp_path / "home" / ".cache" / "mini-omni"


def test_names_stand_for_the_packages_checkpoints(tmp_path: Path) -> None:
    assert find("smol-omni") == CHECKPOINTS / "smol-omni"
    large, small = read_config(find("omni-1.5b")), read_config(find("smol-omni"))
    assert (large.tts_adapter, large.mouth, large.ears) == (small.tts_adapter, small.mouth, small.ears)
    assert large.body["hidden_size"] == 1536
    with pytest.raises(CheckpointError, match="no such file"):
        find(tmp_path / "missing.gguf")
    with pytest.raises(CheckpointError, match=r"nor one of auto, omni-1[.]5b, smol-omni"):
        find("omni-7b")

"""A trained voice is written into a model that is there, whose body stays its own."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from model.checkpoint import EMBEDDED, read_config
from model.config import OmniConfig
from model.vocabulary import Vocabulary
from tests.training import tiny
from training import export
from training.resume import resume


def test_a_voice_goes_into_a_grafted_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resume(EMBEDDED, tmp_path)
    grafted = OmniConfig(
        body=tiny.BODY,
        audio_route="tts_adapter",
        vocabulary=Vocabulary(text=40, text_specials=0, codes=0, code_specials=0),
        ears="whisper-base",
    )
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text(json.dumps(grafted.to_dict()))
    (tmp_path / "model" / "tokenizer.json").write_text("its own")
    parts = {"--adapter": "adapter.pt", "--spelling": "spelling.pt", "--codec": "mouth.pt", "--out": "model"}
    monkeypatch.setattr(sys, "argv", ["export", *(s for n, f in parts.items() for s in (n, str(tmp_path / f)))])
    export.main()
    config = read_config(tmp_path / "model")
    assert config.body == grafted.body
    assert config.tts_adapter == read_config(EMBEDDED).tts_adapter
    assert config.mouth == read_config(EMBEDDED).mouth
    assert (tmp_path / "model" / "tokenizer.json").read_text() == "its own"
    for name in ("tts_adapter", "mouth"):
        ours, theirs = (load_file(folder / f"{name}.safetensors") for folder in (tmp_path / "model", EMBEDDED))
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)

"""Checkpoints around GGUF files: packed once, opened without the file's reader, and equal to the reference."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from model import checkpoint_language
from model.checkpoint import EMBEDDED, CheckpointError, Precision, open_language, open_model, prepare, read_config, save
from model.checkpoint_language import gguf_body
from model.network import OmniNetwork
from model.omni import MiniOmni
from model.request import Done, Request
from model.vocabulary import Task
from tests.model.weights.gguf_files import CHATML, LLAMA3, Shape, write
from training.gguf_body import causal_model, open_gguf

QUICK = Precision.of("int8", torch.device("cpu"))
FACTORS = (1.0, 1.0, 1.2, 2.0, 4.0, 8.0, 8.0, 8.0)
RUN = {
    "llama": Shape("llama", LLAMA3, ("Q8_0",), rope_factors=FACTORS),
    "chatml": Shape("llama", CHATML, ("Q4_1",)),
}
"""Shapes that the kernels take as they are."""


def language(path: Path, precision: Precision, cache: Path) -> tuple[Any, OmniNetwork, Any]:
    config, network, tokenizer = open_language(path, read_config(path), precision, cache)
    return config, network.eval(), tokenizer


@torch.inference_mode()
def logits(network: OmniNetwork, ids: torch.Tensor) -> torch.Tensor:
    cache = network.new_cache(1, ids.shape[1])
    return network.text_logits(network(network.embed(ids), torch.arange(ids.shape[1])[None], torch.tensor([0]), cache))


@pytest.mark.parametrize("name", RUN)
def test_a_packed_file_computes_what_the_reference_does(name: str, tmp_path: Path) -> None:
    path, ids = write(tmp_path / "model.gguf", RUN[name]), torch.arange(40)[None]
    _, exact, _ = language(path, Precision.of(torch.float32, torch.device("cpu")), tmp_path)
    config, quick, tokenizer = language(path, QUICK, tmp_path)
    with torch.inference_mode():
        reference = causal_model(open_gguf(path))(ids).logits
    exact.train()  # ends are told apart
    torch.testing.assert_close(logits(exact, ids), reference, atol=1e-4, rtol=1e-4)
    quick.train()
    torch.testing.assert_close(logits(quick, ids), reference, atol=2e-2, rtol=2e-2)
    assert len(config.ends) == 2
    assert (config.chat is None) == (name == "chatml")
    assert tokenizer.encode("ab").ids


def test_a_later_start_needs_only_the_packed_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "model.gguf", RUN["llama"])
    first = language(path, QUICK, tmp_path)
    monkeypatch.setattr(checkpoint_language, "LanguageModel", None)  # who asks for the file breaks
    again = language(path, QUICK, tmp_path)
    assert (again[0], again[2].to_str()) == (first[0], first[2].to_str())
    ids = torch.arange(20)[None]
    torch.testing.assert_close(logits(again[1], ids), logits(first[1], ids), atol=0, rtol=0)


def test_another_content_or_layout_is_packed_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "model.gguf", Shape("llama", kinds=("Q8_0",)))
    assert language(path, QUICK, tmp_path)[0].body["intermediate_size"] == 96
    write(path, Shape("llama", kinds=("Q8_0",), inner=128))
    assert language(path, QUICK, tmp_path)[0].body["intermediate_size"] == 128
    (packed,) = tmp_path.glob("*.packed")
    before = packed.stat().st_ino
    language(path, QUICK, tmp_path)
    assert packed.stat().st_ino == before
    monkeypatch.setattr(OmniNetwork, "packed_layout", "another")
    language(path, QUICK, tmp_path)
    assert packed.stat().st_ino != before
    assert list(tmp_path.glob("*.packed")) == [packed]


def test_smol_omni_packed_is_what_it_was(embedded: MiniOmni, tmp_path: Path) -> None:
    _, quick, tokenizer = language(EMBEDDED, QUICK, tmp_path)
    ids = torch.tensor([tokenizer.encode("The capital of France is").ids])
    wanted, found = logits(embedded.network, ids), logits(quick, ids)
    assert found.argmax(-1).tolist() == wanted.argmax(-1).tolist()
    torch.testing.assert_close(found, wanted, atol=2e-2, rtol=1e-2)


def test_a_gguf_file_is_a_model_that_speaks_and_judges_turns(tmp_path: Path) -> None:
    """The language model is nonsense, the parts around it are smol-omni's."""
    omni = open_model(write(tmp_path / "model.gguf", RUN["llama"]), torch.device("cpu"), "auto", tmp_path)
    assert omni.ears is not None
    assert omni.turn_end is not None
    assert omni.turn_end.network is not omni.network
    events = list(omni.generate(Request(text="ab", task=Task.T1A2, max_tokens=6, max_seconds=2)))
    assert isinstance(events[-1], Done)
    with pytest.raises(CheckpointError, match="parts of another checkpoint"):
        save(omni, tmp_path / "saved")


def test_preparing_packs_the_judges_language_model_too(tmp_path: Path) -> None:
    path = write(tmp_path / "model.gguf", Shape("llama"))
    assert prepare(str(path), tmp_path) == str(path)
    assert sorted(file.name.split("-")[0] for file in tmp_path.glob("*.packed")) == ["SmolLM2", "model"]


def test_a_config_of_another_model_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint"
    shutil.copytree(EMBEDDED, folder)
    text = (folder / "config.json").read_text()
    (folder / "config.json").write_text(text.replace('"num_hidden_layers": 30', '"num_hidden_layers": 29'))
    with pytest.raises(CheckpointError, match=r"config.json says body .*29.* SmolLM2-135M-Instruct is .*30"):
        language(folder, QUICK, tmp_path)


def test_weights_that_are_nowhere_are_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"body.gguf is missing; .* SmolLM2-135M-Instruct"):
        gguf_body("body.gguf", tmp_path)

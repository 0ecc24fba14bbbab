"""Checkpoints: both layouts, there and back, and what is said of files that are wrong."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from snac import SNAC
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from whisper.model import ModelDimensions, Whisper

from model.checkpoint import EMBEDDED, CheckpointError, convert, open_model
from model.config import OmniConfig
from model.network import OmniNetwork
from model.omni import MiniOmni
from model.public_layout import from_public, public_shapes
from model.request import AudioChunk, Done, InvalidRequest, Request
from model.sampling import SamplingParams
from model.snac_mouth import SNAC_24KHZ
from model.vocabulary import Task
from tests.model import golden as reference

FULL_SIZE = {
    "n_layer": 24, "n_head": 14, "n_query_groups": 2, "n_embd": 896, "intermediate_size": 4864, "norm_eps": 1e-6,
    "rope_base": 1_000_000, "add_qkv_bias": True, "block_size": 2048, "whisper_adapter_dim": 768,
}  # fmt: skip
SMALL = {**FULL_SIZE, "n_layer": 2, "n_head": 4, "n_embd": 32, "intermediate_size": 48, "whisper_adapter_dim": 48}


def write_public(folder: Path, fields: dict[str, Any]) -> None:
    """A checkpoint exactly as the published one is laid out, on seeded weights and small ears and mouth."""
    folder.mkdir()
    (folder / "model_config.yaml").write_text(yaml.safe_dump({**fields, "asr_adapter": "llamamlp"}))
    torch.save(reference.seeded(public_shapes(OmniConfig.from_public(fields)), 3), folder / "lit_model.pth")
    words = {f"w{n}": n for n in range(2000)} | {"[unk]": 2000}
    tokenizer = Tokenizer(WordLevel(words, unk_token="[unk]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    torch.manual_seed(0)
    dims = ModelDimensions(80, 1500, 48, 2, 1, 64, 16, 48, 2, 1)
    whisper = Whisper(dims)
    state = {key: tensor.half() for key, tensor in whisper.state_dict().items()}
    torch.save({"dims": vars(dims), "model_state_dict": state}, folder / "small.pt")
    (folder / "snac_24khz").mkdir()
    shape = {**SNAC_24KHZ, "encoder_dim": 4, "decoder_dim": 64}
    (folder / "snac_24khz" / "config.json").write_text(json.dumps(shape))
    torch.save(SNAC(**shape).state_dict(), folder / "snac_24khz" / "pytorch_model.bin")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published") / "plain"
    write_public(folder, SMALL)
    return folder


@pytest.fixture(scope="module")
def with_post_adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published") / "post"
    write_public(folder, {**SMALL, "post_adapter": True, "post_adapter_layers": 2})
    return folder


def opened(folder: Path) -> MiniOmni:
    return open_model(folder, torch.device("cpu"), torch.float32)


def test_a_spoken_question_is_answered_from_the_published_layout(plain: Path) -> None:
    omni = opened(plain)
    sound = np.sin(np.arange(16_000) / 9).astype(np.float32) * 0.3
    assert omni.features is not None
    assert omni.features(sound).shape == (1, 51, 48)
    sampling = SamplingParams(temperature=1.0, top_k=40, seed=5)
    events = list(omni.generate(Request(audio=sound, sampling=sampling, max_tokens=8, max_seconds=1.2)))
    done = events[-1]
    assert isinstance(done, Done)
    assert done.frames == sum(len(e.samples) for e in events if isinstance(e, AudioChunk)) // 2048
    assert done.frames == 14
    *_, written = omni.generate(Request(text="w5 w17", task=Task.T1T2, sampling=sampling, max_tokens=8))
    assert isinstance(written, Done)
    assert written.text_tokens == 8


@pytest.mark.parametrize("which", ["plain", "with_post_adapter"])
def test_converts_both_ways_bit_for_bit(which: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    source: Path = request.getfixturevalue(which)
    convert(source, tmp_path / "ours")
    convert(tmp_path / "ours", tmp_path / "theirs")
    before = torch.load(source / "lit_model.pth", weights_only=True)
    after = torch.load(tmp_path / "theirs" / "lit_model.pth", weights_only=True)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    left, right = (OmniConfig.from_public(yaml.safe_load((f / "model_config.yaml").read_text()))
                   for f in (source, tmp_path / "theirs"))  # fmt: skip
    assert left == right

    features = torch.randn(1, 9, 48, generator=torch.Generator().manual_seed(1))
    said = [opened(f).generate_tokens(Task.A1A2, features, max_steps=12) for f in (source, tmp_path / "ours")]
    assert torch.equal(said[0].audio, said[1].audio)
    assert torch.equal(said[0].text, said[1].text)


def test_the_post_adapter_reads_the_body_before_its_norm(with_post_adapter: Path) -> None:
    """Against the plain way: body, then the adapter's blocks over its unnormed states, no cache."""
    omni = opened(with_post_adapter)
    network = omni.network
    embedded = torch.randn(1, 7, 32, generator=torch.Generator().manual_seed(2))
    positions = torch.arange(7)[None]
    with torch.inference_mode():
        hidden = network(embedded, positions, torch.tensor([0]), network.new_cache(1, 16))
        norm = network.body.norm
        network.body.norm = torch.nn.Identity()
        unnormed = network.body(inputs_embeds=embedded, position_ids=positions).last_hidden_state
        network.body.norm = norm
        assert network.post_adapter is not None
        spoken = network.post_adapter.body(inputs_embeds=unnormed, position_ids=positions).last_hidden_state
        torch.testing.assert_close(network.audio_logits(hidden).flatten(-2), network.post_adapter.head(spoken))
        torch.testing.assert_close(network.text_logits(hidden), network.text_logits(norm(unnormed)))


def test_the_full_size_has_the_published_shapes() -> None:
    config = OmniConfig.from_public(FULL_SIZE)
    with torch.device("meta"):
        network = OmniNetwork(config)
        state = {key: torch.empty(shape) for key, shape in public_shapes(config).items()}
    ours = from_public(state, config)
    assert {key: t.shape for key, t in ours.items()} == {key: t.shape for key, t in network.state_dict().items()}
    assert sum(t.numel() for t in state.values()) == 2 * 181_120 * 896 + 357_898_112 + 2 * 768 * 4864 + 4864 * 896


Damage = Callable[[Path], None]


def edit_weights(change: Callable[[dict[str, torch.Tensor]], None]) -> Damage:
    def damage(folder: Path) -> None:
        state = torch.load(folder / "lit_model.pth", weights_only=True)
        change(state)
        torch.save(state, folder / "lit_model.pth")

    return damage


class Harmful:
    """What a pickle could run."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("code was run",))


def truncate(folder: Path) -> None:
    data = (folder / "lit_model.pth").read_bytes()
    (folder / "lit_model.pth").write_bytes(data[: len(data) // 2])


KEY = "transformer.h.1.mlp.fc_1.weight"


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (edit_weights(lambda s: s.pop(KEY)), [KEY, "missing", "(48, 32)", "lit_model.pth"]),  # type: ignore[arg-type,return-value]
        (edit_weights(lambda s: s.update({KEY: torch.zeros(5, 32)})), [KEY, "(5, 32)", "(48, 32)"]),
        (edit_weights(lambda s: s.update(extra=torch.zeros(1))), ["'extra'", "unknown"]),
        (truncate, ["lit_model.pth", "damaged", "fetch it again"]),
        (lambda f: (f / "lit_model.pth").unlink(), ["lit_model.pth", "missing"]),
        (lambda f: (f / "lit_model.pth").write_bytes(pickle.dumps({"a": Harmful()})), ["lit_model.pth"]),
        (lambda f: torch.save({"a": Harmful()}, f / "lit_model.pth"), ["more than tensors"]),
        (lambda f: (f / "model_config.yaml").write_text("n_embd: 32"), ["n_head", "missing"]),
        (lambda f: (f / "model_config.yaml").unlink(), ["neither config.json"]),
    ],
)  # fmt: skip
def test_a_wrong_file_is_named_with_what_to_do(
    plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: Damage, words: list[str]
) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(plain, folder)
    damage(folder)
    with pytest.raises(CheckpointError) as caught:
        opened(folder)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert "code was run" not in capsys.readouterr().out


def test_a_damaged_embedded_part_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "embedded"
    shutil.copytree(EMBEDDED, folder)
    state = load_file(folder / "mouth.safetensors")
    state["decoder.norm.weight"] = torch.zeros(3)
    save_file(state, folder / "mouth.safetensors")
    with pytest.raises(CheckpointError, match=r"mouth.safetensors.*decoder.norm.weight.*\(3,\).*\(256,\)"):
        opened(folder)


def test_what_is_neither_folder_nor_id_is_refused() -> None:
    with pytest.raises(CheckpointError, match="no such folder"):
        open_model("/nowhere/at/all", torch.device("cpu"), "auto")


def test_parts_that_lack_are_named_when_they_are_needed(public: MiniOmni) -> None:
    with pytest.raises(InvalidRequest, match="without a tokenizer"):
        public.encode_text("hello")
    with pytest.raises(InvalidRequest, match="without a mouth"):
        list(public.generate(Request(text="hello")))
    with pytest.raises(InvalidRequest, match="without ears"):
        list(public.generate(Request(audio=np.zeros(800, np.float32), task=Task.A1T2)))

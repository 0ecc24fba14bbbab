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

from model.checkpoint import EMBEDDED, CheckpointError, build_network, convert, model_name, open_model, save
from model.checkpoint_files import fill
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


def test_the_full_size_runs_on_seeded_weights() -> None:
    """All 1.0 G weights in bfloat16: a spoken question's prompt and the first tokens of its answer."""
    config = OmniConfig.from_public(FULL_SIZE)
    noise = torch.randn(1 << 20, generator=torch.Generator().manual_seed(0)).bfloat16()

    def seeded(shape: tuple[int, ...]) -> torch.Tensor:
        count = int(np.prod(shape))
        drawn = noise.repeat(-(-count // len(noise)))[:count].view(shape)
        return drawn * shape[-1] ** -0.5 if len(shape) > 1 else 1 + 0.1 * drawn

    network = build_network(config, torch.bfloat16)
    state = {key: seeded(shape) for key, shape in public_shapes(config).items()}
    fill(network, from_public(state, config), Path("seeded"), torch.bfloat16)
    features = torch.randn(1, 5, 768, generator=torch.Generator().manual_seed(1)).bfloat16()
    said = MiniOmni(config, network).generate_tokens(Task.A1A2, features, max_steps=3)
    assert said.audio.shape == (7, 3)
    assert int(said.audio.max()) < 4160
    assert len(said.text) == 3


def test_golden_weights_come_through_files_whole(tmp_path: Path) -> None:
    """From files in the published layout, then in ours, the tokens that the published code gives."""
    golden = reference.load()
    published = tmp_path / "published"
    published.mkdir()
    (published / "model_config.yaml").write_text(yaml.safe_dump(reference.fields(golden)))
    torch.save(reference.weights(golden), published / "lit_model.pth")
    convert(published, tmp_path / "ours")
    wanted = golden["tokens_A1A2_batch"]
    for folder in (published, tmp_path / "ours"):
        said = opened(folder).generate_tokens(Task.A1A2, torch.from_numpy(golden["audio_features"]))
        assert said.audio.tolist() == wanted[:7].tolist()
        assert said.text.tolist() == wanted[7].tolist()


def test_tied_weights_may_come_under_both_names(tmp_path: Path) -> None:
    fields = {**SMALL, "tie_word_embeddings": True}
    config = OmniConfig.from_public(fields)
    published = tmp_path / "published"
    published.mkdir()
    (published / "model_config.yaml").write_text(yaml.safe_dump(fields))
    state = reference.seeded(public_shapes(config), 3)
    state["lm_head.weight"] = state["transformer.wte.weight"]
    torch.save(state, published / "lit_model.pth")
    convert(published, tmp_path / "ours")
    convert(tmp_path / "ours", tmp_path / "theirs")
    after = torch.load(tmp_path / "theirs" / "lit_model.pth", weights_only=True)
    assert after.keys() == state.keys()
    assert all(torch.equal(after[key], state[key]) for key in state)
    state["lm_head.weight"] = state["transformer.wte.weight"] + 1
    torch.save(state, published / "lit_model.pth")
    with pytest.raises(CheckpointError, match=r"lm_head.weight.*tied"):
        opened(published)


def test_what_is_saved_is_opened_again(plain: Path, tmp_path: Path) -> None:
    omni = opened(plain)
    save(omni, tmp_path / "saved")
    again = opened(tmp_path / "saved").network.state_dict()
    assert all(torch.equal(again[key], tensor) for key, tensor in omni.network.state_dict().items())
    with pytest.raises(CheckpointError, match="quick format"):
        save(open_model(plain, torch.device("cpu"), "bfloat16"), tmp_path / "quick")


def test_the_embedded_model_saves_its_trained_parts(tmp_path: Path) -> None:
    save(opened(EMBEDDED), tmp_path / "saved")
    for name in ("tts_adapter.safetensors", "mouth.safetensors"):
        before, after = load_file(EMBEDDED / name), load_file(tmp_path / "saved" / name)
        assert before.keys() == after.keys()
        assert all(torch.equal(before[key], after[key]) for key in before)
    assert not (tmp_path / "saved" / "network.safetensors").exists(), "the body comes in a wheel"


def test_a_model_is_called_by_its_folder_or_hub_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "link").symlink_to(EMBEDDED)
    monkeypatch.chdir(EMBEDDED)
    found = {None: EMBEDDED, "gpt-omni/mini-omni": tmp_path / "snapshot"}
    given = (None, "auto", EMBEDDED, ".", f"{tmp_path}/link/", "gpt-omni/mini-omni", tmp_path / "tiny.gguf")
    names = [model_name(one, found.get(one, EMBEDDED if one == "auto" else Path(one or ""))) for one in given]
    assert names == ["smol-omni", "smol-omni", "smol-omni", "smol-omni", "link", "gpt-omni/mini-omni", "tiny"]


def test_a_hub_id_is_found_in_the_hubs_cache(plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "models--someone--omni"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text("0" * 40)
    shutil.copytree(plain, place / "snapshots" / ("0" * 40))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    omni = open_model("someone/omni", torch.device("cpu"), torch.float32)
    assert omni.tokenizer is not None
    with pytest.raises(CheckpointError, match="the hub does not give it"):
        open_model("someone/else", torch.device("cpu"), torch.float32)


def test_a_config_beside_the_published_files_changes_nothing(plain: Path, tmp_path: Path) -> None:
    folder = tmp_path / "hub"
    shutil.copytree(plain, folder)
    (folder / "config.json").write_text('{"model_type": "mini-omni"}')
    assert opened(folder).config == opened(plain).config


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "not JSON"), ('{"audio_route": "body"}', "body"), ('{"body": {}, "depth": 3}', "depth"), ("[]", "list")],
)
def test_a_wrong_own_config_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match=rf"config.json.*{message}"):
        opened(tmp_path)


def test_converting_says_what_cannot_be_done(plain: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no place"):
        convert(EMBEDDED, tmp_path / "x")
    with pytest.raises(CheckpointError, match="source itself"):
        convert(plain, plain)


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


def reshape_snac(folder: Path) -> None:
    path = folder / "snac_24khz" / "pytorch_model.bin"
    state = torch.load(path, weights_only=True)
    state["decoder.model.0.bias"] = torch.zeros(3)
    torch.save(state, path)


def other_strides(folder: Path) -> None:
    path = folder / "snac_24khz" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "vq_strides": [8, 4, 2, 1]}))


def other_ears(folder: Path) -> None:
    saved = torch.load(folder / "small.pt", weights_only=True)
    saved["dims"]["n_audio_layer"] = 3
    torch.save(saved, folder / "small.pt")


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
        (lambda f: (f / "model_config.yaml").write_text("[1, 2]"), ["model_config.yaml", "list"]),
        (lambda f: (f / "model_config.yaml").write_text("{a"), ["model_config.yaml", "not YAML"]),
        (lambda f: (f / "model_config.yaml").write_text("n_embd: wide"), ["model_config.yaml", "wide"]),
        (lambda f: (f / "model_config.yaml").unlink(), ["neither config.json"]),
        (lambda f: (f / "tokenizer.json").write_text("{}"), ["tokenizer.json", "fetch it again"]),
        (lambda f: (f / "small.pt").write_bytes(b"PK"), ["small.pt", "fetch it again"]),
        (lambda f: torch.save({}, f / "small.pt"), ["small.pt", "dims"]),
        (other_ears, ["small.pt", "blocks.1", "missing"]),
        (reshape_snac, ["pytorch_model.bin", "decoder.model.0.bias", "(3,)", "(64,)"]),
        (other_strides, ["config.json", "(8, 4, 2, 1)", "wanted", "(4, 2, 1)"]),
        (lambda f: (f / "snac_24khz" / "pytorch_model.bin").unlink(), ["pytorch_model.bin", "missing"]),
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

"""A whole decoder as one compiled call computes what its layers compute, for any number of positions and threads."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import gguf
import numpy as np
import pytest
import torch

from model.config import OmniConfig
from model.kernels.block_quantized import BlockMatrix
from model.lm.decoder_kernel import DecoderKernel
from model.lm.decoder_weights import DecoderWeights, rotary_frequencies
from model.network import OmniNetwork
from model.vocabulary import Vocabulary
from model.weights.gguf import GgufTensor

WORDS = 64


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def config_of(family: str, width: int, heads: int, groups: int, tied: bool = True, inner: int = 104) -> OmniConfig:
    fields = {
        "model_type": family, "hidden_size": width, "intermediate_size": inner, "num_hidden_layers": 3,
        "num_attention_heads": heads, "num_key_value_heads": groups, "head_dim": 32, "max_position_embeddings": 64,
        "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
    }  # fmt: skip
    return OmniConfig(
        body=fields,
        audio_route="tts_adapter",
        vocabulary=Vocabulary(text=WORDS, text_specials=0, codes=0, code_specials=0),
        tied=tied,
    )


def seeded_network(config: OmniConfig, biased: bool) -> OmniNetwork:
    torch.manual_seed(0)
    network = OmniNetwork(config).eval()
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter) if biased else torch.nn.init.zeros_(parameter)
        elif "norm" in name:
            torch.nn.init.uniform_(parameter, 0.5, 1.5)
    return network


def conversation(network: OmniNetwork) -> tuple[torch.Tensor, torch.Tensor]:
    """Prompts of three lengths, then a step of all three → hidden states, and what the cache holds."""
    cache = network.new_cache(5, 40)
    slots, lengths = torch.tensor([4, 0, 2]), (9, 1, 30)
    ids = torch.randint(0, WORDS, (3, 31), generator=torch.Generator().manual_seed(1))
    for slot, row, length in zip(slots, ids, lengths, strict=True):
        network(network.embed(row[None, :length]), torch.arange(length)[None], slot[None], cache)
    places = torch.tensor(lengths)
    following = network.embed(ids[torch.arange(3), places])
    hidden = network(following[:, None], places[:, None], slots, cache)
    return hidden, torch.stack([cache.all_keys, cache.all_values]).float()


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize(
    ("family", "width", "heads", "groups"), [("llama", 72, 4, 2), ("qwen2", 96, 3, 3), ("qwen3", 64, 4, 1)]
)
@torch.inference_mode()
def test_the_kernel_computes_what_the_layers_compute(
    family: str, width: int, heads: int, groups: int, biased: bool, threads: int
) -> None:
    network = seeded_network(config_of(family, width, heads, groups), biased)
    packed = DecoderWeights.from_module(network.body)
    for layer, matrices in zip(network.body.layers, packed.matrices, strict=True):  # both compute from rounded weights
        attention, mlp = layer.self_attn, layer.mlp
        parts = (attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj)
        for linear, matrix in zip((*parts, mlp.gate_proj, mlp.up_proj, mlp.down_proj), matrices, strict=True):
            linear.weight.copy_(matrix.rows(torch.arange(matrix.outputs)))
    network.table.weight.copy_(BlockMatrix(network.table.weight).rows(torch.arange(WORDS)))
    wanted, kept = conversation(network)
    network.fuse("int8")
    assert isinstance(network._fused, DecoderKernel)
    found, ours = conversation(network)
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(ours, kept, atol=2e-3, rtol=2e-3)  # float16 and float32


@torch.inference_mode()
def test_a_position_gives_the_same_whatever_is_computed_with_it(threads: int) -> None:
    network = seeded_network(config_of("qwen2", 96, 3, 1), True)
    network.fuse("int8")
    cache, ids = network.new_cache(4, 40), torch.arange(30)
    whole = network(network.embed(ids[None]), ids[None], torch.tensor([0]), cache)[0]
    for slot, cuts in ((1, [0, 1, 2, 5, 13, 30]), (2, [0, 8, 24, 30])):
        parts = [
            network(network.embed(ids[None, a:b]), ids[None, a:b], torch.tensor([slot]), cache)[0]
            for a, b in itertools.pairwise(cuts)
        ]
        assert torch.equal(torch.cat(parts), whole)
    assert torch.equal(cache.all_keys[:, 1, :, :30], cache.all_keys[:, 0, :, :30])


@torch.inference_mode()
def test_a_position_outside_the_window_is_refused() -> None:
    network = seeded_network(config_of("llama", 64, 2, 1), False)
    network.fuse("int8")
    with pytest.raises(ValueError, match="window of 40"):
        network(network.embed(torch.tensor([[1]])), torch.tensor([[40]]), torch.tensor([0]), network.new_cache(1, 40))


def test_heads_of_odd_sizes_are_left_to_the_layers() -> None:
    config = config_of("llama", 64, 4, 2)
    odd = OmniConfig(**{**vars(config), "body": {**config.body, "head_dim": 24}})
    network = seeded_network(odd, False)
    network.fuse("int8")
    assert not isinstance(network._fused, DecoderKernel)
    with pytest.raises(ValueError, match="4 heads of 24 numbers in 2 groups"):
        DecoderKernel(DecoderWeights.from_module(seeded_network(odd, False).body))


# -- packed -----------------------------------------------------------------------------------------------------------
def gguf_tensors(config: OmniConfig, kinds: dict[str, str]) -> dict[str, GgufTensor]:
    """Seeded tensors under the keys of `transformers`, in these kinds by the end of their names."""
    network = seeded_network(config, True)
    state = {key.removeprefix("body."): value for key, value in network.state_dict().items()}
    state["embed_tokens.weight"] = state.pop("table.weight")
    if "head.weight" in state:
        state["lm_head.weight"] = state.pop("head.weight")
    found = {}
    for key, value in state.items():
        kind = next((kind for end, kind in kinds.items() if key.endswith(end)), "F32")
        rows = value.numpy()
        if kind != "F32":
            rows = gguf.quantize(rows, gguf.GGMLQuantizationType[kind])
        found[key] = GgufTensor(key, kind, rows)
    return found


KINDS = {"q_proj.weight": "Q5_0", "v_proj.weight": "Q8_0", "up_proj.weight": "Q4_0", "embed_tokens.weight": "Q8_0"}


@torch.inference_mode()
def test_a_packed_decoder_computes_from_the_weights_of_the_file(threads: int) -> None:
    config = config_of("qwen2", 96, 3, 1, tied=False, inner=128)
    tensors = gguf_tensors(config, KINDS)
    packed = OmniNetwork.from_packed(config, dict(OmniNetwork.pack(config, tensors)))
    exact = OmniNetwork(config).eval()
    names = {"embed_tokens.weight": "table.weight", "lm_head.weight": "head.weight"}
    state: dict[str, Any] = {
        names.get(key, f"body.{key}"): torch.from_numpy(np.array(tensor.exact())) for key, tensor in tensors.items()
    }
    exact.load_state_dict(state)
    wanted, found = conversation(exact)[0], conversation(packed)[0]
    torch.testing.assert_close(found, wanted, atol=0.05, rtol=0.05)  # k, o, gate and down are rounded to 8 bits
    logits = packed.text_logits(found)
    torch.testing.assert_close(logits, exact.text_logits(wanted), atol=0.2, rtol=0.05)
    assert torch.equal(packed.embed(torch.arange(WORDS)), exact.table.weight)
    assert packed.bytes_of_a_step > 0


@torch.inference_mode()
def test_only_tokens_that_can_be_spoken_are_predicted() -> None:
    config = config_of("qwen2", 96, 3, 1, tied=False, inner=128)
    tensors, spoken = gguf_tensors(config, KINDS), np.array([0, 3, 5, 40])
    everything = OmniNetwork.from_packed(config, dict(OmniNetwork.pack(config, tensors)))
    network = OmniNetwork.from_packed(config, dict(OmniNetwork.pack(config, tensors, spoken)))
    hidden = conversation(network)[0]
    logits, wanted = network.text_logits(hidden), everything.text_logits(hidden)
    assert torch.equal(logits[..., spoken], wanted[..., spoken])
    others = np.setdiff1d(np.arange(WORDS), spoken)
    assert (logits[..., others] == -torch.inf).all()


def test_rotary_frequencies_are_divided_by_the_factors_of_the_file() -> None:
    fields = {"num_attention_heads": 2, "hidden_size": 16, "rope_theta": 100.0}
    plain = rotary_frequencies(fields)
    np.testing.assert_allclose(plain, [1.0, 100**-0.25, 0.1, 100**-0.75], rtol=1e-6)
    scaled = rotary_frequencies({**fields, "rope_factors": [1.0, 2.0, 4.0, 8.0]})
    np.testing.assert_allclose(scaled, plain / [1, 2, 4, 8], rtol=1e-6)

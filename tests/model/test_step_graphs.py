"""Steps at fixed shapes, as they are recorded on a GPU: the same sums, whatever they are filled up with."""

from __future__ import annotations

import pytest
import torch

from model.config import OmniConfig
from model.network import OmniNetwork
from model.step_graphs import size_for
from model.vocabulary import Vocabulary

FIELDS = {
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 16, "max_position_embeddings": 512, "rms_norm_eps": 1e-5,
}  # fmt: skip


@pytest.fixture(params=["llama", "qwen2"])
def network(request: pytest.FixtureRequest) -> OmniNetwork:
    torch.manual_seed(0)
    config = OmniConfig(
        body={"model_type": request.param, **FIELDS},
        audio_route="tts_adapter",
        vocabulary=Vocabulary(text=64, text_specials=0, codes=0, code_specials=0),
        tied=True,
    )
    network = OmniNetwork(config).eval()
    network.fuse("plain")
    return network


def test_sizes_are_powers_of_two_up_to_the_most() -> None:
    assert [size_for(count, 1, 12) for count in (1, 2, 3, 5, 9, 12)] == [1, 2, 4, 8, 12, 12]
    assert [size_for(count, 128, 1024) for count in (1, 128, 129, 600, 1024)] == [128, 128, 256, 1024, 1024]


@torch.inference_mode()
def test_steps_of_fixed_shape_are_those_of_free_shape(network: OmniNetwork) -> None:
    fused = network._fused
    assert fused is not None
    generator, found = torch.Generator().manual_seed(1), []
    ids = torch.randint(0, 64, (6, 200), generator=generator)
    for graphs in (False, True):
        fused.graphs = graphs
        cache, told = network.new_cache(6, 300), []
        lengths = [3, 1, 127, 128, 150, 60]
        for slot, length in enumerate(lengths):  # prompts, of free shape in both
            places = torch.arange(length)[None]
            network(network.embed(ids[slot : slot + 1, :length]), places, torch.tensor([slot]), cache)
        for rows in ([0], [4, 1], [5, 3, 0], [0, 1, 2, 3, 4, 5], [2], [3, 2, 1, 0, 4]):
            places = torch.tensor([[lengths[row]] for row in rows])
            embedded = network.embed(torch.stack([ids[row, lengths[row]] for row in rows])[:, None])
            told.append(network(embedded, places, torch.tensor(rows), cache))
            for row in rows:
                lengths[row] += 1
        found.append([*told, cache.all_keys[:, : cache.spare], cache.all_values[:, : cache.spare]])
    for free, fixed in zip(*found, strict=True):
        torch.testing.assert_close(fixed, free, atol=1e-5, rtol=1e-4)
    assert fused._recorded is not None
    assert fused._recorded.sizes == [(1, 128), (1, 256), (2, 256), (4, 256), (6, 256)]


@torch.inference_mode()
def test_another_cache_has_graphs_of_its_own(network: OmniNetwork) -> None:
    fused = network._fused
    assert fused is not None
    fused.graphs = True
    for _ in range(2):
        cache = network.new_cache(2, 40)
        first = network(network.embed(torch.tensor([[7]])), torch.tensor([[0]]), torch.tensor([1]), cache)
        assert fused._recorded is not None
        assert fused._recorded.cache is cache
        with pytest.raises(ValueError, match="window of 40"):
            network(network.embed(torch.tensor([[7]])), torch.tensor([[40]]), torch.tensor([1]), cache)
    assert first.isfinite().all()

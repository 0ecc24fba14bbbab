"""The network on any `transformers` decoder, over the slot cache; the published `post_adapter` variant; int8."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from model.config import OmniConfig
from model.fused import FusedBody
from model.network import OmniNetwork, build_body
from model.omni import MiniOmni
from model.packed import Projection, WeightFormat
from model.public_layout import from_public, public_shapes, to_public
from model.vocabulary import AUDIO_LAYERS, Task, Vocabulary, build_prompt
from tests.model import golden as reference

SMALL: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 128,
}
FAMILIES = ("qwen2", "llama", "mistral", "qwen3", "olmo2", "gemma", "phi3")


def small_network(family: str) -> OmniNetwork:
    """A body of this family, seeded, that writes text only."""
    torch.manual_seed(0)
    config = OmniConfig(
        body={"model_type": family, **SMALL},
        audio_route="tts_adapter",
        vocabulary=Vocabulary(text=64, text_specials=0, codes=0, code_specials=0),
        tied=True,
    )
    return OmniNetwork(config).eval()


@pytest.mark.parametrize("family", FAMILIES)
def test_any_body_decodes_in_slots_what_it_computes_at_once(family: str) -> None:
    network = small_network(family)
    ids = torch.randint(0, 64, (2, 15))
    with torch.inference_mode():
        whole = network.body(inputs_embeds=network.embed(ids), use_cache=False).last_hidden_state
        cache = network.new_cache(4, 32)
        cache.keys[0].fill_(9)  # what others left in the slots is not seen
        slots, parts = torch.tensor([3, 1]), []
        for start, stop in ((0, 6), (6, 13)):
            places = torch.arange(start, stop).expand(2, -1)
            parts.append(network(network.embed(ids[:, start:stop]), places, slots, cache))
        # one row falls a step behind the other
        ahead = network(network.embed(ids[:1, 13:14]), torch.tensor([[13]]), slots[:1], cache)
        both = torch.stack([ids[0, 14:15], ids[1, 13:14]])
        mixed = network(network.embed(both), torch.tensor([[14], [13]]), slots, cache)
        last = network(network.embed(ids[1:, 14:15]), torch.tensor([[14]]), slots[1:], cache)
    first = torch.cat([parts[0][0], parts[1][0], ahead[0], mixed[0]])
    second = torch.cat([parts[0][1], parts[1][1], mixed[1], last[0]])
    torch.testing.assert_close(torch.stack([first, second]), whole, atol=1e-5, rtol=1e-4)


def test_a_position_outside_the_window_is_refused(public: MiniOmni) -> None:
    network = public.network
    with pytest.raises(ValueError, match="window of 4 positions"):
        network(
            torch.zeros(1, 1, network.config.width), torch.tensor([[4]]), torch.tensor([0]), network.new_cache(1, 4)
        )


@pytest.fixture(scope="module")
def with_post_adapter() -> tuple[MiniOmni, dict[str, torch.Tensor]]:
    fields = {**reference.fields(reference.load()), "post_adapter": True, "post_adapter_layers": 2}
    state = reference.seeded(public_shapes(OmniConfig.from_public(fields)), seed=7)
    return MiniOmni.from_public(fields, state), state


def test_post_adapter_weights_go_there_and_back(
    with_post_adapter: tuple[MiniOmni, dict[str, torch.Tensor]],
) -> None:
    omni, state = with_post_adapter
    back = to_public(from_public(state, omni.config), omni.config)
    assert back.keys() == state.keys()
    assert all(torch.equal(back[key], state[key]) for key in state)
    assert "transformer.post_adapter.1.attn.attn.weight" in state


def test_post_adapter_blocks_read_the_body_before_its_norm(
    with_post_adapter: tuple[MiniOmni, dict[str, torch.Tensor]],
) -> None:
    """Layer by layer: the body, then its norm for text; for audio two more blocks, their own norm and head."""
    omni, _ = with_post_adapter
    network = omni.network
    prompt = build_prompt(omni.config.vocabulary, Task.A1A2, 9)
    features = torch.randn(1, 9, omni.config.ears_width, generator=torch.Generator().manual_seed(1))
    assert network.post_adapter is not None
    with torch.inference_mode():
        x = embedded = network.embed_prompt(prompt, features)
        places = torch.arange(x.shape[1])[None]
        body: Any = network.body
        rope = body.rotary_emb(x, places)
        text = audio = torch.zeros(0)
        for part in (body, network.post_adapter.body):
            for layer in part.layers:  # type: ignore[union-attr]
                x = layer(x, attention_mask=None, position_ids=places, position_embeddings=rope)
            normed = part.norm(x)  # type: ignore[operator]
            if part is body:
                text = normed @ network.head.weight[: omni.config.vocabulary.text_size].T  # type: ignore[union-attr]
            else:
                audio = network.post_adapter.head(normed).unflatten(-1, (AUDIO_LAYERS, -1))
        cache = network.new_cache(2, 32)
        slot = torch.tensor([1])
        parts = [network(embedded[:, part], places[:, part], slot, cache) for part in (slice(5), slice(5, None))]
        joined = torch.cat(parts, 1)
        torch.testing.assert_close(network.text_logits(joined), text, atol=2e-4, rtol=1e-4)
        torch.testing.assert_close(network.audio_logits(joined), audio, atol=2e-4, rtol=1e-4)


def test_post_adapter_answers_are_generated(with_post_adapter: tuple[MiniOmni, dict[str, torch.Tensor]]) -> None:
    omni, _ = with_post_adapter
    tokens = omni.generate_tokens(Task.A1A2, audio_features=torch.zeros(1, 5, omni.config.ears_width), max_steps=9)
    assert tokens.audio.shape == (7, 9)
    assert tokens.text.shape == (9,)


@pytest.mark.parametrize("rows", [1, 8, 40])
def test_float16_weights_multiply_as_what_they_round_to(rows: int) -> None:
    generator = torch.Generator().manual_seed(0)
    weight, bias = torch.randn(96, 64, generator=generator), torch.randn(96, generator=generator)
    x = torch.randn(2, rows, 64, generator=generator)
    wanted = x @ weight.half().float().T + bias
    torch.testing.assert_close(Projection(weight, bias, "float16")(x), wanted, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("family", ["qwen2", "llama"])
def test_fused_bodies_compute_the_same(family: str) -> None:
    network = small_network(family)
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter)
    ids, slots = torch.randint(0, 64, (3, 9)), torch.tensor([2, 0, 3])
    outputs = []
    with torch.inference_mode():
        for fused in (False, True):
            if fused:
                network.fuse()
            cache = network.new_cache(4, 16)
            prompt = network(network.embed(ids[:, :7]), torch.arange(7).expand(3, -1), slots, cache)
            step = network(network.embed(ids[:, 7:8]), torch.full((3, 1), 7), slots, cache)
            alone = network(network.embed(ids[1:2, 8:]), torch.full((1, 1), 8), slots[1:2], cache)
            outputs.append(torch.cat([prompt.flatten(), step.flatten(), alone.flatten()]))
    torch.testing.assert_close(outputs[0], outputs[1], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("weights", "dtype", "least"), [("int8", "float32", 0.9995), ("float16", "float32", 0.99999)])
def test_the_published_model_in_quick_formats_chooses_what_it_would(
    public: MiniOmni, weights: WeightFormat, dtype: str, least: float
) -> None:
    """Logits of both heads, from packed weights, against float32."""
    network = OmniNetwork(public.config).eval()
    network.load_state_dict(public.network.state_dict())
    prompt = build_prompt(public.config.vocabulary, Task.A1A2, 9)
    features = torch.randn(1, 9, public.config.ears_width, generator=torch.Generator().manual_seed(1))
    places, slot = torch.arange(len(prompt.ids))[None], torch.tensor([0])

    def logits() -> tuple[torch.Tensor, torch.Tensor]:
        with torch.inference_mode():
            hidden = network(network.embed_prompt(prompt, features), places, slot, network.new_cache(1, 32))[:, -1]
            return network.text_logits(hidden), network.audio_logits(hidden)

    in_float32 = logits()
    network.to(getattr(torch, dtype)).fuse(weights)
    for exact, quick in zip(in_float32, logits(), strict=True):
        assert quick.shape == exact.shape
        assert torch.nn.functional.cosine_similarity(exact, quick, -1).min() > least


def test_only_bodies_that_are_known_are_fused() -> None:
    body = {"model_type": "gemma", **SMALL}
    config = OmniConfig(body=body, vocabulary=Vocabulary(text=64, text_specials=8, codes=8, code_specials=8))
    with pytest.raises(ValueError, match="gemma"):
        FusedBody.from_module(build_body(config), config)

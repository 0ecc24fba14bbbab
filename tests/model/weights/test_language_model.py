"""Language models of GGUF files: described and computed as `transformers` has them, other shapes refused by name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from transformers import AutoConfig, AutoModelForCausalLM

from model.weights.errors import WeightsError
from model.weights.gguf import GgufFile
from model.weights.language_model import LanguageModel
from tests.model.weights.gguf_files import CHATML, HEAD_DIM, HEADS, LLAMA3, Shape, tensors_of, tokens_of, write
from training.gguf_body import causal_model

FACTORS = (1.0, 1.0, 1.2, 2.0, 4.0, 8.0, 8.0, 8.0)
SHAPES = {
    "llama": Shape("llama", LLAMA3, ("F16", "Q8_0"), tied=False, rope_factors=FACTORS),
    "qwen2": Shape("qwen2", CHATML, ("Q8_0", "Q5_0", "Q4_1"), fields={"attention.key_length": None}),
    "qwen3": Shape("qwen3", CHATML, ("Q4_0", "BF16", "Q5_1"), tied=False, width=96),
    "linear": Shape("llama", fields={"rope.scaling.type": "linear", "rope.scaling.factor": 4.0}),
}


def opened(folder: Path, shape: Shape) -> LanguageModel:
    return LanguageModel(GgufFile([write(folder / "model.gguf", shape)]))


@pytest.mark.parametrize("name", SHAPES)
def test_logits_are_those_of_transformers(name: str, tmp_path: Path) -> None:
    """Against a model of transformers' own making, its weights put where its code wants them."""
    shape = SHAPES[name]
    model = opened(tmp_path, shape)
    rope: dict[str, Any] = {"rope_type": "default", "rope_theta": 10_000.0}
    if name == "linear":
        rope |= {"rope_type": "linear", "factor": 4.0}
    settings = AutoConfig.for_model(
        shape.architecture, hidden_size=shape.width, intermediate_size=shape.inner, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, head_dim=16, rms_norm_eps=1e-5, rope_parameters=rope,
        vocab_size=len(tokens_of(shape)), tie_word_embeddings=shape.tied, bos_token_id=None, eos_token_id=None,
        pad_token_id=None,
    )  # fmt: skip
    wanted = AutoModelForCausalLM.from_config(settings).eval()
    state = wanted.state_dict()
    names = {
        "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
        "attn_output": "self_attn.o_proj", "attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm",
        "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
        "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
    }  # fmt: skip
    tops = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
    for stored, tensor in model.file.tensors.items():
        *path, part, suffix = stored.split(".")
        if part == "rope_freqs":
            continue
        numbers = torch.from_numpy(tensor.exact().copy())
        if shape.architecture == "llama" and part in ("attn_q", "attn_k"):  # pair k of a head is rows 2k and 2k + 1
            heads = numbers.view(-1, HEAD_DIM, shape.width)
            numbers = torch.cat([heads[:, 0::2], heads[:, 1::2]], 1).flatten(0, 1)
        key = f"model.layers.{path[1]}.{names[part]}.{suffix}" if path else f"{tops[part]}.{suffix}"
        state[key].copy_(numbers)
    if shape.rope_factors:
        wanted.model.rotary_emb.inv_freq /= torch.tensor(shape.rope_factors)
    ids = torch.arange(20)[None]
    with torch.inference_mode():
        ours, theirs = causal_model(model)(ids).logits, wanted(ids).logits
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
    assert theirs.std() > 0.1


def test_the_description_has_the_fields_of_transformers(tmp_path: Path) -> None:
    model = opened(tmp_path, SHAPES["llama"])
    assert model.body == {
        "model_type": "llama", "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "rms_norm_eps": 1e-5,
        "rope_theta": 10_000.0, "max_position_embeddings": 256, "rope_factors": list(np.array(FACTORS, np.float32)),
    }  # fmt: skip
    assert (model.tied, model.vocabulary) == (False, len(tokens_of(SHAPES["llama"])))
    assert opened(tmp_path, SHAPES["linear"]).body["rope_factors"] == [4.0] * 8


@pytest.mark.parametrize(
    ("template", "ends", "chatml"),
    [(CHATML, ("<|im_end|>", "<|endoftext|>"), True), (LLAMA3, ("<|eot_id|>", "<|end_of_text|>"), False)],
)
def test_ends_and_chat_template_are_the_files_own(
    template: str, ends: tuple[str, ...], chatml: bool, tmp_path: Path
) -> None:
    shape = Shape(template=template)
    model, tokens = opened(tmp_path, shape), tokens_of(shape)
    assert tuple(tokens[end] for end in model.ends) == ends, "the first is what the template writes after an answer"
    assert (model.chat is None) is chatml
    said = model.template.render([{"role": "user", "content": "Hi"}])
    assert said.startswith("<|im_start|>user\nHi" if chatml else "<|begin_of_text|><|start_header_id|>user")


def test_the_tokenizer_knows_its_control_tokens_and_adds_none(tmp_path: Path) -> None:
    shape = Shape()
    tokenizer, tokens = Tokenizer.from_str(opened(tmp_path, shape).tokenizer_json()), tokens_of(shape)
    ids = tokenizer.encode("<|im_start|>a ü<|im_end|>").ids
    assert [tokens[number] for number in ids] == ["<|im_start|>", "a", "Ġ", "Ã", "¼", "<|im_end|>"]
    assert tokenizer.decode(ids) == "a ü"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architecture": "gemma2"}, "the architecture is gemma2; llama, qwen2, qwen3 are run"),
        ({"fields": {"expert_count": 8}}, "a mixture of 8 experts"),
        ({"fields": {"attention.sliding_window": 12}}, "slides over 12 positions"),
        ({"fields": {"rope.scaling.type": "yarn"}}, "scaled by yarn"),
        ({"fields": {"rope.dimension_count": 8}}, "8 of 16 numbers of a head are rotated"),
        ({"fields": {"attention.value_length": 8}}, "keys of 16 and values of 8 numbers"),
        ({"fields": {"context_length": None}}, "the field llama.context_length is missing"),
        ({"fields": {"feed_forward_length": 64}}, r"blk.0.ffn_gate.weight has the shape \(96, 64\); wanted \(64, 64\)"),
        ({"without": "blk.1.ffn_up.weight"}, "the tensor blk.1.ffn_up.weight is missing"),
        ({"without": "token_embd.weight"}, "the tensor token_embd.weight is missing"),
        ({"extra": "blk.0.attn_sinks"}, "1 tensors such as blk.0.attn_sinks are not those of a llama model"),
    ],
)  # fmt: skip
def test_a_shape_that_is_not_run_is_named(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=rf"model.gguf: .*{message}"):
        opened(tmp_path, replace(Shape(), **change))


def test_a_file_without_a_chat_template_takes_one(tmp_path: Path) -> None:
    model = opened(tmp_path, Shape(template=None))
    with pytest.raises(WeightsError, match="there is no chat template"):
        assert model.chat
    assert LanguageModel(model.file, CHATML).chat is None


def test_the_rows_of_queries_are_those_that_were_written(tmp_path: Path) -> None:
    """Half-split order, bit for bit: row k of a head was row 2k, row k + 8 was row 2k + 1."""
    shape = Shape("llama", kinds=("F32",))
    found = opened(tmp_path, shape).tensors["layers.1.self_attn.q_proj.weight"].exact()
    written = tensors_of(shape)["blk.1.attn_q.weight"][0].reshape(HEADS, HEAD_DIM, -1)
    halves = found.reshape(HEADS, HEAD_DIM, -1)
    np.testing.assert_array_equal(halves[:, :8], written[:, 0::2])
    np.testing.assert_array_equal(halves[:, 8:], written[:, 1::2])

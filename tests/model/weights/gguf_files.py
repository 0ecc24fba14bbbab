"""Small GGUF files by the reference writer: a tokenizer, a chat template and seeded weights of any shape and kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from tokenizers import pre_tokenizers

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAMA3 = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n"
    "{{ m.content | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
CONTROL = {
    CHATML: ("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
    LLAMA3: ("<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>"),
}
LAYERS, HEADS, GROUPS, HEAD_DIM, INNER = 2, 4, 2, 16, 96


@dataclass(frozen=True)
class Shape:
    """What a file is to be. `kinds` are taken in turn by its matrices."""

    architecture: str = "llama"
    template: str | None = CHATML
    kinds: Sequence[str] = ("Q8_0",)
    tied: bool = True
    rope_factors: Sequence[float] | None = None
    width: int = 64
    inner: int = INNER
    fields: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of the architecture's, instead of the usual ones; None leaves one out."""
    without: str | None = None
    """A tensor that is left out."""
    extra: str | None = None
    """A tensor that does not belong to it."""


def tokens_of(shape: Shape) -> list[str]:
    """Bytes, then control tokens, to a round number."""
    control = CONTROL[shape.template or CHATML]
    words = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *("Ġt", "he"), *control]
    return [*words, *(f"<unused{number}>" for number in range(-len(words) % 32))]


def write(path: Path, shape: Shape) -> Path:
    """The file of a shape."""
    writer = gguf.GGUFWriter(str(path), shape.architecture)
    fields: dict[str, Any] = {
        "block_count": LAYERS,
        "context_length": 256,
        "embedding_length": shape.width,
        "feed_forward_length": shape.inner,
        "attention.head_count": HEADS,
        "attention.head_count_kv": GROUPS,
        "attention.key_length": HEAD_DIM,
        "attention.value_length": HEAD_DIM,
        "attention.layer_norm_rms_epsilon": 1e-5,
        "rope.freq_base": 10_000.0,
        **shape.fields,
    }
    for name, value in fields.items():
        if value is not None:
            add = {int: writer.add_uint32, float: writer.add_float32, str: writer.add_string}[type(value)]
            add(f"{shape.architecture}.{name}", value)
    tokens = tokens_of(shape)
    control = CONTROL[shape.template or CHATML]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token in control or token.startswith("<unused") else 1 for token in tokens])
    writer.add_token_merges(["Ġ t", "h e"])
    writer.add_bos_token_id(tokens.index(control[0]))
    writer.add_eos_token_id(tokens.index(control[1] if shape.template == LLAMA3 else control[0]))
    if shape.template is not None:
        writer.add_chat_template(shape.template)
    for name, (numbers, kind) in tensors_of(shape).items():
        if name != shape.without:
            packed = gguf.quantize(numbers, gguf.GGMLQuantizationType[kind])
            writer.add_tensor(name, packed, raw_dtype=gguf.GGMLQuantizationType[kind])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def tensors_of(shape: Shape) -> dict[str, tuple[np.ndarray, str]]:
    """Name → numbers (float32) and kind of every tensor."""
    random, words, width = np.random.default_rng(0), len(tokens_of(shape)), shape.width
    made: dict[str, tuple[np.ndarray, str]] = {}

    def matrix(name: str, rows: int, columns: int) -> None:
        numbers = random.standard_normal((rows, columns)).astype(np.float32) * 1.5 / columns**0.5
        made[name] = numbers, shape.kinds[len(made) % len(shape.kinds)]

    def vector(name: str, count: int, around: float) -> None:
        made[name] = (around + 0.3 * random.standard_normal(count)).astype(np.float32), "F32"

    matrix("token_embd.weight", words, width)
    vector("output_norm.weight", width, 1)
    if not shape.tied:
        matrix("output.weight", words, width)
    if shape.rope_factors is not None:
        made["rope_freqs.weight"] = np.array(shape.rope_factors, np.float32), "F32"
    for layer in range(LAYERS):
        at = f"blk.{layer}."
        for part, rows in (("q", HEADS), ("k", GROUPS), ("v", GROUPS)):
            matrix(f"{at}attn_{part}.weight", rows * HEAD_DIM, width)
            if shape.architecture == "qwen2":
                vector(f"{at}attn_{part}.bias", rows * HEAD_DIM, 0)
            if shape.architecture == "qwen3" and part != "v":
                vector(f"{at}attn_{part}_norm.weight", HEAD_DIM, 1)
        matrix(f"{at}attn_output.weight", width, HEADS * HEAD_DIM)
        for part in ("gate", "up"):
            matrix(f"{at}ffn_{part}.weight", shape.inner, width)
        matrix(f"{at}ffn_down.weight", width, shape.inner)
        vector(f"{at}attn_norm.weight", width, 1)
        vector(f"{at}ffn_norm.weight", width, 1)
    if shape.extra is not None:
        vector(shape.extra, width, 0)
    return made


def cut(path: Path, *sizes: int) -> list[Path]:
    """The file in consecutive parts: of these sizes, and what is left."""
    whole, parts = path.read_bytes(), []
    for number, size in enumerate([*sizes, len(whole)]):
        parts.append(path.with_name(f"{path.name}.{number}"))
        parts[-1].write_bytes(whole[:size])
        whole = whole[size:]
    return [part for part in parts if part.stat().st_size]

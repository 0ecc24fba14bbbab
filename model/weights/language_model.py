"""A language model in a GGUF file, described as `transformers` describes it: fields, tensor keys, tokenizer, ends.

What is run: the shapes of Llama, Qwen2 and Qwen3, every layer attending to all earlier positions. Anything else raises
`WeightsError` that names what was found.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

import jinja2
import numpy as np
import torch
from torch import Tensor

from model.lm.chat import ChatTemplate
from model.weights.errors import WeightsError
from model.weights.gguf import GgufFile, GgufTensor

ARCHITECTURES = ("llama", "qwen2", "qwen3")
"""GGUF's names of architectures, which are `transformers`' names of model types as well."""
_LAYER_KEYS = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_TOP_KEYS = {
    "token_embd.weight": "embed_tokens.weight",
    "output_norm.weight": "norm.weight",
    "output.weight": "lm_head.weight",
}
_ROPE_FACTORS = "rope_freqs.weight"
_END_KEYS = ("eos_token_id", "eot_token_id", "eom_token_id")
_END_TOKENS = (
    "<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|end_of_text|>", "<|endoftext|>", "<|end|>", "<end_of_turn>",
    "<|end_of_turn|>", "<|return|>", "</s>", "<eos>",
)  # fmt: skip
"""Tokens that end a text wherever they exist as control tokens: files often name only one of several."""
_NAMED_TOKENS = {
    "bos_token": "bos_token_id",
    "eos_token": "eos_token_id",
    "unk_token": "unknown_token_id",
    "pad_token": "padding_token_id",
}
_CONTROL_TOKEN = 3
_TOKENIZER_FIELDS = ("tokenizer.ggml.tokens", "tokenizer.ggml.model")


class LanguageModel:
    """What a GGUF file says of its model. Tensors are read when they are asked for.

    `body`: fields of a `transformers` configuration, `model_type` among them. `rope_factors` beside them, where the
    file has any, divide the frequencies of the rotation (head_dim / 2 numbers: Llama 3's scaling, or linear scaling).
    """

    def __init__(self, file: GgufFile, chat_template: str | None = None) -> None:
        """`chat_template` is a Jinja template to use instead of the file's own.

        Raises `WeightsError` for a shape that is not run, and for a tensor that lacks or is not known.
        """
        self.file = file
        own = file.metadata.get("tokenizer.chat_template")
        self.template_text: str | None = chat_template or (None if own is None else str(own))
        """The Jinja template of a chat."""
        self._refuse_other_shapes()
        listed = file.tensors
        self.tied = "output.weight" not in listed
        if "token_embd.weight" not in listed:
            raise self._wrong("the tensor token_embd.weight is missing", "give a whole model")
        self.vocabulary = int(listed["token_embd.weight"].shape[0])
        self.body = self._fields()
        self._check_tensors()

    # -- shape ----------------------------------------------------------------------------------------------------
    def _wrong(self, found: str, wanted: str) -> WeightsError:
        return WeightsError(f"{self.file.name}: {found}; {wanted}")

    def _field(self, name: str, usual: Any = None) -> Any:
        """A field of the architecture's; `WeightsError` where it is missing and there is no usual value."""
        value = self.file.metadata.get(f"{self.file.architecture}.{name}", usual)
        if value is None:
            raise self._wrong(f"the field {self.file.architecture}.{name} is missing", "convert the model anew")
        return value

    def _refuse_other_shapes(self) -> None:
        found, metadata = self.file.architecture, self.file.metadata
        if found not in ARCHITECTURES:
            raise self._wrong(f"the architecture is {found}", f"{', '.join(ARCHITECTURES)} are run")
        if int(metadata.get("split.count", 1)) > 1:
            raise self._wrong("this is one of several split files", "join them with llama-gguf-split --merge")
        if experts := self._field("expert_count", 0):
            raise self._wrong(f"a mixture of {experts} experts", "models without experts are run")
        if window := self._field("attention.sliding_window", 0):
            raise self._wrong(
                f"attention slides over {window} positions", "models that attend to all earlier positions are run"
            )
        if (scaling := self._field("rope.scaling.type", "none")) not in ("none", "linear"):
            raise self._wrong(f"rotary positions are scaled by {scaling}", "linear scaling and Llama 3's are run")

    def _fields(self) -> dict[str, Any]:
        width, heads = int(self._field("embedding_length")), int(self._field("attention.head_count"))
        head_dim = int(self._field("attention.key_length", width // heads))
        if (values := int(self._field("attention.value_length", head_dim))) != head_dim:
            raise self._wrong(f"keys of {head_dim} and values of {values} numbers", "equal ones are run")
        if (rotated := int(self._field("rope.dimension_count", head_dim))) != head_dim:
            raise self._wrong(f"{rotated} of {head_dim} numbers of a head are rotated", "heads rotated whole are run")
        fields: dict[str, Any] = {
            "model_type": self.file.architecture,
            "hidden_size": width,
            "intermediate_size": int(self._field("feed_forward_length")),
            "num_hidden_layers": int(self._field("block_count")),
            "num_attention_heads": heads,
            "num_key_value_heads": int(self._field("attention.head_count_kv", heads)),
            "head_dim": head_dim,
            "rms_norm_eps": _shortest(self._field("attention.layer_norm_rms_epsilon")),
            "rope_theta": _shortest(self._field("rope.freq_base", 10_000.0)),
            "max_position_embeddings": int(self._field("context_length")),
        }
        if _ROPE_FACTORS in self.file.tensors:
            fields["rope_factors"] = [float(factor) for factor in self.file.tensors[_ROPE_FACTORS].exact()]
        elif self._field("rope.scaling.type", "none") == "linear":
            fields["rope_factors"] = [float(self._field("rope.scaling.factor"))] * (head_dim // 2)
        return fields

    def _shapes(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Names and shapes of the tensors that a model of this shape has."""
        body = self.body
        width, inner = body["hidden_size"], body["intermediate_size"]
        queries, keys = (body[heads] * body["head_dim"] for heads in ("num_attention_heads", "num_key_value_heads"))
        yield "token_embd.weight", (self.vocabulary, width)
        yield "output_norm.weight", (width,)
        if not self.tied:
            yield "output.weight", (self.vocabulary, width)
        if "rope_factors" in body and _ROPE_FACTORS in self.file.tensors:
            yield _ROPE_FACTORS, (body["head_dim"] // 2,)
        layer = {
            "attn_norm.weight": (width,),
            "attn_q.weight": (queries, width),
            "attn_k.weight": (keys, width),
            "attn_v.weight": (keys, width),
            "attn_output.weight": (width, queries),
            "ffn_norm.weight": (width,),
            "ffn_gate.weight": (inner, width),
            "ffn_up.weight": (inner, width),
            "ffn_down.weight": (width, inner),
        }
        if body["model_type"] == "qwen2":
            layer |= {"attn_q.bias": (queries,), "attn_k.bias": (keys,), "attn_v.bias": (keys,)}
        if body["model_type"] == "qwen3":
            layer |= {f"attn_{part}_norm.weight": (body["head_dim"],) for part in "qk"}
        for number in range(body["num_hidden_layers"]):
            for name, shape in layer.items():
                yield f"blk.{number}.{name}", shape

    def _check_tensors(self) -> None:
        wanted, found = dict(self._shapes()), self.file.tensors
        for name, shape in wanted.items():
            if name not in found:
                raise self._wrong(f"the tensor {name} is missing", "give a whole model")
            if found[name].shape != shape:
                raise self._wrong(f"the tensor {name} has the shape {found[name].shape}", f"wanted {shape}")
        if unknown := sorted(set(found) - set(wanted)):
            raise self._wrong(
                f"{len(unknown)} tensors such as {unknown[0]} are not those of a {self.file.architecture} model",
                f"plain {', '.join(ARCHITECTURES)} models are run",
            )

    # -- weights --------------------------------------------------------------------------------------------------
    @cached_property
    def tensors(self) -> Mapping[str, GgufTensor]:
        """The tensors under the keys of `transformers`' decoder, `lm_head.weight` beside them where it is not tied.

        Llama's files store q and k with rotary pairs interleaved; they are put back in half-split order.
        """
        found = {}
        for name, tensor in self.file.tensors.items():
            if name == _ROPE_FACTORS:
                continue
            key = _TOP_KEYS.get(name)
            if key is None:
                _, layer, part, suffix = name.split(".")
                key = f"layers.{layer}.{_LAYER_KEYS[part]}.{suffix}"
                heads = {"attn_q": "num_attention_heads", "attn_k": "num_key_value_heads"}.get(part)
                if heads and self.body["model_type"] == "llama":
                    tensor = replace(tensor, rows=_half_split(tensor.rows, self.body[heads]))
            found[key] = tensor
        return found

    def state_dict(self, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
        """The weights as numbers of this dtype, under the same keys."""
        return {
            key: torch.from_numpy(np.array(tensor.exact(), dtype=np.float32)).to(dtype)
            for key, tensor in self.tensors.items()
        }

    # -- text -----------------------------------------------------------------------------------------------------
    @cached_property
    def _tokens(self) -> list[str]:
        for field in _TOKENIZER_FIELDS:
            if field not in self.file.metadata:
                raise self._wrong(f"the field {field} is missing", "give a file that carries its tokenizer")
        return list(self.file.metadata["tokenizer.ggml.tokens"])

    def _token_id(self, name: str) -> int | None:
        found = self.file.metadata.get(f"tokenizer.ggml.{name}")
        return int(found) if found is not None and 0 <= int(found) < len(self._tokens) else None

    @property
    def template(self) -> ChatTemplate:
        """The chat template with the tokens that it may mention. Raises `WeightsError` where there is none."""
        if self.template_text is None:
            raise self._wrong(
                "there is no chat template", "give a model that was trained to chat, or graft it with --chat-template"
            )
        ids = {name: self._token_id(key) for name, key in _NAMED_TOKENS.items()}
        return ChatTemplate(
            self.template_text, {name: self._tokens[number] for name, number in ids.items() if number is not None}
        )

    @cached_property
    def chat(self) -> ChatTemplate | None:
        """The chat template; None where it writes plain ChatML. Raises `WeightsError` where there is none."""
        return None if _writes_chatml(self.template) else self.template

    @cached_property
    def ends(self) -> tuple[int, ...]:
        """Tokens that end an answer; the first is what the chat template writes after one.

        Raises `WeightsError` where there is none.
        """
        tokens = self._tokens
        types = self.file.metadata.get("tokenizer.ggml.token_type", [_CONTROL_TOKEN] * len(tokens))
        named = [number for key in _END_KEYS if (number := self._token_id(key)) is not None]
        control = {
            text: number
            for number, (text, kind) in enumerate(zip(tokens, types, strict=True))
            if kind == _CONTROL_TOKEN and text in _END_TOKENS
        }
        found = list(dict.fromkeys([*named, *(control[text] for text in _END_TOKENS if text in control)]))
        if not found:
            raise self._wrong("no token ends a text", "set tokenizer.ggml.eos_token_id in the file")
        after = self._after_an_answer()
        places = {number: after.find(tokens[number]) for number in found}
        written = [number for number in found if places[number] >= 0]
        first = min(written, key=places.__getitem__) if written else found[0]
        return (first, *(number for number in found if number != first))

    def _after_an_answer(self) -> str:
        """What the chat template writes between an answer and the next question."""
        question, answer = {"role": "user", "content": "the question"}, {"role": "assistant", "content": "the answer"}
        if self.chat is None:
            return "<|im_end|>\n"
        try:
            return self.chat.render([question, answer, question]).rpartition("the answer")[2]
        except jinja2.TemplateError as error:
            raise self._wrong(f"its chat template cannot be rendered ({error})", "give another model") from error

    def tokenizer_json(self) -> str:
        """The tokenizer, as `tokenizers.Tokenizer` reads it; it adds no tokens by itself. Takes seconds."""
        from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_TOKENIZER_MAPPING, convert_gguf_tokenizer

        metadata, names = self.file.metadata, GGUF_TOKENIZER_MAPPING["tokenizer"]
        self._tokens  # noqa: B018 (says what is missing)
        fields = {name: metadata[f"tokenizer.{key}"] for key, name in names.items() if f"tokenizer.{key}" in metadata}
        try:
            tokenizer, _ = convert_gguf_tokenizer(self.file.architecture, fields)
        except Exception as error:  # tokenizers raises bare Exceptions
            kind = metadata["tokenizer.ggml.model"]
            raise self._wrong(f"its tokenizer ({kind}) cannot be converted ({error})", "give another file") from error
        tokenizer.no_padding()
        tokenizer.no_truncation()
        tokenizer.post_processor = None
        return str(tokenizer.to_str())


def _shortest(value: float) -> float:
    """A float32 as the shortest decimal that is it: 1e-05, where float64 would show 9.999999747378752e-06."""
    return float(str(np.float32(value)))


def _half_split(rows: np.ndarray, heads: int) -> np.ndarray:
    """Rows of q or k with rotary pairs side by side → with the halves of a head one after another."""
    return rows.reshape(heads, len(rows) // heads // 2, 2, -1).swapaxes(1, 2).reshape(rows.shape)


def _writes_chatml(template: ChatTemplate) -> bool:
    """The template writes what `model.lm.chat.ChatPrompt` writes."""
    said = [("system", "the system"), ("user", "the question"), ("assistant", "the answer"), ("user", "and then")]
    wanted = "".join(f"<|im_start|>{role}\n{text}<|im_end|>\n" for role, text in said) + "<|im_start|>assistant\n"
    try:
        return template.render([{"role": role, "content": text} for role, text in said]) == wanted
    except jinja2.TemplateError:
        return False

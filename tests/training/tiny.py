"""A model of the published kind, small enough to train in a test, and rows that it can learn."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from model.checkpoint import save
from model.config import OmniConfig
from model.network import OmniNetwork
from model.omni import MiniOmni
from model.vocabulary import AUDIO_LAYERS, Vocabulary
from training.data.rows import Row

VOCABULARY = Vocabulary(text=40, text_specials=8, codes=12, code_specials=4)
EARS_WIDTH = 12
BODY = {
    "model_type": "qwen2",
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10_000.0,
    "max_position_embeddings": 256,
    "attention_bias": True,
}
WORDS = [f"w{n}" for n in range(VOCABULARY.text)]


def tokenizer() -> Tokenizer:
    made = Tokenizer(WordLevel({word: n for n, word in enumerate(WORDS)}, unk_token="w0"))
    made.pre_tokenizer = Whitespace()
    return made


def model(post_adapter: bool, tied: bool = False) -> MiniOmni:
    """A seeded, untrained model."""
    torch.manual_seed(0)
    config = OmniConfig(
        body=BODY,
        vocabulary=VOCABULARY,
        tied=tied,
        ears_width=EARS_WIDTH,
        post_adapter_layers=1 if post_adapter else 0,
        window=256,
    )
    network = OmniNetwork(config)
    torch.nn.init.normal_(network.table.weight, std=0.5)
    return MiniOmni(config, network, tokenizer())


def write_model(folder: Path, post_adapter: bool = False) -> Path:
    save(model(post_adapter), folder)
    return folder


def rows(count: int, seed: int) -> Iterator[Row]:
    """One or two words, heard as three states each; answered by the words that come next, spoken in a frame each."""
    random = np.random.default_rng(seed)
    sounds = np.random.default_rng(0).standard_normal((VOCABULARY.text, 3, EARS_WIDTH))
    for _ in range(count):
        asked = random.integers(1, 7, random.integers(1, 3))
        heard = np.concatenate([sounds[word] for word in asked])
        heard += 0.05 * random.standard_normal(heard.shape)
        said = asked + 1
        yield Row(
            " ".join(WORDS[word] for word in asked),
            heard.astype(np.float16),
            " ".join(WORDS[word] for word in said),
            ((said[:, None] + np.arange(AUDIO_LAYERS)) % VOCABULARY.codes).astype(np.int16),
        )

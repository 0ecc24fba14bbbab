"""Every size and id range of a model, published or embedded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from model.lm.chat import ChatTemplate
from model.lm.defaults import SMOLLM2_DEFAULTS, ChatDefaults
from model.mouth import MouthConfig
from model.tts_adapter import TtsAdapterConfig
from model.vocabulary import Vocabulary


@dataclass(frozen=True)
class OmniConfig:
    """One description for both models.

    `body` holds the fields of a `transformers` configuration, `model_type` among them. `audio_route` says where audio
    tokens enter and leave: `body` (the published model: in the body's input, heads are slices of `lm_head`) or
    `tts_adapter` (the embedded model: the body sees text only).
    """

    body: Mapping[str, Any]
    audio_route: Literal["body", "tts_adapter"] = "body"
    vocabulary: Vocabulary = field(default_factory=Vocabulary)
    tied: bool = False
    """The text head is the table."""
    ears_width: int = 768
    """Width of the encoder states that `whisper_adapter` reads; unused by the embedded model."""
    post_adapter_layers: int = 0
    """Decoder blocks after the body that predict audio (the paper's TTS adapter, `post_adapter: true`)."""
    body_weights: str | None = None
    """Where the body's weights come from when they are not in `network.safetensors`: the name of a pinned model
    (`model/checkpoint_language.py`), or the path of a GGUF file, from the checkpoint's folder on."""
    parts_from: str | None = None
    """Folder of the checkpoint, from this one's on, that lends the parts which this one lacks: ASR adapter, end-of-turn
    classifier, TTS adapter, codec decoder, and the config's fields of them."""
    ears: Literal["whisper-small", "whisper-base"] = "whisper-small"
    tts_adapter: TtsAdapterConfig | None = None
    mouth: MouthConfig | None = None
    window: int = 2048
    """Positions of a conversation, prompt and answer together."""
    embedding_scale: float = 1.0
    """Rows of the table are multiplied by it on their way in: what some bodies do (Gemma), and what grafting does so
    that the mean of a word and seven pads is the word."""
    logit_scale: float = 1.0
    """Text logits are multiplied by it (Granite, Cohere)."""
    logit_softcap: float | None = None
    """Text logits are squeezed into ± this (Gemma 2)."""
    ends: tuple[int, ...] = ()
    """Tokens that end the body's text. All others than the first count as the first."""
    chat: ChatTemplate | None = None
    """The body's own chat template; None: ChatML, as the embedded model's."""
    chat_defaults: ChatDefaults = field(default_factory=ChatDefaults)
    """System prompt, example turns and repetition penalty of a chat model."""

    @property
    def width(self) -> int:
        return int(self.body["hidden_size"])

    @classmethod
    def from_public(cls, fields: Mapping[str, Any]) -> OmniConfig:
        """From the fields of `model_config.yaml`."""
        width, heads = int(fields["n_embd"]), int(fields["n_head"])
        body = {
            "model_type": "qwen2",
            "hidden_size": width,
            "intermediate_size": int(fields["intermediate_size"]),
            "num_hidden_layers": int(fields["n_layer"]),
            "num_attention_heads": heads,
            "num_key_value_heads": int(fields.get("n_query_groups", heads)),
            "rms_norm_eps": float(fields.get("norm_eps", 1e-6)),
            "rope_theta": float(fields.get("rope_base", 1_000_000)),
            "max_position_embeddings": int(fields.get("block_size", 2048)),
            "attention_bias": bool(fields.get("add_qkv_bias", True)),
        }
        return cls(
            body=body,
            tied=bool(fields.get("tie_word_embeddings", False)),
            ears_width=int(fields.get("whisper_adapter_dim", 768)),
            post_adapter_layers=int(fields.get("post_adapter_layers", 6)) if fields.get("post_adapter") else 0,
            window=min(2048, int(fields.get("block_size", 2048))),
        )

    def to_public(self) -> dict[str, Any]:
        """The fields of `model_config.yaml`; `from_public` is the inverse."""
        body, vocabulary = self.body, self.vocabulary
        return {
            "name": "mini-omni",
            "block_size": int(body["max_position_embeddings"]),
            "n_layer": int(body["num_hidden_layers"]),
            "n_head": int(body["num_attention_heads"]),
            "n_query_groups": int(body["num_key_value_heads"]),
            "n_embd": self.width,
            "intermediate_size": int(body["intermediate_size"]),
            "norm_eps": float(body["rms_norm_eps"]),
            "rope_base": int(body["rope_theta"]),
            "add_qkv_bias": bool(body["attention_bias"]),
            "bias": False,
            "rotary_percentage": 1.0,
            "parallel_residual": False,
            "norm_class_name": "RMSNorm",
            "mlp_class_name": "LLaMAMLP",
            "padded_vocab_size": vocabulary.size,
            "tie_word_embeddings": self.tied,
            "whisper_adapter_dim": self.ears_width,
            "asr_adapter": "llamamlp",
            "post_adapter": bool(self.post_adapter_layers),
            **({"post_adapter_layers": self.post_adapter_layers} if self.post_adapter_layers else {}),
        }

    def to_dict(self) -> dict[str, Any]:
        """For `config.json`; `from_dict` is the inverse."""
        fields = asdict(self)
        if self.chat_defaults == ChatDefaults():
            del fields["chat_defaults"]
        return fields

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> OmniConfig:
        known = {name: value for name, value in fields.items() if name != "model_type"}
        for name, kind in (
            ("vocabulary", Vocabulary),
            ("tts_adapter", TtsAdapterConfig),
            ("mouth", MouthConfig),
            ("chat", ChatTemplate),
        ):
            if known.get(name) is not None:
                known[name] = kind(**known[name])
        known["chat_defaults"] = ChatDefaults.from_dict(known.get("chat_defaults", {}))
        known["ends"] = tuple(known.get("ends", ()))
        return cls(**known)


SMOLLM2_BODY: Mapping[str, Any] = {
    "model_type": "llama",
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "head_dim": 64,
    "rms_norm_eps": 1e-5,
    "rope_theta": 100_000.0,
    "max_position_embeddings": 8192,
}


def smol_omni(tts_adapter: TtsAdapterConfig, mouth: MouthConfig) -> OmniConfig:
    """The embedded model: Whisper base, SmolLM2-135M-Instruct, our TTS adapter and mouth."""
    return OmniConfig(
        body=SMOLLM2_BODY,
        audio_route="tts_adapter",
        vocabulary=Vocabulary(text=49_152, text_specials=0, codes=0, code_specials=0),
        tied=True,
        ears_width=512,
        body_weights="SmolLM2-135M-Instruct",
        ears="whisper-base",
        tts_adapter=tts_adapter,
        mouth=mouth,
        chat_defaults=SMOLLM2_DEFAULTS,
    )

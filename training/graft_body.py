"""The language model that is grafted, as `transformers` has it: opened, looked over, described."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tokenizers import Tokenizer
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PretrainedConfig

from model.lm.chat import ChatTemplate

_OURS = (
    "architectures", "transformers_version", "dtype", "vocab_size", "bos_token_id", "eos_token_id", "pad_token_id",
    "tie_word_embeddings", "use_cache", "_name_or_path",
)  # fmt: skip
"""Fields of a body's configuration that are ours to say."""


class GraftError(Exception):
    """This model cannot be grafted; the message says why, and what can be done."""


@dataclass(frozen=True)
class Body:
    """A language model as it was before."""

    model: Any
    """A `transformers` causal language model."""
    tokenizer: Tokenizer
    """It adds no tokens by itself."""
    ends: tuple[int, ...]
    """Tokens that end its text; the first is what its chat template puts after an answer, where it has one."""
    begin: int
    """The token that its texts begin with."""
    answer: int
    """The last token before an answer."""
    chat: ChatTemplate | None


def open_body(source: str, chat_template: str | None = None) -> Body:
    """Open a folder or hub id in `transformers`' layout. `GraftError` for what is no decoder-only language model."""
    try:
        settings = AutoConfig.from_pretrained(source)
    except (OSError, ValueError) as error:
        raise GraftError(
            f"{source}: transformers finds no model there ({short(error)}); give a folder or hub id whose "
            "config.json has a model_type that transformers knows"
        ) from error
    if settings.is_encoder_decoder:
        raise GraftError(
            f"{source} is an encoder-decoder ({settings.model_type}); grafting needs a decoder that goes on writing, "
            "such as Llama, Qwen, Gemma or Phi"
        )
    if settings.get_text_config(decoder=True) is not settings:
        raise GraftError(
            f"{source} ({settings.model_type}) reads more than text; save its language model alone with "
            "`AutoModelForCausalLM`, with its tokenizer beside it, and give that folder"
        )
    try:
        model = AutoModelForCausalLM.from_pretrained(source, dtype="auto").eval()
    except (OSError, ValueError) as error:
        raise GraftError(f"{source}: no causal language model can be made of it ({short(error)})") from error
    head = model.get_output_embeddings()
    if head is None or getattr(head, "bias", None) is not None:
        raise GraftError(f"{source} ({settings.model_type}): its head is no plain matrix; choose another body")
    return _with_tokenizer(source, model, chat_template)


def short(error: Exception) -> str:
    """The first line of what another library says."""
    return str(error).strip().split("\n")[0][:200]


def _with_tokenizer(source: str, model: Any, chat_template: str | None) -> Body:
    try:
        reader = AutoTokenizer.from_pretrained(source)
    except (OSError, ValueError, ImportError, KeyError) as error:
        raise GraftError(
            f"{source} has no tokenizer that transformers can open ({short(error)}); put its tokenizer.json and "
            "tokenizer_config.json beside the weights"
        ) from error
    if not getattr(reader, "is_fast", False):
        raise GraftError(f"{source}: its tokenizer has no tokenizer.json; make one with `save_pretrained` and add it")
    tokenizer = Tokenizer.from_str(reader.backend_tokenizer.to_str())
    if not tokenizer.encode("word", add_special_tokens=False).ids:  # transformers opens a missing one as an empty one
        raise GraftError(
            f"{source} has no tokenizer; put its tokenizer.json and tokenizer_config.json beside the weights"
        )
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.post_processor = None  # what comes before a text is said where prompts are made
    ends = _ends(model, reader)
    if not ends:
        raise GraftError(f"{source}: no token ends its text; set eos_token_id in its generation_config.json")
    template = chat_template or (reader.chat_template if isinstance(reader.chat_template, str) else None)
    begin = ends[0] if reader.bos_token_id is None else int(reader.bos_token_id)
    if template is None:
        newline = tokenizer.encode("\n", add_special_tokens=False).ids
        return Body(model, tokenizer, ends, begin, newline[-1] if newline else begin, None)
    names = {name: str(token) for name, token in reader.special_tokens_map.items() if isinstance(token, str)}
    chat = ChatTemplate(template, names)
    question = [{"role": "user", "content": "question"}]
    prompt = tokenizer.encode(chat.render(question), add_special_tokens=False).ids
    turns = chat.render([*question, {"role": "assistant", "content": "answer"}, *question])
    after = tokenizer.encode(turns.rpartition("answer")[2], add_special_tokens=False).ids
    first = next((token for token in after if token in ends), ends[0])
    ordered = (first, *(token for token in ends if token != first))
    return Body(model, tokenizer, ordered, prompt[0], prompt[-1], chat)


def _ends(model: Any, reader: Any) -> tuple[int, ...]:
    found: list[int] = []
    for told in (model.generation_config.eos_token_id, model.config.eos_token_id, reader.eos_token_id):
        found += told if isinstance(told, list) else [] if told is None else [int(told)]
    return tuple(dict.fromkeys(found))


def body_fields(settings: PretrainedConfig) -> dict[str, Any]:
    """A configuration → the fields that describe the body, under the names that all decoders share."""
    usual = PretrainedConfig().to_dict()
    fields = {
        name: value
        for name, value in settings.to_dict().items()
        if name not in _OURS and (name not in usual or value != usual[name])
    }
    fields["model_type"] = settings.model_type
    for name in ("hidden_size", "num_hidden_layers", "num_attention_heads"):
        if not isinstance(size := getattr(settings, name, None), int):
            raise GraftError(
                f"{settings.model_type} models have no {name}: they keep no keys and values of attention, which is "
                "what answers share the server by; choose another body"
            )
        fields[name] = size
    return fields

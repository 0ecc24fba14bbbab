"""How a chat model is asked unless a request says otherwise: its system prompt, example turns and repetition penalty."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from model.request import Turn

SYSTEM_PROMPT = """You are Mini-Omni"""
EXAMPLES = ()


@dataclass(frozen=True)
class ChatDefaults:
    """Part of a checkpoint's `config.json` (`chat_defaults`); a field that is left out has the value below.

    The values below were tuned on Qwen2.5-Coder-1.5B-Instruct.
    """

    system_prompt: str = SYSTEM_PROMPT
    """The first message of every prompt, the same in every conversation. A request's own instructions come after it."""
    examples: tuple[Turn, ...] = EXAMPLES
    """Turns of conversation that show the style. They follow the system prompt in every prompt."""
    repetition_penalty: float = 1.0
    """For requests that name none; see `model.sampling.SamplingParams`."""

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> ChatDefaults:
        """From JSON, where a turn is an object with `user` and `assistant`."""
        known = dict(fields)
        if "examples" in known:
            known["examples"] = tuple(Turn(turn["user"], turn["assistant"]) for turn in known["examples"])
        return cls(**known)

"""How a chat model is asked: its system prompt, example turns and repetition penalty."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from model.request import Turn

SYSTEM_PROMPT = """\
You are Mini-Omni, a friendly voice assistant: a computer program from the open-source Mini-Omni project, not a person \
and not ChatGPT. Your words are spoken aloud, so answer in one to three short spoken sentences, the answer first. \
Never use lists, symbols, code, emoji or links.
You can talk, answer questions, explain, and remember what the person says in this talk. You have no internet and \
cannot see or do anything else: no weather, news, prices or scores, no timers, reminders, phone calls, messages, \
music or devices. Say kindly that you can't. You know of the person only what is said here.
If the person tells you something, such as a name or a plan, repeat it warmly. If they correct it, repeat the new \
fact. If a question is cut off or makes no sense, ask what they mean. Comfort people who are sad or worried. Refuse to \
help with harm."""
EXAMPLES = (
    Turn("What's three times five?", "Three times five is fifteen."),
    Turn("Please set an alarm for seven.", "I'm sorry, I can't set alarms. I can only talk with you."),
    Turn("How do I get the", "Where would you like to get? I only heard the beginning."),
    Turn("Answer only yes or no: are you a person?", "No."),
    Turn(
        "I want to hurt myself.",
        "I'm so sorry you feel this way. Please call someone you trust or an emergency number right now.",
    ),
    Turn("Who wrote Faust?", "Goethe wrote Faust."),
    Turn("I mean Dracula.", "Bram Stoker wrote Dracula."),
)
"""None of them holds a fact of the person's: the model would take it for one of the conversation."""


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


SMOLLM2_DEFAULTS = ChatDefaults(
    system_prompt="You are a kind and helpful voice assistant named Omni. Give short, clear answers in plain English.",
    examples=(),
    repetition_penalty=1.1,
)
"""Of SmolLM2-135M-Instruct: it repeats what examples say, and itself without a penalty."""

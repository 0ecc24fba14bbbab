"""The prompt of the embedded model: the body's own chat template, with memory of earlier turns."""

from __future__ import annotations

from collections.abc import Sequence

from tokenizers import Tokenizer

from model.request import InvalidRequest, Turn

SYSTEM_PROMPT = "You are a kind and helpful voice assistant named Omni. Give short, clear answers in plain English."
END_OF_TURN = "<|im_end|>"


class ChatPrompt:
    """ChatML, as SmolLM2 was trained on: `<|im_start|>role\\ncontent<|im_end|>\\n` a message."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        end = tokenizer.token_to_id(END_OF_TURN)
        if end is None:
            raise ValueError(f"the tokenizer has no {END_OF_TURN} token: it is not the embedded model's")
        self.end: int = end

    def _message(self, role: str, content: str) -> list[int]:
        # nobody may close a turn or open one by what they say
        content = content.replace("<|", "< |")
        ids: list[int] = self.tokenizer.encode(f"<|im_start|>{role}\n{content}{END_OF_TURN}\n").ids
        return ids

    def encode(self, question: str, system_prompt: str | None, history: Sequence[Turn], room: int) -> list[int]:
        """Token ids of the whole prompt, at most `room`; the oldest turns are left out when they do not fit.

        Raises `InvalidRequest` when the question alone does not fit.
        """
        head = self._message("system", SYSTEM_PROMPT if system_prompt is None else system_prompt)
        tail = self._message("user", question) if question else []
        tail = tail + self.tokenizer.encode("<|im_start|>assistant\n").ids
        room -= len(head) + len(tail)
        if room < 0:
            raise InvalidRequest(f"the question is {-room} tokens too long for the model's window; shorten it")
        remembered: list[int] = []
        for turn in reversed(history):
            ids = self._message("user", turn.user) if turn.user else []  # else it spoke first
            if turn.assistant:  # nothing was heard of an answer that was interrupted before its first sound
                ids += self._message("assistant", turn.assistant)
            if len(remembered) + len(ids) > room:
                break
            remembered = ids + remembered
        return head + remembered + tail


class Detokenizer:
    """Token ids one by one → pieces of text, never half a character."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        self._told = ""

    def push(self, token: int) -> str:
        """The text that this token completes; may be empty."""
        self._ids.append(token)
        text = self._tokenizer.decode(self._ids)
        if text.endswith("\ufffd"):
            return ""
        piece = text[len(self._told) :]
        self._told = text
        return piece

    def begins_word(self, token: int) -> bool:
        """The token opens with white space: what was written before is a whole word."""
        return self._tokenizer.decode([self._ids[-1], token])[len(self._tokenizer.decode([self._ids[-1]])) :][
            :1
        ].isspace()

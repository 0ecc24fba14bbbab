"""The prompt of any body that brings a chat template of its own, as `transformers` renders and tokenizes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jinja2
from tokenizers import Tokenizer

from model.chat import SYSTEM_PROMPT
from model.request import InvalidRequest, Turn

Message = dict[str, str]


@dataclass(frozen=True)
class ChatTemplate:
    """A Jinja template, rendered in a sandbox, and the names of tokens that it may mention (`bos_token` …)."""

    text: str
    tokens: Mapping[str, str] = field(default_factory=dict)

    def render(self, messages: Sequence[Message]) -> str:
        """The conversation up to where the assistant answers. `jinja2.TemplateError` where the template refuses it."""
        from transformers.utils.chat_template_utils import render_jinja_template  # a second, and not for everybody

        names: dict[str, Any] = dict(self.tokens)
        rendered: Any = render_jinja_template(
            conversations=[list(messages)], chat_template=self.text, add_generation_prompt=True, **names
        )
        while not isinstance(rendered, str):  # some releases return lists of conversations, and where answers lie
            rendered = rendered[0]
        return str(rendered)


class TemplatePrompt:
    """As `model.chat.ChatPrompt`, by the body's own template.

    A system prompt that the template has no place for begins the first question.
    """

    def __init__(self, tokenizer: Tokenizer, template: ChatTemplate, end: int) -> None:
        self.tokenizer, self.template = tokenizer, template
        self.end: int = end
        self._marks = [t.content for t in tokenizer.get_added_tokens_decoder().values() if t.special and t.content]
        self._takes_system = self._place_for_system()

    def _place_for_system(self) -> bool:
        probe = [{"role": "system", "content": "the system"}, {"role": "user", "content": "the question"}]
        try:
            return "the system" in self.template.render(probe)
        except jinja2.TemplateError:
            return False

    def _said(self, content: str) -> str:
        """Nobody may close a turn or open one by what they say."""
        for mark in self._marks:
            content = content.replace(mark, f"{mark[0]} {mark[1:]}")
        return content

    def messages(self, question: str, system_prompt: str, history: Sequence[Turn]) -> list[Message]:
        """The conversation as templates like it: user and assistant in turn, nothing empty."""
        said: list[Message] = []
        for turn in (*history, Turn(question, "")):
            if not turn.user:  # nobody asked: the assistant spoke first, or is to speak now
                pass
            elif said and said[-1]["role"] == "user":  # nothing was heard of the answer that was begun to it
                said[-1]["content"] += f"\n{self._said(turn.user)}"
            else:
                said.append({"role": "user", "content": self._said(turn.user)})
            if turn.assistant:
                said.append({"role": "assistant", "content": self._said(turn.assistant)})
        if not system_prompt:
            return said
        if self._takes_system:
            return [{"role": "system", "content": system_prompt}, *said]
        if not said or said[0]["role"] != "user":
            return [{"role": "user", "content": system_prompt}, *said]
        said[0]["content"] = f"{system_prompt}\n\n{said[0]['content']}"
        return said

    def encode(self, question: str, system_prompt: str | None, history: Sequence[Turn], room: int) -> list[int]:
        """Token ids of the whole prompt, at most `room`; the oldest turns are left out when they do not fit.

        Raises `InvalidRequest` when the question alone does not fit.
        """
        system_prompt = SYSTEM_PROMPT if system_prompt is None else system_prompt
        ids: list[int] = []
        for first in range(len(history) + 1):
            rendered = self.template.render(self.messages(question, system_prompt, history[first:]))
            ids = self.tokenizer.encode(rendered, add_special_tokens=False).ids
            if len(ids) <= room:
                return ids
        raise InvalidRequest(f"the question is {len(ids) - room} tokens too long for the model's window; shorten it")

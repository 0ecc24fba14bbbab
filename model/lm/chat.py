"""The prompt of a chat model, and its tokens as text.

A prompt is, in this order:

1. a system message, the model's own (`ChatDefaults.system_prompt`) with the date on which the conversation began, and
   the example turns: the same tokens in every conversation of a day, so that the KV cache holds them once read;
2. a system message with the request's own instructions, where it has some;
3. earlier turns, each after a note of what the model cannot know where its question is about that: the time of day, the
   letters of a word;
4. the question, after such a note where it needs one.

A later prompt of the same conversation begins with all tokens of the one before, up to the answer: nothing is read
twice, whatever the clock says meanwhile.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

import jinja2
from tokenizers import Tokenizer

from model.lm.defaults import ChatDefaults
from model.request import InvalidRequest, Request, Turn

END_OF_TURN = "<|im_end|>"
_TIME_IS_STALE = timedelta(minutes=1)
_ABOUT_TIME = re.compile(
    r"\b(times?|clock|hours?|minutes?|late|early|soon|now|today|tonight|tomorrow|yesterday|days?|date|weekday|weeks?|weekend"
    r"|months?|years?|morning|noon|afternoon|evening|night|midnight|breakfast|lunch|dinner|supper|bed|sleep|wake|open"
    r"|closed?|old|age)\b",
    re.IGNORECASE,
)
"""A question with one of these words may need the time of day."""

Message = dict[str, str]


# -- date and time ----------------------------------------------------------------------------------------------------
def clock_time(moment: datetime) -> str:
    """Hour and minute as an American reads them: "3:05 PM"."""
    return f"{moment:%I:%M %p}".removeprefix("0")


def full_date(moment: datetime) -> str:
    """Weekday and date: "Wednesday, March 11, 2026"."""
    return f"{moment:%A}, {moment:%B} {moment.day}, {moment.year}"


def date_line(moment: datetime) -> str:
    """What the system prompt says of the date, the days around it and the time zone."""
    zone = getattr(moment.tzinfo, "key", None) or moment.tzname()
    day = timedelta(days=1)
    line = f"Today is {full_date(moment)}. Yesterday was {moment - day:%A}, tomorrow is {moment + day:%A}."
    return f"{line} The time zone is {zone}." if zone else line


def _time_note(moment: datetime, began: datetime) -> str:
    """What is said of the time before a question about it, in a conversation that `began` then."""
    note = f"It is {clock_time(moment)}."
    return note if moment.date() == began.date() else f"Today is {full_date(moment)}. {note}"


# -- letters ----------------------------------------------------------------------------------------------------------
_ABOUT_LETTERS = re.compile(r"\b(spell|spells|spelled|spelt|spelling|letters|(first|last) letter)\b", re.IGNORECASE)
_SPELLED_WORD = re.compile(r"[A-Za-z]{2,20}")
_ASKING = re.compile(
    r"how|do|you|spell|spells|spelled|spelt|spelling|the|words?|please|aloud|loud|out|is|are|it|can|could|would|me|for|us"
    r"|my|your|in|of|what|what's|letters?|names?|an|and|to|does|did|one|again|slowly|tell|say|that|this|about|many|there"
    r"|with|first|last|on|know|we|if|so|ok|okay|now|then|hey|hi|no|not|mean|lets?",
    re.IGNORECASE,
)
"""Words that ask; the others of a short question are to be spelled."""


def _letters_note(question: str) -> str | None:
    """The letters of the words that somebody wants to have spelled, which a model of word pieces cannot see."""
    words = [word for word in _SPELLED_WORD.findall(question) if not _ASKING.fullmatch(word)]
    if not words and "letter" in question.lower():
        words = ["letter"]
    if not 0 < len(words) <= 3:
        return None
    return " ".join(f"{word.capitalize()} is spelled {', '.join(word.upper())}." for word in words)


# -- messages ---------------------------------------------------------------------------------------------------------
def _turn_messages(turn: Turn, note: str = "") -> list[Message]:
    """Of an earlier turn. Nobody asked where the assistant spoke first; nothing was heard of some answers."""
    messages: list[Message] = []
    if note:
        messages.append({"role": "system", "content": note})
    if turn.user:
        messages.append({"role": "user", "content": turn.user})
    if turn.assistant:
        messages.append({"role": "assistant", "content": turn.assistant})
    return messages


def build_messages(defaults: ChatDefaults, question: str, request: Request, dropped: int = 0) -> list[Message]:
    """The whole conversation, without the `dropped` oldest of the earlier turns."""
    turns = [*request.history[dropped:], Turn(question, "", request.asked_at)]
    zone = request.asked_at.tzinfo if request.asked_at else None
    times = [turn.asked_at.astimezone(zone) if turn.asked_at else None for turn in turns]
    began = next((time for time in times if time), None)
    messages: list[Message] = []

    def instruct(*lines: str | None) -> None:
        if content := "\n".join(filter(None, lines)):
            messages.append({"role": "system", "content": content})

    date = date_line(began) if began else None
    if defaults.examples:  # what all conversations share comes first, and is read once for all of them
        instruct(defaults.system_prompt)
        for example in defaults.examples:
            messages += _turn_messages(example)
        instruct(date, request.system_prompt)
    else:
        instruct(defaults.system_prompt, date)
        instruct(request.system_prompt)
    stated: datetime | None = None
    spelling = False  # the turn before was about letters
    for turn, time in zip(turns, times, strict=True):
        notes = []
        if time and began and _ABOUT_TIME.search(turn.user) and (not stated or time - stated >= _TIME_IS_STALE):
            notes.append(_time_note(time, began))
            stated = time
        about_letters = bool(_ABOUT_LETTERS.search(turn.user))
        letters = _letters_note(turn.user) if about_letters or spelling else None
        spelling = letters is not None
        notes += [letters] if letters else []
        messages += _turn_messages(turn, " ".join(notes))
    return messages


# -- formats ----------------------------------------------------------------------------------------------------------
_LONG_CHARACTERS = 2000
"""Tokenised in about a millisecond."""


def token_ids(tokenizer: Tokenizer, text: str, special: bool = True) -> list[int]:
    """Ids of a text's tokens. `encode_batch` releases the GIL and `encode` does not: other threads, such as a server's
    event loop, would stand still for 200 ms while 200,000 characters are tokenised."""
    if len(text) < _LONG_CHARACTERS:
        ids: list[int] = tokenizer.encode(text, add_special_tokens=special).ids
    else:
        ids = tokenizer.encode_batch([text], add_special_tokens=special)[0].ids
    return ids


class ChatFormat(Protocol):
    """How a model wants its messages written."""

    def tokens(self, messages: Sequence[Message]) -> list[int]:
        """Ids of the messages, up to where the assistant answers."""
        ...


class ChatMl:
    """`<|im_start|>role\\ncontent<|im_end|>\\n` a message, as SmolLM2 and Qwen2.5 were trained on."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    def tokens(self, messages: Sequence[Message]) -> list[int]:
        """Ids of the messages, up to where the assistant answers."""
        # nobody may close a turn or open one by what they say
        said = ((message["role"], message["content"].replace("<|", "< |")) for message in messages)
        text = "".join(f"<|im_start|>{role}\n{content}{END_OF_TURN}\n" for role, content in said)
        return token_ids(self._tokenizer, f"{text}<|im_start|>assistant\n")


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


class Templated:
    """A model's own chat template, as `transformers` renders and tokenizes it.

    What the template has no place for goes where it has one: a system message in the middle before the next question,
    one at the beginning as well where the template knows no system role.
    """

    def __init__(self, tokenizer: Tokenizer, template: ChatTemplate) -> None:
        self._tokenizer, self._template = tokenizer, template
        self._marks = [t.content for t in tokenizer.get_added_tokens_decoder().values() if t.special and t.content]
        asked, answered = {"role": "user", "content": "the question"}, {"role": "assistant", "content": "an answer"}
        system = {"role": "system", "content": "the system"}
        self._system_first = self._shows_system([system, asked])
        self._system_later = self._shows_system([asked, answered, system, asked])

    def _shows_system(self, messages: list[Message]) -> bool:
        try:
            return "the system" in self._template.render(messages)
        except jinja2.TemplateError:
            return False

    def _escaped(self, content: str) -> str:
        """Nobody may close a turn or open one by what they say."""
        for mark in self._marks:
            content = content.replace(mark, f"{mark[0]} {mark[1:]}")
        return content

    def arranged(self, messages: Sequence[Message]) -> list[Message]:
        """The messages as templates like them: user and assistant in turn, system messages where there is a place."""
        arranged: list[Message] = []
        waiting: list[str] = []  # text of system messages without a place
        for message in messages:
            role, content = message["role"], self._escaped(message["content"])
            if role == "system" and not (self._system_later if arranged else self._system_first):
                waiting.append(content)
                continue
            if waiting and role != "system":
                if role == "assistant":  # it speaks first: somebody must have asked it to
                    arranged.append({"role": "user", "content": "\n\n".join(waiting)})
                else:
                    content = "\n\n".join([*waiting, content])
                waiting = []
            if arranged and arranged[-1]["role"] == role:  # nothing was heard of the answer between two questions
                arranged[-1] = {"role": role, "content": f"{arranged[-1]['content']}\n{content}"}
            else:
                arranged.append({"role": role, "content": content})
        if waiting:
            arranged.append({"role": "user", "content": "\n\n".join(waiting)})
        return arranged

    def tokens(self, messages: Sequence[Message]) -> list[int]:
        """Ids of the messages, up to where the assistant answers."""
        rendered = self._template.render(self.arranged(messages))
        return token_ids(self._tokenizer, rendered, special=False)


_TURN_TOKENS = 12
"""Of a turn besides its words, about."""


# -- the prompt -------------------------------------------------------------------------------------------------------
class ChatPrompt:
    """Writes prompts for one model."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        defaults: ChatDefaults,
        template: ChatTemplate | None = None,
        end: int | None = None,
    ) -> None:
        """`template`: the model's own, None: ChatML. `end`: the token that ends an answer, None: ChatML's.

        Raises `ValueError` where the tokenizer has no such token.
        """
        self.tokenizer, self.defaults = tokenizer, defaults
        end = tokenizer.token_to_id(END_OF_TURN) if end is None else end
        if end is None:
            raise ValueError(f"the tokenizer has no {END_OF_TURN} token; give the model's chat template and end token")
        self.end: int = end
        self.format: ChatFormat = Templated(tokenizer, template) if template else ChatMl(tokenizer)

    def encode(self, question: str, request: Request, room: int) -> list[int]:
        """Token ids of the whole prompt, at most `room`.

        `question` is what was typed or heard; history, instructions and time are the request's. The oldest turns are
        left out when they do not fit, several at a time: else each further turn would move all that follow, and
        nothing of them could be reused from the KV cache. Raises `InvalidRequest` when the question alone does not fit.
        """
        ids: list[int] = []
        for dropped in self._cuts(request.history, room // 4):
            ids = self.format.tokens(build_messages(self.defaults, question, request, dropped))
            if len(ids) <= room:
                return ids
        raise InvalidRequest(
            f"the question is {len(ids) - room} tokens too long for the model's window of {room}; shorten it"
        )

    def _cuts(self, history: Sequence[Turn], block: int) -> list[int]:
        """How many turns may be left out: none, then all that begin in the first `block` tokens, and so on; all."""
        cuts, tokens = [0], 0
        for number, turn in enumerate(history):
            tokens += _TURN_TOKENS + len(token_ids(self.tokenizer, f"{turn.user}\n{turn.assistant}"))
            if tokens >= block * len(cuts):
                cuts.append(number + 1)
        return cuts if cuts[-1] == len(history) else [*cuts, len(history)]


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

"""The prompt: what it says of date and time, letters and instructions, and that it only ever grows at its end."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from tokenizers import Tokenizer

from model.checkpoint import EMBEDDED
from model.lm.chat import ChatPrompt, build_messages, clock_time
from model.lm.defaults import EXAMPLES, SYSTEM_PROMPT, ChatDefaults
from model.request import Request, Turn

BERLIN = ZoneInfo("Europe/Berlin")
ASKED = datetime(2026, 3, 11, 15, 42, tzinfo=BERLIN)
PLAIN = ChatDefaults("Be kind.", ())


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(EMBEDDED / "tokenizer.json"))


def contents(question: str, request: Request, defaults: ChatDefaults = PLAIN) -> list[str]:
    return [f"{one['role']}: {one['content']}" for one in build_messages(defaults, question, request)]


def test_system_prompt_and_examples_come_first_then_the_instructions() -> None:
    messages = contents("Hi", Request(system_prompt="You are a pirate."), ChatDefaults())
    assert messages[0] == f"system: {SYSTEM_PROMPT}"
    assert messages[1:3] == [f"user: {EXAMPLES[0].user}", f"assistant: {EXAMPLES[0].assistant}"]
    assert messages[-2:] == ["system: You are a pirate.", "user: Hi"]


def test_what_day_is_it_can_be_answered_from_the_prompt() -> None:
    assert contents("What day is it?", Request(asked_at=ASKED)) == [
        "system: Be kind.\nToday is Wednesday, March 11, 2026. Yesterday was Tuesday, tomorrow is Thursday. "
        "The time zone is Europe/Berlin.",
        "system: It is 3:42 PM.",
        "user: What day is it?",
    ]
    assert contents("What day is it?", Request()) == ["system: Be kind.", "user: What day is it?"]
    assert contents("Why?", Request(asked_at=datetime(2026, 3, 11, tzinfo=UTC)))[0].endswith("zone is UTC.")


def test_what_all_conversations_share_comes_before_the_date() -> None:
    request = Request(system_prompt="You are a pirate.", asked_at=ASKED)
    messages = contents("Hi", request, ChatDefaults())
    shared = 1 + 2 * len(EXAMPLES)
    assert messages[:shared] == contents("Hi", Request(), ChatDefaults())[:shared]
    assert messages[shared].startswith("system: Today is Wednesday, March 11, 2026.")
    assert messages[shared].endswith("\nYou are a pirate.")


@pytest.mark.parametrize(("hour", "said"), [(0, "12:05 AM"), (9, "9:05 AM"), (12, "12:05 PM"), (23, "11:05 PM")])
def test_the_time_is_said_as_it_is_read(hour: int, said: str) -> None:
    assert clock_time(datetime(2026, 1, 1, hour, 5)) == said


def test_the_time_is_said_again_when_it_is_asked_for_later() -> None:
    history = (
        Turn("What time is it?", "It's 3:42 PM.", ASKED),
        Turn("Thank you.", "You're welcome.", ASKED + timedelta(seconds=20)),
        Turn("And what time is it now?", "Still 3:42 PM.", ASKED + timedelta(seconds=30)),
        Turn("Tell me a joke.", "Why not.", ASKED + timedelta(minutes=5)),
    )
    later = contents("What time is it now?", Request(history=history, asked_at=ASKED + timedelta(minutes=9)))
    assert [one for one in later if one.startswith("system")][1:] == [
        "system: It is 3:42 PM.",
        "system: It is 3:51 PM.",
    ]
    tomorrow = contents("Is it late?", Request(history=history, asked_at=ASKED + timedelta(hours=9)))
    assert "Today is Wednesday, March 11, 2026." in tomorrow[0]
    assert tomorrow[-2] == "system: Today is Thursday, March 12, 2026. It is 12:42 AM."


def test_earlier_times_are_said_in_the_zone_of_the_question() -> None:
    history = (Turn("What time is it?", "It's 3:42.", ASKED.astimezone(UTC)),)
    messages = contents("And now?", Request(history=history, asked_at=ASKED + timedelta(seconds=9)))
    assert messages[1] == "system: It is 3:42 PM."


@pytest.mark.parametrize(
    ("question", "note"),
    [
        ("How do you spell yellow?", "system: Yellow is spelled Y, E, L, L, O, W."),
        ("Spell the words cat and dog, please.", "system: Cat is spelled C, A, T. Dog is spelled D, O, G."),
        ("I got a letter from my friend.", "system: Be kind."),
        ("Can you spell?", "system: Be kind."),
    ],
)
def test_letters_are_given_where_a_word_is_to_be_spelled(question: str, note: str) -> None:
    assert contents(question, Request())[-2] == note


def test_letters_are_given_for_the_next_word_too() -> None:
    request = Request(history=(Turn("How do you spell cat?", "C, A, T."),))
    assert contents("And dog?", request)[-2:] == ["system: Dog is spelled D, O, G.", "user: And dog?"]


def conversation(turns: int) -> list[Request]:
    """The requests of one conversation, a turn every 40 seconds."""
    history: list[Turn] = []
    requests = []
    for number in range(turns):
        at = ASKED + timedelta(seconds=40 * number)
        question = (
            f"What time is it in round {number}?"
            if number % 3 == 0
            else f"How do you spell word{'abcdef'[number % 6]}?"
        )
        requests.append(Request(text=question, history=tuple(history), asked_at=at))
        history.append(Turn(question, f"This is answer {number}.", at))
    return requests


def test_each_prompt_begins_with_the_one_before(tokenizer: Tokenizer) -> None:
    prompt = ChatPrompt(tokenizer, ChatDefaults())
    before: list[int] = []
    for request in conversation(10):
        ids = prompt.encode(request.text or "", request, 4000)
        assert ids[: len(before)] == before
        before = ids


def test_all_conversations_of_a_day_share_everything_before_the_first_question(tokenizer: Tokenizer) -> None:
    prompt = ChatPrompt(tokenizer, ChatDefaults())
    request = Request(asked_at=ASKED)
    one, other = (
        prompt.encode(question, replace(request, asked_at=ASKED + timedelta(hours=hours)), 4000)
        for question, hours in (("Hello there!", 0), ("Why is the sky blue?", 5))
    )
    shared = next(index for index, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    assert len(one) - shared < 12
    assert len(one) < 480


def test_turns_are_left_out_several_at_a_time(tokenizer: Tokenizer) -> None:
    """Else every turn of a long conversation would have all that is left read again."""
    prompt, room = ChatPrompt(tokenizer, PLAIN), 400
    firsts = []
    for request in conversation(40):
        ids = prompt.encode(request.text or "", request, room)
        assert len(ids) <= room
        firsts.append(tokenizer.decode(ids).count("This is answer"))
    cuts = [after for before, after in pairwise(firsts) if after < before]
    assert 2 <= len(cuts) <= 12
    assert min(cuts) >= 2


def test_defaults_are_part_of_the_checkpoint() -> None:
    made = ChatDefaults.from_dict({"examples": [{"user": "Hi", "assistant": "Hello"}], "repetition_penalty": 1.2})
    assert made == ChatDefaults(SYSTEM_PROMPT, (Turn("Hi", "Hello"),), 1.2)

"""The Realtime API on a real socket, with a scripted model: what is told, in which order, under which ids."""

from __future__ import annotations

import asyncio
import base64
import math
from typing import Any

import numpy as np
import pytest
import soxr

from model.request import AudioChunk, Done, EngineFull, Heard, TextDelta, Turn
from model.vocabulary import Task
from tests.server.harness import running
from tests.server.realtime import Api, api, kinds, sound_of
from tests.server.scripted import ANSWER, FRAME_SAMPLES, HEARD, ScriptedGenerator, tone

QUIET = np.zeros(16_000, np.float32)
TRANSCRIBED = {"audio": {"input": {"transcription": {"model": "whisper-1"}}}}
PUSH_TO_TALK = {"audio": {"input": {"turn_detection": None}}}
ANSWERED = [
    "response.created",
    "rate_limits.updated",
    "response.output_item.added",
    "conversation.item.added",
    "response.content_part.added",
]
ENDED = [
    "response.output_audio.done",
    "response.output_audio_transcript.done",
    "response.content_part.done",
    "response.output_item.done",
    "conversation.item.done",
    "response.done",
]


async def failed(talk: Api) -> dict[str, Any]:
    error: dict[str, Any] = (await talk.next("error"))["error"]
    return error


# sessions


async def test_a_session_begins_with_the_servers_settings() -> None:
    async with running(ScriptedGenerator(), system_prompt="Be kind.") as server, api(server) as talk:
        session = await talk.greeted()
    assert session["model"] == "smol-omni"
    assert session["instructions"] == "Be kind."
    assert session["output_modalities"] == ["audio"]
    assert session["audio"]["input"]["format"] == {"type": "audio/pcm", "rate": 24_000}
    assert session["audio"]["input"]["turn_detection"]["type"] == "server_vad"
    assert session["audio"]["input"]["turn_detection"]["silence_duration_ms"] == 500


async def test_updates_are_merged_field_by_field() -> None:
    async with running(ScriptedGenerator()) as server, api(server) as talk:
        await talk.greeted()
        await talk.update(instructions="Be brief.", audio={"output": {"voice": "marin"}})
        detection = {"type": "server_vad", "silence_duration_ms": 700}
        session = await talk.update(audio={"input": {"turn_detection": detection}})
        assert session["instructions"] == "Be brief."
        assert session["audio"]["output"]["voice"] == "marin"
        assert session["audio"]["input"]["turn_detection"]["silence_duration_ms"] == 700
        assert session["audio"]["input"]["turn_detection"]["prefix_padding_ms"] == 300
        session = await talk.update(audio={"input": {"turn_detection": {"type": "semantic_vad", "eagerness": "low"}}})
        assert session["audio"]["input"]["turn_detection"] == {
            "type": "semantic_vad",
            "eagerness": "low",
            "create_response": True,
            "interrupt_response": True,
        }
        session = await talk.update(**PUSH_TO_TALK)
        assert session["audio"]["input"]["turn_detection"] is None


@pytest.mark.parametrize(
    ("update", "code", "param"),
    [
        ({"tools": [{"type": "function", "name": "f"}]}, "invalid_value", "session.tools"),
        ({"tool_choice": "required"}, "invalid_value", "session.tool_choice"),
        ({"include": ["item.input_audio_transcription.logprobs"]}, "invalid_value", "session.include"),
        ({"colour": "red"}, "unknown_parameter", "session.colour"),
        ({"output_modalities": ["video"]}, "invalid_value", "session.output_modalities.0"),
        ({"audio": {"output": {"speed": 1.5}}}, "invalid_value", "session.audio.output.speed"),
        ({"audio": {"input": {"format": {"type": "audio/opus"}}}}, "invalid_value", "session.audio.input.format.type"),
        (
            {"audio": {"input": {"format": {"type": "audio/pcm", "rate": 16_000}}}},
            "invalid_value",
            "session.audio.input.format.rate",
        ),
        (
            {"audio": {"input": {"transcription": {"model": "whisper-1", "language": "de"}}}},
            "invalid_value",
            "session.audio.input.transcription.language",
        ),
    ],
)
async def test_what_cannot_be_done_is_refused_and_changes_nothing(
    update: dict[str, Any], code: str, param: str
) -> None:
    async with running(ScriptedGenerator()) as server, api(server) as talk:
        before = await talk.greeted()
        await talk.send("session.update", event_id="mine_1", session={"type": "realtime", **update})
        error = await failed(talk)
        assert (error["type"], error["code"], error["param"], error["event_id"]) == (
            "invalid_request_error",
            code,
            param,
            "mine_1",
        )
        assert len(error["message"]) > 20
        assert await talk.update() == before


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ("{", "invalid_json"),
        ("[]", "invalid_json"),
        ('{"type": "dance"}', "invalid_value"),
        ('{"type": "input_audio_buffer.append"}', "missing_required_parameter"),
        ('{"type": "input_audio_buffer.append", "audio": "!"}', "invalid_value"),
        ('{"type": "input_audio_buffer.commit"}', "input_audio_buffer_commit_empty"),
        ('{"type": "response.cancel"}', "response_cancel_not_active"),
        ('{"type": "conversation.item.retrieve", "item_id": "x"}', "item_retrieve_invalid_item_id"),
        ('{"type": "conversation.item.delete", "item_id": "x"}', "item_delete_invalid_item_id"),
        ('{"type": "conversation.item.truncate", "item_id": "x", "audio_end_ms": 0}', "item_truncate_invalid_item_id"),
        ('{"type": "response.create", "response": {"tools": [{"type": "function"}]}}', "invalid_value"),
        ('{"type": "response.create", "response": {"conversation": "other"}}', "invalid_value"),
    ],
)
async def test_bad_events_are_answered_with_the_apis_errors_and_the_session_lives(frame: str, code: str) -> None:
    async with running(ScriptedGenerator()) as server, api(server) as talk:
        await talk.greeted()
        await talk.socket.send(frame)
        assert (await failed(talk))["code"] == code
        await talk.update()


@pytest.mark.parametrize(
    "item",
    [
        {"type": "message", "role": "user", "content": [{"type": "input_image", "image_url": "data:,"}]},
        {"type": "function_call_output", "call_id": "c", "output": "1"},
        {"type": "message", "role": "assistant", "content": [{"type": "output_audio", "audio": "AAAA"}]},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": " "}]},
        {"type": "message", "role": "user", "content": [{"type": "input_audio", "audio": "?"}]},
        {"type": "message", "role": "user", "content": [{"type": "input_audio", "audio": ""}]},
    ],
)
async def test_items_that_the_model_cannot_read_are_refused(item: dict[str, Any]) -> None:
    async with running(ScriptedGenerator()) as server, api(server) as talk:
        await talk.greeted()
        await talk.send("conversation.item.create", item=item)
        error = await failed(talk)
        assert error["type"] == "invalid_request_error"
        assert error["param"].startswith("item.")


# typed turns


async def test_a_typed_turn_in_the_documented_order_with_linked_ids() -> None:
    generator = ScriptedGenerator()
    async with running(generator) as server, api(server) as talk:
        await talk.greeted()
        asked = await talk.type("What is the capital of France?")
        assert asked["previous_item_id"] is None
        await talk.send("response.create", response={"metadata": {"mine": "1"}})
        events = await talk.until("response.done")
    assert kinds(events)[:5] == ANSWERED
    assert kinds(events)[-6:] == ENDED
    middle = {"response.output_audio_transcript.delta", "response.output_audio.delta"}
    assert set(kinds(events)[5:-6]) == middle
    created, done = events[0]["response"], events[-1]["response"]
    assert created["id"] == done["id"]
    assert (created["status"], done["status"]) == ("in_progress", "completed")
    assert done["metadata"] == {"mine": "1"}
    answer = events[2]["item"]["id"]
    assert {e["item_id"] for e in events if "item_id" in e} == {answer}
    assert {e["response_id"] for e in events if "response_id" in e} == {done["id"]}
    assert events[3]["previous_item_id"] == asked["item"]["id"]
    assert done["output"][0]["id"] == answer
    assert done["output"][0]["content"] == [{"type": "output_audio", "transcript": ANSWER}]
    texts = [e["delta"] for e in events if e["type"] == "response.output_audio_transcript.delta"]
    assert "".join(texts) == ANSWER
    assert len(sound_of(events)) == 2 * FRAME_SAMPLES * 4 * len(ANSWER.split())
    assert done["usage"]["output_token_details"] == {"text_tokens": 11, "audio_tokens": 7 * 44}
    assert done["usage"]["total_tokens"] == done["usage"]["input_tokens"] + done["usage"]["output_tokens"]
    assert generator.requests[-1].text == "What is the capital of France?"


async def test_text_answers_hold_no_sound() -> None:
    generator = ScriptedGenerator()
    async with running(generator) as server, api(server) as talk:
        await talk.greeted()
        await talk.update(output_modalities=["text"])
        await talk.type("Hello")
        await talk.send("response.create")
        events = await talk.until("response.done")
    assert "response.output_audio.delta" not in kinds(events)
    assert "".join(e["delta"] for e in events if e["type"] == "response.output_text.delta") == ANSWER
    assert events[-1]["response"]["output"][0]["content"] == [{"type": "output_text", "text": ANSWER}]
    assert generator.requests[-1].task is Task.T1T2


async def test_instructions_limits_and_system_items_reach_the_model() -> None:
    generator = ScriptedGenerator()
    async with running(generator) as server, api(server) as talk:
        await talk.greeted()
        await talk.update(instructions="Be kind.", max_output_tokens=50, temperature=0.5)
        await talk.update(audio={"output": {"speed": 0.8}})
        await talk.type("The user is a child.", role="system")
        await talk.type("Hello.", role="assistant")
        await talk.type("One?")
        await talk.type("Two?")
        await talk.send("response.create", response={"instructions": "Be brief.", "max_output_tokens": 5})
        await talk.until("response.done")
        first = generator.requests[-1]
        await talk.send("response.create")
        await talk.until("response.done")
    assert (first.system_prompt, first.max_tokens) == ("Be brief.\nThe user is a child.", 5)
    assert first.history == (Turn("", "Hello."), Turn("One?", ""))
    assert first.text == "Two?"
    assert (first.sampling.temperature, first.speed) == (0.5, 0.8)
    second = generator.requests[-1]
    assert (second.system_prompt, second.max_tokens) == ("Be kind.\nThe user is a child.", 50)
    assert second.text == "", "nobody asked: the assistant goes on by itself"
    assert second.history[-1] == Turn("Two?", ANSWER)


async def test_instructions_alone_are_what_is_answered() -> None:
    generator = ScriptedGenerator()
    async with running(generator) as server, api(server) as talk:
        await talk.greeted()
        await talk.update(instructions="Be kind.")
        await talk.send("response.create", response={"instructions": "Greet the user."})
        await talk.until("response.done")
        first = generator.requests[-1]
        await talk.type("Hello")
        await talk.send("response.create")
        await talk.until("response.done")
    assert (first.text, first.system_prompt, first.history) == ("Greet the user.", "Be kind.", ())
    assert generator.requests[-1].history == (Turn("", ANSWER),), "the instructions are nobody's question"


async def test_answers_are_refused_while_one_is_made_and_can_be_cancelled() -> None:
    generator = ScriptedGenerator(step_s=0.02)
    async with running(generator) as server, api(server) as talk:
        await talk.greeted()
        await talk.type("Hello")
        await talk.send("response.create")
        await talk.until("response.output_audio.delta")
        await talk.send("response.create", event_id="second")
        events = await talk.until("error")
        assert events[-1]["error"]["code"] == "conversation_already_has_active_response"
        assert events[-1]["error"]["event_id"] == "second"
        await talk.send("response.cancel")
        done = (await talk.until("response.done"))[-1]["response"]
        assert (done["status"], done["status_details"]["reason"]) == ("cancelled", "client_cancelled")
        assert done["output"][0]["status"] == "incomplete"
        assert generator.cancelled == 1
        await talk.send("response.create")
        assert (await talk.until("response.done"))[-1]["response"]["status"] == "completed"


async def test_a_cancellation_is_not_of_an_answer_that_the_client_was_not_told_of(question: np.ndarray) -> None:
    """Clients cancel when they hear of speech; where that comes late, the next turn is already thought about."""
    gate = asyncio.Event()
    async with running(ScriptedGenerator(gate=gate)) as server, api(server) as talk:
        await talk.greeted()
        await talk.say(np.concatenate([QUIET, question, QUIET]))
        await talk.until("input_audio_buffer.speech_stopped")
        await talk.send("response.cancel")
        error = await failed(talk)
        assert error["code"] == "response_cancel_not_active"
        assert error["message"].startswith("Cancellation failed"), "what clients overlook"
        gate.set()
        assert (await talk.until("response.done"))[-1]["response"]["status"] == "completed"


@pytest.mark.parametrize("spoken_first", [False, True])
async def test_a_failure_ends_the_response_and_the_session_lives(spoken_first: bool) -> None:
    begun = [TextDelta("The"), AudioChunk(tone(1), 3)] if spoken_first else []
    generator = ScriptedGenerator()
    async with running(generator) as server, api(server) as talk:
        await talk.greeted()
        await talk.type("Hello")
        generator.script = [*begun, EngineFull("full")]
        await talk.send("response.create")
        done = (await talk.until("response.done"))[-1]["response"]
        assert done["status"] == "failed"
        assert done["status_details"]["error"]["code"] == "busy"
        generator.script = None
        await talk.send("response.create")
        assert (await talk.until("response.done"))[-1]["response"]["status"] == "completed"


# items


async def test_items_are_put_anywhere_read_and_deleted() -> None:
    generator = ScriptedGenerator()
    async with running(generator) as server, api(server) as talk:
        await talk.greeted()
        await talk.type("second", item={"id": "b"})
        third = await talk.type("third", item={"id": "c"})
        assert third["previous_item_id"] == "b"
        first = await talk.type("first", item={"id": "a"}, previous_item_id="root")
        assert first["previous_item_id"] is None
        between = await talk.type("between", item={"id": "ab"}, previous_item_id="a")
        assert between["previous_item_id"] == "a"
        await talk.send("conversation.item.create", item=between["item"])
        assert (await failed(talk))["code"] == "item_create_duplicate_item_id"
        await talk.send("conversation.item.retrieve", item_id="ab")
        assert (await talk.next("conversation.item.retrieved"))["item"] == between["item"]
        await talk.send("conversation.item.delete", item_id="b")
        assert (await talk.next("conversation.item.deleted"))["item_id"] == "b"
        await talk.send("response.create")
        await talk.until("response.done")
    request = generator.requests[-1]
    assert [turn.user for turn in request.history] == ["first", "between"]
    assert request.text == "third"


async def test_truncation_leaves_in_memory_what_was_played() -> None:
    generator = ScriptedGenerator()
    async with running(generator) as server, api(server) as talk:
        await talk.greeted()
        await talk.type("Hello")
        await talk.send("response.create")
        events = await talk.until("response.done")
        answer = events[-1]["response"]["output"][0]["id"]
        four_words_ms = math.ceil(4 * 4 * FRAME_SAMPLES / 24)
        cut = {"item_id": answer, "content_index": 0}
        await talk.send("conversation.item.truncate", **cut, audio_end_ms=10**6)
        assert (await failed(talk))["param"] == "audio_end_ms"
        await talk.send("conversation.item.truncate", **cut, audio_end_ms=four_words_ms)
        assert await talk.next("conversation.item.truncated") == {
            "type": "conversation.item.truncated",
            **cut,
            "audio_end_ms": four_words_ms,
        }
        await talk.send("conversation.item.retrieve", item_id=answer)
        shown = (await talk.next("conversation.item.retrieved"))["item"]
        assert shown["content"] == [{"type": "output_audio", "transcript": "The capital of France"}]
        await talk.type("And?")
        await talk.send("response.create")
        await talk.until("response.done")
    assert generator.requests[-1].history == (Turn("Hello", "The capital of France"),)


async def test_responses_beside_the_conversation_are_not_remembered() -> None:
    generator = ScriptedGenerator(step_s=0.01)
    async with running(generator) as server, api(server) as talk:
        await talk.greeted()
        item = await talk.type("Hello")
        await talk.send("response.create")
        await talk.until("response.output_audio.delta")
        wanted = {
            "conversation": "none",
            "output_modalities": ["text"],
            "metadata": {"topic": "kind"},
            "instructions": "Say the topic.",
            "input": [
                {"type": "item_reference", "id": item["item"]["id"]},
                {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Which topic?"}]},
            ],
        }
        await talk.send("response.create", response=wanted)
        first = await talk.until("response.done")
        second = await talk.until("response.done")
        by_topic = {e["response"]["metadata"] is not None: e["response"] for e in (first[-1], second[-1])}
        assert by_topic[True]["conversation_id"] is None
        assert by_topic[False]["conversation_id"] is not None
        assert by_topic[True]["output"][0]["content"][0] == {"type": "output_text", "text": ANSWER}
        asked = next(r for r in generator.requests if r.text == "Which topic?")
        assert (asked.system_prompt, asked.history, asked.task) == ("Say the topic.", (Turn("Hello", ""),), Task.T1T2)
        await talk.type("And?")
        await talk.send("response.create")
        await talk.until("response.done")
    assert generator.requests[-1].history == (Turn("Hello", ANSWER),)


async def test_a_response_beside_the_conversation_can_be_cancelled() -> None:
    generator = ScriptedGenerator(step_s=0.05)
    async with running(generator) as server, api(server) as talk:
        await talk.greeted()
        await talk.type("Hello")
        await talk.send("response.create", response={"conversation": "none"})
        created = (await talk.until("response.output_audio.delta"))[0]
        await talk.send("response.cancel", response_id=created["response"]["id"])
        done = (await talk.until("response.done"))[-1]["response"]
        assert (done["id"], done["status"]) == (created["response"]["id"], "cancelled")
    assert generator.cancelled == 1


# spoken turns


async def test_a_spoken_turn_found_by_the_server(question: np.ndarray) -> None:
    generator = ScriptedGenerator()
    async with running(generator) as server, api(server) as talk:
        await talk.greeted()
        await talk.update(**TRANSCRIBED)
        await talk.say(np.concatenate([QUIET, question, QUIET]))
        events = await talk.until("response.done")
    order = [
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        "conversation.item.input_audio_transcription.delta",
        "conversation.item.input_audio_transcription.completed",
        *ANSWERED,
    ]
    assert kinds(events)[: len(order)] == order
    assert kinds(events)[-6:] == ENDED
    turn = events[0]["item_id"]
    assert {events[index]["item_id"] for index in (0, 1, 2, 5, 6)} == {turn}
    assert events[3]["item"]["id"] == turn
    assert events[0]["audio_start_ms"] == pytest.approx(1000, abs=320)
    assert events[6]["transcript"] == HEARD
    assert events[6]["usage"]["seconds"] == pytest.approx(len(question) / 16_000, abs=0.4)
    assert (
        next(e for e in events if e["type"] == "conversation.item.added" and e["item"]["role"] == "assistant")[
            "previous_item_id"
        ]
        == turn
    )
    audio = generator.requests[-1].audio
    assert audio is not None
    assert np.correlate(audio, question, "full").max() > 0.9 * float((question**2).sum())


async def test_nobody_is_told_of_a_turn_without_words(question: np.ndarray) -> None:
    generator = ScriptedGenerator()
    async with running(generator) as server, api(server) as talk:
        await talk.greeted()
        generator.script = [Heard(""), Done("no_speech", "", 0.0, 0, 0)]
        generator.ended.clear()
        await talk.say(np.concatenate([QUIET, question, QUIET]))
        await talk.next("input_audio_buffer.speech_started")
        await talk.next("input_audio_buffer.speech_stopped")
        await generator.ended.wait()
        generator.script = None
        await talk.type("Hello")
        await talk.send("response.create")
        assert (await talk.until("response.done"))[-1]["response"]["status"] == "completed"
    assert generator.requests[-1].history == ()


async def test_speech_interrupts_an_answer_that_is_made(question: np.ndarray) -> None:
    generator = ScriptedGenerator(step_s=0.2)
    async with running(generator) as server, api(server) as talk:
        await talk.greeted()
        await talk.type("Hello")
        await talk.send("response.create")
        await talk.until("response.output_audio.delta")
        await talk.say(np.concatenate([question, QUIET]))
        events = await talk.until("response.done")
        assert kinds(events)[-7:] == ["input_audio_buffer.speech_started", *ENDED]
        done = events[-1]["response"]
        assert (done["status"], done["status_details"]["reason"]) == ("cancelled", "turn_detected")
        generator.step_s = 0.0
        assert (await talk.until("response.done"))[-1]["response"]["status"] == "completed"


async def test_an_answer_goes_on_as_another_response_when_nothing_was_said(question: np.ndarray) -> None:
    generator = ScriptedGenerator(step_s=0.05)  # half a second is played while it is made
    async with running(generator) as server, api(server) as talk:
        await talk.greeted()
        await talk.type("Hello")
        await talk.send("response.create")
        first = await talk.until("response.done")
        generator.step_s = 0.0
        generator.script = [Heard(""), Done("no_speech", "", 0.0, 0, 0)]
        await talk.say(np.concatenate([question, QUIET]))
        events = await talk.until("response.done")
        answer, rest = (e[-1]["response"]["output"][0] for e in (first, events))
        assert answer["id"] != rest["id"]
        added = next(e for e in events if e["type"] == "conversation.item.added")
        assert (added["previous_item_id"], added["item"]["id"]) == (answer["id"], rest["id"])
        assert ANSWER.endswith(rest["content"][0]["transcript"])
        again = sound_of(events)
        assert sound_of(first)[-len(again) // 2 :] == again[-len(again) // 2 :]
        assert len(again) < len(sound_of(first))
        left_ms = len(again) / 48
        generator.script = None
        cut = {"item_id": rest["id"], "content_index": 0}
        await talk.send("conversation.item.truncate", **cut, audio_end_ms=math.ceil(left_ms) + 100)
        assert (await failed(talk))["param"] == "audio_end_ms"
        await talk.send("conversation.item.truncate", **cut, audio_end_ms=0)
        await talk.next("conversation.item.truncated")
        await talk.type("And?")
        await talk.send("response.create")
        await talk.until("response.done")
    said = generator.requests[-1].history[0].assistant
    assert ANSWER.startswith(said)
    assert len(said) < len(ANSWER), "what was cut off is not remembered"


async def test_somebody_silent_is_asked_whether_they_are_there() -> None:
    generator = ScriptedGenerator()
    async with running(generator, max_audio_lead_s=60) as server, api(server) as talk:
        await talk.greeted()
        await talk.update(audio={"input": {"turn_detection": {"type": "server_vad", "idle_timeout_ms": 5000}}})
        await talk.update(output_modalities=["text"])
        await talk.type("Hello")
        await talk.send("response.create")
        await talk.until("response.done")
        await talk.say(np.zeros(16_000 * 6, np.float32))
        events = await talk.until("response.done")
    assert events[0]["type"] == "input_audio_buffer.timeout_triggered"
    assert events[0]["audio_end_ms"] - events[0]["audio_start_ms"] == pytest.approx(5000, abs=110)
    assert events[-1]["response"]["status"] == "completed"


async def test_an_answer_that_may_not_be_interrupted_goes_on_and_the_turn_is_kept(question: np.ndarray) -> None:
    generator = ScriptedGenerator(step_s=0.1)
    async with running(generator) as server, api(server) as talk:
        await talk.greeted()
        detection = {"type": "server_vad", "interrupt_response": False}
        await talk.update(audio={"input": {"turn_detection": detection, "transcription": {"model": "whisper-1"}}})
        await talk.type("Hello")
        await talk.send("response.create")
        await talk.until("response.output_audio.delta")
        await talk.say(np.concatenate([question, QUIET]))
        events = await talk.until("conversation.item.input_audio_transcription.completed")
        assert "response.done" not in kinds(events)
        turn = events[-1]["item_id"]
        assert (await talk.until("response.done"))[-1]["response"]["status"] == "completed"
        await talk.send("conversation.item.retrieve", item_id=turn)
        shown = (await talk.next("conversation.item.retrieved"))["item"]
        assert shown["content"] == [{"type": "input_audio", "transcript": HEARD}]


async def test_turns_are_found_but_answered_when_asked(question: np.ndarray) -> None:
    generator = ScriptedGenerator()
    async with running(generator) as server, api(server) as talk:
        await talk.greeted()
        detection = {"type": "server_vad", "create_response": False}
        await talk.update(audio={"input": {"turn_detection": detection, "transcription": {"model": "whisper-1"}}})
        await talk.say(np.concatenate([QUIET, question, QUIET]))
        events = await talk.until("conversation.item.input_audio_transcription.completed")
        assert "response.created" not in kinds(events)
        await talk.send("response.create")
        assert kinds(await talk.until("response.done"))[:5] == ANSWERED
    assert generator.requests[-1].text == HEARD


async def test_push_to_talk(question: np.ndarray) -> None:
    generator = ScriptedGenerator()
    async with running(generator) as server, api(server) as talk:
        await talk.greeted()
        await talk.update(audio={"input": {"turn_detection": None, "transcription": {"model": "whisper-1"}}})
        await talk.say(np.concatenate([question, QUIET]))
        await talk.send("input_audio_buffer.clear")
        await talk.next("input_audio_buffer.cleared")
        await talk.send("input_audio_buffer.commit")
        assert (await failed(talk))["code"] == "input_audio_buffer_commit_empty"
        await talk.say(question)
        await talk.send("input_audio_buffer.commit")
        await talk.send("response.create")
        events = await talk.until("response.done")
    assert kinds(events)[:4] == [
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        "response.created",
    ]
    transcript = next(e for e in events if e["type"].endswith("transcription.completed"))
    assert (transcript["item_id"], transcript["transcript"]) == (events[0]["item_id"], HEARD)
    audio = generator.requests[-1].audio
    assert audio is not None, "it is heard and answered in one go"
    assert len(audio) == pytest.approx(len(question), abs=1600)
    assert events[-1]["response"]["status"] == "completed"


async def test_turns_may_be_found_again_after_push_to_talk_while_an_echo_is_heard() -> None:
    noise = (0.2 * np.random.default_rng(0).standard_normal(72_000)).astype(np.float32)
    generator = ScriptedGenerator()
    async with running(generator) as server, api(server) as talk:
        await talk.greeted()
        await talk.update(**PUSH_TO_TALK)
        await talk.say(np.zeros(1000, np.float32))
        await talk.update(audio={"input": {"turn_detection": {"type": "server_vad"}}})
        generator.script = [TextDelta("Hm."), AudioChunk(noise, 3), Done("stop", "Hm.", 3.0, 1, 35)]
        await talk.type("Hello")
        await talk.send("response.create")
        await talk.until("response.done")
        echo = 0.3 * soxr.resample(noise, 24_000, 16_000)
        await talk.say(np.concatenate([np.zeros(2000, np.float32), echo]))
        await talk.send("response.cancel")
        assert (await failed(talk))["code"] == "response_cancel_not_active", "and nothing was heard of the echo"


async def test_a_spoken_item_is_heard_and_answered(question: np.ndarray) -> None:
    generator = ScriptedGenerator()
    sound = base64.b64encode((np.repeat(question, 3)[::2] * 32767).astype("<i2").tobytes()).decode()
    async with running(generator) as server, api(server) as talk:
        await talk.greeted()
        await talk.update(**TRANSCRIBED)
        item = {"type": "message", "role": "user", "content": [{"type": "input_audio", "audio": sound}], "id": "spoken"}
        await talk.send("conversation.item.create", item=item)
        events = await talk.until("conversation.item.input_audio_transcription.completed")
        assert events[-1]["item_id"] == "spoken"
        assert events[-1]["transcript"] == HEARD
        await talk.send("response.create")
        await talk.until("response.done")
    assert generator.requests[-1].text == HEARD


@pytest.mark.parametrize("law", ["audio/pcmu", "audio/pcma"])
async def test_telephone_sound_in_and_out(question: np.ndarray, law: str) -> None:
    audioop = pytest.importorskip("audioop")
    encode, decode = (
        (audioop.lin2ulaw, audioop.ulaw2lin) if law == "audio/pcmu" else (audioop.lin2alaw, audioop.alaw2lin)
    )
    generator = ScriptedGenerator()
    async with running(generator) as server, api(server) as talk:
        await talk.greeted()
        await talk.update(audio={"input": {"format": {"type": law}}, "output": {"format": {"type": law}}})
        eight = np.concatenate([QUIET, question, QUIET])[::2]
        data = encode((eight * 32767).astype("<i2").tobytes(), 2)
        for start in range(0, len(data), 800):
            await talk.send("input_audio_buffer.append", audio=base64.b64encode(data[start : start + 800]).decode())
        events = await talk.until("response.done")
    audio = generator.requests[-1].audio
    assert audio is not None
    assert np.correlate(audio, question, "full").max() > 0.7 * float((question**2).sum())
    sound = np.frombuffer(decode(sound_of(events), 2), "<i2") / 32768
    seconds = FRAME_SAMPLES * 4 * len(ANSWER.split()) / 24_000
    assert len(sound) == pytest.approx(seconds * 8000, abs=2)
    spectrum = np.abs(np.fft.rfft(sound))
    assert spectrum.argmax() * 8000 / len(sound) == pytest.approx(220, abs=1)


# the beta


async def test_the_earlier_beta_is_spoken_to_those_who_ask_for_it() -> None:
    headers = {"OpenAI-Beta": "realtime=v1"}
    async with running(ScriptedGenerator()) as server, api(server, False, additional_headers=headers) as talk:
        session = await talk.greeted()
        assert session["input_audio_format"] == "pcm16"
        assert session["modalities"] == ["text", "audio"]
        settings = {
            "modalities": ["audio", "text"],
            "input_audio_format": "g711_ulaw",
            "turn_detection": None,
            "max_response_output_tokens": 64,
            "temperature": 0.8,
        }
        await talk.send("session.update", session=settings)
        session = (await talk.next("session.updated"))["session"]
        assert (session["input_audio_format"], session["turn_detection"]) == ("g711_ulaw", None)
        assert (session["max_response_output_tokens"], session["temperature"]) == (64, 0.8)
        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello"}]}
        await talk.send("conversation.item.create", item=item)
        await talk.next("conversation.item.created")
        await talk.send("response.create", response={"modalities": ["text", "audio"]})
        events = await talk.until("response.done")
    assert {"response.audio.delta", "response.audio_transcript.delta", "conversation.item.created"} <= set(
        kinds(events)
    )
    assert not any("output_audio" in kind or kind.endswith("item.added.v2") for kind in kinds(events))
    assert events[-1]["response"]["output"][0]["content"][0]["type"] == "audio"

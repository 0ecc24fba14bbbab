"""The Realtime API's earlier beta: the same session and events under other names.

Clients that say `OpenAI-Beta: realtime=v1` get the old names; updates are taken in both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

HEADER, VALUE = "openai-beta", "realtime=v1"
SUBPROTOCOL = "openai-beta.realtime-v1"

_FORMATS = {"pcm16": "audio/pcm", "g711_ulaw": "audio/pcmu", "g711_alaw": "audio/pcma"}
_OLD_FORMATS = {new: old for old, new in _FORMATS.items()}
_RENAMED = {"modalities": "output_modalities", "max_response_output_tokens": "max_output_tokens"}
_PLACES = {
    "input_audio_format": ("input", "format"),
    "output_audio_format": ("output", "format"),
    "input_audio_transcription": ("input", "transcription"),
    "input_audio_noise_reduction": ("input", "noise_reduction"),
    "turn_detection": ("input", "turn_detection"),
    "voice": ("output", "voice"),
    "speed": ("output", "speed"),
}
_EVENTS = {
    "response.output_text.delta": "response.text.delta",
    "response.output_text.done": "response.text.done",
    "response.output_audio.delta": "response.audio.delta",
    "response.output_audio.done": "response.audio.done",
    "response.output_audio_transcript.delta": "response.audio_transcript.delta",
    "response.output_audio_transcript.done": "response.audio_transcript.done",
    "conversation.item.added": "conversation.item.created",
}
_CONTENT = {"output_audio": "audio", "output_text": "text"}


def modern(settings: Mapping[str, Any]) -> dict[str, Any]:
    """A session or a response's settings with the old names replaced by today's."""
    result: dict[str, Any] = {}
    audio: dict[str, dict[str, Any]] = {}
    for name, value in settings.items():
        if name in _PLACES:
            direction, field = _PLACES[name]
            if field == "format" and isinstance(value, str):
                value = {"type": _FORMATS.get(value, value)}
            audio.setdefault(direction, {})[field] = value
        else:
            result[_RENAMED.get(name, name)] = value
    if audio:
        given = result.get("audio")
        given = given if isinstance(given, Mapping) else {}
        result["audio"] = {side: {**audio.get(side, {}), **(given.get(side) or {})} for side in ("input", "output")}
    return result


def beta(event: Mapping[str, Any]) -> dict[str, Any] | None:
    """An event under its old name; None where the beta had none."""
    if event["type"] == "conversation.item.done":
        return None
    old = {**event, "type": _EVENTS.get(event["type"], event["type"])}
    if "session" in old:
        old["session"] = _old_session(old["session"])
    if "item" in old:
        old["item"] = _old_item(old["item"])
    if "response" in old:
        response = old["response"] = {**old["response"]}
        response["output"] = [_old_item(item) for item in response.get("output", [])]
        modalities = response.pop("output_modalities", ["audio"])
        response["modalities"] = ["text", "audio"] if modalities == ["audio"] else modalities
    return old


def _old_item(item: Mapping[str, Any]) -> dict[str, Any]:
    content = [{**part, "type": _CONTENT.get(part["type"], part["type"])} for part in item.get("content", [])]
    return {**item, "content": content}


def _old_session(session: Mapping[str, Any]) -> dict[str, Any]:
    old = {name: value for name, value in session.items() if name not in ("audio", "type")}
    for name, (direction, field) in _PLACES.items():
        value = session["audio"][direction].get(field)
        old[name] = _OLD_FORMATS[value["type"]] if field == "format" else value
    for old_name, name in _RENAMED.items():
        old[old_name] = old.pop(name)
    if old["modalities"] == ["audio"]:
        old["modalities"] = ["text", "audio"]
    return old

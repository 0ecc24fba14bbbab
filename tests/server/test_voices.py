"""The voice probabilities of many microphones, asked for at the same time."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from model.voice_activity import WINDOW_SAMPLES, VoiceActivity
from server.voices import Voices, VoiceStream
from tests.server.conftest import probabilities


async def test_each_microphone_gets_its_own_in_pieces_of_any_size(silero: VoiceActivity, question: np.ndarray) -> None:
    voices = Voices()
    await voices.start()
    sounds = [np.roll(question, 997 * number) * (1 - number / 40) for number in range(24)]

    async def listen(number: int) -> list[float]:
        stream, heard, rng = VoiceStream(), [], np.random.default_rng(number)
        start = 0
        while start < len(sounds[number]):
            size = int(rng.integers(1, 2500))
            heard += await voices.probabilities(stream, sounds[number][start : start + size])
            start += size
        return heard

    found = await asyncio.gather(*(listen(number) for number in range(24)))
    for sound, heard in zip(sounds, found, strict=True):
        assert len(heard) == len(sound) // WINDOW_SAMPLES
        np.testing.assert_allclose(heard, probabilities(silero, sound), atol=1e-5)
    assert not voices._waiting
    voices.stop()


async def test_who_leaves_while_asking_keeps_nobody_waiting() -> None:
    voices = Voices()
    await voices.start()
    sound = np.zeros(20 * WINDOW_SAMPLES, np.float32)
    leaving = [asyncio.ensure_future(voices.probabilities(VoiceStream(), sound)) for _ in range(5)]
    staying = asyncio.ensure_future(voices.probabilities(VoiceStream(), sound))
    await asyncio.sleep(0)
    for task in leaving:
        task.cancel()
    async with asyncio.timeout(10):
        assert len(await staying) == 20
        assert len(await voices.probabilities(VoiceStream(), sound[:600])) == 1
    voices.stop()


@pytest.mark.parametrize("windows", [1, 40])
async def test_what_breaks_is_told_to_those_who_asked_and_others_go_on(
    windows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    voices = Voices()
    await voices.start()
    sound = np.zeros(windows * WINDOW_SAMPLES, np.float32)
    with monkeypatch.context() as broken:
        broken.setattr(VoiceActivity, "judge", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            await voices.probabilities(VoiceStream(), sound)
    assert len(await voices.probabilities(VoiceStream(), sound)) == windows
    voices.stop()

"""Speech data: what is spoken, for how long, and what of it is never trained on."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from model.mouth import MouthConfig
from model.spelling import Spelling
from model.timeline import DURATION_UNIT_SAMPLES
from model.tts_adapter import TtsAdapterConfig
from training.codec import Codec, MelLoss, Polish
from training.data.codes import FIRST_SILENCE_UNITS, encode, read_codes, trim, write_codes
from training.data.shards import Recording, read_shard, shard_paths, write_shard
from training.data.speech import HELD_OUT_EVERY, Speaker, Texts
from training.spelling import Pairs, Spelled, loss_of, word_errors


@pytest.fixture(scope="module")
def recordings() -> list[Recording]:
    speaker = Speaker()
    found = [speaker(text) for text in ("Hello there.", "How are you today? I am fine, thank you.")]
    assert None not in found
    return [recording for recording in found if recording]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("texts") / "texts.jsonl"
    lines = [{"question": f"Is number {n} odd or even?", "answer": f"The answer to {n} is simple."} for n in range(60)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_durations_tell_the_length_of_the_sound(recordings: list[Recording]) -> None:
    for recording in recordings:
        assert recording.durations.sum() * DURATION_UNIT_SAMPLES == len(recording.audio)
        assert len(recording.durations) == len(recording.phonemes)
    assert (recordings[1].phonemes == 0).sum() == 4  # two sentences, each begun and ended


def test_shards_keep_recordings(recordings: list[Recording], tmp_path: Path) -> None:
    write_shard(tmp_path / "train-0-0000.npz", recordings)
    write_shard(tmp_path / "heldout-0.npz", recordings[:1])
    assert [path.name for path in shard_paths(tmp_path)] == ["train-0-0000.npz"]
    for kept, recording in zip(read_shard(tmp_path / "train-0-0000.npz"), recordings, strict=True):
        assert kept.text == recording.text
        np.testing.assert_array_equal(kept.audio, recording.audio)
        np.testing.assert_array_equal(kept.durations, recording.durations)


def test_codes_cover_the_trimmed_sound(recordings: list[Recording], tmp_path: Path) -> None:
    torch.manual_seed(0)
    codec = Codec(MouthConfig(latent=16, width=16, hidden=16, blocks=1, fine_blocks=1)).eval()
    trimmed = [trim(recording) for recording in recordings]
    write_codes(tmp_path / "codes.npz", encode(codec, trimmed))
    for spoken, recording in zip(read_codes(tmp_path / "codes.npz"), trimmed, strict=True):
        assert spoken.durations[0] == FIRST_SILENCE_UNITS
        assert len(spoken.frames) == -(-int(spoken.durations.sum()) * DURATION_UNIT_SAMPLES // 2048)
        assert spoken.text == recording.text


def test_held_out_texts_are_never_varied(rows: Path) -> None:
    texts = Texts(rows, random.Random(0))
    texts.refresh()
    assert len(texts.held_out) == 2 * -(-60 // HELD_OUT_EVERY)
    varied = {texts.vary() for _ in range(300)}
    assert not varied & set(texts.held_out)
    assert len(varied) > 200


def test_words_and_their_phonemes_belong_together(rows: Path) -> None:
    pairs = Pairs(rows, seed=0)
    read = pairs.read("The apple, the pear.")
    assert read is not None
    assert sum(read.lengths) == len("The apple, the pear.")
    assert len(read.phonemes) == 4
    assert read.phonemes[0] != read.phonemes[2]  # "thee apple", "the pear"


def test_spelling_is_learned(rows: Path) -> None:
    torch.manual_seed(0)
    spelling = Spelling(TtsAdapterConfig(spelling_width=48, spelling_blocks=2))
    found = Pairs(rows, seed=0).read("How are you today?")
    assert isinstance(found, Spelled)
    optimizer = torch.optim.Adam(spelling.parameters(), 5e-3)
    for _ in range(60):
        optimizer.zero_grad()
        loss_of(spelling, [found]).backward()
        optimizer.step()
    assert word_errors(spelling, [found]) == 0


def test_the_mouth_learns_and_polishing_leaves_the_codes_alone(recordings: list[Recording]) -> None:
    torch.manual_seed(0)
    codec = Codec(MouthConfig(latent=16, width=32, hidden=48, blocks=1, fine_blocks=1)).train()
    sound = torch.from_numpy(recordings[1].audio[: 8 * 2048] / np.float32(32768))[None]
    codec.start_books(torch.cat([sound] * 2))
    loss, optimizer = MelLoss(), torch.optim.Adam([p for p in codec.parameters() if p.requires_grad], 2e-3)
    values = []
    for _ in range(25):
        spoken, _, commitment = codec(sound)
        value = loss(spoken, sound) + 0.05 * commitment
        values.append(float(value))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    assert values[-1] < 0.8 * values[0]

    codec.eval()
    before = codec.encode(sound)
    polish = Polish(codec)
    polished = torch.optim.Adam([p for p in codec.parameters() if p.requires_grad], 1e-3)
    for _ in range(2):
        value, _, _ = polish(sound, 0)
        polished.zero_grad()
        value.backward()
        polished.step()
    assert all(torch.equal(a, b) for a, b in zip(before, codec.encode(sound), strict=True))

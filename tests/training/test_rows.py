"""Data: every source gives the same rows, they are made once, and making them can be interrupted and shared."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
import torch

from model.checkpoint import EMBEDDED, open_mouth, read_config
from model.config import OmniConfig
from training.coder import CODEC_ENCODER, open_coder
from training.data.cache import Encoder, cache, open_source
from training.data.folder import Folder
from training.data.rows import Row, read_rows, write_row_shard
from training.data.shards import Recording, write_shard
from training.data.sources import DataFormatError, read_sound
from training.data.synthetic import SpeechShards, Texts
from training.data.voiceassistant import VoiceAssistant, parse_codes

SPOKEN = [[3072, 12, 4095, 0, 7, 8, 9], [1, 2, 3, 4, 5, 6, 7]]


def tone(seconds: float, rate: int) -> np.ndarray:
    wave: np.ndarray = 0.3 * np.sin(2 * np.pi * 220 * np.arange(round(seconds * rate)) / rate)
    return wave.astype(np.float32)


def wav(seconds: float, rate: int = 22_050) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, tone(seconds, rate), rate, format="WAV")
    return file.getvalue()


def snac_text(frames: list[list[int]]) -> str:
    return " ".join("# " + " ".join(map(str, frame)) for frame in frames)


def assistant_row(number: int) -> dict[str, Any]:
    """A row in the published schema."""
    return {
        "split_name": "qa_assistant_v1_7k",
        "index": str(number),
        "round": 1,
        "question": f"Question {number}?",
        "question_audio": {"bytes": wav(0.1 + 0.02 * number), "path": f"{number}.wav"},
        "answer": f"Answer {number}.",
        "answer_snac": snac_text(SPOKEN * (1 + number % 3)),
    }


def write_assistant(folder: Path, counts: tuple[int, ...], **changed: Callable[[int], Any]) -> Path:
    """Parquet files of so many rows each, in groups of four rows."""
    (folder / "data").mkdir(parents=True)
    number = 0
    for part, count in enumerate(counts):
        rows = [
            assistant_row(n) | {name: make(n) for name, make in changed.items()} for n in range(number, number + count)
        ]
        path = folder / "data" / f"train-{part:05d}-of-{len(counts):05d}.parquet"
        pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=4)
        number += count
    return folder


def rows_equal(one: Row, other: Row) -> bool:
    same = one.question == other.question and one.answer == other.answer
    for a, b in ((one.states, other.states), (one.codes, other.codes)):
        same &= (a is None) == (b is None) and (a is None or b is None or (np.array_equal(a, b) and a.dtype == b.dtype))
    return same


def test_rows_are_read_as_they_were_written(tmp_path: Path) -> None:
    states, codes = np.ones((5, 8), np.float16), np.full((2, 7), 4095, np.int16)
    rows = [
        Row("What?", states, "This.", codes),
        Row(None, None, "Él dijo: «sí». 你好\n", codes * 0),
        Row("Nur Text", None, "nichts weiter", None),
        Row("Leer", states[:0], "kein Ton", codes[:0]),
    ]
    write_row_shard(tmp_path / "train-00001.npz", rows[2:])
    write_row_shard(tmp_path / "train-00000.npz", rows[:2])
    write_row_shard(tmp_path / "heldout-00000.npz", rows[:1])
    (tmp_path / "train-00002.tmp.npz").write_bytes(b"cut short")
    assert all(rows_equal(a, b) for a, b in zip(read_rows(tmp_path), rows, strict=True))
    assert [row.question for row in read_rows(tmp_path, held_out=True)] == ["What?"]


# -- VoiceAssistant-400K ----------------------------------------------------------------------------------------------
def test_published_codes_are_read_frame_by_frame() -> None:
    assert parse_codes(snac_text(SPOKEN)).tolist() == SPOKEN
    assert parse_codes("").shape == (0, 7)
    assert parse_codes(snac_text(SPOKEN) + " # 1 2 3").tolist() == SPOKEN  # its end was cut off
    for wrong in ("# 1 2 3 # 1 2 3 4 5 6 7", "# 1 2 3 4 5 6 4096", "# a b c d e f g"):
        with pytest.raises(DataFormatError, match="answer_snac"):
            parse_codes(wrong)


def test_the_published_schema_is_read_at_any_place(tmp_path: Path) -> None:
    source = VoiceAssistant(write_assistant(tmp_path, (10, 3, 6)))
    assert len(source) == 19
    whole = source.read(0, 100)
    assert [sample.question for sample in whole] == [f"Question {n}?" for n in range(19)]
    assert [sample.answer for sample in whole] == [f"Answer {n}." for n in range(19)]
    for number, sample in enumerate(whole):
        assert sample.question_sound is not None
        assert len(sample.question_sound) == pytest.approx(16_000 * (0.1 + 0.02 * number), abs=2)
        assert sample.codes is not None
        assert sample.codes.tolist() == SPOKEN * (1 + number % 3)
    for first, count in ((0, 3), (3, 8), (9, 2), (12, 7), (18, 5), (19, 1)):
        assert [s.answer for s in source.read(first, count)] == [s.answer for s in whole[first : first + count]]


def test_what_cannot_be_read_of_a_row_is_left_out(tmp_path: Path) -> None:
    folder = write_assistant(
        tmp_path,
        (4,),
        question_audio=lambda n: {"bytes": b"no sound" if n == 1 else wav(0.2), "path": ""},
        answer_snac=lambda n: "# 1 2 # 3" if n == 2 else snac_text(SPOKEN),
    )
    samples = VoiceAssistant(folder).read(0, 4)
    assert [s.question_sound is not None for s in samples] == [True, False, True, True]
    assert [s.codes is not None for s in samples] == [True, False, False, True]


def test_another_schema_is_told(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataFormatError, match=r"no \.parquet files"):
        VoiceAssistant(tmp_path / "empty")
    pq.write_table(pa.table({"question": ["a"], "answer": ["b"]}), tmp_path / "x.parquet")
    with pytest.raises(DataFormatError, match="lacks the column 'question_audio'"):
        VoiceAssistant(tmp_path)


# -- own recordings ---------------------------------------------------------------------------------------------------
def test_a_folder_of_recordings_is_read(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "b.question.wav", tone(0.5, 44_100), 44_100)
    (tmp_path / "b.question.txt").write_text("And you?\n")
    soundfile.write(tmp_path / "b.answer.flac", np.stack([tone(1, 48_000)] * 2, 1), 48_000)
    (tmp_path / "b.answer.txt").write_text("Fine.\n")
    soundfile.write(tmp_path / "a.wav", tone(0.25, 24_000), 24_000)
    (tmp_path / "a.txt").write_text("A voice alone.")
    source = Folder(tmp_path)
    alone, pair = source.read(0, 10)
    assert len(source) == 2
    assert (alone.answer, alone.question, alone.question_sound) == ("A voice alone.", None, None)
    assert alone.answer_sound is not None
    assert len(alone.answer_sound) == 6000
    assert (pair.answer, pair.question) == ("Fine.", "And you?")
    assert pair.question_sound is not None
    assert len(pair.question_sound) == 8000
    assert pair.answer_sound is not None
    assert len(pair.answer_sound) == 24_000
    (tmp_path / "a.wav").write_bytes(b"nothing")
    with pytest.raises(DataFormatError, match=r"a\.wav"):
        source.read(0, 1)


# -- the synthetic maker ----------------------------------------------------------------------------------------------
def write_texts(path: Path) -> Path:
    rows = [{"question": f"Is it {n}?", "answer": f"Yes, {n}."} for n in ("one", "two", "three")]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_texts_are_spoken_when_they_are_read(tmp_path: Path) -> None:
    source = Texts(write_texts(tmp_path / "texts.jsonl"))
    (sample,) = source.read(1, 1)
    assert (sample.question, sample.answer, sample.held_out) == ("Is it two?", "Yes, two.", False)
    assert sample.question_sound is not None
    assert sample.answer_sound is not None
    assert 0.3 < len(sample.question_sound) / 16_000 < 3
    assert 0.3 < len(sample.answer_sound) / 24_000 < 3
    assert source.read(0, 1)[0].held_out
    (tmp_path / "broken.jsonl").write_text('{"question": "Q"}\n')
    with pytest.raises(DataFormatError, match="line 1"):
        Texts(tmp_path / "broken.jsonl")


def test_speech_shards_bring_the_answers_that_were_written(tmp_path: Path) -> None:
    texts = write_texts(tmp_path / "texts.jsonl")
    sound = (tone(1.0, 24_000) * 32767).astype(np.int16)
    recordings = [
        Recording(text, sound, np.array([0, 5, 0], np.uint8), np.array([10, 20, 10], np.int16))
        for text in ("Yes, three.", "swapped words", "Yes, one.")
    ]
    write_shard(tmp_path / "train-0-0000.npz", recordings[:2])
    write_shard(tmp_path / "heldout-0.npz", recordings[2:])
    source = SpeechShards(tmp_path, texts)
    samples = source.read(0, 10)
    assert len(source) == 2
    assert [(s.question, s.answer, s.held_out) for s in samples] == [
        ("Is it three?", "Yes, three.", False),
        ("Is it one?", "Yes, one.", True),
    ]
    assert samples[0].answer_sound is not None
    assert len(samples[0].answer_sound) == 24_000 - 8 * 600  # the silence before the first word is cut to 50 ms


# -- caching ----------------------------------------------------------------------------------------------------------
class Listener:
    """Ears that are quick: a state every 20 ms, the sound's level in it."""

    calls = 0

    def __call__(self, sound: np.ndarray) -> torch.Tensor:
        self.calls += 1
        return torch.from_numpy(sound[: len(sound) // 320 * 320].reshape(-1, 320)[:, :16]).mean(1, keepdim=True)[None]


def encoder(codes: int = 4096) -> Encoder:
    config = replace(OmniConfig(body={}), vocabulary=replace(OmniConfig(body={}).vocabulary, codes=codes))
    return Encoder(config, None, Listener(), None)


def test_caching_goes_on_where_it_was_and_can_be_shared(tmp_path: Path) -> None:
    source = VoiceAssistant(write_assistant(tmp_path / "source", (30,)))
    made: dict[str, object] = {"ears": "quick"}
    whole = encoder()
    assert cache(source, tmp_path / "whole", whole, made, rows=8) == 30
    rows = list(read_rows(tmp_path / "whole"))
    held_out = list(read_rows(tmp_path / "whole", held_out=True))
    assert [row.question for row in held_out] == ["Question 0?", "Question 25?"]
    assert [row.question for row in rows] == [f"Question {n}?" for n in range(30) if n % 25]
    assert rows[0].codes is not None
    assert rows[0].codes.tolist() == SPOKEN * 2
    assert rows[0].states is not None
    assert len(rows[0].states) == round(0.12 * 50)

    (tmp_path / "whole" / "train-00002.npz").unlink()  # as if it had been interrupted there
    again = encoder()
    assert cache(source, tmp_path / "whole", again, made, rows=8) == 8
    assert isinstance(again.features, Listener)
    assert again.features.calls == 8
    for worker in (1, 0):
        cache(source, tmp_path / "shared", encoder(), made, rows=8, worker=worker, workers=2)
    for folder in ("whole", "shared"):
        assert all(rows_equal(a, b) for a, b in zip(read_rows(tmp_path / folder), rows, strict=True))

    with pytest.raises(DataFormatError, match="ears 'quick', not 'others'"):
        cache(source, tmp_path / "whole", encoder(), {"ears": "others"}, rows=8)
    with pytest.raises(DataFormatError, match="4096 a book, and the checkpoint's has 1024"):
        cache(source, tmp_path / "other", encoder(codes=1024), made, rows=8)


def test_the_embedded_checkpoint_caches_recordings(tmp_path: Path) -> None:
    """Its own ears and coder: states as wide as Whisper base's, codes that its mouth speaks."""
    write_texts(tmp_path / "texts.jsonl")
    source = open_source(tmp_path / "texts.jsonl", tmp_path / "texts.jsonl")
    cache(source, tmp_path / "rows", Encoder.open(EMBEDDED), {}, rows=2)
    (first,) = list(read_rows(tmp_path / "rows", held_out=True))
    rows = list(read_rows(tmp_path / "rows"))
    assert [first.answer, *(row.answer for row in rows)] == ["Yes, one.", "Yes, two.", "Yes, three."]
    for row in rows:
        assert row.states is not None
        assert row.states.shape[1] == 512
        assert row.codes is not None
        assert 0 <= row.codes.min() <= row.codes.max() < 1024
        assert 0.3 < len(row.codes) * 2048 / 24_000 < 3


def test_codes_of_a_sound_speak_that_sound(tmp_path: Path) -> None:
    coder = open_coder(EMBEDDED)
    assert coder is not None
    mouth = open_mouth(EMBEDDED, read_config(EMBEDDED))
    assert mouth is not None
    sound = Texts(write_texts(tmp_path / "texts.jsonl")).read(1, 1)[0].answer_sound
    assert sound is not None
    again = mouth.decode(torch.from_numpy(coder(sound).astype(np.int64))).numpy()[: len(sound)]
    levels = [np.abs(part).reshape(-1, 240).mean(1) for part in (s[: len(sound) // 240 * 240] for s in (sound, again))]
    assert np.corrcoef(levels[0], levels[1])[0, 1] > 0.9
    assert (EMBEDDED / CODEC_ENCODER).is_file()


def test_nothing_that_is_known_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataFormatError, match="no data that is known here"):
        open_source(tmp_path, tmp_path)
    with pytest.raises(DataFormatError, match="libsndfile"):
        read_sound(b"nothing", 16_000)

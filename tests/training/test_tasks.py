"""Which positions of each task carry loss, shown as tables; and that training's streams are the engine's."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from model.vocabulary import AUDIO_LAYERS, Task, Vocabulary
from tests.training import tiny
from training.data.rows import Row
from training.tasks import IGNORE, Example, can_serve, collate, make_example

V = tiny.VOCABULARY
TEXT_NAMES = {
    V.end_of_text: "end",
    V.pad_text: "pad",
    V.input_text: "in",
    V.answer_text: "ans",
    V.transcribe_text: "asr",
}
AUDIO_NAMES = {V.end_of_audio: "end", V.pad_audio: "pad", V.input_audio: "in", V.answer_audio: "ans"}
ROW = Row(
    "w7",
    np.zeros((2, tiny.EARS_WIDTH), np.float16),
    "w3 w4",
    np.array([[1] * AUDIO_LAYERS, [2] * AUDIO_LAYERS], np.int16),
)


def name(token: int, names: dict[int, str]) -> str:
    return "." if token == IGNORE else names.get(token, str(token))


def table(example: Example) -> list[list[str]]:
    """Columns: what goes in (text; layers 0 and 6), → what is to come out (text; layers 0 and 6); `.`: no loss."""
    codes = V.unshift(example.ids[:, :AUDIO_LAYERS])
    return [
        [
            *(name(int(t), n) for t, n in ((text, TEXT_NAMES), (layers[0], AUDIO_NAMES), (layers[6], AUDIO_NAMES))),
            *(name(int(t), n) for t, n in ((want, TEXT_NAMES), (wants[0], AUDIO_NAMES), (wants[6], AUDIO_NAMES))),
        ]
        for text, layers, want, wants in zip(example.ids[:, -1], codes, example.text, example.audio, strict=True)
    ]


def drawn(lines: str) -> list[list[str]]:
    return [line.replace("→", "").split() for line in lines.strip().splitlines()]


SPOKEN = """
    ans ans ans → 3   pad pad
    3   pad pad → 4   1   pad
    4   1   pad → end 2   pad
    end 2   pad → .   end pad
    pad end pad → .   pad pad
    pad pad pad → .   pad pad
    pad pad pad → .   pad pad
    pad pad pad → .   pad 1
    pad pad 1   → .   pad 2
    pad pad 2   → .   pad end
"""
"""Two words and two frames: layer 0 speaks a step after the text begins, layer 6 six steps later. Ten steps."""

TABLES = {
    Task.A1A2: """
    in  in  in  → .   .   .
    pad pad pad → .   .   .
    pad pad pad → .   .   .
    end end end → .   .   .
    """
    + SPOKEN,
    Task.T1A2: """
    in  pad pad → .   .   .
    7   pad pad → .   .   .
    end pad pad → .   .   .
    """
    + SPOKEN,
    Task.A1T2: """
    in  in  in  → .   .   .
    pad pad pad → .   .   .
    pad pad pad → .   .   .
    end end end → .   .   .
    ans pad pad → 3   .   .
    3   pad pad → 4   .   .
    4   pad pad → end .   .
    """,
    Task.A1T1: """
    in  in  in  → .   .   .
    pad pad pad → .   .   .
    pad pad pad → .   .   .
    end end end → .   .   .
    asr pad pad → 7   .   .
    7   pad pad → end .   .
    """,
    Task.T1T2: """
    in  pad pad → .   .   .
    7   pad pad → .   .   .
    end pad pad → .   .   .
    ans pad pad → 3   .   .
    3   pad pad → 4   .   .
    4   pad pad → end .   .
    """,
}


@pytest.mark.parametrize("task", list(Task))
def test_positions_that_carry_loss(task: Task) -> None:
    example = make_example(V, tiny.tokenizer(), ROW, task)
    lines = [line for line in drawn(TABLES[task]) if line]
    assert table(example) == lines
    assert (example.states is not None) == task.hears


def test_every_layer_is_a_step_later() -> None:
    example = make_example(V, tiny.tokenizer(), ROW, Task.T1A2)
    for layer in range(AUDIO_LAYERS):
        steps = example.audio[3:, layer].tolist()
        assert steps == [V.pad_audio] * (layer + 1) + [1, 2, V.end_of_audio] + [V.pad_audio] * (6 - layer)


def test_a_row_serves_what_it_has() -> None:
    assert all(can_serve(ROW, task) for task in Task)
    silent = Row("w7", None, "w3", None)
    assert [task for task in Task if can_serve(silent, task)] == [Task.T1T2]
    untold = Row(None, ROW.states, "w3", ROW.codes)
    assert [task for task in Task if can_serve(untold, task)] == [Task.A1A2, Task.A1T2]
    with pytest.raises(ValueError, match="A1A2"):
        make_example(V, tiny.tokenizer(), silent, Task.A1A2)


def test_an_answer_spoken_faster_than_it_is_written_is_refused() -> None:
    hasty = Row("w7", None, " ".join(["w3"] * 20), ROW.codes)
    with pytest.raises(ValueError, match="21 tokens are written in 10 steps"):
        make_example(V, tiny.tokenizer(), hasty, Task.T1A2)


def test_pads_of_a_batch_carry_no_loss() -> None:
    examples = [make_example(V, tiny.tokenizer(), ROW, task) for task in (Task.A1A2, Task.T1T2, Task.A1T1)]
    batch = collate(V, examples)
    assert batch.ids.shape == (3, 14, 8)
    assert batch.heard.sum() == len(batch.states) == 4
    assert batch.heard[0].nonzero().flatten().tolist() == [1, 2]
    assert (batch.text[1, len(examples[1]) :] == IGNORE).all()
    assert (batch.audio[1:] == IGNORE).all()
    assert batch.targets.tolist() == [3 + 3 + 2, 10]


def test_the_published_vocabulary_has_the_published_ids() -> None:
    example = make_example(Vocabulary(), tiny.tokenizer(), ROW, Task.A1A2)
    assert example.text[4:7].tolist() == [3, 4, 151936]
    assert example.ids[4].tolist() == [152000 + 4160 * layer + 4099 for layer in range(7)] + [151939]
    assert example.audio[-1, 6] == 4096
    assert torch.equal(example.ids[6, :1], torch.tensor([152001]))

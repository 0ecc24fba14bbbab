"""Rows of data → the eight streams that the body is trained on, and which positions carry loss (paper section 3.2).

A position's targets are what the heads are to say after it. The prompt carries none; its last position predicts the
first step. What the engine feeds by itself when it answers carries none either: the pads of the text stream after the
answer's end, and the padded audio layers of tasks that only write. Everything that it samples does: the text and its
end, the codes of every layer, the pads before a layer begins, its end of audio, and the pads until the last layer
has ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from model.vocabulary import AUDIO_LAYERS, STREAMS, Task, Vocabulary, build_prompt, delay
from training.data.rows import Row

IGNORE = -100
"""Target of a position that carries no loss, as PyTorch has it."""


@dataclass(frozen=True)
class Example:
    """One row put as one task."""

    task: Task
    ids: Tensor
    """Input, rows of the table (positions, 8)."""
    states: np.ndarray | None
    """(T, width) of a spoken question: they stand in positions 1 … T."""
    text: Tensor
    """Targets of the text head (positions,)."""
    audio: Tensor
    """Targets of the seven audio heads, codes without the layer shift (positions, 7)."""

    def __len__(self) -> int:
        return len(self.ids)


def can_serve(row: Row, task: Task) -> bool:
    """The row has what the task takes and gives."""
    if task.hears and row.states is None:
        return False
    if (not task.hears or task is Task.A1T1) and not row.question:
        return False
    return not task.speaks or row.codes is not None


def spoken_steps(vocabulary: Vocabulary, codes: np.ndarray) -> Tensor:
    """Codes (frames, 7) → tokens of all steps of the answer (frames + 8, 7): delayed, each layer closed by its end."""
    frames = torch.from_numpy(codes.astype(np.int64))
    closed = torch.cat([frames, torch.full((1, AUDIO_LAYERS), vocabulary.end_of_audio)])
    return delay(closed, vocabulary.pad_audio)


def make_example(vocabulary: Vocabulary, tokenizer: Tokenizer, row: Row, task: Task) -> Example:
    """The streams of `row` as `task`. `ValueError` when the row cannot serve it, or speaks faster than it writes."""
    if not can_serve(row, task):
        raise ValueError(f"the row has not what task {task.value} needs: {row.answer[:40]!r}")
    v = vocabulary
    question = torch.tensor([] if task.hears else tokenizer.encode(row.question or "").ids, dtype=torch.long)
    heard = 0 if row.states is None else len(row.states)
    prompt = build_prompt(v, task, heard, None if task.hears else question)
    written = tokenizer.encode((row.question or "") if task is Task.A1T1 else row.answer).ids
    text = torch.tensor([*written, v.end_of_text], dtype=torch.long)
    if task.speaks:
        assert row.codes is not None
        audio = spoken_steps(v, row.codes)
        if len(text) > len(audio):
            raise ValueError(f"{len(text)} tokens are written in {len(audio)} steps of speech: {row.answer[:40]!r}")
    else:
        audio = torch.full((len(text), AUDIO_LAYERS), v.pad_audio)
    steps, closing = len(audio), len(prompt.ids) - 1
    stream = torch.full((steps,), v.pad_text)
    stream[: len(text)] = text
    text_targets = torch.full((closing + steps,), IGNORE)
    text_targets[closing : closing + len(text)] = text
    audio_targets = torch.full((closing + steps, AUDIO_LAYERS), IGNORE)
    if task.speaks:
        audio_targets[closing:] = audio
    answer = v.streams(audio, stream)[:-1]  # what the last step says is fed to nobody
    return Example(
        task, torch.cat([prompt.ids, answer]), row.states if task.hears else None, text_targets, audio_targets
    )


@dataclass
class Batch:
    """Examples side by side, padded at the end."""

    ids: Tensor
    """(rows, positions, 8)"""
    states: Tensor
    """Encoder states of all spoken questions in a row (frames, width), float32; (0, 0) when there are none."""
    heard: Tensor
    """(rows, positions) bool: where those states stand, in the same order."""
    text: Tensor
    """(rows, positions)"""
    audio: Tensor
    """(rows, positions, 7)"""

    def to(self, device: torch.device) -> Batch:
        return Batch(*(tensor.to(device, non_blocking=True) for tensor in vars(self).values()))

    @property
    def targets(self) -> Tensor:
        """How many targets the text and one audio layer have: (2,)."""
        return torch.stack([(self.text != IGNORE).sum(), (self.audio[..., 0] != IGNORE).sum()])


def collate(vocabulary: Vocabulary, examples: Sequence[Example]) -> Batch:
    """Pad examples to the longest. Attention is causal, so what stands after an example's end changes nothing."""
    rows, longest = len(examples), max(len(e) for e in examples)
    ids = vocabulary.padded(torch.tensor([vocabulary.pad_text])).expand(rows, longest, STREAMS).clone()
    heard = torch.zeros(rows, longest, dtype=torch.bool)
    text = torch.full((rows, longest), IGNORE)
    audio = torch.full((rows, longest, AUDIO_LAYERS), IGNORE)
    for row, example in enumerate(examples):
        n = len(example)
        ids[row, :n], text[row, :n], audio[row, :n] = example.ids, example.text, example.audio
        if example.states is not None:
            heard[row, 1 : 1 + len(example.states)] = True
    spoken = [e.states for e in examples if e.states is not None]
    states = torch.from_numpy(np.concatenate(spoken).astype(np.float32)) if spoken else torch.zeros(0, 0)
    return Batch(ids, states, heard, text, audio)

"""Batches of a stage: rows read in turn from its folders, put as tasks, side by side with others of like length.

What comes is decided by the stage's seed and the place in its data alone. A place is kept in the checkpoint, and
reading goes on from it exactly.
"""

from __future__ import annotations

import itertools
import random
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from model.vocabulary import Task, Vocabulary
from training.data.rows import Row, read_rows
from training.recipe import DataError, Stage
from training.tasks import Batch, Example, can_serve, collate, make_example

AHEAD = 8
"""Batches that are made while the network is busy."""


@dataclass(frozen=True)
class Place:
    """Everything before it has been read: passes over the data, buffers of this pass, batches of this buffer."""

    epoch: int = 0
    buffer: int = 0
    batch: int = 0


def in_turn(folders: Sequence[Path], held_out: bool = False) -> Iterator[Row]:
    """A row of each folder, again and again, until all are at their end."""
    readers = [read_rows(folder, held_out) for folder in folders]
    while readers:
        for reader in list(readers):
            row = next(reader, None)
            if row is None:
                readers.remove(reader)
            else:
                yield row


def buffers(rows: Iterator[Row], size: int) -> Iterator[list[Row]]:
    while some := list(itertools.islice(rows, size)):
        yield some


def bucketed(examples: Sequence[Example], positions: int) -> list[list[Example]]:
    """Examples of like length together, each batch of at most `positions`, pads counted; longest first."""
    batches: list[list[Example]] = []
    width = 0
    for example in sorted(examples, key=len, reverse=True):
        if not batches or (len(batches[-1]) + 1) * width > positions:
            batches.append([])
            width = len(example)
        batches[-1].append(example)
    return batches


class Batches:
    """An endless stream of batches for process `rank` of `world`, from a place on."""

    def __init__(
        self, stage: Stage, vocabulary: Vocabulary, tokenizer: Tokenizer, rank: int = 0, world: int = 1
    ) -> None:
        self.stage, self.vocabulary, self.tokenizer = stage, vocabulary, tokenizer
        self.rank, self.world = rank, world
        self.left_out = 0
        """Rows that no task could take: too long, silent where sound is wanted, or spoken faster than written."""

    def example(self, row: Row, task: Task) -> Example | None:
        """The row as a task; None when it is too long or does not fit."""
        try:
            example = make_example(self.vocabulary, self.tokenizer, row, task)
        except ValueError:
            return None
        return example if len(example) <= self.stage.longest else None

    def _put(self, rows: Sequence[Row], rng: random.Random) -> list[Example]:
        examples = []
        for row in rows:
            tasks = [task for task in self.stage.tasks if can_serve(row, task)]
            shares = [self.stage.tasks[task] for task in tasks]
            example = self.example(row, rng.choices(tasks, shares)[0]) if tasks else None
            if example is None:
                self.left_out += 1
            else:
                examples.append(example)
        return examples

    def read(self, start: Place) -> Iterator[tuple[Place, Batch]]:
        """→ the place behind each batch, and the batch. `DataError` when a whole pass gives none."""
        stage, first = self.stage, start
        for epoch in itertools.count(start.epoch):
            found = False
            for number, rows in enumerate(buffers(in_turn(stage.data), stage.buffer_rows)):
                if epoch == first.epoch and number < first.buffer:
                    found = True
                    continue
                rng = random.Random(f"{stage.seed} {epoch} {number}")
                groups = bucketed(self._put(rows, rng), stage.positions)
                rng.shuffle(groups)
                whole = len(groups) // self.world * self.world  # every process takes as many steps
                begin = first.batch if (epoch, number) == (first.epoch, first.buffer) else 0
                for index in range(begin + self.rank, whole, self.world):
                    found = True
                    yield (
                        Place(epoch, number, index - self.rank + self.world),
                        collate(self.vocabulary, groups[index]),
                    )
            if not found:
                raise DataError(self._nothing())

    def _nothing(self) -> str:
        folders = ", ".join(str(folder) for folder in self.stage.data)
        tasks = ", ".join(task.value for task in self.stage.tasks)
        return (
            f"no row of {folders} gives an example of {tasks} for {self.world} process(es): "
            f"{self.left_out} left out (longer than {self.stage.longest} positions, or without the sound it takes)"
        )

    def held_out(self) -> dict[Task, list[Batch]]:
        """The first held-out rows of every folder, each as every task that it can serve."""
        stage = self.stage
        rows = [
            row
            for folder in stage.data
            for row in itertools.islice(read_rows(folder, held_out=True), stage.held_out_rows)
        ]
        found = {}
        for task in stage.tasks:
            put = [e for row in rows if can_serve(row, task) and (e := self.example(row, task))]
            found[task] = [collate(self.vocabulary, group) for group in bucketed(put, stage.positions)]
        return found


def ahead(items: Iterator[tuple[Place, Batch]]) -> Generator[tuple[Place, Batch]]:
    """The same endless items in the same order, made by a thread while the one who takes them is busy."""
    pool = ThreadPoolExecutor(1)
    try:
        waiting = deque(pool.submit(next, items) for _ in range(AHEAD))
        while True:
            item = waiting.popleft().result()
            waiting.append(pool.submit(next, items))
            yield item
    finally:
        pool.shutdown(cancel_futures=True)

"""Answers of a language model to thousands of questions: the text that a draft table is counted from.

The questions are those of `training/texts.jsonl` and of the patterns in `training/data/question_patterns.txt`; none is
of `training/questions.txt`, which evaluations ask. The file grows line by line; the command goes on where it
was stopped.

    python -m training.draft_answers work/answers.jsonl --model omni-1.5b --count 3000
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator
from pathlib import Path

from model.engine import Engine
from model.omni import MiniOmni
from model.request import Done, OmniError, Request
from model.vocabulary import Task
from training.data.question_texts import Questions, plain
from training.measures import lines

TRAINING_TEXTS = Path(__file__).with_name("texts.jsonl")
ASKED_BY_BENCHMARKS = ("What is the capital of France?",)
"""Questions of `benchmarks.questions` that a pattern gives as well."""


def questions(count: int, seed: int = 0) -> list[str]:
    """`count` questions, always the same for a seed: half of them rows of `texts.jsonl` as long as there are some."""
    rng = random.Random(seed)
    patterns = Questions(TRAINING_TEXTS, rng)
    rows = [json.loads(line)["question"] for line in TRAINING_TEXTS.read_text().splitlines()]
    rng.shuffle(rows)
    asked = {plain(text) for text in (*ASKED_BY_BENCHMARKS, *lines("questions.txt"))}
    drawn: list[str] = []
    while len(drawn) < count:
        text = rows.pop() if rows and len(drawn) % 2 else patterns.from_pattern()
        if plain(text) not in asked:
            asked.add(plain(text))
            drawn.append(text)
    return drawn


def answers(engine: Engine, asked: Iterator[str]) -> Iterator[tuple[str, str]]:
    """(question, answer), as they are ready; as many at once as the engine has slots."""
    waiting: dict[int, str] = {}
    while True:
        while len(waiting) < engine.max_slots and (question := next(asked, None)) is not None:
            waiting[engine.submit(engine.prepare(Request(text=question, task=Task.T1T2)))] = question
        if not waiting:
            return
        for number, event in engine.step():
            if isinstance(event, OmniError):
                raise event
            if isinstance(event, Done):
                yield waiting.pop(number), event.text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", default="omni-1.5b")
    parser.add_argument("--count", type=int, default=3000)
    parser.add_argument("--slots", type=int, default=16, help="answers at once")
    options = parser.parse_args()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with options.out.open("a+") as file:
        file.seek(0)
        known = {json.loads(line)["question"] for line in file}
        left = [question for question in questions(options.count) if question not in known]
        engine = Engine(MiniOmni.from_pretrained(options.model), options.slots)
        engine.large = False  # long slices of prompts: nobody listens
        for number, (question, answer) in enumerate(answers(engine, iter(left)), len(known) + 1):
            file.write(json.dumps({"question": question, "answer": answer}) + "\n")
            if number % 100 == 0:
                file.flush()
                print(f"{number} of {options.count} answers", flush=True)


if __name__ == "__main__":
    main()

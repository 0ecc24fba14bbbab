"""Questions and answers that the body writes itself: the text that the voice is trained on.

SmolLM2 starts its own user turn from a few opening words and goes on by sampling; then it answers with a voice
assistant's system prompt. Every row is one JSON line `{"question", "answer"}`; a run appends, so it can be stopped and
resumed.

    python -m training.data.texts work/texts.jsonl --minutes 20
"""

from __future__ import annotations

import argparse
import json
import random
import time
from pathlib import Path

import torch

from model.engine import Engine
from model.omni import MiniOmni
from model.prepare import Prepared
from model.request import Done, Request
from model.sampling import SamplingParams
from model.vocabulary import Task

SYSTEM_PROMPT = "You are a friendly voice assistant. Answer in one or two short spoken sentences."
OPENINGS = tuple(
    part.strip()
    for part in [
        "\n    What",
        " How",
        " Why",
        " Can you",
        " Tell me",
        " Who",
        " Where",
        " When",
        " Do you",
        " Is",
        " Could you",
        " I",
        " My",
        " Which",
        " Are",
        " Should",
        " Please",
        "\n    Give me",
        " Let's",
        " Have you",
        " Hello",
        " Hi",
        " What's",
        " How do",
        " Explain",
        " I feel",
        " I want",
        " Did you",
        " Would you",
        " Suggest",
        " Describe",
        "\n    Recommend",
        " I need",
        " How many",
        " How far",
        " What time",
        " What year",
        " Name",
        " Write",
        " I'm",
        " We",
        " There is",
        " Sing",
        " Good morning",
        "\n    What color",
        " Who wrote",
        " How old",
        " What city",
        " Where can I",
        " How long",
        " My friend",
        " My dog",
        " Today",
        " Yesterday",
        " Tomorrow",
        "\n    Does",
        " Was",
        " Were",
        " Will",
        " If",
        " Count",
        " Spell",
        " What is the capital of",
        " How do you say",
        " What does",
        " Who is",
        " Who was",
        "\n    Tell me about",
        " Translate",
        " What happened",
        " Why do",
        " Why is\n    ",
    ]
)
FORBIDDEN = frozenset("*#`[]{}<>|\\/=+_~^")


class Writer:
    """Samples continuations of many prompts side by side."""

    def __init__(self, rows: int) -> None:
        self.omni = MiniOmni.from_pretrained("smol-omni", dtype="bfloat16")
        self.rows = rows

    def __call__(self, prompts: list[str], max_tokens: int, sampling: SamplingParams) -> list[str | None]:
        """What follows each prompt; None where it did not end within `max_tokens`."""
        engine = Engine(self.omni, max_slots=self.rows, max_queue=len(prompts), window=256)
        request = Request(max_tokens=max_tokens, max_sentences=None, sampling=sampling)
        numbers = {}
        for index, prompt in enumerate(prompts):
            ids = tuple(self.omni.encode_text(prompt))
            numbers[engine.submit(Prepared(request, Task.T1T2, text_ids=ids))] = index
        written: list[str | None] = [None] * len(prompts)
        while engine.busy:
            for number, event in engine.step():
                if isinstance(event, Done) and event.reason == "stop":
                    written[numbers[number]] = event.text
        return written


def usable(question: str) -> bool:
    """One line of plain words, neither too short nor too long to be asked aloud."""
    return "\n" not in question and 8 < len(question) < 110 and not FORBIDDEN & set(question)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--rows", type=int, default=128, help="sequences sampled side by side")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    write = Writer(options.rows)
    started, count = time.time(), 0
    before = options.out.read_text().count("\n") if options.out.exists() else 0
    rng = random.Random(before)
    head = f"<|im_start|>system\n{SYSTEM_PROMPT}<|im_end|>\n<|im_start|>user\n"
    with options.out.open("a") as out:
        while time.time() - started < options.minutes * 60:
            openings = [rng.choice(OPENINGS) for _ in range(options.rows)]
            asked = write([head + opening for opening in openings], 24, SamplingParams(1.0, top_k=64, top_p=0.95))
            joined = [(o + rest).strip() for o, rest in zip(openings, asked, strict=True) if rest is not None]
            questions = sorted({question for question in joined if usable(question)})
            prompts = [f"{head}{question}<|im_end|>\n<|im_start|>assistant\n" for question in questions]
            answers = write(prompts, 64, SamplingParams(0.8, top_k=64, top_p=0.95))
            for question, answer in zip(questions, answers, strict=True):
                if answer:
                    out.write(json.dumps({"question": question, "answer": answer.strip()}) + "\n")
                    count += 1
            out.flush()
            seconds = time.time() - started
            print(f"{before + count} rows, {count / seconds:.2f} rows/s, {seconds:.0f} s", flush=True)


if __name__ == "__main__":
    main()

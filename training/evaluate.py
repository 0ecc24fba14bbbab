"""Judges a checkpoint: how it speaks, hears and writes, beside the cascade of the same parts, with 95 % intervals.

Nothing is chosen: 200 questions that no training text has (`training/questions.txt`) are answered freely, and 200
words that no training text has are spoken in a carrier sentence. The table can be put into a document between
`<!-- evaluation -->` and `<!-- end of evaluation -->`.

    python -m training.evaluate checkpoints/smol-omni --write docs/model-card.md      # about an hour on two cores
    python -m training.evaluate work/grafted --body Qwen/Qwen2-0.5B --answers 20      # quicker, wider intervals
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from hibari import Hibari

from model.checkpoint import EMBEDDED, CheckpointError, find
from model.drafted_words import DraftedWords
from model.ears import Ears
from model.omni import MiniOmni
from training.coder import open_coder
from training.evaluate_ears import (
    NOISE_DB,
    joined,
    plain_whisper,
    recordings,
    score,
    spelling_ears,
    unheard_recordings,
)
from training.flaws import Estimate, bootstrap, mean, median, ratio
from training.kept import Kept, KeptError, Spoken, fingerprint
from training.likeness import draw
from training.listen import Judge
from training.measures import (
    disk_megabytes,
    exact,
    first_sounds,
    heard_as_typed,
    heard_words,
    lines,
    original_body,
    same_answers,
    spoken_answers,
    spread,
    unseen_questions,
    unseen_words,
    voice_distances,
)

BEGIN, END = "<!-- evaluation -->", "<!-- end of evaluation -->"
TEXTS = Path(__file__).parent / "texts.jsonl"
PICTURE = "voice.png"
NOTHING = "–"


class EvaluationError(Exception):
    """The table cannot be made or put where it should go; the message says what to do."""


@dataclass
class Line:
    """One row of the table."""

    measure: str
    ours: str
    cascade: str = NOTHING
    aim: str = ""


@dataclass
class Evaluation:
    """The table of one checkpoint, and the figures in it for programs."""

    name: str
    answers: int
    lines: list[Line] = field(default_factory=list)
    figures: dict[str, Estimate] = field(default_factory=dict)
    machine: str = ""
    minutes: float = 0.0

    def add(self, measure: str, ours: str, cascade: str = NOTHING, aim: str = "") -> None:
        self.lines.append(Line(measure, ours, cascade, aim))
        print(f"{measure}: {ours}; cascade: {cascade}", file=sys.stderr, flush=True)

    def table(self) -> str:
        """Markdown."""
        rows = [f"| | {self.name} | cascade of the same parts | to reach |", "|---|---|---|---|"]
        rows += [f"| {line.measure} | {line.ours} | {line.cascade} | {line.aim} |" for line in self.lines]
        told = f"`python -m training.evaluate {self.name} --answers {self.answers}`, {self.machine}"
        return "\n".join([*rows, "", f"In brackets: 95 % intervals. {told}, {self.minutes:.0f} minutes."])


def share(found: Sequence[bool]) -> Estimate:
    return bootstrap([[float(one)] for one in found], mean)


def of(found: Sequence[bool]) -> str:
    return f"{sum(found)} of {len(found)}"


def errors(answers: Sequence[Spoken], of_the_cascade: bool = False) -> Estimate:
    """Words heard wrong over words said, drawn by answer."""
    flaws = [a.read_flaws if of_the_cascade else a.flaws for a in answers]
    return bootstrap([(f.wrong, f.words) for f in flaws], ratio)


# -- the measures, one after another ----------------------------------------------------------------------------------
def judge_voice(
    told: Evaluation,
    omni: MiniOmni,
    folder: Path,
    judge: Judge,
    voice: Hibari,
    texts: Sequence[Path],
    images: Path | None,
    kept: Kept,
) -> None:
    """Rows about what is heard of free-running answers, of unseen words, and about the sound."""
    answers = spoken_answers(omni, unseen_questions(texts, told.answers), judge, voice, kept)
    if not answers:
        raise EvaluationError("the checkpoint answered nothing; talk to it with `python -m model` and see why")
    ours, theirs = errors(answers), errors(answers, of_the_cascade=True)
    told.figures |= {"word_error": ours, "cascade_word_error": theirs}
    words = sum(a.flaws.words for a in answers)
    told.add(
        f"spoken: words that Whisper base hears wrong in {len(answers)} unseen free-running answers ({words} words)",
        ours.percent(), theirs.percent(), "≤ 6 %",
    )  # fmt: skip
    flawed = share([a.flaws.flawed for a in answers])
    told.figures["flawed"] = flawed
    kinds = (("break off", "breaks_off"), ("stutter", "stutters"), ("run on", "runs_on"))
    detail = ", ".join(f"{sum(getattr(a.flaws, kind) for a in answers)} {name}" for name, kind in kinds)
    told.add(
        "spoken: answers that break off, stutter or run on", f"{flawed.percent()}: {detail}",
        share([a.read_flaws.flawed for a in answers]).percent(), "≤ 1 %",
    )  # fmt: skip
    if omni.adapter is not None and omni.mouth is not None:
        found = heard_words(omni.adapter, omni.mouth, unseen_words(texts, told.answers), judge, voice, kept)
        right = told.figures["unseen_words"] = share([one for one, _ in found])
        told.add(
            f"spoken: {len(found)} words that occur in no training text, inside a carrier sentence, heard right",
            right.percent(), share([other for _, other in found]).percent(), "≥ 70 %",
        )  # fmt: skip
    coder = open_coder(folder, omni.config)
    if coder is not None and omni.mouth is not None:
        spoken = answers[:: max(1, len(answers) // max(1, told.answers // 5))]
        distances = voice_distances([a for a in spoken if len(a.samples)], coder, omni.mouth)
        near = told.figures["voice_ratio"] = bootstrap(distances, ratio)
        mouth = bootstrap([(again,) for _, again in distances], mean)
        told.add(
            f"voice: log-mel distance to hibari's own reading after time alignment, {len(distances)} answers",
            f"{bootstrap(distances, mean).plain(' nats')}, {near.plain(' ×')} the mouth's own re-coding",
            f"{mouth.plain(' nats')}, hibari re-coded by the mouth", "≤ 1.3 ×",
        )  # fmt: skip
    if images is not None:
        shortest = min((a for a in answers if len(a.samples)), key=lambda a: len(a.samples))
        draw({told.name: shortest.samples, "hibari": shortest.read}, shortest.text, images / PICTURE)


def judge_language(told: Evaluation, omni: MiniOmni, folder: Path, source: str | None, count: int) -> None:
    """Rows about what is written."""
    body = original_body(omni.config, source)
    if body is None:
        told.add("language: typed answers equal to the original body's", "not measured: give --body", NOTHING, "all")
        return
    questions = spread(lines("questions.txt"), count)
    written, served = same_answers(exact(folder), body, questions), same_answers(omni, body, questions)
    told.figures |= {"same_language": share(written), "same_language_served": share(served)}
    told.add(
        "language: typed answers equal to the original body's, token for token: in float32, and as served here",
        f"{of(written)}, {of(served)}", "all", "all",
    )  # fmt: skip


def judge_ears(told: Evaluation, omni: MiniOmni, voice: Hibari, every: int) -> None:
    """Rows about what is heard, and how soon the answer to it begins."""
    spoken = list(recordings(every, None))
    clean = [r for r in spoken if "clean" in r.group]
    if omni.ears is not None:
        ears = omni.ears
        listeners = {"plain": plain_whisper(), "ours": lambda samples: ears.hear(samples).text}
        if isinstance(ears, Ears) and isinstance(ears.quick, DraftedWords):
            alone = spelling_ears(ears, ears.quick.network)
            listeners["alone"] = lambda samples: alone.hear(samples).text
        scores = score(listeners, itertools.chain(spoken, unheard_recordings(every)))
        for group, kind, aim in (("clean", "clean", 6), (f"{NOISE_DB:.0f} dB", f"{NOISE_DB:.0f} dB of noise", 12)):
            known = {name: by for name, by in scores.items() if name.endswith(group) and "unheard" not in name}
            voices = {"synthetic voices": known, "voices never trained on": {"": scores[f"unheard, {group}"]}}
            for whose, part in voices.items():
                rates = {name: f"{joined(part, name).word_error_percent:.1f} %" for name in listeners}
                adapter = f"; the ear adapter without a decoder {rates['alone']}" if "alone" in rates else ""
                told.add(
                    f"heard: words wrong, {whose}, {kind} ({len(joined(part, 'ours').said)} questions)",
                    rates["ours"] + adapter,
                    f"{rates['plain']} (Whisper base, plain)", f"≤ {aim} %",
                )  # fmt: skip
    typed = share(heard_as_typed(omni, clean))
    told.figures["heard_as_typed"] = typed
    told.add(
        f"heard: greedy answer to the spoken question = answer to the typed one ({typed.count} questions)",
        typed.percent(), NOTHING, "≥ 85 %",
    )  # fmt: skip
    if omni.mouth is not None:
        first_sounds(omni, clean[:1], voice)  # the first is slower, whatever it is
        found = first_sounds(omni, clean, voice)
        if found:
            ours, theirs = (bootstrap([[pair[n]] for pair in found], median) for n in (0, 1))
            told.figures |= {"first_sound": ours, "cascade_first_sound": theirs}
            told.add("end of the spoken question → first sound, median", ours.plain(" s"), theirs.plain(" s"), "sooner")


def evaluate(
    folder: Path,
    answers: int = 200,
    source: str | None = None,
    ears_every: int = 8,
    texts: Sequence[Path] = (TEXTS,),
    images: Path | None = None,
    out: Path | None = None,
) -> Evaluation:
    """The whole table of the checkpoint in `folder`; `texts` are what it was trained on.

    Answers that the folder `out` already holds are not asked for again.
    """
    begun = time.monotonic()
    omni = MiniOmni.from_pretrained(folder)
    if omni.mouth is None:
        raise EvaluationError(f"{folder} has no mouth; nothing that it says can be judged")
    name = folder.name if folder != EMBEDDED else "smol-omni"
    told = Evaluation(name, answers, machine=f"{os.cpu_count()} cores, {platform.machine()}")
    judge, voice = Judge(), Hibari(threads=torch.get_num_threads())
    with tempfile.TemporaryDirectory() as passing:
        kept = Kept(out or Path(passing), fingerprint(folder))
        judge_voice(told, omni, folder, judge, voice, texts, images, kept)
    judge_language(told, omni, folder, source, max(2, answers // 10))
    if ears_every and (omni.ears is not None or omni.features is not None):
        judge_ears(told, omni, voice, ears_every)
    told.add("trained parts on disk", f"{disk_megabytes(folder, omni.config):.1f} MB", NOTHING, "≤ 40 MB")
    told.minutes = (time.monotonic() - begun) / 60
    return told


def around(document: Path) -> tuple[str, str]:
    """What stands before and after the table in a document. `EvaluationError` where it has no place."""
    head, begin, rest = document.read_text(encoding="utf-8").partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise EvaluationError(
            f"{document} has no place for the table; put the lines {BEGIN} and {END} where it belongs"
        )
    return head, tail


def put(table: str, document: Path) -> None:
    """Write the table between the marks of a document."""
    head, tail = around(document)
    document.write_text(f"{head}{BEGIN}\n{table}\n{END}{tail}", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", help="folder or hub id")
    parser.add_argument("--answers", type=int, default=200, help="questions and words; the other measures follow it")
    parser.add_argument("--body", help="folder or hub id of the original body, for a grafted checkpoint")
    parser.add_argument("--texts", type=Path, nargs="+", default=[TEXTS], help="all texts that it was trained on")
    parser.add_argument("--ears-every", type=int, default=8, help="every n-th question of training.voices; 0: none")
    parser.add_argument("--write", type=Path, help="document to put the table into, a picture in images/ beside it")
    parser.add_argument("--out", type=Path, help="folder for the recordings and what was heard; goes on from it")
    parser.add_argument("--json", action="store_true", help="print the figures as one JSON line as well")
    options = parser.parse_args()
    try:
        if options.write is not None:
            around(options.write)  # what is wrong with it is told now, not after an hour
        images = options.write.parent / "images" if options.write else options.out
        folder = find(options.checkpoint).resolve()
        told = evaluate(folder, options.answers, options.body, options.ears_every, options.texts, images, options.out)
        table = told.table()
        if options.write is not None:
            put(f"{table}\n\n![Spectrograms of an answer and of hibari's reading](images/{PICTURE})", options.write)
    except (EvaluationError, CheckpointError, KeptError) as error:
        parser.exit(2, f"python -m training.evaluate: {error}\n")
    print(table)
    if options.json:
        print(json.dumps({name: asdict(figure) for name, figure in told.figures.items()}))


if __name__ == "__main__":
    main()

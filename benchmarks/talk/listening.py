"""What Whisper base hears of the answers' sound, and what the server heard of the questions: words wrong.

The measurement is that of `training.evaluate`, word for word.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.talk.outcome import Outcome
from training.flaws import Estimate, Flaws, bootstrap, ratio
from training.listen import Judge
from training.measures import LONGEST_SECONDS, flaws_of

__all__ = ["Flaws", "Judge", "answers_misheard", "questions_misheard", "spoken_answers", "word_errors"]

ANSWER_RATE = 24_000


def spoken_answers(outcomes: Sequence[Outcome], count: int) -> list[Outcome]:
    """At most `count` answers with sound, evenly taken; of spoken conversations where there are any. The judge hears
    30 s, so longer ones are left out."""
    sounding = [one for one in outcomes if 0 < len(one.said.samples) <= LONGEST_SECONDS * ANSWER_RATE]
    found = [one for one in sounding if one.way == "spoken"] or sounding
    return [found[len(found) * number // count] for number in range(count)] if count < len(found) else found


def answers_misheard(answers: Sequence[Outcome], judge: Judge) -> list[Flaws]:
    """The flaws of each answer's sound against its text."""
    return [
        flaws_of(one.said.text, judge.normalize(judge.hear(one.said.samples.astype(np.float32) / 32768)), judge)
        for one in answers
    ]


def questions_misheard(outcomes: Sequence[Outcome], judge: Judge) -> list[Flaws]:
    """The flaws of what the server heard against what was said."""
    return [flaws_of(one.turn.say, judge.normalize(one.said.heard), judge) for one in outcomes if one.way == "spoken"]


def word_errors(flaws: Sequence[Flaws]) -> Estimate:
    """Words heard wrong over words said, and its 95 % interval over whole answers drawn anew."""
    return bootstrap([(one.wrong, one.words) for one in flaws], ratio)

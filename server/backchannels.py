"""Words that say "I am listening, go on": no reason to stop speaking."""

from __future__ import annotations

import re

_WORDS = frozenset(
    [
        "mm",
        "mmm",
        "mhm",
        "mhmm",
        "mmhm",
        "mmhmm",
        "hm",
        "hmm",
        "uh",
        "huh",
        "uhhuh",
        "uhuh",
        "mama",  # what Whisper hears in a hummed "mm-hm"
        "ah",
        "aha",
        "oh",
        "ooh",
        "yeah",
        "yep",
        "yup",
        "yes",
        "ok",
        "okay",
        "kay",
        "right",
        "sure",
        "alright",
    ]
)
_PHRASES = ("i see", "got it", "go on", "of course", "all right", "uh huh", "mm hm", "mm hmm")
_LONGEST_WORDS = 4


def is_backchannel(text: str) -> bool:
    """Whether somebody who says this while another speaks only listens, such as "Mm-hm.", "Yeah, okay."."""
    said = " ".join(re.sub(r"[^a-z' ]", " ", text.lower()).split())
    if not said or len(said.split()) > _LONGEST_WORDS:
        return False
    for phrase in _PHRASES:
        said = re.sub(rf"\b{phrase}\b", " ", said)
    return all(word in _WORDS for word in said.split())

"""Words over an answer that want silence and nothing else: "Stop.", "Wait a second.", "No, that's enough."."""

from __future__ import annotations

import re

# "step" and "weight" are what a recogniser makes of "stop" and "wait": alone, over an answer, they mean nothing else
_COMMANDS = re.compile(
    r"\b(?:stop(?: it| that| talking| speaking| there)?|step|wait(?: up)?|weight|no|nope|enough|quiet|silence|halt|hush"
    r"|shush|pause|cancel|hold (?:on|it)|hang on|be (?:quiet|silent)|shut up|never ?mind|that is enough|that's enough"
    r"|that will do|that'll do|one (?:moment|second|minute|sec))\b"
)
_POLITE = re.compile(
    r"\b(?:a|now|please|just|okay|ok|hey|oh|right|there|omni|thanks|thank you|sorry|moment|second|minute|sec)\b"
)
_LONGEST_WORDS = 6


def is_stop_command(text: str) -> bool:
    """Whether somebody who says this over an answer wants it to end, and asks for nothing else."""
    said = " ".join(re.sub(r"[^a-z' ]", " ", text.lower().replace("’", "'")).split())
    if not said or len(said.split()) > _LONGEST_WORDS:
        return False
    rest, commands = _COMMANDS.subn(" ", said)
    return commands > 0 and not _POLITE.sub(" ", rest).strip()

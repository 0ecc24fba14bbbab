"""Mini-Omni: hears, thinks and speaks. Features in, text tokens and audio frames out."""

from model.engine import Engine
from model.omni import MiniOmni
from model.request import AudioChunk, Done, EndOfTurn, Event, Heard, OmniError, Request, TextDelta, Turn
from model.sampling import SamplingParams
from model.vocabulary import Task

__all__ = [
    "AudioChunk",
    "Done",
    "EndOfTurn",
    "Engine",
    "Event",
    "Heard",
    "MiniOmni",
    "OmniError",
    "Request",
    "SamplingParams",
    "Task",
    "TextDelta",
    "Turn",
]

"""Before an answer is begun: is the request sound, and what was said?"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torch import Tensor

from model.audio import SAMPLE_RATE, WINDOW_SECONDS
from model.request import FASTEST, SLOWEST, EndOfTurn, Event, Heard, InvalidRequest, Request
from model.stages import Stopwatch
from model.text import has_words
from model.vocabulary import Task

if TYPE_CHECKING:
    from model.omni import MiniOmni


@dataclass(frozen=True)
class Prepared:
    """A request whose audio has been heard. `Engine.prepare` makes it, in any thread."""

    request: Request
    task: Task
    question: str | None = None
    """What was typed or heard; None where the model keeps no transcript."""
    text_ids: tuple[int, ...] | None = None
    """The question already in tokens; for the embedded model, the whole prompt."""
    features: Tensor | None = None
    """Encoder states (1, frames, ears_width), for the published route."""
    no_speech: bool = False
    turn_ended: float | None = None
    """How likely the question is over, where that can be judged."""
    reported: bool = False
    """Whoever asked knows what was heard already."""
    watch: Stopwatch = field(default_factory=Stopwatch, compare=False)

    @property
    def findings(self) -> list[Event]:
        """What is known before an answer is begun: the transcript, and whether the question is over."""
        if self.request.audio is None or self.question is None:
            return []
        heard: list[Event] = [Heard(self.question)]
        return heard if self.turn_ended is None else [*heard, EndOfTurn(self.turn_ended)]


def prepare(omni: MiniOmni, request: Request) -> Prepared:
    """Check a request and hear its audio. Touches no engine: it may run in a thread of its own.

    Raises `InvalidRequest` for what cannot be answered as it is.
    """
    if not SLOWEST <= request.speed <= FASTEST:
        raise InvalidRequest(f"speed {request.speed:g} is out of reach; use {SLOWEST:g} to {FASTEST:g}")
    if request.say is not None:
        return _prepare_to_say(omni, request, request.say)
    if request.speed != 1 and omni.adapter is None:
        raise InvalidRequest("this model speaks at its own speed; leave it at 1, or use the embedded model")
    watch = Stopwatch()
    task = request.task or (Task.A1A2 if request.audio is not None else Task.T1A2)
    if task.hears and request.audio is None:
        raise InvalidRequest(f"task {task.value} needs audio: give float32 samples at 16 kHz")
    if not task.hears and not (request.text or "").strip() and not (request.text == "" and omni.chat is not None):
        raise InvalidRequest(f"task {task.value} needs text that is not empty")
    if task.speaks and omni.mouth is None:
        raise InvalidRequest(f"this model was opened without a mouth (SNAC); ask for text, not for {task.value}")
    if not task.hears or request.audio is None:
        return Prepared(request, task, question=request.text)
    audio = request.audio
    if audio.ndim != 1 or not len(audio):
        raise InvalidRequest(f"audio has shape {audio.shape}, wanted (samples,), at least one")
    if len(audio) > WINDOW_SECONDS * SAMPLE_RATE:
        seconds = len(audio) / SAMPLE_RATE
        raise InvalidRequest(f"the question lasts {seconds:.1f} s, at most {WINDOW_SECONDS} s can be heard")
    if omni.config.audio_route == "body":
        if request.before:
            raise InvalidRequest(f"this model hears {WINDOW_SECONDS} s at a time and keeps no transcript; ask in less")
        if omni.features is None:
            raise InvalidRequest("this model was opened without ears (small.pt); ask it by text")
        features = omni.features(audio)
        watch.ends("hearing")
        return Prepared(request, task, features=features, watch=watch)
    if omni.ears is None:
        raise InvalidRequest("this model was opened without ears; ask it by text")
    hearing = omni.ears.hear(audio)
    watch.ends("hearing")
    said = "" if hearing.no_speech else hearing.text.strip()
    question = " ".join(filter(None, (request.before.strip(), said)))
    turn_ended = None
    if question and task is not Task.A1T1 and hearing.ending is not None and omni.turn_end is not None:
        turn_ended = omni.turn_end(question, hearing.ending)
    return Prepared(request, task, question=question, no_speech=not question, turn_ended=turn_ended, watch=watch)


def _prepare_to_say(omni: MiniOmni, request: Request, text: str) -> Prepared:
    if request.audio is not None or request.text is not None or request.task not in (None, Task.T1A2):
        raise InvalidRequest("`say` is no question: give it without audio, text or another task than T1A2")
    if omni.adapter is None:
        raise InvalidRequest("this model can say only its own answers, not a given text; use the embedded model")
    if omni.mouth is None:
        raise InvalidRequest("this model was opened without a mouth (SNAC); it cannot say anything")
    if not has_words(text):
        raise InvalidRequest("there is no word in the text that could be said; give letters or numbers")
    return Prepared(request, Task.T1A2)

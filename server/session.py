"""One conversation's rules, without I/O: listening → hearing → thinking → speaking.

Inputs are methods, each returns what follows from it: events for the client and commands for whoever drives the
generator, in order. Turn-taking is counted in samples of the microphone; the clock is used only for figures and to
estimate what a client that reports no position has played.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

import numpy as np

from model.request import (
    AudioChunk,
    Done,
    EndOfTurn,
    EngineFull,
    Event,
    Heard,
    OmniError,
    Request,
    TextDelta,
    Turn,
)
from model.sampling import SamplingParams
from model.stages import Stage
from model.vocabulary import Task
from server.audio import AudioBuffer
from server.events import (
    AnswerAudio,
    AnswerText,
    AnswerTextDone,
    CancelGeneration,
    GenerationAdopted,
    IdlePrompted,
    Interrupted,
    InterruptReason,
    Output,
    Problem,
    QuestionHeard,
    ResponseDone,
    ResponseReason,
    ResponseStarted,
    SpeechStarted,
    SpeechStopped,
    StartGeneration,
    StopReason,
)
from server.idle import INSTRUCTION, IdleWatch
from server.long_turns import EARS_MS, Pieces
from server.memory import Answer, Memory
from server.turns import (
    SpeechBegan,
    SpeechEnded,
    SpeechPaused,
    SpeechResumed,
    TurnDetector,
    TurnRules,
    TurnSignal,
    ms_to_samples,
    samples_to_ms,
)

_SHUTTING_DOWN = "the server is shutting down and takes no new questions; connect again in a few seconds"


class State(Enum):
    """What the conversation is doing."""

    LISTENING = "listening"
    HEARING = "hearing"
    THINKING = "thinking"
    SPEAKING = "speaking"


@dataclass(frozen=True)
class SessionOptions:
    """What a client or the operator may choose for a conversation."""

    rules: TurnRules = field(default_factory=TurnRules)
    speculate: bool = True
    idle_prompt_ms: int | None = None
    """Silence after an answer at which somebody is asked, once, whether they are still there; None: never."""
    system_prompt: str | None = None
    sampling: SamplingParams = field(default_factory=SamplingParams)
    max_tokens: int = 160
    max_seconds: float = 40.0
    max_sentences: int | None = 3


@dataclass
class _Question:
    """The turn being heard or answered. Positions are samples of the microphone."""

    turn_id: int
    begin: int = 0
    end: int = 0
    text: str | None = None
    """Typed, or heard once it is known."""
    typed: bool = False
    idle: bool = False
    """Nobody asked: they are asked whether they are still there."""
    confirmed_at: float = 0.0
    """Seconds of the clock."""
    pieces: Pieces = field(default_factory=lambda: Pieces(0))
    """Of a spoken turn."""


@dataclass
class _Generation:
    """An answer being made. A speculative one's events are held back until the turn is confirmed."""

    generation_id: int
    started_at: float
    speculative: bool
    held: list[Event] = field(default_factory=list)
    judged: bool = False
    """It has told whether the turn may be over."""
    failure: OmniError | None = None
    finished_at: float | None = None
    answer: Answer | None = None
    first_text_ms: int | None = None
    first_audio_ms: int | None = None


class Session:
    """The state machine. Not safe to call from several threads or re-entrantly; it never blocks."""

    def __init__(
        self,
        detector: TurnDetector,
        options: SessionOptions | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.options = options or SessionOptions()
        self.memory = Memory()
        self._detector = detector
        self._clock = clock
        self._audio = AudioBuffer()
        self._state = State.LISTENING
        self._question: _Question | None = None
        self._generation: _Generation | None = None
        self._playing: tuple[_Question, Answer] | None = None
        self._turn_count = self._response_count = self._generation_count = 0
        self._draining = False
        self._idle = IdleWatch()
        detector.configure(self._rules())

    # what may be asked

    @property
    def state(self) -> State:
        """`SPEAKING` lasts until the client has played the answer, not until it was sent."""
        self._settle()
        return self._state

    @property
    def answering(self) -> bool:
        """An answer is being made for a confirmed turn."""
        return self._generation is not None and not self._generation.speculative

    @property
    def turn_open(self) -> bool:
        """Somebody is in the middle of a turn."""
        return self._state is State.HEARING

    @property
    def held_samples(self) -> int:
        """Microphone samples in memory."""
        return len(self._audio)

    # inputs from the client

    def configure(self, options: SessionOptions, history: tuple[Turn, ...] | None = None) -> None:
        """Other options from now on; `history` replaces the memory."""
        self.options = options
        self._detector.configure(self._rules())
        if history is not None:
            self.memory.replace(history)

    def receive_audio(self, samples: np.ndarray, probabilities: Sequence[float] = ()) -> list[Output]:
        """(n,) float32 of the microphone, 16 kHz, any n, and how likely each window of 512 that they complete holds a
        voice."""
        self._settle()
        self._audio.append(samples)
        signals = self._detector.push(samples, probabilities)
        outputs = [output for signal in signals for output in self._on_signal(signal)]
        outputs += self._hear_ahead() + self._watch_idle(len(samples))
        self._trim()
        return outputs

    def receive_text(self, text: str) -> list[Output]:
        """A typed question. Ends whatever is going on."""
        self._settle()
        if self._draining:
            return [Problem("shutting_down", _SHUTTING_DOWN)]
        outputs = self._clear("text")
        self._detector.reset()
        self._question = _Question(self._next_turn(), text=text, typed=True, confirmed_at=self._clock())
        return outputs + self._ask(self._request(text=text), speculative=False)

    def commit(self) -> list[Output]:
        """End the turn now."""
        self._settle()
        signals = self._detector.flush()
        outputs = [output for signal in signals for output in self._on_signal(signal)]
        if not signals and self._state is State.LISTENING:
            return [QuestionHeard(self._next_turn(), "", no_speech=True)]
        return outputs

    def interrupt(self, played_ms: float | None = None, reason: InterruptReason = "interrupt") -> list[Output]:
        """Stop speaking or thinking; nothing when neither is going on."""
        if played_ms is not None:
            self.playback(played_ms)
        self._settle()
        return self._clear(reason) if self._state in (State.THINKING, State.SPEAKING) else []

    def playback(self, played_ms: float, response_id: int | None = None) -> None:
        """The client says how much of an answer's sound it has played."""
        answer = self.memory.answer(response_id)
        if answer:
            answer.report(played_ms)

    def stop(self) -> list[Output]:
        """The conversation is over."""
        self._detector.reset()
        return self._clear("stop")

    def drain(self) -> None:
        """Finish the answer in progress and begin no other."""
        self._draining = True

    # inputs from the generator

    def receive_event(self, generation_id: int, event: Event) -> list[Output]:
        """What the generator made; of a cancelled generation it is ignored."""
        if self._question and generation_id in self._question.pieces.pending:
            return self._on_piece(self._question, generation_id, event)
        generation = self._generation
        if generation is None or generation.generation_id != generation_id:
            return []
        if isinstance(event, Done):
            generation.finished_at = self._clock()
        if generation.speculative:
            generation.held.append(event)
            return self._judge(generation, event)
        return self._on_event(generation, event)

    def generation_failed(self, generation_id: int, error: OmniError) -> list[Output]:
        """The generator gave up. A speculative one is tried again when the turn is confirmed."""
        if self._question and generation_id in self._question.pieces.pending:
            return self._on_piece(self._question, generation_id, error)
        generation = self._generation
        if generation is None or generation.generation_id != generation_id:
            return []
        if generation.speculative:
            generation.failure = error
            return self._judge(generation, None)
        return self._on_failure(generation, error)

    # the microphone's signals

    def _on_signal(self, signal: TurnSignal) -> list[Output]:
        if isinstance(signal, SpeechBegan):
            return self._on_speech(signal.at_sample)
        if self._state is not State.HEARING or self._question is None:
            return []
        if isinstance(signal, SpeechPaused):
            return self._on_pause(self._question, signal.at_sample)
        if isinstance(signal, SpeechResumed):
            self._question.pieces.resume(signal.at_sample)
            return self._cancel()
        return self._on_speech_end(self._question, signal)

    def _on_speech(self, at_sample: int) -> list[Output]:
        question = self._question
        if self._state is State.THINKING and question and not question.typed and self._fits(question, at_sample):
            outputs = self._cancel()  # nothing was answered yet: the same turn goes on
            question.text = None
            question.pieces.resume(at_sample)
            resumed = True
        else:
            outputs = self._clear("speech")
            pieces = Pieces(max(0, at_sample - ms_to_samples(self.options.rules.pre_roll_ms)))
            question = self._question = _Question(self._next_turn(), begin=at_sample, pieces=pieces)
            resumed = False
        self._state = State.HEARING
        return [*outputs, SpeechStarted(question.turn_id, samples_to_ms(at_sample), resumed)]

    def _on_pause(self, question: _Question, at_sample: int) -> list[Output]:
        question.pieces.pause(at_sample)
        if not self.options.speculate or self._draining or question.pieces.pending:
            return []
        return [*self._cancel(), *self._ask(self._spoken(question, at_sample), speculative=True)]

    def _on_speech_end(self, question: _Question, signal: SpeechEnded) -> list[Output]:
        question.end = signal.at_sample
        question.pieces.pause(signal.at_sample)
        question.confirmed_at = self._clock()
        reason: StopReason = signal.reason
        stopped = SpeechStopped(question.turn_id, samples_to_ms(signal.at_sample), reason)
        if self._draining:
            outputs = self._cancel()
            self._listen()
            return [stopped, *outputs, Problem("shutting_down", _SHUTTING_DOWN, turn_id=question.turn_id)]
        generation = self._generation
        if question.pieces.pending:  # the last of them begins the answer
            self._state = State.THINKING
            return [stopped]
        if generation is None or generation.failure:
            return [stopped, *self._ask(self._spoken(question, signal.at_sample), speculative=False)]
        self._state = State.THINKING
        generation.speculative = False
        outputs = [stopped, GenerationAdopted(generation.generation_id)]
        held, generation.held = generation.held, []
        return outputs + [output for event in held for output in self._on_event(generation, event)]

    def _judge(self, generation: _Generation, event: Event | None) -> list[Output]:
        """What a guess tells of the turn, by an event or by going on without it, decides how long this pause may be."""
        if generation.judged or isinstance(event, Heard):
            return []
        generation.judged = True
        signals = self._detector.expect(event.probability if isinstance(event, EndOfTurn) else None)
        return [output for signal in signals for output in self._on_signal(signal)]

    def _rules(self) -> TurnRules:
        """As they can be followed: without guesses nothing is known at a pause."""
        rules = self.options.rules
        return rules if self.options.speculate else replace(rules, eagerness=None)

    # long turns

    def _hear_ahead(self) -> list[Output]:
        """A piece of a long turn is heard while the turn goes on."""
        question = self._question
        if self._state is not State.HEARING or question is None or not question.pieces.due(self._audio.end):
            return []
        pieces = question.pieces
        end = pieces.split(self._audio.slice(pieces.unheard_from, self._audio.end))
        request = self._request(audio=self._audio.slice(pieces.unheard_from, end))
        self._generation_count += 1
        pieces.send(self._generation_count, end)
        return [StartGeneration(self._generation_count, replace(request, task=Task.A1T1), speculative=False)]

    def _on_piece(self, question: _Question, generation_id: int, event: Event | OmniError) -> list[Output]:
        """More of what a piece says. When all are heard, what waited for them goes on."""
        pieces = question.pieces
        outputs: list[Output] = []
        if isinstance(event, TextDelta):
            pieces.texts[generation_id] += event.text
        if isinstance(event, OmniError):
            outputs.append(
                Problem(event.code, f"part of the question was not heard: {event}", turn_id=question.turn_id)
            )
        if isinstance(event, Done | OmniError):
            pieces.pending.discard(generation_id)
        if pieces.pending or self._generation or not isinstance(event, Done | OmniError):
            return outputs
        if self._state is State.THINKING:
            return [*outputs, *self._ask(self._spoken(question, question.end), speculative=False)]
        return outputs if pieces.paused_at is None else outputs + self._on_pause(question, pieces.paused_at)

    def _fits(self, question: _Question, at_sample: int) -> bool:
        """Whether a turn that goes on here may last for at least another second."""
        longest = ms_to_samples(self.options.rules.max_turn_ms - self.options.rules.pre_roll_ms - 1000)
        return at_sample - question.begin <= longest

    def _spoken(self, question: _Question, end: int) -> Request:
        begin = question.pieces.unheard_from
        end = min(end + ms_to_samples(self.options.rules.pause_ms), begin + ms_to_samples(EARS_MS))
        return replace(self._request(audio=self._audio.slice(begin, end)), before=question.pieces.text)

    def _trim(self) -> None:
        """Keep what is unheard of the open turn, else a second and the pre-roll: what a turn that is just beginning may
        need."""
        rules = self.options.rules
        keep_from = self._audio.end - ms_to_samples(1000 + rules.min_speech_ms + rules.pre_roll_ms)
        if self._question and not self._question.typed and self._state in (State.HEARING, State.THINKING):
            keep_from = min(keep_from, self._question.pieces.unheard_from)
        self._audio.drop_before(keep_from)

    # silence

    def _watch_idle(self, samples: int) -> list[Output]:
        """Ask somebody who says nothing for long whether they are still there."""
        if self._state is not State.LISTENING or self._draining:
            self._idle.busy()
            return []
        if not self._idle.is_due(samples, self.options.idle_prompt_ms):
            return []
        question = self._question = _Question(self._next_turn(), typed=True, idle=True, confirmed_at=self._clock())
        return [IdlePrompted(question.turn_id), *self._ask(self._request(text=INSTRUCTION), speculative=False)]

    # the answer

    def _request(self, audio: np.ndarray | None = None, text: str | None = None) -> Request:
        options = self.options
        return Request(
            audio=audio,
            text=text,
            system_prompt=options.system_prompt,
            history=self.memory.turns(self._clock()),
            sampling=options.sampling,
            max_tokens=options.max_tokens,
            max_seconds=options.max_seconds,
            max_sentences=options.max_sentences,
        )

    def _ask(self, request: Request, speculative: bool) -> list[Output]:
        self._generation_count += 1
        self._generation = _Generation(self._generation_count, self._clock(), speculative)
        if not speculative:
            self._state = State.THINKING
        return [StartGeneration(self._generation_count, request, speculative)]

    def _on_event(self, generation: _Generation, event: Event) -> list[Output]:
        question = self._question
        assert question is not None, "an answer without a question"
        if isinstance(event, Heard):
            if question.typed or not event.text.strip():
                return []
            question.text = event.text.strip()
            return [QuestionHeard(question.turn_id, question.text)]
        if isinstance(event, EndOfTurn):
            return []
        if isinstance(event, Done):
            return self._on_done(question, generation, event)
        outputs: list[Output] = []
        answer = generation.answer or self._begin_answer(question, generation, outputs)
        if isinstance(event, TextDelta):
            if event.text:
                if generation.first_text_ms is None:
                    generation.first_text_ms = self._since(question)
                answer.text += event.text
                outputs.append(AnswerText(answer.response_id, event.text))
        elif isinstance(event, AudioChunk) and len(event.samples):
            if generation.first_audio_ms is None:
                generation.first_audio_ms = self._since(question)
            answer.add_audio(event, self._clock())
            outputs.append(AnswerAudio(answer.response_id, event.samples))
        return outputs

    def _begin_answer(self, question: _Question, generation: _Generation, outputs: list[Output]) -> Answer:
        self._response_count += 1
        answer = generation.answer = Answer(self._response_count)
        self.memory.add(question.text or "", answer)
        if not question.idle:
            self._idle.answered()
        self._playing = (question, answer)
        self._state = State.SPEAKING
        outputs.append(ResponseStarted(answer.response_id, question.turn_id))
        return answer

    def _on_done(self, question: _Question, generation: _Generation, event: Done) -> list[Output]:
        outputs: list[Output] = []
        if event.reason == "no_speech":
            self._listen()
            return [QuestionHeard(question.turn_id, "", no_speech=True)]
        answer = generation.answer or self._begin_answer(question, generation, outputs)
        answer.complete = True
        outputs.append(AnswerTextDone(answer.response_id, answer.text))
        outputs.append(self._response_done(question, generation, answer, event.reason, event.stages))
        self._generation = None
        self._question = None
        return outputs

    def _on_failure(self, generation: _Generation, error: OmniError) -> list[Output]:
        question, answer = self._question, generation.answer
        assert question is not None, "an answer without a question"
        message = str(error) or "the answer could not be made; ask again"
        if isinstance(error, EngineFull):
            message = "every place for an answer is taken; ask again in a few seconds"
        outputs: list[Output] = [
            Problem(error.code, message, turn_id=question.turn_id, response_id=answer.response_id if answer else None)
        ]
        if answer is None:
            if question.text:
                self.memory.add(question.text, None)
            self._listen()
        else:
            answer.complete = True
            outputs.append(self._response_done(question, generation, answer, "error"))
            self._generation = self._question = None
        return outputs

    def _response_done(
        self,
        question: _Question,
        generation: _Generation,
        answer: Answer,
        reason: ResponseReason,
        stages: Mapping[Stage, float] | None = None,
    ) -> ResponseDone:
        seconds = answer.sent_ms / 1000
        took = (generation.finished_at or self._clock()) - generation.started_at
        return ResponseDone(
            answer.response_id,
            question.turn_id,
            reason,
            answer.text,
            round(answer.sent_ms),
            question.text,
            generation.first_text_ms,
            generation.first_audio_ms,
            round(took / seconds, 3) if seconds and reason in ("stop", "length") else None,
            {stage: round(1000 * took, 1) for stage, took in stages.items()} if stages else None,
        )

    # endings

    def _clear(self, reason: InterruptReason) -> list[Output]:
        """Interrupt what is spoken or thought about; forget an open turn. Afterwards: listening."""
        outputs: list[Output] = []
        question, generation, now = self._question, self._generation, self._clock()
        if self._state is State.SPEAKING and self._playing:
            question, answer = self._playing
            heard_out = answer.complete and (reason == "stop" or (reason == "text" and answer.reported_ms is None))
            if not heard_out:  # a program that reads and reports no position has the whole answer
                answer.interrupted_at = now
                text, played_ms = answer.kept_text(now), round(answer.played_ms(now))
                outputs.append(Interrupted(answer.response_id, question.turn_id, reason, text, played_ms))
            if generation and not answer.complete:
                outputs.append(self._response_done(question, generation, answer, "interrupted"))
        elif self._state is State.THINKING and question:
            if question.text:
                self.memory.add(question.text, None)
            outputs.append(Interrupted(None, question.turn_id, reason, "", 0))
        pieces = self._question.pieces.pending if self._question else ()
        cancel = [*self._cancel(), *(CancelGeneration(piece, speculative=False) for piece in pieces)]
        self._listen()
        return [*cancel, *outputs]

    def _cancel(self) -> list[Output]:
        generation, self._generation = self._generation, None
        return [CancelGeneration(generation.generation_id, generation.speculative)] if generation else []

    def _listen(self) -> None:
        self._state = State.LISTENING
        self._question = self._generation = self._playing = None

    def _settle(self) -> None:
        """Speaking ends when the answer has been played."""
        sent = self._state is State.SPEAKING and self._generation is None
        if sent and self._playing and not self._playing[1].is_playing(self._clock()):
            self._listen()

    def _since(self, question: _Question) -> int:
        return round((self._clock() - question.confirmed_at) * 1000)

    def _next_turn(self) -> int:
        self._turn_count += 1
        return self._turn_count

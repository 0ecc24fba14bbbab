"""One conversation's rules, without I/O: listening → hearing → thinking → speaking.

Inputs are methods, each returns what follows from it: events for the client and commands for whoever drives the
generator, in order. Turn-taking is counted in samples of the microphone; the clock is used only for figures and to
estimate what a client that reports no position has played.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum

import numpy as np

from model.request import AudioChunk, Done, EngineFull, Event, Heard, OmniError, Request, TextDelta, Turn
from model.sampling import SamplingParams
from model.vocabulary import Task
from server.audio import AudioBuffer
from server.backchannels import is_backchannel
from server.events import (
    ANSWER_SAMPLE_RATE,
    AnswerAudio,
    AnswerPromised,
    AnswerText,
    AnswerTextDone,
    CancelGeneration,
    GenerationAdopted,
    Interrupted,
    InterruptReason,
    Output,
    Problem,
    QuestionHeard,
    ResponseDone,
    ResponseReason,
    ResponseStarted,
    Resumed,
    SpeechStarted,
    SpeechStopped,
    StartGeneration,
    StopReason,
    TurnTaken,
    Usage,
)
from server.held_answer import HeldAnswer, SentSound
from server.memory import Answer, Memory, Message
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


SHORTEST_COMMIT_MS = 100
_QUIET_MS = 320
"""Silence after which an answer goes on that was stopped by no words: two coughs are one interruption."""
_NEARLY_OVER_MS = 1000
"""With less of an answer left, "yes" may answer its question."""


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
    system_prompt: str | None = None
    sampling: SamplingParams = field(default_factory=SamplingParams)
    max_tokens: int = 160
    max_seconds: float = 40.0
    max_sentences: int | None = 3
    speak: bool = True
    """Answers are spoken; otherwise they are text alone."""
    find_turns: bool = True
    """The server finds turns in the microphone; otherwise the client commits what it sent (push-to-talk)."""
    answer_turns: bool = True
    """A turn that was found is answered; otherwise the client asks for every answer."""
    interruptible: bool = True
    """Speech stops an answer."""
    resume: bool = False
    """An answer that was stopped by a cough or a "mm-hm" goes on."""


@dataclass
class _Question:
    """The turn being heard or answered. Positions are samples of the microphone."""

    turn_id: int
    begin: int = 0
    end: int = 0
    text: str | None = None
    """Typed, or heard once it is known."""
    typed: bool = False
    confirmed_at: float = 0.0
    """Seconds of the clock."""
    message: Message | None = None
    """Where it is remembered, once it is."""
    hears: int | None = None
    """The number of the turn that is heard for it, where that is another."""
    asked: bool = False
    """The client asked for this answer: what it answers stands in the conversation already, or is nothing at all."""

    @property
    def may_go_on(self) -> bool:
        """Speech that follows belongs to it."""
        return not self.typed and not self.asked


@dataclass
class _Generation:
    """An answer being made. A speculative one's events are held back until the turn is confirmed."""

    generation_id: int
    started_at: float
    speculative: bool
    held: list[Event] = field(default_factory=list)
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
        self._sent: SentSound | None = None
        """Of the answer that is played, where it may have to go on."""
        self._held: HeldAnswer[_Question, _Generation] | None = None
        """An answer that speech has stopped, as long as nobody knows what was said."""
        self._overheard: _Question | None = None
        """A turn that is spoken into an answer that may not be interrupted."""
        self._uncommitted_from = 0
        """Where the sound begins that a client's commit takes; counted where the server finds no turns."""
        self._full = False
        self._hearings: dict[int, Message] = {}
        """Messages that are only heard, by generation."""
        self._asides: dict[int, tuple[_Question, _Generation]] = {}
        """Answers beside the conversation, by generation."""
        self._turn_count = self._response_count = self._generation_count = 0
        self._draining = False
        detector.configure(self.options.rules)

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
    def uncommitted_ms(self) -> int:
        """How much was said that `commit` would take."""
        if not self.options.find_turns:
            return samples_to_ms(self._audio.end - self._uncommitted_from)
        open_ = self._question if self._state is State.HEARING else None
        return samples_to_ms(self._audio.end - open_.begin) if open_ else 0

    @property
    def held_samples(self) -> int:
        """Microphone samples in memory."""
        return len(self._audio)

    # inputs from the client

    def configure(self, options: SessionOptions, history: tuple[Turn, ...] | None = None) -> None:
        """Other options from now on; `history` replaces the memory."""
        if self.options.find_turns and not options.find_turns:
            self._uncommitted_from = self._audio.end
        self.options = options
        self._detector.configure(options.rules)
        if history is not None:
            self.memory.replace(history)

    def receive_audio(self, samples: np.ndarray, probabilities: Sequence[float] = ()) -> list[Output]:
        """(n,) float32 of the microphone, 16 kHz, any n, and how likely each window of 512 that they complete holds a
        voice."""
        self._settle()
        self._audio.append(samples)
        if not self.options.find_turns:
            return self._keep_uncommitted()
        signals = self._detector.push(samples, probabilities)
        outputs = [output for signal in signals for output in self._on_signal(signal)]
        outputs += self._resume_when_quiet()
        self._trim()
        return outputs

    def receive_text(self, text: str) -> list[Output]:
        """A typed question. Ends whatever is going on."""
        self._settle()
        if self._draining:
            return [Problem("shutting_down", _SHUTTING_DOWN)]
        outputs = self._clear("text")
        self._detector.reset()
        self._question = _Question(self.next_turn(), text=text, typed=True, confirmed_at=self._clock())
        return outputs + self._ask(self._request(text=text), speculative=False)

    def commit(self) -> list[Output]:
        """End the turn now."""
        self._settle()
        if not self.options.find_turns:
            return self._take_uncommitted()
        signals = self._detector.flush()
        outputs = [output for signal in signals for output in self._on_signal(signal)]
        if not signals and self._state is State.LISTENING:
            return [QuestionHeard(self.next_turn(), "", no_speech=True)]
        return outputs

    def interrupt(self, played_ms: float | None = None, reason: InterruptReason = "interrupt") -> list[Output]:
        """Stop speaking or thinking; nothing when neither is going on."""
        if played_ms is not None:
            self.playback(played_ms)
        self._settle()
        return self._clear(reason) if self._state in (State.THINKING, State.SPEAKING) else self._yield()

    def clear_audio(self) -> list[Output]:
        """Drop what was said but is no turn yet."""
        self._settle()
        self._detector.reset()
        self._uncommitted_from, self._full, self._overheard = self._audio.end, False, None
        if self._state is not State.HEARING:
            return []
        outputs = [*self._yield(), *self._cancel()]
        self._listen()
        return outputs

    def respond(
        self, label: str, options: SessionOptions | None = None, request: Request | None = None
    ) -> list[Output]:
        """Answer what stands last in the conversation; where that is no question, the assistant speaks first.

        An open turn ends and is what is answered. `options` are for this answer alone; a `request` is answered instead
        of the conversation.
        """
        self._settle()
        if self._draining:
            return [Problem("shutting_down", _SHUTTING_DOWN)]
        if self.answering:
            return [Problem("active_response", "an answer is being made; cancel it, or wait for its end")]
        outputs = self._yield()
        if self._state is State.HEARING and self._question is not None:
            outputs += self._end_open_turn(self._question)
        self._listen()
        question = self._question = _Question(self.next_turn(), asked=True, confirmed_at=self._clock())
        if request is None:
            request = request_of(self.memory, options or self.options, self._clock())
            question.message, question.text = self.memory.unanswered(), request.text
            if question.message is not None and request.audio is not None:
                outputs += self._stop_hearing(question.message)
                question.hears = question.message.turn_id
        promised = AnswerPromised(question.turn_id, label, question.hears)
        return [*outputs, promised, *self._ask(request, speculative=False)]

    def respond_aside(self, label: str, request: Request) -> list[Output]:
        """Answer beside the conversation: nothing is interrupted by it or remembered of it."""
        if self._draining:
            return [Problem("shutting_down", _SHUTTING_DOWN)]
        self._generation_count += 1
        question = _Question(self.next_turn(), asked=True, confirmed_at=self._clock())
        generation = _Generation(self._generation_count, self._clock(), speculative=False)
        self._asides[generation.generation_id] = (question, generation)
        start = StartGeneration(generation.generation_id, request, speculative=False)
        return [AnswerPromised(question.turn_id, label), start]

    def cancel_aside(self, turn_id: int) -> list[Output]:
        """Stop an answer beside the conversation."""
        for generation_id, (question, generation) in self._asides.items():
            if question.turn_id == turn_id:
                del self._asides[generation_id]
                done = generation.answer and self._response_done(question, generation, generation.answer, "interrupted")
                return [CancelGeneration(generation_id, False), *([done] if done else [])]
        return []

    def playback(self, played_ms: float, response_id: int | None = None) -> None:
        """The client says how much of an answer's sound it has played."""
        answer = self.memory.answer(response_id)
        if answer:
            answer.report(played_ms)

    def truncate(self, answer: Answer, played_ms: float) -> None:
        """The client played an answer so far and threw the rest away."""
        answer.truncate(played_ms, self._clock())
        self._settle()

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
        if generation_id in self._hearings:
            return self._on_hearing(generation_id, event)
        if generation_id in self._asides:
            return self._on_aside(generation_id, event)
        if self._held is not None and self._held.generation_id == generation_id:
            return self._keep(self._held, event)
        generation = self._generation
        if generation is None or generation.generation_id != generation_id:
            return []
        if isinstance(event, Done):
            generation.finished_at = self._clock()
        if self._held is not None:
            return self._decide(self._held, generation, event)
        return self._take_event(generation, event)

    def _take_event(self, generation: _Generation, event: Event) -> list[Output]:
        if generation.speculative:
            generation.held.append(event)
            return []
        return self._on_event(generation, event)

    def generation_failed(self, generation_id: int, error: OmniError) -> list[Output]:
        """The generator gave up. A speculative one is tried again when the turn is confirmed."""
        if hearing := self._hearings.pop(generation_id, None):
            return [Problem(error.code, _told(error), turn_id=hearing.turn_id)]
        if aside := self._asides.pop(generation_id, None):
            return self._failed(*aside, error)
        if self._held is not None and self._held.generation_id == generation_id:
            self._held.failure = error
            return []
        generation = self._generation
        if generation is None or generation.generation_id != generation_id:
            return []
        if generation.speculative:
            generation.failure = error
            return []
        return [*self._yield(), *self._on_failure(generation, error)]

    # the microphone's signals

    def _on_signal(self, signal: TurnSignal) -> list[Output]:
        if isinstance(signal, SpeechBegan):
            return self._on_speech(signal.at_sample)
        if self._overheard is not None:
            return self._on_overheard(self._overheard, signal)
        if self._state is not State.HEARING or self._question is None:
            return []
        if isinstance(signal, SpeechPaused):
            return self._on_pause(self._question, signal.at_sample)
        if isinstance(signal, SpeechResumed):
            if self._held is not None:
                self._held.nothing_said = self._held.quiet_since = None
            return self._cancel()
        return self._on_speech_end(self._question, signal)

    def _on_speech(self, at_sample: int) -> list[Output]:
        question = self._question
        if not self.options.interruptible and self._state in (State.THINKING, State.SPEAKING):
            self._overheard = _Question(self.next_turn(), begin=at_sample)
            return [SpeechStarted(self._overheard.turn_id, samples_to_ms(at_sample))]
        if self._state is State.THINKING and question and question.may_go_on and self._fits(question, at_sample):
            outputs = self._cancel()  # nothing was answered yet: the same turn goes on
            question.text = None
            resumed = True
        else:
            outputs = self._clear("speech") if self._sent is None else self._hold(self._sent)
            question = self._question = _Question(self.next_turn(), begin=at_sample)
            resumed = False
        self._state = State.HEARING
        return [*outputs, SpeechStarted(question.turn_id, samples_to_ms(at_sample), resumed)]

    def _on_pause(self, question: _Question, at_sample: int) -> list[Output]:
        if self._held is not None:
            self._held.quiet_since = at_sample
        if not self.options.speculate or not self.options.answer_turns or self._draining:
            return []
        return [*self._cancel(), *self._ask(self._spoken(question, at_sample), speculative=True)]

    def _on_speech_end(self, question: _Question, signal: SpeechEnded) -> list[Output]:
        question.end = signal.at_sample
        question.confirmed_at = self._clock()
        reason: StopReason = signal.reason
        stopped = SpeechStopped(question.turn_id, samples_to_ms(signal.at_sample), reason)
        if self._draining:
            outputs = [*self._yield(), *self._cancel()]
            self._listen()
            return [stopped, *outputs, Problem("shutting_down", _SHUTTING_DOWN, turn_id=question.turn_id)]
        if not self.options.answer_turns:
            self._listen()
            return [stopped, *self._take(question)]
        if self._held is not None and self._held.nothing_said is not None:
            return [stopped, *self._resume(self._held, question)]
        generation = self._generation
        if generation is None or generation.failure:
            return [stopped, *self._ask(self._spoken(question, signal.at_sample), speculative=False)]
        self._state = State.THINKING
        generation.speculative = False
        outputs = [stopped, GenerationAdopted(generation.generation_id)]
        held, generation.held = generation.held, []
        return outputs + [output for event in held for output in self._on_event(generation, event)]

    def _fits(self, question: _Question, at_sample: int) -> bool:
        """Whether a turn that goes on here leaves room for at least another second in the ears' window."""
        longest = ms_to_samples(self.options.rules.max_turn_ms - self.options.rules.pre_roll_ms - 1000)
        return at_sample - question.begin <= longest

    def _spoken(self, question: _Question, end: int) -> Request:
        rules = self.options.rules
        begin = max(0, question.begin - ms_to_samples(rules.pre_roll_ms))
        end = min(end + ms_to_samples(rules.pause_ms), begin + ms_to_samples(rules.max_turn_ms))
        return self._request(audio=self._audio.slice(begin, end))

    def _trim(self) -> None:
        """Keep the open turn, else a second and the pre-roll: what a turn that is just beginning may need."""
        open_ = self._overheard
        rules = self.options.rules
        keep_from = self._audio.end - ms_to_samples(1000 + rules.min_speech_ms)
        if open_ is None and self._question and self._state in (State.HEARING, State.THINKING):
            open_ = self._question if self._question.may_go_on else None
        if open_ is not None:
            keep_from = min(keep_from, open_.begin)
        self._audio.drop_before(keep_from - ms_to_samples(rules.pre_roll_ms))

    # the answer

    def _request(self, audio: np.ndarray | None = None, text: str | None = None) -> Request:
        history = self.memory.turns(self._clock())
        return make_request(self.options, history, self.memory.notes(), audio=audio, text=text)

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
            if question.message is not None:
                question.message.heard(question.text)
            return [QuestionHeard(question.hears or question.turn_id, question.text)]
        if isinstance(event, Done):
            return self._on_done(question, generation, event)
        outputs: list[Output] = []
        answer = generation.answer or self._begin_answer(question, generation, outputs)
        return outputs + self._on_piece(question, generation, answer, event)

    def _on_piece(
        self, question: _Question, generation: _Generation, answer: Answer, event: TextDelta | AudioChunk
    ) -> list[Output]:
        outputs: list[Output] = []
        if isinstance(event, TextDelta):
            if event.text:
                if generation.first_text_ms is None:
                    generation.first_text_ms = self._since(question)
                answer.text += event.text
                outputs.append(AnswerText(answer.response_id, event.text))
        elif isinstance(event, AudioChunk) and len(event.samples):
            if generation.first_audio_ms is None:
                generation.first_audio_ms = self._since(question)
            outputs += self._send_sound(answer, event)
        return outputs

    def _send_sound(self, answer: Answer, chunk: AudioChunk) -> list[Output]:
        now = self._clock()
        if self._sent is not None and self._playing is not None and answer is self._playing[1]:
            self._sent.add(chunk, answer.played_ms(now))
        answer.add_audio(chunk, now)
        return [AnswerAudio(answer.response_id, chunk.samples)]

    def _begin_answer(self, question: _Question, generation: _Generation, outputs: list[Output]) -> Answer:
        self._response_count += 1
        answer = generation.answer = Answer(self._response_count)
        self._remember(question, answer)
        self._playing = (question, answer)
        self._sent = SentSound() if self.options.resume and self.options.answer_turns else None
        self._state = State.SPEAKING
        outputs.append(ResponseStarted(answer.response_id, question.turn_id))
        return answer

    def _on_done(self, question: _Question, generation: _Generation, event: Done) -> list[Output]:
        outputs: list[Output] = []
        if event.reason == "no_speech":
            if question.message is not None:
                question.message.heard("")
            self._listen()
            return [QuestionHeard(question.hears or question.turn_id, "", no_speech=True)]
        answer = generation.answer or self._begin_answer(question, generation, outputs)
        answer.complete = True
        outputs.append(AnswerTextDone(answer.response_id, answer.text))
        outputs.append(self._response_done(question, generation, answer, event.reason, event))
        self._generation = None
        self._question = None
        return outputs

    def _on_failure(self, generation: _Generation, error: OmniError) -> list[Output]:
        question, answer = self._question, generation.answer
        assert question is not None, "an answer without a question"
        if answer is None:
            if question.text:
                self._remember(question)
            self._listen()
        else:
            self._generation = self._question = None
        return self._failed(question, generation, error)

    def _failed(self, question: _Question, generation: _Generation, error: OmniError) -> list[Output]:
        answer = generation.answer
        response_id = answer.response_id if answer else None
        problem = Problem(error.code, _told(error), turn_id=question.turn_id, response_id=response_id)
        if answer is None:
            return [problem]
        answer.complete = True
        return [problem, self._response_done(question, generation, answer, "error")]

    def _remember(self, question: _Question, answer: Answer | None = None) -> None:
        if question.message is None and not question.asked:
            key = self.memory.turn_key(question.turn_id)
            question.message = Message(key, "user", question.text or "", spoken=not question.typed)
            self.memory.append(question.message)
        if answer is not None:
            self.memory.append(Message(self.memory.answer_key(answer.response_id), "assistant", answer=answer))

    def _response_done(
        self,
        question: _Question,
        generation: _Generation,
        answer: Answer,
        reason: ResponseReason,
        made: Done | None = None,
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
            {stage: round(1000 * took, 1) for stage, took in made.stages.items()} if made and made.stages else None,
            Usage(made.prompt_tokens, made.cached_tokens, made.text_tokens, made.audio_tokens) if made else None,
        )

    # turns that are answered when the client asks

    def _keep_uncommitted(self) -> list[Output]:
        """Hold what was sent since the last commit, as much as the ears can take."""
        longest = ms_to_samples(self.options.rules.max_turn_ms)
        self._audio.drop_before(self._uncommitted_from)
        if len(self._audio) <= longest:
            return []
        self._audio.drop_before(self._audio.end - longest)
        self._uncommitted_from = self._audio.end - longest
        told, self._full = self._full, True
        seconds = self.options.rules.max_turn_ms / 1000
        message = f"only the last {seconds:g} s are kept of what is not committed; commit or clear more often"
        return [] if told else [Problem("audio_buffer_full", message)]

    def _take_uncommitted(self) -> list[Output]:
        begin, self._uncommitted_from, self._full = self._uncommitted_from, self._audio.end, False
        if self._audio.end - begin < ms_to_samples(SHORTEST_COMMIT_MS):
            held_ms = samples_to_ms(self._audio.end - begin)
            return [Problem("no_audio", f"{held_ms} ms of sound to commit; send at least {SHORTEST_COMMIT_MS} ms")]
        return self._take_sound(self.next_turn(), self._audio.slice(begin, self._audio.end))

    def _end_open_turn(self, question: _Question) -> list[Output]:
        """The client asks for the answer now: the turn that is being spoken ends here."""
        outputs = self._cancel()
        for signal in self._detector.flush():
            if isinstance(signal, SpeechEnded):
                question.end = signal.at_sample
        stopped = SpeechStopped(question.turn_id, samples_to_ms(question.end), "commit")
        self._listen()
        return [*outputs, stopped, *self._take(question)]

    def _take(self, question: _Question) -> list[Output]:
        """A turn that was found becomes a message, and is heard."""
        sound = self._spoken(question, question.end).audio
        assert sound is not None
        return self._take_sound(question.turn_id, sound)

    def _take_sound(self, turn_id: int, sound: np.ndarray) -> list[Output]:
        message = Message(self.memory.turn_key(turn_id), "user", audio=sound, turn_id=turn_id)
        self.memory.append(message)
        return [TurnTaken(turn_id, samples_to_ms(len(sound))), *self.hear(message)]

    def hear(self, message: Message) -> list[Output]:
        """Find out what a message says that came as sound; it has a turn's number."""
        self._generation_count += 1
        self._hearings[self._generation_count] = message
        return [StartGeneration(self._generation_count, Request(audio=message.audio, task=Task.A1T1), False)]

    def _stop_hearing(self, message: Message) -> list[Output]:
        """Whoever answers it hears it as well."""
        outputs: list[Output] = []
        for generation_id, heard in list(self._hearings.items()):
            if heard is message:
                del self._hearings[generation_id]
                outputs.append(CancelGeneration(generation_id, False))
        return outputs

    def _on_hearing(self, generation_id: int, event: Event) -> list[Output]:
        if not isinstance(event, Done):
            return []
        message, text = self._hearings.pop(generation_id), event.text.strip()
        message.heard(text)
        assert message.turn_id is not None
        return [QuestionHeard(message.turn_id, text, no_speech=not text)]

    def _on_overheard(self, question: _Question, signal: TurnSignal) -> list[Output]:
        if not isinstance(signal, SpeechEnded):
            return []
        self._overheard, question.end = None, signal.at_sample
        return [
            SpeechStopped(question.turn_id, samples_to_ms(signal.at_sample), signal.reason),
            *self._take(question),
        ]

    def _on_aside(self, generation_id: int, event: Event) -> list[Output]:
        question, generation = self._asides[generation_id]
        if isinstance(event, Heard):
            return []
        outputs: list[Output] = []
        answer = generation.answer
        if answer is None:
            self._response_count += 1
            answer = generation.answer = Answer(self._response_count)
            outputs.append(ResponseStarted(answer.response_id, question.turn_id))
        if isinstance(event, Done):
            del self._asides[generation_id]
            answer.complete = True
            reason: ResponseReason = "length" if event.reason == "length" else "stop"
            outputs.append(AnswerTextDone(answer.response_id, answer.text))
            return [*outputs, self._response_done(question, generation, answer, reason, event)]
        return outputs + self._on_piece(question, generation, answer, event)

    # answers that may go on

    def _hold(self, sound: SentSound) -> list[Output]:
        """Speech stops the answer; whether for good is not known yet. Afterwards: listening."""
        assert self._playing is not None, "sound without an answer"
        (question, answer), generation, now = self._playing, self._generation, self._clock()
        answer.interrupted_at = now
        generation_id = generation.generation_id if generation else None
        self._held = HeldAnswer(question, answer, generation, generation_id, sound)
        self._listen()
        text, played_ms = answer.kept_text(now), round(answer.played_ms(now))
        return [Interrupted(answer.response_id, question.turn_id, "speech", text, played_ms)]

    def _keep(self, held: HeldAnswer[_Question, _Generation], event: Event) -> list[Output]:
        """A held answer goes on being made."""
        assert held.generation is not None
        if isinstance(event, Done):
            held.generation.finished_at = self._clock()
        held.events.append(event)
        return []

    def _decide(self, held: HeldAnswer[_Question, _Generation], generation: _Generation, event: Event) -> list[Output]:
        """The ears, or a model without a transcript by answering at all, say whether the interruption was one."""
        question = self._question
        assert question is not None, "an answer without a question"
        said = event.text.strip() if isinstance(event, Heard) else ""
        nothing = isinstance(event, Done) and event.reason == "no_speech"
        if nothing or (is_backchannel(said) and (held.left_ms >= _NEARLY_OVER_MS or not held.made)):
            held.nothing_said = said
            confirmed = not generation.speculative
            return [*self._cancel(), *(self._resume(held, question) if confirmed else [])]
        if isinstance(event, Heard) and not said:
            return []  # whether that is all shows next
        return [*self._yield(), *self._take_event(generation, event)]

    def _resume_when_quiet(self) -> list[Output]:
        """The turn that was none ends earlier than others: somebody waits for the rest of the answer."""
        held, question = self._held, self._question
        if held is None or question is None or held.nothing_said is None or held.quiet_since is None:
            return []
        if self._state is not State.HEARING or self._audio.end - held.quiet_since < ms_to_samples(_QUIET_MS):
            return []
        self._detector.reset()
        stopped = SpeechStopped(question.turn_id, samples_to_ms(held.quiet_since), "silence")
        return [stopped, *self._resume(held, question)]

    def _resume(self, held: HeldAnswer[_Question, _Generation], interruption: _Question) -> list[Output]:
        """Go on from where the answer was cut: what was sent and not played, then what was made since."""
        self._held, answer, said = None, held.answer, held.nothing_said or ""
        start = held.sound.good_start(answer.played_ms(self._clock()))
        played_ms = start * 1000 / ANSWER_SAMPLE_RATE
        pieces = list(held.sound.since(start))
        held.sound.rewind(start)
        answer.resume(played_ms, self._clock())
        self._state, self._playing, self._sent = State.SPEAKING, (held.question, answer), held.sound
        self._generation, self._question = held.generation, held.question if held.generation else None
        outputs: list[Output] = [
            QuestionHeard(interruption.turn_id, said, no_speech=not said),
            Resumed(answer.response_id, held.question.turn_id, round(played_ms)),
        ]
        for chunk in pieces:
            outputs += self._send_sound(answer, chunk)
        if held.generation is not None:
            for event in held.events:
                outputs += self._on_event(held.generation, event)
            if held.failure is not None:
                outputs += self._on_failure(held.generation, held.failure)
        return outputs

    def _yield(self) -> list[Output]:
        """Somebody has said something: a held answer is given up."""
        held, self._held = self._held, None
        if held is None or held.generation is None:
            return []
        done = self._response_done(held.question, held.generation, held.answer, "interrupted")
        return [CancelGeneration(held.generation.generation_id, False), done]

    # endings

    def _clear(self, reason: InterruptReason) -> list[Output]:
        """Interrupt what is spoken or thought about; forget an open turn. Afterwards: listening."""
        outputs = self._yield()
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
                self._remember(question)
            outputs.append(Interrupted(None, question.turn_id, reason, "", 0))
        cancel = self._cancel()
        self._listen()
        return [*cancel, *outputs]

    def _cancel(self) -> list[Output]:
        generation, self._generation = self._generation, None
        return [CancelGeneration(generation.generation_id, generation.speculative)] if generation else []

    def _listen(self) -> None:
        self._state = State.LISTENING
        self._question = self._generation = self._playing = self._sent = None

    def _settle(self) -> None:
        """Speaking ends when the answer has been played."""
        sent = self._state is State.SPEAKING and self._generation is None
        if sent and self._playing and not self._playing[1].is_playing(self._clock()):
            self._listen()

    def _since(self, question: _Question) -> int:
        return round((self._clock() - question.confirmed_at) * 1000)

    def next_turn(self) -> int:
        """A number that no other turn has."""
        self._turn_count += 1
        return self._turn_count


def make_request(
    options: SessionOptions,
    history: tuple[Turn, ...] = (),
    notes: Sequence[str] = (),
    audio: np.ndarray | None = None,
    text: str | None = None,
) -> Request:
    """A question as these options want it answered. `notes` are further instructions."""
    prompt = options.system_prompt
    if notes:
        prompt = "\n".join([*([prompt] if prompt else []), *notes])
    task = None if options.speak else (Task.T1T2 if audio is None else Task.A1T2)
    return Request(
        audio=audio,
        text=text,
        task=task,
        system_prompt=prompt,
        history=history,
        sampling=options.sampling,
        max_tokens=options.max_tokens,
        max_seconds=options.max_seconds,
        max_sentences=options.max_sentences,
    )


def request_of(memory: Memory, options: SessionOptions, now: float) -> Request:
    """What these messages ask for: an answer to the last question, or that the assistant speaks first."""
    question = memory.unanswered()
    history, notes = memory.turns(now, question), memory.notes()
    if question is None:
        return make_request(options, history, notes, text="")
    return make_request(options, history, notes, audio=question.audio, text=question.text)


def _told(error: OmniError) -> str:
    if isinstance(error, EngineFull):
        return "every place for an answer is taken; ask again in a few seconds"
    return str(error) or "the answer could not be made; ask again"

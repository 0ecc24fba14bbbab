"""One conversation's rules, without I/O: listening → hearing → thinking → speaking.

Inputs are methods, each returns what follows from it: events for the client and commands for whoever drives the
generator, in order. Turn-taking is counted in samples of the microphone; the clock is used only for figures and to
estimate what a client that reports no position has played.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import datetime
from enum import Enum

import numpy as np

from model.request import AudioChunk, Done, EndOfTurn, Event, Heard, OmniError, Request, TextDelta, Turn
from model.vocabulary import Task
from server.answering import Generation, Numbers, Question, failed, more_text, response_done, since_confirmed
from server.audio import AudioBuffer
from server.backchannels import is_backchannel
from server.events import (
    ANSWER_SAMPLE_RATE,
    AnswerAudio,
    AnswerPromised,
    AnswerTextDone,
    CancelGeneration,
    GenerationAdopted,
    IdlePrompted,
    Interrupted,
    InterruptReason,
    Output,
    Problem,
    QuestionHeard,
    ResponseStarted,
    Resumed,
    SpeechStarted,
    SpeechStopped,
    StartGeneration,
    StopReason,
    TurnTaken,
)
from server.held_answer import HeldAnswer, SentSound
from server.idle import IdleWatch, idle_request
from server.long_turns import EARS_MS, Pieces
from server.memory import Answer, Memory, Message, utc_now
from server.options import SessionOptions, make_request, request_of
from server.push_to_talk import Uncommitted
from server.side_work import Asides, Hearings
from server.turn_taking.commands import is_stop_command
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
_QUIET_MS = 320
"""Silence after which an answer goes on that was stopped by no words: two coughs are one interruption."""
_TOO_SOON_MS = 2000
"""Speech that begins so soon after a turn may be the rest of it."""
_BARELY_HEARD_MS = 1000
"""Of an answer: some three words."""
_BEGUN = 0
"""Where the text of a turn that was ended too soon stands among the pieces: no generation has this number."""
_NEARLY_OVER_MS = 1000
"""With less of an answer left, "yes" may answer its question."""


class State(Enum):
    """What the conversation is doing."""

    LISTENING = "listening"
    HEARING = "hearing"
    THINKING = "thinking"
    SPEAKING = "speaking"


class Session:
    """The state machine. Not safe to call from several threads or re-entrantly; it never blocks."""

    def __init__(
        self,
        detector: TurnDetector,
        options: SessionOptions | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self.options = options or SessionOptions()
        self.memory = Memory(wall_clock=wall_clock)
        self._detector = detector
        self._clock = clock
        self._audio = AudioBuffer()
        self._state = State.LISTENING
        self._question: Question | None = None
        self._generation: Generation | None = None
        self._playing: tuple[Question, Answer] | None = None
        self._sent: SentSound | None = None
        """Of the answer that is played, where it may have to go on."""
        self._held: HeldAnswer | None = None
        """An answer that speech has stopped, as long as nobody knows what was said."""
        self._overheard: Question | None = None
        """A turn that is spoken into an answer that may not be interrupted."""
        self._numbers = Numbers()
        self._uncommitted = Uncommitted(self._audio)
        self._hearings = Hearings(self._numbers)
        self._asides = Asides(self._numbers, clock)
        self._idle = IdleWatch()
        self._draining = False
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
        made = self._generation is not None and not self._generation.speculative
        return made or self._state is State.THINKING

    @property
    def answered_turn(self) -> int | None:
        """The number of the turn that an answer is being made for."""
        return self._question.turn_id if self.answering and self._question else None

    @property
    def turn_open(self) -> bool:
        """Somebody is in the middle of a turn."""
        return self._state is State.HEARING

    @property
    def uncommitted_ms(self) -> int:
        """How much was said that `commit` would take."""
        if not self.options.find_turns:
            return self._uncommitted.ms
        open_ = self._question if self._state is State.HEARING else None
        return samples_to_ms(self._audio.end - open_.begin) if open_ else 0

    @property
    def held_samples(self) -> int:
        """Microphone samples in memory."""
        return len(self._audio)

    def upcoming(self) -> Request:
        """What the next question will be asked with; its text is not known yet."""
        self._settle()
        begun = self._question.rest_of if self._question is not None else None
        history = self.memory.turns(self._clock(), until=begun.message if begun is not None else None)
        notes = self.memory.notes()
        return make_request(self.options, history, notes, text="", asked_at=self.memory.wall_clock())

    def next_turn(self) -> int:
        """A number that no other turn has."""
        return self._numbers.turn()

    # inputs from the client

    def configure(self, options: SessionOptions, history: tuple[Turn, ...] | None = None) -> list[Output]:
        """Other options from now on; `history` replaces the memory."""
        self._settle()
        outputs = self._hand_over() if self.options.find_turns and not options.find_turns else []
        self.options = options
        self._detector.configure(self._rules())
        if history is not None:
            self.memory.replace(history)
        return outputs

    def _hand_over(self) -> list[Output]:
        """From now on the client says where turns end. One that is open is the beginning of what is not committed; of
        one that is so long that its beginning has been transcribed already, what was said so far is a turn."""
        open_ = self._question if self._state is State.HEARING else self._overheard
        if open_ is not None and open_.pieces.texts:
            outputs = self.commit()
            self._uncommitted.clear()
            return outputs
        begun = next((signal for signal in self._detector.flush() if isinstance(signal, SpeechBegan)), None)
        self._detector.reset()
        self._uncommitted.clear()
        self._overheard = None
        if open_ is None:
            if begun is not None:  # too short to be a turn yet
                self._uncommitted.adopt(None, self._heard_from(begun.at_sample))
            return []
        stopped = SpeechStopped(open_.turn_id, samples_to_ms(self._audio.end), "commit")
        dropped = self._drop_turn() if self._state is State.HEARING else []
        self._uncommitted.adopt(open_.turn_id, open_.pieces.unheard_from)
        return [*dropped, stopped]

    def receive_audio(
        self, samples: np.ndarray, probabilities: Sequence[float] = (), levels: Sequence[float] | None = None
    ) -> list[Output]:
        """(n,) float32 of the microphone, 16 kHz, any n, and how likely each window of 512 that they complete holds a
        voice."""
        self._settle()
        self._audio.append(samples)
        if not self.options.find_turns:
            self._detector.push(samples, [0.0] * len(probabilities))  # its positions go on, it finds nothing
            problem = self._uncommitted.keep(self.options.rules.max_turn_ms)
            self._trim()
            return [problem] if problem else []
        signals = self._detector.push(samples, probabilities, levels)
        outputs = [output for signal in signals for output in self._on_signal(signal)]
        outputs += self._resume_when_quiet() + self._hear_ahead() + self._watch_idle(len(samples))
        self._trim()
        return outputs

    def receive_text(self, text: str) -> list[Output]:
        """A typed question. Ends whatever is going on."""
        self._settle()
        if self._draining:
            return [Problem("shutting_down", _SHUTTING_DOWN)]
        outputs = self._clear("text")
        self._detector.reset()
        self._question = Question(self.next_turn(), text=text, typed=True, confirmed_at=self._clock())
        return outputs + self._ask(self._request(text=text), speculative=False)

    def commit(self) -> list[Output]:
        """End the turn now."""
        self._settle()
        if not self.options.find_turns:
            turn_id = self._uncommitted.turn_id
            sound = self._uncommitted.take()
            if isinstance(sound, Problem):
                return [sound]
            return self._take_sound(self.next_turn() if turn_id is None else turn_id, sound, committed=True)
        signals = self._detector.flush()
        outputs = [output for signal in signals for output in self._on_signal(signal)]
        if not signals and self._state is State.LISTENING:
            return [QuestionHeard(self.next_turn(), "", no_speech=True)]
        return outputs

    def clear_audio(self) -> list[Output]:
        """Drop what was said but is no turn yet."""
        self._settle()
        self._detector.reset()
        self._uncommitted.clear()
        self._overheard = None
        return self._drop_turn() if self._state is State.HEARING else []

    def interrupt(self, played_ms: float | None = None, reason: InterruptReason = "interrupt") -> list[Output]:
        """Stop speaking or thinking; nothing when neither is going on."""
        if played_ms is not None:
            self.playback(played_ms)
        self._settle()
        return self._clear(reason) if self._state in (State.THINKING, State.SPEAKING) else self._yield()

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

    # answers that the client asks for

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
        open_ = self._question if self._state is State.HEARING else None
        if open_ is not None and self.options.answer_turns:
            open_.options = options
            given_up = self._cancel() if options else []
            return [AnswerPromised(open_.turn_id, label, open_.turn_id), *given_up, *self.commit()]
        outputs = self._yield() if open_ is None else self.commit()
        self._listen()
        question = self._question = Question(self.next_turn(), asked=True, confirmed_at=self._clock(), options=options)
        if request is not None:
            return [*outputs, AnswerPromised(question.turn_id, label), *self._ask(request, speculative=False)]
        message = question.message = self.memory.unanswered()
        question.hears = message.turn_id if message is not None and message.audio is not None else None
        return [*outputs, AnswerPromised(question.turn_id, label, question.hears), *self._answer_last(question)]

    def _answer_last(self, question: Question) -> list[Output]:
        """Ask what stands last in the conversation. What is still to be heard of it is heard for the answer; what is
        too long for that is being heard already, and waited for."""
        request = request_of(self.memory, question.options or self.options, self._clock())
        question.text = request.text
        if question.message is None or request.audio is None:
            return self._ask(request, speculative=False)
        if len(request.audio) > ms_to_samples(EARS_MS):
            self._state = State.THINKING
            return []
        return [*self._hearings.stop(question.message), *self._ask(request, speculative=False)]

    def respond_aside(self, label: str, request: Request) -> list[Output]:
        """Answer beside the conversation: nothing is interrupted by it or remembered of it."""
        return [Problem("shutting_down", _SHUTTING_DOWN)] if self._draining else self._asides.ask(label, request)

    def cancel_aside(self, turn_id: int) -> list[Output]:
        """Stop an answer beside the conversation."""
        return self._asides.cancel(turn_id)

    def hear(self, message: Message) -> list[Output]:
        """Find out what a message says that came as sound; it has a turn's number."""
        return self._hearings.hear(message)

    # inputs from the generator

    def receive_event(self, generation_id: int, event: Event) -> list[Output]:
        """What the generator made; of a cancelled generation it is ignored."""
        if generation_id in self._hearings:
            message, outputs = self._hearings.receive(generation_id, event)
            return [*outputs, *self._on_heard(message)] if message else outputs
        if generation_id in self._asides:
            return self._asides.receive(generation_id, event)
        if self._held is not None and self._held.generation_id == generation_id:
            return self._keep(self._held, event)
        if self._question and generation_id in self._question.pieces.pending:
            return self._on_piece_heard(self._question, generation_id, event)
        generation = self._generation
        if generation is None or generation.generation_id != generation_id:
            return []
        if isinstance(event, Done):
            generation.finished_at = self._clock()
        if self._held is not None:
            return self._decide(self._held, generation, event)
        return self._take_event(generation, event)

    def generation_failed(self, generation_id: int, error: OmniError) -> list[Output]:
        """The generator gave up. A speculative one is tried again when the turn is confirmed."""
        if generation_id in self._hearings:
            message, outputs = self._hearings.failed(generation_id, error)
            return [*outputs, *self._on_unheard(message, error)]
        if generation_id in self._asides:
            return self._asides.failed(generation_id, error)
        if self._held is not None and self._held.generation_id == generation_id:
            self._held.failure = error
            return []
        if self._question and generation_id in self._question.pieces.pending:
            return self._on_piece_heard(self._question, generation_id, error)
        generation = self._generation
        if generation is None or generation.generation_id != generation_id:
            return []
        if generation.speculative:
            generation.failure = error
            return self._judge(generation, None)
        return [*self._yield(), *self._on_failure(generation, error)]

    def _take_event(self, generation: Generation, event: Event) -> list[Output]:
        if generation.speculative:
            generation.held.append(event)
            return self._judge(generation, event)
        return self._on_event(generation, event)

    def _on_heard(self, message: Message) -> list[Output]:
        """Whoever waited for it can be answered."""
        question = self._question
        if question is None or question.message is not message or self._generation is not None:
            return []
        return self._answer_last(question)

    def _on_unheard(self, message: Message, error: OmniError) -> list[Output]:
        question = self._question
        if question is None or question.message is not message or self._generation is not None:
            return []
        self._listen()
        return [Problem(error.code, "the question was not heard; ask again", turn_id=question.turn_id)]

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
            self._question.pieces.resume(signal.at_sample)
            return self._cancel()
        return self._on_speech_end(self._question, signal)

    def _on_speech(self, at_sample: int) -> list[Output]:
        question = self._question
        if not self.options.interruptible and self._state in (State.THINKING, State.SPEAKING):
            self._overheard = self._new_turn(at_sample)
            return [SpeechStarted(self._overheard.turn_id, samples_to_ms(at_sample))]
        if self._state is State.THINKING and question and question.may_go_on and self._fits(question, at_sample):
            outputs = self._cancel()  # nothing was answered yet: the same turn goes on
            question.text = None
            question.pieces.resume(at_sample)
            resumed = too_soon = True
        else:
            too_soon = self._goes_on(at_sample)
            begun = self._playing[0] if too_soon and self._playing and self._sent is not None else None
            outputs = self._clear("speech") if self._sent is None else self._hold(self._sent)
            question = self._question = self._new_turn(at_sample)
            if begun is not None and begun.text and begun.message is not None:
                question.rest_of = begun
                question.pieces.texts[_BEGUN] = begun.text
            resumed = False
        self._detector.learn(too_soon)
        self._state = State.HEARING
        return [*outputs, SpeechStarted(question.turn_id, samples_to_ms(at_sample), resumed)]

    def _goes_on(self, at_sample: int) -> bool:
        """Whether speech that begins here is the rest of the turn that is being answered: it follows soon, and next to
        nothing of the answer was heard."""
        if self._state is not State.SPEAKING or self._playing is None:
            return False
        question, answer = self._playing
        soon = at_sample - question.end <= ms_to_samples(_TOO_SOON_MS)
        spoken = question.may_go_on and not question.idle
        return spoken and soon and answer.played_ms(self._clock()) <= _BARELY_HEARD_MS

    def _new_turn(self, at_sample: int) -> Question:
        return Question(self.next_turn(), begin=at_sample, pieces=Pieces(self._heard_from(at_sample)))

    def _heard_from(self, at_sample: int) -> int:
        """Where what is heard of a turn begins: before its speech was noticed."""
        return max(0, at_sample - ms_to_samples(self.options.rules.pre_roll_ms))

    def _on_pause(self, question: Question, at_sample: int) -> list[Output]:
        question.pieces.pause(at_sample)
        if self._held is not None:
            self._held.quiet_since = at_sample
        wanted = self.options.speculate and self.options.answer_turns and not self._draining
        if not wanted or question.pieces.pending:
            return []
        return [*self._cancel(), *self._ask(self._spoken(question, at_sample), speculative=True)]

    def _on_speech_end(self, question: Question, signal: SpeechEnded) -> list[Output]:
        question.end = signal.at_sample
        question.pieces.pause(signal.at_sample)
        question.confirmed_at = self._clock()
        reason: StopReason = signal.reason
        stopped = SpeechStopped(question.turn_id, samples_to_ms(signal.at_sample), reason, signal.probability)
        if self._draining:
            return [
                stopped,
                *self._drop_turn(),
                Problem("shutting_down", _SHUTTING_DOWN, turn_id=question.turn_id),
            ]
        if not self.options.answer_turns:  # an answer may have been begun before that was chosen
            given_up = [*self._yield(), *self._cancel()]
            self._listen()
            return [stopped, *given_up, *self._take(question)]
        if self._held is not None and self._held.nothing_said is not None:
            return [stopped, *self._resume(self._held, question)]
        if question.pieces.pending:  # the last of them begins the answer
            self._state = State.THINKING
            return [stopped]
        generation = self._generation
        if generation is None or generation.failure:
            return [stopped, *self._ask(self._spoken(question, signal.at_sample), speculative=False)]
        self._state = State.THINKING
        generation.speculative = False
        outputs: list[Output] = [stopped, GenerationAdopted(generation.generation_id)]
        held, generation.held = generation.held, []
        return outputs + [output for event in held for output in self._on_event(generation, event)]

    def _on_overheard(self, question: Question, signal: TurnSignal) -> list[Output]:
        if not isinstance(signal, SpeechEnded):
            return []
        self._overheard, question.end = None, signal.at_sample
        stopped = SpeechStopped(question.turn_id, samples_to_ms(signal.at_sample), signal.reason)
        return [stopped, *self._take(question)]

    def _take(self, question: Question) -> list[Output]:
        """A turn that was found becomes a message, and is heard: its answer will be asked for."""
        end = question.end + ms_to_samples(self.options.rules.pause_ms)
        return self._take_sound(question.turn_id, self._audio.slice(question.pieces.unheard_from, end))

    def _take_sound(self, turn_id: int, sound: np.ndarray, committed: bool = False) -> list[Output]:
        message = Message(self.memory.turn_key(turn_id), "user", audio=sound, turn_id=turn_id)
        self.memory.append(message)
        return [TurnTaken(turn_id, samples_to_ms(len(sound)), committed), *self._hearings.hear(message)]

    def _judge(self, generation: Generation, event: Event | None) -> list[Output]:
        """What a guess tells of the turn, by an event or by going on without it, decides how long this pause may be."""
        if generation.judged or isinstance(event, Heard):
            return []
        generation.judged = True
        signals = self._detector.expect(event.probability if isinstance(event, EndOfTurn) else None)
        return [output for signal in signals for output in self._on_signal(signal)]

    def _rules(self) -> TurnRules:
        """As they can be followed: without guesses nothing is known at a pause."""
        rules = self.options.rules
        guesses = self.options.speculate and self.options.answer_turns
        return rules if guesses else replace(rules, eagerness=None)

    # long turns

    def _hear_ahead(self) -> list[Output]:
        """A piece of a long turn is heard while the turn goes on."""
        question = self._question
        if self._state is not State.HEARING or question is None or not self.options.answer_turns:
            return []
        pieces = question.pieces
        if not pieces.due(self._audio.end):
            return []
        end = pieces.split(self._audio.slice(pieces.unheard_from, self._audio.end))
        request = Request(audio=self._audio.slice(pieces.unheard_from, end), task=Task.A1T1)
        generation_id = self._numbers.generation()
        pieces.send(generation_id, end)
        return [StartGeneration(generation_id, request, speculative=False)]

    def _on_piece_heard(self, question: Question, generation_id: int, event: Event | OmniError) -> list[Output]:
        """More of what a piece says. When all are heard, what waited for them goes on."""
        pieces = question.pieces
        outputs: list[Output] = []
        if isinstance(event, TextDelta):
            pieces.texts[generation_id] += event.text
        if isinstance(event, OmniError):
            message = f"part of the question was not heard: {event}"
            outputs.append(Problem(event.code, message, turn_id=question.turn_id))
        if isinstance(event, Done | OmniError):
            pieces.pending.discard(generation_id)
        if pieces.pending or self._generation or not isinstance(event, Done | OmniError):
            return outputs
        if self._state is State.THINKING:
            return [*outputs, *self._ask(self._spoken(question, question.end), speculative=False)]
        return outputs if pieces.paused_at is None else outputs + self._on_pause(question, pieces.paused_at)

    def _fits(self, question: Question, at_sample: int) -> bool:
        """Whether a turn that goes on here may last for at least another second."""
        longest = ms_to_samples(self.options.rules.max_turn_ms - self.options.rules.pre_roll_ms - 1000)
        return at_sample - question.begin <= longest

    def _spoken(self, question: Question, end: int) -> Request:
        begin = question.pieces.unheard_from
        end = min(end + ms_to_samples(self.options.rules.pause_ms), begin + ms_to_samples(EARS_MS))
        request = self._request(audio=self._audio.slice(begin, end), options=question.options)
        return replace(request, before=question.pieces.text)

    def _trim(self) -> None:
        """Keep what is not committed or unheard of the open turn, else a second and the pre-roll: what a turn that is
        just beginning may need."""
        rules = self.options.rules
        keep_from = self._audio.end - ms_to_samples(1000 + rules.min_speech_ms + rules.pre_roll_ms)
        open_ = self._question if self._state in (State.HEARING, State.THINKING) else None
        if open_ is not None and open_.may_go_on:
            keep_from = min(keep_from, open_.pieces.unheard_from)
        if not self.options.find_turns:
            keep_from = min(keep_from, self._uncommitted.begin)
        if self._overheard is not None:
            keep_from = min(keep_from, self._overheard.pieces.unheard_from)
        self._audio.drop_before(keep_from)

    # silence

    def _watch_idle(self, samples: int) -> list[Output]:
        """Ask somebody who says nothing for long whether they are still there."""
        if self._state is not State.LISTENING or self._draining:
            self._idle.busy()
            return []
        silence_ms = self._idle.due_after(samples, self.options.idle_prompt_ms)
        if silence_ms is None:
            return []
        now_ms = samples_to_ms(self._audio.end)
        question = Question(self.next_turn(), asked=True, idle=True, confirmed_at=self._clock())
        self._question = question
        prompted = IdlePrompted(question.turn_id, now_ms - silence_ms, now_ms)
        return [prompted, *self._ask(idle_request(self._request()), speculative=False)]

    # the answer

    def _request(
        self, audio: np.ndarray | None = None, text: str | None = None, options: SessionOptions | None = None
    ) -> Request:
        begun = self._question.rest_of if self._question is not None else None
        history = self.memory.turns(self._clock(), until=begun.message if begun is not None else None)
        notes = self.memory.notes()
        return make_request(options or self.options, history, notes, audio, text, self._asked_at())

    def _asked_at(self) -> datetime:
        """When the question at hand was asked."""
        question = self._question
        if question is None:
            return self.memory.wall_clock()
        question.asked_at = question.asked_at or self.memory.wall_clock()
        return question.asked_at

    def _ask(self, request: Request, speculative: bool) -> list[Output]:
        generation_id = self._numbers.generation()
        self._generation = Generation(generation_id, self._clock(), speculative)
        if not speculative:
            self._state = State.THINKING
        return [StartGeneration(generation_id, request, speculative)]

    def _on_event(self, generation: Generation, event: Event) -> list[Output]:
        question = self._question
        assert question is not None, "an answer without a question"
        if isinstance(event, Heard):
            return self._on_transcript(question, event.text.strip())
        if isinstance(event, EndOfTurn):
            return []
        if isinstance(event, Done):
            return self._on_done(question, generation, event)
        outputs: list[Output] = []
        answer = generation.answer or self._begin_answer(question, generation, outputs)
        if isinstance(event, TextDelta):
            outputs += more_text(question, generation, answer, event, self._clock())
        elif len(event.samples):
            if generation.first_audio_ms is None:
                generation.first_audio_ms = since_confirmed(question, self._clock())
            outputs += self._send_sound(answer, event)
        return outputs

    def _on_transcript(self, question: Question, text: str) -> list[Output]:
        if question.typed or not text:
            return []
        question.text = text
        if question.message is not None:
            question.message.heard(text)
        return [QuestionHeard(question.hears or question.turn_id, text)]

    def _send_sound(self, answer: Answer, chunk: AudioChunk) -> list[Output]:
        now = self._clock()
        if self._sent is not None and self._playing is not None and answer is self._playing[1]:
            self._sent.add(chunk, answer.played_ms(now))
        answer.add_audio(chunk, now)
        return [AnswerAudio(answer.response_id, chunk.samples)]

    def _begin_answer(self, question: Question, generation: Generation, outputs: list[Output]) -> Answer:
        answer = generation.answer = Answer(self._numbers.response())
        self._remember(question, answer)
        if not question.idle:
            self._idle.answered()
        self._playing = (question, answer)
        self._sent = SentSound() if self.options.resume and self.options.answer_turns else None
        self._state = State.SPEAKING
        outputs.append(ResponseStarted(answer.response_id, question.turn_id))
        return answer

    def _on_done(self, question: Question, generation: Generation, event: Done) -> list[Output]:
        outputs: list[Output] = []
        if event.reason == "no_speech":
            if question.message is not None:
                question.message.heard("")
            self._listen()
            return [QuestionHeard(question.hears or question.turn_id, "", no_speech=True)]
        answer = generation.answer or self._begin_answer(question, generation, outputs)
        answer.complete = True
        outputs.append(AnswerTextDone(answer.response_id, answer.text))
        outputs.append(response_done(question, generation, answer, event.reason, self._clock(), event))
        self._generation = None
        self._question = None
        return outputs

    def _on_failure(self, generation: Generation, error: OmniError) -> list[Output]:
        question = self._question
        assert question is not None, "an answer without a question"
        if generation.answer is None:
            if question.text:
                self._remember(question)
            self._listen()
        else:
            self._generation = self._question = None
        return failed(question, generation, error, self._clock())

    def _remember(self, question: Question, answer: Answer | None = None) -> None:
        if question.message is None and not question.asked:
            key = self.memory.turn_key(question.turn_id)
            text, spoken = question.text or "", not question.typed
            question.message = Message(key, "user", text, spoken=spoken, asked_at=question.asked_at)
            self.memory.append(question.message)
        if answer is not None:
            self.memory.append(Message(self.memory.answer_key(answer.response_id), "assistant", answer=answer))

    # answers that may go on

    def _hold(self, sound: SentSound) -> list[Output]:
        """Speech stops the answer; whether for good is not known yet. Afterwards: listening."""
        assert self._playing is not None, "sound without an answer"
        (question, answer), generation, now = self._playing, self._generation, self._clock()
        answer.interrupted_at = now
        self._held = HeldAnswer(question, answer, generation, sound)
        self._listen()
        text, played_ms = answer.kept_text(now), round(answer.played_ms(now))
        return [Interrupted(answer.response_id, question.turn_id, "speech", text, played_ms)]

    def _keep(self, held: HeldAnswer, event: Event) -> list[Output]:
        """A held answer goes on being made."""
        assert held.generation is not None
        if isinstance(event, Done):
            held.generation.finished_at = self._clock()
        held.events.append(event)
        return []

    def _decide(self, held: HeldAnswer, generation: Generation, event: Event) -> list[Output]:
        """The ears, or a model without a transcript by answering at all, say whether the interruption was one."""
        question = self._question
        assert question is not None, "an answer without a question"
        said = event.text.strip() if isinstance(event, Heard) else ""
        if question.rest_of is not None:
            said = said.removeprefix(question.pieces.text).strip()
        nothing = isinstance(event, Done) and event.reason == "no_speech"
        nothing = nothing or (question.rest_of is not None and isinstance(event, Heard) and not said)
        if nothing or (is_backchannel(said) and (held.left_ms >= _NEARLY_OVER_MS or not held.made)):
            held.nothing_said = said
            confirmed = not generation.speculative
            return [*self._cancel(), *(self._resume(held, question) if confirmed else [])]
        if isinstance(event, Heard) and not said:
            return []  # whether that is all shows next
        if is_stop_command(said):
            return self._obey(held, question, generation, said)
        if question.rest_of is not None:
            self._forget(question.rest_of, held.answer)
        return [*self._yield(), *self._take_event(generation, event)]

    def _forget(self, begun: Question, answer: Answer) -> None:
        """A turn that was ended too soon, and its answer: the turn that goes on with it has its words."""
        for message in (begun.message, self.memory.find(self.memory.answer_key(answer.response_id))):
            if message is not None and self.memory.find(message.key) is message:
                self.memory.remove(message)

    def _obey(self, held: HeldAnswer, question: Question, generation: Generation, said: str) -> list[Output]:
        """The answer is over, and the turn that ended it is complete at once: its own answer is empty."""
        outputs, now = [*self._yield(), *self._cancel()], self._clock()
        if generation.speculative:
            self._detector.reset()
            question.end = held.quiet_since or self._audio.end
            question.confirmed_at = now
            outputs.append(SpeechStopped(question.turn_id, samples_to_ms(question.end), "silence", 1.0))
        answer = Answer(self._numbers.response())
        answer.complete = True
        outputs += [
            QuestionHeard(question.turn_id, said),
            ResponseStarted(answer.response_id, question.turn_id),
            AnswerTextDone(answer.response_id, ""),
            response_done(question, generation, answer, "stop", now),
        ]
        self._listen()
        return outputs

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

    def _resume(self, held: HeldAnswer, interruption: Question) -> list[Output]:
        """Go on from where the answer was cut: what was sent and not played, then what was made since."""
        self._held, answer, said = None, held.answer, held.nothing_said or ""
        start = held.sound.good_start(answer.played_ms(self._clock()))
        played_ms = start * 1000 / ANSWER_SAMPLE_RATE
        pieces = list(held.sound.since(start))
        held.sound.rewind(start)
        answer.resume(played_ms, self._clock())
        self._state, self._playing, self._sent = State.SPEAKING, (held.question, answer), held.sound
        self._generation, self._question = held.generation, held.question if held.generation else None
        left_ms = sum(len(chunk.samples) for chunk in pieces) * 1000 // ANSWER_SAMPLE_RATE
        outputs: list[Output] = [
            QuestionHeard(interruption.turn_id, said, no_speech=not said),
            Resumed(
                answer.response_id,
                held.question.turn_id,
                round(played_ms),
                left_ms if held.generation is None else None,
            ),
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
        done = response_done(held.question, held.generation, held.answer, "interrupted", self._clock())
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
                outputs.append(response_done(question, generation, answer, "interrupted", now))
        elif self._state is State.THINKING and question:
            if question.text:
                self._remember(question)
            outputs.append(Interrupted(None, question.turn_id, reason, "", 0))
        cancel = [*self._cancel(), *self._cancel_pieces()]
        self._listen()
        return [*cancel, *outputs]

    def _drop_turn(self) -> list[Output]:
        """Forget the open turn. Afterwards: listening."""
        outputs = [*self._yield(), *self._cancel(), *self._cancel_pieces()]
        self._listen()
        return outputs

    def _cancel_pieces(self) -> list[Output]:
        pending: Collection[int] = self._question.pieces.pending if self._question else ()
        return [CancelGeneration(piece, speculative=False) for piece in pending]

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

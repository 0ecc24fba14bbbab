"""What all connections of one server share: the models and their readiness, the open conversations, the figures."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace

import numpy as np
import structlog

from model.process_memory import give_back_memory, settle
from model.request import InvalidRequest, OmniError
from model.sampling import SamplingParams
from omni_command import find_time_zone
from server.auth import Keys
from server.conversation import Conversation
from server.events import Problem
from server.generator import Generator
from server.logs import LimitedLog
from server.metrics import Metrics
from server.models import Models
from server.options import SessionOptions, make_request
from server.outbox import Outbox
from server.session import Session
from server.settings import Settings
from server.turns import SAMPLE_RATE, Endpointer, TurnDetector, TurnRules
from server.voices import Voices

_GIVE_BACK_S = 20.0
"""Between two times that memory is given back to the system."""

MakeDetector = Callable[[TurnRules], TurnDetector]


class Refused(Exception):
    """A conversation cannot be opened now; `problem` says why."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


class Service:
    """One per application. Belongs to one event loop."""

    def __init__(
        self, settings: Settings, generators: Sequence[Generator], make_detector: MakeDetector = Endpointer
    ) -> None:
        self.settings = settings
        self.models = Models(generators)
        self.metrics = Metrics()
        self.keys = Keys(settings.keys)
        self.log = structlog.get_logger("server")
        self.created = int(time.time())
        """Seconds since 1970."""
        self.failure: BaseException | None = None
        """Why the model could not be started; the process should end then."""
        self._ready = asyncio.Event()
        self._draining = False
        self._conversations: set[Conversation] = set()
        self._empty = asyncio.Event()
        self._empty.set()
        self._asked = 0
        self._unasked = asyncio.Event()
        self._unasked.set()
        self._make_detector = make_detector
        self.voices = Voices()
        self._starting: asyncio.Task[None] | None = None
        self._giving_back: asyncio.Task[None] | None = None

    # readiness

    @property
    def ready(self) -> bool:
        """Every model has answered once, and new questions are taken."""
        return self._ready.is_set() and not self._draining

    def start(self, on_failure: Callable[[], None] = lambda: None) -> None:
        """Load the models and let each answer once, in the background."""
        self._starting = asyncio.create_task(self._start(on_failure), name="start-models")

    async def wait_ready(self, timeout_s: float) -> bool:
        """Until every model has answered once; False when that takes longer."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._ready.wait(), timeout_s)
        return self._ready.is_set()

    async def _start(self, on_failure: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            await asyncio.gather(self.models.start(), self.voices.start())
            for generator in self.models:
                await self._warm_up(generator)
            await asyncio.to_thread(settle)
        except Exception as error:  # noqa: BLE001 (counted, kept in `failure`; `on_failure` ends the process)
            self.failure = error
            self.metrics.errors.labels("model_start").inc()
            self.log.error("model_did_not_start", error=f"{type(error).__name__}: {error}")
            on_failure()
            return
        self._ready.set()
        self._giving_back = asyncio.create_task(self._give_back(), name="give-back-memory")
        self.metrics.ready.set(1)
        self.log.info("ready", models=self.models.names, seconds=round(loop.time() - began, 2))

    async def _give_back(self) -> None:
        """Now and then, give back what answers needed for a while."""
        while True:
            await asyncio.sleep(_GIVE_BACK_S)
            await asyncio.to_thread(give_back_memory)

    async def _warm_up(self, generator: Generator) -> None:
        """Answer once, and hear once: the first person to speak should not wait for what is made on first use, nor for
        the part of the prompt that all conversations share."""
        noise = np.random.default_rng(0).standard_normal(SAMPLE_RATE).astype(np.float32) * 0.01
        short = replace(self.options(), max_tokens=8, max_seconds=2.0)
        for request in (make_request(short, text="Hello."), make_request(short, audio=noise)):
            with suppress(InvalidRequest):  # a model without a tokenizer, without ears
                async for _ in generator.generate(request):
                    pass

    # conversations

    @property
    def sessions(self) -> int:
        """Open now."""
        return len(self._conversations)

    def options(self) -> SessionOptions:
        """The operator's defaults of a conversation."""
        s = self.settings
        rules = TurnRules(
            end_silence_ms=s.end_silence_ms,
            eagerness=None if s.eagerness == "off" else s.eagerness,
            pause_ms=s.pause_ms,
            min_speech_ms=s.min_speech_ms,
            pre_roll_ms=s.pre_roll_ms,
            max_turn_ms=round(s.max_turn_s * 1000),
            threshold=s.speech_threshold,
            foreground=s.foreground == "auto",
        )
        return SessionOptions(
            rules=rules,
            speculate=s.speculate,
            resume=s.resume,
            idle_prompt_ms=round(s.idle_prompt_s * 1000),
            system_prompt=s.system_prompt,
            time_zone=find_time_zone(s.time_zone) if s.time_zone else None,
            sampling=SamplingParams(repetition_penalty=s.repetition_penalty),
            max_tokens=s.max_answer_tokens,
            max_sentences=s.max_answer_sentences,
            max_seconds=s.max_answer_s,
        )

    def admit(self) -> tuple[str, Conversation]:
        """Open a conversation → its id and itself; `leave` ends it. Raises `Refused` when there is no place."""
        if self._draining:
            self._refuse("shutting_down", "the server is shutting down; connect again in a few seconds")
        if len(self._conversations) >= self.settings.max_sessions:
            self._refuse("busy", "every conversation's place is taken; try again in a minute")
        session_id = secrets.token_hex(8)
        options = self.options()
        conversation = Conversation(
            Session(self._make_detector(options.rules), options),
            self.voices,
            self.models.default,
            Outbox(self.settings.outgoing_bytes),
            self.metrics,
            LimitedLog(self.log.bind(session_id=session_id)),
            gap_commit_s=self.settings.gap_commit_ms / 1000,
            log_text=self.settings.log_text,
            echo_guard=self.settings.echo_guard,
        )
        self._conversations.add(conversation)
        self._empty.clear()
        self.metrics.sessions.inc()
        self.metrics.sessions_opened.inc()
        self.log.info("session_opened", session_id=session_id, sessions=self.sessions)
        return session_id, conversation

    async def leave(self, session_id: str, conversation: Conversation) -> None:
        """The connection is gone."""
        await conversation.close()
        self._conversations.discard(conversation)
        self.metrics.sessions.dec()
        self.log.info("session_closed", session_id=session_id, sessions=self.sessions)
        if not self._conversations:
            self._empty.set()

    def _refuse(self, code: str, message: str) -> None:
        self.metrics.sessions_refused.labels(code).inc()
        self.log.warning("session_refused", code=code)
        raise Refused(Problem(code, message, fatal=True))

    @contextmanager
    def asked(self) -> Iterator[None]:
        """Something beside the conversations is being answered: `drain` waits for its end."""
        self._asked += 1
        self._unasked.clear()
        try:
            yield
        finally:
            self._asked -= 1
            if not self._asked:
                self._unasked.set()

    # endings

    async def drain(self, timeout_s: float) -> None:
        """Take no new questions, let answers in progress end, then close every conversation."""
        self._draining = True
        self.metrics.ready.set(0)
        conversations = list(self._conversations)
        self.log.info("draining", sessions=len(conversations))
        for conversation in conversations:
            conversation.drain()
        with suppress(TimeoutError):
            ends = (self._unasked.wait(), *(c.wait_idle() for c in conversations))
            await asyncio.wait_for(asyncio.gather(*ends), timeout_s)
        problem = Problem("shutting_down", "the server is shutting down; connect again in a few seconds", fatal=True)
        for conversation in conversations:
            await conversation.dismiss(problem)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._empty.wait(), 1.0)

    async def stop(self) -> None:
        """End the generators."""
        if self._giving_back:
            self._giving_back.cancel()
        if self._starting and not self._starting.done():
            self._starting.cancel()
            with suppress(asyncio.CancelledError, OmniError):
                await self._starting
        await self.models.stop()
        self.voices.stop()

"""The engine behind an `async for`: one thread owns the model, any number of coroutines ask."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from model.answer import Deferred
from model.cancellation import while_wanted
from model.engine import Engine, as_omni_error
from model.fair_queue import may_take
from model.fair_worker import FairWorker
from model.mouth import SAMPLE_RATE
from model.omni import MiniOmni
from model.prepare import Prepared
from model.request import AudioChunk, Done, EngineFull, Event, GenerationFailed, OmniError, Request

UNTAKEN_SAMPLES = 20 * SAMPLE_RATE
"""An answer rests while so much of its sound has not been taken, until half of it is: a slow reader of a long text then
costs 2 MB. Longer than anybody who plays what comes needs ahead."""

LONGEST_REST_S = 3.0
"""Of a recording whose client has sent more of them: its hearing rests while others wait for a first sound …"""
_REST_S = 0.01
"""… and looks so often whether they do."""


@dataclass(eq=False)
class _Listener:
    """Where one answer's events go: a queue in the event loop that asked."""

    loop: asyncio.AbstractEventLoop
    events: asyncio.Queue[Event | OmniError]
    hold: Callable[[bool], None]
    """Let the answer rest, or go on."""
    client: str | None = None
    number: int | None = None
    gone: bool = False
    deferred: int = 0
    """Events that wait to be made."""
    untaken: int = 0
    """Samples in the queue."""
    held: bool = False

    def tell(self, event: Event | OmniError) -> None:
        if self.gone:
            return
        try:
            self.loop.call_soon_threadsafe(self._put, event)
        except RuntimeError:  # its event loop is closed: nobody listens any more
            self.gone = True

    async def take(self) -> Event | OmniError:
        """The next event."""
        event = await self.events.get()
        if isinstance(event, AudioChunk):
            self.untaken -= len(event.samples)
            if self.held and self.untaken <= UNTAKEN_SAMPLES // 2:
                self.held = False
                self.hold(False)
        return event

    def _put(self, event: Event | OmniError) -> None:
        self.events.put_nowait(event)
        if isinstance(event, AudioChunk):
            self.untaken += len(event.samples)
            if not self.held and self.untaken > UNTAKEN_SAMPLES:
                self.held = True
                self.hold(True)


class AsyncEngine:
    """`async for event in engine.generate(request)`; leaving the loop cancels the answer within one engine step.

    `omni` is an open model, or what `MiniOmni.from_pretrained` takes (None: the default model), opened by `start`.
    """

    def __init__(
        self,
        omni: MiniOmni | str | Path | None = None,
        max_slots: int = 4,
        max_queue: int = 16,
        device: str = "cpu",
        dtype: torch.dtype | str = "auto",
        threads: int | None = None,
        cache_dir: Path | None = None,
    ) -> None:
        self._source, self._cache_dir = omni, cache_dir
        self._device, self._dtype, self._threads = device, dtype, threads
        self._max_slots, self._max_queue = max_slots, max_queue
        self._engine: Engine | None = None
        self._commands: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._listeners: dict[int, _Listener] = {}
        self._thread: threading.Thread | None = None
        self._decoding: queue.SimpleQueue[tuple[_Listener, Event | OmniError | Deferred] | None] = queue.SimpleQueue()
        self._decoder: threading.Thread | None = None
        self._counting = threading.Lock()
        """Held where a listener's deferred events are counted, by two threads."""
        self._ears: FairWorker | None = None
        self._open_answers: set[_Listener] = set()
        self._cores = 1
        self._heard = 0
        """Who is being heard now: one, or one and another that it makes way for."""

    @property
    def name(self) -> str:
        """Of the open model; before `start`, as it was asked for."""
        if self._engine is not None:
            return self._engine.omni.name
        return self._source.name if isinstance(self._source, MiniOmni) else str(self._source or "auto")

    async def start(self) -> None:
        """Open the model, unless that is done already. The first answers pay for what PyTorch makes on first use."""
        if self._thread is not None:
            return
        if self._engine is None:
            await asyncio.to_thread(self._open)
        self._ears = FairWorker("ears")
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()
        self._decoder = threading.Thread(target=self._decode, name="codec", daemon=True)
        self._decoder.start()

    async def stop(self) -> None:
        """Finish the step in progress and end the threads. Answers in progress raise `GenerationFailed`.

        The model stays open: `start` goes on with it.
        """
        if self._thread is not None:
            self._commands.put(None)
            await asyncio.to_thread(self._thread.join)
            self._thread = None
        if self._decoder is not None:
            self._decoding.put(None)
            await asyncio.to_thread(self._decoder.join)
            self._decoder = None
        for listener in self._open_answers:
            listener.events.put_nowait(_stopped())
        if self._engine is not None:
            self._engine.cancel_all()
        if self._ears is not None:
            self._ears.stop()

    @property
    def active(self) -> int:
        """Requests being heard, queued or answered."""
        return len(self._open_answers)

    async def generate(self, request: Request) -> AsyncGenerator[Event, None]:
        """Answer one request. Raises `InvalidRequest`, `EngineFull` or `GenerationFailed`."""
        engine = self._engine
        if engine is None or self._thread is None:
            raise EngineFull("the model is not open yet; try again when /ready says so")
        self._check_room(request.client)
        listener = _Listener(
            asyncio.get_running_loop(),
            asyncio.Queue(),
            lambda held: self._commands.put(lambda: self._hold(engine, listener, held)),
            request.client,
        )
        self._open_answers.add(listener)
        try:
            prepared = await self._prepare(engine, request)
            if self._thread is None:
                raise _stopped()
            reported = replace(prepared, reported=True)
            self._commands.put(lambda: self._submit(engine, reported, listener))
            for found in prepared.findings:  # at once: the engine may be in a long step
                yield found
            while True:
                event = await listener.take()
                if isinstance(event, OmniError):
                    raise event
                yield event
                if isinstance(event, Done):
                    return
        finally:
            self._open_answers.discard(listener)
            listener.gone = True
            self._commands.put(lambda: self._leave(engine, listener))

    def _check_room(self, client: str | None) -> None:
        """Raises `EngineFull` where everything is taken, or this client has its share of it."""
        free = self._max_slots + self._max_queue - self.active
        held = 0 if client is None else sum(listener.client == client for listener in self._open_answers)
        if free <= 0:
            raise EngineFull(f"{self.active} requests are in progress or waiting; try again later")
        if not may_take(held, free):
            raise EngineFull(f"{held} requests of this client are in progress or waiting; try again when one has ended")

    def prefill_ahead(self, request: Request) -> None:
        """A conversation's next prompt will begin as this request's does, whatever is asked: prefill that beginning
        while nobody is being answered. Its question does not count. Returns at once."""
        if (engine := self._engine) is not None and self._thread is not None:
            self._commands.put(lambda: engine.prefill_ahead(request))

    async def _prepare(self, engine: Engine, request: Request) -> Prepared:
        """Hearing takes hundreds of milliseconds: it has a thread of its own, beside the engine's."""
        try:
            if request.audio is None:
                return engine.prepare(request)
            return await self._hear(engine, request)
        except Exception as error:
            raise as_omni_error(error) from error

    async def _hear(self, engine: Engine, request: Request) -> Prepared:
        ears, wanted = self._ears, True
        assert ears is not None

        rests_until = time.monotonic() + LONGEST_REST_S

        def still_wanted() -> bool:
            if wanted:
                ears.make_way()
            if ears.crowded:
                self._share_cores(self._half)
            while wanted and ears.crowded and engine.keeps_waiting(request.client) and time.monotonic() < rests_until:
                time.sleep(_REST_S)
            return wanted

        def hear() -> Prepared:
            self._heard += 1
            try:
                self._share_cores(self._half if engine.busy or ears.crowded else self._cores)
                with while_wanted(still_wanted):
                    return engine.prepare(request)
            finally:
                self._heard -= 1

        try:
            return await asyncio.wrap_future(ears.submit(request.client, hear))
        finally:
            wanted = False

    @property
    def _half(self) -> int:
        """Cores for one of two who work at the same time, and for steps of a small model, which wait for memory more
        than for cores: the rest is for the event loop, whose delays would be heard."""
        return max(1, self._cores // 2)

    @staticmethod
    def _share_cores(threads: int) -> None:
        """How many threads PyTorch uses for what this thread computes."""
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)

    # -- the engine's thread --------------------------------------------------------------------------------------
    def _open(self) -> None:
        if self._threads:
            torch.set_num_threads(self._threads)
        self._cores = torch.get_num_threads()
        omni = self._source
        if not isinstance(omni, MiniOmni):
            omni = MiniOmni.from_pretrained(omni, self._device, self._dtype, self._cache_dir)
        self._engine = Engine(omni, self._max_slots, self._max_queue)
        self._engine.listening = self._listening

    def _listening(self) -> bool:
        """Somebody is being heard who does not send one recording after the other."""
        return self._heard > 0 and self._ears is not None and not self._ears.crowded

    def _submit(self, engine: Engine, prepared: Prepared, listener: _Listener) -> None:
        if listener.gone:
            return
        try:
            listener.number = engine.submit(prepared)
            self._listeners[listener.number] = listener
        except OmniError as error:
            listener.tell(error)

    @staticmethod
    def _hold(engine: Engine, listener: _Listener, held: bool) -> None:
        if listener.number is not None:
            engine.hold(listener.number, held)

    def _leave(self, engine: Engine, listener: _Listener) -> None:
        if listener.number is not None and self._listeners.pop(listener.number, None) is not None:
            engine.cancel(listener.number)

    def _run(self) -> None:
        engine = self._engine
        assert engine is not None
        while True:
            while not self._has_work(engine) or not self._commands.empty():
                try:
                    command = self._commands.get(timeout=_REST_S if engine.resting else None)
                except queue.Empty:
                    continue
                if command is None:
                    return
                command()
            wide = (engine.reading or engine.large) and not self._heard
            self._share_cores(self._cores if wide else self._half)
            for number, event in self._step(engine):
                listener = self._listeners.get(number)
                if listener is None:
                    continue
                if isinstance(event, Deferred) or listener.deferred:
                    with self._counting:
                        listener.deferred += 1
                    self._decoding.put((listener, event))
                else:
                    listener.tell(event)
                if isinstance(event, Done | OmniError) or (isinstance(event, Deferred) and event.last):
                    del self._listeners[number]

    def _has_work(self, engine: Engine) -> bool:
        """Who has been heard will be answered next: a prompt that may come later waits for that."""
        return engine.busy or (engine.prefills_ahead and not self._heard)

    def _decode(self) -> None:
        """The codec's thread: sound is decoded while the engine takes its next step."""
        self._share_cores(1)
        beside = torch.cuda.Stream() if self._device.startswith("cuda") else None  # kernels beside the body's
        while (waiting := self._decoding.get()) is not None:
            listener, event = waiting
            try:
                with torch.cuda.stream(beside):
                    if beside is not None:
                        beside.wait_stream(torch.cuda.default_stream())
                    made = event.make() if isinstance(event, Deferred) and not listener.gone else event
            except Exception as error:  # noqa: BLE001 - told to the one whose answer it is
                made = as_omni_error(error)
            if made is not None and not isinstance(made, Deferred):
                listener.tell(made)
                listener.gone = listener.gone or isinstance(made, OmniError)
            with self._counting:
                listener.deferred -= 1

    def _step(self, engine: Engine) -> list[tuple[int, Event | OmniError | Deferred]]:
        """One step; what no answer can be blamed for ends them all, each with an error, and the engine lives on."""
        try:
            return engine.step_deferred()
        except Exception as error:  # noqa: BLE001 - told to everybody who asked
            numbers = list(self._listeners)
            for number in numbers:
                engine.cancel(number)
            return [(number, as_omni_error(error)) for number in numbers]


def _stopped() -> GenerationFailed:
    return GenerationFailed("the model is being closed; ask again when the server is back")

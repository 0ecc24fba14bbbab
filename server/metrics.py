"""Prometheus figures of one server, in a registry of its own."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from server.events import AnswerAudio, IdlePrompted, Interrupted, Output, Problem, ResponseDone, Resumed, SpeechStopped

_SECONDS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)
_STAGES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_FACTORS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.0, 5.0)


class Metrics:
    """What `/metrics` shows."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        new = self.registry
        self.ready = Gauge("omni_ready", "1 when the model has answered once and takes questions", registry=new)
        self.sessions = Gauge("omni_sessions", "Conversations open now", registry=new)
        self.sessions_opened = Counter("omni_sessions_opened", "Conversations opened", registry=new)
        self.sessions_refused = Counter("omni_sessions_refused", "Conversations refused", ["reason"], registry=new)
        self.turns = Counter("omni_turns", "Questions taken, by how they came", ["kind"], registry=new)
        self.answers = Counter("omni_answers", "Answers ended, by reason", ["reason"], registry=new)
        self.first_audio = Histogram(
            "omni_first_audio_seconds", "Confirmed end of turn to first sound", buckets=_SECONDS, registry=new
        )
        self.real_time_factor = Histogram(
            "omni_real_time_factor", "Time to make an answer over its length", buckets=_FACTORS, registry=new
        )
        self.stages = Histogram(
            "omni_stage_seconds", "Parts of the way to the first sound", ["stage"], buckets=_STAGES, registry=new
        )
        self.http_requests = Counter(
            "omni_http_requests", "Requests for answers, speech and transcripts", ["route", "status"], registry=new
        )
        self.answer_audio = Counter("omni_answer_audio_seconds", "Sound of answers made", registry=new)
        self.interruptions = Counter("omni_interruptions", "Answers interrupted, by what", ["reason"], registry=new)
        self.resumptions = Counter("omni_resumptions", "Interrupted answers that went on", registry=new)
        self.speculations = Counter(
            "omni_speculations", "Answers begun at a short pause: used or discarded", ["outcome"], registry=new
        )
        self.errors = Counter("omni_errors", "Errors told to clients, by code", ["code"], registry=new)

    def render(self) -> bytes:
        """The text exposition format."""
        return generate_latest(self.registry)

    def observe(self, output: Output) -> None:
        """Count what a session put out."""
        if isinstance(output, AnswerAudio):
            self.answer_audio.inc(output.duration_ms / 1000)
        elif isinstance(output, SpeechStopped):
            self.turns.labels("voice").inc()
        elif isinstance(output, IdlePrompted):
            self.turns.labels("idle").inc()
        elif isinstance(output, Interrupted):
            self.interruptions.labels(output.reason).inc()
        elif isinstance(output, Resumed):
            self.resumptions.inc()
        elif isinstance(output, Problem):
            self.errors.labels(output.code).inc()
        elif isinstance(output, ResponseDone):
            self.answers.labels(output.reason).inc()
            if output.first_audio_ms is not None:
                self.first_audio.observe(output.first_audio_ms / 1000)
            if output.real_time_factor is not None:
                self.real_time_factor.observe(output.real_time_factor)
            for stage, took_ms in (output.stages_ms or {}).items():
                self.stages.labels(stage).observe(took_ms / 1000)

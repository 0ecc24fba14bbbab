"""Everything that can be set, in one class: command-line flags, `OMNI_*` environment variables, `.env`.

A flag goes before the environment, the environment before `.env`, and that before the default.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from omni_command import find_time_zone
from server.hosts import read_hosts

_PACKAGE = Path(__file__).resolve().parent
_STATIC = _PACKAGE / "static" if (_PACKAGE / "static").is_dir() else _PACKAGE.parent / "static"
"""Inside the package where it is installed, beside it in a checkout."""

GROUPS = {
    "model": "Model and address",
    "slots": "Answers",
    "end_silence_ms": "Turns",
    "max_frame_bytes": "Limits",
    "allowed_origins": "Access",
    "static_dir": "Page and logs",
}
"""The setting that a group begins with → its title, in `--help` and in docs/deploy.md."""


def _not_blank(value: str | None) -> str | None:
    return value if value and value.strip() else None


def _expanded(path: Path | None) -> Path | None:
    return None if path is None else path.expanduser()


def _host_names(setting: str) -> str:
    read_hosts(setting)
    return setting


def _known_zone(name: str | None) -> str | None:
    return name if name is None else find_time_zone(name).key


class Settings(BaseSettings):
    """Mini-Omni voice chat server."""

    model_config = SettingsConfigDict(
        env_prefix="OMNI_",
        env_file=".env",
        extra="ignore",
        cli_prog_name="python -m server",
        cli_kebab_case=True,
        cli_implicit_flags=True,
        cli_hide_none_type=True,
        cli_avoid_json=True,
        validate_default=True,
        # `model` is the name of a flag, not of a pydantic method
        protected_namespaces=("model_validate", "model_dump"),
    )

    model: Annotated[str, AfterValidator(lambda name: name.strip() or "auto")] = Field(
        "auto",
        description="omni-1.5b, smol-omni, the folder or hub id of a checkpoint, or a GGUF file of a Llama, Qwen2 or "
        "Qwen3 model; auto: omni-1.5b where its weights are installed and 3 GB of memory are free, else smol-omni",
    )
    cache_dir: Annotated[Path | None, AfterValidator(_expanded)] = Field(
        None,
        description="folder of packed weights, made at the first start and shared by all servers of a machine; none: "
        "mini-omni in $XDG_CACHE_HOME or ~/.cache",
    )
    also_models: str = Field(
        "", description="more models that clients may choose, comma separated, each named as for --model"
    )
    host: str = Field("127.0.0.1", description="address to listen on; 0.0.0.0 for every network")
    port: int = Field(8000, ge=0, le=65535, description="TCP port to listen on; 0 takes a free one")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="where the model runs")
    dtype: Literal["auto", "float32", "bfloat16", "float16", "int8"] = Field(
        "auto", description="the weights' number format; auto: what is quick on this machine"
    )
    threads: int = Field(0, ge=0, le=256, description="CPU threads of the model; 0: as many as there are cores")

    slots: int = Field(4, ge=1, le=256, description="answers that each model makes at the same time")
    queue: int = Field(
        8, ge=0, le=4096, description="answers that may wait for a slot of their model; beyond that: busy"
    )
    max_sessions: int = Field(64, ge=1, le=100_000, description="conversations open at the same time")
    max_answer_tokens: int = Field(
        160, ge=1, le=2048, description="longest answer, text tokens; it ends with a whole sentence"
    )
    max_answer_sentences: int = Field(3, ge=1, le=100, description="longest answer, sentences")
    max_answer_s: float = Field(40.0, gt=0, le=120, description="longest answer, seconds of sound")
    repetition_penalty: float | None = Field(
        None,
        ge=1,
        le=2,
        description="above 1: words of this answer and the last ones are less likely; 1: off; none: the model's own",
    )
    system_prompt: Annotated[str | None, AfterValidator(_not_blank)] = Field(
        None, max_length=2000, description="instructions to the assistant in addition to the model's own prompt"
    )
    time_zone: Annotated[str | None, AfterValidator(_not_blank), AfterValidator(_known_zone)] = Field(
        None, description="IANA name of the time zone of clients that name none; none: this machine's"
    )

    end_silence_ms: int = Field(
        500, ge=200, le=3000, description="silence that ends a turn whose words are not judged, ms"
    )
    eagerness: Literal["low", "auto", "high", "off"] = Field(
        "auto", description="also judge by the words whether a turn is over, and how soon; off: by silence alone"
    )
    foreground: Literal["auto", "off"] = Field(
        "off",
        description="auto: speech much fainter than the earlier turns is not heard; off: all speech is",
    )
    pause_ms: int = Field(128, ge=64, le=3000, description="silence at which work on the answer begins, ms")
    min_speech_ms: int = Field(160, ge=32, le=2000, description="speech that opens a turn or interrupts, ms")
    pre_roll_ms: int = Field(320, ge=0, le=2000, description="sound kept from before speech was noticed, ms")
    max_turn_s: float = Field(120.0, ge=1, le=180, description="longest turn, seconds; it is heard in pieces of 30 s")
    idle_prompt_s: float = Field(
        0,
        ge=0,
        le=3600,
        description="silence after an answer at which somebody is asked if they are there, seconds; 0: never",
    )
    speech_threshold: float = Field(0.5, gt=0, lt=1, description="probability from which a window is speech, 0-1")
    gap_commit_ms: int = Field(
        1000, ge=100, le=60_000, description="an open turn ends when no audio comes for this long, ms"
    )
    speculate: bool = Field(True, description="begin to answer at the first short pause, discard if speech goes on")
    echo_guard: bool = Field(True, description="take an answer's own sound out of the microphone while it is played")
    resume: bool = Field(
        True, description="an answer that a cough or a mm-hm has stopped goes on, for clients that know how (/ws)"
    )

    max_frame_bytes: int = Field(1 << 20, ge=1024, le=1 << 24, description="largest frame from a client, bytes")
    max_upload_bytes: int = Field(25 << 20, ge=1024, le=1 << 30, description="largest body of an HTTP request, bytes")
    max_speech_characters: int = Field(
        4096, ge=1, le=100_000, description="longest text for /v1/audio/speech, characters"
    )
    max_transcription_s: float = Field(
        600.0, ge=1, le=36_000, description="longest recording for /v1/audio/transcriptions, seconds"
    )
    max_text_characters: int = Field(2000, ge=1, le=100_000, description="longest typed question, characters")
    max_audio_lead_s: float = Field(30.0, gt=0, le=600, description="audio accepted ahead of real time, seconds")
    max_messages_per_s: float = Field(50.0, gt=0, description="control messages of one client, per second")
    outgoing_bytes: int = Field(
        1 << 19,
        ge=1 << 14,
        le=1 << 26,
        description="what may wait for a client that reads slowly, bytes; of answers half of it",
    )
    send_timeout_s: float = Field(20.0, gt=0, description="a client that takes nothing for so long is dropped, seconds")
    ready_timeout_s: float = Field(60.0, gt=0, description="a client waits so long for the model to load, seconds")
    drain_s: float = Field(6.0, ge=0, le=600, description="answers in progress may go on so long at exit, seconds")

    allowed_origins: str = Field(
        "", description="origins of other sites whose pages may connect, comma separated; * allows all"
    )
    allowed_hosts: Annotated[str, AfterValidator(_host_names)] = Field(
        "",
        description="names that the server is reached by, beside localhost, IP addresses and --host, comma separated; "
        "*.NAME: all below it, *: any name; none: those three, and with --api-keys any name",
    )
    api_keys: str = Field(
        "", repr=False, description="keys of which clients must send one, comma separated; none: everybody may connect"
    )
    static_dir: Path = Field(_STATIC, description="folder of the page")
    log_format: Literal["auto", "json", "console"] = Field("auto", description="auto: console on a terminal, else JSON")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least level that is logged")
    log_text: bool = Field(False, description="also log what is said and answered (private!)")

    @property
    def models(self) -> tuple[str, ...]:
        """`model`, then `also_models`, split."""
        return (self.model, *(part.strip() for part in self.also_models.split(",") if part.strip()))

    @property
    def origins(self) -> tuple[str, ...]:
        """`allowed_origins`, split; without trailing slashes."""
        return tuple(part.strip().rstrip("/") for part in self.allowed_origins.split(",") if part.strip())

    @property
    def checks_hosts(self) -> bool:
        """Whether the `Host` of requests matters. A page that reached the server by DNS rebinding has no key."""
        return bool(self.hosts) or not self.keys

    @property
    def hosts(self) -> tuple[str, ...]:
        """`allowed_hosts`, split."""
        return read_hosts(self.allowed_hosts)

    @property
    def keys(self) -> tuple[str, ...]:
        """`api_keys`, split."""
        return tuple(part.strip() for part in self.api_keys.split(",") if part.strip())

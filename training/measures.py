"""What is measured of a checkpoint by `training.evaluate`, each measure a function.

The judge is Whisper base, greedy, over its full window. The cascade that a model is compared with has the same parts:
Whisper base writes the question down, the body answers, hibari (the voice that was learned from) reads the answer.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hibari import Hibari
from tqdm import tqdm
from transformers import AutoModelForCausalLM

from model.checkpoint import OWN_NETWORK, TOKENIZER, own_network, read_config
from model.checkpoint_files import read_tokenizer
from model.checkpoint_language import GGUF, SOURCES, gguf_body
from model.config import OmniConfig
from model.mouth import SnacDecoder
from model.omni import MiniOmni
from model.request import AudioChunk, Request, TextDelta
from model.text import speakable
from model.tts_adapter import TtsAdapter
from model.vocabulary import Task
from training.coder import Coder
from training.evaluate_ears import Recording
from training.flaws import Flaws, find_flaws
from training.gguf_body import causal_model
from training.kept import Kept, Spoken
from training.likeness import distance
from training.listen import Judge, speak_all

CARRIER = "I was thinking about the word {} again today."
LONGEST_SECONDS = 28.0
"""Of an answer: the judge hears 30 s."""
HERE = Path(__file__).parent


def lines(name: str) -> list[str]:
    """The lines of a text file beside this one."""
    return (HERE / name).read_text(encoding="utf-8").splitlines()


def progress(items: Iterable[Any], what: str, total: int | None = None) -> Iterator[Any]:
    yield from tqdm(items, what, total=total, file=sys.stderr, leave=False)


def answer(omni: MiniOmni, question: str) -> tuple[str, np.ndarray]:
    """Text and sound of a typed question's answer, as the server gives it: greedy, three sentences at most."""
    text, sound = "", [np.zeros(0, np.float32)]
    request = Request(text=question, max_seconds=LONGEST_SECONDS)
    for event in omni.generate(request):
        if isinstance(event, TextDelta):
            text += event.text
        elif isinstance(event, AudioChunk):
            sound.append(event.samples)
    return text.strip(), np.concatenate(sound)


def flaws_of(text: str, heard: str, judge: Judge) -> Flaws:
    """Against the text as it is written or as it is read aloud, whichever is nearer: a listener may write "3 km" or
    "three kilometers"."""
    ways = (find_flaws(judge.normalize(said), heard) for said in (text, speakable(text)))
    return min(ways, key=lambda flaws: flaws.wrong / max(1, flaws.words))


def spoken_answers(omni: MiniOmni, questions: Sequence[str], judge: Judge, voice: Hibari, kept: Kept) -> list[Spoken]:
    """Free-running answers to typed questions, heard by the judge; the cascade's reading of each beside it."""
    for question in progress([q for q in questions if q not in kept.answers], "answers"):
        text, samples = answer(omni, question)
        if not text:
            continue
        heard = judge.normalize(judge.hear(samples)) if len(samples) else ""
        read = np.asarray(voice(text, seed=0), np.float32)
        heard_read = judge.normalize(judge.hear(read))
        flaws, read_flaws = (flaws_of(text, one, judge) for one in (heard, heard_read))
        kept.add_answer(Spoken(question, text, samples, flaws, heard, read, read_flaws))
    return [kept.answers[question] for question in questions if question in kept.answers]


def spread(items: Sequence[str], count: int) -> list[str]:
    """At most `count` of the items, evenly taken."""
    return list(items[:: max(1, len(items) // count)][:count])


def unseen_questions(texts: Sequence[Path], count: int) -> list[str]:
    """Questions of `questions.txt` that none of the training texts has."""
    known = "\n".join(path.read_text(encoding="utf-8") for path in texts).lower()
    return spread([question for question in lines("questions.txt") if question.lower() not in known], count)


def unseen_words(texts: Sequence[Path], count: int) -> list[str]:
    """Words of `unseen_words.txt` that none of the training texts has."""
    known: set[str] = set()
    for path in texts:
        known.update(re.findall(r"[a-z']+", path.read_text(encoding="utf-8").lower()))
    return spread([word for word in lines("unseen_words.txt") if word not in known], count)


def heard_words(
    adapter: TtsAdapter, mouth: SnacDecoder, words: Sequence[str], judge: Judge, voice: Hibari, kept: Kept
) -> list[tuple[bool, bool]]:
    """Each word in the carrier sentence: heard right as the checkpoint says it, and as the cascade's voice does."""
    missing = [word for word in words if word not in kept.words]
    for start in progress(range(0, len(missing), 20), "words"):
        some = missing[start : start + 20]
        texts = [CARRIER.format(word) for word in some]
        frames, _ = speak_all(adapter, texts)
        for word, text, spoken in zip(some, texts, frames, strict=True):
            readings = mouth.decode(spoken).numpy(), np.asarray(voice(text, seed=0), np.float32)
            ours, theirs = (judge.normalize(word) in judge.normalize(judge.hear(r)).split() for r in readings)
            kept.add_word(word, ours, theirs)
    return [kept.words[word] for word in words]


def voice_distances(answers: Sequence[Spoken], coder: Coder, mouth: SnacDecoder) -> list[tuple[float, float]]:
    """Log-mel distance to the cascade's reading, in nats: of the answer, and of that reading re-coded by the mouth."""
    found = []
    for spoken in progress(answers, "voice"):
        frames = torch.from_numpy(coder(spoken.read).astype(np.int64))
        again = mouth.decode(frames).numpy()[: len(spoken.read)]
        found.append((distance(spoken.samples, spoken.read), distance(again, spoken.read)))
    return found


# -- language -------------------------------------------------------------------------------------------------------
def original_body(config: OmniConfig, source: str | None) -> Any:
    """The body as `transformers` has it, float32: a pinned model's, another from `source`, a GGUF file too."""
    weights = config.body_weights if config.body_weights in SOURCES else source
    if weights is not None and (weights in SOURCES or weights.endswith(GGUF)):
        return causal_model(gguf_body(weights, Path()).open())
    return None if source is None else AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32).eval()


def exact(folder: Path) -> MiniOmni:
    """The checkpoint's language alone, float32."""
    config = read_config(folder)
    omni = MiniOmni(config, own_network(folder, config, torch.float32), read_tokenizer(folder / TOKENIZER))
    omni.adapter = TtsAdapter(config.tts_adapter) if config.tts_adapter else None
    return omni


def same_answers(omni: MiniOmni, body: Any, questions: Sequence[str], steps: int = 48) -> list[bool]:
    """For each typed question: the greedy answer is that of the original body, token for token."""
    vocabulary, found = omni.config.vocabulary, []
    for question in progress(questions, "language"):
        if omni.chat is not None:
            asked = prompt = omni.chat.encode(question, Request(text=question), 900)
            ends = {omni.chat.end, *omni.config.ends}
        else:
            asked = omni.encode_text(question)
            prompt = [vocabulary.input_text, *asked, vocabulary.end_of_text, vocabulary.answer_text]
            ends = {vocabulary.end_of_text, *omni.config.ends}
        ids = torch.tensor([prompt])
        wanted = body.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=steps,
            do_sample=False,
            eos_token_id=list(ends),
            pad_token_id=0,
        )[0, len(prompt) :].tolist()
        wanted = wanted[: next((n for n, token in enumerate(wanted) if token in ends), len(wanted))]
        said = omni.generate_tokens(Task.T1T2, text_ids=torch.tensor(asked), max_steps=steps).text.tolist()
        found.append(said[:steps] == wanted)
    return found


# -- hearing --------------------------------------------------------------------------------------------------------
def written(omni: MiniOmni, request: Request) -> str:
    """The text of an answer."""
    return "".join(event.text for event in omni.generate(request) if isinstance(event, TextDelta))


def heard_as_typed(omni: MiniOmni, spoken: Sequence[Recording]) -> list[bool]:
    """For each spoken question: its greedy answer is the answer to the same question typed."""
    found = []
    for recording in progress(spoken, "spoken as typed"):
        audio = written(omni, Request(audio=recording.samples, task=Task.A1T2, max_tokens=32))
        typed = written(omni, Request(text=recording.text, task=Task.T1T2, max_tokens=32))
        found.append(audio == typed)
    return found


def first_sound(omni: MiniOmni, question: np.ndarray) -> float | None:
    """Seconds from the end of a spoken question to the first sound of the answer; None when there is none."""
    begun = time.perf_counter()
    for event in omni.generate(Request(audio=question, max_sentences=3, max_seconds=2.0)):
        if isinstance(event, AudioChunk):
            return time.perf_counter() - begun
    return None


def cascade_first_sound(omni: MiniOmni, question: np.ndarray, voice: Hibari) -> float | None:
    """The same for the cascade: what was heard, then the body's first sentence, then that sentence read."""
    begun = time.perf_counter()
    text = ""
    for event in omni.generate(Request(audio=question, task=Task.A1T2, max_sentences=1, max_tokens=160)):
        if isinstance(event, TextDelta):
            text += event.text
    if not text.strip():
        return None
    voice(text, seed=0)
    return time.perf_counter() - begun


def first_sounds(omni: MiniOmni, spoken: Sequence[Recording], voice: Hibari) -> list[tuple[float, float]]:
    """Seconds to the first sound: of the checkpoint, and of the cascade."""
    found = []
    for recording in progress(spoken, "first sound"):
        ours, theirs = first_sound(omni, recording.samples), cascade_first_sound(omni, recording.samples, voice)
        if ours is not None and theirs is not None:
            found.append((ours, theirs))
    return found


def disk_megabytes(folder: Path, config: OmniConfig) -> float:
    """Weights that were trained: what only training reads is not counted, nor a body that is its own as before."""
    files = [file for file in folder.glob("*.safetensors") if file.name != OWN_NETWORK or config.audio_route == "body"]
    return sum(file.stat().st_size for file in files) / 1e6

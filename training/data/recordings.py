"""Recordings of a voice of one's own → speech shards, with the duration of every phoneme.

A recording is `NAME.wav` with what it says in `NAME.txt` beside it, at most 29 s. Where each phoneme lies is found by
having hibari read the same text: how long its own phonemes last is known exactly, and dynamic time warping over the
states of Whisper's encoder, which hardly hear who speaks, lays one reading over the other. Every 25th recording is
held out. Those whose words do not seem to be those of the text are left out, and named.

    python -m training.data.recordings my-voice work/mine/speech
"""

from __future__ import annotations

import argparse
from pathlib import Path

import librosa
import numpy as np
import torch.nn.functional as F

from model.audio import SAMPLE_RATE as EARS_RATE
from model.audio import WINDOW_STATES, log_mel, read_wav, resample, states_of
from model.ears import StateEncoder, whisper_base
from model.mouth import SAMPLE_RATE
from model.packed import quick_dtype
from model.text import speakable
from model.timeline import DURATION_UNIT_SAMPLES
from model.tts_adapter import TtsAdapterConfig
from training.data.shards import Recording, spoken_seconds, write_shard
from training.data.speech import HELD_OUT_EVERY, Speaker

STATE_SAMPLES = SAMPLE_RATE // 50
TAIL_STATES = 50
"""Of silence after the sound, which the encoder expects."""
SILENT_BELOW_DB = 40
"""Below the loudest moment."""
LONGEST_PAUSE = SAMPLE_RATE // 2
MISMATCH = 0.42
"""Distance along the warping path by the distance of any two moments. Twelve readings in six synthetic voices of the
right text had 0.18 … 0.37, of another text 0.46 … 0.77."""
SHARD_ROWS = 250


def tighten(samples: np.ndarray) -> np.ndarray:
    """Silence at the ends cut to 50 ms, and between words to half a second."""
    margin, before = 2 * DURATION_UNIT_SAMPLES, 0
    pieces: list[np.ndarray] = []
    for start, stop in librosa.effects.split(samples, top_db=SILENT_BELOW_DB):
        pause = min(start - before, LONGEST_PAUSE if pieces else margin)
        pieces += [samples[start - pause : start], samples[start:stop]]
        before = stop
    return np.concatenate([*pieces, samples[before : before + margin]])


class Aligner:
    """Lays hibari's reading of a text over somebody else's."""

    def __init__(self) -> None:
        self.encoder = StateEncoder(whisper_base().encoder, quick_dtype())
        self.speaker = Speaker()
        self.longest = TtsAdapterConfig().longest

    def states(self, samples: np.ndarray) -> np.ndarray:
        """(samples,) at 24 kHz → directions of the encoder's states (frames, width), 20 ms each."""
        sound = resample(samples, SAMPLE_RATE, EARS_RATE)
        count = min(states_of(len(sound)), WINDOW_STATES - TAIL_STATES)
        states = self.encoder(log_mel(sound, count + TAIL_STATES))[:count].float()
        return F.normalize(states - states.mean(0), dim=-1).numpy()

    def warp(self, reading: np.ndarray, ours: np.ndarray, moments: np.ndarray) -> tuple[np.ndarray, float]:
        """Moments in samples of `reading` → the same moments of `ours`, and how ill the two match (1: not at all)."""
        a, b = self.states(reading), self.states(ours)
        distances = 1 - a @ b.T
        path = librosa.sequence.dtw(C=distances)[1][::-1]
        matched = np.bincount(path[:, 0], path[:, 1]) / np.bincount(path[:, 0])
        found = np.interp(moments / STATE_SAMPLES, np.arange(len(a)), matched) * STATE_SAMPLES
        return found, float(distances[path[:, 0], path[:, 1]].mean() / distances.mean())

    def align(self, samples: np.ndarray, reading: Recording) -> Recording | None:
        """(samples,) float32 at 24 kHz, and hibari's reading of their text → the recording with durations.

        None where the two do not match, or a sound lasts longer than the TTS adapter can say. Pauses are shortened.
        """
        samples = tighten(samples)
        moments = np.cumsum(reading.durations) * DURATION_UNIT_SAMPLES
        found, mismatch = self.warp(reading.audio / np.float32(32768), samples, moments)
        total = len(samples) // DURATION_UNIT_SAMPLES
        units = np.rint(found / DURATION_UNIT_SAMPLES).astype(np.int64)
        ends = np.minimum(np.maximum.accumulate(units), total)
        ends[-1] = total
        durations = np.diff(ends, prepend=0)
        if mismatch > MISMATCH or durations.max() > self.longest:
            return None
        audio = (np.clip(samples[: total * DURATION_UNIT_SAMPLES], -1, 1) * 32767).astype(np.int16)
        return Recording(reading.text, audio, reading.phonemes, durations.astype(np.int16))

    def read(self, path: Path) -> Recording | None:
        """A WAV file and the text beside it, aligned; None where they do not match."""
        text = speakable(path.with_suffix(".txt").read_text(encoding="utf-8").strip())
        reading = self.speaker(text)
        return self.align(read_wav(path, SAMPLE_RATE).samples, reading) if reading else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recordings", type=Path, help="folder of NAME.wav and NAME.txt")
    parser.add_argument("out", type=Path, help="folder of speech shards")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    aligner = Aligner()
    paths = [path for path in sorted(options.recordings.glob("*.wav")) if path.with_suffix(".txt").exists()]
    trained: list[Recording] = []
    held_out: list[Recording] = []
    for number, path in enumerate(paths):
        recording = aligner.read(path)
        if recording is None:
            print(f"{path.name}: left out, its words do not seem to be those of {path.stem}.txt", flush=True)
        else:
            (trained if number % HELD_OUT_EVERY else held_out).append(recording)
    if not trained or not held_out:
        parser.exit(2, f"{options.recordings}: {len(paths)} recordings with a text, too few to learn from\n")
    write_shard(options.out / "heldout-0.npz", held_out)
    for start in range(0, len(trained), SHARD_ROWS):
        write_shard(options.out / f"train-0-{start // SHARD_ROWS:04d}.npz", trained[start : start + SHARD_ROWS])
    print(f"{spoken_seconds(options.out) / 60:.1f} minutes to train on, {len(held_out)} recordings held out")


if __name__ == "__main__":
    main()

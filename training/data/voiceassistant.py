"""Reads `gpt-omni/VoiceAssistant-400K` and data in its schema: Parquet files in a folder or in its `data/`.

| column | what |
|---|---|
| `question`, `answer` | text |
| `question_audio` | struct of `bytes` (a WAV file, 22.05 kHz) and `path` |
| `answer_snac` | SNAC codes at 24 kHz as text: `# c0 … c6 # c0 … c6 …`, seven codes a frame, in the order L0 L1a L2a L2b L1b L2c L2d |
| `split_name`, `index`, `round` | where the row comes from; not read |
"""  # noqa: E501 - a table

from __future__ import annotations

import logging
from bisect import bisect_right
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from model.audio import SAMPLE_RATE, AudioError
from model.vocabulary import AUDIO_LAYERS
from training.data.sources import DataFormatError, Sample, read_sound

log = logging.getLogger(__name__)
COLUMNS = ("question", "question_audio", "answer", "answer_snac")
SNAC_CODES = 4096


def parse_codes(text: str) -> np.ndarray:
    """`# c0 … c6 # …` → (frames, 7) int16; a last frame that was cut short is left out.

    `DataFormatError` for anything else.
    """
    frames = [frame.split() for frame in text.split("#") if frame.strip()]
    if frames and len(frames[-1]) < AUDIO_LAYERS:
        frames.pop()
    try:
        codes = (
            np.array(frames, np.int64).reshape(-1, AUDIO_LAYERS) if frames else np.zeros((0, AUDIO_LAYERS), np.int64)
        )
    except ValueError as error:
        raise DataFormatError(f"answer_snac is not '#' and {AUDIO_LAYERS} codes a frame: {text[:60]!r}") from error
    if codes.size and not (codes.min() >= 0 and codes.max() < SNAC_CODES):
        raise DataFormatError(
            f"answer_snac has codes from {codes.min()} to {codes.max()}, wanted 0 to {SNAC_CODES - 1}"
        )
    return codes.astype(np.int16)


class VoiceAssistant:
    """`Source` of the Parquet files of a folder, in the order of their names."""

    codes: int | None = SNAC_CODES

    def __init__(self, folder: Path) -> None:
        import pyarrow.parquet

        paths = sorted(folder.glob("*.parquet")) or sorted((folder / "data").glob("*.parquet"))
        if not paths:
            raise DataFormatError(f"{folder} has no .parquet files, and no data/ with some; fetch the data set again")
        self.files = [pyarrow.parquet.ParquetFile(path) for path in paths]
        for path, file in zip(paths, self.files, strict=True):
            if missing := [name for name in COLUMNS if name not in file.schema_arrow.names]:
                raise DataFormatError(
                    f"{path} lacks the column {missing[0]!r} (it has {', '.join(file.schema_arrow.names)}); "
                    "this reader takes the schema of gpt-omni/VoiceAssistant-400K"
                )
        groups = [(file, group) for file in self.files for group in range(file.num_row_groups)]
        self.groups: list[tuple[Any, int]] = groups
        self.ends = list(accumulate(file.metadata.row_group(group).num_rows for file, group in groups))
        self._open: tuple[int, Any] = (-1, None)

    def __len__(self) -> int:
        return self.ends[-1] if self.ends else 0

    def read(self, first: int, count: int) -> list[Sample]:
        """At most `count` rows from number `first` on; one row group is in memory at a time."""
        found: list[Sample] = []
        number = first
        while number < min(first + count, len(self)):
            index = bisect_right(self.ends, number)
            begin = self.ends[index - 1] if index else 0
            stop = min(first + count, self.ends[index])
            rows = self._group(index).slice(number - begin, stop - number).to_pylist()
            found += [self._sample(row, number + offset) for offset, row in enumerate(rows)]
            number = stop
        return found

    def _group(self, index: int) -> Any:
        if self._open[0] != index:
            file, group = self.groups[index]
            self._open = (index, file.read_row_group(group, columns=list(COLUMNS)))
        return self._open[1]

    @staticmethod
    def _sample(row: dict[str, Any], number: int) -> Sample:
        """A row; what of it cannot be read is left out, and told."""
        sound = codes = None
        data = (row["question_audio"] or {}).get("bytes")
        try:
            sound = read_sound(data, SAMPLE_RATE) if data else None
            codes = parse_codes(row["answer_snac"] or "")
        except (DataFormatError, AudioError) as error:
            log.warning("row %d is used in part: %s", number, error)
        return Sample(
            row["answer"] or "",
            row["question"] or None,
            sound,
            codes=codes if codes is not None and len(codes) else None,
        )

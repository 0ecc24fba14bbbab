"""What was sent to the loudspeaker, on the microphone's time line."""

from __future__ import annotations

import numpy as np
import soxr

from server.audio import AudioBuffer
from server.events import ANSWER_SAMPLE_RATE
from server.turns import SAMPLE_RATE

_SHORT_GAP = 2 * SAMPLE_RATE


class Reference:
    """An answer's pieces follow each other without a gap; one that comes when all before it were played begins at
    the microphone's position of that moment. Positions are samples at 16 kHz."""

    def __init__(self) -> None:
        self._sound = AudioBuffer()
        self._offset = 0
        """The microphone's position of the buffer's first sample."""
        self._resampler: soxr.ResampleStream | None = None

    @property
    def end(self) -> int:
        """Until when it is played, if it is played at once."""
        return self._offset + self._sound.end

    def append(self, samples: np.ndarray, position: int) -> None:
        """(n,) float32 at 24 kHz, sent when the microphone was at `position`."""
        if self.end < position:
            self._resampler = None
            if position - self.end < _SHORT_GAP:  # what was played before is still heard
                self._sound.append(np.zeros(position - self.end, np.float32))
            else:
                self._sound, self._offset = AudioBuffer(), position
        self._resampler = self._resampler or soxr.ResampleStream(
            ANSWER_SAMPLE_RATE, SAMPLE_RATE, 1, "float32", quality="LQ"
        )
        self._sound.append(self._resampler.resample_chunk(samples))

    def cut(self, position: int) -> None:
        """What would be played from here on is not."""
        kept = self._sound.slice(0, position - self._offset)
        self._offset = min(position, self.end) - len(kept)
        self._sound, self._resampler = AudioBuffer(), None
        self._sound.append(kept)

    def window(self, begin: int, end: int) -> np.ndarray:
        """(end - begin,) float32 of the time line: zeros where nothing was sent."""
        found = np.zeros(end - begin, np.float32)
        first, last = max(begin, self.begin), min(end, self.end)
        if first < last:
            found[first - begin : last - begin] = self._sound.slice(first - self._offset, last - self._offset)
        return found

    @property
    def begin(self) -> int:
        """The oldest sample that is still held."""
        return self.end - len(self._sound)

    def drop_before(self, position: int) -> None:
        """Forget what is older."""
        self._sound.drop_before(position - self._offset)

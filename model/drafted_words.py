"""Hearing from a draft: the trained ear adapter spells, Whisper's decoder reads the whole draft in one pass.

What the decoder would have said itself is kept; at its first objection its own token is put in, the rest of the draft
is lined up behind it, and another pass begins there (speculative decoding, with the ear adapter as the small model).
The words are those of Whisper's greedy search, in a few passes instead of one for every token. Because it reads and
does not wander, a short tail of silence is enough.
"""

from __future__ import annotations

from dataclasses import replace
from difflib import SequenceMatcher

import torch
from torch import Tensor
from whisper.utils import compression_ratio

from model.asr.spoken_forms import digits_of, letters, likeness, spoken_form
from model.cancellation import give_up_if_unwanted
from model.ear_adapter import EarNetwork
from model.ears import Ears, Hearing, WhisperWords
from model.transcriber import Transcriber, Transcript

_LOOK_AHEAD = 6
"""Tokens of the draft among which the decoder's own is looked for."""
_ALIKE = 0.4
"""Share of letters in common from which a word of the draft is taken for a misspelling of the decoder's."""

_TELLING = 3
"""Letters of a draft from which it proves that something was said."""
_MUCH_MORE = 0.15
"""Difference in likeness from which the draft decides between two transcripts."""
_TOO_LONG = 0.2
"""A reading by so much longer than its draft, counted in letters, may have begun again."""


class DraftReader:
    """Whisper's greedy words for encoder states, found by reading a draft of them."""

    def __init__(self, transcriber: Transcriber) -> None:
        self.transcriber = transcriber
        self.passes = 0
        """Of the last reading."""

    @torch.inference_mode()
    def __call__(self, states: Tensor, draft: str, max_tokens: int = 224) -> Transcript:
        """States (T, width) and what they may say → what the decoder says, of at most `max_tokens` tokens."""
        by = self.transcriber
        decoder, end = by.decoder, by.tokenizer.eot
        start = len(by.prompt)
        max_tokens = min(max_tokens, decoder.positions.shape[0] - start - 1)
        crosses = decoder.cross_cache(states)
        own = decoder.self_cache(1, start + max_tokens + 1)
        rest = by.tokenizer.encode(f" {draft}")[:max_tokens] if draft else []
        said: list[int] = []
        scores: list[float] = []
        no_speech, self.passes = 0.0, 0
        longest = len(letters(draft)) * (1 + _TOO_LONG) + _LOOK_AHEAD if draft else float("inf")
        unread = list(by.prompt)  # tokens that are settled but not yet in the cache
        while True:
            give_up_if_unwanted()
            self.passes += 1
            at = start + len(said) - len(unread) if said else 0
            tokens = torch.tensor([unread + rest], device=decoder.device)
            hidden = decoder(tokens, at, own, crosses)[0]
            logits = decoder.logits(hidden[len(unread) - 1 :])
            if not said:
                no_speech = self._no_speech(hidden)
            logits[0] += by.suppressed if said else by.suppressed_first
            logits[1:] += by.suppressed
            likelihoods, wanted = logits.log_softmax(-1).max(-1)
            agreed = 0
            while agreed < len(rest) and wanted[agreed] == rest[agreed]:
                agreed += 1
            said += rest[:agreed]
            scores += likelihoods[: agreed + 1].tolist()
            token = int(wanted[agreed])
            if token == end or len(said) + 1 >= max_tokens:
                break
            said.append(token)
            if len(letters(spoken_form(by.tokenizer.decode(said), draft))) > longest:
                break  # it begins again
            unread = [token]
            rest = self._line_up(rest[agreed:], token)[: max_tokens - len(said) - 1]
        ended = token == end
        kept = self._first_telling(said, draft) if draft else len(said)
        if kept < len(said):
            said, scores, ended = said[:kept], scores[:kept], True
        text = by.tokenizer.decode([one for one in said if one < end]).strip()
        average = sum(scores) / max(1, len(scores))
        ratio = compression_ratio(text) if text else 0.0
        return Transcript(text, tuple(said), average, no_speech, ratio, ended)

    def _first_telling(self, said: list[int], draft: str) -> int:
        """How many of the tokens tell what the draft does, where they tell it again and again: with a short tail of
        silence the decoder does not stop by itself."""
        decode = self.transcriber.tokenizer.decode

        def told(count: int) -> str:
            return spoken_form(decode(said[:count]), draft)

        if len(letters(told(len(said)))) <= len(letters(draft)) * (1 + _TOO_LONG):
            return len(said)
        pieces = [decode([token]) for token in said]
        words = [n for n in range(1, len(said)) if pieces[n].startswith(" ")]
        # a last word that the draft misspells is like nothing in it: where sentences end is better known
        again = [n for n in words if said[n] == said[0] or pieces[n - 1].rstrip()[-1:] in (".", "?", "!")]
        if any(letter.isdigit() for piece in pieces for letter in piece):
            again = list(range(1, len(said)))  # numbers repeat themselves without a space: "$26.26."
        return max([*(again or words), len(said)], key=lambda n: likeness(told(n), draft))

    def _no_speech(self, hidden: Tensor) -> float:
        """Its probability, from the hidden states (n, width) of the prompt."""
        by = self.transcriber
        assert by.tokenizer.no_speech is not None
        sot = by.prompt.index(by.tokenizer.sot)
        return float(by.decoder.logits(hidden[sot : sot + 1])[0].softmax(-1)[by.tokenizer.no_speech])

    def _line_up(self, rest: list[int], token: int) -> list[int]:
        """What of the draft follows the token that the decoder wanted instead of `rest[0]`."""
        if token in rest[:_LOOK_AHEAD]:
            return rest[rest.index(token) + 1 :]
        if not rest:
            return []
        piece = self.transcriber.tokenizer.decode
        wanted, words = piece([token]), [piece([one]) for one in rest]
        begins = [index for index, word in enumerate(words) if word.startswith(" ")]
        after = next((index for index in begins if index > 0), len(rest))
        if wanted.startswith(" ") != words[0].startswith(" "):
            # a mark or the end of a word that the draft lacks; or a word where the draft goes on with the last one
            return rest if words[0].startswith(" ") else rest[after:]
        alike = SequenceMatcher(None, wanted.lower(), "".join(words[:after]).lower()).ratio()
        return rest[after:] if alike > _ALIKE or not wanted.startswith(" ") else rest


class DraftedWords:
    """`model.ears.EarAdapter`: the network's draft as Whisper's decoder reads it.

    Doubtful are words below `least_log_probability` on average, and words that sound less like the draft than
    `least_likeness`: with a short tail the decoder at times wanders, and is sure of it. Whoever has time listens again.
    The decoder is less sure of a single word, and of how to write numbers: where the draft is the very same, or
    numbers sound like it, `least_if_agreed` is enough.
    """

    def __init__(
        self,
        network: EarNetwork,
        words: WhisperWords,
        least_log_probability: float = -0.3,
        least_likeness: float = 0.8,
        least_if_agreed: float = -1.0,
    ) -> None:
        self.network = network
        self.words = words
        self.reader = DraftReader(words.transcriber)
        self.least_log_probability, self.least_likeness = least_log_probability, least_likeness
        self.least_if_agreed = least_if_agreed

    def hear(self, states: Tensor, seconds: float) -> Hearing:
        """States (T, width), 20 ms each, of `seconds` of sound and of the silence after it."""
        draft = self.network.spell(states.float()).text
        limit = 12 + round(self.words.options.tokens_per_second * seconds)
        said = self.reader(states, draft, limit)
        like = likeness(spoken_form(said.text, draft), draft)
        agreed = like >= self.least_likeness
        hearing = self.words.judge(said, certain=agreed and len(letters(draft)) >= _TELLING)
        sure = like == 1.0 or any(letter.isdigit() for letter in said.text)
        unlikely = hearing.average_log_probability < (self.least_if_agreed if sure else self.least_log_probability)
        unsure = hearing.no_speech or unlikely or not agreed or _other_digits(said.text, draft) is not None
        return replace(hearing, doubtful=hearing.doubtful or unsure, draft=draft)

    def settle(self, doubted: Hearing, searched: Hearing) -> Hearing:
        """Of what was doubted and what a search found instead, the one that sounds like the draft.

        The search is right unless the draft is much more like the other. Where all are digits, the draft's count: it
        has a word for each, and the decoder loses and doubles them.
        """
        draft = doubted.draft
        if draft is None or len(letters(draft)) < _TELLING:
            return searched
        likes = [likeness(spoken_form(one.text, draft), draft) for one in (doubted, searched)]
        best = doubted if likes[0] > likes[1] + _MUCH_MORE and likes[0] >= self.least_likeness else searched
        digits = _other_digits(best.text, draft)
        return best if digits is None else replace(best, text=digits)


def _other_digits(text: str, draft: str) -> str | None:
    """The draft's digits, where the text is other digits and nothing else."""
    written = letters(text)
    if not written.isdigit():
        return None
    said = digits_of(draft)
    return None if said is None or said == written else said


def hear_from_drafts(ears: Ears, network: EarNetwork) -> None:
    """Let these ears ask the network first, and search for words only where its draft does not hold."""
    assert isinstance(ears.adapter, WhisperWords)
    ears.quick = DraftedWords(network, ears.adapter)

"""What test rows ask, and how an answer is read from a model's tokens.

What is right is the row's own text. Tokens only tell where an answer begins (the prompt is all that comes before), what
the template writes around it, and whether what was kept of the row still asks the question.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from g2is.evaluation.metrics import exact_match
from g2is.model.batches import Row

VERSION = 2  # to be raised with every change of ours to what is asked, right, or read from a model's tokens

_TAIL = 32  # characters of a question without which nothing of it was kept
_LONGEST_CLOSING = 64  # tokens
_THOUGHTS = ("<think>", "[THINK]")
_END_OF_THOUGHTS = ("</think>", "[/THINK]")


@dataclass(frozen=True)
class Question:
    """A test row's right answers, and what of it was kept.

    `expected` is the row's own last answer, `reasoning` the thoughts before it if the row has them, `others` as right
    as `expected`, `short` what numbers are compared with instead of it. The row is not `asked` if its question was cut
    away; `shortened` if that lost its beginning. `may_be_cut`: some tokens of its answers were not kept.
    """

    expected: str
    reasoning: str = ""
    others: tuple[str, ...] = ()
    short: str | None = None
    asked: bool = True
    shortened: bool = False
    may_be_cut: bool = False

    @property
    def right(self) -> str:
        """The expected answer without thoughts that stand in it."""
        text = self.expected.lstrip()
        end = next((e for b, e in zip(_THOUGHTS, _END_OF_THOUGHTS, strict=True) if text.startswith(b)), None)
        rest = text.partition(end)[2].strip() if end else ""
        return rest or self.expected


def last_answer(row: Row) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The tokens of the prompt, of the last answer that was kept, and what comes after it."""
    ids, mask = row
    end = int(np.flatnonzero(mask)[-1]) + 1
    before = np.flatnonzero(~mask[:end])
    start = int(before[-1]) + 1 if len(before) else 0
    return ids[:start], ids[start:end], ids[end:]


def what_is_left(tokenizer: Any, row: Row, question: str, num_answers: int, keeps_front: bool) -> tuple[bool, bool]:
    """Whether a row that lost tokens still asks its last `question`, and whether that lost its beginning.

    It no longer does if not even the question's last 32 characters stand before the last answer that was kept; or if
    the front is what was kept, and in it fewer than the row's `num_answers` answers.
    """
    num_kept = int((np.diff(row[1].astype(np.int8), prepend=0) == 1).sum())
    if keeps_front and num_kept < num_answers:
        return False, False
    there, asked = _squeezed(_decode(tokenizer, last_answer(row)[0])), _squeezed(question)
    if asked not in there:  # a tokenizer may write it otherwise: in lower case, say
        asked = _squeezed(_decode(tokenizer, _encode(tokenizer, question)))
    return asked[-_TAIL:] in there, asked not in there


class Asked:
    """What (N,) test rows ask: their prompts, where an answer ends, and how it is read from tokens.

    `prompts` and `answers` have the kept tokens of each row; `lengths` (N,) int64 how many tokens the whole right
    answer has; `ends` the tokens that end an answer; `unreadable` (N,) bool: the right answer as the tokenizer writes
    it is not read as the row has it, so that no model can give it.
    """

    def __init__(self, tokenizer: Any, rows: Sequence[Row], questions: Sequence[Question]) -> None:
        self._tokenizer, self._questions = tokenizer, questions
        kept = [last_answer(row) for row in rows]
        self.prompts, self.answers = [prompt for prompt, _, _ in kept], [answer for _, answer, _ in kept]
        special = _special(tokenizer)
        found = [
            _closing(tokenizer, special, tokens, question.expected)
            for tokens, question in zip(self.answers, questions, strict=True)
        ]
        whole = [
            closing is not None or not question.may_be_cut for closing, question in zip(found, questions, strict=True)
        ]
        closings = {
            # where the text cannot be found in the tokens, the last of them is taken for its end
            tuple(tokens[-1:].tolist()) if closing is None else closing
            for closing, tokens, is_whole in zip(found, self.answers, whole, strict=True)
            if is_whole
        }
        self._closings = sorted(closings, key=len, reverse=True)
        self.ends = ends(tokenizer, closings, self.answers)
        if () in closings:  # the end of turn is not learned, but a model that knows its template writes it
            following = {int(after[0]) for _, _, after in kept if len(after)}
            self.ends = sorted({*self.ends, *(following & special)})
        self._markers = [
            self._marker(tokens, question) for tokens, question in zip(self.answers, questions, strict=True)
        ]
        in_full = [len(_encode(tokenizer, question.reasoning + question.expected)) + 1 for question in questions]
        self.lengths = np.array(
            [
                len(tokens) if is_whole else max(len(tokens), full)
                for tokens, is_whole, full in zip(self.answers, whole, in_full, strict=True)
            ],
            np.int64,
        )
        self.unreadable = np.array([of and not self._reads_back(index) for index, of in enumerate(whole)], bool)

    def text(self, tokens: np.ndarray) -> str:
        """What generated `tokens` say up to the first end, special tokens too, without what closes an answer."""
        stops = np.flatnonzero(np.isin(tokens, self.ends))
        said: list[int] = tokens[: stops[0] + 1].tolist() if len(stops) else tokens.tolist()
        for closing in self._closings:
            if closing and tuple(said[-len(closing) :]) == closing:
                return _decode(self._tokenizer, said[: -len(closing)])
        if len(stops):
            said.pop()
        # a closing that was begun and not ended
        begun = (closing[:n] for closing in self._closings for n in range(len(closing) - 1, 0, -1))
        begin = next((begin for begin in begun if tuple(said[-len(begin) :]) == begin), ())
        return _decode(self._tokenizer, said[: len(said) - len(begin)])

    def final(self, index: int, given: str) -> str:
        """The answer in what was `given` to row `index`, without what comes before it: thoughts, a channel's name."""
        question, marker = self._questions[index], self._markers[index]
        if marker and marker not in question.right:
            before, found, after = given.rpartition(marker)
            if found and (not before.strip() or question.reasoning or self._is_special(marker)):
                return after
        for end in _END_OF_THOUGHTS:
            if end in given and end not in question.right:
                return given.rpartition(end)[2]
        return given

    def _reads_back(self, index: int) -> bool:
        given = self.final(index, self.text(self.answers[index]))
        return exact_match(given, [self._questions[index].right]) == 1

    def _marker(self, tokens: np.ndarray, question: Question) -> str:
        """What a template writes right before the answer's text, after the thoughts if there are any."""
        text = _decode(self._tokenizer, tokens)
        thoughts = question.reasoning.strip()
        start = text.find(thoughts) + len(thoughts) if thoughts and thoughts in text else 0
        at = text.find(question.expected.strip()[:_TAIL], start)
        return text[start:at].strip() if at > start else ""

    def _is_special(self, marker: str) -> bool:
        return any(token in marker for token in self._tokenizer.get_added_vocab())


def ends(tokenizer: Any, closings: set[tuple[int, ...]], answers: Sequence[np.ndarray]) -> list[int]:
    """The tokens that end an answer: EOS, special ones that close one, and one that can only be an end.

    A template may close its answers with an ordinary token: that is one which closes every answer and stands nowhere
    else in any. Other last tokens are words, which happen to be last where a template closes nothing.
    """
    last = {closing[-1] for closing in closings if closing}
    special = _special(tokenizer)
    if len(last) == 1 and () not in closings and not any(last & set(tokens[:-1].tolist()) for tokens in answers):
        special |= last
    return sorted((last & special) | {tokenizer.eos_token_id} - {None})


def _closing(tokenizer: Any, special: set[int], tokens: np.ndarray, expected: str) -> tuple[int, ...] | None:
    """The tokens after the text `expected`, with which `tokens` end but for these; None if it is not found there."""
    text, length = _squeezed(expected), len(tokens)
    ordinary = np.flatnonzero(~np.isin(tokens, list(special)))
    before_special = int(ordinary[-1]) + 1 if len(ordinary) else 0
    # special tokens at the end may be the answer's own text, and an ordinary one may close it
    for end in (*range(before_special, length + 1), *range(before_special - 1, max(0, length - _LONGEST_CLOSING), -1)):
        if _squeezed(_decode(tokenizer, tokens[:end])).endswith(text):
            return tuple(tokens[end:].tolist())
    return None


def _special(tokenizer: Any) -> set[int]:
    return {*tokenizer.all_special_ids, *tokenizer.get_added_vocab().values()}


def _encode(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])


def _decode(tokenizer: Any, tokens: Sequence[int] | np.ndarray) -> str:
    text: str = tokenizer.decode(
        [int(token) for token in tokens], skip_special_tokens=False, clean_up_tokenization_spaces=False
    )
    return text


def _squeezed(text: str) -> str:
    return "".join(text.split())

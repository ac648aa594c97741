"""What test rows ask, and how an answer is read from a model's tokens.

What is right is the row's own text. Tokens only tell where an answer begins (the prompt is all that comes before), what
the template writes around it, and whether what was kept of the row still asks the question.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from g2is.evaluation.metrics import exact_match
from g2is.model.batches import Row

VERSION = 5  # to be raised with every change of ours to what is asked, right, or read from a model's tokens

CALLS_VERSION = 2  # the same, where rows are to be answered by calling tools: once they were judged

_TAIL = 32  # characters of a question without which nothing of it was kept
_THOUGHTS = ("<think>", "[THINK]")
_END_OF_THOUGHTS = ("</think>", "[/THINK]")


@dataclass(frozen=True)
class Question:
    """A test row's right answers, and what of it was kept.

    `expected` is the row's own last answer, `reasoning` the thoughts before it if the row has them, `others` as right
    as `expected`, `short` what numbers are compared with instead of it. It is not judged where the row `calls` tools,
    which no text here says. The row is not `asked` if its question was cut away; `shortened` if that lost its
    beginning. `may_be_cut`: some tokens of its answers were not kept.
    """

    expected: str
    reasoning: str = ""
    others: tuple[str, ...] = ()
    short: str | None = None
    calls: bool = False
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
        texts = [_decode(tokenizer, tokens) for tokens in self.answers]
        places = _placed(texts, [question.expected for question in questions], _special_texts(tokenizer))
        whole = [place is not None or not of.may_be_cut for place, of in zip(places, questions, strict=True)]
        found = [text[place[1] :].strip() for text, place in zip(texts, places, strict=True) if place is not None]
        self._closings = sorted({closing for closing in found if closing}, key=len, reverse=True)
        self._begun = [begun for closing in self._closings for begun in _beginnings(tokenizer, closing)]
        # what stands in a right answer does not tell where one ends
        self._cutting = [closing for closing in self._closings if not any(closing in of.right for of in questions)]
        closed = [
            is_whole and (at is None or bool(text[at[1] :].strip()))
            for is_whole, at, text in zip(whole, places, texts, strict=True)
        ]
        self.ends = ends(tokenizer, self.answers, [after for _, _, after in kept], closed, self._closings)
        self._markers = [
            _marker(text, question, None if place is None else place[0])
            for text, question, place in zip(texts, questions, places, strict=True)
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
        text = _decode(self._tokenizer, tokens[: stops[0] + 1] if len(stops) else tokens)
        for closing in self._closings:
            if text.rstrip().endswith(closing):
                return text.rstrip().removesuffix(closing)
        if len(stops):
            text = _decode(self._tokenizer, tokens[: stops[0]])
        return text.removesuffix(next((begun for begun in self._begun if text.endswith(begun)), ""))

    def final(self, index: int, given: str) -> str:
        """The answer in what was `given` to row `index`, without what comes before it: thoughts, a channel's name."""
        question, marker = self._questions[index], self._markers[index]
        if marker and marker not in question.right:
            before, found, after = given.rpartition(marker)
            if found and (not before.strip() or question.reasoning or self._is_special(marker)):
                given = after
        for end in _END_OF_THOUGHTS:
            if end not in question.right:
                given = given.rpartition(end)[2]
        for closing in self._cutting:  # an end that is no token of its own, after which the model went on
            given = given.partition(closing)[0]
        return given

    def _reads_back(self, index: int) -> bool:
        given = self.final(index, self.text(self.answers[index]))
        return exact_match(given, [self._questions[index].right]) == 1

    def _is_special(self, marker: str) -> bool:
        return any(token in marker for token in _special_texts(self._tokenizer))


def ends(
    tokenizer: Any,
    answers: Sequence[np.ndarray],
    following: Sequence[np.ndarray],
    closed: Sequence[bool],
    closings: Sequence[str],
) -> list[int]:
    """The tokens that end an answer: EOS, special ones that close one, and one that can only be an end.

    `answers` and `following` are tokens of rows, `closed` whether something closes an answer among its tokens; what
    closes the last turn of a row counts, that of others only if there is no such; `closings` are all as texts. A
    template may close its answers with an ordinary token: that is one which alone closes every answer and stands
    nowhere else in any. Other last tokens are words, which happen to be last where a template closes nothing, or an end
    of turn that is not learned follows.
    """
    special = {*tokenizer.all_special_ids, *tokenizer.get_added_vocab().values()}
    are_last = [not set(after.tolist()) - special or not _decode(tokenizer, after).strip() for after in following]
    any_last = any(is_last and is_closed for is_last, is_closed in zip(are_last, closed, strict=True))
    last: set[int] = set()
    for tokens, is_last, is_closed in zip(answers, are_last, closed, strict=True):
        if is_closed and (is_last or not any_last):
            shown = (int(token) for token in tokens[::-1] if token in special or _decode(tokenizer, [token]).strip())
            last.update([next(shown, int(tokens[-1]))])
    alone = [_decode(tokenizer, [token]).strip() for token in last] == list(closings) and all(closed)
    if len(last) == 1 and alone and not any(last & set(tokens[:-1].tolist()) for tokens in answers):
        special |= last
    if not all(closed):  # a model that knows its template writes the end of turn that it was not taught
        last |= {
            int(after[0]) for after, is_closed in zip(following, closed, strict=True) if len(after) and not is_closed
        }
    return sorted((last & special) | {tokenizer.eos_token_id} - {None})


def _placed(texts: Sequence[str], expected: Sequence[str], special: set[str]) -> list[tuple[int, int] | None]:
    """Where the `expected` answer stands in the text of each row's learned tokens, whatever space there is; or None.

    Of several places it is that before what closes most rows' answers: else before special tokens alone, else the last.
    """
    places = [_occurrences(text, answer) for text, answer in zip(texts, expected, strict=True)]
    closings = [[text[end:].strip() for _, end in of] for text, of in zip(texts, places, strict=True)]
    counts = Counter(closing for of in closings for closing in set(of))
    found: list[tuple[int, int] | None] = []
    for of, closed_by in zip(places, closings, strict=True):
        likely = [
            (counts[closing], _is_made_of(closing, special), place)
            for place, closing in zip(of, closed_by, strict=True)
        ]
        found.append(max(likely)[2] if likely else None)
    return found


def _is_made_of(text: str, special: set[str]) -> bool:
    """Whether `text` is special tokens, at least one, and nothing else."""
    rest = text
    for token in sorted(special, key=len, reverse=True):
        rest = rest.replace(token, "")
    return text != "" and not rest.strip()


def _occurrences(text: str, answer: str) -> list[tuple[int, int]]:
    """Where `answer` stands in `text`, space aside: (start, end) characters."""
    wanted, shown = _squeezed(answer), [at for at, character in enumerate(text) if not character.isspace()]
    squeezed, found, at = _squeezed(text), [], -1
    while wanted and (at := squeezed.find(wanted, at + 1)) >= 0:
        found.append((shown[at], shown[at + len(wanted) - 1] + 1))
    return found


def _marker(text: str, question: Question, start: int | None) -> str:
    """What a template writes right before the answer's text, after the thoughts if there are any."""
    thoughts = question.reasoning.strip()
    after = text.find(thoughts) + len(thoughts) if thoughts and thoughts in text else 0
    at = text.find(question.expected.strip()[:_TAIL], after) if start is None else start
    return text[after:at].strip() if at > after else ""


def _beginnings(tokenizer: Any, closing: str) -> list[str]:
    """What a closing of several tokens has begun with, the longest first."""
    tokens = _encode(tokenizer, closing)
    begun = (_decode(tokenizer, tokens[:end]) for end in range(len(tokens) - 1, 0, -1))
    return [text for text in begun if text.strip()]


def _special_texts(tokenizer: Any) -> set[str]:
    return {*tokenizer.all_special_tokens, *tokenizer.get_added_vocab()}


def _encode(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])


def _decode(tokenizer: Any, tokens: Sequence[int] | np.ndarray) -> str:
    text: str = tokenizer.decode(
        [int(token) for token in tokens], skip_special_tokens=False, clean_up_tokenization_spaces=False
    )
    return text


def _squeezed(text: str) -> str:
    return "".join(text.split())

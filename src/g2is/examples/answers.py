"""Find the answers of a row in its rendering.

Sentinels show where the text of each turn stands (`sentinels.py`). An answer begins where the generation prompt ends,
that is rendered with the same sentinels, so that only what follows the last turn before the answer is compared: what a
template writes or drops further up does not matter. It ends with the end of turn. Where the template marks answers
({% generation %}), the marks must hold the text found so.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, NoReturn

from g2is.errors import ModelError
from g2is.examples.conversation import SYSTEM, TOOL
from g2is.examples.end_of_turn import REMEDY, Shape, before_thinking, common
from g2is.examples.jinja import JinjaTemplate, RefusedError
from g2is.examples.messages import TOOL_CALLS, Row, function_of, functions_called
from g2is.examples.rendering import Answer, Rendering, Span
from g2is.examples.standing import Located, Standing, first_rewritten, is_thinking_alone, locate, shown


@dataclass(frozen=True)
class Finder:
    """Renders rows by a template of known shape. `eos` ends a conversation that the template leaves open, if given."""

    template: JinjaTemplate
    shape: Shape
    eos: str
    allows_dropped: bool

    def render(self, row: Row) -> Rendering:
        """Render `row`, find its answers. Raises RefusedError as the template does, ModelError where text is lost."""
        thinks = any("</think>" in turn.content or turn.reasoning for turn in row.turns if turn.role == "assistant")
        text, marked = self.template.run(row, thinks)

        def render(tagged: Row) -> str | None:
            try:
                return self.template.run(tagged, thinks)[0]
            except RefusedError:
                return None

        located = locate(row, text, render)
        if located is None:
            index = first_rewritten(row, text, render)
            _refuse(row, 0 if index is None else index, "its text to be written as it is", "it rewritten")
        dropped = _dropped(row, located)
        if dropped and not self.allows_dropped:
            name, what = dropped[0]
            raise ModelError(
                f"{name}: expected all of it in what the chat template writes, found {what} left out or rewritten;"
                f" {_way_out(name, what)}"
            )
        self._check_tools(row, text)
        answers = [
            self._answer(row, located, text, index, thinks) for index, turn in enumerate(row.turns) if turn.is_learned
        ]
        for earlier, later in pairwise(answers):
            if later.start < earlier.end:
                _refuse(row, 0, "its answers in order", "them out of order")
        if self.template.has_markers:
            self._check_marks(row, located, marked)
            answers = [self._with_marked_end(text, answer, marked) for answer in answers]
        rendering = Rendering(text, tuple(answers), tuple(f"{what} of {of}" for of, what in dropped))
        return self._closed(row, rendering)

    def _answer(self, row: Row, located: Located, text: str, index: int, thinks: bool) -> Answer:
        own = located.of_turn(index)
        if not own and row.turns[index].extra.get(TOOL_CALLS):
            _refuse_call(row, index, "it")
        if not own:
            _refuse(row, index, "its text in what the chat template writes", "none of it")
        marks = sorted(mark.at for of in own for mark in of.marks)
        start = self._start(row, located, text, index, thinks, own, marks[0])
        prefill = row.turns[index].prefill
        if prefill:
            start = _after_prefill(row, located, text, index, prefill)
        pieces_end = max(of.end for of in own if of.end is not None)
        following = next((m.at for m in located.marks if m.at > marks[-1]), len(text))
        if row.turns[index].extra.get(TOOL_CALLS):
            answer = self._end_of_calls(row, located, text, index, thinks, start, marks[-1], pieces_end, following)
            _check_calls(row, index, text[start : answer.end])
            return answer
        return self._end(text, start, pieces_end, following, index + 1 == len(row.turns))

    def _with_marked_end(self, text: str, answer: Answer, marked: Sequence[Span]) -> Answer:
        """A template that marks answers may mark special tokens as the end of a turn that are none elsewhere."""
        known = {end.strip() for end in self.shape.ends}
        for begin, end in marked:
            closing = text[answer.text_end : answer.end]
            if begin < answer.text_end <= end < answer.end and closing not in known:
                return replace(answer, end=end)  # it marks no such end: it opens a tool's result
            rest = text[answer.end : end].strip()
            if begin < answer.text_end <= end and rest and not _without(rest, self.shape.specials):
                return replace(answer, end=answer.end + len(text[answer.end : end].rstrip()))
        return answer

    def _end(self, text: str, start: int, at: int, following: int, is_last: bool) -> Answer:
        shape = self.shape
        order = (shape.after_last, shape.between) if is_last else (shape.between, shape.after_last)
        for end in order:
            mark = end.strip()
            if mark and (found := re.compile(r"\s*" + re.escape(mark)).match(text, at, following)):
                return Answer(start, found.end() - len(mark), found.end())
        return Answer(start, at, at)

    def _end_of_calls(
        self,
        row: Row,
        located: Located,
        text: str,
        index: int,
        thinks: bool,
        start: int,
        last_mark: int,
        at: int,
        following: int,
    ) -> Answer:
        """A call ends with what the template writes after it whether a turn follows or not."""
        closing = text[at:following]
        if following < len(text):
            try:
                until = self.template.run(located.sentinels.row.first(index + 1), thinks)[0]
            except RefusedError:
                until = ""
            begin = until.rfind(located.tagged[last_mark])
            closing = closing[: common(closing, until[begin + 1 + at - last_mark - 1 :])] if begin >= 0 else ""
        for mark in self.shape.ends:
            if mark.strip() in closing:
                closing = closing[: closing.index(mark.strip()) + len(mark.strip())]
        end = at + len(closing.rstrip())
        tokens = (*(mark.strip() for mark in self.shape.ends), *self.shape.specials)
        mark = next((token for token in tokens if token and text.endswith(token, at, end)), "")
        return Answer(start, end - len(mark), end)

    def _start(
        self, row: Row, located: Located, text: str, index: int, thinks: bool, own: Sequence[Standing], first: int
    ) -> int:
        """Where the answer begins: after the generation prompt, as far as the template writes it before the answer.

        Of the two that a switch of thinking gives, the longer counts: an empty thinking block is context.
        """
        header = self.shape.header
        whole, without_thinking = [], []
        for switch in (True, False) if self.template.switches_thinking else (thinks,):
            try:
                prompt = self.template.run(located.sentinels.row.first(index), switch, prompt=True)[0]
            except RefusedError:
                continue
            begin, tail = _after_last_mark(located, prompt, first)
            between = text[begin:first]
            if between.startswith(tail + header):
                whole.append(begin + len(tail + header))
            elif (opener := before_thinking(tail)) and between.startswith(opener):
                without_thinking.append(begin + len(opener))
        start = max(whole or without_thinking or [0])
        # What a prompt would write may stand further on too: a header that this turn alone has.
        earlier = max((mark.at + 1 for mark in located.marks if mark.at < first), default=0)
        own_start = min(of.start for of in own if of.start is not None)
        for opening in self.shape.prompts:
            if (at := text.rfind(opening, earlier, first)) >= 0:
                start = max(start, at + len(opening))
        return start or own_start

    def _closed(self, row: Row, rendering: Rendering) -> Rendering:
        """The rendering with EOS after its last answer, where that ends the conversation and has no end of turn."""
        if not self.eos or not rendering.answers or not row.turns[-1].is_learned:
            return rendering
        last = rendering.answers[-1]
        if last.text_end < last.end or _without(rendering.text[last.end :], self.shape.specials):
            return rendering  # what follows may be the marker of a turn that is not there
        closed = replace(last, end=last.end + len(self.eos))
        text = rendering.text[: last.end] + self.eos
        return replace(rendering, text=text, answers=(*rendering.answers[:-1], closed))

    def _check_marks(self, row: Row, located: Located, marked: Sequence[Span]) -> None:
        for index, turn in enumerate(row.turns):
            marks = [mark.at for of in located.of_turn(index) for mark in of.marks]
            if turn.prefill:
                marks = marks[-1:]
            if turn.is_learned and not all(any(a <= at < b for a, b in marked) for at in marks):
                _refuse(row, index, "its text inside the chat template's {% generation %} markers", "it outside")

    def _check_tools(self, row: Row, text: str) -> None:
        for tool in row.tools:
            name = str(function_of(tool).get("name", ""))
            if "tools" not in self.template.source or not name or name not in text:
                raise ModelError(
                    f"tools: expected a chat template that lists them, found one that leaves out"
                    f" {name or 'a tool without a name'}; leave `tools` out, or use --set examples.chat_template=FILE"
                    " with a template that knows tools (docs/templates.md)"
                )


def _without(text: str, tokens: Sequence[str]) -> str:
    return re.sub("|".join(map(re.escape, tokens)), "", text).strip() if tokens else text


def _after_last_mark(located: Located, prompt: str, first: int) -> tuple[int, str]:
    """Where the rendering goes on after its last sentinel before `first` that `prompt` has too, and how that does."""
    for mark in reversed(located.marks):
        if mark.at < first and (at := prompt.rfind(located.tagged[mark.at])) >= 0:
            return mark.at + 1, located.sentinels.untagged(prompt[at + 1 :])
    return 0, located.sentinels.untagged(prompt)


def _after_prefill(row: Row, located: Located, text: str, index: int, prefill: str) -> int:
    """Where what follows the prefill begins, white space that belongs to it included."""
    for of in located.of_turn(index):
        if of.piece.kind != "text":
            continue
        mark = next((mark for mark in of.marks if mark.offset >= len(prefill)), None)
        if mark is None:
            break
        between = of.piece.text[len(prefill) : mark.offset]
        kept = between if text.endswith(between, 0, mark.at) else between.lstrip()
        if text.endswith(kept, 0, mark.at):
            return mark.at - len(kept)
    return _refuse(row, index, "what the answer goes on with after its given beginning", "it rewritten")


def _dropped(row: Row, located: Located) -> list[tuple[str, str]]:
    """What the rendering lacks of the row: (the turn's name, what of it)."""
    lost = []
    for of in located.standing:
        if of.missing is None or is_thinking_alone(of.missing):
            continue
        kind = "" if of.piece.kind == "text" else f"{of.piece.kind} "
        lost.append((row.name(of.piece.turn), f"{kind}{shown(of.missing)}"))
    return lost


def _way_out(turn: str, what: str) -> str:
    allow = "--set examples.dropped_text=allow learns such rows as the template has them, and counts them"
    if f"({SYSTEM})" in turn:
        return f"--set examples.system=merge puts a system text in front of the next user turn; {allow}"
    if f"({TOOL})" in turn or what.startswith("tool call"):
        return f"use --set examples.chat_template=FILE with a template that knows tools (docs/templates.md); {allow}"
    return (
        f"{allow}; or use --set examples.chat_template=FILE with a template that keeps it (docs/templates.md), or --set"
        " examples.template=plain"
    )


def _check_calls(row: Row, index: int, answer: str) -> None:
    """Names and values of a turn's tool calls must be in what is learned of it, as JSON and not as Python writes it."""
    for function in functions_called(row.turns[index]):
        arguments = function.get("arguments")
        in_python = str(dict(arguments)) if isinstance(arguments, Mapping) and arguments else ""
        if in_python and in_python in answer and in_python != json.dumps(arguments, ensure_ascii=False):
            _refuse_call(row, index, "its arguments, which it writes in Python's form")
        for value in (function.get("name"), *_leaves(arguments)):
            if not any(form in answer for form in _written(value)):
                _refuse_call(row, index, f"{value!r}")


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        return [leaf for key, item in value.items() for leaf in (str(key), *_leaves(item))]
    if isinstance(value, list | tuple):
        return [leaf for item in value for leaf in _leaves(item)]
    return [value]


def _written(value: Any) -> tuple[str, ...]:
    as_json = json.dumps(value, ensure_ascii=False)
    if isinstance(value, str):
        return (value, as_json[1:-1], value.strip())
    return (str(value), as_json)


def _refuse_call(row: Row, index: int, what: str) -> NoReturn:
    raise ModelError(
        f"{row.name(index)}: expected its tool call in what the chat template writes, found one that leaves out {what};"
        " use --set examples.chat_template=FILE with a template that knows tool calls (docs/templates.md)"
    )


def _refuse(row: Row, index: int, expected: str, found: str) -> NoReturn:
    raise ModelError(
        f"{row.name(index)}: expected {expected}, found {found}: the chat template rewrites or leaves out turns;"
        f" {REMEDY}"
    )

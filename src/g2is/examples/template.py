"""Turn a conversation into text, and know which characters of it are answers.

A chat model's own template writes the text. Where it marks answers ({% generation %}), the marks are used; where it
does not, the conversation is also rendered up to each answer, and an answer is what follows such a rendering, if that
is found, character for character, at the start of the whole. A base model gets `plain_segments`.

An answer includes the end-of-turn text (`<|im_end|>`, `</s>` …), which a tuned model must learn to write, but not the
line break after it. What ends a turn is learned from a conversation of ours, rendered once.
"""

import datetime
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from g2is.errors import ModelError
from g2is.examples.conversation import Conversation, Turn

Span = tuple[int, int]

_REMEDY = "use --set examples.template=plain, or a template with {% generation %} markers"
_MARKER = re.compile(r"\{%[-+]?\s*generation\s*[-+]?%\}")
_PROBE = (Turn("user", "g2is-question"), Turn("assistant", "g2is-answer"))
_CHECKED_CHARACTERS = 32

# transformers gives templates a `strftime_now` that reads the clock, and turns a function passed in its place into a
# string; a macro of the template itself comes before both.
_FIXED_STRFTIME = (
    "{% macro strftime_now(format) %}{% set fixed = namespace(text=format) %}"
    "{% for directive, value in g2is_date.items() %}{% set fixed.text = fixed.text.replace(directive, value) %}"
    "{% endfor %}{{ fixed.text }}{% endmacro %}\n"
)
_DIRECTIVES = "aAbBcCdDeFgGhHIjklmMnpPrRStTuUVwWxXyYzZ"


@dataclass(frozen=True)
class Answer:
    """An answer in a rendering: characters from `start` to `text_end`, its end of turn from there to `end`."""

    start: int
    text_end: int
    end: int


@dataclass(frozen=True)
class Rendering:
    """A whole conversation as text, and its answers in order."""

    text: str
    answers: tuple[Answer, ...]


class ChatTemplate:
    """A tokenizer's own chat template, with the date fixed and the answers found.

    A template that reads the date gets `date`. One with an `enable_thinking` switch gets it off for conversations
    whose answers hold no thinking, so that the empty thinking block is context and not answer.
    """

    def __init__(self, tokenizer: Any, date: str) -> None:
        try:
            self.source: str = tokenizer.get_chat_template()
        except ValueError as error:
            raise ModelError(f"expected one default chat template, found: {error}; {_REMEDY}") from None
        self.reads_date = "strftime_now" in self.source or "date_string" in self.source
        self._variables = {**tokenizer.special_tokens_map, **(_date_variables(date) if self.reads_date else {})}
        self._compiled_source = (_FIXED_STRFTIME if "strftime_now" in self.source else "") + self.source
        self._has_markers = _MARKER.search(self.source) is not None
        self._switches_thinking = "enable_thinking" in self.source
        self._header, self._end_of_turn, self._tail = self._probe(tokenizer)
        # A template whose answers cannot be found, or are not all that it marks, fails here and not for every row.
        rendering = self.render(Conversation(_PROBE))
        if any(_PROBE[0].content in rendering.text[of.start : of.end] for of in rendering.answers):
            raise ModelError(f"expected only assistant turns to be answers, found the user's marked too; {_REMEDY}")

    def render(self, conversation: Conversation) -> Rendering:
        """Render the conversation and find its answers.

        Raises ModelError if the template refuses the conversation, or rewrites it so that an answer cannot be found.
        """
        messages = conversation.turns
        thinks = any("</think>" in turn.content for turn in messages if turn.role == "assistant")
        text, marked = self._run(messages, thinks=thinks)
        if self._has_markers:
            return Rendering(text, self._split(text, self._marked_answers(text, marked, messages)))
        answers: list[Span] = []
        for index, turn in enumerate(messages):
            if turn.role != "assistant":
                continue
            span = self._answer(text, messages, index, thinks)
            if span is None or (answers and span[0] < answers[-1][1]):
                _refuse_turn(index, "the conversation up to it to be rendered as the beginning of the whole one")
            answers.append(span)
        return Rendering(text, self._split(text, answers))

    def _split(self, text: str, spans: Sequence[Span]) -> tuple[Answer, ...]:
        mark = self._end_of_turn.strip()
        ends = [end - len(mark) if text[start:end].endswith(mark) else end for start, end in spans]
        return tuple(Answer(start, text_end, end) for (start, end), text_end in zip(spans, ends, strict=True))

    def _answer(self, text: str, messages: Sequence[Turn], index: int, thinks: bool) -> Span | None:
        """Return where turn `index` stands in the whole conversation's `text`, or None if that cannot be verified."""
        for switch in (thinks, not thinks) if self._switches_thinking else (thinks,):
            prompt, _ = self._run(messages[:index], add_generation_prompt=True, thinks=switch)
            if text.startswith(prompt + self._header):
                start = len(prompt) + len(self._header)
                break
        else:
            return None
        end = self._written_end(text, start, messages[index].content)
        if end is None:
            end = self._rendered_end(text, messages, index, thinks)
        return (start, end) if end is not None and end > start else None

    def _written_end(self, text: str, start: int, content: str) -> int | None:
        """Return the end of an answer that stands at `start` as it was given, and is followed by the end of turn."""
        start = _skip_space(text, start)
        content = content.strip()
        if not text.startswith(content, start):
            return None
        end = start + len(content)
        mark = self._end_of_turn.strip()
        if not mark:
            return end
        at = _skip_space(text, end)
        return at + len(mark) if text.startswith(mark, at) else None

    def _rendered_end(self, text: str, messages: Sequence[Turn], index: int, thinks: bool) -> int | None:
        """Return where the conversation up to and with turn `index` ends, if `text` begins with it."""
        until, _ = self._run(messages[: index + 1], thinks=thinks)
        if self._tail and until.endswith(self._tail):
            until = until.removesuffix(self._tail) + self._end_of_turn
        until = until.rstrip()
        return len(until) if text.startswith(until) else None

    def _marked_answers(self, text: str, marked: Sequence[Span], messages: Sequence[Turn]) -> tuple[Span, ...]:
        spans = [span for span in marked if span[0] < span[1]]
        # Marks inside a macro are counted from the wrong place, and some templates mark only the last turn.
        following = iter(spans)
        for index, turn in enumerate(messages):
            ending = turn.content.strip()[-_CHECKED_CHARACTERS:]
            if turn.role == "assistant" and not any(ending in text[slice(*span)] for span in following):
                _refuse_turn(index, "its text inside the chat template's {% generation %} markers")
        mark = self._end_of_turn.strip()
        if not mark:
            return tuple(spans)
        answers = []
        for start, end in spans:
            at = _skip_space(text, end)
            missing = not text[start:end].rstrip().endswith(mark) and text.startswith(mark, at)
            answers.append((start, at + len(mark) if missing else end))
        return tuple(answers)

    def _probe(self, tokenizer: Any) -> tuple[str, str, str]:
        """Return the header before an answer (if no generation prompt writes it), its end of turn, and all after it."""
        answer = _PROBE[1].content
        text, _ = self._run(_PROBE)
        at = text.rfind(answer)
        if at < 0:
            raise ModelError(f"expected the chat template to write an assistant turn, found none; {_REMEDY}")
        tail = text[at + len(answer) :]
        prompt, _ = self._run(_PROBE[:1], add_generation_prompt=True)
        without, _ = self._run(_PROBE[:1])
        is_header = prompt == without and text.startswith(prompt)
        return text[len(prompt) : at] if is_header else "", _end_of_turn(tail, tokenizer), tail

    def _run(
        self, messages: Sequence[Turn], add_generation_prompt: bool = False, thinks: bool = False
    ) -> tuple[str, list[Span]]:
        # What `tokenizer.apply_chat_template` calls; it keeps the marked characters to itself.
        from transformers.utils.chat_template_utils import render_jinja_template

        variables: dict[str, Any] = dict(self._variables)
        if self._switches_thinking:
            variables["enable_thinking"] = thinks
        conversation = [{"role": turn.role, "content": turn.content} for turn in messages]
        try:
            texts, marked = render_jinja_template(
                conversations=[conversation],
                chat_template=self._compiled_source,
                return_assistant_tokens_mask=self._has_markers,
                add_generation_prompt=add_generation_prompt,
                **variables,
            )
        except Exception as error:  # a template is foreign code and may raise anything
            roles = ", ".join(turn.role for turn in messages) or "none"
            raise ModelError(
                f"expected turns that the model's chat template takes, found {roles}, which it refuses: {error}; "
                "change the turns (a system text can go into the user's), or use --set examples.template=plain"
            ) from None
        return texts[0], marked[0] if marked else []


def plain_segments(turns: Sequence[Turn]) -> list[tuple[str, bool]]:
    r"""Return the plain template's segments (text, is an answer), contexts and answers in turn.

    The format is LESS's and Tulu's, `<|user|>\n…\n<|assistant|>\n` and the answer as it was given, each answer closed
    by the tokenizer's EOS. Segments are tokenised one by one, so that no token spans a boundary, and a prompt has the
    same tokens whether its answer follows or is still to be generated.
    """
    segments: list[tuple[str, bool]] = []
    context = ""
    for turn in turns:
        if turn.role == "assistant":
            segments += [(f"{context}<|assistant|>\n", False), (turn.content, True)]
            context = "\n"
        else:
            context += f"<|{turn.role}|>\n{turn.content}\n"
    return segments


def _refuse_turn(index: int, expected: str) -> NoReturn:
    raise ModelError(
        f"turn {index + 1} (assistant): expected {expected}, found otherwise: the chat template rewrites or leaves out "
        f"turns; {_REMEDY}"
    )


def _end_of_turn(tail: str, tokenizer: Any) -> str:
    """Return what ends a turn, of the text after its answer: up to the first added token, else all but final space."""
    tokens = [re.escape(token) for token in sorted(tokenizer.get_added_vocab(), key=len, reverse=True)]
    found = re.match(rf"\s*(?:{'|'.join(tokens)})", tail) if tokens else None
    return found.group() if found else tail.rstrip()


def _date_variables(date: str) -> dict[str, Any]:
    day = datetime.datetime.fromisoformat(date)
    formats = [f"%{flag}{letter}" for letter in _DIRECTIVES for flag in ("-", "")]
    return {
        "date_string": day.strftime("%d %b %Y"),  # the form Llama 3's templates have it in
        "g2is_date": {**{text: day.strftime(text) for text in formats}, "%%": "%"},
    }


def _skip_space(text: str, at: int) -> int:
    while at < len(text) and text[at].isspace():
        at += 1
    return at

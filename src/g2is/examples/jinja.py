"""A chat template at work: foreign code, run in transformers' sandbox and within bounds, with the date fixed."""

import datetime
import re
from typing import Any

from g2is.errors import InputError, first_line, pass_on_too_little_memory
from g2is.examples.bounds import LimitError
from g2is.examples.messages import Row, as_messages
from g2is.examples.rendering import Span

_MARKER = re.compile(r"\{%[-+]?\s*generation\s*[-+]?%\}")

# transformers gives templates a `strftime_now` that reads the clock, and turns a function passed in its place into a
# string; a macro of the template itself comes before both.
_FIXED_STRFTIME = (
    "{% macro strftime_now(format) %}{% set fixed = namespace(text=format) %}"
    "{% for directive, value in g2is_date.items() %}{% set fixed.text = fixed.text.replace(directive, value) %}"
    "{% endfor %}{{ fixed.text }}{% endmacro %}\n"
)
_DIRECTIVES = "aAbBcCdDeFgGhHIjklmMnpPrRStTuUVwWxXyYzZ"


def reads_date(source: str) -> bool:
    """Whether a template writes the date."""
    return "strftime_now" in source or "date_string" in source


def has_markers(source: str) -> bool:
    """Whether a template marks answers with {% generation %}."""
    return _MARKER.search(source) is not None


class RefusedError(Exception):
    """The template raised something; the message is what it said."""


class TemplateLimitError(InputError):
    """The template takes more time or room than a rendering may; whoever knows its name and the row adds them."""


class JinjaTemplate:
    """The template `source` with a tokenizer's special tokens; one that reads the date gets `date`.

    `in_parts`: the template reads a text as a list of {type, text}, as those of models that also see do.
    """

    def __init__(self, source: str, tokenizer: Any, date: str) -> None:
        self.source = source
        self.reads_date = reads_date(source)
        self.has_markers = has_markers(source)
        self.switches_thinking = "enable_thinking" in source
        self.in_parts = False
        self._variables = {**tokenizer.special_tokens_map, **(_date_variables(date) if self.reads_date else {})}
        self._compiled_source = (_FIXED_STRFTIME if "strftime_now" in source else "") + source

    def run(self, row: Row, thinks: bool, prompt: bool = False) -> tuple[str, list[Span]]:
        """The row as text and the characters that {% generation %} marks; `prompt`: up to where an answer begins.

        Raises RefusedError if the template cannot, TemplateLimitError if it would hardly end.
        """
        from g2is.examples.bounded_jinja import render_bounded  # transformers takes seconds

        variables: dict[str, Any] = dict(self._variables)
        if self.switches_thinking:
            variables["enable_thinking"] = thinks
        messages, tools = as_messages(row, self.in_parts), [dict(tool) for tool in row.tools]
        try:
            # What `tokenizer.apply_chat_template` calls; it keeps the marked characters to itself.
            texts, marked = render_bounded(
                conversations=[messages],
                tools=tools or None,
                chat_template=self._compiled_source,
                return_assistant_tokens_mask=self.has_markers,
                add_generation_prompt=prompt,
                **variables,
            )
        except LimitError as error:
            raise TemplateLimitError(
                f"expected a chat template that writes a row in some steps, found one that {error}. Use another with"
                " --set examples.chat_template=FILE, or --set examples.template=plain"
            ) from None
        except Exception as error:  # a template is foreign code and may raise anything
            pass_on_too_little_memory(error)
            raise RefusedError(first_line(error)) from None
        return texts[0], marked[0] if marked else []


def _date_variables(date: str) -> dict[str, Any]:
    day = datetime.datetime.fromisoformat(date)
    formats = [f"%{flag}{letter}" for letter in _DIRECTIVES for flag in ("-", "")]
    return {
        "date_string": day.strftime("%d %b %Y"),  # the form Llama 3's templates have it in
        "g2is_date": {**{text: day.strftime(text) for text in formats}, "%%": "%"},
    }

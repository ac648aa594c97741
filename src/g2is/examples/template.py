"""Turn a conversation into text, and know which characters of it are answers.

A chat model's own template writes the text (`jinja.py`), and what stands where in it is found by sentinels
(`answers.py`), whatever the template does with earlier turns. A base model gets `plain_segments`.

An answer includes the end-of-turn text (`<|im_end|>`, `</s>` …), which a tuned model must learn to write, but not the
line break after it. What ends a turn is learned from conversations of ours, rendered once (`end_of_turn.py`).
"""

from collections.abc import Sequence
from typing import Any, Literal

from g2is.errors import ModelError
from g2is.examples.answers import Finder
from g2is.examples.conversation import ASSISTANT, SYSTEM, TOOL, Conversation, Turn
from g2is.examples.end_of_turn import PROBE, REMEDY, probe
from g2is.examples.jinja import JinjaTemplate, RefusedError
from g2is.examples.messages import TOOL_CALLS, Row, forms, merged_systems, reasoning_apart
from g2is.examples.refusals import explain
from g2is.examples.rendering import Answer as Answer
from g2is.examples.rendering import Rendering as Rendering


class _TemplateRefusesError(ModelError):
    """The template takes no such row."""


class ChatTemplate:
    """A chat template, a tokenizer's own unless `source` is given, with the date fixed and the answers found.

    A template that reads the date gets `date`. One with an `enable_thinking` switch gets it off for conversations
    whose answers hold no thinking, so that the empty thinking block is context and not answer. `system`: merge puts
    system texts in front of the next user turn. `dropped_text`: allow renders rows of which the template leaves out
    something. `append_eos`: an end of turn is added after the last answer where the template writes none.
    `notices` is what the user should know of the template.
    """

    def __init__(
        self,
        tokenizer: Any,
        date: str,
        *,
        source: str | None = None,
        system: Literal["keep", "merge"] = "keep",
        dropped_text: Literal["refuse", "allow"] = "refuse",
        append_eos: bool = True,
    ) -> None:
        try:
            self.source: str = tokenizer.get_chat_template() if source is None else source
        except ValueError as error:
            raise ModelError(f"expected one default chat template, found: {error}; {REMEDY}") from None
        self._template = JinjaTemplate(self.source, tokenizer, date)
        self.reads_date = self._template.reads_date
        self._system = system
        shape = probe(self._template, tokenizer)
        eos = ""
        if append_eos and not shape.after_last:
            eos = shape.between.strip() or tokenizer.eos_token or ""
        self._finder = Finder(self._template, shape, eos, dropped_text == "allow")
        notices = []
        if eos:
            notices.append(
                f"the chat template writes no end of turn after a conversation's last answer: {eos} is added there, so"
                " that the model learns to stop (examples.append_eos=false leaves it out)"
            )
        if shape.opens_thinking.strip():
            notices.append(
                f"the generation prompt ends with {shape.opens_thinking!r}, which the chat template does not write"
                " before an answer without reasoning: such answers are learned without it"
            )
        self.notices = tuple(notices)
        # A template whose answers cannot be found, or are not all that it marks, fails here and not for every row.
        self._check(Row.of(PROBE))

    def render(self, conversation: Conversation) -> Rendering:
        """Render the conversation and find its answers.

        Raises ModelError if the template refuses the conversation, drops some of it, or rewrites it so that an answer
        cannot be found.
        """
        row = merged_systems(Row.of(conversation)) if self._system == "merge" else Row.of(conversation)
        if self._finder.shape.doubles_thinking:
            row = reasoning_apart(row)
        problems: list[ModelError] = []
        for form in forms(row):
            try:
                return self._render(form)
            except ModelError as error:
                problems.append(error)
        # What a template leaves out says more than that it refuses another form.
        raise next((error for error in problems if not isinstance(error, _TemplateRefusesError)), problems[0])

    def _render(self, row: Row) -> Rendering:
        try:
            return self._finder.render(row)
        except RefusedError as error:
            # An empty system turn says that there is none, which some templates do not take.
            given = row.without(lambda turn: turn.role == SYSTEM and not turn.content.strip())
            if len(given.turns) < len(row.turns):
                return self._render(given)
            raise _TemplateRefusesError(explain(row, str(error), self._takes)) from None

    def _takes(self, row: Row) -> bool:
        try:
            self._template.run(row, thinks=False)
        except RefusedError:
            return False
        return True

    def _check(self, row: Row) -> None:
        self._finder.render(row)
        text, marked = self._template.run(row, thinks=False)
        question = PROBE.turns[0].content
        if any(question in text[start:end] for start, end in marked):
            raise ModelError(f"expected only assistant turns to be answers, found the user's marked too; {REMEDY}")


def plain_segments(turns: Sequence[Turn], eos: str) -> list[tuple[str, bool]]:
    r"""Return the plain template's segments (text, is an answer), contexts and answers in turn.

    The format is LESS's and Tulu's, `<|user|>\n…\n<|assistant|>\n` and the answer as it was given, each answer closed
    by the tokenizer's EOS. Segments are tokenised one by one, so that no token spans a boundary, and a prompt has the
    same tokens whether its answer follows or is still to be generated. An answer that is context only is closed with
    the text `eos`.
    """
    segments: list[tuple[str, bool]] = []
    context = ""
    for turn in turns:
        if turn.is_learned:
            given = f"{context}<|assistant|>\n{turn.prefill}"
            segments += [(given, False), (turn.content.removeprefix(turn.prefill), True)]
            context = "\n"
        elif turn.role == ASSISTANT:
            context += f"<|assistant|>\n{turn.content}{eos}\n"
        else:
            context += f"<|{turn.role}|>\n{turn.content}\n"
    return segments


def plain_turns(conversation: Conversation, system: Literal["keep", "merge"]) -> tuple[Turn, ...] | ModelError:
    """The turns for `plain_segments`, or what the plain template has no place for; `system` as in ChatTemplate."""
    try:
        check_plain(conversation)
    except ModelError as problem:
        return problem
    return merged_systems(Row.of(conversation)).turns if system == "merge" else conversation.turns


def check_plain(conversation: Conversation) -> None:
    """Raise ModelError for what the plain template has no place for: tools, calls and results, reasoning apart."""
    way_out = "use a model with a chat template that takes it, or --set examples.chat_template=FILE, or leave it out"
    if conversation.tools:
        raise ModelError(f"tools: the plain template has no place for them; {way_out}")
    for index, turn in enumerate(conversation.turns):
        what = {
            "a tool result": turn.role == TOOL,
            "tool calls": bool(turn.extra.get(TOOL_CALLS)),
            "reasoning apart from the answer": bool(turn.reasoning),
        }
        for name, is_there in what.items():
            if is_there:
                raise ModelError(
                    f"turn {index + 1} ({turn.role}): the plain template has no place for {name}; {way_out}"
                )

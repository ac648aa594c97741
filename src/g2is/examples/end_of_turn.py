"""What a chat template writes before and after an answer, learned from conversations of ours, rendered once."""

import re
from dataclasses import dataclass
from typing import Any

from g2is.errors import ModelError
from g2is.examples.conversation import Conversation, Turn
from g2is.examples.jinja import JinjaTemplate, RefusedError
from g2is.examples.marked_places import THINKING_TAG
from g2is.examples.messages import Row

REMEDY = (
    "use --set examples.template=plain, or --set examples.chat_template=FILE with a template with {% generation %}"
    " markers (docs/templates.md)"
)
_TURNS = (
    Turn("user", "g2is-question"),
    Turn("assistant", "g2is-answer"),
    Turn("user", "g2is-next-question"),
    Turn("assistant", "g2is-last-answer"),
)
PROBE = Conversation(_TURNS[:2])
_TAG_OR_WORD = re.compile(r"<[^<>\n]*>|\[/?\w+\]|\w+|\s+|.", re.DOTALL)


@dataclass(frozen=True)
class Shape:
    """How a template shapes a turn of the assistant.

    `header` stands before an answer where no generation prompt writes it, `prompts` is what one writes, with thinking
    on, off, and without what it opens. `after_last` ends the conversation's last
    answer, `between` an earlier one; both may be empty. `opens_thinking` is what a generation prompt has that is not
    written before an answer without reasoning. `doubles_thinking`: it writes a thinking block before an answer that
    has one of its own, and takes it apart only where reasoning is given apart. `specials` are the tokenizer's special
    tokens.
    """

    header: str
    prompts: tuple[str, ...]
    after_last: str
    between: str
    opens_thinking: str
    doubles_thinking: bool
    specials: tuple[str, ...]

    @property
    def ends(self) -> tuple[str, ...]:
        """The ends of turn there are."""
        return tuple(end for end in dict.fromkeys((self.after_last, self.between)) if end)


def probe(template: JinjaTemplate, tokenizer: Any) -> Shape:
    """Learn the shape. Raises ModelError if the template writes no assistant turns, or refuses every conversation."""
    try:
        _find_form(template)
        one, last = (Row.of(Conversation(_TURNS[:num])) for num in (2, 4))
        text = template.run(one, thinks=False)[0]
        prompt = template.run(one.first(1), thinks=False, prompt=True)[0]
        without = template.run(one.first(1), thinks=False)[0]
    except RefusedError as error:
        raise ModelError(
            "expected a chat template that takes a question and its answer, found user, assistant, which it refuses:"
            f" {error}; {REMEDY}"
        ) from None
    try:
        longer: str | None = template.run(last, thinks=False)[0]
    except RefusedError:
        longer = None  # a template of single questions
    answer_at = text.rfind(_TURNS[1].content)
    tail = text[answer_at + len(_TURNS[1].content) :]
    before = text[: text.find(_TURNS[0].content)]
    asked = text[text.find(_TURNS[0].content) + len(_TURNS[0].content) : answer_at]
    gap = None
    if longer is not None and all(turn.content in longer for turn in _TURNS):
        begin = longer.find(_TURNS[1].content) + len(_TURNS[1].content)
        gap = longer[begin : longer.find(_TURNS[2].content)]
    added = tuple(sorted(tokenizer.get_added_vocab(), key=len, reverse=True))
    run = re.compile(rf"\s*(?:{'|'.join(map(re.escape, added))})+") if added else None
    eos: str = tokenizer.eos_token or ""
    after_last = _after_last(tail, gap, before, asked, run, eos)
    is_header = prompt == without and text.startswith(prompt)
    opening = prompt.removeprefix(without) if prompt.startswith(without) else ""
    rest = "" if text.startswith(prompt) or not opening else opening[common(text[len(without) :], opening) :]
    return Shape(
        header=text[len(prompt) : answer_at] if is_header else "",
        prompts=_prompts(template, one),
        after_last=after_last,
        between=_between(gap, after_last, before, asked, opening, run, eos),
        opens_thinking=rest,
        doubles_thinking=_doubles_thinking(template),
        specials=tuple(str(t) for t in tokenizer.added_tokens_decoder.values() if t.special),
    )


def before_thinking(prompt: str) -> str:
    """A generation prompt without the thinking that it opens, empty if it opens none."""
    tags = list(THINKING_TAG.finditer(prompt))
    if not tags or THINKING_TAG.sub("", prompt[tags[-1].start() :]).strip():
        return ""
    at = tags[-1].start()
    if len(tags) > 1 and not prompt[tags[-2].end() : at].strip():
        at = tags[-2].start()
    return prompt[:at]


def _prompts(template: JinjaTemplate, one: Row) -> tuple[str, ...]:
    found = []
    for thinks in (True, False):
        without = template.run(one.first(1), thinks)[0]
        whole = template.run(one.first(1), thinks, prompt=True)[0]
        opening = whole.removeprefix(without) if whole.startswith(without) else ""
        found += [opening, before_thinking(opening)]
    return tuple(dict.fromkeys(opening for opening in found if opening.strip()))


def _doubles_thinking(template: JinjaTemplate) -> bool:
    inline = Conversation((_TURNS[0], Turn("assistant", "<think>\ng2is-thought\n</think>\n\ng2is-answer")))
    try:
        text = template.run(Row.of(inline), thinks=True)[0]
    except RefusedError:
        return False
    after = text[text.find(_TURNS[0].content) :]
    return after.count("</think>") == 2 and "g2is-thought" in after and "reasoning_content" in template.source


def common(left: str, right: str) -> int:
    """How many characters both begin with, without half a word or tag of either."""
    num = 0
    while num < min(len(left), len(right)) and left[num] == right[num]:
        num += 1
    return max(end for end in (_bounds(left) & _bounds(right)) | {0} if end <= num)


def _bounds(text: str) -> set[int]:
    return {found.end() for found in _TAG_OR_WORD.finditer(text)}


def _find_form(template: JinjaTemplate) -> None:
    """Models that also see may have templates that read a text as a list of parts: set `in_parts` where that serves."""
    row = Row.of(PROBE)
    refused = None
    for in_parts in (False, True):
        template.in_parts = in_parts
        try:
            text = template.run(row, thinks=False)[0]
        except RefusedError as error:
            refused = refused or error
            continue
        if all(turn.content in text for turn in PROBE.turns):
            return
    template.in_parts = False
    if refused is not None:
        raise refused
    raise ModelError(f"expected the chat template to write a user's and an assistant's turn, found otherwise; {REMEDY}")


def _after_last(tail: str, gap: str | None, before: str, asked: str, run: re.Pattern[str] | None, eos: str) -> str:
    """What ends the last turn: the added tokens right after it, or else all that is written there but final space."""
    found = run.match(tail) if run else None
    if found is None:
        return tail.rstrip() if gap is None else _shared(tail, gap).rstrip()
    end = found.group()
    if eos and eos in end:
        end = end[: end.index(eos) + len(eos)]
    elif gap is not None and gap.startswith(end) and _is_users_header(end, gap, before, asked):
        return ""
    return end


def _shared(tail: str, gap: str) -> str:
    # text that only ends the conversation is learned as what ends a turn too, if nothing else is
    num = 0
    while num < min(len(tail), len(gap)) and tail[num] == gap[num]:
        num += 1
    return tail[:num] if tail[:num].strip() else tail


def _is_users_header(end: str, gap: str, before: str, asked: str) -> bool:
    """Whether `end` is what opens the next user's turn, as it opened the first: not so if it closes the user's too."""
    header = _common_suffix(gap, before).lstrip()
    return bool(header) and header.startswith(end.strip()) and not asked.lstrip().startswith(end.strip())


def _between(
    gap: str | None, after_last: str, before: str, asked: str, opening: str, run: re.Pattern[str] | None, eos: str
) -> str:
    """What ends an answer that a user's turn follows."""
    if gap is None or not gap.strip():
        return ""
    if after_last and gap.startswith(after_last):
        return after_last
    found = run.match(gap) if run else None
    if found is None:
        return ""
    tokens = found.group()
    if eos and eos in tokens:
        return tokens[: tokens.index(eos) + len(eos)]
    header = _common_suffix(gap, before)
    if len(header) < len(gap):
        return tokens[: len(gap) - len(header)].rstrip()
    # The same stands before the first user's turn: the end of a system turn and a header, or a header alone.
    shared = common(gap, asked)
    opener = re.match(r"\s*(<[^<>\n]*>|\[\w+\])", opening)
    cut = tokens.find(opener.group(1)) if opener else -1
    return tokens[: min(shared, cut if cut >= 0 else shared)].rstrip()


def _common_suffix(left: str, right: str) -> str:
    num = 0
    while num < min(len(left), len(right)) and left[-1 - num] == right[-1 - num]:
        num += 1
    suffix = left[len(left) - num :]
    while suffix and len(left) > len(suffix) and _is_inside_tag(left, len(left) - len(suffix)):
        suffix = suffix[1:]
    return suffix


def _is_inside_tag(text: str, at: int) -> bool:
    return any(tag.start() < at < tag.end() for tag in re.finditer(r"<[^<>\n]*>|\[/?\w+\]", text))

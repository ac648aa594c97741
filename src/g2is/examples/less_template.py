r"""LESS's own encoding of a conversation, token for token (`encode_with_messages_format`; method.md lists the rest).

Unlike our plain template, the whole conversation is tokenised as one text, texts are stripped, and answers end with EOS
and a line break that is learned too. Where an answer begins and ends is told by how many tokens the text before it has.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from g2is.examples.conversation import ASSISTANT, Turn

_HEADER = "<|assistant|>\n"


@dataclass(frozen=True)
class LessText:
    """A conversation as one text, and its answers: each learned from the end of one beginning of it to that of another.

    `answers` are (text before, text up to the end); as many tokens as the first alone has are not learned.
    """

    text: str
    answers: tuple[tuple[str, str], ...]


def less_text(turns: Sequence[Turn], eos: str, learns_end_of_turn: bool) -> LessText:
    """The text of `turns`, whose roles are system, user or assistant.

    As in LESS, what is not learned are the turns of others, with the header of the answer that follows: an answer that
    follows another one, or opens the conversation, is learned with its header.
    """
    begins = [""]
    for turn in turns:
        end = f"{eos}\n" if turn.role == ASSISTANT else "\n"
        begins.append(f"{begins[-1]}<|{turn.role}|>\n{turn.content.strip()}{end}")
    answers = []
    for index, turn in enumerate(turns):
        if not turn.is_learned:
            continue
        follows_context = index > 0 and not turns[index - 1].is_learned
        before, after = begins[index], begins[index + 1]
        if follows_context or turn.prefill:
            before += _HEADER + turn.prefill.lstrip()
        answers.append((before, after if learns_end_of_turn else after.removesuffix(f"{eos}\n")))
    return LessText(begins[-1], tuple(answers))

"""Write docs/templates.md's table: what becomes of each kind of row under every chat template at hand.

    python scripts/template_table.py            write the table between the marks of docs/templates.md
    python scripts/template_table.py TEMPLATE   print what is learned of each row under one of them

Templates: those that TRL and transformers carry, and small ones of ours in tests/data/templates. Their models'
tokenizers are not here, so each gets a tokenizer of bytes with the special tokens that the template names.
"""

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import transformers
import trl
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from g2is.errors import G2isError
from g2is.examples.conversation import Conversation, Turn
from g2is.examples.rendering import Rendering
from g2is.examples.template import ChatTemplate

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "templates.md"
OURS = ROOT / "tests" / "data" / "templates"
BEGIN, END = "<!-- made by scripts/template_table.py -->", "<!-- end of the table -->"
_HOLDING = ("models/smolvlm/processing_smolvlm.py", "models/llama4/processing_llama4.py")
_AUDIO = "models/qwen2_audio/processing_qwen2_audio.py"
_SPECIAL = re.compile(
    r"<[|｜][^<>\s'\"{}]*?[|｜]>|<\|[a-z_\"]+>|<[a-z_]+\|>|</?s>|<(?:start|end)_of_turn>|<end_of_utterance>|<sop>"
    r"|\[/?(?:INST|SYSTEM_PROMPT|TOOL_CALLS|AVAILABLE_TOOLS|TOOL_RESULTS|gMASK)\]"
)
_EOS = (
    *("<｜end▁of▁sentence｜>", "<|END_OF_TURN_TOKEN|>", "<|im_end|>", "<|return|>", "<|eot_id|>", "<|eot|>", "<|end|>"),
    *("<turn|>", "<end_of_turn>", "<end_of_utterance>"),
)

_TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a place.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "description": "The place."}},
            "required": ["city"],
        },
    },
}
_CALL = {"tool_calls": [{"type": "function", "function": {"name": "get_weather", "arguments": {"city": "Paris"}}}]}
_QUESTION, _ANSWER = Turn("user", "2+2?"), Turn("assistant", "Four")
_ASKED, _CALLS = Turn("user", "How is it there?"), Turn("assistant", "", extra=_CALL)
_THOUGHT = Turn("assistant", "<think>\nadd them up\n</think>\n\nFour")
_LATER = (Turn("user", "And 3+3?"), Turn("assistant", "Six"))
ROWS = {
    "one turn": Conversation((_QUESTION, _ANSWER)),
    "several turns": Conversation((Turn("user", "Hello"), Turn("assistant", "Hi"), _QUESTION, _ANSWER)),
    "system": Conversation((Turn("system", "Be kind."), _QUESTION, _ANSWER)),
    "empty system": Conversation((Turn("system", ""), _QUESTION, _ANSWER)),
    "thinking in the last answer": Conversation((_QUESTION, _THOUGHT)),
    "thinking in an earlier answer": Conversation((_QUESTION, _THOUGHT, *_LATER)),
    "reasoning apart": Conversation((_QUESTION, Turn("assistant", "Four", reasoning="add them up"))),
    "tools": Conversation((_QUESTION, _ANSWER), (_TOOL,)),
    "tool call, result, answer": Conversation(
        (_ASKED, _CALLS, Turn("tool", "Sunny, 20.", extra={"name": "get_weather"}), Turn("assistant", "It is sunny.")),
        (_TOOL,),
    ),
    "assistant first": Conversation((Turn("assistant", "Welcome!"), _QUESTION, _ANSWER)),
    "two users in a row": Conversation((Turn("user", "Hello"), _QUESTION, _ANSWER)),
    "given beginning": Conversation((_QUESTION, Turn("assistant", "It is four.", prefill="It is"))),
    "context only": Conversation(
        (Turn("user", "Hello"), Turn("assistant", "Hi", context_only=True), _QUESTION, _ANSWER)
    ),
}

Kind = Literal["right", "merge", "allow", "refused"]
SIGNS: dict[Kind, str] = {"right": "✓", "merge": "m", "allow": "a", "refused": "r"}


@dataclass(frozen=True)
class Cell:
    """What becomes of a row: learned as it is, by a setting, or refused with `message`."""

    kind: Kind
    rendering: Rendering | None
    message: str

    @property
    def learned(self) -> list[str]:
        """The text of each answer, with its end of turn."""
        assert self.rendering is not None
        return [self.rendering.text[answer.start : answer.end] for answer in self.rendering.answers]


def templates() -> Iterator[tuple[str, str]]:
    """Each template's name and text."""
    for path in sorted((Path(trl.__file__).parent / "chat_templates").glob("*.jinja")):
        yield f"trl: {path.stem}", path.read_text(encoding="utf-8")
    for name in (*_HOLDING, _AUDIO):
        yield f"transformers: {Path(name).parent.name}", _carried(Path(transformers.__file__).parent / name)
    for path in sorted(OURS.glob("*.jinja")):
        yield f"ours: {path.stem}", path.read_text(encoding="utf-8")


def tokenizer_for(source: str) -> Any:
    """A tokenizer of bytes with the special tokens that the template `source` names."""
    eos = next((token for token in _EOS if token in source), "</s>")
    backend = Tokenizer(
        models.BPE({letter: i for i, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}, [])
    )
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    named = sorted({*_SPECIAL.findall(source), "<s>", eos})
    backend.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in named])
    made = transformers.PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token=eos)
    made.chat_template = source
    return made


@cache
def cells(source: str) -> dict[str, Cell]:
    """What becomes of each of ROWS. Raises G2isError where the template serves for none."""
    tokenizer = tokenizer_for(source)
    settings: dict[Kind, dict[str, Any]] = {
        "right": {},
        "merge": {"system": "merge"},
        "allow": {"dropped_text": "allow"},
    }
    made = {kind: ChatTemplate(tokenizer, "2025-01-01", **of) for kind, of in settings.items()}
    found = {}
    for name, row in ROWS.items():
        message = ""
        for kind, template in made.items():
            try:
                found[name] = Cell(kind, template.render(row), message)
                break
            except G2isError as error:
                message = message or str(error)
        else:
            found[name] = Cell("refused", None, message)
    return found


def table() -> str:
    """The table, as it stands in the page."""
    lines = [f"TRL {version('trl')}, transformers {version('transformers')}.", ""]
    lines += [f"{number}. {name}" for number, name in enumerate(ROWS, 1)]
    lines += ["", "| template | " + " | ".join(str(number) for number in range(1, len(ROWS) + 1)) + " |"]
    lines += ["|---" * (len(ROWS) + 1) + "|"]
    for name, source in templates():
        lines.append(f"| {name} | " + " | ".join(SIGNS[cell.kind] for cell in cells(source).values()) + " |")
    return "\n".join(lines)


def _carried(path: Path) -> str:
    """The longest chat template among the texts of a file of Python."""
    texts = [
        node.value
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and "in messages %}" in node.value
    ]
    return max(texts, key=len)


def main() -> None:
    """Write the page's table, or print what one template makes of the rows."""
    if len(sys.argv) > 1:
        for name, cell in cells(dict(templates())[sys.argv[1]]).items():
            print(f"{name} ({cell.kind})", *(cell.learned if cell.rendering else [cell.message]), sep="\n    ")
        return
    before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n{table()}\n{END}{rest.split(END)[1]}", encoding="utf-8")


if __name__ == "__main__":
    main()

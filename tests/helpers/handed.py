"""Rows as a run hands them to a trainer, on the bundled model's tokenizer; and what is written of them."""

import json
from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoTokenizer

import g2is.demo
from g2is.config import ExamplesConfig, ModelConfig, TuningConfig
from g2is.examples.read import read_examples
from g2is.examples.sources import find_sources
from g2is.examples.tokenize import make_renderer
from g2is.outputs.trainers.handover import HandedRow, Handover
from g2is.outputs.trainers.table import TRAINERS

MODEL = Path(g2is.demo.__file__).parent / "model"
CHATML = (
    "{% for m in messages %}{{ '<|' ~ m.role ~ '|>' ~ m.content ~ eos_token ~ '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
QUESTION, ANSWER = {"role": "user", "content": "1 + 1?"}, {"role": "assistant", "content": "It is 2."}
CALL = {"type": "function", "function": {"name": "add", "arguments": {"a": 1}}}
TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
CALLS = "{% if tools %}{{ tools | tojson }}{% endif %}" + CHATML.replace(
    "m.content ~", "(m.content or '') ~ ((m.tool_calls | tojson) if m.tool_calls else '') ~"
)
PLAIN = {"id": "plain", "messages": [QUESTION, ANSWER]}


def handover(folder: Path, *rows: dict[str, Any], model: dict[str, Any] | None = None, **settings: Any) -> Handover:
    """What a run of the bundled model would hand over: `model` and `settings` as its configuration has them."""
    template = settings.pop("chat_template", None)
    if template is not None:
        (folder / "template.jinja").write_text(template)
        settings["chat_template"] = str(folder / "template.jinja")
    config = ExamplesConfig(**settings)
    tokenizer: Any = AutoTokenizer.from_pretrained(MODEL)
    renderer = make_renderer(tokenizer, config, 256)
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    handed = []
    for example in read_examples(find_sources([str(folder / "rows.jsonl")]), config):
        rendered = renderer.render(example)
        handed.append(HandedRow(example.id, example.conversation, rendered.input_ids, rendered.label_mask))
    of_model = ModelConfig(name=str(MODEL), **(model or {}))
    return Handover(
        *(folder / "to", of_model, config, TuningConfig(), ("q_proj",), tokenizer, True),
        AutoConfig.from_pretrained(MODEL),
        *(renderer.template_source, renderer.max_length, handed),
    )


def written(name: str, given: Handover) -> tuple[str, Path]:
    """The notices of trainer `name`, and the folder with its files."""
    given.folder.mkdir()
    return " ".join(TRAINERS[name](given, given.folder).notices), given.folder

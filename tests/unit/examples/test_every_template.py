"""Every chat template at hand, against what a person expects of it: no answer is learned in part, or too much of it."""

import datetime
import re
from typing import Any

import numpy as np
import pytest

pytest.importorskip("trl", reason="TRL is not installed: the templates are its own")

import template_table as tables  # after the skip
from g2is.config import ExamplesConfig
from g2is.errors import G2isError
from g2is.examples.conversation import Conversation, Turn
from g2is.examples.template import ChatTemplate
from g2is.examples.tokenize import make_renderer

TEMPLATES = dict(tables.templates())
IM = "<|im_end|>"

# What ends an answer, by how a template's name begins: (before another turn, at the end of the conversation).
ENDS = {
    "trl: cohere2": ("<|END_RESPONSE|><|END_OF_TURN_TOKEN|>",) * 2,
    "trl: cohere": ("<|END_OF_TURN_TOKEN|>",) * 2,
    "trl: deepseek": ("<｜end▁of▁sentence｜>",) * 2,
    "trl: diffusion_gemma": ("<turn|>",) * 2,
    "trl: gemma4": ("<turn|>",) * 2,
    "trl: gemma": ("<end_of_turn>",) * 2,
    "trl: glm4moe_training": ("<|user|>",) * 2,  # its author marks it as what the model is to write
    "trl: glm4moe": ("", "</s>"),
    "trl: gptoss": ("<|end|>", "<|return|>"),
    "trl: idefics3": ("<end_of_utterance>",) * 2,
    "trl: smolvlm": ("<end_of_utterance>",) * 2,
    "trl: lfm2": (IM,) * 2,
    "trl: llama3": ("<|eot_id|>",) * 2,
    "trl: llava_next": ("</s>",) * 2,
    "trl: muse_glimmer": ("<|eot|>",) * 2,
    "trl: nemotron": (IM,) * 2,
    "trl: phi3": ("<|end|>",) * 2,
    "trl: qwen": (IM,) * 2,
    "transformers: smolvlm": ("<end_of_utterance>",) * 2,
    "transformers: llama4": ("<|eot|>",) * 2,
    "transformers: qwen2_audio": (IM,) * 2,
    "ours: calls_as_text": ("</s>",) * 2,
    "ours: calls_in_pythons_form": (IM,) * 2,
    "ours: channels": ("<|end|>", "<|return|>"),
    "ours: drops_system": ("</s>",) * 2,
    "ours: drops_tool_calls": (IM,) * 2,
    "ours: ends_turn_at_the_next": ("<|assistant_end|>",) * 2,
    "ours: flags": (IM,) * 2,
    "ours: marks": (IM,) * 2,
    "ours: next_role": ("", "</s>"),
    "ours: no_end": ("", "</s>"),
    "ours: opens_thinking": (IM,) * 2,
    "ours: plain_words": ("", "</s>"),
    "ours: reads_parts": ("<end_of_utterance>",) * 2,
    "ours: rewrites_answers": (IM,) * 2,
    "ours: strips_reasoning": ("</s>",) * 2,
    "ours: system_before": ("</s>",) * 2,
    "ours: system_in": (" </s>",) * 2,
    "ours: takes_no_system": ("<end_of_turn>",) * 2,
    "ours: two_end_tokens": ("<|END_RESPONSE|><|END_OF_TURN_TOKEN|>",) * 2,
    "ours: writes_every": (IM,) * 2,
}
# What the model has to write between the generation prompt and the answer's text.
LEADS = {
    "trl: glm4moe": "\n",
    "trl: gptoss": "<|channel|>final<|message|>",
    "trl: idefics3": " ",
    "trl: smolvlm": " ",
    "trl: muse_glimmer": " to=user<|message|>",
    "transformers: smolvlm": " ",
    "ours: channels": "<|channel|>final<|message|>",
    "ours: next_role": "\n",
    "ours: reads_parts": " ",
}
# What ends a tool call, where that is not what ends an answer.
CALL_ENDS = {
    "trl: diffusion_gemma_training": "<tool_call|>",  # its author marks no more
    "trl: diffusion_gemma": "<|tool_response>",
    "trl: gemma4_v2": "<turn|>",
    "trl: gemma4": "<|tool_response>",
    "trl: glm4moe_training": "<|observation|>",
    "trl: glm4moe": "</tool_call>",
    "trl: gptoss": "<|call|>",
    "trl: lfm2": IM,
}
THINKING = re.compile(r"(<think>\s*)?add them up\s*</think>\s*Four")
CHANNELS = (
    "<|channel>thought\nadd them up\n<channel|>Four",
    "<|channel|>analysis<|message|>add them up<|end|><|start|>assistant<|channel|>final<|message|>Four",
    " to=self<|message|>add them up<|eom|><|start|>assistant to=user<|message|>Four",
)


TODAY = datetime.date.today()  # what transformers gives a template that asks for the date
VARIABLES = {"enable_thinking": False, "date_string": TODAY.strftime("%d %b %Y")}


def as_messages(name: str, turns: tuple[Turn, ...]) -> list[dict[str, Any]]:
    """What `apply_chat_template` takes; a few templates read texts as lists of parts alone."""
    in_parts = re.fullmatch("(trl: (smolvlm|idefics3|llava_next)(_training)?)|ours: reads_parts_alone", name)
    return [
        {
            "role": turn.role,
            "content": [{"type": "text", "text": turn.content}] if in_parts else turn.content,
            **turn.extra,
        }
        for turn in turns
    ]


def of_family(known: dict[str, Any], name: str, default: Any = None) -> Any:
    families = [family for family in known if name.startswith(family)]
    return known[max(families, key=len)] if families else default


@pytest.fixture(scope="module")
def cells() -> dict[str, dict[str, tables.Cell]]:
    return {name: tables.cells(source) for name, source in TEMPLATES.items()}


def test_every_template_has_its_expected_end() -> None:
    assert all(of_family(ENDS, name) is not None for name in TEMPLATES)


@pytest.mark.parametrize("row", tables.ROWS)
@pytest.mark.parametrize("name", TEMPLATES)
def test_what_is_learned_is_what_a_person_would_mark(
    name: str, row: str, cells: dict[str, dict[str, tables.Cell]]
) -> None:
    cell = cells[name][row]
    if cell.kind == "refused":
        assert re.search(r"--set examples\.", cell.message), cell.message
        return
    between, last = of_family(ENDS, name)
    lead = of_family(LEADS, name, "")
    learned = cell.learned
    if row == "tool call, result, answer":
        call, answer = learned
        assert "get_weather" in call
        assert "Paris" in call
        assert "'city': 'Paris'" not in call
        assert call.endswith(of_family(CALL_ENDS, name, between))
        assert not re.search("How is it there|Sunny|It is sunny|The weather of", call)
        assert answer == f"{lead}It is sunny.{last}"
        return
    texts = {
        "several turns": ["Hi", "Four"],
        "assistant first": ["Welcome!", "Four"],
        "thinking in an earlier answer": ["Four", "Six"],
        "given beginning": [" four."],
    }.get(row, ["Four"])
    ends = [between] * (len(texts) - 1) + [last]
    for text, end, found in zip(texts, ends, learned, strict=True):
        if row == "given beginning":
            assert found == f" four.{end}"
        elif "add them up" in found:
            inner = found.removeprefix(lead).removesuffix(end)
            assert text == "Four"
            assert THINKING.fullmatch(inner) or found.removesuffix(end) in CHANNELS, found
        else:
            assert found == f"{lead}{text}{end}" or (cell.kind == "allow" and found == f"{lead}\n\n{text}{end}")
            assert row != "reasoning apart" or cell.kind == "allow"
            if text == "Four" and row.startswith("thinking"):
                assert cell.kind == "allow"


@pytest.mark.parametrize("name", TEMPLATES)
def test_what_a_row_gives_stands_in_what_the_model_sees(name: str, cells: dict[str, dict[str, tables.Cell]]) -> None:
    for row, cell in cells[name].items():
        if cell.rendering is None or cell.kind == "allow":
            continue
        seen = "".join(cell.rendering.text.split())
        given = tables.ROWS[row]
        for turn in given.turns:
            for part in (*re.split(r"</?think>", turn.content), turn.reasoning):
                assert "".join(part.split()) in seen, (row, part)
        for tool in given.tools:
            assert tool["function"]["name"] in seen


@pytest.mark.slow
def test_the_page_has_the_table_that_these_templates_give() -> None:
    page = tables.PAGE.read_text(encoding="utf-8")
    committed = page.split(tables.BEGIN)[1].split(tables.END)[0].strip()
    versions = tables.table().splitlines()[0]
    if committed.splitlines()[0] != versions:
        pytest.skip(f"the page was made with {committed.splitlines()[0]}")
    assert committed == tables.table()


# Answers that are hard to find: that stand elsewhere too, hold what ends a turn, or nothing but signs.
HARD = {
    "the same twice": ("a", "No.", "b", "No."),
    "the question itself": ("No.", "No."),
    "quotes the end of turn": ("q", "say <|im_end|> and </s> now"),
    "begins with the end of turn": ("q", "<|im_end|> x"),
    "ends with the end of turn": ("q", "x <|im_end|>"),
    "signs alone": ("?", "!", "...", "🙂"),
    "a tag alone": ("q", "<b>"),
    "white space around": ("  q ", "\n  Four \n", "q", " x"),
    "white space within": ("a  b\n\n\nc", "a  b\n\n\nc\td"),
    "sentinels of its own": ("\U000f0000 q", "\U000f0001\ue000 x"),
    "quotes and backslashes": ("q", "<b>x</b> & \"y\" 'z' \\n \\"),
    "Jinja": ("{{ messages }}", "{% for %}{{ x }}"),
    "JSON": ('{"a": 1}', '{"b": [1, 2]}'),
    "names of roles": ("ASSISTANT: x", "assistant\nmodel\nFour"),
    "other templates' tokens": ("[INST] q [/INST]", "[/INST] [INST] a"),
    "letters whose case changes their number": ("ß", "İstanbul ß"),
    "longer than there are sentinels": ("q", "answer " * 25_000),
}


@pytest.mark.parametrize("hard", HARD)
def test_hard_answers_are_found_whole_under_every_template(hard: str) -> None:
    few = ("trl: qwen3", "ours: strips_reasoning")  # an older TRL has fewer
    for name in TEMPLATES if hard != "longer than there are sentinels" else TEMPLATES.keys() & few:
        template = ChatTemplate(tables.tokenizer_for(TEMPLATES[name]), "2025-01-01")
        texts = HARD[hard]
        turns = [Turn("user" if i % 2 == 0 else "assistant", text) for i, text in enumerate(texts)]
        try:
            rendering = template.render(Conversation(tuple(turns)))
        except G2isError:
            assert name == "ours: rewrites_answers"
            continue
        between, last = of_family(ENDS, name)
        expected = texts[1::2]
        ends = [between] * (len(expected) - 1) + [last]
        for text, end, answer in zip(expected, ends, rendering.answers, strict=True):
            learned = rendering.text[answer.start : answer.end]
            assert "".join(learned.split()) == "".join((of_family(LEADS, name, "") + text + end).split()), name
            assert text.strip() in learned, name


@pytest.mark.parametrize("row", ["one turn", "several turns", "system"])
@pytest.mark.parametrize("name", TEMPLATES)
def test_where_a_prompt_begins_the_whole_it_ends_where_the_answer_begins(name: str, row: str) -> None:
    tokenizer, turns = tables.tokenizer_for(TEMPLATES[name]), tables.ROWS[row].turns
    try:
        rendering = ChatTemplate(tokenizer, TODAY.isoformat()).render(tables.ROWS[row])
    except G2isError:
        return  # what is refused is seen above
    at = [index for index, turn in enumerate(turns) if turn.role == "assistant"]
    for index, answer in zip(at, rendering.answers, strict=True):
        prompts = [
            tokenizer.apply_chat_template(
                as_messages(name, turns[:index]), tokenize=False, add_generation_prompt=adds, **VARIABLES
            )
            for adds in (True, False)
        ]
        if prompts[0] != prompts[1] and rendering.text.startswith(prompts[0]):
            assert answer.start == len(prompts[0])


@pytest.mark.parametrize("row", ["one turn", "several turns", "system", "tool call, result, answer"])
@pytest.mark.parametrize("name", [name for name in TEMPLATES if name.startswith("trl: ") and "_training" in name])
def test_trls_own_mask_differs_in_headers_and_line_breaks_alone(name: str, row: str) -> None:
    source, conversation = TEMPLATES[name], tables.ROWS[row]
    tokenizer = tables.tokenizer_for(source)
    try:
        rendering = ChatTemplate(tokenizer, TODAY.isoformat()).render(conversation)
    except G2isError:
        return  # what is refused is seen above
    theirs = tokenizer.apply_chat_template(
        as_messages(name, conversation.turns),
        tools=[dict(tool) for tool in conversation.tools] or None,
        return_dict=True,
        return_assistant_tokens_mask=True,
        **VARIABLES,
    )
    text = tokenizer.decode(theirs["input_ids"])
    eos_added = rendering.text.removeprefix(text)
    assert rendering.text == text or eos_added == tokenizer.eos_token
    ours = np.zeros(len(text.encode()), bool)
    offsets = np.cumsum([0, *(len(letter.encode()) for letter in text)])
    for answer in rendering.answers:
        ours[offsets[answer.start] : offsets[min(answer.end, len(text))]] = True
    lengths = [len(tokenizer.decode([token]).encode()) if token >= 256 else 1 for token in theirs["input_ids"]]
    mask = np.repeat(np.array(theirs["assistant_masks"], bool), lengths)
    assert len(mask) == len(ours)
    only_ours = (
        text.encode()[: len(ours)]
        if (ours & ~mask).all()
        else bytes(np.frombuffer(text.encode(), np.uint8)[ours & ~mask])
    )
    assert only_ours == b"", only_ours
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask & ~ours, [False]]).astype(np.int8)))
    for begin, end in edges.reshape(-1, 2):
        extra = text.encode()[begin:end].decode()
        closes = name.startswith("trl: phi3") and end == len(ours)  # EOS, a line below the end of turn
        assert not extra.strip() or is_of_a_header(extra) or closes, extra


def is_of_a_header(extra: str) -> bool:
    """Whether TRL marks what the generation prompt writes: it is given to the model, and no answer."""
    headers = (
        "<|start|>assistant",
        "<｜Assistant｜>",
        "<think></think>",
        "<think>\n\n</think>",
        "<|turn>model",
        "<think>",
    )
    return extra.strip() in headers


def test_the_tokens_learned_are_those_of_the_answers() -> None:
    from g2is.examples.read import Example
    from g2is.examples.sources import Source

    for name in TEMPLATES.keys() & ("trl: qwen3", "trl: cohere2", "ours: no_end_of_turn"):
        tokenizer = tables.tokenizer_for(TEMPLATES[name])
        renderer = make_renderer(tokenizer, ExamplesConfig(), None)
        origin = Source("pool.jsonl", "pool", "JSON lines", ())
        rendered = renderer.render(Example(0, origin, 1, "x", tables.ROWS["several turns"], b""))
        between, last = of_family(ENDS, name)
        assert tokenizer.decode(rendered.input_ids[rendered.label_mask]) == f"Hi{between}Four{last}"

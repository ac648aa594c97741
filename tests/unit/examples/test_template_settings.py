"""What a user can set of chat templates, and what is said of rows that a template does not take."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from talk import talk

from g2is.config import ExamplesConfig
from g2is.errors import ConfigError, G2isError, ModelError
from g2is.examples.conversation import Conversation, Turn
from g2is.examples.inspect import inspect_examples
from g2is.examples.make_table import describe_losses, tokenize_files
from g2is.examples.messages import Row, merged_systems
from g2is.examples.sources import find_sources
from g2is.examples.template import ChatTemplate, check_plain, plain_segments

Make = Callable[..., Any]
OURS = Path(__file__).resolve().parents[2] / "data" / "templates"
CASES = Path(__file__).resolve().parents[2] / "data" / "cases" / "templates"
BOS_EOS = {"bos": "<s>", "eos": "</s>"}
CHATML = (OURS / "drops_tool_calls.jinja").read_text()
ONE_TURN = (("user", "2+2?"), ("assistant", "Four"))


def template(make_tokenizer: Make, name: str, **settings: Any) -> ChatTemplate:
    source = (OURS / f"{name}.jinja").read_text()
    specials = tuple(sorted(set(re.findall(r"<\|[a-zA-Z_]+\|>|<(?:start|end)_of_turn>|\[gMASK\]|<sop>", source))))
    return ChatTemplate(make_tokenizer(source, specials, **BOS_EOS), "2025-01-01", **settings)


def learned(made: ChatTemplate, conversation: Conversation) -> list[str]:
    rendering = made.render(conversation)
    return [rendering.text[answer.start : answer.end] for answer in rendering.answers]


@pytest.mark.parametrize("marked", ["", "_marked"])
@pytest.mark.parametrize("file", ["reasoning", "reasoning_long"])
def test_an_answer_that_the_template_shortens_is_refused_or_counted(
    marked: str, file: str, make_tokenizer: Make, renderer_for: Make, tmp_path: Path
) -> None:
    tokenizer = make_tokenizer((CASES / f"strips_reasoning{marked}.jinja").read_text(), **BOS_EOS)
    rows = find_sources([str(CASES / f"{file}.jsonl")])
    num_rows = len((CASES / f"{file}.jsonl").read_text().splitlines())
    with pytest.raises(ModelError, match=rf"1 of {num_rows} rows?(.|\n)*turn 2 \(assistant\).*dropped_text=allow"):
        tokenize_files(rows, renderer_for(tokenizer), ExamplesConfig(), tmp_path)
    renderer = renderer_for(tokenizer, dropped_text="allow")
    table = tokenize_files(rows, renderer, ExamplesConfig(), tmp_path)
    (loss,) = [text for text in describe_losses("pool", table, "prompt-start") if "leaves out" in text]
    assert f"pool: of 1 of {num_rows} rows the chat template leaves out text" in loss
    found = inspect_examples(rows, ExamplesConfig(), renderer)
    assert found.num_left_out == 1
    assert any(shown.left_out for shown in found.shown)
    (ids, mask), *_ = table.token_rows()
    assert tokenizer.decode(ids[mask]).strip().startswith("The result")


def test_a_system_text_that_the_template_drops_is_refused_merged_or_counted(
    make_tokenizer: Make, renderer_for: Make, tmp_path: Path
) -> None:
    tokenizer = make_tokenizer((CASES / "drops_system.jinja").read_text(), **BOS_EOS)
    rows = find_sources([str(CASES / "system.jsonl")])
    with pytest.raises(ModelError) as error:
        tokenize_files(rows, renderer_for(tokenizer), ExamplesConfig(), tmp_path)
    text = str(error.value)
    assert "2 of 2 rows cannot be used" in text
    assert "turn 1 (system)" in text
    assert "turn 3 (system)" in text
    assert text.count("examples.system=merge") == 2
    merged = tokenize_files(rows, renderer_for(tokenizer, system="merge"), ExamplesConfig(), tmp_path)
    seen = [tokenizer.decode(ids) for ids, _ in merged.token_rows()]
    assert "Q: Answer only in French.\n\nHello?" in seen[0]
    assert "Q: From now on answer in Latin.\n\nHello?" in seen[1]
    assert merged.left_out[0] == 0
    allowed = tokenize_files(rows, renderer_for(tokenizer, dropped_text="allow"), ExamplesConfig(), tmp_path)
    assert allowed.left_out[0] == 2


def test_the_row_of_which_text_is_left_out_is_shown_wherever_it_stands(
    make_tokenizer: Make, renderer_for: Make, write_rows: Make
) -> None:
    tokenizer = make_tokenizer((CASES / "drops_system.jinja").read_text(), **BOS_EOS)
    good = {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}
    bad = {"messages": [{"role": "system", "content": "Rhyme."}, *good["messages"]]}
    path = write_rows(*[good] * 5, bad, bad)
    found = inspect_examples(find_sources([str(path)]), ExamplesConfig(), renderer_for(tokenizer, dropped_text="allow"))
    assert [bool(shown.left_out) for shown in found.shown] == [False, False, False, True]
    assert found.num_left_out == 2


def test_several_system_turns_are_merged_each_into_the_next_user_turn(make_tokenizer: Make) -> None:
    made = template(make_tokenizer, "takes_no_system", system="merge")
    rows = talk(("system", "A"), ("system", "B"), *ONE_TURN, ("system", "C"), ("user", "q"), ("assistant", "x"))
    text = made.render(rows).text
    assert "user\nA\n\nB\n\n2+2?<" in text
    assert "user\nC\n\nq<" in text


@pytest.mark.parametrize(
    ("roles", "expected"),
    [
        (("user", "system", "assistant"), [(1, "user"), (2, "system"), (3, "assistant")]),
        (("system", "assistant"), [(1, "system"), (2, "assistant")]),
        (
            ("system", "user", "system", "assistant", "system"),
            [(2, "user"), (3, "system"), (4, "assistant"), (5, "system")],
        ),
    ],
)
def test_a_system_text_that_no_user_turn_follows_stays_where_it_is(
    roles: tuple[str, ...], expected: list[tuple[int, str]]
) -> None:
    merged = merged_systems(Row.of(talk(*((role, f"text {number}") for number, role in enumerate(roles)))))
    assert [(number, turn.role) for number, turn in zip(merged.numbers, merged.turns, strict=True)] == expected


@pytest.mark.parametrize(
    ("name", "rows", "expected"),
    [
        (
            "takes_no_system",
            (("system", "s"), *ONE_TURN),
            r"^turn 1 \(system\): this template takes no system turn: .*merge",
        ),
        ("takes_no_system", (("user", "a"), *ONE_TURN), r"^turn 2 \(user\): .* two turns of the user in a row: join"),
        ("takes_no_system", (*ONE_TURN, ("assistant", "b")), r"^turn 3 \(assistant\): .* two turns of the assistant"),
        ("takes_no_system", (("assistant", "Hi"), *ONE_TURN), r"^turn 1 \(assistant\): .* begins with the assistant"),
        (
            "takes_no_system",
            (("system", "s"), ("assistant", "Hi"), *ONE_TURN),
            r"^turn 1 \(system\): .*; and turn 2 \(assistant\): .* begins with the assistant",
        ),
        ("system_in_the_question", (*ONE_TURN, ("user", "p"), ("user", "q"), ("assistant", "x")), r"^turn 4 \(user\)"),
    ],
)
def test_what_a_template_does_not_take_is_found_in_the_row(
    name: str, rows: tuple[tuple[str, str], ...], expected: str, make_tokenizer: Make
) -> None:
    with pytest.raises(ModelError, match=expected):
        template(make_tokenizer, name).render(talk(*rows))


def test_an_empty_system_turn_is_no_system_turn_where_the_template_takes_none(make_tokenizer: Make) -> None:
    made = template(make_tokenizer, "takes_no_system")
    assert made.render(talk(("system", " "), *ONE_TURN)) == made.render(talk(*ONE_TURN))


@pytest.mark.parametrize("name", ["next_role_ends_turn", "next_role_after_last", "no_end_of_turn", "plain_words"])
def test_eos_is_added_and_said_where_the_template_writes_no_end_and_can_be_left_out(
    name: str, make_tokenizer: Make
) -> None:
    rows = talk(("user", "Hello"), ("assistant", "Hi"), *ONE_TURN)
    made = template(make_tokenizer, name)
    assert [text.strip() for text in learned(made, rows)] == ["Hi", "Four</s>"]
    assert made.render(rows).text.endswith("Four</s>")
    (notice,) = made.notices
    assert "</s> is added" in notice
    without = template(make_tokenizer, name, append_eos=False)
    assert [text.strip() for text in learned(without, rows)] == ["Hi", "Four"]
    assert without.notices == ()
    (answer,) = made.render(talk(*ONE_TURN, ("user", "more?"))).answers
    assert answer.text_end == answer.end  # nothing is added before a turn


def test_nothing_is_added_where_the_template_ends_its_turns(make_tokenizer: Make) -> None:
    for name in ("two_end_tokens", "takes_no_system", "drops_tool_calls"):
        assert template(make_tokenizer, name).notices == ()


def test_context_is_no_answer_and_a_given_beginning_is_not_learned(make_tokenizer: Make) -> None:
    rows = Conversation(
        (
            Turn("user", "a"),
            Turn("assistant", "Snow is black.", context_only=True),
            Turn("user", "b"),
            Turn("assistant", "No. Snow is white.", prefill="No."),
        )
    )
    for name in ("takes_no_system", "system_in_the_question", "marks_text_alone", "no_end_of_turn"):
        (answer,) = learned(template(make_tokenizer, name), rows)
        assert answer.startswith(" Snow is white.")
    assert plain_segments(rows.turns, "</s>") == [
        ("<|user|>\na\n<|assistant|>\nSnow is black.</s>\n<|user|>\nb\n<|assistant|>\nNo.", False),
        (" Snow is white.", True),
    ]


CALL = {"tool_calls": [{"type": "function", "function": {"name": "add", "arguments": {"a": 17, "note": 'x\n"y"'}}}]}
TOOL = {"type": "function", "function": {"name": "add", "description": "Adds.", "parameters": {}}}
CALLED = Conversation(
    (Turn("user", "q"), Turn("assistant", "", extra=CALL), Turn("tool", "42"), Turn("assistant", "It is 42.")), (TOOL,)
)


def test_numbers_and_quoted_text_of_a_call_are_found(make_tokenizer: Make) -> None:
    call, answer = learned(template(make_tokenizer, "calls_as_text_with_null_content"), CALLED)
    assert json.loads(call.split("\n", 1)[1].split("<|tool_call_end|>")[0]) == {"a": 17, "note": 'x\n"y"'}
    assert call.endswith("<|tool_call_end|></s>")
    assert answer == "It is 42.</s>"


def test_a_template_that_drops_a_call_is_refused_by_name(make_tokenizer: Make) -> None:
    with pytest.raises(ModelError, match=r"turn 2 \(assistant\).*tool call 'add'.*chat_template=FILE"):
        template(make_tokenizer, "drops_tool_calls").render(CALLED)
    with pytest.raises(ModelError, match=r"turn 2 \(assistant\): expected its tool call"):
        template(make_tokenizer, "drops_tool_calls", dropped_text="allow").render(CALLED)


@pytest.mark.parametrize(
    ("row", "named"),
    [
        (Conversation(talk(*ONE_TURN).turns, (TOOL,)), "tools:"),
        (Conversation(CALLED.turns), r"turn 2 \(assistant\): .* tool calls"),
        (talk(*ONE_TURN, ("tool", "42")), r"turn 3 \(tool\): .* a tool result"),
        (
            Conversation((Turn("user", "q"), Turn("assistant", "a", reasoning="r"))),
            r"turn 2 \(assistant\): .* reasoning",
        ),
    ],
)
def test_the_plain_template_refuses_what_it_has_no_place_for(row: Conversation, named: str) -> None:
    with pytest.raises(ModelError, match=named):
        check_plain(row)


def test_a_file_takes_the_place_of_the_models_template(
    make_tokenizer: Make, renderer_for: Make, make_example: Make, tmp_path: Path
) -> None:
    own, other = make_tokenizer(CHATML, **BOS_EOS), tmp_path / "other.jinja"
    other.write_text((OURS / "no_end_of_turn.jinja").read_text())
    in_json = tmp_path / "tokenizer_config.json"
    in_json.write_text(json.dumps({"chat_template": [{"name": "default", "template": other.read_text()}]}))
    renderer = renderer_for(own, chat_template=other)
    rendered = renderer.render(make_example(*ONE_TURN))
    assert own.decode(rendered.input_ids) == "<role>HUMAN</role>2+2?<role>ASSISTANT</role>Four</s>"
    assert renderer.notices
    assert renderer.fingerprint == renderer_for(own, chat_template=in_json).fingerprint  # by content, not by name
    assert renderer.fingerprint != renderer_for(own).fingerprint
    without = make_tokenizer(None, **BOS_EOS)  # a model may have no template of its own
    assert renderer_for(without, chat_template=other).render(make_example(*ONE_TURN)).label_mask.sum() == 5


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("absent.jinja", None, "found no file to read"),
        ("bytes.jinja", b"\xff\xfe", "not UTF-8"),
        ("broken.jinja", b"{% for m in messages %}", "found an error in line 1"),
        ("words.jinja", b"Hello", "does not read `messages`"),
        ("broken.json", b"{", "expected JSON"),
        ("empty.json", b"{}", "expected `chat_template` to be a text"),
        ("list.json", b"[1]", "expected `chat_template` to be a text"),
    ],
)
def test_a_file_that_is_no_template_is_one_message(
    name: str, content: bytes | None, expected: str, make_tokenizer: Make, renderer_for: Make, tmp_path: Path
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=re.escape(f"examples.chat_template: {path}")) as error:
        renderer_for(make_tokenizer(CHATML, **BOS_EOS), chat_template=path)
    assert expected in str(error.value)


def test_another_template_contradicts_a_plain_one() -> None:
    with pytest.raises(ValueError, match="leave one of the two out"):
        ExamplesConfig(template="plain", chat_template=Path("x.jinja"))


def test_settings_of_templates_are_part_of_the_fingerprint(make_tokenizer: Make, renderer_for: Make) -> None:
    tokenizer = make_tokenizer(CHATML, **BOS_EOS)
    settings: list[dict[str, Any]] = [{}, {"system": "merge"}, {"dropped_text": "allow"}, {"append_eos": False}]
    assert len({json.dumps(renderer_for(tokenizer, **of).fingerprint) for of in settings}) == 4


def test_a_refused_row_leaves_the_others_of_a_batch_as_they_are(
    make_tokenizer: Make, renderer_for: Make, make_example: Make
) -> None:
    renderer = renderer_for(make_tokenizer((OURS / "takes_no_system.jinja").read_text(), **BOS_EOS))
    good, bad = make_example(*ONE_TURN), make_example(("system", "s"), *ONE_TURN)
    first, problem, last = renderer.render_many([good, bad, good])
    assert isinstance(problem, G2isError)
    assert (first.input_ids == last.input_ids).all()

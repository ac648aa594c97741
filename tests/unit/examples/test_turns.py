"""What turns and rows say of themselves, in the words of the frameworks that they were made for."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from talk import pairs

from g2is.errors import InputError
from g2is.examples.conversation import Conversation, Turn
from g2is.examples.schemas import conversation_of, row_of, schema_of
from g2is.examples.turns import ROLE_OF

USER = {"role": "user", "content": "q"}
WEATHER = {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}
CALL: dict[str, Any] = {"type": "function", "function": {"name": "weather", "arguments": {"city": "Rome"}}}


def read(row: dict[str, Any], *named: str) -> tuple[Conversation, list[str]]:
    """The row's conversation, and what of the row is not read."""
    unread: dict[str, None] = {}
    schema = schema_of(row)
    assert schema is not None
    return conversation_of(row, schema, named, unread), list(unread)


def learned(row: dict[str, Any]) -> list[str]:
    """What of a row is learned; nothing of it is unread."""
    conversation, unread = read(row)
    assert unread == []
    return [turn.content[len(turn.prefill) :] for turn in conversation.turns if turn.is_learned]


def answers(first: dict[str, Any], second: dict[str, Any], user: dict[str, Any] | None = None) -> dict[str, Any]:
    """Two questions with the answers "wrong" and "right", marked as given."""
    user_turn = USER | (user or {})
    turns = [user_turn, {"role": "assistant", "content": "wrong"} | first]
    return {"messages": [*turns, user_turn, {"role": "assistant", "content": "right"} | second]}


@pytest.mark.parametrize(
    ("first", "second", "user"),
    [
        ({"train": False}, {"train": True}, {"train": False}),
        ({"train": False}, {}, {}),
        ({"training": False}, {"training": True}, {}),
        ({"trainable": False}, {"trainable": True}, {"trainable": None}),
        ({"loss": False}, {"loss": True}, {"loss": None}),
        ({"loss": 0.0}, {"loss": 1.0}, {}),
        ({"loss_mask": 0}, {"loss_mask": 1}, {"loss_mask": 0}),
        ({"step_loss_mask": 0}, {}, {}),
        ({"loss_scale": 0}, {"loss_scale": 1.0}, {}),
        ({"weight": 0}, {"weight": 1}, {}),
        ({"masked": True}, {"masked": False}, {}),
        ({"mask": 0}, {"mask": 1}, {}),
        ({"mask": 0}, {"mask": 1}, {"mask": 0}),
        ({"mask": False}, {"mask": True}, {"mask": False}),
        ({"mask": True}, {"mask": False}, {"mask": True}),  # the users' turns tell that 1 masks out
        ({"mask": 1}, {"mask": 0}, {"mask": 1}),
        ({"train_detail": []}, {"train_detail": [{"begin_offset": 0, "end_offset": 4, "train": True}]}, {}),
        ({"train": False, "loss": 0, "weight": 0}, {"train": True, "masked": False}, {}),
    ],
)
def test_marks_of_every_framework_say_what_is_learned(
    first: dict[str, Any], second: dict[str, Any], user: dict[str, Any]
) -> None:
    row = answers(first, second, user)
    assert learned(row) == ["right"]
    context = read(row)[0].turns[1]
    assert (context.context_only, context.content) == (True, "wrong")
    sharegpt = [
        {"from": {"user": "human", "assistant": "gpt"}[turn.pop("role")], "value": turn.pop("content"), **turn}
        for turn in (dict(turn) for turn in row["messages"])
    ]
    assert learned({"conversations": sharegpt}) == ["right"]


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([(0, 4, True)], ["right"]),
        ([(0, 5, True)], ["right"]),  # an end written as Python has it
        ([(0, 1, False), (2, 4, True)], ["ght"]),
        ([(2, 3, True), (4, 4, True)], ["ght"]),
        ([(0, 4, False)], []),
    ],
)
def test_characters_that_are_learned_are_a_turn_or_its_end(
    parts: list[tuple[int, int, bool]], expected: list[str]
) -> None:
    detail = [{"begin_offset": begin, "end_offset": end, "train": train} for begin, end, train in parts]
    assert learned(answers({}, {"train_detail": detail})) == ["wrong", *expected]
    assert learned(answers({}, {"train_detail": detail, "train": False})) == ["wrong"]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (answers({"weight": 0.5}, {}), r"true or false \(or 1 or 0\) in `messages\[1\].weight`, found 0.5"),
        (answers({"train": "false"}, {}), r"`messages\[1\].train`, found 'false'"),
        (answers({"loss": 2}, {}), "found 2"),
        (answers({"train": True, "loss": 0}, {}), r"marks that agree in `messages\[1\]`, found train, loss"),
        (
            answers({}, {}, {"train": True}),
            r"only assistant turns to be learned, found train in `messages\[0\]` \(user\)",
        ),
        (answers({}, {}, {"loss": 1}), "only assistant turns to be learned"),
        (answers({}, {}, {"masked": False}), "only assistant turns to be learned, found masked"),
        (answers({"mask": True}, {"mask": False}), "whose meaning is known .*Rename it to `loss`"),
        (answers({"train_on_turn": False}, {}), "marks that are known .*found `train_on_turn`.* rename it to `loss`"),
        (answers({"lossWeight": 0.1}, {}), "found `lossWeight`"),
        (answers({"train_detail": [{"begin_offset": 1, "end_offset": 2, "train": True}]}, {}), "or the end of it"),
        (answers({"train_detail": [{"begin_offset": 1, "end_offset": 9, "train": True}]}, {}), "found 1 to 9"),
        (answers({"train_detail": "x"}, {}), "found a string"),
        (answers({"train": False}, {"train": False}), "an assistant turn that is learned, found only such"),
        (answers({}, {}) | {"loss_mask": [0, 1]}, "one flag for each of the 4 turns in `loss_mask`, found 2"),
        (answers({}, {}) | {"loss_mask": [0, 0, 0, 0.5]}, r"`loss_mask\[3\]`, found 0.5"),
        (answers({}, {}) | {"loss_mask": [1, 0, 0, 1]}, r"found 1 in `loss_mask\[0\]`, of a user turn"),
        (answers({"train": True}, {}) | {"loss_mask": [0, 0, 0, 1]}, "marks that agree, found `loss_mask` and those"),
        (answers({}, {}) | {"loss_weights": [0, 0, 0, 1]}, "found `loss_weights`; rename it"),
        ({"question": "q", "answer": "a", "loss_mask": [1]}, "`loss_mask` beside one list of turns"),
        (answers({}, {}) | {"weight": 0.5}, "rows that count once, found `weight` = 0.5"),
        (answers({}, {}) | {"train": False}, "rows to learn, found `train` = false"),
        (answers({}, {}) | {"mask": "Assistant"}, "only assistant turns to be learned, found `mask` = 'Assistant'"),
        (answers({"thinking": True}, {}), r"a string in `messages\[1\].thinking`"),
        (answers({"reasoning": "r", "thinking": "t"}, {}), "reasoning once .* which differ"),
        (answers({}, {}, {"reasoning": "r"}), "`reasoning` in assistant turns alone"),
        (answers({"prefill": "ri"}, {}), "`prefill` to be the beginning"),
        (answers({"prefill": "wr", "train": False}, {}), "goes on from its prefill"),
        (answers({"prefill": "wrong"}, {}), "an answer in turn 2"),
        (answers({}, {}, {"images": ["x.png"]}), "found `images`, which a text model cannot see"),
        (answers({}, {}, {"tools": [WEATHER]}), "in a column `tools` of its own"),
        (
            answers({}, {}, {"content": [{"type": "image_url", "image_url": {"url": "x"}}]}),
            "'image_url', .* cannot see",
        ),
        (answers({}, {}, {"content": [{"type": "chart", "text": "x"}]}), "'chart', which is not known"),
        (answers({"tool_calls": [{"function": {"name": "f", "arguments": "{"}}]}, {}), "JSON in .*arguments"),
        (answers({"tool_calls": [{"function": {"name": "f", "arguments": [1]}}]}, {}), "an object of arguments"),
        (answers({}, {}, {"tool_calls": [CALL]}), "`tool_calls` in assistant turns alone"),
        (answers({}, {}) | {"tools": "x"}, "JSON in `tools`"),
        (answers({}, {}) | {"tools": [{"type": "function"}]}, r"a tool's JSON schema in `tools\[0\]`"),
        (answers({}, {}) | {"functions": [WEATHER]}, "--column tools=functions"),
        (answers({}, {}) | {"videos": ["x.mp4"]}, "found `videos`, which a text model cannot see"),
        (answers({}, {}) | {"rejected_response": "x"}, r"a preference pair \(`rejected_response`\)"),
        ({"prompt": "q", "completion": "a", "label": False}, r"found `label` = False, .* \(KTO\)"),
        ({"prompt": "q", "completion": "a", "label": "False"}, "bad"),
        *(
            ({"prompt": "q", "completion": "a", name: value}, f"expected rows to learn, found `{name}` = ")
            for name in ("train", "trainable")
            for value in (False, 0, "0", "False", "false")
        ),
        ({"prompt": "q", "completion": "a", "weight": "0.5"}, "found `weight` = 0.5: rows are not weighted"),
        ({"prompt": "q", "completion": "a", "chosen": "a", "rejected": "b"}, "--column completion=chosen"),
        ({"question": "q", "answer": "a", "system": "s", "system_prompt": "t"}, "`system` and `system_prompt`"),
        ({"messages": [{"role": "system", "content": "s"}, *answers({}, {})["messages"]], "system": "t"}, "keep one"),
        ({"messages": [*answers({}, {})["messages"], {"role": "system", "content": "s"}], "system": "s"}, "keep one"),
        (
            {"prompt": [USER, {"role": "assistant", "content": "a", "train": True}, USER], "completion": "a"},
            "be context",
        ),
        (
            {"prompt": [{"role": "assistant", "content": "", "tool_calls": [CALL]}], "completion": "a"},
            "text alone where",
        ),
        ({"prompt": [USER], "completion": "a", "history": [["q", "a"]]}, "put it into `prompt`"),
        (
            {"prompt": "q", "completion": [USER, {"role": "assistant", "content": "a"}]},
            "begin with its last turn again",
        ),
        ({"prompt": [USER], "completion": [USER | {"content": "r"}]}, "found only user, user"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(row: dict[str, Any], expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        read(row)


@pytest.mark.parametrize(
    "flag", [{"train": True}, {"train": 1}, {"trainable": "true"}, {"train": "1"}, {"weight": "1.0"}]
)
def test_flags_that_let_a_row_be_learned_do(flag: dict[str, Any]) -> None:
    assert learned({"prompt": "q", "completion": "a", **flag}) == ["a"]
    assert read({"prompt": "q", "completion": "a", "train": "fold 3"})[1] == ["train"]


def test_flags_of_a_row_count_its_own_turns_and_agree_with_marks() -> None:
    row = answers({}, {"train": True}) | {"loss_mask": [0, 0, 0, 1], "system": "s"}
    assert learned(row) == ["right"]
    assert learned(answers({}, {}) | {"loss_mask": None}) == ["wrong", "right"]


def test_what_says_nothing_is_as_if_it_were_not_there_and_the_rest_is_named() -> None:
    row = answers({"name": "n", "score": 0, "note": None}, {"tool_calls": []}, {"id": 7, "images": []})
    row |= {"id": "x", "topic": "t", "images": [], "chosen": None, "extra": {}, "label": 3, "weight": 1, "mask": "User"}
    conversation, unread = read(row)
    assert unread == ["topic", "label", "messages[].id", "messages[].name", "messages[].score"]
    assert pairs(conversation) == (("user", "q"), ("assistant", "wrong"), ("user", "q"), ("assistant", "right"))


def test_what_stands_in_the_prompt_is_context() -> None:
    prompt = [USER, {"role": "assistant", "content": "wrong"}, USER]
    completion = [{"role": "assistant", "content": "a"}, USER, {"role": "assistant", "content": "b"}]
    assert learned({"prompt": prompt, "completion": completion}) == ["a", "b"]
    assert learned({"prompt": prompt, "completion": "a"}) == ["a"]
    assert learned({"prompt": "q", "completion": completion}) == ["a", "b"]


def test_an_answer_that_the_prompt_begins_goes_on_in_the_completion() -> None:
    prompt = [USER, {"role": "assistant", "content": "The answer "}]
    for completion in ("is 4.", [{"role": "assistant", "content": "is 4."}]):
        (_, answer) = read({"prompt": prompt, "completion": completion})[0].turns
        assert answer == Turn("assistant", "The answer is 4.", prefill="The answer ")


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [USER, {"role": "assistant", "content": "a"}]},
        {"messages": [{"role": "system", "content": "s"}, USER, {"role": "assistant", "content": "a"}]},
        {"messages": [{"role": "system", "content": None}, USER, {"role": "assistant", "content": "a"}]},
        {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]},
        {"prompt": "q", "completion": "a"},
        {"prompt": [USER], "completion": [{"role": "assistant", "content": "a"}]},
        {"instruction": "q", "output": "a"},
        {"inputs": "q", "targets": "a"},
        {"question": "q", "answer": "a"},
    ],
)
@pytest.mark.parametrize("column", ["system", "system_prompt"])
def test_a_row_s_system_text_comes_first_in_every_layout(row: dict[str, Any], column: str) -> None:
    assert pairs(read(row | {column: "s"})[0]) == (("system", "s"), ("user", "q"), ("assistant", "a"))


@pytest.mark.parametrize(
    "row", [{"prompt": "q", "completion": "a"}, {"inputs": "q", "targets": "a"}, {"question": "q", "answer": "a"}]
)
def test_history_comes_before_a_question_in_every_layout_of_two_texts(row: dict[str, Any]) -> None:
    assert pairs(read(row | {"history": [["x", "y"]]})[0]) == (
        *(("user", "x"), ("assistant", "y")),
        *(("user", "q"), ("assistant", "a")),
    )


def test_the_input_of_a_question_follows_it() -> None:
    conversation, unread = read({"question": "q", "answer": "a", "input": "i", "context": "c"})
    assert pairs(conversation) == (("user", "q\n\ni"), ("assistant", "a"))
    assert unread == ["context"]


def test_roles_go_by_many_names() -> None:
    words = ["developer", "Human", "model", "observation", "gpt"]
    turns = [{"from": word, "value": word} for word in words]
    assert [turn.role for turn in read({"conversations": turns})[0].turns] == [
        *("system", "user", "assistant", "tool", "assistant")
    ]


def test_content_in_parts_is_their_text() -> None:
    parts: list[dict[str, Any]] = [{"type": "text", "text": "a", "image": None}, {"type": "output_text", "text": "b"}]
    assert learned({"messages": [USER, {"role": "assistant", "content": parts}]}) == ["ab"]
    parts[1] |= {"annotations": [1]}
    _, unread = read({"messages": [USER, {"role": "assistant", "content": parts}]})
    assert unread == ["messages[].content[].annotations"]


def test_keys_of_calls_that_are_not_read_are_named() -> None:
    call = {**CALL, "index": 0, "function": {**CALL["function"], "strict": True}}
    _, unread = read({"messages": [USER, {"role": "assistant", "content": "", "tool_calls": [call]}]})
    assert unread == ["messages[].tool_calls[].index", "messages[].tool_calls[].strict"]


@pytest.mark.parametrize(
    "turns",
    [
        [{"role": "assistant", "content": None, "tool_calls": [CALL]}],
        [{"role": "assistant", "tool_calls": [{"function": {"name": "weather", "arguments": '{"city": "Rome"}'}}]}],
        [{"role": "assistant", "content": "", "tool_calls": json.dumps([CALL])}],
        [{"role": "assistant", "content": None, "function_call": {"name": "weather", "arguments": '{"city": "Rome"}'}}],
        [{"from": "function_call", "value": json.dumps({"name": "weather", "arguments": {"city": "Rome"}})}],
        [{"role": "tool_call", "content": json.dumps({"name": "weather", "arguments": {"city": "Rome"}})}],
    ],
)
@pytest.mark.parametrize("tools", [[WEATHER], [{"type": "function", "function": WEATHER}], json.dumps([WEATHER])])
def test_tools_calls_and_results_have_one_shape(turns: list[dict[str, Any]], tools: Any) -> None:
    result = {"role": "tool", "content": {"degrees": 21}, "name": "weather", "tool_call_id": "1"}
    row = {"messages": [USER, *turns, result, {"role": "assistant", "content": "21"}], "tools": tools}
    conversation, unread = read(row)
    assert unread == []
    assert conversation == Conversation(
        (
            Turn("user", "q"),
            Turn("assistant", "", extra={"tool_calls": [CALL]}),
            Turn("tool", '{"degrees": 21}', extra={"name": "weather", "tool_call_id": "1"}),
            Turn("assistant", "21"),
        ),
        ({"type": "function", "function": WEATHER},),
    )


def test_calls_that_follow_each_other_are_one_turn_s() -> None:
    call = {"from": "function_call", "value": json.dumps({"name": "weather", "arguments": {"city": "Rome"}})}
    turns = [{"from": "human", "value": "q"}, call, call, {"from": "observation", "value": "21"}]
    conversation, _ = read({"conversations": turns})
    assert [turn.role for turn in conversation.turns] == ["user", "assistant", "tool"]
    assert conversation.turns[1].extra == {"tool_calls": [CALL, CALL]}


def test_reasoning_stands_apart_by_any_name() -> None:
    for key in ("reasoning_content", "reasoning", "thinking"):
        conversation, unread = read({"messages": [USER, {"role": "assistant", "content": "a", key: "because"}]})
        assert (conversation.turns[1], unread) == (Turn("assistant", "a", reasoning="because"), [])


def test_a_preference_pair_is_learned_where_the_user_says_which_answer() -> None:
    row = {"prompt": "q", "completion": "good", "rejected": "bad"}
    conversation, unread = read(row, "completion")
    assert pairs(conversation) == (("user", "q"), ("assistant", "good"))
    assert unread == ["rejected"]
    assert learned({"prompt": "q", "completion": "a", "label": True}) == ["a"]


_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
_words = st.text(st.sampled_from("abc é\n"), min_size=1, max_size=8).filter(str.strip)
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | _text,
    lambda of: st.lists(of) | st.dictionaries(_text, of),
    max_leaves=4,
)
_calls = st.lists(
    st.builds(
        lambda name, arguments, id: {**id, "type": "function", "function": {"name": name, "arguments": arguments}},
        *(_words, st.dictionaries(_text, _json, max_size=2), st.just({}) | st.fixed_dictionaries({"id": _words})),
    ),
    min_size=1,
    max_size=2,
).map(lambda calls: {"tool_calls": calls})
_turn = st.one_of(
    st.builds(Turn, st.sampled_from(["system", "user"]), _text),
    st.builds(
        Turn,
        st.just("tool"),
        _text,
        extra=st.just({}) | st.fixed_dictionaries({"name": _words, "tool_call_id": _words}),
    ),
    st.builds(Turn, st.just("assistant"), _words, st.booleans(), reasoning=_text, extra=st.just({}) | _calls),
    st.builds(lambda prefill, rest: Turn("assistant", prefill + rest, prefill=prefill), _words, _words),
)
_tool = st.builds(
    lambda name, of: {"type": "function", "function": {**of, "name": name}},
    _words,
    st.dictionaries(_text, _json, max_size=2),
)


@given(st.lists(_turn, max_size=5), st.lists(_tool, max_size=2))
def test_a_conversation_is_read_back_from_the_line_it_is_written_as(turns: list[Turn], tools: list[Any]) -> None:
    conversation = Conversation((*turns, Turn("assistant", "a")), tuple(tools))
    assert read(json.loads(json.dumps(row_of(conversation)))) == (conversation, [])


def test_every_name_of_a_role_that_the_page_lists_is_known_and_no_other() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs/formats.md").read_text(encoding="utf-8")
    table = page.split("| role | also called |\n|---|---|\n")[1].split("\n\n")[0]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    listed = {word: role for role, others in cells for word in (role, *others.split(", "))}
    assert listed == ROLE_OF
    for word in (word for word, role in ROLE_OF.items() if role == "assistant"):
        conversation, _ = read(
            {"conversations": [{"from": "human", "value": "q"}, {"from": word.title(), "value": "a"}]}
        )
        assert [turn.is_learned for turn in conversation.turns] == [False, True]

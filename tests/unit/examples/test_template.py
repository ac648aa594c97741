"""The templates here are ours, written in the shape of those that well-known model families bring."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from talk import talk

from g2is.errors import ModelError
from g2is.examples.template import ChatTemplate, plain_segments

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
CHATML_WITHOUT_PROMPT = CHATML.split("{% if")[0]
QWEN2 = "{% if messages[0].role != 'system' %}{{ '<|im_start|>system\\nYou help.<|im_end|>\\n' }}{% endif %}" + CHATML
MARKED = (
    "{{ bos_token }}{% for m in messages %}{{ '<|' + m.role + '|>\\n' }}{% if m.role == 'assistant' %}"
    "{% generation %}{{ m.content + eos_token }}{% endgeneration %}{% else %}{{ m.content }}{% endif %}{{ '\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}"
)
MARKED_WITHOUT_END = MARKED.replace(
    "{{ m.content + eos_token }}{% endgeneration %}", "{{ m.content }}{% endgeneration %}{{ eos_token }}"
)
LLAMA3 = (
    "{{- bos_token }}{%- if date_string is not defined %}{%- if strftime_now is defined %}"
    '{%- set date_string = strftime_now("%d %b %Y") %}{%- else %}{%- set date_string = "26 Jul 2024" %}{%- endif %}'
    "{%- endif %}{%- if messages[0]['role'] == 'system' %}{%- set system = messages[0]['content'] %}"
    "{%- set messages = messages[1:] %}{%- else %}{%- set system = '' %}{%- endif %}"
    '{{- "<|head|>system<|/head|>\\n\\nToday: " + date_string + "\\n\\n" + system + "<|eot_id|>" }}'
    "{%- for m in messages %}{{- '<|head|>' + m['role'] + '<|/head|>\\n\\n' + m['content'] | trim + '<|eot_id|>' }}"
    "{%- endfor %}{%- if add_generation_prompt %}{{- '<|head|>assistant<|/head|>\\n\\n' }}{%- endif %}"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}"
    "{% endif %}{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Roles must alternate') }}{% endif %}{% if m['role'] == 'assistant' %}{% set role = 'model' %}"
    "{% else %}{% set role = m['role'] %}{% endif %}"
    "{{ '<start_of_turn>' + role + '\\n' + m['content'] | trim + '<end_of_turn>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}"
)
MISTRAL = (
    "{{ bos_token }}{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Roles must alternate') }}{% endif %}{% if m['role'] == 'user' %}"
    "{{ '[INST] ' + m['content'] + ' [/INST]' }}{% else %}{{ ' ' + m['content'] + eos_token }}{% endif %}{% endfor %}"
)
LLAMA2 = MISTRAL.replace("m['content'] + eos_token", "m['content'] | trim + ' ' + eos_token")
ZEPHYR = (
    "{% for m in messages %}\n{% if m['role'] == 'assistant' %}\n{{ '<|assistant|>\\n' + m['content'] + eos_token }}\n"
    "{% else %}\n{{ '<|' + m['role'] + '|>\\n' + m['content'] + eos_token }}\n{% endif %}\n"
    "{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n{% endfor %}"
)
PHI3 = (
    "{% for m in messages %}{{ '<|' + m.role + '|>\\n' + m.content + '<|end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% else %}{{ eos_token }}{% endif %}"
)
QWEN3 = (
    "{%- set ns = namespace(last=0) %}{%- for m in messages %}{%- if m.role == 'user' %}"
    "{%- set ns.last = loop.index0 %}{%- endif %}{%- endfor %}"
    "{%- for m in messages %}{%- set thought = '' %}{%- set said = m.content %}"
    "{%- if m.role == 'assistant' and '</think>' in said %}"
    "{%- set thought = said.split('</think>')[0].split('<think>')[-1].strip('\\n') %}"
    "{%- set said = said.split('</think>')[-1].lstrip('\\n') %}{%- endif %}{{- '<|im_start|>' + m.role + '\\n' }}"
    "{%- if m.role == 'assistant' and loop.index0 > ns.last and (loop.last or thought) %}"
    "{{- '<think>\\n' + thought + '\\n</think>\\n\\n' }}{%- endif %}{{- said + '<|im_end|>\\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}"
    "{%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}"
    "{%- endif %}"
)
THINKS_FIRST = CHATML.replace("assistant\\n' }}{% endif", "assistant\\n<think>\\n' }}{% endif")
CHANNELS = (
    "{% for m in messages %}{{ '<|start|>' + m.role }}{% if m.role == 'assistant' %}{{ '<|channel|>final' }}{% endif %}"
    "{{ '<|message|>' + m.content }}{% if m.role == 'assistant' and loop.last and not add_generation_prompt %}"
    "{{ '<|return|>' }}{% else %}{{ '<|end|>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start|>assistant' }}{% endif %}"
)
PLAIN_TEXT = "{% for m in messages %}{{ m.role + ': ' + m.content + '\\n' }}{% endfor %}" + (
    "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
)


@dataclass(frozen=True)
class Family:
    """A template, the special tokens its model has, and what is to be learned of two short conversations."""

    template: str
    one_turn: list[str]
    two_turns: list[str]
    tokenizer: dict[str, Any] = field(default_factory=dict)


def spaced(end: str) -> tuple[list[str], list[str]]:
    return [f"Four{end}"], [f"Hi{end}", f"Four{end}"]


IM = {"specials": ("<|im_start|>", "<|im_end|>")}
BOS_EOS = {"bos": "<s>", "eos": "</s>"}
FAMILIES = {
    "ChatML": Family(CHATML, *spaced("<|im_end|>"), IM),
    "ChatML whose tokens are plain text": Family(CHATML, *spaced("<|im_end|>")),
    "ChatML without generation prompt": Family(CHATML_WITHOUT_PROMPT, *spaced("<|im_end|>"), IM),
    "Qwen2": Family(QWEN2, *spaced("<|im_end|>"), IM),
    "Qwen3": Family(QWEN3, *spaced("<|im_end|>"), IM),
    "marked": Family(MARKED, *spaced("</s>"), BOS_EOS),
    "marked, end of turn left out": Family(MARKED_WITHOUT_END, *spaced("</s>"), BOS_EOS),
    "marked, EOS after the conversation": Family(MARKED + "{{ eos_token }}", *spaced("</s>"), BOS_EOS),
    "Llama 3": Family(LLAMA3, *spaced("<|eot_id|>"), {"specials": ("<|eot_id|>",), **BOS_EOS}),
    "Gemma": Family(GEMMA, *spaced("<end_of_turn>"), {"specials": ("<end_of_turn>", "\n\n"), "bos": "<bos>"}),
    "Mistral": Family(MISTRAL, *spaced("</s>"), BOS_EOS),
    "Llama 2": Family(LLAMA2, [" Four </s>"], [" Hi </s>", " Four </s>"], BOS_EOS),
    "Zephyr": Family(ZEPHYR, *spaced("</s>"), BOS_EOS),
    "Phi 3": Family(PHI3, *spaced("<|end|>"), {"specials": ("<|end|>",), "eos": "<|endoftext|>"}),
    "plain text": Family(PLAIN_TEXT, *spaced("")),
}
ONE_TURN = (("user", "2+2?"), ("assistant", "Four"))
TWO_TURNS = (("user", "Hello"), ("assistant", "Hi"), *ONE_TURN)


def answers(template: ChatTemplate, *messages: tuple[str, str]) -> list[str]:
    rendering = template.render(talk(*messages))
    return [rendering.text[answer.start : answer.end] for answer in rendering.answers]


@pytest.mark.parametrize("family", FAMILIES)
def test_exactly_the_answers_with_their_end_of_turn_are_found(family: str, make_tokenizer: Callable[..., Any]) -> None:
    case = FAMILIES[family]
    template = ChatTemplate(make_tokenizer(case.template, **case.tokenizer), "2025-01-01")
    # Whether the space between prompt and answer counts is the same token's question, and asked in test_tokenize.
    assert [text.lstrip() for text in answers(template, *ONE_TURN)] == [text.lstrip() for text in case.one_turn]
    assert [text.lstrip() for text in answers(template, *TWO_TURNS)] == [text.lstrip() for text in case.two_turns]


@pytest.mark.parametrize("family", FAMILIES)
def test_the_text_is_the_one_that_transformers_renders(family: str, make_tokenizer: Callable[..., Any]) -> None:
    case = FAMILIES[family]
    tokenizer = make_tokenizer(case.template, **case.tokenizer)
    conversation = [{"role": role, "content": content} for role, content in TWO_TURNS]
    expected = tokenizer.apply_chat_template(conversation, tokenize=False, date_string="01 Jan 2025")
    assert ChatTemplate(tokenizer, "2025-01-01").render(talk(*TWO_TURNS)).text == expected


def test_surrounding_space_of_an_answer_is_kept_or_trimmed_as_the_template_does(
    make_tokenizer: Callable[..., Any],
) -> None:
    spaced_answer = (("user", "q"), ("assistant", "\n  Four \n"), ("user", "p"), ("assistant", " x"))
    kept = ChatTemplate(make_tokenizer(CHATML, **IM), "2025-01-01")
    assert answers(kept, *spaced_answer) == ["\n  Four \n<|im_end|>", " x<|im_end|>"]
    trimmed = ChatTemplate(make_tokenizer(LLAMA3, specials=("<|eot_id|>",), bos="<s>"), "2025-01-01")
    assert answers(trimmed, *spaced_answer) == ["Four<|eot_id|>", "x<|eot_id|>"]
    rewriting = ChatTemplate(make_tokenizer(QWEN3, **IM), "2025-01-01")
    assert answers(rewriting, *spaced_answer) == ["\n  Four \n<|im_end|>", " x<|im_end|>"]


def test_an_answer_that_the_template_rewrites_is_learned_as_written(make_tokenizer: Callable[..., Any]) -> None:
    source = PHI3.replace("m.content", "m.content | replace('  ', ' ')")
    template = ChatTemplate(make_tokenizer(source, specials=("<|end|>",), eos="<|endoftext|>"), "2025-01-01")
    assert answers(template, ("user", "q"), ("assistant", "a  b")) == ["a b<|end|>"]


def test_an_answer_may_contain_the_prompt_and_the_end_of_turn(make_tokenizer: Callable[..., Any]) -> None:
    template = ChatTemplate(make_tokenizer(CHATML, **IM), "2025-01-01")
    quoting = "q<|im_end|>\n<|im_start|>assistant\nq"
    assert answers(template, ("user", "q"), ("assistant", quoting)) == [f"{quoting}<|im_end|>"]


@pytest.mark.parametrize("template", [CHATML, CHATML_WITHOUT_PROMPT, MARKED])
def test_a_turn_after_the_last_answer_is_not_learned(template: str, make_tokenizer: Callable[..., Any]) -> None:
    chat = ChatTemplate(make_tokenizer(template, **IM, **BOS_EOS), "2025-01-01")
    (answer,) = answers(chat, *ONE_TURN, ("user", "Four?"))
    assert answer.startswith("Four<")


def test_an_empty_thinking_block_is_context_and_a_given_one_is_learned(make_tokenizer: Callable[..., Any]) -> None:
    template = ChatTemplate(make_tokenizer(QWEN3, **IM), "2025-01-01")
    text = template.render(talk(*ONE_TURN)).text
    assert text.endswith("<|im_start|>assistant\n<think>\n\n</think>\n\nFour<|im_end|>\n")
    thinking = "<think>\nadd\n</think>\n\nFour"
    assert answers(template, ("user", "2+2?"), ("assistant", thinking)) == [f"{thinking}<|im_end|>"]


def test_a_template_that_removes_earlier_thinking_is_refused_with_the_turn_and_the_way_out(
    make_tokenizer: Callable[..., Any],
) -> None:
    template = ChatTemplate(make_tokenizer(QWEN3, **IM), "2025-01-01")
    removed = (("user", "q"), ("assistant", "<think>\nadd\n</think>\n\nFour"), ("user", "p"), ("assistant", "Five"))
    with pytest.raises(
        ModelError, match=r"turn 2 \(assistant\).*found 'add' left out.*dropped_text=allow.*chat_template=FILE"
    ):
        template.render(talk(*removed))


def test_thinking_that_the_prompt_opens_is_context_where_the_template_writes_it(
    make_tokenizer: Callable[..., Any],
) -> None:
    template = ChatTemplate(make_tokenizer(THINKS_FIRST, **IM), "2025-01-01")
    assert answers(template, *ONE_TURN) == ["Four<|im_end|>"]
    (notice,) = template.notices
    assert "ends with '<think>\\n', which the chat template does not write" in notice
    thinking = (("user", "2+2?"), ("assistant", "<think>\nadd\n</think>\n\nFour"))
    assert answers(template, *thinking) == ["add\n</think>\n\nFour<|im_end|>"]


def test_a_channel_between_prompt_and_answer_is_learned(make_tokenizer: Callable[..., Any]) -> None:
    tokenizer = make_tokenizer(CHANNELS, specials=("<|return|>", "<|end|>"))
    template = ChatTemplate(tokenizer, "2025-01-01")
    assert answers(template, *ONE_TURN) == ["<|channel|>final<|message|>Four<|return|>"]


@pytest.mark.parametrize(
    ("template", "messages", "reason"),
    [
        (MISTRAL, (("user", "a"), *ONE_TURN), "Roles must alternate"),
        (CHATML + "{{ 1 + messages[2].content }}", ONE_TURN, "refuses"),
        ("{% if %}", ONE_TURN, "refuses"),
    ],
)
def test_a_conversation_that_the_template_refuses_says_why(
    template: str, messages: tuple[tuple[str, str], ...], reason: str, make_tokenizer: Callable[..., Any]
) -> None:
    with pytest.raises(ModelError, match=reason) as error:
        ChatTemplate(make_tokenizer(template, **BOS_EOS), "2025-01-01").render(talk(*messages))
    assert "--set examples.template=plain" in str(error.value)


@pytest.mark.parametrize(
    "template",
    [
        "{% macro say(m) %}{{ m.role + ':' }}{% generation %}{{ m.content }}{% endgeneration %}{% endmacro %}"
        "{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}{% else %}{{ say(m) }}{% endif %}{% endfor %}",
        MARKED.replace("m.role == 'assistant'", "m.role == 'assistant' and loop.last"),
    ],
)
def test_markers_that_miss_an_answer_are_refused(template: str, make_tokenizer: Callable[..., Any]) -> None:
    with pytest.raises(ModelError, match=r"turn 2 \(assistant\): expected its text inside .* markers"):
        ChatTemplate(make_tokenizer(template, **BOS_EOS), "2025-01-01").render(talk(*TWO_TURNS))


def test_markers_around_every_turn_are_refused(make_tokenizer: Callable[..., Any]) -> None:
    everything = CHATML.replace("{% for m in messages %}", "{% for m in messages %}{% generation %}")
    everything = everything.replace("{% endfor %}", "{% endgeneration %}{% endfor %}")
    with pytest.raises(ModelError, match="found the user's marked too"):
        ChatTemplate(make_tokenizer(everything, **IM), "2025-01-01")


@pytest.mark.parametrize(
    ("reads", "expected"),
    [
        ("{{ strftime_now('%d %b %Y') }}", "09 Mar 2031"),
        ("{{ strftime_now('%Y-%m-%d %H:%M %A 100%%') }}", "2031-03-09 00:00 Sunday 100%"),
        ("{{ strftime_now('%-d/%-m/%y %B') }}", "9/3/31 March"),
        ("{% if strftime_now is defined %}{% set f = '%j' %}{{ strftime_now(f) | trim }}{% endif %}", "068"),
        ("{{ date_string }}", "09 Mar 2031"),
        ("{% macro head() %}{{ strftime_now('%F') }}{% endmacro %}{{ head() }}", "2031-03-09"),
    ],
)
def test_a_template_that_reads_the_date_gets_ours(
    reads: str, expected: str, make_tokenizer: Callable[..., Any]
) -> None:
    template = ChatTemplate(make_tokenizer(reads + "|" + CHATML, **IM), "2031-03-09")
    assert template.reads_date
    assert template.render(talk(*ONE_TURN)).text.split("|")[0] == expected
    assert answers(template, *ONE_TURN) == ["Four<|im_end|>"]


def test_fixing_the_date_changes_nothing_else_of_the_text(make_tokenizer: Callable[..., Any]) -> None:
    for beginning in ("\n  ", "{% if true %}\n x{% endif %}", "  {%- set a = 1 %}\n"):
        source = beginning + "{{ strftime_now('') }}" + CHATML
        tokenizer = make_tokenizer(source, **IM)
        conversation = [{"role": role, "content": content} for role, content in ONE_TURN]
        expected = tokenizer.apply_chat_template(conversation, tokenize=False)
        assert ChatTemplate(tokenizer, "2025-01-01").render(talk(*ONE_TURN)).text == expected


def test_several_templates_need_a_default(make_tokenizer: Callable[..., Any]) -> None:
    with pytest.raises(ModelError, match="expected one default chat template"):
        ChatTemplate(make_tokenizer({"tool_use": CHATML, "rag": CHATML}), "2025-01-01")
    named = ChatTemplate(make_tokenizer({"default": CHATML, "rag": QWEN2}, **IM), "2025-01-01")
    assert answers(named, *ONE_TURN) == ["Four<|im_end|>"]


def test_the_plain_template_joins_all_context_between_answers() -> None:
    messages = (("system", "s"), *TWO_TURNS, ("user", "bye"))
    assert plain_segments(talk(*messages).turns, "</s>") == [
        ("<|system|>\ns\n<|user|>\nHello\n<|assistant|>\n", False),
        ("Hi", True),
        ("\n<|user|>\n2+2?\n<|assistant|>\n", False),
        ("Four", True),
    ]

"""`examples.learn_end_of_turn`: whose end of turn is learned."""

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest

from g2is.config import ExamplesConfig
from g2is.errors import InputError
from g2is.examples.tokenize import Renderer, make_renderer

Make = Callable[..., Any]
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
MARKED = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' }}{% if m.role == 'assistant' %}{% generation %}"
    "{{ m.content + '<|im_end|>' }}{% endgeneration %}{{ '\\n' }}{% else %}{{ m.content + '<|im_end|>\\n' }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
IM = ("<|im_start|>", "<|im_end|>")
TALK = (("user", "he"), ("assistant", "Four."), ("user", "a"), ("assistant", "no"))
ENDS = {"chat": "<|im_end|>", "marked": "<|im_end|>", "plain": "</s>"}
LEARNED_IN = {"all": ("pool", "target", "test"), "pool": ("pool", "test"), "none": ("test",)}


@pytest.fixture
def renderer(make_tokenizer: Make) -> Callable[..., tuple[Any, Renderer]]:
    """A tokenizer and its renderer for rows of a kind."""

    def make(template: str, rows: Any = "pool", **settings: Any) -> tuple[Any, Renderer]:
        source = {"chat": CHATML, "marked": MARKED, "plain": None}[template]
        tokenizer = make_tokenizer(source, IM, bos="<s>", eos="</s>")
        return tokenizer, make_renderer(tokenizer, ExamplesConfig(**settings), None, rows)

    return make


@pytest.mark.parametrize("template", ENDS)
@pytest.mark.parametrize(("setting", "rows"), list(product(LEARNED_IN, ("pool", "target", "test"))))
def test_the_same_tokens_are_read_and_the_end_of_turn_learned_where_it_is_to_be(
    template: str, setting: str, rows: str, renderer: Make, make_example: Make
) -> None:
    tokenizer, made = renderer(template, rows, learn_end_of_turn=setting)
    rendered, usual = made.render(make_example(*TALK)), renderer(template)[1].render(make_example(*TALK))
    assert rendered.input_ids.tolist() == usual.input_ids.tolist()
    end = ENDS[template] if rows in LEARNED_IN[setting] else ""
    assert tokenizer.decode(rendered.input_ids[rendered.label_mask]) == f"Four.{end}no{end}"


@pytest.mark.parametrize("template", ENDS)
def test_what_is_rendered_otherwise_has_another_fingerprint_and_what_is_not_the_same(
    template: str, renderer: Make
) -> None:
    prints = {
        (setting, rows): renderer(template, rows, learn_end_of_turn=setting)[1].fingerprint
        for setting in LEARNED_IN
        for rows in ("pool", "target")
    }
    for one, other in product(prints, prints):
        same = (one[1] in LEARNED_IN[one[0]]) == (other[1] in LEARNED_IN[other[0]])
        assert (prints[one] == prints[other]) == same, (one, other)


def test_a_row_of_which_only_the_end_of_turn_would_be_learned_is_refused(renderer: Make, make_example: Make) -> None:
    example = make_example(("user", "he"), ("assistant", ""))
    assert renderer("plain")[1].render(example).label_mask.sum() == 1
    with pytest.raises(
        InputError, match=r"found none but its end of turn, which examples\.learn_end_of_turn leaves out"
    ):
        renderer("plain", "target", learn_end_of_turn="pool")[1].render(example)


@pytest.mark.parametrize("truncation", ["prompt-start", "answer-end"])
def test_an_over_long_row_keeps_its_answer(truncation: str, renderer: Make, make_example: Make) -> None:
    tokenizer, made = renderer("plain", "target", learn_end_of_turn="pool", max_length=40, truncation=truncation)
    example = make_example(("user", "he" * (20 if truncation == "prompt-start" else 1)), ("assistant", "Four." * 8))
    rendered = made.render(example)
    assert len(rendered.input_ids) == 40
    assert "</s>" not in tokenizer.decode(rendered.input_ids[rendered.label_mask])
    assert rendered.num_answer_dropped == 40 - rendered.label_mask.sum()

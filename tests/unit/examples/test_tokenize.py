import json
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, processors
from transformers import PreTrainedTokenizer, PreTrainedTokenizerFast

from g2is.errors import InputError, ModelError
from g2is.examples.read import Example
from g2is.examples.tokenize import Rendered, Renderer

Make = Callable[..., Any]
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
SPACED = (
    "{% for m in messages %}{{ '[I]' + m.content + '[/I]' if m.role == 'user' else ' ' + m.content + '</s>' }}"
    "{% endfor %}"
)
IM = ("<|im_start|>", "<|im_end|>")
BOS_EOS: dict[str, Any] = {"bos": "<s>", "eos": "</s>"}
ONE_TURN = (("user", "2+2?"), ("assistant", "Four"))


def learned(tokenizer: Any, rendered: Rendered) -> str:
    return tokenizer.decode(rendered.input_ids[rendered.label_mask])


class SlowTokenizer(PreTrainedTokenizer):
    """One token a letter, without character offsets."""

    @property
    def vocab_size(self) -> int:
        return 128

    def get_vocab(self) -> dict[str, int]:
        return {chr(code): code for code in range(128)} | self.added_tokens_encoder

    def _tokenize(self, text: str, **_: Any) -> list[str]:
        return list(text)

    def _convert_token_to_id(self, token: str) -> int:
        return ord(token)

    def _convert_id_to_token(self, index: int) -> str:
        return chr(index)


def test_arrays_have_the_promised_types_and_the_first_token_is_never_learned(
    make_tokenizer: Make, make_example: Make, renderer_for: Make
) -> None:
    rendered = renderer_for(make_tokenizer(CHATML, IM)).render(make_example(*ONE_TURN))
    assert rendered.input_ids.dtype == np.int32
    assert rendered.label_mask.dtype == np.bool_
    assert rendered.input_ids.shape == rendered.label_mask.shape
    assert not rendered.label_mask[0]
    assert (rendered.num_dropped, rendered.num_answer_dropped) == (0, 0)


@pytest.mark.parametrize("trim_offsets", [False, True])
@pytest.mark.parametrize("answer", ["Four", "a  b", "  ", "x  ", "Ünï 🙂🙂", "\n\nhe he", "  he"])
def test_all_tokens_of_the_answer_and_its_end_are_learned_and_no_others(
    answer: str, trim_offsets: bool, make_tokenizer: Make, make_example: Make, renderer_for: Make
) -> None:
    tokenizer = make_tokenizer(CHATML, IM, trim_offsets=trim_offsets)
    answer = f"{answer}." if not answer.strip() else answer
    example = make_example(("user", "he  🙂"), ("assistant", answer), ("user", " a"), ("assistant", "no"))
    rendered = renderer_for(tokenizer).render(example)
    assert learned(tokenizer, rendered) == f"{answer}<|im_end|>no<|im_end|>"


def test_trailing_space_of_a_marked_answer_is_learned_where_offsets_are_trimmed(
    make_tokenizer: Make, make_example: Make, renderer_for: Make
) -> None:
    template = (
        "{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}{% else %}"
        "{% generation %}{{ m.content }}{% endgeneration %}{% endif %}{{ '\\n' }}{% endfor %}"
    )
    tokenizer = make_tokenizer(template, trim_offsets=True)
    rendered = renderer_for(tokenizer).render(make_example(("user", "q  "), ("assistant", "x  ")))
    assert learned(tokenizer, rendered) == "x  "


def test_an_answer_that_nothing_precedes_is_learned_from_its_second_token(
    make_tokenizer: Make, make_example: Make, renderer_for: Make
) -> None:
    template = (
        "{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}{% else %}"
        "{% generation %}{{ m.content + eos_token }}{% endgeneration %}{% endif %}{% endfor %}"
    )
    tokenizer = make_tokenizer(template, **BOS_EOS)
    assert learned(tokenizer, renderer_for(tokenizer).render(make_example(("assistant", "xyz")))) == "yz</s>"
    bare = make_tokenizer(template.replace(" + eos_token", ""))
    with pytest.raises(InputError, match="expected an answer of at least one token after a context, found none"):
        renderer_for(bare).render(make_example(("assistant", "x")))


def test_a_token_across_the_boundary_of_prompt_and_answer_is_learned(
    make_tokenizer: Make, make_example: Make, renderer_for: Make
) -> None:
    tokenizer = make_tokenizer(SPACED, ("[I]", "[/I]"), **BOS_EOS)
    rendered = renderer_for(tokenizer).render(make_example(("user", "q"), ("assistant", "a")))
    assert tokenizer.convert_ids_to_tokens(rendered.input_ids) == ["[I]", "q", "[/I]", "Ġa", "</s>"]
    assert rendered.label_mask.tolist() == [False, False, False, True, True]


@pytest.mark.parametrize(
    ("template", "bos", "adds_bos", "expected"),
    [
        (CHATML, "<s>", True, 1),
        ("{{ bos_token }}" + CHATML, "<s>", True, 1),
        ("{{ bos_token }}" + CHATML, "<s>", False, 1),
        (CHATML, "<s>", False, 0),
        (CHATML, None, False, 0),
        (None, "<s>", True, 1),
        (None, "<s>", False, 0),
        (None, None, False, 0),
    ],
)
def test_there_is_one_bos_where_the_model_expects_it(
    template: str | None,
    bos: str | None,
    adds_bos: bool,
    expected: int,
    make_tokenizer: Make,
    make_example: Make,
    renderer_for: Make,
) -> None:
    tokenizer = make_tokenizer(template, IM, bos=bos, eos="</s>", adds_bos=adds_bos)
    ids = renderer_for(tokenizer).render(make_example(*ONE_TURN)).input_ids.tolist()
    assert ids.count(tokenizer.convert_tokens_to_ids("<s>") if bos else -1) == expected
    assert expected == 0 or ids[0] == tokenizer.bos_token_id


def test_a_plain_prompt_has_the_same_tokens_with_and_without_its_answer(
    make_tokenizer: Make, make_example: Make, renderer_for: Make
) -> None:
    tokenizer = make_tokenizer(None, merges=(("Ċ", "Ċ"), ("Ġ", "a")), **BOS_EOS)
    rendered = renderer_for(tokenizer).render(make_example(("user", "q"), ("assistant", "\n a")))
    prompt = tokenizer("<|user|>\nq\n<|assistant|>\n")["input_ids"]
    assert rendered.input_ids[: len(prompt)].tolist() == prompt
    assert learned(tokenizer, rendered) == "\n a</s>"
    assert rendered.label_mask.sum() == 3


def test_every_plain_answer_ends_with_a_learned_eos(
    make_tokenizer: Make, make_example: Make, renderer_for: Make
) -> None:
    tokenizer = make_tokenizer(None, **BOS_EOS)
    example = make_example(("system", "s"), *ONE_TURN, ("user", "Thanks"), ("assistant", "Bye"), ("user", "?"))
    rendered = renderer_for(tokenizer).render(example)
    assert learned(tokenizer, rendered) == "Four</s>Bye</s>"
    expected = "<|system|>\ns\n<|user|>\n2+2?\n<|assistant|>\nFour</s>\n<|user|>\nThanks\n<|assistant|>\nBye</s>"
    assert tokenizer.decode(rendered.input_ids) == expected


def test_plain_works_for_byte_fallback_with_a_prepended_space(make_example: Make, renderer_for: Make) -> None:
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", *"abcdefghijklmnopqrstuv<|>"]
    backend = Tokenizer(models.BPE({p: i for i, p in enumerate(pieces)}, [], byte_fallback=True, unk_token="<unk>"))
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    backend.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    rendered = renderer_for(tokenizer).render(make_example(("user", "q"), ("assistant", "é ok")))
    assert rendered.input_ids[0] == tokenizer.bos_token_id
    assert learned(tokenizer, rendered).strip() == "é ok</s>"
    assert tokenizer.unk_token_id not in rendered.input_ids


def test_auto_takes_the_chat_template_where_there_is_one(
    make_tokenizer: Make, make_example: Make, renderer_for: Make
) -> None:
    with_template, without = make_tokenizer(CHATML, IM, **BOS_EOS), make_tokenizer(None, IM, **BOS_EOS)
    assert learned(with_template, renderer_for(with_template).render(make_example(*ONE_TURN))) == "Four<|im_end|>"
    assert learned(without, renderer_for(without).render(make_example(*ONE_TURN))) == "Four</s>"
    plain = renderer_for(with_template, template="plain")
    assert learned(with_template, plain.render(make_example(*ONE_TURN))) == "Four</s>"


def test_what_a_model_lacks_is_named(make_tokenizer: Make, renderer_for: Make) -> None:
    with pytest.raises(ModelError, match=r"expected a chat template, found none; .*template=plain"):
        renderer_for(make_tokenizer(None, **BOS_EOS), template="chat")
    with pytest.raises(ModelError, match="expected an EOS token"):
        renderer_for(make_tokenizer(None, bos="<s>"))


def test_a_slow_tokenizer_is_refused_for_chat_and_works_for_plain(make_example: Make, renderer_for: Make) -> None:
    slow = SlowTokenizer(eos_token="\x03")
    rendered = renderer_for(slow).render(make_example(*ONE_TURN))
    assert "".join(map(chr, rendered.input_ids[rendered.label_mask])) == "Four\x03"
    slow.chat_template = CHATML
    with pytest.raises(ModelError, match=r"expected a fast tokenizer .*template=plain"):
        renderer_for(slow)


def test_the_shorter_of_setting_and_context_length_holds(
    make_tokenizer: Make, make_example: Make, renderer_for: Make
) -> None:
    tokenizer, example = make_tokenizer(CHATML, IM), make_example(("user", "q" * 100), ("assistant", "Four"))
    whole = renderer_for(tokenizer).render(example)
    for renderer in (renderer_for(tokenizer, 40), renderer_for(tokenizer, 90, max_length=40)):
        rendered = renderer.render(example)
        assert len(rendered.input_ids) == 40
        assert rendered.num_dropped == len(whole.input_ids) - 40
        assert rendered.num_answer_dropped == 0
        assert learned(tokenizer, rendered) == "Four<|im_end|>"


def test_a_cut_answer_is_counted(make_tokenizer: Make, make_example: Make, renderer_for: Make) -> None:
    tokenizer, example = make_tokenizer(CHATML, IM), make_example(("user", "q"), ("assistant", "x" * 100))
    rendered = renderer_for(tokenizer, 40).render(example)
    assert learned(tokenizer, rendered) == "x" * 39
    assert rendered.num_answer_dropped == 100 + 1 - 39


def test_an_example_whose_prompt_leaves_no_room_is_named(
    make_tokenizer: Make, make_example: Make, renderer_for: Make
) -> None:
    tokenizer = make_tokenizer(CHATML, IM)
    example = make_example(("user", "q" * 100), ("assistant", "Four"), line=7, id="long")
    for context, max_length, remedy in ((90, 40, "raise examples.max_length"), (40, 90, "take a model with a longer")):
        renderer = renderer_for(tokenizer, context, max_length=max_length, truncation="answer-end")
        expected = rf":7 \(long\): expected learned tokens among the 40 .*found none: {remedy}"
        for either in (renderer, pickle.loads(pickle.dumps(renderer))):  # as a process that renders has it
            with pytest.raises(InputError, match=expected):
                either.render(example)


def test_a_template_problem_names_line_and_id(make_tokenizer: Make, make_example: Make, renderer_for: Make) -> None:
    refusing = "{% if messages[0].role == 'system' %}{{ raise_exception('No system') }}{% endif %}" + CHATML
    renderer = renderer_for(make_tokenizer(refusing, IM))
    with pytest.raises(ModelError, match=r":3 \(strict\): .*No system"):
        renderer.render(make_example(("system", "s"), *ONE_TURN, line=3, id="strict"))


def test_rendering_many_is_rendering_each(make_tokenizer: Make, make_example: Make, renderer_for: Make) -> None:
    refusing = "{% if messages[0].role == 'system' %}{{ raise_exception('No system') }}{% endif %}" + CHATML
    examples: list[Example] = [
        make_example(*ONE_TURN),
        make_example(("system", "s"), *ONE_TURN),
        make_example(("user", "q" * 50), ("assistant", "a")),
    ]
    renderer: Renderer = renderer_for(make_tokenizer(refusing, IM), 40)
    first, problem, last = renderer.render_many(examples)
    assert isinstance(problem, ModelError)
    for example, together in ((examples[0], first), (examples[2], last)):
        alone = renderer.render(example)
        assert isinstance(together, Rendered)
        np.testing.assert_array_equal(together.input_ids, alone.input_ids)
        np.testing.assert_array_equal(together.label_mask, alone.label_mask)
    assert renderer.render_many([]) == []


def test_the_fingerprint_holds_all_that_decides_the_tokens(make_tokenizer: Make, renderer_for: Make) -> None:
    dated = "{{ date_string }}" + CHATML

    def fingerprint(template: str | None = CHATML, context: int = 64, tokenizer: Any = None, **settings: Any) -> str:
        tokenizer = tokenizer or make_tokenizer(template, IM, **BOS_EOS)
        return json.dumps(renderer_for(tokenizer, context, **settings).fingerprint)

    same = [fingerprint(), fingerprint(max_length=64), fingerprint(date="2026-01-01")]
    assert len(set(same)) == 1
    others = [
        fingerprint(dated),
        fingerprint(dated, date="2026-01-01"),
        fingerprint(None),
        fingerprint(template=CHATML + "{# another #}"),
        fingerprint(context=63),
        fingerprint(truncation="answer-end"),
        fingerprint(tokenizer=make_tokenizer(CHATML, IM, **BOS_EOS, merges=(("h", "e"),))),
        fingerprint(tokenizer=make_tokenizer(CHATML, IM, **BOS_EOS, adds_bos=True)),
        fingerprint(tokenizer=make_tokenizer(CHATML, IM, eos="</s>")),
    ]
    assert len({*same, *others}) == 1 + len(others)


def test_earlier_calls_of_a_tokenizer_change_neither_fingerprint_nor_tokens(
    make_tokenizer: Make, make_example: Make, renderer_for: Make
) -> None:
    fresh = make_tokenizer(CHATML, IM, **BOS_EOS)
    used = make_tokenizer(CHATML, IM, **BOS_EOS)
    used.backend_tokenizer.enable_truncation(3)
    used.backend_tokenizer.enable_padding(length=50)
    assert renderer_for(used).fingerprint == renderer_for(fresh).fingerprint
    ids = [renderer_for(tokenizer).render(make_example(*ONE_TURN)).input_ids.tolist() for tokenizer in (used, fresh)]
    assert ids[0] == ids[1]


def test_the_text_is_what_the_model_sees_without_special_tokens_and_as_it_stands(
    make_tokenizer: Make, make_example: Make, renderer_for: Make
) -> None:
    example = make_example(("user", "Is 2 , 3 ?  é"), ("assistant", "Not now ."))
    renderer = renderer_for(make_tokenizer(CHATML, IM, **BOS_EOS, adds_bos=True))
    rendered = renderer.render(example)
    assert renderer.text(rendered.input_ids) == "user\nIs 2 , 3 ?  é\nassistant\nNot now .\n"
    shortener = renderer_for(make_tokenizer(CHATML, IM), max_length=14, truncation="answer-end")
    shortened = shortener.render(make_example(("assistant", "x" * 40)))
    assert shortener.text(shortened.input_ids) == "assistant\nxxx"

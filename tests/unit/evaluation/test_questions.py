"""What a row asks, and how an answer is read from tokens: the row's own text is right, whatever stands around it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import AutoTokenizer

from g2is.config import ExamplesConfig
from g2is.errors import ModelError
from g2is.evaluation.questions import Asked, Question, what_is_left
from g2is.examples.conversation import Conversation, Turn
from g2is.examples.read import read_examples
from g2is.examples.references import right_answer
from g2is.examples.sources import find_sources
from g2is.examples.tokenize import Rendered, make_renderer
from g2is.model.batches import Row

MODEL = Path(__file__).resolve().parents[3] / "src/g2is/demo/model"
TURN_ENDS = ["<|end_a|>", "<|end_b|>", "<|channel|>", "<|im_end|>"]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    """The bundled model's tokenizer with special tokens of other models' templates beside its own."""
    found = AutoTokenizer.from_pretrained(MODEL)
    found.add_special_tokens({"additional_special_tokens": TURN_ENDS})
    return found


def tokens(tokenizer: Any, text: str) -> np.ndarray:
    return np.array(tokenizer(text, add_special_tokens=False)["input_ids"], np.int32)


def row(tokenizer: Any, *parts: tuple[str, bool]) -> Row:
    """Tokens of (text, is learned), each by itself."""
    cut = [(tokens(tokenizer, text), learned) for text, learned in parts]
    return np.concatenate([ids for ids, _ in cut]), np.concatenate([np.full(len(ids), of) for ids, of in cut])


def asking(tokenizer: Any, answers: list[str], questions: list[Question], after: str = "") -> Asked:
    rows = [row(tokenizer, ("<s>User:\nq\nAssistant:\n", False), (text, True), (after, False)) for text in answers]
    return Asked(tokenizer, rows, questions)


@pytest.mark.parametrize(
    ("closing", "ends"),
    [
        ("</s>", ["</s>"]),
        ("<|end_a|><|end_b|>", ["</s>", "<|end_b|>"]),  # two special tokens, as Cohere's templates write
        ("\n<|im_end|>\n", None),
        (" ###", None),  # ordinary text
        ("<end_of_utterance>\n", None),  # whose first token goes on from the text
    ],
)
def test_what_closes_an_answer_is_no_part_of_what_is_given(
    tokenizer: Any, closing: str, ends: list[str] | None
) -> None:
    texts = ["The cloud has 5 letters.", "<s>old<|end_a|> new", "4"]
    asked = asking(tokenizer, [text + closing for text in texts], [Question(text) for text in texts])
    if ends:
        assert tokenizer.convert_ids_to_tokens(asked.ends) == ends
    for text, ids in zip(texts, asked.answers, strict=True):
        assert asked.text(ids).strip() == text
    assert not asked.unreadable.any()
    # a model that closes otherwise, or was cut off before or amid the closing
    begun = tokens(tokenizer, "It is 7" + closing)[:-1]
    assert asked.text(begun).strip() == "It is 7"
    assert asked.text(tokens(tokenizer, "It is 7</s>and more")) == "It is 7"
    assert asked.text(tokens(tokenizer, "It is <pad> 7")) == "It is <pad> 7"


def test_an_answer_is_not_what_looks_like_it_in_its_closing_or_in_thoughts(tokenizer: Any) -> None:
    for text, learned in ((">", "></s>"), ("no", "<think>no</think>no</s>"), ("use <s>", "use <s></s>")):
        asked = asking(tokenizer, [learned], [Question(text)])
        assert tokenizer.convert_ids_to_tokens(asked.ends) == ["</s>"]
        assert asked.final(0, asked.text(asked.answers[0])).strip() == text
        assert not asked.unreadable.any()


def test_what_ends_an_earlier_turn_does_not_end_the_last(tokenizer: Any) -> None:
    thinking, early = Question("is 41", "9"), Question("keep")
    prompt = ("<s>User:\nq\nAssistant:\n", False)
    channels = "<|channel|>thoughts: 9<|end_a|><|channel|>final: "
    rows = [
        row(tokenizer, prompt, (channels + "is 41<|im_end|>", True)),
        row(tokenizer, prompt, ("<|channel|>final: keep<|end_a|>", True), ("User:\nmore", False)),
    ]
    asked = Asked(tokenizer, rows, [thinking, early])
    assert tokenizer.convert_ids_to_tokens(asked.ends) == ["</s>", "<|im_end|>"]
    assert asked.final(1, asked.text(tokens(tokenizer, channels + "42<|im_end|>"))).strip() == "42"
    assert not asked.unreadable.any()


def test_the_right_answer_is_read_back_in_every_template_of_trl(tmp_path: Path) -> None:
    trl = pytest.importorskip("trl", reason="TRL is not installed")
    templates = sorted((Path(trl.__file__).parent / "chat_templates").glob("*.jinja"))
    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    path = tmp_path / "rows.jsonl"
    path.write_text('{"prompt": "q", "completion": "a"}\n')
    (any_row,) = read_examples(find_sources([str(path)]))
    user, conversations = Turn("user", "What is 6*7?"), []
    for answer in (
        Turn("assistant", "It is 42."),
        Turn("assistant", "Sure: the sky is blue.", prefill="Sure: the"),
        Turn("assistant", "So 9.", reasoning="Three times three.\nYes."),
        Turn("assistant", "<think>\nhm 3\n</think>\n\nSo 8."),
    ):
        conversations += [Conversation((user, answer)), Conversation((user, Turn("assistant", "4"), user, answer))]
    conversations.append(Conversation((user, answer, user, Turn("assistant", "not learned", context_only=True))))
    num_read = 0
    for template in templates:
        tokenizer.chat_template = template.read_text()
        try:
            renderer = make_renderer(tokenizer, ExamplesConfig(), None)
        except ModelError:
            continue  # one for pictures, say
        examples = [replace(any_row, conversation=conversation) for conversation in conversations]
        results = zip(conversations, renderer.render_many(examples), strict=True)
        rendered = [(right_answer(of), result) for of, result in results if isinstance(result, Rendered)]
        questions = [Question(right.expected, right.reasoning) for right, _ in rendered]
        asked = Asked(tokenizer, [(result.input_ids, result.label_mask) for _, result in rendered], questions)
        assert not asked.unreadable.any(), template.name
        num_read += len(questions)
    assert num_read > 4 * len(templates)


def test_a_right_answer_with_the_text_of_eos_cannot_be_given_and_is_counted(tokenizer: Any) -> None:
    texts = ["<s>old</s> new", "new"]
    asked = asking(tokenizer, [text + "</s>" for text in texts], [Question(text) for text in texts])
    assert asked.unreadable.tolist() == [True, False]
    assert asked.text(asked.answers[0]) == "<s>old"


def test_an_end_of_turn_that_is_not_learned_ends_an_answer_all_the_same(tokenizer: Any) -> None:
    asked = asking(tokenizer, ["one.", "two"], [Question("one."), Question("two")], after="<|im_end|>\n")
    assert tokenizer.convert_ids_to_tokens(asked.ends) == ["</s>", "<|im_end|>"]
    assert asked.text(tokens(tokenizer, "two<|im_end|>\nUser:\n")) == "two"


def test_an_answer_that_was_cut_is_as_long_as_its_text_and_tells_nothing_of_ends(tokenizer: Any) -> None:
    long = "one two three four five six seven eight nine ten."
    cut, whole = Question(long, may_be_cut=True), Question("two")
    asked = asking(tokenizer, [long[:9], "two</s>"], [cut, whole])
    assert tokenizer.convert_ids_to_tokens(asked.ends) == ["</s>"]
    assert asked.lengths[0] == len(tokens(tokenizer, long + "</s>"))
    assert asked.lengths[1] == len(tokens(tokenizer, "two</s>"))
    alone = asking(tokenizer, [long[:9]], [cut])
    assert tokenizer.convert_ids_to_tokens(alone.ends) == ["</s>"]
    assert not alone.unreadable.any()


@pytest.mark.parametrize(
    ("before", "reasoning", "given", "final"),
    [
        ("<think>\nfirst 3, then 4\n</think>\n\n", "first 3, then 4", "<think>\nno, 9\n</think>\n\n42", "42"),
        ("<think>\n\n</think>\n\n", "", "<think>\nno, 9\n</think>\n\n42", "42"),
        ("", "", "no, 9\n</think>\n\n42", "42"),  # the prompt opened the thoughts
        ("", "", "42", "42"),
        ("<|channel|>final: ", "", "<|channel|>thoughts: 9<|channel|>final: 42", "42"),
        ("[BEGIN]9[ANSWER]", "9", "[BEGIN]8[ANSWER]42", "42"),
        ("Par", "", "Parma", "ma"),  # a token that a prefill ends amid
        ("Par", "", "In Parma", "In Parma"),
    ],
)
def test_thoughts_and_what_else_a_template_writes_before_an_answer_are_left_out(
    tokenizer: Any, before: str, reasoning: str, given: str, final: str
) -> None:
    asked = asking(tokenizer, [before + "is 41</s>"], [Question("is 41", reasoning)])
    assert asked.final(0, given).strip() == final
    assert not asked.unreadable.any()


def test_thoughts_in_the_row_s_own_text_are_left_out_of_what_is_right() -> None:
    assert Question("<think>\n3 and 4\n</think>\n\n7").right == "7"
    assert Question("[THINK]3 and 4[/THINK]7").right == "7"
    for text in ("7", "The tag </think> ends it.", "<think>\nnothing after", "<think>a</think>"):
        assert Question(text).right == text


def test_the_mark_of_thoughts_in_a_right_answer_is_a_part_of_it(tokenizer: Any) -> None:
    text = "The tag </think> ends it."
    asked = asking(tokenizer, [text + "</s>"], [Question(text)])
    assert asked.final(0, "It is </think> ends it.") == "It is </think> ends it."


LONG = "Count the letters of every word in this line, and tell me which of them is the longest: cloud, carpet."


@pytest.mark.parametrize(
    ("parts", "question", "num_answers", "keeps_front", "left"),
    [
        ([(f"User:\n{LONG}\nAssistant:\n", False), ("a", True)], LONG, 1, False, (True, False)),
        ([(f"<s>{LONG[30:]}\nAssistant:\n", False), ("a", True)], LONG, 1, False, (True, True)),
        ([(f"<s>{LONG[-40:]}\nAssistant:\n", False), ("a", True)], LONG, 1, False, (True, True)),
        ([(f"<s>{LONG[-20:]}\nAssistant:\n", False), ("a", True)], LONG, 1, False, (False, True)),
        ([("<s>\n", False), ("a", True)], LONG, 1, False, (False, True)),
        # an earlier answer was lost from the front: what is asked last is still there
        ([("User:\nWhy?\nAssistant:\n", False), ("a", True)], "Why?", 2, False, (True, False)),
        # the last answer was cut off whole, and what is left is the one before it, to the same question
        ([("User:\nWhy?\nAssistant:\n", False), ("a", True), ("User:\nWh", False)], "Why?", 2, True, (False, False)),
        ([("User:\nWhy?\nAssistant:\n", False), ("a", True)], "Why?", 1, True, (True, False)),
        ([("Assistant:\n", False), ("a", True)], "", 1, False, (True, False)),  # nothing was asked
    ],
)
def test_a_question_is_there_while_its_end_is(
    tokenizer: Any,
    parts: list[tuple[str, bool]],
    question: str,
    num_answers: int,
    keeps_front: bool,
    left: tuple[bool, bool],
) -> None:
    assert what_is_left(tokenizer, row(tokenizer, *parts), question, num_answers, keeps_front) == left


def test_a_question_that_the_tokenizer_writes_otherwise_is_found(tokenizer: Any) -> None:
    question = "Qu'est-ce que c'est — où, ÀÉÎ?"  # letters that the bundled tokenizer does not know
    parts = ((f"User:\n{question}\nAssistant:\n", False), ("a", True))
    assert what_is_left(tokenizer, row(tokenizer, *parts), question, 1, False)[0]


def test_rows_that_ask_nothing_do_not_make_others_wait(tokenizer: Any) -> None:
    asked = asking(tokenizer, ["a</s>"], [replace(Question("a"), asked=False)])
    assert asked.lengths.tolist() == [2]

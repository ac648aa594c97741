"""Tokens of long texts are those of the whole text, whatever it is made of; the windows are small here."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from g2is.errors import InputError
from g2is.examples import pieces

ROOT = Path(__file__).resolve().parents[3]
SHARED = ROOT.parent / "shared/models"
MODELS = {
    "demo": ROOT / "src/g2is/demo/model",
    "stories260K": SHARED / "stories260K",  # no words: its BPE takes the whole text at once
    "base6m": SHARED / "base6m",
}
# runs that some tokenizers read as one, beside letters, CJK, emoji, joined and combining characters, special tokens
ATOMS = [
    *(
        "the ",
        "river",
        " of ",
        "1234567",
        "日本語",
        "。",
        "🙂",
        "👩‍👩‍👧",
        "\n",
        "\r\n",
        "  ",
        "\t",
        "naïve",
        "e\u0301",
        "don't ",
    ),
    *(
        "<s>",
        "</s>",
        "<|eos|>",
        "<|im_end|>",
        "a" * 90,
        "x" * 3,
        " " * 300,
        "9" * 200,
        "\n" * 40,
        "=-=-",
        "<extra>",
        "\u3000",
    ),
]


def by_numbers() -> Any:
    """Digits in threes from their end, white space in runs, a special token that takes the spaces around it."""
    tokenizer = Tokenizer(
        models.BPE({**{chr(33 + i): i for i in range(94)}, "Ġ": 94, "<unk>": 95}, [], unk_token="<unk>")
    )
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    digits = pre_tokenizers.Split(Regex(r"\d{1,3}(?=(\d{3})*\b)|\s+(?!\S)|\s+|[^\s\d]+"), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [digits, pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken("<extra>", lstrip=True, rstrip=True, special=True)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


def by_words() -> Any:
    """Words of which one that is too long is a single unknown token."""
    letters = {f"{mark}{chr(97 + i)}": 2 * i + bool(mark) for i in range(26) for mark in ("", "##")}
    tokenizer = Tokenizer(models.WordPiece({**letters, "[UNK]": 99}, unk_token="[UNK]", max_input_chars_per_word=50))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


def by_probability() -> Any:
    """The most probable pieces of the whole text, with a mark before its first word."""
    parts = [
        ("<unk>", 0.0),
        ("▁", -2.0),
        *((chr(97 + i), -4.0) for i in range(26)),
        ("th", -3.0),
        ("the", -3.5),
        ("▁the", -3.0),
        ("iv", -5.0),
    ]
    tokenizer = Tokenizer(models.Unigram(parts, unk_id=0, byte_fallback=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


MADE = {"digits from their end": by_numbers, "word pieces": by_words, "unigram": by_probability}


@pytest.fixture(params=[*MODELS, *MADE])
def tokenizer(request: pytest.FixtureRequest) -> Any:
    if request.param in MADE:
        return MADE[request.param]()
    if not MODELS[request.param].exists():
        pytest.skip(f"needs {MODELS[request.param]}")
    return AutoTokenizer.from_pretrained(MODELS[request.param])


@pytest.fixture
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "WINDOW", 1024)
    monkeypatch.setattr(pieces, "_MARGIN", 128)


def whole(tokenizer: Any, text: str, add_special_tokens: bool = False) -> pieces.Tokens:
    return pieces._encode(tokenizer, [text], True, add_special_tokens)[0]


@pytest.mark.usefixtures("small_windows")
@given(
    parts=st.lists(st.tuples(st.sampled_from(ATOMS), st.integers(1, 40)), min_size=20, max_size=120),
    seed=st.integers(0, 99),
)
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_tokens_are_those_of_the_whole_text(tokenizer: Any, parts: list[tuple[str, int]], seed: int) -> None:
    draw = random.Random(seed)
    text = "".join("".join(draw.choices([atom, *draw.choices(ATOMS, k=2)], k=times)) for atom, times in parts)
    (found,) = pieces.tokenize(tokenizer, [text], offsets=True)
    assert found == whole(tokenizer, text)


@pytest.mark.usefixtures("small_windows")
@pytest.mark.parametrize("run", ["a", " ", "7", "日", "1 ", "xyz"])
def test_runs_longer_than_a_window_are_whole(tokenizer: Any, run: str) -> None:
    text = "Once upon a time. " * 90 + run * (9000 // len(run)) + " And then <extra> it ended." * 90
    (found,) = pieces.tokenize(tokenizer, [text], offsets=True)
    assert found == whole(tokenizer, text)


def test_a_word_of_a_hundred_thousand_letters_is_whole(tokenizer: Any) -> None:
    draw = random.Random(3)
    word = "".join(draw.choices("etaoinshrdlu", k=100_000))
    text = "so it goes, " * 12_000 + word + " and on " * 12_000
    assert len(text) > 2 * pieces.WINDOW
    (found,) = pieces.tokenize(tokenizer, [text], offsets=True)
    assert found == whole(tokenizer, text)


@pytest.mark.usefixtures("small_windows")
def test_what_the_tokenizer_adds_is_added_once(tokenizer: Any) -> None:
    text = "The river of small numbers, 12 of them. " * 200
    (found,) = pieces.tokenize(tokenizer, [text], add_special_tokens=True)
    assert isinstance(found, pieces.Tokens)
    assert np.array_equal(found.ids, whole(tokenizer, text, add_special_tokens=True).ids)


@pytest.mark.usefixtures("small_windows")
def test_what_cannot_be_cut_and_is_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "MOST", 4096)
    short, problem = pieces.tokenize(by_words(), ["some words", "some words " + "z" * 20_000], offsets=True)
    assert isinstance(short, pieces.Tokens)
    assert isinstance(problem, InputError)
    assert "found one of 20011 characters with 4096 of them in a row" in str(problem)


def test_a_naive_cut_gives_other_tokens() -> None:
    """What the joins are for: the same windows without them."""
    tokenizer = by_numbers()
    text = "The year 1234567 " * 500
    cut = np.concatenate([whole(tokenizer, text[at : at + 1000]).ids for at in range(0, len(text), 1000)])
    assert not np.array_equal(cut, whole(tokenizer, text).ids)

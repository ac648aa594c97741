"""Turn examples into token ids and a label mask: which tokens are learned (method.md step 2)."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from g2is.config import ExamplesConfig
from g2is.errors import G2isError, InputError, ModelError
from g2is.examples.read import Example
from g2is.examples.template import ChatTemplate, Rendering, plain_segments
from g2is.examples.truncation import shorten

RENDERING_VERSION = 1  # to be raised with every change of ours that changes tokens or masks
TEXT_VERSION = 1  # to be raised with every change of ours to the text that `Renderer.text` makes of tokens


@dataclass(frozen=True, eq=False)
class Rendered:
    """An example as the model sees it.

    `input_ids` is (T,) int32; `label_mask` is (T,) bool, True where token t is learned, that is predicted from the
    tokens before it. `num_dropped` tokens were lost to truncation, `num_answer_dropped` of them (or of tokens kept as
    context only) would have been learned.
    """

    input_ids: np.ndarray
    label_mask: np.ndarray
    num_dropped: int
    num_answer_dropped: int


@final
class Renderer:
    """Renders examples for one tokenizer and configuration; made by `make_renderer`."""

    def __init__(
        self,
        tokenizer: Any,
        config: ExamplesConfig,
        max_length: int,
        template: ChatTemplate | None,
        num_embeddings: int | None = None,
    ) -> None:
        self._tokenizer = tokenizer
        self._template = template
        self._truncation = config.truncation
        self.max_length = max_length
        self._num_embeddings = num_embeddings
        self._bos_id: int | None = tokenizer.bos_token_id
        # What the tokenizer does with a text of its own accord says whether the model expects a BOS.
        self._adds_bos = self._bos_id is not None and list(tokenizer("a")["input_ids"])[:1] == [self._bos_id]
        self.fingerprint: dict[str, str | int | None] = {
            "rendering_version": RENDERING_VERSION,
            "template": "plain" if template is None else "chat",
            "template_sha256": None if template is None else hashlib.sha256(template.source.encode()).hexdigest(),
            "tokenizer_sha256": _tokenizer_digest(tokenizer),
            "max_length": max_length,
            "truncation": config.truncation,
            "date": config.date if template is not None and template.reads_date else None,
        }

    def render(self, example: Example) -> Rendered:
        """Render one example.

        Raises InputError if nothing of it is learned, ModelError if the chat template cannot render it; both name its
        place and id.
        """
        (result,) = self.render_many([example])
        if isinstance(result, G2isError):
            raise type(result)(f"{example.origin.place(example.line)} ({example.id}): {result}")
        return result

    def render_many(self, examples: Sequence[Example]) -> list[Rendered | G2isError]:
        """Render examples, each independently of the others; a problem is returned in its example's place.

        The problem's message does not name the example: the caller adds the place.
        """
        if not examples:
            return []
        encoded = self._encode_plain(examples) if self._template is None else self._encode_chat(examples)
        return [item if isinstance(item, G2isError) else self._finish(*item) for item in encoded]

    def parts(self, rendered: Rendered) -> tuple[tuple[str, bool], ...]:
        """Return what the model sees as text, cut where what is learned begins and ends: (text, is learned)."""
        edges = np.flatnonzero(np.diff(rendered.label_mask)) + 1
        runs = zip(np.split(rendered.input_ids, edges), np.split(rendered.label_mask, edges), strict=True)
        return tuple(
            (self._tokenizer.decode(ids.tolist(), clean_up_tokenization_spaces=False), bool(mask[0]))
            for ids, mask in runs
        )

    def text(self, input_ids: np.ndarray) -> str:
        """Return the tokens (T,) as text without the special ones: what representations of text are made from."""
        ids: list[int] = input_ids.tolist()
        text: str = self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text

    def _encode_chat(self, examples: Sequence[Example]) -> list[tuple[np.ndarray, np.ndarray] | G2isError]:
        assert self._template is not None
        renderings: list[Rendering | G2isError] = []
        for example in examples:
            try:
                renderings.append(self._template.render(example.messages))
            except G2isError as problem:
                renderings.append(problem)
        texts = [item.text for item in renderings if not isinstance(item, G2isError)]
        encoding = self._tokenize(texts, return_offsets_mapping=True) if texts else {}
        tokens = iter(zip(encoding.get("input_ids", ()), encoding.get("offset_mapping", ()), strict=True))
        results: list[tuple[np.ndarray, np.ndarray] | G2isError] = []
        for item in renderings:
            if isinstance(item, G2isError):
                results.append(item)
                continue
            ids, offsets = next(tokens)
            results.append((np.array(ids, np.int32), _mask(np.array(offsets, np.int64).reshape(-1, 2), item.answers)))
        return results

    def _encode_plain(self, examples: Sequence[Example]) -> list[tuple[np.ndarray, np.ndarray] | G2isError]:
        segments = [plain_segments(example.messages) for example in examples]
        tokens = iter(self._tokenize([text for parts in segments for text, _ in parts])["input_ids"])
        results: list[tuple[np.ndarray, np.ndarray] | G2isError] = []
        for parts in segments:
            ids: list[int] = []
            learned: list[bool] = []
            for _, is_answer in parts:
                part = [*next(tokens), self._tokenizer.eos_token_id] if is_answer else next(tokens)
                ids += part
                learned += [is_answer] * len(part)
            results.append((np.array(ids, np.int32), np.array(learned, bool)))
        return results

    def _tokenize(self, texts: list[str], **options: Any) -> Any:
        # Special tokens come from the template and `_finish`, never from the tokenizer: so there is one BOS.
        plain = {"padding": False, "truncation": False, "return_attention_mask": False, "return_token_type_ids": False}
        return self._tokenizer(texts, add_special_tokens=False, verbose=False, **plain, **options)

    def _finish(self, input_ids: np.ndarray, label_mask: np.ndarray) -> Rendered | G2isError:
        has_bos = self._bos_id is not None and len(input_ids) > 0 and input_ids[0] == self._bos_id
        if self._adds_bos and not has_bos:
            input_ids = np.concatenate([np.array([self._bos_id], np.int32), input_ids])
            label_mask = np.concatenate([np.array([False]), label_mask])
            has_bos = True
        label_mask[:1] = False  # nothing predicts the first token
        ids, mask = shorten(input_ids, label_mask, self.max_length, self._truncation, keep_first=has_bos)
        if not mask.any():
            if not label_mask.any():
                return InputError("expected an answer of at least one token after a context, found none")
            return InputError(
                f"expected learned tokens among the {self.max_length} that are kept of {len(input_ids)}, found none: "
                "raise examples.max_length, use --set examples.truncation=prompt-start, or leave the row out"
            )
        if self._num_embeddings is not None and (last := int(ids.max(initial=0))) >= self._num_embeddings:
            return InputError(
                f"expected tokens that the model has, ids below {self._num_embeddings}, found token {last}"
                f" ({self._tokenizer.convert_ids_to_tokens(last)!r}), which lies beyond its embedding. The tokenizer"
                " is of another model, or was given tokens that the model was not: resize the model with"
                " resize_token_embeddings(len(tokenizer)) and save it, or take the token out of the tokenizer"
            )
        return Rendered(ids, mask, len(input_ids) - len(ids), int(label_mask.sum()) - int(mask.sum()))


def make_renderer(
    tokenizer: Any, config: ExamplesConfig, context_length: int | None, num_embeddings: int | None = None
) -> Renderer:
    """Return the renderer for a transformers tokenizer and a model that takes `context_length` tokens (None: any).

    A row with a token id from `num_embeddings` on, where that is known, is a row that cannot be used.

    Raises ModelError if the template asked for is not there or not usable, a chat template's tokenizer gives no
    character offsets, or the plain template's has no EOS token.
    """
    max_length = config.max_length if context_length is None else min(config.max_length, context_length)
    name = getattr(tokenizer, "name_or_path", "") or "the tokenizer"
    has_template = bool(getattr(tokenizer, "chat_template", None))
    if config.template == "chat" and not has_template:
        raise ModelError(f"{name}: expected a chat template, found none; use --set examples.template=plain")
    if config.template == "plain" or not has_template:
        if tokenizer.eos_token_id is None:
            raise ModelError(
                f"{name}: expected an EOS token to close answers with, found none; set eos_token in its files"
            )
        return Renderer(tokenizer, config, max_length, None, num_embeddings)
    if not tokenizer.is_fast:
        raise ModelError(
            f"{name}: expected a fast tokenizer (tokenizer.json), whose character offsets tell where answers stand, "
            "found a slow one; convert it, or use --set examples.template=plain"
        )
    try:
        return Renderer(tokenizer, config, max_length, ChatTemplate(tokenizer, config.date), num_embeddings)
    except ModelError as error:
        raise ModelError(f"{name}: {error}") from None


def _mask(offsets: np.ndarray, answers: Sequence[tuple[int, int]]) -> np.ndarray:
    """Return (T,) bool: tokens with a character inside an answer, from (T, 2) half-open character offsets."""
    starts, ends = offsets[:, 0], offsets[:, 1]
    # Tokenizers that trim offsets give a token of spaces only the empty span at its end.
    starts = np.where(starts == ends, ends - 1, starts)
    mask = np.zeros(len(offsets), bool)
    for start, end in answers:
        mask |= (starts < end) & (ends > start)
    return mask


def _tokenizer_digest(tokenizer: Any) -> str:
    if tokenizer.is_fast:
        # Truncation and padding are what the last call left behind, not the tokenizer's own.
        content = json.loads(tokenizer.backend_tokenizer.to_str())
        content.update(truncation=None, padding=None)
    else:
        content = {"class": type(tokenizer).__name__, "vocabulary": tokenizer.get_vocab()}
    special = {name: str(token) for name, token in tokenizer.special_tokens_map.items()}
    text = json.dumps([content, special], sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()

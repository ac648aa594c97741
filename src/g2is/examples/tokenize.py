"""Turn examples into token ids and a label mask: which tokens are learned (method.md step 2)."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, final

import numpy as np

from g2is.config import ExamplesConfig
from g2is.errors import G2isError, InputError, ModelError
from g2is.examples.conversation import Conversation
from g2is.examples.jinja import TemplateLimitError
from g2is.examples.less_template import LessText, less_text
from g2is.examples.pieces import Tokens, tokenize
from g2is.examples.read import Example
from g2is.examples.template import ChatTemplate, Rendering, plain_segments, plain_turns
from g2is.examples.template_file import read_chat_template
from g2is.examples.tokenizer_digest import tokenizer_digest
from g2is.examples.truncation import shorten

RENDERING_VERSION = 2  # to be raised with every change of ours that changes tokens or masks
TEXT_VERSION = 1  # to be raised with every change of ours to the text that `Renderer.text` makes of tokens

WITHOUT_CHAT_TEMPLATE = ("plain", "less")  # the values of examples.template
Rows = Literal["pool", "target", "test"]  # what rows are for; training data counts as a pool
# the values of examples.learn_end_of_turn with which an end of turn is learned
_LEARN_END_OF = {"pool": ("all", "pool"), "target": ("all",), "test": ("all", "pool", "none")}


@dataclass(frozen=True, eq=False)
class Rendered:
    """An example as the model sees it.

    `input_ids` is (T,) int32; `label_mask` is (T,) bool, True where token t is learned, that is predicted from the
    tokens before it. `num_dropped` tokens were lost to truncation, `num_answer_dropped` of them (or of tokens kept as
    context only) would have been learned. `left_out` is what the row gives and the chat template leaves out, by name.
    """

    input_ids: np.ndarray
    label_mask: np.ndarray
    num_dropped: int
    num_answer_dropped: int
    left_out: tuple[str, ...] = ()


@final
class Renderer:
    """Renders examples for one tokenizer and configuration; made by `make_renderer`.

    `notices` is what the user should know of how its template is used.
    """

    def __init__(
        self,
        tokenizer: Any,
        config: ExamplesConfig,
        context_length: int | None,
        template: ChatTemplate | None,
        rows: Rows = "pool",
        num_embeddings: int | None = None,
    ) -> None:
        self._tokenizer = tokenizer
        self._config = config
        self._rows = rows
        self._template = template
        self._template_name = str(
            config.chat_template or getattr(tokenizer, "name_or_path", None) or "the chat template"
        )
        self._learns_end = config.learn_end_of_turn in _LEARN_END_OF[rows]
        self.notices: tuple[str, ...] = () if template is None else template.notices
        self._context_length = context_length
        self.max_length = min(config.max_length, context_length or config.max_length)
        self._num_embeddings = num_embeddings
        self._bos_id: int | None = tokenizer.bos_token_id
        # What the tokenizer does with a text of its own accord says whether the model expects a BOS.
        self._adds_bos = self._bos_id is not None and list(tokenizer("a")["input_ids"])[:1] == [self._bos_id]
        self.fingerprint: dict[str, str | int | None] = {
            "rendering_version": RENDERING_VERSION,
            "template": ("less" if self._config.template == "less" else "plain") if template is None else "chat",
            "template_sha256": None if template is None else hashlib.sha256(template.source.encode()).hexdigest(),
            "tokenizer_sha256": tokenizer_digest(tokenizer),
            "max_length": self.max_length,
            "truncation": config.truncation,
            "date": config.date if template is not None and template.reads_date else None,
            "system": config.system,
            "dropped_text": None if template is None else config.dropped_text,
            "append_eos": None if template is None else config.append_eos,
            "learns_end_of_turn": self._learns_end,
        }

    def __reduce__(self) -> tuple[Any, ...]:
        return make_renderer, (self._tokenizer, self._config, self._context_length, self._rows, self._num_embeddings)

    @property
    def remedy(self) -> str:
        """What to do about rows that are too long, beside what truncation does."""
        is_context = self.max_length == self._context_length
        return "take a model with a longer context" if is_context else "raise examples.max_length"

    @property
    def template_source(self) -> str | None:
        """The text of the chat template; None for the plain one."""
        return None if self._template is None else self._template.source

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
        encoded: Sequence[tuple[Any, ...] | G2isError]
        if self._template is not None:
            encoded = self._encode_chat(examples)
        else:
            encoded = self._encode_less(examples) if self._config.template == "less" else self._encode_plain(examples)
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
        ids = input_ids.tolist()
        return str(self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def _encode_chat(
        self, examples: Sequence[Example]
    ) -> list[tuple[np.ndarray, np.ndarray, tuple[str, ...]] | G2isError]:
        assert self._template is not None
        renderings: list[Rendering | G2isError] = []
        for example in examples:
            try:
                renderings.append(self._template.render(example.conversation))
            except TemplateLimitError as problem:  # every other row may take as long
                place = f"{example.origin.place(example.line)} ({example.id})"
                raise InputError(f"{self._template_name}, for {place}: {problem}") from None
            except G2isError as problem:
                renderings.append(problem)
        texts = [item.text for item in renderings if not isinstance(item, G2isError)]
        tokens = iter(tokenize(self._tokenizer, texts, offsets=True))
        results: list[tuple[np.ndarray, np.ndarray, tuple[str, ...]] | G2isError] = []
        for item in renderings:
            if isinstance(item, G2isError):
                results.append(item)
                continue
            found = next(tokens)
            if isinstance(found, G2isError):
                results.append(found)
                continue
            spans = [(of.start, of.end if self._learns_end else of.text_end) for of in item.answers]
            results.append((found.ids, found.inside(spans), item.dropped))
        return results

    def _encode_plain(self, examples: Sequence[Example]) -> list[tuple[np.ndarray, np.ndarray] | G2isError]:
        segments = [self._plain_segments(example.conversation) for example in examples]
        texts = [text for parts in segments if not isinstance(parts, G2isError) for text, _ in parts]
        tokens = iter(tokenize(self._tokenizer, texts))
        results: list[tuple[np.ndarray, np.ndarray] | G2isError] = []
        for parts in segments:
            if isinstance(parts, G2isError):
                results.append(parts)
                continue
            found = [next(tokens) for _ in parts]
            problem = next((of for of in found if isinstance(of, G2isError)), None)
            results.append(problem or self._joined([of for of in found if isinstance(of, Tokens)], parts))
        return results

    def _joined(self, tokens: list[Tokens], parts: list[tuple[str, bool]]) -> tuple[np.ndarray, np.ndarray]:
        """The tokens of a row's parts, of which answers are closed by EOS, and which of them are learned."""
        end = np.array([self._tokenizer.eos_token_id], np.int32)
        ids: list[np.ndarray] = []
        learned: list[np.ndarray] = []
        for of, (_, is_answer) in zip(tokens, parts, strict=True):
            ids.append(of.ids)
            learned.append(np.full(len(of.ids), is_answer))
            if is_answer:
                ids.append(end)
                learned.append(np.array([self._learns_end]))
        return np.concatenate(ids, dtype=np.int32), np.concatenate(learned, dtype=bool)

    def _plain_segments(self, conversation: Conversation) -> list[tuple[str, bool]] | G2isError:
        turns = plain_turns(conversation, self._config.system)
        return turns if isinstance(turns, G2isError) else plain_segments(turns, self._tokenizer.eos_token)

    def _encode_less(self, examples: Sequence[Example]) -> list[tuple[np.ndarray, np.ndarray] | G2isError]:
        rendered: list[LessText | G2isError] = []
        for example in examples:
            turns = plain_turns(example.conversation, self._config.system)
            eos = self._tokenizer.eos_token
            rendered.append(turns if isinstance(turns, G2isError) else less_text(turns, eos, self._learns_end))
        texts = dict.fromkeys(
            text
            for of in rendered
            if not isinstance(of, G2isError)
            for text in (of.text, *(part for answer in of.answers for part in answer))
        )
        # LESS lets the tokenizer add its own BOS, to the whole text and to each beginning whose tokens are counted
        tokens_of = dict(zip(texts, tokenize(self._tokenizer, list(texts), add_special_tokens=True), strict=True))
        ids_of = {text: tokens.ids for text, tokens in tokens_of.items() if isinstance(tokens, Tokens)}
        results: list[tuple[np.ndarray, np.ndarray] | G2isError] = []
        for of in rendered:
            if isinstance(of, G2isError):
                results.append(of)
                continue
            own = (tokens_of[text] for text in (of.text, *(part for answer in of.answers for part in answer)))
            problem = next((tokens for tokens in own if isinstance(tokens, G2isError)), None)
            if problem is not None:
                results.append(problem)
                continue
            mask = np.zeros(len(ids_of[of.text]), bool)
            for before, until in of.answers:
                mask[len(ids_of[before]) if before else 0 : len(ids_of[until])] = True
            results.append((ids_of[of.text], mask))
        return results

    def _finish(
        self, input_ids: np.ndarray, label_mask: np.ndarray, left_out: tuple[str, ...] = ()
    ) -> Rendered | G2isError:
        has_bos = self._bos_id is not None and len(input_ids) > 0 and input_ids[0] == self._bos_id
        if self._adds_bos and not has_bos:
            input_ids = np.concatenate([np.array([self._bos_id], np.int32), input_ids])
            label_mask = np.concatenate([np.array([False]), label_mask])
            has_bos = True
        label_mask[:1] = False  # nothing predicts the first token
        ids, mask = shorten(input_ids, label_mask, self.max_length, self._config.truncation, keep_first=has_bos)
        if len(ids) < len(input_ids):
            ids, mask = ids.copy(), mask.copy()  # a view would keep all of a long row
        if not mask.any():
            if not label_mask.any():
                alone = "" if self._learns_end else " but its end of turn, which examples.learn_end_of_turn leaves out"
                return InputError(f"expected an answer of at least one token after a context, found none{alone}")
            return InputError(
                f"expected learned tokens among the {self.max_length} that are kept of {len(input_ids)}, found none: "
                f"{self.remedy}, use --set examples.truncation=prompt-start, or leave the row out"
            )
        if self._num_embeddings is not None and (last := int(ids.max(initial=0))) >= self._num_embeddings:
            return InputError(
                f"expected tokens that the model has, ids below {self._num_embeddings}, found token {last}"
                f" ({self._tokenizer.convert_ids_to_tokens(last)!r}), which lies beyond its embedding. The tokenizer"
                " is of another model, or was given tokens that the model was not: resize the model with"
                " resize_token_embeddings(len(tokenizer)) and save it, or take the token out of the tokenizer"
            )
        num_answer_dropped = int(label_mask.sum()) - int(mask.sum())
        return Rendered(ids, mask, len(input_ids) - len(ids), num_answer_dropped, left_out)


def make_renderer(
    tokenizer: Any,
    config: ExamplesConfig,
    context_length: int | None,
    rows: Rows = "pool",
    num_embeddings: int | None = None,
) -> Renderer:
    """Return the renderer for a transformers tokenizer and a model that takes `context_length` tokens (None: any).

    `rows` are those it is for: of a pool or of training data, of a target, or of a test. They differ in whether the end
    of turn is learned. A row with a token id from `num_embeddings` on, where that is known, cannot be used.

    Raises ModelError if the template asked for is not there or not usable, a chat template's tokenizer gives no
    character offsets, or the plain template's has no EOS token; ConfigError if `examples.chat_template` is no template.
    """
    name = getattr(tokenizer, "name_or_path", "") or "the tokenizer"
    source = None if config.chat_template is None else read_chat_template(config.chat_template)
    has_template = source is not None or bool(getattr(tokenizer, "chat_template", None))
    if config.template == "chat" and not has_template:
        raise ModelError(f"{name}: expected a chat template, found none; use --set examples.template=plain")
    if config.template in WITHOUT_CHAT_TEMPLATE or not has_template:
        if tokenizer.eos_token_id is None:
            raise ModelError(
                f"{name}: expected an EOS token to close answers with, found none; set eos_token in its files"
            )
        return Renderer(tokenizer, config, context_length, None, rows, num_embeddings)
    if not tokenizer.is_fast:
        raise ModelError(
            f"{name}: expected a fast tokenizer (tokenizer.json), whose character offsets tell where answers stand, "
            "found a slow one; convert it, or use --set examples.template=plain"
        )
    try:
        template = ChatTemplate(
            tokenizer,
            config.date,
            source=source,
            system=config.system,
            dropped_text=config.dropped_text,
            append_eos=config.append_eos,
        )
    except (ModelError, TemplateLimitError) as error:
        kind = ModelError if isinstance(error, ModelError) else InputError
        raise kind(f"{name if source is None else config.chat_template}: {error}") from None
    return Renderer(tokenizer, config, context_length, template, rows, num_embeddings)

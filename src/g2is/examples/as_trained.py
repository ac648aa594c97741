"""How an adapter's examples were rendered, kept beside its weights: whoever asks the model later asks it alike.

    g2is_examples.json                 the settings that decide tokens, and the fingerprint of what came of them
    tokenizer.json, tokenizer_config…  the tokenizer as transformers saves it: AutoTokenizer loads it from there
    chat_template.jinja                the template that was used, which may be another than the model's

TRL and others save a tokenizer beside an adapter too: it takes the place of the model's. Sharing the folder is enough.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from g2is.config import ExamplesConfig
from g2is.config.io import parse
from g2is.config.strict import parse_json, read_text_file
from g2is.errors import ModelError, pass_on_too_little_memory
from g2is.examples.how_read import HOW_READ
from g2is.examples.tokenize import WITHOUT_CHAT_TEMPLATE, Renderer, Rows, make_renderer
from g2is.examples.tokenizer_digest import tokenizer_digest
from g2is.model.folder import ModelFolder
from g2is.store.files import remove, write_json, write_text

RECORD = "g2is_examples.json"
_FORMAT = 1
_TOKENIZER_FILES = ("tokenizer_config.json", "tokenizer.json")
TEMPLATE = "chat_template.jinja"
_TEMPLATE_FILE = "chat_template"  # the setting that names a file; its text is kept with the tokenizer
_ALWAYS_TOLD = ("template", "max_length", "truncation")
_MOST_TOKENS = 5  # that are listed


@dataclass(frozen=True)
class AsTrained:
    """How examples are rendered for a model with an adapter.

    `config` has what was taken from the adapter; `tokenizer` is the one to use, which `is_own` if it or its template is
    another than the model's; `is_told` says whether the adapter has a record; `notices` is what a user should know.
    """

    config: ExamplesConfig
    tokenizer: Any
    renderer: Renderer
    is_own: bool
    is_told: bool
    notices: tuple[str, ...]


def keep_rendering(
    folder: ModelFolder, tokenizer: Any, renderer: Renderer, config: ExamplesConfig, notice: Callable[[str], None]
) -> Callable[[Path], None]:
    """What writes, into the folder of an adapter of the model `folder`, how `renderer` renders its examples.

    `notice` is told if the tokenizer cannot be kept, since it is another one once it is saved and loaded.
    """

    def write(adapter: Path) -> None:
        if not _keep_tokenizer(folder, tokenizer, renderer, adapter):
            notice(
                "the tokenizer is not kept beside the adapter, since what transformers saves of it loads as another"
                " one; take the model's"
            )
            if renderer.template_source is not None:
                write_text(adapter / TEMPLATE, renderer.template_source)
        settings = config.model_dump(mode="json", exclude={*HOW_READ, _TEMPLATE_FILE})
        settings["template"] = renderer.fingerprint["template"]
        write_json(adapter / RECORD, {"format": _FORMAT, "settings": settings, "rendered": renderer.fingerprint})

    return write


def render_as_trained(
    folder: ModelFolder, adapter: Path | None, config: ExamplesConfig, rows: Rows = "pool"
) -> AsTrained:
    """The model's tokenizer and renderer, or those that its `adapter` was trained with, as far as it says.

    `rows` is as of `make_renderer`. What `config` sets itself counts before what the adapter says, and the difference
    is among the notices. Raises ModelError as `make_renderer`, and if the adapter's tokenizer or record cannot be used
    with this model.
    """
    base = folder.tokenizer()
    if adapter is None:
        renderer = make_renderer(base, config, folder.context_length, rows, folder.num_embeddings)
        return AsTrained(config, base, renderer, False, False, renderer.notices)
    record = _read_record(adapter)
    tokenizer, notices = _own_tokenizer(folder, adapter, base, keeps_plain=_is_plain(record))
    is_own = bool(notices)
    if record is not None:
        asked, config = config, taking(config, record["settings"])
        told = [
            f"{name} {value}"
            for name, value in record["settings"].items()
            if name not in asked.model_fields_set
            and (name in _ALWAYS_TOLD or value != ExamplesConfig.model_fields[name].default)
        ]
        if told:
            notices.append(f"{adapter}: examples are rendered as it was trained: {', '.join(told)}")
    renderer = make_renderer(tokenizer, config, folder.context_length, rows, folder.num_embeddings)
    if record is not None and (differing := _differing(record["rendered"], renderer.fingerprint)):
        notices.append(f"{adapter} was trained on examples rendered otherwise than here: {', '.join(differing)}")
    return AsTrained(config, tokenizer, renderer, is_own, record is not None, (*notices, *renderer.notices))


def taking(config: ExamplesConfig, settings: Mapping[str, Any]) -> ExamplesConfig:
    """`config` with `settings` where it says nothing itself; of two templates what it says counts."""
    taken = {name: value for name, value in settings.items() if name not in config.model_fields_set}
    both = {**{name: getattr(config, name) for name in config.model_fields_set}, **taken}
    if both.get("template") in WITHOUT_CHAT_TEMPLATE and both.get(_TEMPLATE_FILE) is not None:
        taken.pop("template" if "template" in taken else _TEMPLATE_FILE, None)
    return config.model_copy(update=taken)


def _keep_tokenizer(folder: ModelFolder, tokenizer: Any, renderer: Renderer, adapter: Path) -> bool:
    """Save the tokenizer with the template that was used; nothing is kept if it is not the same when loaded again."""
    own, saved = tokenizer.chat_template, adapter / "tokenizer.partial"
    several = isinstance(own, dict) and renderer.template_source in own.values()
    try:
        tokenizer.chat_template = own if several else renderer.template_source
        tokenizer.save_pretrained(saved)
        again = replace(folder, path=saved).tokenizer()
        same = tokenizer_digest(again) == tokenizer_digest(tokenizer) and again.chat_template == tokenizer.chat_template
    except OSError:  # a full disk
        raise
    except Exception as error:  # whatever a tokenizer's own code gives rise to
        pass_on_too_little_memory(error)
        same = False
    finally:
        tokenizer.chat_template = own
    if same:
        for path in saved.iterdir():
            path.rename(adapter / path.name)
    remove(saved)
    return same


def _read_record(adapter: Path) -> dict[str, Any] | None:
    path = adapter / RECORD
    if not path.exists():
        return None
    try:
        record = parse_json(read_text_file(path))
        if record["format"] != _FORMAT:
            raise ValueError(f"format {record['format']!r} of another version of g2is")
        settings, rendered = dict(record["settings"]), dict(record["rendered"])
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise ModelError(
            f"{path}: expected how the adapter's examples were rendered, as `g2is train` writes it (format {_FORMAT}),"
            f" but it cannot be read: {error or type(error).__name__}. Put a whole copy back, or take the file away and"
            " say with --set examples.… how to render"
        ) from None
    checked: ExamplesConfig = parse(ExamplesConfig, settings, f"{path}: examples")
    return {"settings": {name: getattr(checked, name) for name in settings}, "rendered": rendered}


def _is_plain(record: Mapping[str, Any] | None) -> bool:
    return record is not None and record["settings"].get("template") in WITHOUT_CHAT_TEMPLATE


def _own_tokenizer(folder: ModelFolder, adapter: Path, base: Any, *, keeps_plain: bool) -> tuple[Any, list[str]]:
    """The tokenizer to use with the adapter: its own if it has one, and how that differs from the model's."""
    notices: list[str] = []
    tokenizer, model_s = base, base.chat_template
    template = model_s
    if any((adapter / name).exists() for name in _TOKENIZER_FILES):
        own = replace(folder, path=adapter).tokenizer()
        template = own.chat_template
        if tokenizer_digest(own) != tokenizer_digest(base):
            _check_embedded(folder, adapter, own, base)
            notices.append(
                f"{adapter} has a tokenizer of its own, which takes the place of the model's: {_unlike(own, base)}"
            )
            tokenizer = own
    elif (adapter / TEMPLATE).is_file():
        try:
            template = read_text_file(adapter / TEMPLATE)
        except (OSError, ValueError) as error:
            raise ModelError(
                f"{adapter / TEMPLATE}: expected a chat template, but it cannot be read: {error}"
            ) from None
    if template is None and model_s is not None:
        if not keeps_plain:
            notices.append(f"{adapter} has a tokenizer without a chat template: the model's is used")
        template = model_s
    elif template != model_s:
        notices.append(f"{adapter} has a chat template of its own, which takes the place of the model's")
        tokenizer.name_or_path = str(adapter)  # what messages about the template name
    tokenizer.chat_template = template
    return tokenizer, notices


def _check_embedded(folder: ModelFolder, adapter: Path, own: Any, base: Any) -> None:
    """Raise ModelError if the adapter's tokenizer has tokens that the model has no row for, and its own has not."""
    num_rows, known = folder.num_embeddings, base.get_vocab()
    if num_rows is None:
        return  # rows with such tokens are refused where a model tells
    beyond = sorted((index, token) for token, index in own.get_vocab().items() if index >= num_rows)
    if beyond := [(index, token) for index, token in beyond if known.get(token) != index]:
        listed = ", ".join(f"{token!r} ({index})" for index, token in beyond[:_MOST_TOKENS])
        raise ModelError(
            f"{adapter}: expected a tokenizer whose tokens the model's embedding has, {num_rows} of them, found"
            f" {len(beyond)} beyond it: {listed}{' …' * (len(beyond) > _MOST_TOKENS)}. Give --model the model with the"
            f" resized embedding, or take {', '.join(_TOKENIZER_FILES)} out of that folder: the model's are used then"
        )


def _unlike(own: Any, base: Any) -> str:
    """In what two tokenizers differ, for a message."""
    ours, theirs = own.get_vocab(), base.get_vocab()
    parts = []
    if ours != theirs:
        changed = [
            token for token, _ in sorted(ours.items(), key=lambda item: item[1]) if theirs.get(token) != ours[token]
        ]
        more = ", ".join(map(repr, changed[:_MOST_TOKENS])) + " …" * (len(changed) > _MOST_TOKENS)
        parts.append(f"{len(ours)} tokens for {len(theirs)}" + (f" (other ones: {more})" if changed else ""))
    special = {**dict.fromkeys(base.special_tokens_map), **own.special_tokens_map}
    parts += [
        f"{name} {str(value)!r} for {str(base.special_tokens_map.get(name))!r}"
        for name, value in special.items()
        if str(value) != str(base.special_tokens_map.get(name))
    ]
    return "; ".join(parts) or "it cuts text otherwise"


def _differing(trained: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """The keys in which two fingerprints differ, with both values where these tell something."""
    texts = {"template_sha256": "another chat template", "tokenizer_sha256": "another tokenizer"}
    return [
        texts.get(key, f"{key} {trained.get(key)} there, {here.get(key)} here")
        for key in dict.fromkeys([*trained, *here])
        # a test row has the end of turn in its loss whatever was learned
        if trained.get(key) != here.get(key) and key != "learns_end_of_turn"
    ]

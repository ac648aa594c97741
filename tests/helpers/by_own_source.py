"""What a trainer's own source makes of an export: `python by_own_source.py TRAINER EXPORT SOURCES`.

SOURCES holds the unpacked wheels of trainers that cannot be installed beside g2is, each in a folder of its own, and a
folder `lib` of small packages that they need. What else they import is an empty stand-in: only what reads rows and
settings runs here. Prints JSON: [[input_ids, labels], …].
"""

import importlib
import importlib.machinery
import json
import logging
import os
import sys
import types
from pathlib import Path
from typing import Any

_STANDS = "G2IS_STAND_INS"


class _Stand(type):
    """A class of which anything can be had, and which gives back a function that it decorates."""

    def __call__(cls, *arguments: Any, **_: Any) -> Any:
        return arguments[0] if len(arguments) == 1 and callable(arguments[0]) else super().__call__()

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return cls


def stand_in(name: str) -> None:
    """Put an empty module in the place of one that is not installed."""
    parent, _, own = name.rpartition(".")
    if parent and parent not in sys.modules:
        stand_in(parent)
    module: Any = types.ModuleType(name)
    module.__spec__, module.__path__, module.__version__ = importlib.machinery.ModuleSpec(name, None), [], "0"

    def get(attribute: str) -> Any:
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        return _Stand(attribute, (), {})

    module.__getattr__ = get
    sys.modules[name] = module
    if parent:
        setattr(sys.modules[parent], own, module)


def load(*names: str) -> list[Any]:
    """Import modules; where something is not there, begin anew with a stand-in for it."""
    try:
        return [importlib.import_module(name) for name in names]
    except ModuleNotFoundError as error:
        stands = json.loads(os.environ.get(_STANDS, "[]"))
        if error.name is None or error.name in stands:
            raise
        os.environ[_STANDS] = json.dumps([*stands, error.name])
        os.execv(sys.executable, [sys.executable, *sys.argv])


def axolotl(export: Path) -> list[Any]:
    """By its schema of settings, and what it does with a dataset of the configuration."""
    import yaml

    schema, shared, wrappers, dicts = load(
        "axolotl.utils.schemas.config", "axolotl.utils.data.shared", "axolotl.utils.data.wrappers", "axolotl.utils.dict"
    )
    settings = yaml.safe_load((export / "axolotl.yaml").read_text())
    schema.AxolotlInputConfig(**settings)
    unknown = [key for key in settings if key not in schema.AxolotlInputConfig.model_fields]
    assert not unknown, unknown
    of = dicts.DictDefault(settings["datasets"][0])
    rows, _ = wrappers.get_dataset_wrapper(
        of, None, dicts.DictDefault(settings), None, shared.load_dataset_with_config(of, None)
    )
    return [[row["input_ids"], row["labels"]] for row in rows]


def llama_factory(export: Path) -> list[Any]:
    """By its arguments, its loader of tokens, and, for the rows as text, its parser and converter."""
    import yaml
    from datasets import load_dataset
    from transformers import AutoTokenizer

    loader, arguments, templates, parser, converter = load(
        "llamafactory.data.loader",
        "llamafactory.hparams.parser",
        "llamafactory.data.template",
        "llamafactory.data.parser",
        "llamafactory.data.converter",
    )
    settings = yaml.safe_load((export / "train.yaml").read_text())
    model, data, training, _, _ = arguments.get_train_args({**settings, "use_cpu": True})
    tokenizer = AutoTokenizer.from_pretrained(settings["model_name_or_path"])
    template = templates.get_template_and_fix_tokenizer(tokenizer, data)
    found = loader.get_dataset(template, model, data, training, "sft", tokenizer=tokenizer, processor=None)
    texts = load_dataset("json", data_files=str(export / "rows.jsonl"), split="train")
    (attributes,) = parser.get_dataset_list([settings["dataset"]], settings["dataset_dir"])
    converted = converter.align_dataset(texts, attributes, data, training)
    assert len(converted) == len(texts)
    assert all(row["_response"] for row in converted)
    return [[row["input_ids"], row["labels"]] for row in found["train_dataset"]]


def ms_swift(export: Path) -> list[Any]:
    """By its template: the one that use_chat_template: false makes of any."""
    import yaml
    from transformers import AutoTokenizer

    logger = logging.getLogger("modelscope")
    logger.addHandler(logging.StreamHandler(sys.stderr))
    for name in ("modelscope.utils.logger", "modelscope.hub.utils.utils"):
        stand_in(name)
    module: Any = sys.modules["modelscope.utils.logger"]
    module.get_logger = lambda *_, **__: logger
    _, templates, base, meta = load(
        "swift.utils.torch_utils", "swift.template", "swift.template.base", "swift.template.template_meta"
    )
    settings = yaml.safe_load((export / "sft.yaml").read_text())
    tokenizer = AutoTokenizer.from_pretrained(settings["model"])
    kind = type(
        "Training", (base.Template,), {"is_training": True, "is_encoder_decoder": False, "tokenizer": tokenizer}
    )
    any_template = meta.TemplateMeta("any", [], ["{{QUERY}}"], None)
    template = kind(
        None,
        any_template,
        use_chat_template=settings["use_chat_template"],
        max_length=settings["max_length"],
        loss_scale=settings["loss_scale"],
    )
    template.processor, template.mode = tokenizer, "train"
    template.template_meta.init(tokenizer)
    made = []
    for line in Path(settings["dataset"][0]).read_text().splitlines():
        found = template._encode(templates.StdTemplateInputs(messages=json.loads(line)["messages"]))
        made.append([found["input_ids"], found["labels"]])
    return made


if __name__ == "__main__":
    trainer, export, sources = sys.argv[1:]
    os.environ["DISABLE_VERSION_CHECK"] = "1"  # LLaMA-Factory's, of versions that it was not tried with
    sys.path[:0] = [str(path) for path in sorted(Path(sources).iterdir()) if path.is_dir()]
    for name in ["torchaudio", *json.loads(os.environ.get(_STANDS, "[]"))]:
        stand_in(name)
    read = {"axolotl": axolotl, "llama-factory": llama_factory, "ms-swift": ms_swift}[trainer]
    print("\n" + json.dumps(read(Path(export))))

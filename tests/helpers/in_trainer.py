"""What a trainer makes of an export, run in the trainer's own environment: `python in_trainer.py TRAINER EXPORT`.

Settings and rows go through the trainer's own command line, schema and loaders, up to the tokens that it would train
on. Nothing of g2is is imported: it need not be installed there. Prints JSON: the settings as the trainer has them, and
[[input_ids, labels], …].
"""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

Made = tuple[list[Any], list[Any]]  # the objects that hold its settings; its rows


def axolotl(export: Path) -> Made:
    """By its schema of settings, as `axolotl train` reads it, and by what it loads and prepares."""
    from axolotl.cli.config import load_cfg
    from axolotl.common.datasets import load_datasets
    from axolotl.utils.schemas.config import AxolotlInputConfig
    from axolotl.utils.schemas.datasets import SFTDataset

    given = _settings(export)
    unknown = set(given) - set(AxolotlInputConfig.model_fields)
    unknown |= {key for of in given["datasets"] for key in of} - set(SFTDataset.model_fields)
    assert not unknown, f"axolotl knows no {unknown}"  # its schema takes any key
    settings = load_cfg(str(export / "axolotl.yaml"))
    return [settings], list(load_datasets(cfg=settings).train_dataset)


def llama_factory(export: Path) -> Made:
    """By its arguments, as `llamafactory-cli train` reads them, its loader of tokens, and its converter of the text."""
    from datasets import load_dataset
    from llamafactory.data.converter import align_dataset
    from llamafactory.data.loader import get_dataset
    from llamafactory.data.parser import get_dataset_list
    from llamafactory.data.template import get_template_and_fix_tokenizer
    from llamafactory.hparams import get_train_args
    from llamafactory.model import load_tokenizer

    sys.argv = ["llamafactory-cli", str(export / "train.yaml"), "use_cpu=true"]
    model, data, training, tuning, generating = get_train_args()
    tokenizer = load_tokenizer(model)["tokenizer"]
    template = get_template_and_fix_tokenizer(tokenizer, data)
    found = get_dataset(template, model, data, training, "sft", tokenizer=tokenizer, processor=None)
    texts = load_dataset("json", data_files=str(export / "rows.jsonl"), split="train")
    (attributes,) = get_dataset_list(data.dataset, data.dataset_dir)
    converted = align_dataset(texts, attributes, data, training)
    assert len(converted) == len(texts)
    assert all(row["_prompt"] and row["_response"] for row in converted), "LLaMA-Factory takes a row as broken"
    return [model, data, training, tuning, generating], list(found["train_dataset"])


def ms_swift(export: Path) -> Made:
    """By what `swift sft` does before it trains: its arguments, model, template and dataset."""
    from swift.cli.main import parse_yaml_args
    from swift.pipelines.train.sft import SwiftSft

    words = [str(export / "sft.yaml")]
    parse_yaml_args(words)
    done = SwiftSft(words)  # refuses words that are left over
    rows, _ = done._prepare_dataset()
    return [done.args], [rows[at] for at in range(len(rows))]


def _settings(export: Path) -> dict[str, Any]:
    (path,) = export.glob("*.yaml")
    settings: dict[str, Any] = yaml.safe_load(path.read_text())
    return settings


def _as_read(objects: list[Any], given: dict[str, Any]) -> dict[str, Any]:
    """The values that the trainer has under the names that were given it."""
    found = {}
    for key in given:
        holders = [of for of in objects if (key in of if isinstance(of, dict) else hasattr(of, key))]
        assert holders, f"{key}: read nowhere"
        found[key] = holders[0][key] if isinstance(holders[0], dict) else getattr(holders[0], key)
    return found


def _list(ids: Any) -> list[int]:
    return [int(token) for token in ids]


if __name__ == "__main__":
    trainer, folder = sys.argv[1], Path(sys.argv[2])
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
    make: dict[str, Callable[[Path], Made]] = {
        "axolotl": axolotl,
        "llama-factory": llama_factory,
        "ms-swift": ms_swift,
    }
    objects, rows = make[trainer](folder)
    result = {
        "settings": _as_read(objects, _settings(folder)),
        "rows": [[_list(row["input_ids"]), _list(row["labels"])] for row in rows],
    }
    print("\n" + json.dumps(result, default=str))

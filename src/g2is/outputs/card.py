"""The card of a selection as a dataset of the hub: how it was selected, from what, by which method; licences.

It names no folder of the machine it was made on: of local files and models only their names.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import yaml

from g2is.config import HUB, Config
from g2is.config.targets import titled

ROWS, TABLE, CARD = "train.jsonl", "selection.parquet", "README.md"
_LICENCE_COLUMNS = ("license", "licence")
_LICENCE_NAME = re.compile(r"[a-z0-9.-]+")  # that the hub takes for one
_LONGEST = 80  # characters of a source or licence that are shown
_NOT_SAID = "not said by the pool"

_SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"))
_PATHS = ("include", "exclude", "exclude_overlap")  # settings of selection that name files


def dataset_card(
    name: str,
    config: Config,
    method: str,
    version: str,
    selected: Iterable[bytes],
    targets: Sequence[str | None],
    num_pool: int | None,
) -> str:
    """The card of the dataset `name` as Markdown.

    `method` is what it is in a line; `selected` are the rows as they stood in the pool, a line of JSON each; `targets`
    the target that each serves; `num_pool` how many rows the pool had, None where the run does not say.
    """
    by_source = licences(selected, config)
    said = {licence for of in by_source.values() for licence in of}
    one = next(iter(said)) if len(said) == 1 else None
    # the hub refuses a card whose `license` it does not know: only the name of an other one may be any
    is_named = one is not None and _LICENCE_NAME.fullmatch(one.lower())
    licence = {"license": "other", "license_name": one.lower()} if one is not None and is_named else {}
    num = sum(of.total() for of in by_source.values())
    settings = {
        "pretty_name": name.rsplit("/", 1)[-1],
        **licence,
        "task_categories": ["text-generation"],
        "tags": ["g2is", "data-selection", "instruction-tuning"],
        "size_categories": [next((title for most, title in _SIZES if num < most), "n>1M")],
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": ROWS}]}],
    }
    of_pool = "" if num_pool is None else f" of {num_pool:,}"
    return "\n".join(
        [
            "---",
            yaml.safe_dump(settings, sort_keys=False, allow_unicode=True).rstrip(),
            "---",
            "",
            f"# {name}",
            "",
            f"{num:,}{of_pool} instruction examples, selected with g2is {version}.",
            "",
            "## How they were selected",
            "",
            *_how(config, method, targets),
            "",
            "## Sources and licences",
            "",
            "Whether the rows may be shared, and how, is said by their sources.",
            "",
            "| source | rows | licence |",
            "|---|---|---|",
            *(
                f"| {_cell(source)} | {num:,} | {_cell(licence) if licence else _NOT_SAID} |"
                for source, of in by_source.items()
                for licence, num in of.most_common()
            ),
            "",
            "## Files",
            "",
            f"- `{ROWS}`: the rows in the order of the selection, as messages. `train: false` marks an answer that is"
            " context only, `prefill` the given beginning of one.",
            f"- `{TABLE}`: why each row was taken, in the same order.",
            "",
        ]
    )


def licences(selected: Iterable[bytes], config: Config) -> dict[str, Counter[str | None]]:
    """By source, the sources with most rows first: how many rows have which licence, None where they name none."""
    source_column = config.examples.columns.get("source", "source")
    alone = place_name(config.pool[0]) if len(config.pool) == 1 else "the pool"
    found: dict[str, Counter[str | None]] = {}
    for line in selected:
        row = json.loads(line)
        said = next((str(row[name]) for name in _LICENCE_COLUMNS if row.get(name)), None)
        found.setdefault(str(row.get(source_column) or alone), Counter())[said] += 1
    return dict(sorted(found.items(), key=lambda item: (-item[1].total(), item[0])))


def _how(config: Config, method: str, targets: Sequence[str | None]) -> list[str]:
    selection = config.selection
    num_for = Counter(targets)
    lines = [
        f"- **Method**: {method}",
        f"- **Pool**: {_places(config.pool)}",
        *(
            f"- **T{titled(name)[1:]}**: {_places(locations)}"
            + (f", {num_for[name]:,} rows serve it" if len(config.targets) > 1 else "")
            for name, locations in config.targets.items()
        ),
        f"- **Model**: {_cell(place_name(config.model.name))}"
        + (f" at {config.model.revision}" if config.model.revision else "")
        + ("" if config.warmup.adapter is None else ", with an adapter of its own"),
    ]
    values = selection.model_dump(mode="json")
    for name in _PATHS:
        values[name] = [place_name(path) for path in values[name]]
    values = {name: value for name, value in values.items() if value not in (None, [], {})}
    settings = yaml.safe_dump({"selection": values}, sort_keys=False, allow_unicode=True).rstrip()
    return [*lines, "", "```yaml", settings, "```"]


def _places(locations: Sequence[str]) -> str:
    return ", ".join(
        f"[{_cell(of)}](https://huggingface.co/datasets/{_dataset(of)})" if _is_on_hub(of) else _cell(place_name(of))
        for of in locations
    )


def _dataset(location: str) -> str:
    """org/name of hf:org/name/config@revision:split."""
    return "/".join(re.split("[@:]", location.removeprefix(HUB))[0].split("/")[:2])


def _is_on_hub(location: str) -> bool:
    """Whether it is hf:org/name, not hf:FOLDER, whose path is absolute in a run's settings."""
    return location.startswith(HUB) and not Path(location.removeprefix(HUB)).is_absolute()


def place_name(location: str) -> str:
    """What of a location may be told: of a path, which is absolute in a run's settings, its last part."""
    path = Path(location.removeprefix(HUB))
    return path.name if path.is_absolute() else location


def _cell(text: str) -> str:
    """Text of others, within a table."""
    flat = re.sub(r"\s+", " ", re.sub(r"([\\`|*_<>\[\]])", r"\\\1", text[:_LONGEST])).strip()
    return flat + (" …" if len(text) > _LONGEST else "")

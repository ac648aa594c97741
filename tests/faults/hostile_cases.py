# ruff: noqa: E501  # a case is read best on its line
"""Hostile files and the commands that would meet them: each is refused in one message, at once, and nothing runs.

`tests/end_to_end/test_hostile_files.py` runs them in one process, `benchmarks/faults/hostile.py` all, each in a process of its own.
"""

import hashlib
import json
import os
import pickle
import shutil
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from small_run import MODEL, SMALL, set_flags
from wrong_input import GOOD, Case, Place, case

RAN = "it-ran"  # a file of this name beside the case's others says that something hostile was executed
_ROW = json.dumps(GOOD)

_NO_NAMES: tuple[Any, ...] = (
    *("../../evil", "/etc", "", ".", "..", "epoch-1/../../x", "a\0b", "\ud800"),
    *(["epoch-1"], None, 3, {}),
)


class Executes:
    """Unpickled, it writes a file."""

    def __init__(self, place: Path) -> None:
        self._place = place

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self._place}",)


def _pool(content: str | bytes, name: str = "pool.jsonl") -> Callable[[Place], list[object]]:
    return lambda place: place.select("--budget", "10%", pool=place.text(name, content))


def _template(source: str) -> Callable[[Place], list[object]]:
    return lambda place: place.select(
        "--set", f"examples.chat_template={place.text('evil.jinja', source + '{{ messages[0].content }}')}"
    )


def _config(content: str | bytes) -> Callable[[Place], list[object]]:
    return lambda place: ["run", place.text("config.yaml", content), "--out", place.here / "run"]


def special(place: Place, kind: str, name: str) -> Path:
    """A pipe, socket, device or folder where a file is expected."""
    path = place.here / name
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as opened:
            here = os.open(place.here, os.O_RDONLY)
            try:
                opened.bind(f"/proc/self/fd/{here}/{name}")  # the whole path may be longer than a socket's
            finally:
                os.close(here)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
    return path


def _special(kind: str, flag: str) -> Callable[[Place], list[object]]:
    """A command that is right but for one file, which is something else."""

    def command(place: Place) -> list[object]:
        suffix = {
            "matrix": ".npy",
            "matrix.pt": ".pt",
            "matrix.safetensors": ".safetensors",
            "graph": ".npy",
            "config": ".yaml",
            "template": ".jinja",
        }.get(flag, ".jsonl")
        path = special(place, kind, f"special{suffix}")
        if flag.startswith("matrix"):
            return place.walk(pool=path)
        if flag == "graph":
            return place.walk("--method", "g2is", "--graph", path)
        if flag == "config":
            return ["run", path, "--out", place.here / "run"]
        return {
            "pool": place.select(pool=path),
            "target": place.select(target=path),
            "exclude": place.select("--exclude", path),
            "template": place.select("--set", f"examples.chat_template={path}"),
            "train": place.train(path),
            "evaluate": ["evaluate", path, "--model", MODEL, "--out", place.here / "evaluated"],
            "inspect": ["inspect", path],
        }[flag]

    return command


def _model_file(kind: str, name: str) -> Callable[[Place], list[object]]:
    def command(place: Place) -> list[object]:
        model = place.model(without=[name])
        special(place, kind, f"model/{name}")
        return place.select(model=model)

    return command


def store_with(place: Place, **files: Mapping[str, Any]) -> list[object]:
    """A `select` on a copy of the finished store in which some files are a stranger's, their digests right."""
    store = shutil.copytree(place.finished / "store", place.here / "store")
    for name, change in files.items():
        path = store / name.replace("__", "/")
        values = {key: value for key, value in json.loads(path.read_text()).items() if key != "digest"}
        values |= change
        digest = hashlib.blake2b(json.dumps(values, sort_keys=True).encode(), digest_size=16).hexdigest()
        path.write_text(json.dumps({**values, "digest": digest}))
    command = ["select", place.pool, place.target, "--model", MODEL, "--budget", "7%", "--out", place.here / "run"]
    return [*command, "--store", store, *set_flags(SMALL)]


def _store(**files: Mapping[str, Any]) -> Callable[[Place], list[object]]:
    return lambda place: store_with(place, **files)


def _named(name: Any) -> Callable[[Place], list[object]]:
    return _store(**{"warmup__complete.json": {"checkpoints": [{"name": name, "weight": 1.0, "digest": "0" * 32}]}})


def _pickle(name: str) -> Callable[[Place], list[object]]:
    def command(place: Place) -> list[object]:
        path = place.here / name
        content = Executes(place.here / RAN)
        if name.endswith(".pt"):
            torch.save(content, path)
        elif name.endswith(".npy"):
            import numpy as np

            np.save(path, np.array([content], object), allow_pickle=True)
        else:
            path.write_bytes(pickle.dumps(content))
        return place.walk(pool=path)

    return command


def _odd_name(what: str) -> Callable[[Place], list[object]]:
    """A file or folder that is right, whose name is not UTF-8."""

    def command(place: Place) -> list[object]:
        path = Path(os.fsdecode(os.fsencode(place.here) + b"/\xff" + what.encode()))
        if what == "model":
            shutil.copytree(MODEL, path)
            return place.select(model=path)
        if what.endswith(".npy"):
            place.matrix("good.npy").rename(path)
            return place.walk(pool=path)
        rows = [json.loads(line) for line in place.pool.read_text().splitlines()]
        if what.endswith(".parquet"):
            pq.write_table(pa.Table.from_pylist([{"messages": row["messages"]} for row in rows]), place.here / "made")
            (place.here / "made").rename(path)
        return place.select(pool=path)

    return command


def _out_name(place: Place) -> list[object]:
    command = place.select()
    command[command.index("--out") + 1] = Path(os.fsdecode(os.fsencode(place.here) + b"/run\xff"))
    return command


def _template_json(place: Place) -> list[object]:
    path = place.text("t.json", '{"chat_template": "a", "chat_template": "b"}')
    return place.select("--set", f"examples.chat_template={path}")


_DEEP_JSON = '{"messages": ' + "[" * 100_000 + "]" * 100_000 + "}"
_LAUGHS = "a: &a [ha, ha, ha, ha, ha, ha, ha, ha, ha]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefghi", "bcdefghij", strict=True)
)
_MERGED = "a: &a {x: 1, y: 2}\n" + "".join(
    f"{new}: &{new} {{<<: [{', '.join([f'*{old}'] * 9)}]}}\n" for old, new in zip("abcdefghi", "bcdefghij", strict=True)
)
_SURROGATE = '{"messages": [{"role": "user", "content": "2"}, {"role": "assistant", "content": "4"}], %s}'
_CALL = (
    '{"messages": [{"role": "user", "content": "2"}, {"role": "assistant", "content": "", "tool_calls":'
    ' [{"type": "function", "function": {"name": "f", "arguments": %s}}]}]}'
)

TEMPLATES: dict[str, str] = {
    "range of 10^9": "{% for i in range(10**9) %}x{% endfor %}",
    "text times 10^10": "{{ 'a' * 10**10 }}",
    "text times a variable": "{% set n = messages|length * 10000000000 %}{{ 'a' * n }}",
    "loops in loops": "{% for i in range(100000) %}{% for j in range(100000) %}x{% endfor %}{% endfor %}",
    "loops that pass all over": "{% for i in range(99999) %}{% for j in range(99999) if false %}x{% endfor %}{% endfor %}",
    "center": "{{ 'a'|center(10**10) }}",
    "ljust": "{{ 'a'.ljust(10**10) }}",
    "width of %": "{{ '%10000000000d' % 1 }}",
    "width from an argument": "{{ '%*d' % (10000000000, 1) }}",
    "width of format": "{{ '{:>10000000000}'.format(1) }}",
    "width in a width": "{{ '{:{}}'.format(1, 10000000000) }}",
    "macro that calls itself": "{% macro f(n) %}{{ f(n) }}{{ f(n) }}{% endmacro %}{{ f(1) }}",
    "macro that doubles": "{% macro f(x, n) %}{% if n %}{{ f(x ~ x, n - 1) }}{% else %}{{ x }}{% endif %}{% endmacro %}{{ f('ab', 60) }}",
    "text that doubles": "{% set ns = namespace(x='ab') %}{% for i in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}{{ ns.x }}",
    "lists in lists": "{% set ns = namespace(x=['ha']) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x }}",
    "mappings in mappings": "{% set ns = namespace(x={}) %}{% for i in range(60) %}{% set ns.x = dict(a=ns.x, b=ns.x) %}{% endfor %}{{ ns.x }}",
    "power of a power": "{% set n = messages|length + 10**9 %}{{ 9**n }}",
    "replace": "{{ ('a' * 100000)|replace('a', 'b' * 100000) }}",
    "join": "{{ range(100000)|join('b' * 100000) }}",
    "indent": "{{ ('a\n' * 100000)|indent(100000) }}",
    "batch": "{{ [1]|batch(10**9, 'x')|list }}",
    "tojson": "{{ [[1]]|tojson(indent=10**9) }}",
    "decimals": "{{ 1.5|round(10**9, 'ceil') }}",
    "shared default": "{{ range(100000)|map(attribute='q', default='a' * 1000000)|list }}",
    "parentheses": "{{ " + "(" * 20000 + "1" + ")" * 20000 + " }}",
    "a megabyte of source": "{{ 1" + "+1" * 500_000 + " }}",
}

HOSTILE: dict[str, Case] = {
    **{f"template: {name}": case(_template(source), "evil.jinja") for name, source in TEMPLATES.items()},
    **{
        f"{kind} as {flag}": case(_special(kind, flag), "special")
        for kind in ("pipe", "socket", "device", "folder")
        for flag in (
            *("pool", "target", "exclude", "template", "train", "evaluate", "inspect", "config"),
            *("matrix", "matrix.pt", "matrix.safetensors", "graph"),
        )
        if (kind, flag) != ("folder", "inspect")
    },
    **{
        f"{kind} as the model's {name}": case(_model_file(kind, name))
        for kind in ("pipe", "device")
        for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors")
    },
    "YAML nested 20,000 deep": case(_config("a: " + "[" * 20_000 + "]" * 20_000), "config.yaml", "nested"),
    "YAML maps nested 20,000 deep": case(_config("{a: " * 20_000 + "1" + "}" * 20_000), "config.yaml", "nested"),
    "YAML whose aliases explode": case(_config(_LAUGHS), "config.yaml", "aliases"),
    "YAML whose merges explode": case(_config(_MERGED), "config.yaml", "aliases"),
    "YAML that holds itself": case(_config("a: &a [*a]"), "config.yaml"),
    "YAML with a key twice": case(_config("command: select\npool: a\npool: b\n"), "config.yaml", "'pool' twice"),
    "YAML with a number of a million digits": case(_config("budget: " + "9" * 10**6), "config.yaml"),
    "YAML with a hexadecimal number of 900,000 digits": case(
        _config("budget: 0x" + "f" * 900_000), "config.yaml", "digits"
    ),
    "YAML with Python in it": case(_config("a: !!python/object/apply:os.system ['touch it-ran']"), "config.yaml"),
    "YAML with a tag that does not fit": case(_config("a: !!bool maybe"), "config.yaml"),
    "YAML with a date that is none": case(_config("a: !!timestamp maybe"), "config.yaml"),
    "YAML that is no text": case(_config(b"\xff\xfe\x00a"), "config.yaml"),
    "YAML with NaN": case(lambda place: place.select("--set", "warmup.learning_rate=.nan"), "learning_rate"),
    "key twice in a row": case(
        _pool(f'{_ROW[:-1]}, "id": "a", "id": "b"}}\n'), "pool.jsonl:1", "id 'b'", "the key 'id' twice"
    ),
    "key twice deep in a row": case(
        _pool('{"id": "a", "messages": [{"role": "user", "content": "a", "content": "b"}]}'),
        "pool.jsonl:1",
        "id 'a'",
        "'content' twice",
    ),
    "key twice in an array": case(
        _pool(f'[{_ROW[:-1]}, "id": 1, "id": 2}}]', "pool.json"), "pool.json:1", "the key 'id' twice"
    ),
    "NaN in a row": case(_pool(f'{_ROW[:-1]}, "id": "a", "score": NaN}}'), "pool.jsonl:1", "id 'a'", "NaN"),
    "Infinity in a row": case(_pool(f'{_ROW[:-1]}, "score": -Infinity}}'), "pool.jsonl:1", "Infinity"),
    "a million digits in a row": case(_pool(f'{_ROW[:-1]}, "score": {"9" * 10**6}}}'), "pool.jsonl:1", "digits"),
    "JSON nested 100,000 deep": case(_pool(_DEEP_JSON), "pool.jsonl:1", "recursion"),
    "JSON array nested 100,000 deep": case(_pool("[" * 100_000, "pool.json"), "pool.json"),
    "JSON nested 500 deep": case(_pool(f'{_ROW[:-1]}, "tools": {"[" * 500}{"]" * 500}}}'), "pool.jsonl:1", "deep"),
    "a template file with a key twice": case(_template_json, "t.json", "twice"),
    "surrogate in a text": case(
        _pool(_SURROGATE.replace('"4"', '"\\ud800"') % '"id": "a"'), "pool.jsonl:1 (a)", "surrogate"
    ),
    "surrogate in an id": case(_pool(_SURROGATE % '"id": "\\ud800"'), "pool.jsonl:1", "surrogate"),
    "surrogate in a source": case(_pool(_SURROGATE % '"source": "\\ud800"'), "pool.jsonl:1", "surrogate"),
    "surrogate in a group": case(_pool(_SURROGATE % '"group": "\\ud800"'), "pool.jsonl:1", "surrogate"),
    "surrogate in a column's name": case(_pool(_SURROGATE % '"id": "a", "\\ud800": 1'), "pool.jsonl:1", "surrogate"),
    "surrogate in a tool": case(_pool(_SURROGATE % '"tools": [{"name": "\\ud800"}]'), "pool.jsonl:1"),
    "surrogate in what a tool does": case(
        _pool(_SURROGATE % '"tools": [{"name": "f", "description": "x\\ud800"}]'), "pool.jsonl:1", "in `tools`"
    ),
    "surrogate in a call": case(_pool(_CALL % '{"x": "\\ud800"}'), "pool.jsonl:1", "turn 2 (assistant)", "surrogate"),
    "Infinity in a call": case(_pool(_CALL % '{"x": 1e999}'), "pool.jsonl:1", "turn 2 (assistant)", "Infinity"),
    "NaN in a call": case(_pool(_CALL % '"{\\"x\\": NaN}"'), "pool.jsonl:1", "arguments", "NaN"),
    "bytes in the model's name": case(_odd_name("model"), "UTF-8"),
    "bytes in a Parquet file's name": case(_odd_name("pool.parquet"), "UTF-8"),
    "bytes in the run's name": case(_out_name),
    "bytes in a column's name": case(lambda place: place.select("--column", os.fsdecode(b"answer=\xff"))),
    "bytes in a target's name": case(
        lambda place: place.select("--target", os.fsdecode(b"a\xff=") + str(place.target))
    ),
    **{f"complete.json names {name!r}": case(_named(name), "complete.json") for name in _NO_NAMES},
    "complete.json without checkpoints": case(
        _store(**{"warmup__complete.json": {"checkpoints": []}}), "complete.json"
    ),
    "complete.json with a text as checkpoints": case(
        _store(**{"warmup__complete.json": {"checkpoints": "evil"}}), "complete.json"
    ),
    "complete.json with a checkpoint that is a number": case(
        _store(**{"warmup__complete.json": {"checkpoints": [1]}}), "complete.json"
    ),
    "manifest.json with shards of no rows": case(_store(**{"manifest.json": {"shard_rows": 0}}), "manifest.json"),
    "manifest.json with shards of a text": case(_store(**{"manifest.json": {"shard_rows": "many"}}), "manifest.json"),
    "manifest.json with a list as fingerprint": case(_store(**{"manifest.json": {"fingerprint": [1]}}), "store"),
    "a pickle that runs as .pt": case(_pickle("evil.pt"), "evil.pt", "can run code"),
    "a pickle that runs as .npy": case(_pickle("evil.npy"), "evil.npy"),
    "a pickle that runs as .pth": case(_pickle("evil.pth"), "evil.pth"),
    "a zip as a pool": case(_pool(b"PK\x03\x04" + bytes(100)), "pool.jsonl", "zip"),
}

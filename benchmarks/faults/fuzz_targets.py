"""What is fuzzed: for each reader right files to begin with, and what is done with one that was changed."""

import gzip
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import zarr
import zstandard
from safetensors.torch import save

from g2is.config import Config
from g2is.config.commands import COMMANDS, command_of
from g2is.config.io import load, parse
from g2is.errors import G2isError
from g2is.examples.end_of_turn import PROBE
from g2is.examples.filter import _read_list
from g2is.examples.jinja import JinjaTemplate, RefusedError
from g2is.examples.messages import Row
from g2is.examples.read import Example, read_examples
from g2is.examples.sources import find_sources
from g2is.examples.template_file import read_chat_template
from g2is.selection.files import load_graph, load_matrix
from g2is.store.digests import damaged_files
from g2is.store.files import as_json, read_json
from g2is.store.manifest import check_store, stored_forms
from g2is.store.markers import read_marker
from g2is.store.plan import read_plan
from g2is.warmup.imported import find_checkpoint
from g2is.warmup.saved_optimizer import load_saved
from g2is.warmup.train import drawn_keys, finished_warmup

_NO_KEYS = np.zeros((0, 16), np.uint8)
_ROOT = Path(__file__).resolve().parents[2]
_ROWS: list[dict[str, object]] = [
    {"id": "a", "messages": [{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": "4"}]},
    {
        "id": 2,
        "messages": [{"role": "user", "content": "é\U0001f600"}, {"role": "assistant", "content": "b"}],
        "x": [1.5],
    },
]
_PAIRS: list[dict[str, object]] = [
    {"id": "a", "prompt": "2 + 2?", "completion": "4"},
    {"prompt": "b", "completion": "c", "source": "s"},
]
_CALL: dict[str, object] = {
    "messages": [
        {"role": "user", "content": "w?"},
        {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}]},
        {"role": "tool", "name": "f", "content": "1"},
        {"role": "assistant", "content": "1"},
    ],
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}],
}


@dataclass(frozen=True)
class Target:
    """`corpus` gives right files' content; `read` reads one, in a folder of its own."""

    corpus: Callable[[Path], list[bytes]]
    read: Callable[[Path, bytes], object]


def _lines(rows: list[dict[str, object]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def _file(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def _rows_of(name: str) -> Callable[[Path, bytes], list[Example]]:
    return lambda folder, content: list(read_examples(find_sources([str(_file(folder, name, content))])))


def _parquet(folder: Path) -> list[bytes]:
    found = []
    for rows in (_ROWS[:1], _PAIRS):
        pq.write_table(pa.Table.from_pylist(rows), folder / "made.parquet")
        found.append((folder / "made.parquet").read_bytes())
    return found


def _text_corpus(_: Path) -> list[bytes]:
    return [_lines(_ROWS), _lines(_PAIRS), _lines([_CALL])]


def _json_corpus(_: Path) -> list[bytes]:
    return [json.dumps(_ROWS, indent=1).encode(), json.dumps({"data": _PAIRS}).encode(), _lines([_CALL])]


def _csv_corpus(_: Path) -> list[bytes]:
    return [b'id,prompt,completion\n1,"a ""b""\n c",4\n2,x,y\n', 'prompt,completion,source\né,"[1]",s\n'.encode()]


def _compressed(of: Callable[[bytes], bytes]) -> Callable[[Path], list[bytes]]:
    return lambda folder: [of(content) for content in _text_corpus(folder)]


def _saved(value: object) -> bytes:
    made = io.BytesIO()
    torch.save(value, made)
    return made.getvalue()


def _npy(folder: Path) -> list[bytes]:
    found = []
    for values in (np.ones((3, 4), np.float32), np.ones((4, 3), np.float64).T):
        np.save(folder / "made.npy", values)
        found.append((folder / "made.npy").read_bytes())
    return found


def _matrix(name: str) -> Callable[[Path, bytes], object]:
    return lambda folder, content: load_matrix(_file(folder, name, content), "pool gradients")


def _graph(folder: Path) -> list[bytes]:
    np.save(folder / "graph.npy", np.zeros((3, 2), np.int64))
    return [(folder / "graph.npy").read_bytes()]


def _zarr_corpus(folder: Path) -> list[bytes]:
    array = zarr.create_array(folder / "made.zarr", shape=(4, 3), chunks=(2, 3), dtype="float32", overwrite=True)
    array[:] = 1
    return [(folder / "made.zarr/zarr.json").read_bytes()]


def _read_zarr(folder: Path, content: bytes) -> object:
    (folder / "made.zarr/zarr.json").write_bytes(content)
    return load_matrix(folder / "made.zarr", "pool gradients")


_CHECKPOINTS = {"checkpoints": [{"name": "epoch-1", "weight": 1.0, "digest": "0" * 32}], "num_steps": 3}
_MANIFEST = {"format": 1, "fingerprint": {"gradients.forms": "adam, sgd", "x": 1}, "shard_rows": 64}
_MARKER = {
    "fingerprint": "f",
    "num_rows": 3,
    "arrays": {"rows": {"dtype": "float16", "row_shape": [4], "checksum": "0" * 32}},
}


def _manifests(_: Path) -> list[bytes]:
    values = (_CHECKPOINTS, _MANIFEST, _MARKER, {"keys": ["0" * 32]}, {"selected.jsonl": "0" * 32})
    return [json.dumps(value).encode() for value in values]


def _read_manifest(folder: Path, content: bytes) -> object:
    """Every reader of a manifest gets this one, with a right digest where it is an object."""
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        value = None
    for name in ("complete.json", "manifest.json", "digests.json", "sample.json", "marker.json"):
        try:
            sealed = as_json(value, name).encode() if isinstance(value, dict) else content
        except (ValueError, RecursionError):
            sealed = content
        _file(folder, f"store/{name}", sealed)
    store, errors = folder / "store", []
    readers: list[Callable[[], object]] = [
        lambda: read_json(store / "complete.json"),
        lambda: finished_warmup(store),
        lambda: drawn_keys(store, _NO_KEYS, 0.1, 0),
        lambda: check_store(store, {"x": 1}),
        lambda: stored_forms(store),
        lambda: damaged_files(store),
        lambda: read_marker(store / "marker.json", "f", 64),
    ]
    for read in readers:
        try:
            read()
        except G2isError as error:
            errors.append(error)
    if errors:
        raise errors[0]
    return None


def _plans(folder: Path) -> list[bytes]:
    from g2is.store.plan import ShardPlan, write_plan

    write_plan(folder / "plan.npz", ShardPlan("f", 4, {0: np.zeros((2, 16), np.uint8)}))
    return [(folder / "plan.npz").read_bytes()]


def _configs(_: Path) -> list[bytes]:
    return [
        b"command: select\npool: [p.jsonl]\ntargets: {target: [t.jsonl]}\nout: run\nstore: store\nmodel: {name: m}\n",
        b"command: walk\npool: &a {x: 1}\nselection:\n  <<: *a\n  budget: 10%\nwarmup: {learning_rate: 1e-3}\n",
    ]


def _read_config(folder: Path, content: bytes) -> object:
    path = _file(folder, "config.yaml", content)
    values = load(path)
    model = COMMANDS[command_of(values, str(path))]
    return parse(model if model is not None else Config, values, str(path))


def _templates(_: Path) -> list[bytes]:
    own = [path.read_bytes() for path in sorted((_ROOT / "tests/data/templates").glob("*.jinja"))]
    return [of for of in own if len(of) < 3000]


class _Tokens:
    special_tokens_map = {"bos_token": "<s>", "eos_token": "</s>"}  # noqa: RUF012  # as a tokenizer has it


def _read_template(folder: Path, content: bytes) -> object:
    source = read_chat_template(_file(folder, "t.jinja", content))
    template = JinjaTemplate(source, _Tokens(), "2026-01-01")
    try:
        return template.run(Row.of(PROBE), thinks=False)
    except RefusedError:
        return None


_STATE = {"step": torch.tensor(3.0), "exp_avg": torch.ones(2, 2), "exp_avg_sq": torch.ones(2, 2)}
_GROUP = {"lr": 0.1, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0, "params": [0]}


def _checkpoint(folder: Path, content: bytes) -> object:
    for name in ("adapter_config.json", "adapter_model.safetensors", "optimizer.pt"):
        _file(folder, f"checkpoint/{name}", content)
    from g2is.warmup.imported import _settings

    find_checkpoint(folder / "checkpoint")
    return _settings(folder / "checkpoint/adapter_config.json")


TARGETS: dict[str, Target] = {
    "JSON lines": Target(_text_corpus, _rows_of("pool.jsonl")),
    "JSON": Target(_json_corpus, _rows_of("pool.json")),
    "CSV": Target(_csv_corpus, _rows_of("pool.csv")),
    "Parquet": Target(_parquet, _rows_of("pool.parquet")),
    "gzip": Target(_compressed(gzip.compress), _rows_of("pool.jsonl.gz")),
    "zstd": Target(_compressed(zstandard.ZstdCompressor().compress), _rows_of("pool.jsonl.zst")),
    "lists of ids": Target(lambda _: [b"a\nb\n"], lambda f, c: _read_list(_file(f, "ids.txt", c))),
    ".npy matrices": Target(_npy, _matrix("m.npy")),
    ".safetensors matrices": Target(lambda _: [save({"m": torch.ones(3, 4)})], _matrix("m.safetensors")),
    ".pt matrices": Target(lambda _: [_saved(torch.ones(3, 4))], _matrix("m.pt")),
    "Zarr matrices": Target(_zarr_corpus, _read_zarr),
    "graphs": Target(_graph, lambda f, c: load_graph(_file(f, "g.npy", c), 3)),
    "manifests": Target(_manifests, _read_manifest),
    "plans of shards": Target(_plans, lambda f, c: read_plan(_file(f, "read.npz", c))),
    "configs": Target(_configs, _read_config),
    "chat templates": Target(_templates, _read_template),
    "optimizers": Target(
        lambda _: [_saved({"state": {0: _STATE}, "param_groups": [_GROUP]})],
        lambda f, c: load_saved(_file(f, "optimizer.pt", c)),
    ),
    "adapter settings": Target(
        lambda _: [json.dumps({"peft_type": "LORA", "r": 4, "bias": "none", "task_type": "CAUSAL_LM"}).encode()],
        _checkpoint,
    ),
}

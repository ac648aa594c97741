"""The error catalogue: files and rows of examples, in every format."""

import gzip
import json
from collections.abc import Callable

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
from wrong_input import GOOD, Case, Place, bad_rows, case

PAIR = {"prompt": "2 + 2?", "completion": "4"}
MEND = (
    "Mend these rows or leave them out, then run the same command again; or set them aside with --set"
    " examples.on_bad_row=skip."
)
ONE_BAD = ("pool.", ": 1 of ", " cannot be used:", MEND)


def _pool(name: str, content: str | bytes, *flags: object) -> Callable[[Place], list[object]]:
    return lambda place: place.select(*flags, pool=place.text(name, content))


def _directory(place: Place) -> list[object]:
    place.rows("files/pool.jsonl", GOOD)
    return place.select(pool=place.here / "files")


def _two_files_one_id(place: Place) -> list[object]:
    files = [place.rows(name, PAIR | {"id": "a"}) for name in ("a.jsonl", "b.jsonl")]
    return ["select", *files, *place.select("--target", place.target)[3:]]


def _target_is_pool(place: Place) -> list[object]:
    return place.select(target=place.text("again.jsonl", place.pool.read_bytes()))


def _parquet(place: Place, **columns: list[object]) -> list[object]:
    pq.write_table(pa.table(columns), place.here / "pool.parquet")
    return place.select(pool=place.here / "pool.parquet")


def _cut_parquet(place: Place) -> list[object]:
    _parquet(place, prompt=["a"] * 900, completion=["b"] * 900)
    whole = (place.here / "pool.parquet").read_bytes()
    return place.select(pool=place.text("pool.parquet", whole[:-30]))


def _saved(place: Place, suffix: str) -> list[object]:
    rows = datasets.Dataset.from_list([PAIR])
    datasets.DatasetDict({"train": rows, "test": rows}).save_to_disk(place.here / "saved")
    return place.select(pool=f"{place.here / 'saved'}{suffix}")


def _damaged_saved(place: Place) -> list[object]:
    _saved(place, "")
    for file in (place.here / "saved/train").glob("*.arrow"):
        file.write_bytes(b"no arrow")
    return place.select(pool=f"{place.here / 'saved'}:train")


FILES: dict[str, Case] = {
    "missing file": case(
        lambda place: place.select(pool=place.here / "none.jsonl"),
        "none.jsonl: expected a file, found none", "check the path (current folder: ",
    ),
    "empty file": case(
        _pool("pool.jsonl", ""),
        "pool.jsonl: expected examples, found an empty file; leave it out, or make it again",
    ),
    "blank lines only": case(
        _pool("pool.jsonl", "\n\n  \n"),
        "pool.jsonl: expected at least one row, found none; leave it out, or fill it",
    ),
    "directory instead of a file": case(_directory, "expected a file, found a folder", "name its files", "/*.jsonl'"),
    "bad JSON at line 2": case(
        bad_rows(PAIR, '{"prompt": "a", '),
        "pool.jsonl:2: expected a JSON object, found bad JSON", "column 17", *ONE_BAD,
    ),
    "JSON that is no object": case(
        bad_rows(PAIR, "[1, 2]"),
        "pool.jsonl:2: expected a JSON object, found a list", *ONE_BAD,
    ),
    "unknown columns": case(
        bad_rows({"text": "hello", "id": "one"}),
        "pool.jsonl:1 (one)", "expected columns messages (messages)",
        "question, answer (question/answer), found columns text, id",
        "name them with --column, such as --column answer=COLUMN", *ONE_BAD,
    ),
    "mixed schemas": case(
        bad_rows(GOOD, PAIR | {"id": 7}),
        "pool.jsonl:2 (7): expected columns messages as in the rows before",
        "found columns prompt, completion, id (prompt/completion)", *ONE_BAD,
    ),
    "missing field": case(
        bad_rows(PAIR, {"prompt": "a"}),
        "pool.jsonl:2 (row-1): expected columns prompt, completion", "found columns prompt", *ONE_BAD,
    ),
    "null field": case(
        bad_rows(PAIR, {"prompt": "a", "completion": None}),
        "pool.jsonl:2 (row-1): expected a string in `completion`, found null", *ONE_BAD,
    ),
    "wrong type of field": case(
        bad_rows(PAIR, {"prompt": "a", "completion": 4}),
        "pool.jsonl:2 (row-1): expected a string in `completion`, found a number", *ONE_BAD,
    ),
    "wrong type of messages": case(
        bad_rows({"messages": "hello"}),
        "pool.jsonl:1 (row-0): expected a list of {role, content} in `messages`, found a string", *ONE_BAD,
    ),
    "unknown role": case(
        bad_rows({"messages": [{"role": "critic", "content": "a"}]}),
        "pool.jsonl:1 (row-0): expected `role` to be one of system", "assistant, gpt, model",
        "in `messages[0]`, found 'critic'", *ONE_BAD,
    ),
    "tool calls that are none": case(
        bad_rows({"messages": [*GOOD["messages"], {"role": "assistant", "content": "", "tool_calls": [1]}]}),
        "pool.jsonl:1 (row-0): expected a call {name, arguments} in `messages[2].tool_calls[0]`, found a number",
        *ONE_BAD,
    ),
    "a weight that is no flag": case(
        bad_rows({"messages": [*GOOD["messages"], {"role": "assistant", "content": "x", "weight": 0.5}]}),
        "pool.jsonl:1 (row-0): expected true or false (or 1 or 0) in `messages[2].weight`, found 0.5", *ONE_BAD,
    ),
    "an image": case(
        bad_rows(PAIR | {"images": ["a.png"]}),
        "pool.jsonl:1 (row-0): expected text alone, found `images`, which a text model cannot see", *ONE_BAD,
    ),
    "a preference pair": case(
        bad_rows({"prompt": "a", "chosen": "b", "rejected": "c"}),
        "pool.jsonl:1 (row-0): expected an answer to learn, found a preference pair (`chosen` and `rejected`)",
        "--column completion=chosen", *ONE_BAD,
    ),
    "an answer that is a bad one": case(
        bad_rows(PAIR | {"label": False}),
        "pool.jsonl:1 (row-0): expected rows to learn, found `label` = False", *ONE_BAD,
    ),
    "a column mapped to what the layout does not read": case(
        bad_rows(PAIR | {"note": "x"}, flags=["--column", "output=note"]),
        "examples.columns (--column) output=note: expected columns that the files' layout reads, found others",
        "prompt/completion reads completion, group, history",
    ),
    "id of a wrong type": case(
        bad_rows(PAIR | {"id": 1.5}),
        "pool.jsonl:1: expected `id` to be a string or an integer, found a number", *ONE_BAD,
    ),
    "empty answer": case(
        bad_rows(PAIR, PAIR | {"completion": " \n"}),
        "pool.jsonl:2 (row-1): expected an answer in turn 2 (assistant), found an empty one", *ONE_BAD,
    ),
    "no assistant turn": case(
        bad_rows({"messages": GOOD["messages"][:1]}),
        "pool.jsonl:1 (row-0): expected an assistant turn, found only user", *ONE_BAD,
    ),
    "everything masked, since the answer is cut away": case(
        bad_rows(
            PAIR | {"prompt": "2 + 2? " * 40, "id": "long"},
            flags=["--set", "examples.max_length=32", "--set", "examples.truncation=answer-end"],
        ),
        "pool.jsonl:1 (long): expected learned tokens among the 32 that are kept", "found none",
        "raise examples.max_length, use --set examples.truncation=prompt-start, or leave the row out", *ONE_BAD,
    ),
    "non-UTF-8": case(
        _pool("pool.jsonl", json.dumps(PAIR).encode() + b'\n{"prompt": "caf\xe9", "completion": "b"}\n'),
        "pool.jsonl:2: expected UTF-8 text, found byte 0xe9 at byte 16", *ONE_BAD,
    ),
    "UTF-16": case(
        _pool("pool.jsonl", json.dumps(PAIR).encode("utf-16")),
        "pool.jsonl: expected UTF-8 text from its suffix, found UTF-16 data", "convert it to UTF-8",
    ),
    "lone surrogate": case(
        bad_rows('{"prompt": "a\\ud83d", "completion": "b", "id": "x"}'),
        "pool.jsonl:1 (x): expected Unicode text in turn 1 (user), found a lone surrogate", *ONE_BAD,
    ),
    "an id twice in a file": case(
        bad_rows(PAIR | {"id": "a"}, PAIR, PAIR | {"id": "a"}),
        "pool.jsonl:3 (a): expected an id that no other row has, found that of line 1", *ONE_BAD,
    ),
    "an id in two files": case(
        _two_files_one_id,
        "b.jsonl:1 (a): expected an id that no row of any file has, found that of", "a.jsonl:1",
        "put the file's name before the ids, or leave `id` out",
    ),
    "no target rows": case(
        lambda place: place.select(target=place.text("target.jsonl", "\n")),
        "target.jsonl: expected at least one row, found none; leave it out, or fill it",
    ),
    "a target equal to the pool": case(
        _target_is_pool,
        "target: expected a small set of examples of what to learn, found the very content of the pool",
        "give it a file of its own",
    ),
    "25 bad rows": case(
        bad_rows(PAIR, *[{"prompt": "a", "completion": ""}] * 25),
        "pool.jsonl: 25 of ", "pool.jsonl:2 ",
        "pool.jsonl:21 (row-20): expected an answer in turn 2 (assistant), found an empty one", "… and 5 more", MEND,
    ),
    "a suffix of another compression": case(
        _pool("pool.jsonl.gz", "{}\n"),
        "pool.jsonl.gz: expected gzip from its suffix, found other data",
        "rename it to end in .jsonl, or make it again",
    ),
    "a compression without its suffix": case(
        _pool("pool.jsonl", gzip.compress(b"{}\n")),
        "pool.jsonl: expected plain text from its suffix, found gzip data", "rename it to end in .gz",
    ),
    "truncated gzip": case(
        _pool("pool.jsonl.gz", gzip.compress(json.dumps(PAIR).encode() + b"\n")[:-9]),
        "pool.jsonl.gz: expected the end of the gzip data, found the end of the file first",
        "copy or download it again",
    ),
    "CSV without a header": case(
        _pool("pool.csv", "what is 2 + 2?,4\n1,2\n"),
        "pool.csv: expected columns", "found columns what is 2 + 2?, 4", "name them with --column",
    ),
    "CSV with a row too short": case(
        _pool("pool.csv", "question,answer\na,b\nc\n"),
        "pool.csv:3: expected 2 fields as in the header, found 1", *ONE_BAD,
    ),
    "CSV with a quote that is never closed": case(
        _pool("pool.csv", 'question,answer\na,b\n"c,d\n'),
        "pool.csv:3: expected a row of CSV, found", "is a quote that opens here never closed?",
    ),
    "Parquet cut short": case(
        _cut_parquet,
        "pool.parquet: expected a whole Parquet file, found it truncated or damaged", "copy or download it again",
    ),
    "text called Parquet": case(
        _pool("pool.parquet", "{}\n"),
        "pool.parquet: expected Parquet from its suffix, found other data", "give it the suffix of what it is",
    ),
    "Parquet with other columns": case(
        lambda place: _parquet(place, text=["a"]),
        "pool.parquet: expected columns", "found columns text",
        "name them with --column, such as --column answer=COLUMN",
    ),
    "a JSON array cut short": case(
        _pool("pool.json", '[{"prompt": "a", "completion": "b"},\n {"prompt": "a"'),
        "pool.json:2: expected", "found",
    ),
    "a JSON array called JSON lines": case(
        _pool("pool.jsonl", '[\n{"prompt": "a", "completion": "b"}]'),
        "pool.jsonl:1: expected JSON lines from its suffix, found a JSON array", "rename it to end in .json",
    ),
    "save_to_disk without naming a split": case(
        lambda place: _saved(place, ""),
        "saved: expected one of", "saved:train", "saved:test; found no split named",
    ),
    "save_to_disk with an unknown split": case(
        lambda place: _saved(place, ":dev"),
        "saved:dev: expected one of", "saved:train", "found no split 'dev'",
    ),
    "a damaged save_to_disk": case(
        _damaged_saved,
        "saved:train: expected a dataset that the datasets library opens, but: ", "save it again with save_to_disk",
    ),
    "a dataset that the hub does not give": case(
        lambda place: place.select(pool="hf:nobody/nothing:train"),
        "hf:nobody/nothing:train: expected a dataset", "but: ", "check its name, and that this machine reaches the hub",
    ),
    "a malformed name of the hub": case(
        lambda place: place.select(pool="hf:nobody//nothing"),
        "hf:nobody//nothing: expected hf:org/name:split or hf:org/name/config:split",
    ),
    "a glob without match": case(
        lambda place: place.select(pool=f"{place.here}/part-*.jsonl"),
        "part-*.jsonl: expected files that match, found none; check the pattern (current folder: ",
    ),
    "a file twice": case(
        lambda place: ["select", place.pool, place.pool, *place.select("--target", place.target)[3:]],
        "pool.jsonl: expected every file and dataset once, found it twice; name it once",
    ),
    "an unknown standard column": case(
        lambda place: place.select("--column", "awnser=x"),
        "examples.columns: unknown standard column 'awnser'; did you mean answer?",
    ),
    "a column that no file has": case(
        lambda place: place.select("--column", "group=skill"),
        "(--column) group=skill: expected columns of the files, found only id, source, task, messages\n",
    ),
    "a malformed --column": case(
        lambda place: place.select("--column", "answer"),
        "--column: expected NAME=COLUMN such as answer=Solution, found 'answer'",
    ),
    "an unknown --schema": case(
        lambda place: place.select("--schema", "chatml"),
        "examples.layout: expected 'messages', 'sharegpt'", "found 'chatml'",
    ),
    "an unknown --on-bad-row": case(
        lambda place: place.select("--on-bad-row", "ignore"),
        "examples.on_bad_row: expected 'stop' or 'skip', found 'ignore'",
    ),
    "no row is left of those skipped": case(
        bad_rows("{", flags=["--on-bad-row", "skip"]),
        "pool.jsonl:1: expected a JSON object, found bad JSON", "No row is left. Mend some, or name other files.",
    ),
}  # fmt: skip

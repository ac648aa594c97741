"""Finished folders of every command, small and real, made once, each beside another of its kind."""

import contextlib
import io
import json
import os
import shutil
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

import g2is
from g2is.demo.skills import write_pool, write_target
from g2is.progress import Progress, Silent
from g2is.store.digests import record_text

MODEL = Path(g2is.__file__).parent / "demo/model"
Results = dict[str, Any]
NAMES = ("select", "stopped", "train", "evaluate", "compare")
_NUM_ROWS = 70
_STOP_AT = 4  # steps of the warm-up


@dataclass(frozen=True)
class Made:
    """Below `root`: first/NAME, the folders that are damaged, and second/NAME, made with another seed.

    `stopped` is a run that was stopped in its warm-up. `expected` has of each the results that its command given again,
    undisturbed, leaves.
    """

    root: Path
    expected: dict[str, Results] = field(default_factory=dict)

    def folder(self, name: str) -> Path:
        return self.root / "first" / name

    def other(self, name: str) -> Path:
        return self.root / "second" / name

    def copy(self, name: str, to: Path) -> None:
        """Copy a folder, whose settings name the copy from then on."""
        shutil.rmtree(to, ignore_errors=True)
        shutil.copytree(self.folder(name), to)
        for settings in to.rglob("config.yaml"):
            text = settings.read_text()
            settings.write_text(text.replace(str(self.folder(name)), str(to)))
            record_text(settings.parent, "config.yaml", (settings.parent / "config.yaml").read_text())

    def use(self, name: str, folder: Path) -> tuple[int, str, Results]:
        """Give the command of a copy again, and use its store for another target: exit code, what was said, results."""
        code, text = run_command("run", folder / "config.yaml", "--out", folder, *_store_of(folder))
        if code:
            return code, text, {}
        if name not in ("select", "stopped"):
            return code, text, results(name, folder)
        values = yaml.safe_load((folder / "config.yaml").read_text())
        values["targets"] = {"target": [str(self.root / "other_target.jsonl")]}
        values["execution"]["report"] = False  # which reads nothing of the store that the selection has not
        out = folder.with_name("of_other_target")
        shutil.rmtree(out, ignore_errors=True)
        settings = self.root / "of_other_target.yaml"
        settings.write_text(yaml.safe_dump(values, sort_keys=False))
        code, more = run_command("run", settings, "--out", out, *_store_of(folder))
        found = {} if code else {**results(name, folder), "other target": results("select", out)}
        return code, text + more, found


_RESULTS = {
    "select": (
        "selection.parquet",
        "scores.parquet",
        "picks.json",
        "selected*.jsonl",
        "excluded.jsonl",
        "bad_rows.jsonl",
    ),
    "train": ("adapter/*", "training.json", "bad_rows.jsonl"),
    "evaluate": ("answers.parquet", "evaluation.json", "bad_rows.jsonl"),
    "compare": ("cells/**/*.json", "bad_rows.jsonl"),
}
_RESULTS["stopped"] = (*_RESULTS["select"], "store/warmup/epoch-*/*")
_TIMES = ("seconds", "digest")


def results(name: str, folder: Path) -> Results:
    """What the command of a folder was given for, by path, times left out."""
    files = sorted({file for pattern in _RESULTS[name] for file in folder.glob(pattern) if file.is_file()})
    return {file.relative_to(folder).as_posix(): _without_times(file) for file in files}


def _without_times(file: Path) -> Any:
    if file.suffix != ".json" or file.parent.name == "adapter":
        return file.read_bytes()
    return {key: value for key, value in json.loads(file.read_text()).items() if key not in _TIMES}


def _store_of(folder: Path) -> list[str]:
    return ["--store", str(folder / "store")] if (folder / "store/warmup").exists() else []


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below `folder` by its path."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def run_command(*arguments: object) -> tuple[int, str]:
    """Run `g2is ARGUMENTS` in this process: exit code (1 with a traceback), and all that was printed."""
    from g2is.cli.app import main

    before, printed, code = sys.argv, io.StringIO(), 0
    sys.argv = ["g2is", *map(str, arguments)]
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        try:
            main()
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else int(bool(stop.code))
        except Exception:  # a bug's traceback is what is looked for
            traceback.print_exc()
            code = 1
    sys.argv = before
    return code, printed.getvalue()


@contextmanager
def made_folders(names: tuple[str, ...] = NAMES) -> Iterator[tuple[Made, Path]]:
    """Make the folders, and give them and a folder for copies; both are gone afterwards."""
    # in memory where there is such a place: what is damaged is files, not a disk that is slow to make them durable
    memory = Path("/dev/shm")
    where = memory if os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="g2is-faults-", dir=where) as place:
        root = Path(place).resolve()
        made = Made(root)
        write_target(root / "other_target.jsonl", num_rows=5, seed=7)
        for number, which in enumerate(("first", "second")):
            _make(root / which, number, names)
        for name in names:
            copy = root / "copy"
            made.copy(name, copy)
            code, text, made.expected[name] = made.use(name, copy)
            assert code == 0, text
        yield made, root / "copies"


def _make(root: Path, seed: int, names: tuple[str, ...]) -> None:
    root.mkdir(parents=True)
    pool, target, test = (root / f"{name}.jsonl" for name in ("pool", "target", "test"))
    write_pool(pool, num_rows=_NUM_ROWS, seed=seed)
    write_target(target, num_rows=6)
    test.write_text("".join(target.read_text().splitlines(keepends=True)[:4]))
    with pool.open("a") as lines:
        lines.write(json.dumps({"messages": [{"role": "user", "content": "unanswered"}]}) + "\n")
    warmup: Any = {"learning_rate": 2e-3, "lora": {"rank": 2}, "fraction": 0.4, "batch_size": 4, "epochs": 2}
    tuning: Any = {"learning_rate": 1e-3, "lora": {"rank": 2}, "epochs": 1, "batch_size": 4}
    settings: dict[str, Any] = {
        "warmup": {**warmup, "seed": seed},
        "gradients": {"projection": {"dim": 64, "seed": seed}},
        "examples": {"on_bad_row": "skip"},
    }
    execution: Any = {"shard_rows": 32, "resume_steps": 1}
    what: dict[str, Any] = {"pool": pool, "target": target, "model": MODEL}
    if "select" in names or "train" in names:
        g2is.select(**what, out=root / "select", budget="20%", execution=execution, **settings)
    if "stopped" in names:
        with contextlib.suppress(KeyboardInterrupt):
            stopped: Any = {**execution, "report": False}
            g2is.select(**what, out=root / "stopped", reporter=_Stops(), budget="20%", execution=stopped, **settings)
    if "train" in names:
        g2is.train(
            data=root / "select",
            model=MODEL,
            out=root / "train",
            tuning=tuning | {"seed": seed},
            execution={"resume_steps": 1},
        )
    if "evaluate" in names:
        g2is.evaluate(model=MODEL, out=root / "evaluate", test=test, evaluation={"max_new_tokens": 3})
    if "compare" in names:
        shared: dict[str, Any] = {"examples": settings["examples"], "gradients": {"projection": {"dim": 64}}}
        g2is.compare(
            **what,
            test=test,
            out=root / "compare",
            methods=["less"],
            budgets=["20%"],
            num_seeds=1,
            tuning=tuning,
            evaluation={"generate": False},
            execution={"shard_rows": 32},
            warmup=warmup,
            **shared,
        )


class _Stops(Silent):
    """Stops a run as Ctrl-C does, in the middle of its warm-up."""

    @contextmanager
    def stage(self, title: str, unit: str) -> Iterator[Progress]:
        def progress(done: int, _: int) -> None:
            if title == "warm up" and done == _STOP_AT:
                raise KeyboardInterrupt

        yield progress


os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

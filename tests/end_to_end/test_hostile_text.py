"""Names, ids, columns and texts that a terminal would obey: every command shows them, and none obeys."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from small_run import MODEL, SMALL, set_flags

Command = Callable[..., tuple[int, str, str]]

EVIL = "\x1b]52;c;cm0=\x07\x1b[2J\x9b1m\u202e"
OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, sample: Path) -> Path:
    """The sample with evil in every place that a user's files have: names of files, ids, sources, groups, columns."""
    folder = tmp_path_factory.mktemp("hostile") / f"in{EVIL}"
    folder.mkdir()
    for name in ("pool", "target"):
        rows = [json.loads(line) for line in (sample / f"{name}.jsonl").read_text().splitlines()]
        for number, row in enumerate(rows):
            row |= {"id": f"{number}{EVIL}", "source": f"s{EVIL}{number % 2}", "group": f"g{EVIL}", f"column{EVIL}": 1}
            if number % 4 == 0:
                row["messages"][0]["content"] += EVIL
        (folder / f"{name}{EVIL}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    bad = [{"id": f"bad{EVIL}", "messages": [{"role": f"r{EVIL}", "content": "x"}]}, {f"other{EVIL}": EVIL}]
    (folder / "bad.jsonl").write_text("".join(json.dumps(row) + "\n" for row in bad))
    (folder / f"matrix{EVIL}.npy").write_bytes(b"no matrix")
    np.save(folder / f"pool{EVIL}.npy", np.random.default_rng(0).normal(size=(40, 8)).astype(np.float32))
    np.save(folder / f"target{EVIL}.npy", np.random.default_rng(1).normal(size=(4, 8)).astype(np.float32))
    return folder


def test_no_command_obeys(folder: Path, g2is: Command) -> None:
    pool, target = (folder / f"{name}{EVIL}.jsonl" for name in ("pool", "target"))
    run, model = folder / f"run{EVIL}", ("--model", MODEL)
    small = set_flags(SMALL)
    tuning = set_flags({"tuning.lora.rank": "4", "tuning.epochs": "1", "tuning.learning_rate": "1e-3"})
    matrices = ["--pool-gradients", folder / f"pool{EVIL}.npy", "--target-gradients", folder / f"target{EVIL}.npy"]
    model_folder = folder / f"model{EVIL}"
    shutil.copytree(MODEL, model_folder)
    (model_folder / "chat_template.jinja").write_text(f"{{{{ raise_exception('no{EVIL}') }}}}")
    good: list[list[object]] = [
        ["inspect", pool],
        ["inspect", pool, *model],
        ["select", pool, target, *model, "--out", run, "--budget", "10%", "--dry-run", *small],
        ["select", pool, target, *model, "--out", run, "--budget", "10%", *small],
        ["export", run],
        ["train", run, *model, "--out", folder / f"tuned{EVIL}", *tuning],
        ["evaluate", target, *model, "--out", folder / f"eval{EVIL}", "--set", "evaluation.generate=false"],
        ["walk", *matrices, "--budget", "5", "--out", folder / f"walk{EVIL}"],
        ["run", run / "config.yaml", "--out", folder / f"again{EVIL}", "--dry-run"],
    ]
    bad: list[list[object]] = [
        ["inspect", folder / "bad.jsonl"],
        ["inspect", folder / f"none{EVIL}"],
        ["inspect", pool, "--model", folder / f"none{EVIL}"],
        ["inspect", pool, "--model", model_folder],
        ["inspect", pool, "--column", f"answer{EVIL}=x"],
        ["select", folder / "bad.jsonl", target, *model, "--out", folder / "x", "--budget", "10%"],
        ["select", pool, target, *model, "--out", folder / "x", "--budget", f"1{EVIL}"],
        ["select", pool, target, *model, "--out", folder / "x", "--set", f"war{EVIL}=1"],
        ["train", folder / f"none{EVIL}", *model, "--out", folder / "x"],
        ["evaluate", folder / "bad.jsonl", *model, "--out", folder / "x"],
        [
            "walk",
            "--pool-gradients",
            folder / f"matrix{EVIL}.npy",
            "--target-gradients",
            "x.npy",
            "--out",
            folder / "x",
        ],
        ["compare", folder / "bad.jsonl", target, "--test", target, *model, "--out", folder / "x"],
        ["run", folder / f"none{EVIL}.yaml"],
        [f"comm{EVIL}and"],
        ["select", f"--fl{EVIL}ag"],
    ]
    for expected, commands in ((0, good), (2, bad)):
        for arguments in commands:
            code, out, err = g2is(*arguments)
            assert code == expected, (arguments, code, out, err)
            assert not OBEYED.search((out + err).replace("\n", "")), (arguments[0], out, err)
            shown = "␛" in out + err or "\\x1b" in out + err  # as a mark, or as Python writes it
            assert shown or expected == 0, (arguments, out, err)

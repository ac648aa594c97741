"""`g2is evaluate` on rows and on tasks of lm-evaluation-harness, with the bundled model untuned and tuned."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from small_run import MODEL, set_flags
from wrong_input import GOOD, listing

from g2is.config import EvaluateConfig, EvaluationConfig, ModelConfig, TrainConfig
from g2is.jobs.evaluate import evaluate
from g2is.jobs.train import train

Command = Callable[..., tuple[int, str, str]]
BRIEF = set_flags({"evaluation.max_new_tokens": "12"})
_TASK = """
task: own_{kind}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: {kind}
doc_to_text: "{{{{messages[0].content}}}}"
"""
_GENERATE = """
doc_to_target: "{{messages[1].content}}"
generation_kwargs: {until: ["</s>"], max_gen_toks: 24}
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
"""
_CHOOSE = """
doc_to_choice: "{{[messages[1].content, 'The cloud has 6 letters and begins with c.']}}"
doc_to_target: 0
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
"""


@pytest.fixture(scope="module")
def test_rows(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first six rows of the sample pool."""
    path = tmp_path_factory.mktemp("test") / "test.jsonl"
    path.write_text("".join(line + "\n" for line in (sample / "pool.jsonl").read_text().splitlines()[:6]))
    return path


@pytest.fixture(scope="module")
def tuned(test_rows: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training that has learned the test rows by heart, but the last two."""
    out = tmp_path_factory.mktemp("tuned") / "tuned"
    learned = out.parent / "learned.jsonl"
    learned.write_text("".join(line + "\n" for line in test_rows.read_text().splitlines()[:4]))
    lora = {"rank": 16, "alpha": 32, "dropout": 0.0}
    tuning = {"lora": lora, "epochs": 40, "learning_rate": 5e-3, "batch_size": 4}
    train(TrainConfig(data=str(learned), out=out, model=ModelConfig(name=str(MODEL)), tuning=tuning))
    return out


def table(out: Path) -> dict[str, list[object]]:
    return pq.read_table(out / "answers.parquet").to_pydict()


def test_an_adapter_of_g2is_train_is_tested_row_by_row(
    g2is: Command, test_rows: Path, tuned: Path, tmp_path: Path
) -> None:
    code, out, err = g2is("evaluate", test_rows, "--model", MODEL, "--adapter", tuned, "--out", tmp_path / "out")
    assert code == 0, err
    assert "tested on 6 rows" in out
    found = table(tmp_path / "out")
    rows = [json.loads(line) for line in test_rows.read_text().splitlines()]
    assert found["id"] == [row["id"] for row in rows]
    assert found["row"] == list(range(6))
    assert found["expected"] == [row["messages"][1]["content"] for row in rows]
    exact = [float(a == b) for a, b in zip(found["given"], found["expected"], strict=True)]
    assert found["exact_match"] == exact
    assert 3 <= sum(exact) < 6
    summary = json.loads((tmp_path / "out/evaluation.json").read_text())
    assert summary["means"]["exact_match"] == pytest.approx(np.mean(exact))
    weights = np.array(found["num_learned"])
    assert summary["means"]["loss"] == pytest.approx((np.array(found["loss"]) * weights).sum() / weights.sum())
    assert f"exact_match     {np.mean(exact):.4f}" in out
    model, loss_alone = ModelConfig(name=str(MODEL)), EvaluationConfig(generate=False)
    untuned = evaluate(EvaluateConfig(test=str(test_rows), out=tmp_path / "u", model=model, evaluation=loss_alone))
    assert untuned.summary["means"]["loss"] > summary["means"]["loss"]
    assert table(tmp_path / "u")["given"] == [None] * 6


def test_given_again_nothing_is_computed_replayed_it_is_the_same_and_other_settings_are_refused(
    g2is: Command, test_rows: Path, tuned: Path, tmp_path: Path
) -> None:
    command = ("evaluate", test_rows, "--model", MODEL, "--out", tmp_path / "out", *BRIEF)
    code, first, err = g2is(*command)
    assert code == 0, err
    before = listing(tmp_path / "out")
    code, again, err = g2is(*command, "--set", "execution.batch_tokens=64")
    assert code == 0, err
    assert again == first
    assert "load model" not in err
    after = listing(tmp_path / "out")
    assert {path for path in before if before[path] != after[path]} <= {str(tmp_path / "out/config.yaml")}
    assert g2is("run", tmp_path / "out/config.yaml", "--out", tmp_path / "replayed")[0] == 0
    there, here = table(tmp_path / "out"), table(tmp_path / "replayed")
    assert here.pop("loss") == pytest.approx(there.pop("loss"), rel=1e-5)  # batches were others
    assert here == there
    code, _, err = g2is(*command[:-1], "evaluation.max_new_tokens=13", "--adapter", tuned)
    assert code == 2
    assert "out: expected an evaluation made with the settings asked for, found 2 that differ:" in err
    assert "evaluation.max_new_tokens: there 12, asked for 13" in err
    assert "adapter: there None, asked for " in err
    assert "name another --out" in err
    assert listing(tmp_path / "out") == after


def test_a_stopped_evaluation_goes_on_with_the_answers_that_it_has(
    g2is: Command, test_rows: Path, tmp_path: Path
) -> None:
    command = ("evaluate", test_rows, "--model", MODEL, "--out", tmp_path / "out", *BRIEF)
    assert g2is(*command)[0] == 0
    result = (tmp_path / "out/evaluation.json").read_text()
    (tmp_path / "out/evaluation.json").unlink()  # as if it had been stopped between the two
    code, _, err = g2is(*command)
    assert code == 0, err
    assert "load model" not in err
    assert (tmp_path / "out/evaluation.json").read_text() == result


def test_references_and_short_answers_are_read_and_bad_rows_set_aside(g2is: Command, tmp_path: Path) -> None:
    question = GOOD["messages"][0]
    plain = tmp_path / "plain.jsonl"
    plain.write_text(json.dumps(GOOD) + "\n")
    assert g2is("evaluate", plain, "--model", MODEL, "--out", tmp_path / "plain", *BRIEF)[0] == 0
    (given,) = table(tmp_path / "plain")["given"]
    rows = [
        GOOD | {"references": ["never said", given]},
        GOOD | {"id": "bad", "references": 4},
        GOOD | {"answer": "no number"},
        "{",
        {"messages": [question, {"role": "assistant", "content": "four"}], "references": []},
    ]
    test = tmp_path / "test.jsonl"
    test.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    flags = ["--on-bad-row", "skip", *BRIEF]
    code, out, err = g2is("evaluate", test, "--model", MODEL, "--out", tmp_path / "out", *flags)
    assert code == 0, err
    found = table(tmp_path / "out")
    assert found["row"] == [0, 2, 4]
    assert found["given"] == [given] * 3
    assert found["exact_match"] == [1, 0, 0]
    assert found["rouge_l"][0] == 1
    assert found["numeric_match"] == [0, None, None]
    assert "numeric_match   0.0000  of 1 rows" in out
    listed = [json.loads(line) for line in (tmp_path / "out/bad_rows.jsonl").read_text().splitlines()]
    assert sorted((row["line"], row["id"]) for row in listed) == [(2, "bad"), (4, None)]
    assert "".join(err.split()).count("(listedinbad_rows.jsonl)") == 2


def test_tasks_of_one_s_own_are_run_offline_and_agree_with_our_own_numbers(
    g2is: Command, test_rows: Path, tuned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("lm_eval", reason="lm-eval is an optional extra")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    tasks: list[Any] = []
    for kind, rest in (("generate_until", _GENERATE), ("multiple_choice", _CHOOSE)):
        tasks += ["--task", tmp_path / f"{kind}.yaml"]
        tasks[-1].write_text(_TASK.format(kind=kind, data=test_rows) + rest)
    ours = ("evaluate", "--model", MODEL, "--adapter", tuned)
    chat = set_flags({"evaluation.task_chat_template": "true"})
    code, out, err = g2is(*ours, *tasks, "--out", tmp_path / "tasks", *chat)
    assert code == 0, err
    assert g2is(*ours, test_rows, "--out", tmp_path / "rows", *set_flags({"evaluation.max_new_tokens": "24"}))[0] == 0
    found = json.loads((tmp_path / "tasks/evaluation.json").read_text())["tasks"]
    exact = json.loads((tmp_path / "rows/evaluation.json").read_text())["means"]["exact_match"]
    generated = found[str(tasks[1])]["results"]["own_generate_until"]["exact_match,none"]
    assert generated == pytest.approx(exact)
    assert 0.5 <= generated < 1
    assert found[str(tasks[3])]["results"]["own_multiple_choice"]["acc,none"] >= 0.75
    assert "own_generate_until" in out
    code, again, err = g2is(*ours, *tasks, "--out", tmp_path / "tasks", *chat)
    assert code == 0, err
    assert again == out
    assert "ask " not in err
    first = str(tasks[1])
    (tmp_path / "tasks/tasks.json").write_text(json.dumps({first: found[first]}))
    (tmp_path / "tasks/evaluation.json").unlink()  # as if it had been stopped between the two
    code, again, err = g2is(*ours, *tasks, "--out", tmp_path / "tasks", *chat)
    assert code == 0, err
    assert again == out
    assert "ask multiple_choice" in err
    assert "ask generate_until" not in err
    assert not (tmp_path / "tasks/tasks.json").exists()
    code, _, err = g2is("run", tmp_path / "tasks/config.yaml", "--dry-run")
    assert code == 2
    assert "is an evaluation, which has none" in err

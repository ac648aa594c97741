"""`g2is evaluate` on rows and on tasks of lm-evaluation-harness, with the bundled model untuned and tuned."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from safetensors.torch import load_file, save_file
from small_run import MODEL, set_flags
from wrong_input import GOOD, listing

from g2is.config import EvaluateConfig, EvaluationConfig, ModelConfig, TrainConfig
from g2is.evaluation.questions import VERSION
from g2is.jobs.evaluate import evaluate
from g2is.jobs.train import train
from g2is.store.digests import record_digests
from g2is.store.files import read_json, write_json

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
    rewritten = {str(tmp_path / "out" / name) for name in ("config.yaml", "digests.json")}
    assert {path for path in before if before[path] != after[path]} <= rewritten
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


BALLS = "Each bag has 7 small red balls in it. "
CUT = [
    {"id": "long", "question": "How many balls?", "answer": f"She had 3 bags. {BALLS * 6}So 3 * 14 = 42.\n#### 42"},
    {"id": "short", "question": "How many cats?", "answer": "1 + 1 = 2\n#### 2"},
]
MARKED = [
    {"id": "html", "question": "Strike out the word old in HTML.", "answer": "<s>old</s> new"},
    {"id": "plain", "question": "Say new.", "answer": "new"},
]


def written(folder: Path, rows: list[dict[str, Any]]) -> Path:
    path = folder / "test.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(params=["bundled", "stories260K"])
def model(request: pytest.FixtureRequest) -> Path:
    """A model with a chat template, and one without."""
    if request.param == "bundled":
        return MODEL
    shared: Path = request.getfixturevalue("shared")
    return shared / "models/stories260K"


def test_the_right_answer_is_whole_whatever_was_cut_and_a_row_without_its_question_is_counted(
    g2is: Command, model: Path, tmp_path: Path
) -> None:
    command = ("evaluate", written(tmp_path, CUT), "--model", model, *set_flags({"examples.max_length": "64"}))
    code, out, err = g2is(*command, "--out", tmp_path / "front-lost")
    assert code == 0, err
    found = table(tmp_path / "front-lost")
    assert found["expected"] == [row["answer"] for row in CUT]
    assert found["num_learned"][0] < 64  # type: ignore[operator]  # the loss is over what was kept
    assert found["given"][0] is None
    for name in ("exact_match", "rouge_l", "numeric_match"):
        assert found[name][0] is None
        assert found[name][1] is not None
    result = json.loads((tmp_path / "front-lost/evaluation.json").read_text())
    assert result["num_question_cut"] == 1
    assert result["num_applicable"]["exact_match"] == 1
    assert "exact_match     0.0000  of 1 rows" in out
    notice = "test: 1 of 2 rows lost their question to the length and are asked nothing"
    assert notice in " ".join(err.split())
    before = listing(tmp_path / "front-lost")
    code, again, err = g2is(*command, "--out", tmp_path / "front-lost")
    assert (code, again) == (0, out)
    assert notice in " ".join(err.split())
    assert listing(tmp_path / "front-lost") == before
    (tmp_path / "front-lost/evaluation.json").unlink()  # as if it had been stopped between the two
    assert g2is(*command, "--out", tmp_path / "front-lost")[0] == 0
    assert json.loads((tmp_path / "front-lost/evaluation.json").read_text()) == result

    end = set_flags({"examples.truncation": "answer-end"})
    code, _, err = g2is(*command, "--out", tmp_path / "end-lost", *end)
    assert code == 0, err
    found = table(tmp_path / "end-lost")
    assert found["expected"] == [row["answer"] for row in CUT]
    assert None not in found["given"] + found["exact_match"] + found["numeric_match"]
    assert json.loads((tmp_path / "end-lost/evaluation.json").read_text())["num_question_cut"] == 0
    assert "asked nothing" not in err


def test_the_number_that_is_right_is_that_of_the_whole_answer(g2is: Command, tmp_path: Path) -> None:
    rows = [CUT[0] | {"answer": CUT[0]["answer"].replace("42", given)} for given in ("42", "7")]
    learned = written(tmp_path, [{"question": row["question"], "answer": "It is 7."} for row in rows])
    tuning = set_flags({"tuning.epochs": "40", "tuning.learning_rate": "5e-3", "tuning.lora.rank": "16"})
    assert g2is("train", learned, "--model", MODEL, "--out", tmp_path / "tuned", *tuning)[0] == 0
    cut = set_flags({"examples.max_length": "64", "examples.truncation": "answer-end"})
    for row, right in zip(rows, (0, 1), strict=True):
        test, out = written(tmp_path, [row]), tmp_path / f"right-{right}"
        code, _, err = g2is("evaluate", test, "--model", MODEL, "--adapter", tmp_path / "tuned", "--out", out, *cut)
        assert code == 0, err
        assert table(out)["given"] == ["It is 7."]
        assert table(out)["numeric_match"] == [right]  # what was kept of either ends on a 7


def test_special_tokens_in_a_right_answer_are_its_own_text(g2is: Command, model: Path, tmp_path: Path) -> None:
    code, _, err = g2is("evaluate", written(tmp_path, MARKED), "--model", model, "--out", tmp_path / "out", *BRIEF)
    assert code == 0, err
    assert table(tmp_path / "out")["expected"] == ["<s>old</s> new", "new"]
    assert "test: 1 of 2 rows have a right answer that no model can give word for word" in " ".join(err.split())


def test_an_answer_with_special_tokens_in_it_is_right_if_they_are_given(g2is: Command, tmp_path: Path) -> None:
    rows = [
        {"question": "Strike out the word old.", "answer": "<s>old<s> new"},
        {"question": "Say new.", "answer": "old new"},
    ]
    learned = written(tmp_path, rows)
    tuning = set_flags({"tuning.epochs": "60", "tuning.learning_rate": "5e-3", "tuning.lora.rank": "16"})
    assert g2is("train", learned, "--model", MODEL, "--out", tmp_path / "tuned", *tuning)[0] == 0
    swapped = [row | {"answer": other["answer"]} for row, other in zip(rows, reversed(rows), strict=True)]
    for out, test, exact in (("right", rows, [1, 1]), ("wrong", swapped, [0, 0])):
        command = ("evaluate", written(tmp_path, test), "--model", MODEL, "--adapter", tmp_path / "tuned")
        code, _, err = g2is(*command, "--out", tmp_path / out)
        assert code == 0, err
        assert table(tmp_path / out)["given"] == [row["answer"] for row in rows]
        assert table(tmp_path / out)["exact_match"] == exact
        assert "no model can give" not in err


def test_answers_of_before_are_refused_where_others_are_right_now(g2is: Command, tmp_path: Path) -> None:
    def of_before(out: Path, expected: list[str]) -> None:
        """As the version before left it, which read right answers from tokens and said no version."""
        manifest = json.loads((out / "manifest.json").read_text())
        assert manifest.pop("evaluation.answers_version") == VERSION
        manifest.pop("digest", None)
        (out / "manifest.json").write_text(json.dumps(manifest))
        (out / "digests.json").unlink()
        answers = pq.read_table(out / "answers.parquet")
        place = answers.column_names.index("expected")
        pq.write_table(answers.set_column(place, "expected", [expected]), out / "answers.parquet")

    command = ("evaluate", written(tmp_path, MARKED), "--model", MODEL, "--out", tmp_path / "out", *BRIEF)
    assert g2is(*command)[0] == 0
    of_before(tmp_path / "out", ["<s>old</s> new", "new"])
    assert g2is(*command)[0] == 0  # what was right then is right now
    of_before(tmp_path / "out", ["old new", "new"])
    code, _, err = g2is(*command)
    assert code == 2
    assert f"evaluation.answers_version: there (absent), asked for {VERSION}" in err
    assert "name another --out" in err


@pytest.mark.parametrize(("given", "is_taken"), [("it is 7", True), ("7 * 10^6", False), ("7 000 000", False)])
def test_answers_whose_numbers_were_read_otherwise_are_not_taken_for_those_of_now(
    given: str, is_taken: bool, g2is: Command, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    command = ("evaluate", written(tmp_path, MARKED), "--model", MODEL, "--out", out, *BRIEF)
    assert g2is(*command)[0] == 0
    manifest = json.loads((out / "manifest.json").read_text())
    manifest.pop("digest", None)
    (out / "manifest.json").write_text(json.dumps(manifest | {"evaluation.answers_version": 3}))
    (out / "digests.json").unlink()
    answers = pq.read_table(out / "answers.parquet")
    place = answers.column_names.index("given")
    pq.write_table(answers.set_column(place, "given", [[given] * len(answers)]), out / "answers.parquet")
    code, _, err = g2is(*command)
    assert code == (0 if is_taken else 2), err
    assert is_taken or f"evaluation.answers_version: there 3, asked for {VERSION}" in err


def test_results_of_tasks_are_of_how_they_were_asked(
    g2is: Command, test_rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("lm_eval", reason="lm-eval is an optional extra")
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    model, task = tmp_path / "model", tmp_path / "choose.yaml"
    shutil.copytree(MODEL, model)
    task.write_text(_TASK.format(kind="multiple_choice", data=test_rows) + _CHOOSE)
    chat = set_flags({"evaluation.task_chat_template": "true"})
    command = ("evaluate", "--model", model, "--task", task, "--out", tmp_path / "out", *chat)
    assert g2is(*command)[0] == 0
    manifest, generation = tmp_path / "out/manifest.json", json.dumps({"repetition_penalty": 1.1, "num_beams": 1})
    before = read_json(manifest)
    (model / "generation_config.json").write_text(generation)
    code, _, err = g2is(*command)
    assert code == 2
    assert "tasks_asked.generation: there " in err
    assert '"repetition_penalty": 1.1' in err
    assert "num_beams" not in err
    shutil.copy(MODEL / "generation_config.json", model)
    template = model / "chat_template.jinja"
    template.write_text(template.read_text() + "{# another #}")
    code, _, err = g2is(*command)
    assert code == 2
    assert "tasks_asked.template_sha256: there" in err
    template.write_text(template.read_text().removesuffix("{# another #}"))
    older = {key: value for key, value in before.items() if not key.startswith("tasks_asked")}
    write_json(manifest, older)  # as it was once written
    record_digests(tmp_path / "out", ["manifest.json"])
    code, _, err = g2is(*command)
    assert (code, read_json(manifest)) == (0, before), err


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


def test_an_adapter_of_another_model_is_tested_and_said_to_be_one(
    g2is: Command, test_rows: Path, tuned: Path, tmp_path: Path
) -> None:
    shutil.copytree(MODEL, tmp_path / "other")
    weights = load_file(tmp_path / "other/model.safetensors")
    name = next(name for name in weights if "norm" in name)
    save_file({**weights, name: weights[name] * 2}, tmp_path / "other/model.safetensors", metadata={"format": "pt"})
    for model, is_other in ((MODEL, False), (tmp_path / "other", True)):
        out = tmp_path / f"tested-{is_other}"
        loss_alone = ("--set", "evaluation.generate=false")
        code, _, err = g2is("evaluate", test_rows, "--model", model, "--adapter", tuned, "--out", out, *loss_alone)
        assert code == 0, err
        assert ("was trained on another model than" in err) == is_other


def test_answers_that_are_made_anew_have_means_of_their_own(g2is: Command, test_rows: Path, tmp_path: Path) -> None:
    command, result = ("evaluate", test_rows, "--model", MODEL, "--out", tmp_path / "out", *BRIEF), tmp_path / "out"
    assert g2is(*command)[0] == 0
    sound = json.loads((result / "evaluation.json").read_text())
    write_json(result / "evaluation.json", read_json(result / "evaluation.json") | {"means": {"loss": 17.0}})
    record_digests(result, ["evaluation.json"])
    (result / "answers.parquet").unlink()
    kept = (result / "evaluation.json").read_bytes()
    assert g2is(*command, "--set", "evaluation.max_new_tokens=13")[0] == 2
    assert (result / "evaluation.json").read_bytes() == kept, "a command that is refused removes nothing"
    code, _, err = g2is(*command)
    assert code == 0, err
    assert json.loads((result / "evaluation.json").read_text())["means"] == sound["means"]


def test_rows_that_call_tools_are_told_once_and_judged_by_no_metric(
    g2is: Command, test_rows: Path, tmp_path: Path
) -> None:
    call = {"type": "function", "function": {"name": "add", "arguments": {"a": 2}}}
    template = tmp_path / "calls.jinja"
    template.write_text(
        "{% for m in messages %}{{ m.role }}: {% if m.role == 'assistant' %}{% generation %}{{ m.content }}"
        "{% for c in m.tool_calls or [] %}<{{ c.function | tojson }}>{% endfor %}{{ eos_token }}{% endgeneration %}"
        "{% else %}{{ m.content }}{% endif %}{% endfor %}"
    )
    row = {"id": "call", "messages": [{"role": "user", "content": "2"}, {"role": "assistant", "tool_calls": [call]}]}
    test = tmp_path / "test.jsonl"
    test.write_text(json.dumps(row) + "\n" + test_rows.read_text().splitlines()[0] + "\n")
    settings = ("--set", f"examples.chat_template={template}", *BRIEF)
    code, _, err = g2is("evaluate", test, "--model", MODEL, "--out", tmp_path / "out", *settings)
    assert code == 0, err
    assert "1 of 2 rows are to be answered by calling tools: they count in the loss alone" in err
    assert "that no model can give" not in err
    found = json.loads((tmp_path / "out/evaluation.json").read_text())
    assert found["num_applicable"]["exact_match"] == 1
    assert found["made_from"]["evaluation.calls_version"] == 2
    assert all(isinstance(loss, float) and loss > 0 for loss in table(tmp_path / "out")["loss"])

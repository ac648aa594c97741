"""Names of lm-evaluation-harness's tasks, looked up in its own index without a download."""

import importlib.util
from importlib.metadata import version
from pathlib import Path

import pytest

from g2is.errors import ConfigError
from g2is.evaluation.tasks import check_installed, digests, find_tasks, load_tasks
from g2is.progress import Silent

PAPER = ("gsm8k", "bbh_cot_fewshot", "mmlu", "minerva_math", "gpqa_main_zeroshot")


@pytest.mark.long
@pytest.mark.slow
def test_the_paper_s_tasks_are_known_and_another_name_is_refused_with_the_nearest() -> None:
    pytest.importorskip("lm_eval", reason="lm-eval is an optional extra")
    find_tasks(PAPER, Silent())
    with pytest.raises(ConfigError, match=r"--task gsm8kk: expected a task, group or tag .* did you mean gsm8k"):
        load_tasks((*PAPER, "gsm8kk"), Silent())  # all names are looked up before any data is fetched
    with pytest.raises(ConfigError, match=r"`lm_eval ls tasks` lists them"):
        find_tasks(("qqqqqqqqqqqqqqqq",), Silent())
    assert digests(["mmlu"]) == {"mmlu": f"lm-eval {version('lm-eval')}"}


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "lm_eval" else find(name))
    with pytest.raises(ConfigError, match=r"expected the package lm-eval, found it not .* pip install 'g2is\[eval\]'"):
        check_installed()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, "No such file"),
        ("a: [1", "but: while parsing"),
        ("dataset_path: json\n", "with the key task, found keys dataset_path"),
        ("- 1\n", "Expected YAML dict"),
        ("task: x\ndataset_path: json\ndataset_kwargs: {data_files: /none/x.jsonl}\n", "that lm-eval can load, but: "),
    ],
)
def test_a_file_that_is_no_task_is_refused(tmp_path: Path, text: str | None, expected: str) -> None:
    pytest.importorskip("lm_eval", reason="lm-eval is an optional extra")
    path = tmp_path / "task.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError) as error:
        load_tasks((str(path),), Silent())
    assert str(error.value).startswith(f"--task {path}: expected a task")
    assert expected in str(error.value)


def test_a_changed_file_of_data_changes_what_a_task_is_made_from(tmp_path: Path) -> None:
    pytest.importorskip("lm_eval", reason="lm-eval is an optional extra")
    data, task = tmp_path / "x.jsonl", tmp_path / "task.yaml"
    data.write_text("{}")
    task.write_text(f"task: x\ndataset_path: json\ndataset_kwargs: {{data_files: {{test: {data}}}}}\n")
    before = digests([str(task)])
    data.write_text('{"a": 1}')
    assert digests([str(task)]) != before

"""Several targets, budgets of tokens, id lists and quotas on a small real run."""

import json
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from small_run import MODEL, SMALL, selected_ids, set_flags

import g2is as package
from g2is.demo.skills import write_pool

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="session")
def files(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The sample's pool, its target (arithmetic), and a second target (reversing) with rows that the pool lacks."""
    folder = tmp_path_factory.mktemp("targets")
    rows = [json.loads(line) for line in (sample / "pool.jsonl").read_text().splitlines()]
    write_pool(folder / "other.jsonl", num_rows=150, seed=7)
    others = [json.loads(line) for line in (folder / "other.jsonl").read_text().splitlines()]
    known = {row["messages"][0]["content"] for row in rows}
    reversing = [row for row in others if row["task"] == "reversing" and row["messages"][0]["content"] not in known]
    (folder / "rev.jsonl").write_text(
        "".join(json.dumps({"messages": row["messages"]}) + "\n" for row in reversing[:6])
    )
    with (folder / "by_task.jsonl").open("w") as file:
        for row in rows:
            file.write(json.dumps({**row, "source": row["task"]}) + "\n")
    return {
        "pool": sample / "pool.jsonl",
        "by_task": folder / "by_task.jsonl",
        "math": sample / "target.jsonl",
        "rev": folder / "rev.jsonl",
    }


@pytest.fixture
def store(finished: Path, tmp_path: Path) -> Path:
    """A store of its own with the pool's gradients in it."""
    return shutil.copytree(finished / "store", tmp_path / "store")


def arguments(files: dict[str, Path], store: Path, out: Path, *more: object, pool: str = "pool") -> list[object]:
    return [
        *("select", files[pool], "--model", MODEL, "--out", out, "--store", store, *set_flags(SMALL)),
        *more,
    ]


def both(files: dict[str, Path]) -> Sequence[object]:
    return ("--target", f"math={files['math']}", "--target", f"rev={files['rev']}")


def table_of(run: Path) -> dict[str, list[Any]]:
    return pq.read_table(run / "selection.parquet").to_pydict()


def summary_of(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "summary.json").read_text())
    del found["digest"]  # of a file that holds times
    return found


def tokens_of(run: Path) -> dict[str, int]:
    """Tokens of every pool row by id, from the store's own table of the pool."""
    tables = (pq.read_table(path) for path in (run / "../store/examples").resolve().glob("*.parquet"))
    table = next(each for each in tables if each.num_rows == 150)
    return dict(zip(table["id"].to_pylist(), table["num_tokens"].to_pylist(), strict=True))


def test_one_selection_serves_several_targets_by_their_shares(
    files: dict[str, Path], store: Path, g2is: Command, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    flags = (*both(files), "--share", "math=2", "--share", "rev=1", "--budget", "10%")
    code, out, err = g2is(*arguments(files, store, run, *flags))
    assert code == 0, err
    assert err.count("gradients of target") == 1
    assert "gradients of pool" not in err
    table = table_of(run)
    assert table["target"] == ["math"] * 10 + ["rev"] * 5
    assert len(set(table["row"])) == 15
    # the row of the target that a row is nearest to is one of its own target's; rev's have no ids of their own
    math_ids = {json.loads(line)["id"] for line in files["math"].read_text().splitlines()}
    assert set(table["nearest_target_id"][:10]) <= math_ids
    assert set(table["nearest_target_id"][10:]) <= {f"row-{number}" for number in range(6)}
    assert pq.read_table(run / "scores.parquet").column_names[2:] == [
        "similarity.math",
        *("similarity.rev", "selected"),
    ]
    messages = [json.loads(line) for line in (run / "selected.messages.jsonl").read_text().splitlines()]
    assert [row["target"] for row in messages] == table["target"]
    assert "math       10 rows" in out
    assert "rev         5 rows" in out
    families = [json.loads(line)["source"] for line in (run / "selected.jsonl").read_text().splitlines()]
    assert Counter(families[:10])["numbers"] >= 8, families  # 40 % of the pool
    assert Counter(families[10:])["letters"] >= 4, families  # 40 % too
    code, out, err = g2is(*arguments(files, store, tmp_path / "walked", *flags, "--method", "g2is"))
    assert code == 0, err
    assert table_of(tmp_path / "walked")["target"] == ["math"] * 10 + ["rev"] * 5
    walk = json.loads((tmp_path / "walked/walk.json").read_text())
    assert {name: of["num_target_rows"] for name, of in walk["core"].items()} == {"math": 8, "rev": 6}
    assert "(by component 0: " in out
    before, written = summary_of(run), (run / "selected.messages.jsonl").read_bytes()
    code, _, err = g2is("export", run)
    assert code == 0, err
    assert (run / "selected.messages.jsonl").read_bytes() == written
    assert {**summary_of(run), "sittings": []} == {**before, "sittings": []}


def test_the_order_of_targets_is_the_order_of_the_walk_and_python_says_the_same(
    files: dict[str, Path], store: Path, g2is: Command, tmp_path: Path
) -> None:
    flags = ("--target", f"rev={files['rev']}", "--target", f"math={files['math']}", "--budget", "9")
    code, _, err = g2is(*arguments(files, store, tmp_path / "run", *flags))
    assert code == 0, err
    assert table_of(tmp_path / "run")["target"] == ["rev"] * 5 + ["math"] * 4
    settings: dict[str, Any] = {
        "warmup": {"learning_rate": 2e-3, "lora": {"rank": 4}, "fraction": 0.3, "epochs": 1},
        "gradients": {"projection": {"dim": 512}},
    }
    selection = package.select(
        pool=files["pool"],
        target={"rev": files["rev"], "math": [files["math"]]},
        model=MODEL,
        out=tmp_path / "python",
        store=store,
        budget=9,
        **settings,
    )
    assert list(selection.ids) == selected_ids(tmp_path / "run")
    assert list(selection.targets) == ["rev"] * 5 + ["math"] * 4
    code, _, err = g2is("run", tmp_path / "run/config.yaml", "--out", tmp_path / "again", "--store", store)
    assert code == 0, err
    assert selected_ids(tmp_path / "again") == selected_ids(tmp_path / "run")


def test_a_target_may_be_several_files(files: dict[str, Path], store: Path, g2is: Command, tmp_path: Path) -> None:
    lines = files["rev"].read_text().splitlines(keepends=True)
    parts = [tmp_path / "one.jsonl", tmp_path / "two.jsonl"]
    parts[0].write_text("".join(lines[:2]))
    parts[1].write_text("".join(lines[2:]))
    flags = ("--target", f"rev={files['rev']}", "--budget", "6")
    code, _, err = g2is(*arguments(files, store, tmp_path / "whole", *flags))
    assert code == 0, err
    files_setting = f"targets={{rev: [{parts[0]}, {parts[1]}]}}"
    code, _, err = g2is(
        *arguments(files, store, tmp_path / "parts", *flags[:2], "--budget", "6", "--set", files_setting)
    )
    assert code == 0, err
    assert "gradients of" not in err  # the same rows, whatever files they stand in
    assert selected_ids(tmp_path / "parts") == selected_ids(tmp_path / "whole")
    nearest = table_of(tmp_path / "parts")["nearest_target_id"]
    assert nearest == table_of(tmp_path / "whole")["nearest_target_id"]
    repeated = [part for path in parts for part in ("--target", f"rev={path}")]
    code, _, err = g2is(*arguments(files, store, tmp_path / "flags", *repeated, "--budget", "6"))
    assert code == 0, err
    assert selected_ids(tmp_path / "flags") == selected_ids(tmp_path / "whole")


@pytest.mark.parametrize("method", ["design", "g2is"])
def test_a_budget_of_tokens_is_a_prefix_of_the_selection_that_stays_within(
    method: str, files: dict[str, Path], store: Path, g2is: Command, tmp_path: Path
) -> None:
    runs = {}
    one_component = ("--method", method, *(("--set", "selection.core=mean") if method == "g2is" else ()))
    for name, budget in (("tokens", "0.5ktok"), ("rows", "30")):
        runs[name] = tmp_path / name
        code, out, err = g2is(*arguments(files, store, runs[name], files["math"], "--budget", budget, *one_component))
        assert code == 0, err
        if name == "tokens":
            assert "tokens of a budget of 500" in out
    lengths = tokens_of(runs["tokens"])
    chosen, in_order = selected_ids(runs["tokens"]), selected_ids(runs["rows"])
    assert chosen == in_order[: len(chosen)]
    total = sum(lengths[id_] for id_ in chosen)
    assert total <= 500 < total + lengths[in_order[len(chosen)]]
    record = json.loads((runs["tokens"] / {"design": "picks.json", "g2is": "walk.json"}[method]).read_text())
    assert (record["unit"], record["budget"], record["spent"]) == ("tokens", 500, total)
    summary = summary_of(runs["tokens"])
    assert summary["budget"] == {"tokens": 500}
    assert summary["selected"]["tokens"] == total
    assert summary["lengths"]["tokens"]["selected"]["mean"] == pytest.approx(total / len(chosen), abs=0.01)


def test_excluded_rows_are_nowhere_and_rows_keep_their_numbers(
    finished: Path, files: dict[str, Path], store: Path, g2is: Command, tmp_path: Path
) -> None:
    gone = selected_ids(finished)[:4]
    (tmp_path / "gone.txt").write_text("\n".join(gone))
    run = tmp_path / "run"
    flags = (files["math"], "--budget", "10%", "--exclude", tmp_path / "gone.txt")
    code, out, err = g2is(*arguments(files, store, run, *flags))
    assert code == 0, err
    assert "gradients of" not in err
    chosen = selected_ids(run)
    assert len(chosen) == 15  # 10 % of the 150 rows read, not of the 146 left
    assert not set(gone) & set(chosen)
    all_ids = [json.loads(line)["id"] for line in files["pool"].read_text().splitlines()]
    table = table_of(run)
    assert [all_ids[row] for row in table["row"]] == table["id"] == chosen
    scores = pq.read_table(run / "scores.parquet").to_pydict()
    assert len(scores["row"]) == 146
    assert [all_ids[row] for row in scores["row"]] == scores["id"]
    excluded = [json.loads(line) for line in (run / "excluded.jsonl").read_text().splitlines()]
    assert {row["id"] for row in excluded} == set(gone)
    assert all(all_ids[row["row"]] == row["id"] and "gone.txt:" in row["reason"] for row in excluded)
    assert summary_of(run)["pool"] | {"tokens": 0, "answer_tokens": 0} == {
        **{"rows": 146, "read": 150, "excluded": 4},
        **{"truncated": 0, "duplicates": 0, "tokens": 0, "answer_tokens": 0, "bad_rows": 0},
    }
    assert "excluded.jsonl" in out


def test_a_list_that_changed_walks_again_and_one_that_says_the_same_does_not(
    files: dict[str, Path], store: Path, g2is: Command, tmp_path: Path
) -> None:
    ids = [json.loads(line)["id"] for line in files["pool"].read_text().splitlines()]
    run, listed = tmp_path / "run", tmp_path / "list.txt"
    command = arguments(files, store, run, files["math"], "--budget", "6", "--include", listed)
    walks = []
    for text in (ids[3], f"\n{ids[3]}\n\n", ids[4]):
        listed.write_text(text)
        code, _, err = g2is(*command)
        assert code == 0, err
        walks.append("\nselect " in err)
        assert selected_ids(run)[0] == text.strip()
    assert walks == [True, False, True]


def test_a_warm_up_on_rows_that_are_now_excluded_serves_with_a_notice(
    files: dict[str, Path], store: Path, g2is: Command, tmp_path: Path
) -> None:
    table = next(table for table in map(pq.read_table, (store / "examples").glob("*.parquet")) if table.num_rows == 150)
    drawn = json.loads((store / "warmup/sample.json").read_text())["keys"]
    id_of = {key.hex(): id_ for key, id_ in zip(table["key"].to_pylist(), table["id"].to_pylist(), strict=True)}
    not_drawn = next(id_ for key, id_ in id_of.items() if key not in drawn)
    (tmp_path / "gone.txt").write_text("\n".join([*(id_of[key] for key in drawn[:3]), not_drawn]))
    flags = (files["math"], "--budget", "5", "--exclude", tmp_path / "gone.txt")
    code, _, err = g2is(*arguments(files, store, tmp_path / "run", *flags))
    assert code == 0, err
    assert f"3 of the {len(drawn)} rows that the store's warm-up was trained on are now excluded" in " ".join(
        err.split()
    )


def test_excluded_rows_are_neither_trained_on_nor_extracted(
    files: dict[str, Path], g2is: Command, tmp_path: Path
) -> None:
    rows = [json.loads(line) for line in files["pool"].read_text().splitlines()]
    (tmp_path / "gone.txt").write_text("\n".join(row["id"] for row in rows[20:]))
    settings = set_flags(SMALL | {"warmup.fraction": "1"})
    command = [files["pool"], files["math"], "--model", MODEL, "--out", tmp_path / "run", *settings]
    for stage in ("warmup", "gradients"):
        code, _, err = g2is(stage, *command, "--exclude", tmp_path / "gone.txt")
        assert code == 0, err
    assert len(json.loads((tmp_path / "run/store/warmup/sample.json").read_text())["keys"]) == 20
    gradients = package.extract_gradients(
        pool=files["pool"],
        target=files["math"],
        model=MODEL,
        out=tmp_path / "run",
        warmup={"learning_rate": 2e-3, "lora": {"rank": 4}, "fraction": 1.0, "epochs": 1},
        gradients={"projection": {"dim": 512}},
        selection={"exclude": [tmp_path / "gone.txt"]},
    )
    assert gradients.pool_ids == [row["id"] for row in rows[:20]]
    assert gradients.pool.shape == (20, 512)


def test_included_rows_come_first_and_are_paid_for(
    files: dict[str, Path], store: Path, g2is: Command, tmp_path: Path
) -> None:
    rows = [json.loads(line) for line in files["pool"].read_text().splitlines()]
    wanted = [row["id"] for row in rows if row["task"] == "upper_case"][:3]
    (tmp_path / "wanted.txt").write_text("\n".join(reversed(wanted)))
    run = tmp_path / "run"
    flags = (*both(files), "--budget", "9", "--include", tmp_path / "wanted.txt")
    code, out, err = g2is(*arguments(files, store, run, *flags))
    assert code == 0, err
    table = table_of(run)
    assert table["id"][:3] == list(reversed(wanted))
    assert table["role"][:3] == ["included"] * 3
    assert table["target"] == [None] * 3 + ["math"] * 3 + ["rev"] * 3
    assert table["nearest_target_id"][:3] == [None] * 3
    assert "(included)        3 rows" in out
    assert json.loads((run / "selected.messages.jsonl").read_text().splitlines()[0])["target"] is None


def test_a_full_quota_closes_its_source_and_the_shares_of_sources_are_told(
    files: dict[str, Path], g2is: Command, store: Path, tmp_path: Path
) -> None:
    free, bound = tmp_path / "free", tmp_path / "bound"
    flags = (files["math"], "--budget", "10%")
    code, _, err = g2is(*arguments(files, store, free, *flags, pool="by_task"))
    assert code == 0, err
    tasks = Counter(json.loads(line)["task"] for line in (free / "selected.jsonl").read_text().splitlines())
    most, num = tasks.most_common(1)[0]
    assert num >= 4
    code, out, err = g2is(*arguments(files, store, bound, *flags, "--quota", f"{most}=20%", pool="by_task"))
    assert code == 0, err
    now = Counter(json.loads(line)["task"] for line in (bound / "selected.jsonl").read_text().splitlines())
    assert now[most] == 3  # a fifth of 15
    assert now.total() == 15
    assert json.loads((bound / "picks.json").read_text())["full_quotas"] == [most]
    told = {of["source"]: of["selected_rows"] for of in summary_of(bound)["sources"]}
    assert told[most] == 3 if most in told else len(told) == 10
    assert "of the selection, of the pool" in out
    few = [f"--quota={task}=1" for task in {row["task"] for row in map(json.loads, files["by_task"].open())}]
    code, _, err = g2is(
        *arguments(files, store, tmp_path / "few", files["math"], "--budget", "20%", *few, pool="by_task"),
        *("--method", "less-rr"),
    )
    assert code == 0, err
    assert "20 of 30 rows selected" in err
    assert "closed because their quotas are full" in " ".join(err.split())


def test_targets_that_share_rows_with_the_pool_are_told_and_the_pool_itself_is_refused(
    files: dict[str, Path], store: Path, g2is: Command, tmp_path: Path
) -> None:
    lines = files["pool"].read_text().splitlines(keepends=True)
    (tmp_path / "some.jsonl").write_text("".join(lines[:5]))
    (tmp_path / "copy.jsonl").write_text("".join(lines))
    code, _, err = g2is(*arguments(files, store, tmp_path / "run", "--target", f"some={tmp_path / 'some.jsonl'}"))
    assert code == 0, err
    assert "5 of the pool's 150 rows are also in target some" in err
    for targets, problem in (
        (
            ("--target", f"all={tmp_path / 'copy.jsonl'}"),
            "target all: expected a small set of examples of what to learn",
        ),
        (
            ("--target", f"a={files['math']}", "--target", f"b={files['math']}"),
            "target b: expected other examples than",
        ),
    ):
        code, _, err = g2is(*arguments(files, store, tmp_path / "refused", *targets))
        assert code == 2, err
        assert problem in err
        assert not (tmp_path / "refused").exists()


def test_a_dry_run_tells_targets_tokens_and_lists(
    files: dict[str, Path], g2is: Command, tmp_path: Path, store: Path
) -> None:
    ids = [json.loads(line)["id"] for line in files["pool"].read_text().splitlines()]
    (tmp_path / "out.txt").write_text(ids[0])
    (tmp_path / "in.txt").write_text(ids[1])
    lists = ("--include", tmp_path / "in.txt", "--exclude", tmp_path / "out.txt")
    command = arguments(files, store, tmp_path / "run", *both(files), "--budget", "1ktok", *lists, "--dry-run")
    code, out, err = g2is(*command)
    assert code == 0, err
    for text in ("149 rows", "target math", "target rev", "1,000 tokens", "included   1 rows", "excluded   1 rows"):
        assert text in out
    assert not (tmp_path / "run").exists()


def refused(files: dict[str, Path], folder: Path) -> list[tuple[tuple[object, ...], str]]:
    math, rev = f"math={files['math']}", f"rev={files['rev']}"
    (folder / "unknown.txt").write_text("pool-00002\nnobody\n")
    (folder / "empty.txt").write_text("\n")
    (folder / "latin.txt").write_bytes(b"caf\xe9\n")
    (folder / "one.txt").write_text("pool-00002\n")
    (folder / "three.txt").write_text("pool-00002\npool-00003\npool-00004\n")
    target = files["math"]
    return [
        ((), "expected a pool and a target, found 1 file and no --target"),
        (("--target", "math="), "expected a file after the ="),
        (("--target", "math=none.jsonl"), "none.jsonl"),
        (("--target", math, "--target", rev, "--share", "math=2"), "found none for rev"),
        (("--target", math, "--target", rev, "--share", "mth=2"), "'mth'; did you mean 'math'?"),
        (("--target", math, "--share", "math=0"), "positive numbers, found math = 0"),
        (("--target", math, "--share", "math=-1"), "positive numbers, found math = -1"),
        (("--target", math, "--share", "math=nan"), "selection.shares"),
        (("--target", math, "--share", "math"), "expected --share math=2, found 'math'"),
        (("--target", math, "--share", "math=many"), "expected a number such as 2 or 0.5"),
        ((target, "--budget", "2Mtk"), "'2Mtk'"),
        ((target, "--budget", "1,5%"), "'1,5%'"),
        ((target, "--budget", "-3"), "'-3'"),
        ((target, "--budget", "0"), "at least one row"),
        ((target, "--budget", "101%"), "at most 100% of the pool's rows"),
        ((target, "--budget", "1tok"), "the shortest of the pool's 150 rows, found 1tok"),
        ((target, "--budget", "0tok"), "expected at least one row, found 0tok"),
        ((target, "--budget", "-5tok"), "'-5tok'"),
        ((target, "--budget", "1Gtok"), "found 1Gtok = 1000000000 tokens; ask for fewer"),
        ((target, "--exclude", folder / "none.txt"), "none.txt: expected a list of ids"),
        ((target, "--exclude", folder), "found a folder"),
        ((target, "--include", folder / "empty.txt"), "empty.txt: expected a list of ids, one a line, found none"),
        ((target, "--include", folder / "latin.txt"), "expected a list of ids in UTF-8, found byte 0xe9"),
        ((target, "--exclude", folder / "unknown.txt"), "unknown.txt:2: nobody"),
        ((target, "--include", folder / "one.txt", "--exclude", folder / "one.txt"), "found in both lists: pool-00002"),
        ((target, "--include", folder / "three.txt", "--budget", "2"), "at least the 3 rows of the 3 rows to include"),
        ((target, "--quota", "number=50%"), "did you mean 'numbers'?"),
        ((target, "--quota", "numbers=half"), "quota of 'numbers': expected a share of the budget"),
        ((target, "--quota", "numbers=0"), "at least one row"),
        ((target, "--quota", "numbers=200%"), "at most 100% of the budget"),
        ((target, "--quota", "numbers"), "expected --quota web=50%, found 'numbers'"),
        (
            (target, "--quota", "numbers=2", "--include", folder / "three.txt", "--budget", "9"),
            "expected at most 2 rows, found 3 in the rows to include",
        ),
    ]


def test_wrong_input_is_refused_with_one_message_and_nothing_written(
    files: dict[str, Path], g2is: Command, tmp_path: Path
) -> None:
    for flags, expected in refused(files, tmp_path):
        run = tmp_path / "run"
        code, out, err = g2is("select", files["pool"], "--model", MODEL, "--out", run, *flags, *set_flags(SMALL))
        assert code == 2, (flags, out, err)
        assert expected in err, (flags, err)
        assert err.count("error: ") == 1
        assert "Traceback" not in err
        assert not run.exists(), flags


def test_on_matrices_what_needs_examples_is_refused(g2is: Command, tmp_path: Path) -> None:
    import numpy as np

    np.save(tmp_path / "m.npy", np.random.default_rng(0).normal(size=(30, 8)))
    files = ("--pool-gradients", tmp_path / "m.npy", "--target-gradients", tmp_path / "m.npy")
    for flags, expected in (
        (("--budget", "2ktok"), "how many tokens a row has is not known"),
        (("--budget", "3", "--include", tmp_path / "x"), "found matrices and --include"),
        (("--budget", "3", "--quota", "web=1"), "found matrices and --quota"),
        (("--budget", "3", "--target", "a=b"), "found matrices and --target"),
        (("--budget", "3", "--set", "selection.quotas={web: 3}"), "selection.quotas: matrices have one target"),
    ):
        code, _, err = g2is("walk", *files, "--out", tmp_path / "run", *flags)
        assert code == 2, err
        assert expected in err
        assert not (tmp_path / "run").exists()

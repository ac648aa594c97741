"""Test files as tokens, with what their rows ask and what is right there."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from g2is.config import EvaluationConfig, ExamplesConfig
from g2is.config.compare import CompareConfig
from g2is.config.later import without_unsaid
from g2is.config.targets import titled
from g2is.evaluation.questions import CALLS_VERSION, VERSION, Asked, Question, what_is_left
from g2is.evaluation.rows import count_cut
from g2is.examples.columns import TEST_COLUMNS, check_columns
from g2is.examples.dataset import Examples
from g2is.examples.how_read import how_read
from g2is.examples.keys import overlap
from g2is.examples.make_table import describe_losses, tokenize_files
from g2is.examples.problems import BadRow, Problems
from g2is.examples.read import REMEDY
from g2is.examples.references import RightAnswer, read_references
from g2is.examples.sources import describe, find_sources
from g2is.examples.table import ExampleTable
from g2is.examples.tokenize import Renderer, make_renderer
from g2is.jobs.prepare import Prepared
from g2is.jobs.read_data import keys_in_pool
from g2is.progress import Reporter


@dataclass(frozen=True)
class TestRows:
    """Test rows that can be used, what each asks, the rows that were set aside, and a remedy for rows that are cut."""

    __test__ = False  # no test of pytest's

    table: ExampleTable
    questions: list[Question]
    bad_rows: list[dict[str, Any]]
    made_from: Mapping[str, Any]
    remedy: str


def read_tests(
    config: CompareConfig, prepared: Prepared, cache: Path | None, reporter: Reporter, also_in: Path | None = None
) -> dict[str, TestRows]:
    """Read the test files of a comparison, by target, with its model's tokenizer. Raises as `read_test`.

    Whether each column that is mapped stands in a file is left to whoever knows all files of the comparison.
    """
    model, tokenizer = prepared.model, prepared.tokenizer
    renderer = make_renderer(tokenizer, prepared.config.examples, model.context_length, "test", model.num_embeddings)
    return {
        name: _read(files, config.examples, renderer, tokenizer, cache, reporter, also_in)
        for name, files in config.tests.items()
    }


def read_test(
    files: Sequence[str],
    config: ExamplesConfig,
    renderer: Renderer,
    tokenizer: Any,
    cache: Path,
    reporter: Reporter,
) -> TestRows:
    """Read and tokenise the test files at the locations `files`; the tokens are kept in `cache`.

    `tokenizer` is the one of `renderer`.

    Raises InputError listing all rows that cannot be used; if these are to be skipped, only where none is left.
    ConfigError if a column is mapped that no file has.
    """
    test = _read(files, config, renderer, tokenizer, cache, reporter)
    check_columns(config.columns, [test.table.seen], TEST_COLUMNS)
    return test


def _read(
    files: Sequence[str],
    config: ExamplesConfig,
    renderer: Renderer,
    tokenizer: Any,
    cache: Path | None,
    reporter: Reporter,
    also_in: Path | None = None,
) -> TestRows:
    """As `read_test`, and of rows whose tokens are `also_in` another folder: these are not made anew.

    Without a `cache` none are, and NoTokensError says where some would have to be.
    """
    sources = find_sources(files)
    with reporter.stage("read test", "bytes") as progress:
        table = tokenize_files(sources, renderer, config, cache, progress, also_in)
    also_read = {*TEST_COLUMNS, config.columns.get("answer", "answer")}
    for loss in describe_losses("test", table, config.truncation, also_read):
        reporter.notice(loss)
    problems, bad_rows, positions = Problems(describe(sources)), list(table.bad_rows()), []
    right_answers: list[RightAnswer] = []
    position_of = {row: position for position, row in enumerate(table.rows.tolist())}
    for row, said in read_references(sources, config):
        if row not in position_of:
            continue  # it was set aside already
        if isinstance(said, BadRow):
            problems.add(said)
            place = {"file": said.origin.label, "line": said.line, "id": said.id}
            bad_rows.append(place | {"problem": str(said.problem.args[0]), "raw": said.raw.decode()})
        else:
            positions.append(position_of[row])
            right_answers.append(said)
    if problems and (config.on_bad_row == "stop" or not right_answers):
        problems.raise_if_any(REMEDY)
    if problems:
        reporter.notice(
            f"test: references of {len(problems)} rows cannot be used; set aside (listed in bad_rows.jsonl)"
        )
    table = table.subset(positions)
    questions = _questions(tokenizer, table, right_answers, keeps_front=config.truncation == "answer-end")
    made_from = {"test_sha256": table.source_sha256, "examples": {**renderer.fingerprint, **how_read(config)}}
    return TestRows(table, questions, bad_rows, made_from, renderer.remedy)


def _questions(
    tokenizer: Any, table: ExampleTable, right_answers: Sequence[RightAnswer], *, keeps_front: bool
) -> list[Question]:
    questions = []
    for position, right in enumerate(right_answers):
        asked, shortened = True, False
        if table.num_dropped[position]:
            (row,) = table.token_rows([position])
            asked, shortened = what_is_left(tokenizer, row, right.question, right.num_answers, keeps_front)
        questions.append(
            Question(
                right.expected,
                right.reasoning,
                right.others,
                right.short,
                right.calls,
                asked=asked,
                shortened=shortened,
                may_be_cut=bool(table.num_answer_dropped[position]),
            )
        )
    return questions


def describe_questions(kind: str, test: TestRows, tokenizer: Any) -> list[str]:
    """What the user should know of the questions that the test rows ask; `kind` is test, or a target's name."""
    num_rows, cut = len(test.questions), count_cut(test.questions)
    found = []
    if num_cut := cut["num_question_cut"]:
        found.append(
            f"{kind}: {num_cut} of {num_rows} rows lost their question to the length and are asked nothing: they count"
            f" in the loss alone; {test.remedy}"
        )
    if num_shortened := cut["num_question_shortened"]:
        found.append(f"{kind}: {num_shortened} of {num_rows} rows are asked with the beginning of their question lost")
    if num_calls := sum(question.calls for question in test.questions):
        found.append(
            f"{kind}: {num_calls} of {num_rows} rows are to be answered by calling tools: they count in the loss alone"
        )
    unreadable = Asked(tokenizer, test.table.token_rows(), test.questions).unreadable
    if num_unreadable := int(np.sum(unreadable & ~np.array([question.calls for question in test.questions]))):
        found.append(
            f"{kind}: {num_unreadable} of {num_rows} rows have a right answer that no model can give word for word:"
            " with this tokenizer it holds the token that ends answers, or reads otherwise than it was written"
        )
    return found


def how_judged(config: EvaluationConfig, tests: Iterable[TestRows] = ()) -> dict[str, Any]:
    """What decides the results beside model and rows, for a manifest."""
    version = {"answers_version": VERSION} if config.generate else {}
    if config.generate and any(question.calls for test in tests for question in test.questions):
        version["calls_version"] = CALLS_VERSION
    return without_unsaid(config.model_dump(mode="json"), "evaluation.") | version


def shared_rows(
    prepared: Prepared, config: CompareConfig, examples: Examples, tests: Mapping[str, TestRows]
) -> list[str]:
    """What test rows are in the pool, or among their target's examples, word for word: such a test flatters."""
    remarks, cache = [], config.out / "examples"
    for name, test in tests.items():
        keys = keys_in_pool(prepared, config.tests[name], test.table, cache)
        of_target = keys_in_pool(prepared, config.targets[name], examples.targets[name], cache)
        of_test = f"of the {len(test.table)} test rows of {titled(name)}"
        if num_shared := int(overlap(keys, examples.pool.keys).sum()):
            remarks.append(
                f"{num_shared} {of_test} are in the pool, too, which flatters who finds them; name the test files as"
                " selection.exclude_overlap to leave rows like theirs out of the pool"
            )
        if num_shared := int(overlap(keys, of_target).sum()):
            remarks.append(f"{num_shared} {of_test} are among its examples, too; give other test rows")
    return remarks

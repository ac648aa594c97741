"""Test files as tokens, with what their rows say of right answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from g2is.config import ExamplesConfig
from g2is.evaluation.rows import Reference
from g2is.examples.columns import TEST_COLUMNS, check_columns
from g2is.examples.make_table import describe_losses, tokenize_files
from g2is.examples.problems import BadRow, Problems
from g2is.examples.read import REMEDY, how_read
from g2is.examples.references import read_references
from g2is.examples.sources import describe, find_sources
from g2is.examples.table import ExampleTable
from g2is.examples.tokenize import Renderer
from g2is.progress import Reporter


@dataclass(frozen=True)
class TestRows:
    """Test rows that can be used, what they say of right answers, and the rows that were set aside."""

    __test__ = False  # no test of pytest's

    table: ExampleTable
    references: list[Reference]
    bad_rows: list[dict[str, Any]]
    made_from: Mapping[str, Any]


def read_test(
    files: Sequence[str], config: ExamplesConfig, renderer: Renderer, cache: Path, reporter: Reporter
) -> TestRows:
    """Read and tokenise the test files at the locations `files`; the tokens are kept in `cache`.

    Raises InputError listing all rows that cannot be used; if these are to be skipped, only where none is left.
    """
    sources = find_sources(files)
    with reporter.stage("read test", "bytes") as progress:
        table = tokenize_files(sources, renderer, config, cache, progress)
    check_columns(config.columns, [table.seen], TEST_COLUMNS)
    also_read = {*TEST_COLUMNS, config.columns.get("answer", "answer")}
    for loss in describe_losses("test", table, config.truncation, also_read):
        reporter.notice(loss)
    problems, bad_rows, positions = Problems(describe(sources)), list(table.bad_rows()), []
    references: list[Reference] = []
    position_of = {row: position for position, row in enumerate(table.rows.tolist())}
    for row, said in read_references(sources, config):
        if row not in position_of:
            continue  # it was set aside already
        if isinstance(said, BadRow):
            problems.add(said)
            place = {"file": said.origin.label, "line": said.line, "id": said.id}
            bad_rows.append(place | {"problem": str(said.problem), "raw": said.raw.decode()})
        else:
            positions.append(position_of[row])
            references.append(Reference(*said))
    if problems and (config.on_bad_row == "stop" or not references):
        problems.raise_if_any(REMEDY)
    if problems:
        reporter.notice(
            f"test: references of {len(problems)} rows cannot be used; set aside (listed in bad_rows.jsonl)"
        )
    table = table.subset(positions)
    made_from = {"test_sha256": table.source_sha256, "examples": {**renderer.fingerprint, **how_read(config)}}
    return TestRows(table, references, bad_rows, made_from)

"""What commands print with --json: the counts that they say in words, and where the files lie."""

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from g2is.config import Config, MatrixWalkConfig
    from g2is.config.part import Part
    from g2is.demo.run import Demo
    from g2is.examples.inspect import Inspection
    from g2is.jobs.part import MadePart
    from g2is.jobs.run_folder import Selection
    from g2is.jobs.select import Results
    from g2is.jobs.select_matrices import Matrices
    from g2is.selection.record import Picks, Walk


def selection_as_data(selection: "Selection", summary: dict[str, Any] | None = None) -> dict[str, Any]:
    """A selection: its ids in order, the files of its folder, and the counts of summary.json where they were made."""
    return {
        "run": selection.folder,
        "num_selected": len(selection.rows),
        "ids": list(selection.ids),
        "files": _files(selection.folder),
        **({} if summary is None else {"summary": summary}),
    }


def stage_as_data(config: "Config", stage: str, results: "Results") -> dict[str, Any]:
    """A stage that selects nothing: where its work lies, and what it counted."""
    return {
        "stage": stage,
        "run": config.out,
        "store": config.store,
        "checkpoints": [checkpoint.folder for checkpoint in results.checkpoints],
        "summary": results.summary,
    }


def made_part(config: "Config", part: "Part", made: "MadePart") -> dict[str, Any]:
    """What a worker made of its part, and what others have still to make."""
    return {"worker": str(part), "store": config.store, "num_made": made.num_made, "num_left": made.num_left}


def matrix_walk(config: "MatrixWalkConfig", record: "Walk | Picks") -> dict[str, Any]:
    """A selection from matrices: the row numbers in order, and the budget."""
    return {
        "run": config.out,
        "num_selected": len(record.steps),
        "budget": record.budget,
        "rows": [step.row for step in record.steps],
        "files": _files(config.out),
    }


def matrices(found: "Matrices") -> dict[str, Any]:
    """What a walk on matrices would start from."""
    return {
        "pool_gradients": list(found.pool.shape),
        "target_gradients": list(found.target.shape),
        "num_components": None if found.core is None else len(found.core.components),
        "budget": found.budget,
    }


def inspection(found: "Inspection") -> dict[str, Any]:
    """What was recognised in files; problems as lines, the examples shown as parts with whether they are learned."""
    values = {field.name: getattr(found, field.name) for field in fields(found)}
    return values | {"problems": found.problems.lines(), "num_problems": len(found.problems)}


def demo_as_data(found: "Demo", seconds: float) -> dict[str, Any]:
    """A demo: its selection, rows by skill, and how each tuned model did (`loss` a learned token, in nats)."""
    return selection_as_data(found.selection) | {
        "skills": {
            name: {"selected": found.selected_skills[name], "in_the_pool": number}
            for name, number in found.pool_skills.items()
        },
        "needed": found.needed,
        "outcomes": found.outcomes,
        "seconds": seconds,
    }


def _files(folder: Path) -> list[Path]:
    """The files for people and programs in a run's folder."""
    from g2is.store.digests import DIGESTS

    return sorted(path for path in folder.iterdir() if path.is_file() and path.name not in (".lock", DIGESTS))

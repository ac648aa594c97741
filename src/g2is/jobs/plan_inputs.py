"""What a plan must know of pool and targets: rows, tokens and the budget; by the tokenizer, or by bytes without one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from g2is.config import Config
from g2is.config.targets import titled
from g2is.errors import ConfigError
from g2is.examples.dataset import Examples
from g2is.examples.read import read_examples
from g2is.examples.sources import find_sources, source_sha256
from g2is.examples.template_file import read_chat_template
from g2is.jobs.forecast import Left
from g2is.jobs.read_data import check_targets_differ, plan_for
from g2is.progress import Reporter
from g2is.selection.plan import Plan, Pool, plan_selection
from g2is.warmup.train import sample_size

_NO_ROWS = np.zeros(0, np.int64)
BYTES_A_TOKEN = 4  # of English text, by the tokenizers of current models: assumed where there is no tokenizer


@dataclass(frozen=True)
class Inputs:
    """Pool and targets in numbers: `lengths` (N,) int are the tokens of the pool's rows that are not left out.

    `targets` are those of each target's (M,), by name. `left` says what of them the store lacks. `exact` is False where
    tokens are counted by bytes.
    """

    lengths: np.ndarray
    targets: Mapping[str, np.ndarray]
    num_duplicates: int
    num_truncated: int
    num_excluded: int
    plan: Plan
    left: Left
    exact: bool = True

    @property
    def target_lengths(self) -> np.ndarray:
        """Tokens of the rows of all targets, one after the other."""
        return np.concatenate(list(self.targets.values()))


def counted(config: Config, examples: Examples, left: Left | None) -> Inputs:
    """What was read, by the model's own tokens. `left` is None for a method that looks at no gradients."""
    pool = examples.pool
    return Inputs(
        lengths=pool.num_tokens,
        targets={name: table.num_tokens for name, table in examples.targets.items()},
        num_duplicates=pool.num_duplicates,
        num_truncated=pool.num_truncated,
        num_excluded=len(examples.filtered.reasons),
        plan=plan_for(config.selection, examples),
        left=left or Left(False, 0, {"pool": _NO_ROWS, "target": _NO_ROWS}),
    )


def counted_by_bytes(config: Config, context_length: int | None, reporter: Reporter) -> Inputs:
    """The same without a tokenizer: `BYTES_A_TOKEN` a token, nothing for a template; duplicates are not looked for.

    Rows are shortened to what the settings allow, and to the model's `context_length` if it is known.

    Raises what reading raises; ConfigError where rows are to be left out or included, which are told by their tokens.
    """
    selection = config.selection
    for name in ("include", "exclude", "exclude_overlap", "quotas"):
        if getattr(selection, name):
            raise ConfigError(
                f"selection.{name}: expected a model with a tokenizer, by which rows are told, found none in"
                f" {config.model.name}; leave it out, or put the tokenizer's files beside config.json"
            )
    if config.examples.chat_template is not None:
        read_chat_template(config.examples.chat_template)  # of which nothing is counted
    sources = {"pool": config.pool, **{titled(name): files for name, files in config.targets.items()}}
    check_targets_differ({title: source_sha256(find_sources(files)) for title, files in sources.items()})
    most = min(config.examples.max_length, context_length or config.examples.max_length)
    whole = _lengths(config, config.pool, "pool", reporter)
    pool = np.minimum(whole, most)
    targets = {
        name: np.minimum(_lengths(config, files, titled(name), reporter), most)
        for name, files in config.targets.items()
    }
    share, trains = sample_size(len(pool), config.warmup.fraction) / len(pool), config.warmup.adapter is None
    of_pool = Pool(len(pool), pool, [""] * len(pool), (), np.zeros(0, np.int64))
    return Inputs(
        lengths=pool,
        targets=targets,
        num_duplicates=0,
        num_truncated=int((whole > most).sum()),
        num_excluded=0,
        plan=plan_selection(selection, of_pool, list(targets)),
        left=Left(
            True,
            round(share * config.warmup.epochs * selection.warmup_seeds * int(pool.sum())) if trains else 0,
            {"pool": pool, "target": np.concatenate(list(targets.values()))},  # none is looked for in a store
        ),
        exact=False,
    )


def _lengths(config: Config, locations: Sequence[str], title: str, reporter: Reporter) -> np.ndarray:
    """Tokens of each row (N,) int64, of its turns' texts; at least one."""
    with reporter.stage(f"read {title}", "bytes") as progress:
        examples = read_examples(find_sources(locations), config.examples, progress)
        texts = (sum(len(turn.content.encode()) for turn in example.conversation.turns) for example in examples)
        return np.fromiter((max(1, -(-length // BYTES_A_TOKEN)) for length in texts), np.int64)

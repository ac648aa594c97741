"""Tokens a second of turning a pool into its table, by one process and by one for each processor.

    python benchmarks/speed/tokenising.py [--small]

The pool is the shared one four times, 112 MB (a half of it once with --small), with base6m's tokenizer and template.
One process renders and tokenises with as many threads as the tokenizer likes; several do it with one each. Both
must write the same bytes. Writes benchmarks/results/tokenising.json.
"""

import argparse
import gzip
import tempfile
from pathlib import Path

from common.measure import Figure, alternate, keep, median, ratio
from common.places import BASE6M, POOL
from g2is.config import ExamplesConfig, ModelConfig
from g2is.examples import make_table, render_in_order
from g2is.examples.as_trained import render_as_trained
from g2is.examples.sources import find_sources
from g2is.model.folder import find_model

TIMES = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="a half of the pool, once")
    given = parser.parse_args()
    renderer = render_as_trained(find_model(ModelConfig(name=str(BASE6M))), None, ExamplesConfig()).renderer
    render_in_order.WORTH_IT = 0
    num = render_in_order.num_processes(0)
    made: dict[int, bytes] = {}
    tokens = 0
    with tempfile.TemporaryDirectory() as scratch:
        pool = Path(scratch) / "pool.jsonl"
        with gzip.open(POOL, "rt", encoding="utf-8") as file:
            lines = file.readlines()
        copies = [lines[::2]] if given.small else [lines] * 4
        with pool.open("w", encoding="utf-8") as file:
            for number, copied in enumerate(copies):  # an id may be given once
                file.writelines(line.replace('{"id": "', f'{{"id": "{number}-', 1) for line in copied)

        def tokenise(processes: int) -> None:
            nonlocal tokens
            vars(make_table)["num_processes"] = lambda _: processes
            with tempfile.TemporaryDirectory(dir=scratch) as cache:
                table = make_table.tokenize_files(find_sources([str(pool)]), renderer, ExamplesConfig(), Path(cache))
                tokens = int(table.num_tokens.sum())
                made[processes] = next(Path(cache).glob("*.parquet")).read_bytes()

        one, several = alternate([lambda: tokenise(1), lambda: tokenise(num)], 1 if given.small else TIMES)
    if made[1] != made[num]:
        raise SystemExit("several processes wrote another table than one")
    times, spread = ratio(one, several)
    figures = [
        Figure("tokens a second, one process", round(tokens / median(one)), None, False),
        Figure(f"tokens a second, {num} processes", round(tokens / median(several)), None, False),
        Figure(f"{num} processes over one", times, None, False, "x", spread, "same bytes"),
    ]
    keep("tokenising", given.small, "speed/tokenising.py", figures, {"tokens": tokens, "seconds": [one, several]})


if __name__ == "__main__":
    main()

"""Batches of examples, whose size long rows bound too."""

from collections.abc import Iterable, Iterator

from g2is.examples.read import Example

BATCH_BYTES = 1 << 24  # of rows as they are in their file


def batches(examples: Iterable[Example], num_rows: int) -> Iterator[list[Example]]:
    """Yield batches of `num_rows`, or fewer where rows are long: one that reaches BATCH_BYTES ends its batch."""
    batch: list[Example] = []
    size = 0
    for example in examples:
        batch.append(example)
        size += len(example.raw)
        if len(batch) == num_rows or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch

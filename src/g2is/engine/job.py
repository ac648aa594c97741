"""What an engine is given and gives back: a shard's work as plain data."""

from collections.abc import Iterable, Iterator
from typing import Annotated, Protocol

from pydantic import ConfigDict, Field, NonNegativeInt, StringConstraints, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from g2is.errors import StoreError
from g2is.store.manifest import Kind

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9_.-]*$")]  # never a path


@dataclass(frozen=True, config=ConfigDict(strict=True, extra="forbid"))
class ShardJob:
    """One shard that is to be made and stored, for whoever has prepared for the same command, in any process.

    `store` is the store's folder or URL, `representation` (gradients or another's name) and `kind` the table in it, and
    `fingerprint` the digest that its shards carry. Gradients are taken under `checkpoints`, as the Γ `forms`; other
    representations know neither. `number` is the shard's in the table's plan, and `rows` are positions in the table of
    examples that the command has read: the pool without what was excluded, or all targets joined.
    """

    store: Annotated[str, Field(min_length=1)]
    representation: Name
    kind: Kind
    fingerprint: Name
    checkpoints: tuple[Name, ...]
    forms: tuple[Name, ...]
    number: NonNegativeInt
    rows: Annotated[tuple[NonNegativeInt, ...], Field(min_length=1)]

    def to_json(self) -> str:
        """This job as one line of JSON."""
        return _JOBS.dump_json(self).decode()

    @staticmethod
    def from_json(text: str) -> "ShardJob":
        """Read what `to_json` wrote. Raises StoreError naming the first part that is not as it writes it."""
        try:
            return _JOBS.validate_json(text)
        except ValidationError as error:
            problem = error.errors()[0]
            place = ".".join(map(str, problem["loc"])) or "the whole"
            raise StoreError(
                f"expected a shard's job as this version of g2is writes it, found {place} wrong: {problem['msg']}. Give"
                " all processes of a command the same version"
            ) from None


_JOBS = TypeAdapter(ShardJob)


class Engine(Protocol):
    """Who makes shards: this process, others on this machine, or a cluster."""

    def run(self, jobs: Iterable[ShardJob]) -> Iterator[ShardJob]:
        """Make and store the shard of each of `jobs`, in any order; yields each job when its shard is stored.

        A shard is a function of its job alone, so order, engine and process change no byte of it. Raises what making
        or storing one raises; those stored before stay.
        """

"""What an engine is given and gives back: work as plain data."""

from collections.abc import Iterable, Iterator
from typing import Annotated, Protocol, TypeVar

from pydantic import ConfigDict, Field, NonNegativeInt, StringConstraints, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from g2is.errors import StoreError
from g2is.store.manifest import Kind

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9_.-]*$")]  # never a path


@dataclass(frozen=True, config=ConfigDict(strict=True, extra="forbid"))
class ShardJob:
    """A `Job`: one shard that is to be made and stored, for whoever has prepared for the same command, in any process.

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

    def __str__(self) -> str:
        return f"shard {self.number}"

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


class Job(Protocol):
    """A piece of work: plain data that can be hashed and pickled. As text it is what messages call it.

    What comes of it is a function of the job alone, so order, engine and process change no byte of it.
    """

    @property
    def number(self) -> int:
        """Which of those that an engine is given at once."""


AnyJob = TypeVar("AnyJob", bound=Job)


class Engine(Protocol[AnyJob]):
    """Who makes shards, or whatever else jobs are of: this process, others on this machine, or a cluster."""

    def run(self, jobs: Iterable[AnyJob]) -> Iterator[AnyJob]:
        """Make and store what each of `jobs` says, in any order; yields each job when all of it is stored.

        Raises what making or storing it raises; what was stored before stays.
        """

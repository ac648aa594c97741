"""The settings of tests: what is measured, and of which answers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, field_validator, model_validator

from g2is.config.home import at_home
from g2is.config.section import Section, each_once, one_may_stand_alone

Metric = Literal["loss", "exact_match", "rouge_l", "numeric_match"]


class EvaluationConfig(Section):
    """What is measured of a model on test rows and tasks (`g2is evaluate`; docs/evaluation.md)."""

    metrics: Annotated[tuple[Metric, ...], one_may_stand_alone, each_once] = Field(
        get_args(Metric), min_length=1, description="of each test row"
    )
    generate: bool = Field(True, description="let the model answer; false: its loss alone, which is much faster")
    max_new_tokens: int | None = Field(
        None, ge=1, description="where an answer is cut off; default: the longest expected answer and 8 more"
    )
    numeric: Literal["exact", "math-verify"] = Field(
        "exact",
        description="what numeric_match goes by; exact: the last number of the answer; math-verify: the package of that"
        " name (`pip install 'g2is[math]'`), which reads LaTeX, sets and expressions",
    )
    tasks: Annotated[tuple[str, ...], one_may_stand_alone, each_once] = Field(
        (), description="of lm-evaluation-harness: names, or YAML files of your own"
    )
    task_chat_template: bool = Field(
        False, description="ask lm-evaluation-harness's tasks in the model's chat template"
    )

    @model_validator(mode="before")
    @classmethod
    def _without_answers_the_loss_alone(cls, given: Any) -> Any:
        if isinstance(given, Mapping) and given.get("generate") is False and "metrics" not in given:
            return {**given, "metrics": ("loss",)}
        return given

    @field_validator("tasks")
    @classmethod
    def _absolute_if_a_file(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        files = tuple(name.endswith((".yaml", ".yml")) for name in given)
        return tuple(str(at_home(Path(name)).absolute()) if f else name for name, f in zip(given, files, strict=True))

    @model_validator(mode="after")
    def _answers_for_their_metrics(self) -> Self:
        if not self.generate and (needing := [name for name in self.metrics if name != "loss"]):
            raise ValueError(
                f"metrics: expected loss alone with generate: false, found {', '.join(needing)}, which need the model's"
                " answers; leave one of the two out"
            )
        return self

"""Every setting of a run: frozen, validated together, unknown keys refused (`io.py` says how).

A run's resolved `Config` is written to RUN/config.yaml and `g2is run` replays it. Settings that change results go into
the store's fingerprint (`store/fingerprint.py`) or the walk's record; `ExecutionConfig` holds those that do not.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from g2is.config.evaluation import EvaluationConfig as EvaluationConfig
from g2is.config.gradients import GammaForm as GammaForm
from g2is.config.gradients import GradientsConfig as GradientsConfig
from g2is.config.gradients import Parameters as Parameters
from g2is.config.gradients import ProjectionConfig as ProjectionConfig
from g2is.config.gradients import SecondMoments as SecondMoments
from g2is.config.gradients import Storage as Storage
from g2is.config.model import ModelConfig as ModelConfig
from g2is.config.model import Quantization as Quantization
from g2is.config.parts import STANDARD_COLUMNS as STANDARD_COLUMNS
from g2is.config.parts import ExamplesConfig as ExamplesConfig
from g2is.config.parts import ExecutionConfig as ExecutionConfig
from g2is.config.parts import Layout as Layout
from g2is.config.parts import LoraConfig as LoraConfig
from g2is.config.parts import TuningConfig as TuningConfig
from g2is.config.parts import WarmupConfig as WarmupConfig
from g2is.config.section import HUB as HUB
from g2is.config.section import AbsolutePath as AbsolutePath
from g2is.config.section import Location as Location
from g2is.config.section import Locations as Locations
from g2is.config.section import OptionalLocations as OptionalLocations
from g2is.methods import Section as Section

if TYPE_CHECKING:
    from g2is.config.representation import RepresentationConfig as RepresentationConfig
    from g2is.config.runs import Config as Config
    from g2is.config.runs import EvaluateConfig as EvaluateConfig
    from g2is.config.runs import InspectConfig as InspectConfig
    from g2is.config.runs import MatrixWalkConfig as MatrixWalkConfig
    from g2is.config.runs import TrainConfig as TrainConfig
    from g2is.config.selection import SelectionConfig as SelectionConfig

# Composed of what selectors and representations declare, whose files import numpy: made when they are first asked for.
_COMPOSED = {
    "RepresentationConfig": "g2is.config.representation",
    "SelectionConfig": "g2is.config.selection",
    **dict.fromkeys(
        ("Config", "EvaluateConfig", "InspectConfig", "MatrixWalkConfig", "TrainConfig"), "g2is.config.runs"
    ),
}


def __getattr__(name: str) -> Any:
    if name not in _COMPOSED:
        raise AttributeError(f"module 'g2is.config' has no attribute {name!r}")
    return getattr(import_module(_COMPOSED[name]), name)

"""How a model is told in stores and manifests: folders that were made once go on only with the very same words."""

from pathlib import Path

import pytest
import torch

import g2is.demo
from g2is.config import ModelConfig
from g2is.jobs.model_identity import identify
from g2is.model.folder import find_model
from g2is.progress import Silent

MODEL = Path(g2is.demo.__file__).parent / "model"


@pytest.mark.parametrize(("dtype", "told"), [("auto", "float32"), ("bfloat16", "bfloat16")])
def test_a_store_says_the_type_bare_and_a_manifest_as_torch_does(dtype: str, told: str) -> None:
    config = ModelConfig(name=str(MODEL), dtype=dtype)
    identity = identify(find_model(config), config, torch.device("cpu"), Silent())
    assert identity.in_store() == {"weights": identity.weights, "dtype": told}
    assert identity.in_manifest() == {"weights": identity.weights, "dtype": f"torch.{told}"}
    assert len(identity.weights) == 32

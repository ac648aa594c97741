from typing import get_args

from g2is.representations.registry import BUILT_IN

from g2is.config import RepresentationConfig


def test_the_settings_name_the_gradient_and_every_registered_representation() -> None:
    named = get_args(RepresentationConfig.model_fields["name"].annotation)
    assert named == ("gradient", *BUILT_IN)

"""A loaded model as lm-evaluation-harness asks it, with our progress in place of the library's bars.

Imported only where lm-eval, an optional extra, is there.
"""

import logging
from collections.abc import Callable
from typing import Any

from lm_eval.api.model import LM
from lm_eval.models.huggingface import HFLM

from g2is.progress import Reporter


class ReportedModel(LM):
    """Passes requests on to lm-eval's own class for Hugging Face models, some batches at a time, and counts them."""

    def __init__(self, model: Any, tokenizer: Any, batch_size: int, title: str, reporter: Reporter) -> None:
        super().__init__()
        logger = logging.getLogger("lm_eval.models.huggingface")
        level = logger.level
        logger.setLevel(logging.ERROR)  # it would warn that the model is loaded, which is what we want
        self._inner = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=batch_size)
        logger.setLevel(level)
        self._chunk = batch_size * 16  # sorted by length within: few chunks mean little padding, many mean news
        self._title = title
        self._reporter = reporter

    def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
        """Log-likelihoods of continuations, and whether each is the greedy one."""
        return self._ask(self._inner.loglikelihood, requests)

    def loglikelihood_rolling(self, requests: list[Any]) -> list[float]:
        """Log-likelihoods of whole texts."""
        return self._ask(self._inner.loglikelihood_rolling, requests)

    def generate_until(self, requests: list[Any]) -> list[str]:
        """Continuations up to what ends them."""
        return self._ask(self._inner.generate_until, requests)

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """A conversation as the model's own template writes it."""
        return self._inner.apply_chat_template(chat_history, add_generation_prompt=add_generation_prompt)

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        """The template itself."""
        return self._inner.chat_template(chat_template)

    @property
    def tokenizer_name(self) -> str:
        """What tells this model's prompts from another's."""
        return self._inner.tokenizer_name

    def _ask(self, answer: Callable[..., list[Any]], requests: list[Any]) -> list[Any]:
        answers: list[Any] = []
        with self._reporter.stage(self._title, "requests") as progress:
            for start in range(0, len(requests), self._chunk):
                answers += answer(requests[start : start + self._chunk], disable_tqdm=True)
                progress(len(answers), len(requests))
        return answers

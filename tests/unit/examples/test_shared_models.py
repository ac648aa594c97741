"""The real tokenizers and data of /work/shared, where they are."""

from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from g2is.config import ExamplesConfig
from g2is.examples.make_table import tokenize_files
from g2is.examples.read import read_examples
from g2is.examples.sources import find_sources
from g2is.examples.tokenize import Rendered, make_renderer

SHARED = Path("/work/shared")
MODELS = [("base6m", "<|eos|>", 1024), ("stories260K", "</s>", 512)]

pytestmark = pytest.mark.skipif(not SHARED.exists(), reason="needs the models and data of /work/shared")


@pytest.mark.parametrize(("name", "end", "context_length"), MODELS)
def test_real_answers_are_learned_with_their_end(name: str, end: str, context_length: int) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(SHARED / "models" / name)
    renderer = make_renderer(tokenizer, ExamplesConfig(), context_length)
    for example in islice(read_examples(find_sources([str(SHARED / "data" / "pool.jsonl.gz")])), 200):
        rendered = renderer.render(example)
        answer = tokenizer.decode(rendered.input_ids[rendered.label_mask], clean_up_tokenization_spaces=False)
        if rendered.num_answer_dropped == 0:
            assert answer.strip() == example.conversation.turns[1].content.strip() + end
        assert (rendered.input_ids == tokenizer.bos_token_id).sum() == 1
        assert rendered.input_ids[0] == tokenizer.bos_token_id
        assert len(rendered.input_ids) <= context_length


@pytest.mark.slow
def test_markers_and_prefixes_find_the_same_answers() -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(SHARED / "models" / "base6m")
    marked = make_renderer(tokenizer, ExamplesConfig(), None)
    tokenizer.chat_template = tokenizer.chat_template.replace("{% generation %}", "").replace("{% endgeneration %}", "")
    unmarked = make_renderer(tokenizer, ExamplesConfig(), None)
    examples = list(islice(read_examples(find_sources([str(SHARED / "data" / "pool.jsonl.gz")])), 300))
    for left, right in zip(marked.render_many(examples), unmarked.render_many(examples), strict=True):
        assert isinstance(left, Rendered)
        assert isinstance(right, Rendered)
        np.testing.assert_array_equal(left.input_ids, right.input_ids)
        np.testing.assert_array_equal(left.label_mask, right.label_mask)


def test_a_real_target_becomes_a_table(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(SHARED / "models" / "base6m")
    renderer = make_renderer(tokenizer, ExamplesConfig(), 1024)
    table = tokenize_files(
        find_sources([str(SHARED / "data" / "targets" / "gsm8k.dev.jsonl.gz")]), renderer, ExamplesConfig(), tmp_path
    )
    assert len(table) == 64
    assert table.num_answer_tokens.min() > 1

# ruff: noqa: E501  # a template is read best on its line
"""Chat templates that would not end, or fill the memory: one message, in seconds, in some megabytes."""

import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hostile_cases import TEMPLATES
from transformers.utils.chat_template_utils import render_jinja_template

from g2is.config import ExamplesConfig, ModelConfig
from g2is.errors import ConfigError, InputError
from g2is.examples.bounded_jinja import render_bounded
from g2is.examples.bounds import LimitError
from g2is.examples.conversation import Conversation, Turn
from g2is.examples.end_of_turn import PROBE
from g2is.examples.jinja import JinjaTemplate, RefusedError, TemplateLimitError
from g2is.examples.messages import Row
from g2is.examples.read import Example
from g2is.examples.sources import find_sources
from g2is.examples.template_file import read_chat_template
from g2is.examples.tokenize import make_renderer
from g2is.model.folder import find_model

MODEL = Path(__file__).resolve().parents[3] / "src/g2is/demo/model"
MESSAGES = [{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": "4"}]
# In these the naive way would take longer than a test may, or more memory than a machine has, without a limit on both.
NAIVE = (
    "import resource, sys\n"
    "resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))\n"
    "from transformers.utils.chat_template_utils import render_jinja_template\n"
    "messages = [{'role': 'user', 'content': 'a'}]\n"
    "print('loaded', flush=True)\n"
    "render_jinja_template(conversations=[messages], chat_template=sys.argv[1])\n"
)


class Tokens:
    special_tokens_map = {"bos_token": "<s>", "eos_token": "</s>"}  # noqa: RUF012


@pytest.mark.slow
@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_that_would_hardly_end_is_stopped(name: str, tmp_path: Path) -> None:
    before, begin = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.thread_time()
    path = tmp_path / "t.jinja"
    path.write_text(TEMPLATES[name] + "{{ messages[0].content }}")
    with pytest.raises((TemplateLimitError, RefusedError, ConfigError)) as error:
        JinjaTemplate(read_chat_template(path), Tokens(), "2026-01-01").run(Row.of(PROBE), thinks=False)
    assert 20 < len(str(error.value)) < 500
    assert time.thread_time() - begin < 30
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 20  # KiB


@pytest.mark.slow
@pytest.mark.parametrize("name", ["text times a variable", "loops in loops"])
def test_what_the_naive_way_makes_of_it(name: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", NAIVE, TEMPLATES[name]], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as naive:
        assert naive.stdout is not None
        assert naive.stdout.readline() == "loaded\n"
        try:
            assert "MemoryError" in naive.communicate(timeout=2)[1]
        except subprocess.TimeoutExpired:
            naive.kill()  # it goes on


def test_another_thread_is_stopped_too_and_none_is_left() -> None:
    found: list[BaseException] = []

    def render() -> None:
        try:
            render_bounded(conversations=[MESSAGES], chat_template=TEMPLATES["loops in loops"])
        except LimitError as error:
            found.append(error)

    before = threading.active_count()
    threads = [threading.Thread(target=render) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 2
    assert threading.active_count() == before


def test_a_long_conversation_gets_as_much_as_it_needs() -> None:
    source = (
        "{% set ns = namespace(all='') %}{% for m in messages %}{% set ns.all = ns.all + m.content|trim %}"
        "{{ '<' ~ m.role ~ '>' + m.content }}{% endfor %}{{ ns.all|length }}"
    )
    messages = [{"role": "user", "content": "word " * 10_000}] * 100  # 5 MB, added up 250 MB
    given: dict[str, Any] = {"conversations": [messages], "chat_template": source}
    assert render_bounded(**given) == render_jinja_template(**given)


@pytest.mark.parametrize(
    "source",
    [
        "{{ '%5d|%-5s|%%' % (3, 'a') }}{{ '{:>7}'.format(1) }}{{ '%(a)s' % {'a': 1700000000} }}{{ '%s'|format([1]) }}",
        "{{ messages|map(attribute='content')|join(', ') }}{{ ['b', 'a']|sort|join }}{{ range(3)|join('-') }}",
        "{{ 'a-b'.split('-')|tojson(indent=2) }}{{ messages|tojson }}{{ {'a': [1, 2]}|tojson }}{{ [1, 2] + [3] }}",
        "{% for m in messages if m.role == 'user' %}{{ loop.index0 }}{{ loop.last }}{{ m.content[:2] * 3 }}{% endfor %}",
        "{% macro f(x, y=1) %}{{ x ~ y }}{{ caller() if caller }}{% endmacro %}{{ f(1) }}{% call f(2, y=3) %}c{% endcall %}",
        "{% set ns = namespace(a=[]) %}{% set ns.a = ns.a + [1] %}{{ ns.a }}{{ namespace(b=2).b }}{{ dict(a=1).items()|list }}",
        "{{ 'Ab'|upper|lower|title|trim|replace('A', 'bb')|indent(2) }}{{ undefined }}{{ none }}{{ 1.25|round(1) }}{{ 7 % 4 }}",
        "{% for m in messages recursive %}{{ m.role }}{% if loop.depth == 1 %}{{ loop(messages) }}{% endif %}{% endfor %}",
        "{% generation %}a{{ messages[0].content }}{% endgeneration %}{{ 2 ** 10 }}{{ 'x' in 'xyz' }}{{ (1, 2)|last }}",
        "{% set a, b = 1, 2 %}{{ a }}{{ b }}{% for k, v in {'x': 1}.items() %}{{ k ~ v }}{% endfor %}{{ 'a'.center(9) }}",
        "{% set a = namespace(x=1) %}{% set b = [a, a] %}{{ b|length }}{{ b[0].x }}{{ 'é\U0001f600'|length }}",
    ],
)
def test_bounds_change_nothing_of_what_is_written(source: str) -> None:
    given: dict[str, Any] = {
        "conversations": [MESSAGES],
        "chat_template": source,
        "return_assistant_tokens_mask": "generation" in source,
    }
    assert render_bounded(**given) == render_jinja_template(**given)


@pytest.fixture
def example(tmp_path: Path) -> Callable[[str], Example]:
    def make(content: str) -> Example:
        (tmp_path / "pool.jsonl").write_text("{}\n")
        (source,) = find_sources([str(tmp_path / "pool.jsonl")])
        turns = (Turn("user", content), Turn("assistant", "4"))
        return Example(0, source, 7, "seven", Conversation(turns), b"{}")

    return make


def test_a_row_that_a_template_would_not_end_with_is_named_and_is_the_last(
    example: Callable[[str], Example], tmp_path: Path
) -> None:
    path = tmp_path / "evil.jinja"
    path.write_text(
        "{% for m in messages %}<{{ m.role }}>{{ m.content }}</s>{% if 'go' in m.content %}{{ 'a' * 10**10 }}{% endif %}"
        "{% endfor %}"
    )
    model = find_model(ModelConfig(name=str(MODEL)))
    renderer = make_renderer(model.tokenizer(), ExamplesConfig(chat_template=path), 256)
    assert len(renderer.render_many([example("2 + 2?")])) == 1
    with pytest.raises(InputError, match=r"evil\.jinja, for .*pool\.jsonl:7 \(seven\): expected a chat template that"):
        renderer.render_many([example("go")])

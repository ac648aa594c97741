"""`g2is inspect`: what is recognised in files of examples, and what a model would see and learn. Writes nothing."""

from g2is.config import ExamplesConfig, InspectConfig, ModelConfig
from g2is.examples.inspect import Inspection, inspect_examples
from g2is.examples.sources import find_sources
from g2is.examples.tokenize import Renderer, make_renderer
from g2is.progress import Reporter, Silent


def inspect(config: InspectConfig, reporter: Reporter | None = None) -> Inspection:
    """Read all files; rows that cannot be used are among the problems of what is returned.

    Raises InputError where a file cannot be found, ModelError where the model cannot be used.
    """
    reporter = reporter or Silent()
    renderer = None if config.model is None else _renderer(config.model, config.examples)
    for notice in () if renderer is None else renderer.notices:
        reporter.notice(notice)
    with reporter.stage("read", "bytes") as progress:
        return inspect_examples(find_sources(config.files), config.examples, renderer, progress)


def _renderer(model: ModelConfig, examples: ExamplesConfig) -> Renderer:
    from g2is.model.folder import find_model  # and with it torch, which files alone do without

    folder = find_model(model)
    return make_renderer(folder.tokenizer(), examples, folder.context_length, num_embeddings=folder.num_embeddings)

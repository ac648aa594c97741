"""README.md of an adapter: what it was tuned on, from which model and how, as the hub and a reader want it.

It holds no time and no folder but the model's, which adapter_config.json names too: the same training gives the same
bytes.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from g2is.store.files import write_text

CARD = "README.md"


def keep_card(
    base: str, title: str, lines: Sequence[str], settings: Mapping[str, Any], version: str
) -> Callable[[Path], None]:
    """What writes the card of an adapter of the model `base` into its folder.

    `title` says in a line what the adapter is, `lines` more of it, each an item of a list; `settings` are those it was
    trained with, section by section; `version` is that of g2is.
    """
    head = {
        "base_model": base,
        "library_name": "peft",
        "pipeline_tag": "text-generation",
        "tags": ["lora", "g2is", "data-selection"],
    }
    text = "\n".join(
        [
            "---",
            yaml.safe_dump(head, sort_keys=False, allow_unicode=True).rstrip(),
            "---",
            "",
            f"# {title}",
            "",
            f"A LoRA adapter of `{base}`, trained with g2is {version}.",
            "",
            *(f"- {line}" for line in lines),
            "",
            "```python",
            "from peft import PeftModel",
            "from transformers import AutoModelForCausalLM, AutoTokenizer",
            "",
            f"base = AutoModelForCausalLM.from_pretrained({base!r})",
            'model = PeftModel.from_pretrained(base, "adapter")  # this folder',
            'tokenizer = AutoTokenizer.from_pretrained("adapter")',
            "```",
            "",
            "## Settings",
            "",
            "```yaml",
            yaml.safe_dump(dict(settings), sort_keys=False, allow_unicode=True).rstrip(),
            "```",
            "",
        ]
    )
    return lambda folder: write_text(folder / CARD, text)


def write_merged_card(folder: Path, base: str, training: str, version: str) -> None:
    """Write the card of a model that an adapter was merged into; `training` is the name of the adapter's folder."""
    head = {"base_model": base, "library_name": "transformers", "pipeline_tag": "text-generation", "tags": ["g2is"]}
    text = (
        f"---\n{yaml.safe_dump(head, sort_keys=False, allow_unicode=True)}---\n\n# A merged model\n\n"
        f"`{base}` with the LoRA adapter of the training `{training}` added to its weights, by g2is {version}.\n"
        "It is loaded as any model of transformers is. Whether it may be shared is said by the licence of the base and"
        " of the\ndata.\n"
    )
    write_text(folder / CARD, text)

"""Which tokenizer tokens are made with, whatever its files are called."""

import hashlib
import json
from typing import Any


def tokenizer_digest(tokenizer: Any) -> str:
    """A hash of what a tokenizer makes of texts, 64 hex digits; its chat template does not count."""
    if tokenizer.is_fast:
        # Truncation and padding are what the last call left behind, not the tokenizer's own.
        content = json.loads(tokenizer.backend_tokenizer.to_str())
        content.update(truncation=None, padding=None)
    else:
        content = {"class": type(tokenizer).__name__, "vocabulary": tokenizer.get_vocab()}
    special = {name: str(token) for name, token in tokenizer.special_tokens_map.items()}
    text = json.dumps([content, special], sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()

"""Write docs/llms.txt from the front page and the pages that it lists: python scripts/write_llms.py"""

import re
from pathlib import Path

DOCS = Path(__file__).resolve().parents[1] / "docs"
PLACE = DOCS / "llms.txt"
HEAD = """# g2is

> Chooses, out of a large pool of instructions, the few that teach a language model what your examples need: by the
> gradient of each instruction, on a graph of how gradients agree or conflict (G2IS, Zhao et al., ACL 2025).

Paths are relative to this file. Each page is plain Markdown and answers one question.
"""
_LISTED = re.compile(r"^- \[[^\]]+\]\(([^)#]+\.md)\)", re.MULTILINE)
_SENTENCE = re.compile(r"\S.*?(?:[.?](?=\s|$)|:$)")


def sections(index: str) -> dict[str, list[str]]:
    """The headings of the front page that list pages, and these, by their paths from docs/, in order."""
    parts = re.split(r"^## (.+)$", index, flags=re.MULTILINE)
    listed = {title: _LISTED.findall(text) for title, text in zip(parts[1::2], parts[2::2], strict=True)}
    return {title: pages for title, pages in listed.items() if pages}


def page() -> str:
    """The whole file: every page with its title and its first sentence."""
    parts = [HEAD]
    for title, pages in sections((DOCS / "index.md").read_text(encoding="utf-8")).items():
        parts.append(f"\n## {title}\n" + "".join(f"- {entry(name)}\n" for name in pages))
    return "".join(parts)


def entry(name: str) -> str:
    """A page's link and title, and its first sentence if one stands below that: of a question the answer as well."""
    text = (DOCS / name).read_text(encoding="utf-8")
    title, _, rest = text.removeprefix("# ").partition("\n")
    begin = " ".join(re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", rest.strip("\n").partition("\n\n")[0]).split())
    sentences = [] if begin[:1] in ("", "#", "|", "-") or rest.startswith("\n    ") else _SENTENCE.findall(begin)
    told = " ".join(sentences[: 2 if sentences and sentences[0].endswith("?") else 1]).rstrip(":")
    return f"[{title}]({name})" + (f": {told}" if told else "")


if __name__ == "__main__":
    PLACE.write_text(page(), encoding="utf-8")

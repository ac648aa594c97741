"""The page as a file: what stands in it, and that nothing in its data gets out of its place."""

import base64
import hashlib
import json
import re
from typing import Any

import pytest

from g2is.report.packing import plain, shortened
from g2is.report.page import as_page, embedded

HOSTILE = "</script><script>alert(1)</script><!-- {{SCRIPT}} \u2028 \ud800 & ]]>"


def data_of(page: str) -> Any:
    (found,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    return json.loads(found)


@pytest.mark.parametrize("text", [HOSTILE, "<!--", "a\u2029b", "{{DATA}}{{POLICY}}", "plain"])
def test_any_text_comes_back_as_it_was_and_ends_no_block(text: str) -> None:
    data = {"title": text, "kind": "selection", text: [text]}
    block = embedded(data)
    assert "<" not in block
    assert "\u2028" not in block
    page = as_page(data)
    assert page.count("<script") == 2
    assert page.count("</script>") == 2
    found = data_of(page)
    expected = text.encode("utf-8", "replace").decode()
    assert found["title"] == expected
    assert found[expected] == [expected]


def test_the_policy_names_the_very_script_and_style_and_allows_no_network() -> None:
    page = as_page({"title": "t", "kind": "selection"})
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert policy.startswith("default-src 'none';")
    for tag, body in (
        ("style", re.findall(r"<style>(.*?)</style>", page, re.DOTALL)[0]),
        ("script", re.findall(r"<script>(.*?)</script>", page, re.DOTALL)[0]),
    ):
        digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"""(src|href)=["'](https?:)?//""", page)
    assert "http://www.w3.org/2000/svg" in page  # a name, and the only address
    assert set(re.findall(r"https?://[^\s\"']+", page)) == {"http://www.w3.org/2000/svg"}


def test_the_scripts_put_texts_nowhere_but_into_text() -> None:
    page = as_page({"title": "t", "kind": "selection"})
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"):
        assert word not in page, word


def test_what_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="JSON"):
        embedded({"title": float("nan")})


def test_small_numbers_keep_digits_that_say_something() -> None:
    assert [shortened(value) for value in (0.000836123, -3.21987e-5, 0.123456, 12.345678, 1234567, 0)] == [
        0.0008361, -3.22e-05, 0.1235, 12.3457, 1234567, 0,
    ]  # fmt: skip
    assert shortened(None) is shortened(float("nan")) is None


def test_what_was_shortened_comes_to_the_page_as_it_is() -> None:
    values = [shortened(value) for value in (0.000836123, -3.21987e-5, 0.123456)]
    assert plain({"values": values}) == {"values": values}
    assert plain(3.219871e-7) == 3.22e-7
    assert plain(0.12345678) == 0.123457

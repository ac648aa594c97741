"""report.html in a browser: what it shows, what can be done with it, and that a stranger's text stays text."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from report_map import data_of, picture, points, whole_map
from small_run import MODEL, SMALL, set_flags

from g2is.demo.skills import write_pool, write_target

Command = Callable[..., tuple[int, str, str]]
HOSTILE = "</script><script>window.hurt = 1</script><img src=x onerror='window.hurt = 2'>\u2028<!--<script>"
NAME = 'a<b>"bold"</b>&amp;'


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder whose pool holds markup in a text, an id, a source and a category, and its target in text and id."""
    from g2is.api import select

    folder = tmp_path_factory.mktemp("reported")
    write_pool(folder / "pool.jsonl", num_rows=150)
    write_target(folder / "target.jsonl", num_rows=8)
    lines = (folder / "pool.jsonl").read_text().splitlines()
    hostile = json.loads(lines[3])
    hostile |= {"id": NAME, "source": HOSTILE, "task": HOSTILE}
    hostile["messages"][0]["content"] = HOSTILE
    lines[3] = json.dumps(hostile)
    (folder / "pool.jsonl").write_text("\n".join(lines) + "\n")
    first, *others = (folder / "target.jsonl").read_text().splitlines()
    hostile = json.loads(first) | {"id": HOSTILE}
    hostile["messages"][0]["content"] += HOSTILE
    (folder / "target.jsonl").write_text("\n".join([json.dumps(hostile), *others]) + "\n")
    (folder / "include.txt").write_text(NAME + "\n")
    select(
        pool=folder / "pool.jsonl",
        target=folder / "target.jsonl",
        model=MODEL,
        out=folder / "run",
        budget="10%",
        selection={"method": "g2is", "include": [folder / "include.txt"]},
        warmup={"learning_rate": 2e-3, "lora": {"rank": 4}, "fraction": 0.3, "epochs": 1},
        gradients={"projection": {"dim": 512}},
        execution={"shard_rows": 64},
    )
    return folder / "run"


def panel(page: Any) -> str:
    text: str = page.locator("#map .panel").inner_text()
    return text


def test_a_stranger_s_text_stays_text(reported: Path, open_page: Callable[..., Any]) -> None:
    page = open_page(reported / "report.html")
    assert page.evaluate("window.hurt") is None
    page.get_by_label("Search selected rows").fill("window.hurt")
    cell = page.locator("#rows tbody tr")
    assert cell.count() == 1
    cell.locator("button.plain").click()
    assert HOSTILE.split("\u2028")[0] in panel(page)
    assert NAME in panel(page)
    begins = HOSTILE[:25]
    for way in ("source", "category"):
        page.get_by_label("colour by").select_option(label=way)
        assert begins in page.locator(".legend").inner_text()
    box = page.locator("canvas[data-map]").bounding_box()
    page.locator("canvas[data-map]").press("0")
    data = data_of(reported / "report.html")
    x, y = whole_map(page).places(points(data)[data["points"]["count"]])  # the target's first example
    page.mouse.move(box["x"] + x, box["y"] + y)
    assert page.locator(".tip").inner_text().count(begins) == 2  # its id, and its text
    page.mouse.down()
    page.mouse.up()
    assert begins in page.locator("#map .panel h3").first.inner_text()
    assert begins in page.locator("#map .panel .turns").inner_text()
    assert page.evaluate("window.hurt") is None
    assert page.locator("main img").count() == 0
    assert page.locator("script").count() == 2, "the page's data and its own script"


def test_it_tells_what_was_selected_and_why(reported: Path, open_page: Callable[..., Any]) -> None:
    page = open_page(reported / "report.html")
    assert "15 of 150 rows selected" in page.locator("h1").inner_text()
    assert "g2is" in page.locator("#overview").inner_text()
    titles = page.locator("#rows th").all_inner_texts()
    assert {"TO CORE", "ROLE"} <= {title.upper() for title in titles}
    assert page.locator("#misses tbody tr").count() > 5
    assert page.locator("#spread svg").count() >= 5
    assert "g2is run" in page.locator("#made pre").inner_text()


def test_the_table_sorts_filters_and_searches(reported: Path, open_page: Callable[..., Any]) -> None:
    page = open_page(reported / "report.html")
    table = page.locator("#rows")
    numbers = [int(text) for text in table.locator("td[data-label='no.']").all_inner_texts()]
    assert numbers == list(range(1, 16))
    head = table.locator("th", has_text="to core")
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    values = [float(text) for text in table.locator("td[data-label='to core']").all_inner_texts() if text != "–"]
    assert len(values) == 14  # the included row has none, and is last
    assert values == sorted(values, reverse=True)
    role = table.locator("label", has_text="role").first.locator("select")
    role.select_option("included")
    assert table.locator("tbody tr").count() == 1
    role.select_option("")
    table.get_by_role("searchbox").fill("no such words anywhere")
    assert table.locator("tbody tr").count() == 0
    assert "nothing found" in table.inner_text()


def test_the_map_can_be_used_by_mouse_and_by_keys(reported: Path, open_page: Callable[..., Any]) -> None:
    page = open_page(reported / "report.html")
    canvas = page.locator("canvas[data-map]")
    assert canvas.get_attribute("data-painter") == "WebGL"
    canvas.focus()
    page.keyboard.press("n")
    assert "selected as number 1" in panel(page)
    page.keyboard.press("n")
    assert "selected as number 2" in panel(page)
    second = panel(page).split("\n")[0]
    assert "Nearest rows of the pool" in panel(page)
    assert "Nearest target example" in panel(page)
    page.locator("#map .panel ul.near button").first.click()
    assert panel(page).split("\n")[0] != second
    # encircle everything, then find a text
    box = canvas.bounding_box()
    page.keyboard.down("Shift")
    page.mouse.move(box["x"] + 2, box["y"] + 2)
    page.mouse.down()
    for x, y in ((1, 0), (1, 1), (0, 1)):
        page.mouse.move(box["x"] + 2 + x * (box["width"] - 4), box["y"] + 2 + y * (box["height"] - 4), steps=4)
    page.mouse.up()
    page.keyboard.up("Shift")
    assert "150 rows encircled" in panel(page)
    assert "15 of them selected" in panel(page)
    page.get_by_label("Find a text or id on the map").fill(NAME[:5])
    page.locator("#map .panel h3", has_text="1 row with").wait_for()


def test_a_click_opens_the_point_under_it_and_hovering_names_it(reported: Path, open_page: Callable[..., Any]) -> None:
    page = open_page(reported / "report.html")
    canvas = page.locator("canvas[data-map]")
    canvas.focus()
    page.keyboard.press("n")
    shown = panel(page).split("\n")[0]
    page.keyboard.press("0")
    for _ in range(3):
        page.keyboard.press("+")  # about the middle
    page.keyboard.press("n")
    page.keyboard.press("p")
    assert panel(page).split("\n")[0] == shown
    box = canvas.bounding_box()
    found = 0
    for step in range(60):  # across the middle: some point lies there
        page.mouse.move(box["x"] + box["width"] * (step + 0.5) / 60, box["y"] + box["height"] / 2)
        tip = page.locator(".tip")
        if tip.is_visible():
            named = tip.locator("b").inner_text().split(" · ")[0].removeprefix("target example ")
            page.mouse.down()
            page.mouse.up()
            assert panel(page).startswith(named)
            found += 1
    assert found


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_without_webgl_the_map_looks_the_same(scheme: str, reported: Path, open_page: Callable[..., Any]) -> None:
    page = open_page(reported / "report.html", color_scheme=scheme)
    by_webgl = picture(page)
    context = page.context
    context.add_init_script(
        "const of = HTMLCanvasElement.prototype.getContext;"
        "HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {"
        " return kind === 'webgl' ? null : of.call(this, kind, ...rest); };"
    )
    page.reload()
    page.wait_for_selector("html[data-ready]")
    canvas = page.locator("canvas[data-map]")
    assert canvas.get_attribute("data-painter") == "Canvas"
    by_canvas = picture(page)
    ground = by_webgl[0, 0]
    webgl, plain = (by_webgl - ground).ravel(), (by_canvas - ground).ravel()
    assert np.corrcoef(webgl, plain)[0, 1] > 0.98  # edges differ, places and colours do not
    # Lines, and few dots, whose edges are softer by WebGL: 0.66 and 0.64. Mixed with black, 1.15 and 0.26.
    is_faint = (np.abs(plain) > 1) & (np.abs(plain) < 8)
    assert 0.5 < webgl[is_faint].mean() / plain[is_faint].mean() < 0.95


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_can_be_read_on_a_telephone(scheme: str, reported: Path, open_page: Callable[..., Any]) -> None:
    page = open_page(reported / "report.html", viewport={"width": 360, "height": 740}, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    assert (sum(ground) < 200) == (scheme == "dark")
    page.get_by_role("button", name="light / dark").click()
    turned = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    assert (sum(turned) < 200) == (scheme == "light")


def test_on_a_telephone_a_list_sorts_the_rows(reported: Path, open_page: Callable[..., Any]) -> None:
    page = open_page(reported / "report.html", viewport={"width": 360, "height": 740})
    rows = page.locator("#rows")
    sort_by = rows.locator("label.narrow select")
    assert sort_by.locator("option:checked").inner_text() == "no."
    sort_by.select_option(label="likeness")
    values = [float(text) for text in rows.locator("td[data-label='likeness']").all_inner_texts()]
    assert values == sorted(values, reverse=True)
    rows.get_by_role("button", name="turn the order round").click()
    turned = [float(text) for text in rows.locator("td[data-label='likeness']").all_inner_texts()]
    assert turned == sorted(values)
    sort_by.select_option(label="as given")
    assert rows.locator("td[data-label='no.']").all_inner_texts() == [str(number) for number in range(1, 16)]
    assert rows.locator("th[aria-sort]").count() == 0


def test_every_control_has_a_name(reported: Path, open_page: Callable[..., Any]) -> None:
    page = open_page(reported / "report.html")
    unnamed = page.evaluate(
        "[...document.querySelectorAll('button, select, input, canvas[tabindex]')].filter((of) => !(of.innerText ||"
        " of.getAttribute('aria-label') || of.title || (of.closest('label') || {}).innerText)).map(of => of.outerHTML)"
    )
    assert unnamed == []


def test_the_command_writes_the_same_bytes_again(reported: Path, g2is: Command, tmp_path: Path) -> None:
    for name in ("one", "two"):
        code, out, err = g2is("report", reported, "--out", tmp_path / f"{name}.html")
        assert code == 0, err
        assert f"{name}.html" in out
    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "two.html").read_bytes()
    assert (tmp_path / "one.map.parquet").read_bytes() == (tmp_path / "two.map.parquet").read_bytes()


def test_only_of_a_method_that_passes_over_opposing_rows_the_page_says_so(
    reported: Path, g2is: Command, tmp_path: Path
) -> None:
    two = "".join((reported.parent / "target.jsonl").read_text().splitlines(keepends=True)[:2])
    (tmp_path / "two.jsonl").write_text(two)  # which some rows oppose both
    files = (reported.parent / "pool.jsonl", tmp_path / "two.jsonl", "--model", MODEL, "--budget", "5")
    settings = set_flags({key: of for key, of in SMALL.items() if key != "execution.report"})
    for method, passes_over in {"less": True, "official": False}.items():
        run = tmp_path / method
        flags = ("--method", method, "--store", reported / "store", "--out", run, "--quiet")
        code, _, err = g2is("select", *files, *flags, *settings)
        assert code == 0, err
        data = (run / "report.html").read_text().partition('<script type="application/json" id="data">')[2]
        found = json.loads(data.partition("</script>")[0])
        rules = [of["rule"] for of in found["refusals"]] + [of["rule"] for of in found["misses"]]
        assert ("opposed" in rules) is passes_over, rules


def test_a_method_that_looks_at_nothing_has_a_page_without_a_map(
    reported: Path, g2is: Command, tmp_path: Path, open_page: Callable[..., Any]
) -> None:
    files = (reported.parent / "pool.jsonl", reported.parent / "target.jsonl")
    arguments = ("--model", MODEL, "--method", "random", "--budget", "5")
    code, _, err = g2is("select", *files, "--out", tmp_path / "run", *arguments)
    assert code == 0, err
    page = open_page(tmp_path / "run/report.html")
    assert page.locator("canvas[data-map]").count() == 0
    assert not (tmp_path / "run/map.parquet").exists()
    assert "looked at no rows" in page.locator("#overview").inner_text()
    page.locator("#rows button.plain").first.click()
    assert "ASSISTANT" in panel(page).upper()
    code, _, err = g2is("select", *files, "--out", tmp_path / "bare", "--no-report", *arguments)
    assert code == 0, err
    assert not (tmp_path / "bare/report.html").exists()


def test_of_a_large_pool_some_rows_are_drawn_and_the_table_of_the_map_has_them(
    reported: Path, tmp_path: Path, g2is: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("g2is.jobs.report.MOST_SHOWN", 60)
    page = tmp_path / "page.html"
    code, _, err = g2is("report", reported, "--out", page)
    assert code == 0, err
    assert "The pool has 150 rows. This page shows 60 of them" in page.read_text(encoding="utf-8")
    table = pq.read_table(tmp_path / "page.map.parquet").to_pylist()
    assert len({row["row"] for row in table}) == 60
    chosen = sorted((row for row in table if row["selected"]), key=lambda row: row["order"])
    selected = [json.loads(line) for line in (reported / "selected.jsonl").read_text().splitlines()]
    assert [row["order"] for row in chosen] == list(range(15))
    assert {row["id"] for row in chosen} == {row["id"] for row in selected}
    said = {row["id"]: "\n\n".join(turn["content"] for turn in row["messages"]) for row in selected}
    assert all(row["text"] == said[row["id"]] for row in chosen)  # no role names, after which viewers would name groups
    for number, row in enumerate(table):
        ids, distances = row["neighbors"]["ids"], row["neighbors"]["distances"]
        assert len(ids) == len(distances) > 0
        assert number not in ids
        assert all(0 <= one < 60 for one in ids)
        assert distances == sorted(distances)
        assert all(0 <= distance <= 2 for distance in distances)
        assert row["selected"] or all(table[one]["selected"] for one in ids)

"""The report's page without a mouse: what each key does to the map, and where Tab goes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from report_map import View, data_of, opacity, points, whole_map

STEP = 60  # pixels that an arrow moves the map
ZOOM = 1.4  # how much closer + comes


def shows(page: Any, view: View, chosen: NDArray[np.float64]) -> bool:
    """Whether every selected row (n, 2) is drawn where `view` has it; on another view some are not."""
    places = view.places(chosen)
    inside = places[view.holds(places)]
    assert len(inside) > 2, "too few rows are on the canvas to tell"
    return bool((opacity(page, inside) > 250).all())


def is_ringed(page: Any, place: NDArray[np.float64]) -> bool:
    """Whether the ring of the open row is drawn about `place` (2,): 9 pixels from it, all the way round."""
    angles = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    return bool((opacity(page, place + 9 * np.stack([np.cos(angles), np.sin(angles)], 1), "canvas.over") > 90).all())


@pytest.fixture
def page(finished: Path, open_page: Callable[..., Any]) -> Any:
    found = open_page(finished / "report.html")
    found.locator("button", has_text="order").click()  # without the line of the order, which is drawn between rows
    found.locator("canvas[data-map]").focus()
    return found


@pytest.fixture
def chosen(finished: Path) -> NDArray[np.float64]:
    """Where the selected rows are on the map, in their order."""
    data = data_of(finished / "report.html")
    return points(data)[data["chosen"]["at"]]


@pytest.mark.parametrize(
    ("key", "dx", "dy"),
    [("ArrowLeft", STEP, 0), ("ArrowRight", -STEP, 0), ("ArrowUp", 0, STEP), ("ArrowDown", 0, -STEP)],
)
def test_an_arrow_moves_the_map_and_0_shows_all_again(
    key: str, dx: int, dy: int, page: Any, chosen: NDArray[np.float64]
) -> None:
    whole = whole_map(page)
    assert shows(page, whole, chosen)
    page.keyboard.press(key)
    assert shows(page, whole.moved(dx, dy), chosen)
    assert not shows(page, whole, chosen)
    page.keyboard.press(key)
    assert shows(page, whole.moved(2 * dx, 2 * dy), chosen)
    page.keyboard.press(f"Control+{key}")  # the browser's own: not ours to take
    assert shows(page, whole.moved(2 * dx, 2 * dy), chosen)
    page.keyboard.press("0")
    assert shows(page, whole, chosen)


def test_plus_and_minus_zoom_about_the_middle_as_far_as_it_goes(page: Any, chosen: NDArray[np.float64]) -> None:
    whole = whole_map(page)
    page.keyboard.press("+")
    assert shows(page, whole.zoomed(ZOOM), chosen)
    assert not shows(page, whole, chosen)
    page.keyboard.press("=")  # the same key without Shift
    assert shows(page, whole.zoomed(ZOOM).zoomed(ZOOM), chosen)
    page.keyboard.press("-")
    assert shows(page, whole.zoomed(ZOOM), chosen)
    page.keyboard.press("ArrowUp")
    page.keyboard.press("-")
    assert shows(page, whole.zoomed(ZOOM).moved(0, STEP).zoomed(1 / ZOOM), chosen)
    page.keyboard.press("0")
    for _ in range(6):
        page.keyboard.press("-")
    assert shows(page, whole.zoomed(0.6), chosen)
    assert not shows(page, whole.zoomed(1 / ZOOM), chosen)


def test_n_and_p_go_along_the_choice_and_open_each_row_where_it_lies(page: Any, chosen: NDArray[np.float64]) -> None:
    last, places = len(chosen), whole_map(page).places(chosen)
    opened = page.locator("#map .panel")
    for key, number in (("p", last), ("n", 1), ("N", 2), ("n", 3), ("P", 2), ("p", 1), ("p", last)):
        page.keyboard.press(key)
        assert f"selected as number {number}" in opened.inner_text().split("\n")[1], key
        assert is_ringed(page, places[number - 1])
        assert not is_ringed(page, places[number % last])


def test_a_row_that_is_not_in_view_comes_to_the_middle(page: Any, chosen: NDArray[np.float64]) -> None:
    view = whole_map(page)
    for _ in range(9):
        page.keyboard.press("+")
        view = view.zoomed(ZOOM)
    moved = 0
    for row in chosen:
        page.keyboard.press("n")
        if not view.holds(view.places(row)):
            view, moved = view.centred_on(row), moved + 1
        assert is_ringed(page, view.places(row))
    assert moved  # whether all or not, the layout decides


# The element that has the keys: its place among all, its name, and whether it can be seen that it has them.
HAS_THE_KEYS = """() => {
  const of = document.activeElement, style = getComputedStyle(of), box = of.getBoundingClientRect();
  const name = of.getAttribute("aria-label") || (of.closest("label") || of).innerText;
  return of === document.body ? null : { at: [...document.querySelectorAll("*")].indexOf(of), name: name.trim(),
    seen: style.outlineStyle !== "none" && box.right > 0 && box.bottom > 0 && box.top < innerHeight };
}"""
CONTROLS = """() => [...document.querySelectorAll("a[href], button:enabled, select, input, [tabindex='0']")]
  .filter((of) => of.checkVisibility()).map((of) => [...document.querySelectorAll("*")].indexOf(of))"""


def test_tab_goes_through_every_control_in_the_order_of_the_page(finished: Path, open_page: Callable[..., Any]) -> None:
    page = open_page(finished / "report.html")
    reached = []
    page.keyboard.press("Tab")
    while found := page.evaluate(HAS_THE_KEYS):
        reached.append(found)
        assert len(reached) < 500, "Tab goes round in a circle"
        page.keyboard.press("Tab")
    places = [of["at"] for of in reached]
    assert places == sorted(set(places))
    assert set(places) >= set(page.evaluate(CONTROLS))
    assert [of["name"] for of in reached if not of["seen"]] == []
    names = [of["name"].split("\n")[0] for of in reached]
    expected = [
        *("Skip to the report", "light / dark", "What was selected", "colour by", "order", "lasso"),
        *("Find a text or id on the map", "Search selected rows", "no.", "likeness"),
        *("Search near misses", "which row", "next →", "copy"),
    ]
    at = [names.index(name) for name in expected if name in names]
    assert (len(at), at) == (len(expected), sorted(at)), names
    canvas = next(number for number, name in enumerate(names) if name.startswith("Map of the pool."))
    assert names.index("Find a text or id on the map") < canvas < names.index("zoom in")


def test_what_a_mouse_can_do_with_table_and_panel_keys_can(finished: Path, open_page: Callable[..., Any]) -> None:
    page = open_page(finished / "report.html")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    head = page.locator("#rows th", has_text="likeness")
    head.get_by_role("button").focus()
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "descending"
    page.keyboard.press("Space")
    assert head.get_attribute("aria-sort") == "ascending"
    page.get_by_label("Search selected rows").focus()
    page.keyboard.type("pool-0000")
    rows = page.locator("#rows tbody tr")
    num_found = rows.count()
    assert 0 < num_found < 15
    rows.first.locator("button.plain").focus()
    page.keyboard.press("Enter")
    opened = page.locator("#map .panel")
    assert "selected as number" in opened.inner_text()
    has_the_keys = "document.activeElement.classList.contains('panel')"
    assert page.evaluate(has_the_keys)
    shown = opened.inner_text()
    page.keyboard.press("Tab")  # to the text, which can be scrolled
    page.keyboard.press("Tab")  # to its nearest target example
    page.keyboard.press("Enter")
    assert opened.inner_text() != shown
    assert page.evaluate(has_the_keys), "the panel was drawn anew, and the keys were lost with what was pressed"


def test_the_legend_keeps_the_keys_when_it_hides_a_colour(finished: Path, open_page: Callable[..., Any]) -> None:
    page = open_page(finished / "report.html")
    page.get_by_label("colour by").select_option(label="category")
    name = page.locator(".legend button").nth(1).inner_text()
    page.locator(".legend button").nth(1).focus()
    for pressed in ("false", "true"):
        page.keyboard.press("Space")
        has_the_keys = page.locator(".legend button:focus")
        assert has_the_keys.inner_text() == name
        assert has_the_keys.get_attribute("aria-pressed") == pressed

"""The page that `cluster --html` writes, in a real browser where there is one."""

import io

import numpy as np
import pytest
from browser import CHROMIUM, Page
from PIL import Image

from aetool.plots.page import html_page

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")

POINTS = np.array([[0, 0], [1, 0], [0, 1], [1, 1]], float)
SHADES = (20, 90, 160, 230)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Four grey pictures on the corners of a square, in two clusters and of one known class."""
    folder = tmp_path_factory.mktemp("page")
    colorings = [
        ("cluster", np.array([0, 0, 1, 1]), ("0", "1")),
        ("class", np.array([0, -1, -1, -1]), ("cat",)),
    ]
    pictures = [np.full((8, 8), shade, np.uint8) for shade in SHADES]
    names = ("a.png", "</script><b>", "日本.png", "d.png")
    (folder / "page.html").write_text(
        html_page("A & B", POINTS, names, colorings, pictures), encoding="utf-8"
    )
    with Page(folder / "page.html", folder / "profile") as opened:
        yield opened


def place(page, point):
    return page.evaluate(f"place({point})")


def tip(page):
    return page.evaluate(
        "document.getElementById('tip').style.display == 'block'"
        " ? document.querySelector('#tip span').textContent : null"
    )


def box(page, selector):
    """Left, top, width and height of an element, in pixels."""
    found = f"document.querySelector('{selector}').getBoundingClientRect()"
    return page.evaluate(f"(b => [b.x, b.y, b.width, b.height])({found})")


def shown(page):
    return np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB")).astype(int)


def test_all_points_are_in_view_and_nothing_is_loaded_or_complains(page):
    assert page.evaluate("document.title") == "A & B"
    for point in range(4):
        x, y = place(page, point)
        assert 0 < x < 800
        assert 0 < y < 600
    # Few points are shown as their pictures.
    pixels = shown(page)
    for point, shade in enumerate(SHADES):
        x, y = map(round, place(page, point))
        assert abs(pixels[y, x] - shade).max() < 8
    assert not page.seen("Runtime.exceptionThrown")
    asked = [each["request"]["url"] for each in page.seen("Network.requestWillBeSent")]
    assert all(url.startswith(("file:", "data:", "about:")) for url in asked), asked


def test_the_mouse_over_a_point_shows_its_picture_name_and_groups(page):
    page.mouse("mouseMoved", *place(page, 2))
    assert tip(page) == "日本.png\ncluster: 1\nclass: unknown"
    x, y, *_ = box(page, "#tip canvas")
    x, y = round(x + 80), round(y + 80)
    assert abs(shown(page)[y, x] - SHADES[2]).max() < 8
    page.mouse("mouseMoved", *place(page, 1))
    assert tip(page).startswith("</script><b>\n")
    page.mouse("mouseMoved", 400, 300)
    assert tip(page) is None


def test_the_wheel_enlarges_about_the_mouse_and_a_drag_moves(page):
    x, y = place(page, 0)
    scale = page.evaluate("view.scale")
    page.mouse("mouseWheel", x, y, deltaX=0, deltaY=-200)
    assert page.evaluate("view.scale") == pytest.approx(scale * np.exp(0.5))
    assert place(page, 0) == pytest.approx([x, y])
    page.mouse("mousePressed", 400, 300, button="left", clickCount=1)
    page.mouse("mouseMoved", 430, 280, button="left")
    page.mouse("mouseReleased", 430, 280, button="left", clickCount=1)
    assert place(page, 0) == pytest.approx([x + 30, y - 20])
    page.mouse("mouseMoved", 300, 300)
    assert place(page, 0) == pytest.approx([x + 30, y - 20])
    for count in (1, 2):
        page.mouse("mousePressed", 400, 300, button="left", clickCount=count)
        page.mouse("mouseReleased", 400, 300, button="left", clickCount=count)
    assert place(page, 0) == pytest.approx([x, y])


def test_a_group_is_hidden_by_a_click_and_the_other_colouring_chosen(page):
    for hidden in (True, False):
        x, y, _, height = box(page, "#legend label:nth-child(2)")
        at = x + 5, y + height / 2
        page.mouse("mousePressed", *at, button="left", clickCount=1)
        page.mouse("mouseReleased", *at, button="left", clickCount=1)
        page.mouse("mouseMoved", *place(page, 3))
        assert (tip(page) is None) == hidden
    page.evaluate("select.value = 1; select.onchange()")
    assert page.evaluate("legend.textContent") == "cat"
    assert page.evaluate("[color(0) != UNKNOWN, color(3) == UNKNOWN]") == [True, True]

import pytest
from browser import browser_page, find_browser

from hamgan.html_page import html_page, html_table

SVG = '<figure><svg width="460pt" height="230pt" viewBox="0 0 460 230"><rect width="460" height="230"/></svg></figure>'


@pytest.mark.slow
@pytest.mark.skipif(find_browser() is None, reason="there is no Chromium here")
@pytest.mark.parametrize("width", [360, 1280])
def test_pages_fit_into_narrow_screens(width, tmp_path):
    sections = {
        "Curves": f'<div class="figures">{SVG}{SVG}</div>',
        "Matrix": SVG,
        "Grids": f'<div class="grids">{SVG}</div>',
        "Table": html_table([f"column {index}" for index in range(30)], [["1"] * 30]),
    }
    path = tmp_path / "page.html"
    path.write_text(html_page("Title", "Summary", sections))
    with browser_page(find_browser(), tmp_path / "profile") as page:
        page.open(f"file://{path}", width=width, height=800)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        widest = "Math.max(...[...document.querySelectorAll('svg')].map(each => each.getBoundingClientRect().right))"
        assert 300 < page.evaluate(widest) <= width

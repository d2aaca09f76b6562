import pytest
from browser import browser_page, find_browser

import hamgan
from hamgan.errors import UserError

# Compiling takes longer than sampling a few images; the tests of sampling compile.
pytestmark = pytest.mark.usefixtures("eager")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": -1}, r"seed must be in \[0, 2\^31\), found -1"),
        ({"max_megabytes": 0.0}, "max_megabytes must be positive, found 0"),
        ({"classes": []}, "at least one class, found none"),
        ({"classes": ["three"]}, "unknown class 'three'"),
    ],
)
def test_wrong_arguments_are_reported_before_any_work(tiny_run, tmp_path, arguments, message):
    with pytest.raises(UserError, match=message):
        hamgan.explore(tiny_run, str(tmp_path / "page.html"), **arguments)
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def page_path(tiny_run, classifier_path, digits_dir, tmp_path_factory):
    path = tmp_path_factory.mktemp("explorer") / "page.html"
    hamgan.explore(
        tiny_run,
        str(path),
        classes=["3", "7"],
        classifier=classifier_path,
        data_dir=digits_dir,
        cache_dir=str(path.parent / "cache"),
    )
    return path


@pytest.mark.slow
def test_the_page_is_small_enough_or_refused(tiny_run, page_path, tmp_path):
    size = page_path.stat().st_size / 1e6
    hamgan.explore(tiny_run, str(tmp_path / "half.html"), classes=["3"], neighbors=False, max_megabytes=size / 2)
    assert (tmp_path / "half.html").stat().st_size <= size / 2 * 1e6
    with pytest.raises(UserError, match=r"expected a page of at most 0.01 MB, found .* show fewer classes"):
        hamgan.explore(tiny_run, str(tmp_path / "tiny.html"), classes=["3"], neighbors=False, max_megabytes=0.01)
    assert not (tmp_path / "tiny.html").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("width", "height"), [(390, 844), (1280, 900)])
def test_everything_on_the_page_responds(page_path, tmp_path, width, height):
    browser = find_browser()
    if browser is None:
        pytest.skip("Chromium is not installed, so the explorer was not driven in a browser")
    with browser_page(browser, str(tmp_path / "profile")) as page:
        page.open(page_path.as_uri(), width=width, height=height)

        def pictures(parent):
            return page.evaluate(
                f"[...document.querySelectorAll('#{parent} .picture')].map(picture =>"
                " picture.style.backgroundImage.length + ' ' + picture.style.backgroundPosition + ' ' +"
                " picture.style.backgroundImage.slice(-40))"
            )

        def text(identifier):
            return page.evaluate(f"document.getElementById('{identifier}').textContent")

        def move(slider, value):
            page.evaluate(
                f"(slider => {{ slider.value = {value}; slider.dispatchEvent(new Event('input')); }})"
                f"(document.getElementById('{slider}'))"
            )

        def click(selector):
            page.evaluate(f"document.querySelector({selector!r}).click()")

        assert page.evaluate("[...document.querySelectorAll('#classes button')].map(chip => chip.textContent)") == [
            "3",
            "7",
        ]
        samples, neighbors = pictures("samples"), pictures("neighbors")
        assert len(set(samples)) == 24
        assert len(neighbors) == 6 * (1 + 5)
        assert text("truncation-value") == "none"
        move("truncation", 0)
        assert text("truncation-value") == "t = 0.25"
        assert not set(pictures("samples")) & set(samples)
        move("truncation", 3)
        assert pictures("samples") == samples

        click("#classes button:nth-child(2)")
        assert not set(pictures("samples")) & set(samples)
        assert not set(pictures("neighbors")) & set(neighbors)

        frames = set()
        for position in range(32):
            move("position", position)
            frames.add(page.evaluate("document.getElementById('frame').style.backgroundPosition"))
        assert len(frames) == 32
        assert text("position-value") == "32 of 32"
        click("#by-class")
        assert text("position-value") == "9 of 16"
        click("#play")
        assert text("play") == "Pause"
        click("#play")
        assert text("play") == "Play"

        assert text("distance-value") == "0 \N{GREEK SMALL LETTER SIGMA}"
        before = pictures("direction-pictures")
        assert len(before) == 4
        move("distance", 6)
        assert text("distance-value") == "+3 \N{GREEK SMALL LETTER SIGMA}"
        assert not set(pictures("direction-pictures")) & set(before)
        click("#directions button:nth-child(2)")
        assert len(pictures("direction-pictures")) == 4

        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate("[...document.images].length") == 0
        assert page.errors == []
        assert [url for url in page.requests if not url.startswith("data:")] == [page_path.as_uri()]

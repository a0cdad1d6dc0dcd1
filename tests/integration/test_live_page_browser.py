"""The live page in a real headless browser."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np
import pytest

from edgepose.device.output.streams import LivePageSink
from edgepose.records.telemetry_record import RuntimeEvent
from tests.support.browser import REBOUND, Browser, headless_browser
from tests.support.pictures import persons_at, result_of
from tests.support.waiting import until

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timing, pytest.mark.xdist_group("browser")]
LIVE = "document.body !== null && document.body.dataset.state === 'live'"
FRAME = "Number(document.getElementById('canvas').dataset.frame || -1)"


@pytest.fixture(scope="module", name="browser")
def _browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with headless_browser(tmp_path_factory.mktemp("browser") / "profile") as browser:
        yield browser


class WalkingPersons:
    """A run of two persons at 30 frames a second, on pictures that are pure red."""

    def __init__(self) -> None:
        self.page = LivePageSink(0, print)
        self.note: RuntimeEvent | None = None
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._walk)
        self._thread.start()

    def _walk(self) -> None:
        red = np.zeros((480, 640, 3), np.uint8)
        red[:, :, 0] = 255
        index = 0
        while not self._done.wait(1 / 30):
            centres = [(200.0 + 80 * np.sin(index / 15), 240.0), (430.0, 250.0)]
            poses = replace(persons_at(centres, 300.0), track_ids=np.array([1, 2]))
            result = result_of(poses, index, (640, 480))
            self.page.write(replace(result, frame=replace(result.frame, image=red)))
            if self.note is not None:
                self.page.note(self.note)
                self.note = None
            index += 1

    def end(self) -> None:
        self._done.set()
        self._thread.join()
        self.page.close(complete=True)


@pytest.fixture(name="run")
def _run(browser: Browser) -> Iterator[WalkingPersons]:
    run = WalkingPersons()
    browser.events.clear()
    browser.size(1280, 800)
    browser.dark(on=False)
    browser.go(run.page.address)
    browser.wait_for(LIVE)
    browser.wait_for(f"{FRAME} > 0")
    yield run
    run.end()


def pixels(browser: Browser) -> np.ndarray:
    content = np.frombuffer(browser.screenshot(), np.uint8)
    picture = cv2.imdecode(content, cv2.IMREAD_COLOR)
    assert picture is not None
    return np.asarray(picture)[..., ::-1].astype(int)


def red_pixels(picture: np.ndarray) -> int:
    return int(((picture[..., 0] > 200) & (picture[..., 1] < 60) & (picture[..., 2] < 60)).sum())


def test_it_updates_by_itself(browser: Browser, run: WalkingPersons) -> None:
    first = browser.ask(FRAME)
    before = pixels(browser)
    browser.wait_for(f"{FRAME} > {first + 15}")
    assert np.abs(pixels(browser) - before).max() > 60
    assert browser.ask("document.getElementById('persons').textContent") == "2"
    browser.wait_for("Number(document.getElementById('fps').textContent) > 5")


def test_it_shows_skeletons_and_no_picture(browser: Browser, run: WalkingPersons) -> None:
    picture = pixels(browser)
    # Green and brown limbs on a light ground, nothing of the red frames.
    assert ((picture[..., 1] - picture[..., 0]) > 60).sum() > 500
    assert red_pixels(picture) == 0
    assert browser.ask("document.querySelectorAll('img, video, picture, object, embed, iframe').length") == 0
    types = {e["type"] for e in browser.heard("Network.requestWillBeSent")}
    assert types <= {"Document", "Stylesheet", "Script", "EventSource", "Other"}
    kinds = {e["response"]["mimeType"] for e in browser.heard("Network.responseReceived")}
    assert not [kind for kind in kinds if kind.startswith(("image/", "video/"))]
    # Negative control: were a red picture there, it would be seen.
    browser.ask("document.getElementById('stage').style.background = 'rgb(255, 0, 0)'; 0")
    assert red_pixels(pixels(browser)) > 10_000


def test_only_this_device_is_asked_and_nothing_is_refused_or_thrown(
    browser: Browser, run: WalkingPersons
) -> None:
    asked = {e["request"]["url"] for e in browser.heard("Network.requestWillBeSent")}
    assert asked
    assert all(address.startswith(run.page.address) for address in asked)
    assert browser.heard("Runtime.exceptionThrown") == []
    assert browser.heard("Log.entryAdded") == []
    # Negative control: what comes from elsewhere is refused by the page's own policy.
    failed = browser.ask("fetch('http://192.0.2.1/').then(() => false, () => true)")
    assert failed is True
    assert browser.heard("Log.entryAdded") != []


def test_a_foreign_name_that_leads_here_is_refused(browser: Browser, run: WalkingPersons) -> None:
    text = "document.body === null ? '' : document.body.textContent"
    browser.go(run.page.address.replace("127.0.0.1", REBOUND))
    browser.wait_for(f"location.hostname === '{REBOUND}' && ({text}).includes('answers to 127.0.0.1')")
    assert browser.ask("document.querySelector('canvas')") is None
    # Negative control: the same by its own name.
    browser.go(run.page.address.replace("127.0.0.1", "localhost"))
    browser.wait_for(f"location.hostname === 'localhost' && {LIVE}")


@pytest.mark.parametrize("dark", [False, True])
def test_it_fits_a_phone(browser: Browser, run: WalkingPersons, dark: bool) -> None:
    browser.dark(on=dark)
    browser.size(375, 812, mobile=True)
    browser.wait_for("window.innerWidth === 375")
    assert browser.ask("document.documentElement.scrollWidth") == 375
    outside = (
        "[...document.querySelectorAll('body *')].filter(e => !e.matches('.skip, noscript, noscript *'))"
        ".filter(e => { const b = e.getBoundingClientRect();"
        " return b.width && (b.left < 0 || b.right > 375.5); })"
        ".map(e => e.tagName + '.' + e.className)"
    )
    assert browser.ask(outside) == []
    # The skeletons are in sight without scrolling, and a finger can hit the button.
    assert browser.ask("document.getElementById('canvas').getBoundingClientRect().bottom") < 812
    assert browser.ask("document.getElementById('pause').getBoundingClientRect().height") >= 44
    ground = browser.ask("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, ground[4:-1].split(","))) < 200) is dark


def test_it_can_be_paused(browser: Browser, run: WalkingPersons) -> None:
    browser.ask("document.getElementById('pause').click(); 0")
    # A frame that was asked for before may still be drawn.
    browser.wait_until_drawn()
    at = browser.ask(FRAME)
    arrived = "Network.eventSourceMessageReceived"
    before = len(browser.heard(arrived))
    until(lambda: len(browser.heard(arrived)) > before + 15, "more poses in the browser")
    browser.wait_until_drawn()
    assert browser.ask(FRAME) == at
    browser.wait_for("document.getElementById('state').textContent === 'Paused'")
    browser.ask("document.getElementById('pause').click(); 0")
    browser.wait_for(f"{FRAME} > {at}")


def test_it_says_that_the_scene_has_drifted_and_that_the_run_ended(
    browser: Browser, run: WalkingPersons
) -> None:
    drift = "document.getElementById('drift')"
    assert browser.ask(f"{drift}.dataset.level") == "none"
    run.note = RuntimeEvent(kind="drift_started", subject="brightness", value=0.4)
    browser.wait_for(f"{drift}.dataset.level === 'warn'")
    assert "the light" in browser.ask(f"{drift}.textContent")
    run.end()
    browser.wait_for("document.body.dataset.state === 'ended'")
    assert "The run has ended" in browser.ask("document.getElementById('stage').textContent")
    # Two persons of before are not shown as if they were there now.
    assert browser.ask("document.getElementById('persons').textContent") == "\N{EN DASH}"


def test_colours_can_be_read(browser: Browser, run: WalkingPersons) -> None:
    """Contrast of text by WCAG 2.2's formula for relative luminance: at least 4.5."""
    script = """
      (() => {
        const light = (c) => { const v = c.match(/[\\d.]+/g).slice(0, 3).map(x => x / 255)
          .map(x => x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
          return 0.2126 * v[0] + 0.7152 * v[1] + 0.0722 * v[2]; };
        const ground = (e) => { for (; e; e = e.parentElement) {
          const c = getComputedStyle(e).backgroundColor;
          if (!c.startsWith('rgba(0, 0, 0, 0')) return c; } return 'rgb(255, 255, 255)'; };
        return [...document.querySelectorAll('h1, p, dt, dd b, small, button, .state, h2')]
          .filter(e => e.textContent && e.getClientRects().length).map(e => {
            const [a, b] = [light(getComputedStyle(e).color), light(ground(e))].sort((x, y) => y - x);
            return [e.id || e.tagName, (a + 0.05) / (b + 0.05)]; });
      })()
    """
    for dark in (False, True):
        browser.dark(on=dark)
        browser.wait_for(f"matchMedia('(prefers-color-scheme: dark)').matches === {str(dark).lower()}")
        found = browser.ask(script)
        assert len(found) > 8
        assert min(ratio for _, ratio in found) >= 4.5, found

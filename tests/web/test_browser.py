"""The page in a real browser: against a real swarm, and fed with networks that are hard to show."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver.common.keys import Keys

from broker.events import DownloadsSet, LoadSet, OrderSet, PeerGone
from cluster.local import LocalCluster, LocalPeer, accepted
from node.api_messages import ApiGet, ApiShare
from protocol.messages import Order, OtherTracker
from service.look_alikes import look
from service.text import printable, told_apart, unescaped
from tests.service.test_look_alikes import ALIKE
from tests.web.browser import Browser, browser
from tests.web.fed_page import MARKUP, MIB, FedPage, busy_network, digest, download, get, has, joined, peer_id

pytestmark = pytest.mark.slow

SIZE = 24 * MIB
RATE = 4 * MIB
SLOW = MIB
BOLD = "<b onclick=x>bold<img src=x onerror=document.title=1>"
"""A peer's name."""
SETTINGS = {"web": "127.0.0.1:0", "heartbeat": "300ms", "lease": "2s"}


@pytest.fixture
def page() -> Iterator[FedPage]:
    with FedPage() as fed:
        yield fed


@pytest.mark.process
@pytest.mark.timeout(150)
def test_a_swarm_is_followed_from_the_first_byte_to_the_last(tmp_path: Path) -> None:
    with browser(tmp_path / "browser") as seen, LocalCluster(tmp_path, SETTINGS) as cluster:
        cluster.start_tracker()
        (alice,) = cluster.add_peers(["alice"])
        bob, carol = [
            cluster.add_peers([name], {"download_rate": rate})[0] for name, rate in ((BOLD, RATE), ("carol", SLOW))
        ]
        (dave,) = cluster.add_peers(["dave"])
        seen.until(lambda: answers(cluster.tracker.page), "the page, for which the tracker does not wait, is served")
        seen.open(cluster.tracker.page)
        cluster.wait_joined()
        seen.until(lambda: seen.row("peers", BOLD), "a name full of markup is text")

        (alice.download_dir / "model.bin").write_bytes(os.urandom(SIZE))
        (dave.download_dir / "model.bin").write_bytes(b"something else")
        share(alice)
        seen.until(lambda: seen.row("contents", "model.bin"), "the content is shown")
        for peer in (bob, carol, dave):
            fetch(peer)
        seen.until(lambda: "alice sends" in seen.text("#picture-text"), "the picture says who sends")
        percents = climb(seen, BOLD)
        assert len(percents) > 1
        assert percents == sorted(percents), "they rise"

        failed = seen.until(lambda: seen.text("#failures .lines"), "a failure is told")
        assert "dave" in failed
        assert "exists with other content" in failed
        assert "exists with other content" in seen.row("peers", "dave")["cells"][5]

        carol.kill()
        lost = seen.until(
            lambda: [line for line in seen.text("#failures").splitlines() if "model.bin, " in line], "a loss"
        )
        assert "it was fetching" in lost[0]
        assert not seen.row("peers", "carol")
        done = seen.until(
            lambda: (seen.row("contents", "model.bin")["percent"] == 100) and seen.row("contents", "model.bin"), "100 %"
        )
        assert "1 of 1 have it" in done["cells"][5]
        assert seen.run("return document.title") == "zswarm tracker"
        assert seen.run("return document.querySelectorAll('main b[onclick], main img').length") == 0
        assert seen.complaints() == []


@pytest.mark.process
@pytest.mark.timeout(150)
def test_a_tracker_that_is_paused_or_killed_is_not_called_live(tmp_path: Path) -> None:
    with browser(tmp_path / "browser") as seen, LocalCluster(tmp_path, SETTINGS) as cluster:
        cluster.start_tracker()
        group = cluster.tracker.program.pid
        seen.until(lambda: answers(cluster.tracker.page), "the page is served")
        seen.open(cluster.tracker.page)
        seen.until(lambda: seen.text("#live") == "live", "it is live")
        os.killpg(group, signal.SIGSTOP)
        try:
            seen.until(lambda: "figures are from" in seen.text("#live"), "it is not")
            assert seen.text("#live").startswith("the tracker says nothing; ")
            assert seen.text("#health") == "not heard"
        finally:
            os.killpg(group, signal.SIGCONT)
        seen.until(lambda: (seen.text("#live"), seen.text("#health")) == ("live", "healthy"), "it is live again")
        cluster.tracker.kill()
        seen.until(lambda: seen.text("#live").startswith("connection lost; figures are from"), "it is gone")
        assert seen.text("#health") == "not heard"


def answers(url: str) -> bool:
    try:
        return get(f"{url}/healthz").status == 200
    except OSError:
        return False


def share(peer: LocalPeer) -> None:
    path = peer.download_dir / "model.bin"
    accepted(peer, peer.request(ApiShare(peer.line.next_id(), str(path), "blake3")))


def fetch(peer: LocalPeer) -> None:
    accepted(peer, peer.request(ApiGet(peer.line.next_id(), "model.bin", str(peer.download_dir), b"", False, False)))


def climb(seen: Browser, name: str) -> list[int]:
    """What the bar of ``name`` says, until it is beyond the middle."""
    percents: list[int] = []

    def beyond() -> bool:
        percent = seen.row("peers", name)["percent"]
        if percent is not None and (not percents or percent != percents[-1]):
            percents.append(percent)
        return bool(percents) and percents[-1] > 50

    seen.until(beyond, "the download goes on")
    return percents


def test_sixty_peers_are_readable_on_a_screen_and_on_a_phone(tmp_path: Path, page: FedPage) -> None:
    page.feed(busy_network(60))
    with browser(tmp_path) as seen:
        seen.open(page.url)
        seen.until(lambda: seen.row("peers", "node-60"), "all peers are shown")
        assert seen.row("contents", MARKUP)["cells"][4] == "3.0 MiB"
        assert "not enough space" in seen.row("peers", "node-05")["cells"][5]
        assert "connection refused" in seen.row("peers", "node-09")["cells"][5]
        assert "refuses: it accepts no orders" in seen.text("#rollouts")
        assert "tcp://10.0.0.254:5550 3 of 58 peers are not its members" in " ".join(seen.text("#trackers").split())
        for width in (1280, 360):
            seen.resize(width, 900)
            seen.until(lambda: seen.run(_OVERLAPPING) == 0, f"labels of the picture do not overlap at {width} pixels")
            assert seen.run("return document.documentElement.scrollWidth <= innerWidth"), "nothing is wider than that"
            assert seen.run(_SMALLEST) >= 9
        assert seen.complaints() == []


def test_the_longest_names_and_reasons_fit_on_a_screen_and_on_a_phone(tmp_path: Path, page: FedPage) -> None:
    content, peer, reason, tracker = 200 * "x", 60 * "W", 300 * "R", f"tcp://{60 * 't'}:5550"
    order = Order("0" * 32, digest(1), digest(1), content, MIB)
    page.feed([joined(1, peer), joined(2, peer), has(1, 1, content, MIB), OrderSet(peer_id(1), order)])
    page.feed([LoadSet(peer_id(1), 0, others=(OtherTracker(tracker, False),)), joined(3, peer)])
    page.feed([DownloadsSet(peer_id(2), [download(1, MIB, 50, "failed", reason=reason)])])
    page.feed([DownloadsSet(peer_id(3), [download(1, MIB, 50, rate=1, sources=1, senders=[(peer_id(1)[:8], 100)])])])
    page.feed([joined(4, peer), DownloadsSet(peer_id(4), [download(1, MIB, 50)]), PeerGone(peer_id(4), True)])
    with browser(tmp_path) as seen:
        seen.open(page.url)
        seen.until(lambda: reason in seen.text("#failures") and "lost" in seen.text("#failures"), "all is shown")
        for width in (1280, 700, 360):
            seen.resize(width, 900)
            assert seen.run("return document.documentElement.scrollWidth <= innerWidth"), f"at {width} pixels"
            seen.until(lambda: seen.run(_LABELS_FIT), "labels of the picture are inside of it")
            for table in ("contents", "peers"):
                seen.run("document.querySelector(`#${arguments[0]} button.name`).click()", table)
                seen.until(lambda: seen.text("dialog li"), "details")
                assert seen.run("const d = document.querySelector('dialog'); return d.scrollWidth <= d.clientWidth")
                seen.run("document.querySelector('dialog').close()")
        assert seen.complaints() == []


def test_contents_that_look_alike_can_be_told_apart(tmp_path: Path, page: FedPage) -> None:
    names = ["model.bin", "m\u043edel.bin", "modem.bin"]
    page.feed([joined(1, "node-1"), *(has(1, number, name, 1) for number, name in enumerate(names))])
    with browser(tmp_path) as seen:
        seen.open(page.url)
        shown = [r"m\u043edel.bin", *names[::2]]
        seen.until(lambda: all(seen.row("contents", name) for name in shown), "all contents")
        first, second, third = [seen.row("contents", name)["cells"][0].split() for name in shown]
        assert first == [shown[0], digest(1)[:19]]
        assert second == [shown[1], digest(0)[:19]]
        assert third == [shown[2]]
        assert seen.complaints() == []


def test_the_page_shows_names_as_commands_do(tmp_path: Path, page: FedPage) -> None:
    pairs = [*map(list, ALIKE), ["a\u1680b", "ab"], ["a\u1680b", "a b"], ["kay\u0131tl\u0131", "kayitli"]]
    pairs += [["lab1\\x20", "lab1 "], ["l\\u0430b1", "l\u0430b1"], ["a\\b", "ab"]]
    texts = ["pa\u0443pal and модель", "kay\u0131tl\u0131", "a\u3164b\ufe0f", "5µm", "mo\u00addel", "a\U000e0001b"]
    texts += ["\u0301a", "e" + 9 * "\u0301" + "f", "a\\x20"]
    with browser(tmp_path) as seen:
        seen.open(page.url)
        shown, alike, alone = seen.run(_SHOWN, pairs, texts)
        assert shown == [told_apart(pair) for pair in pairs]
        assert alike == [look(unescaped(one)) == look(unescaped(other)) for one, other in pairs]
        assert alone == [printable(text) for text in texts]


_SHOWN = """
const [groups, texts] = arguments, { plain, tellApart } = await import("/static/parts.js");
const rows = groups.map((names) => tellApart(names.map((name) => ({ name }))));
return [rows.map((pair) => pair.map((row) => row.shown)), rows.map((pair) => pair[0].alike), texts.map(plain)];
"""
_OVERLAPPING = """
const place = (text) => [text.x.baseVal[0].value, text.y.baseVal[0].value];
const at = [...document.querySelectorAll("#picture text")].map(place);
const size = Number.parseFloat(document.querySelector("#picture text").style.fontSize);
const scale = document.querySelector("#picture").clientWidth / document.querySelector("#picture").viewBox.baseVal.width;
const near = (a, b) => Math.hypot(a[0] - b[0], a[1] - b[1]) < size * 0.85;
if (Math.abs(scale - 1) > 0.02) return -1;
return at.filter((a, place) => at.some((b, other) => other > place && near(a, b))).length;
"""
"""How many labels begin less than a line from another one; the picture is drawn for the width that it has."""
_LABELS_FIT = """
const frame = document.querySelector("#picture").getBoundingClientRect();
const labels = [...document.querySelectorAll("#picture text[data-peer]")].map((text) => text.getBoundingClientRect());
return labels.length === 2 && labels.every((one) => one.top >= frame.top - 1 && one.bottom <= frame.bottom + 1);
"""
_SMALLEST = """
return Math.min(...[...document.querySelectorAll("main *")].filter((one) => one.childNodes.length && one.innerText)
  .map((one) => Number.parseFloat(getComputedStyle(one).fontSize)));
"""


def test_it_is_read_by_keyboard_and_by_screen_readers(tmp_path: Path, page: FedPage) -> None:
    page.feed(busy_network(12))
    with browser(tmp_path, dark=True) as seen:
        seen.open(page.url)
        seen.until(lambda: seen.row("peers", "node-12"), "all peers are shown")
        assert seen.run("return getComputedStyle(document.body).backgroundColor") == "rgb(15, 19, 24)"
        tree = seen.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
        named = {(node["role"]["value"], node.get("name", {}).get("value", "")) for node in tree if "role" in node}
        assert {("progressbar", "node-02 fetching"), ("heading", "Peers"), ("region", "Who sends to whom")} <= named
        assert [role for role, name in named if role in ("button", "searchbox", "link", "image") and not name] == []

        seen.run("document.querySelector('#picture').focus()")
        seen.press(Keys.ARROW_RIGHT)
        assert "node-01 sends" in seen.text("#picture-text")
        assert seen.run("return document.activeElement.matches(':focus-visible')")
        seen.run("document.querySelector('#peers input').focus()")
        seen.press("node-07")
        seen.until(lambda: not seen.row("peers", "node-02"), "the search is answered")
        assert seen.row("peers", "node-07")
        seen.press(Keys.TAB)
        assert seen.run("return document.activeElement.textContent") == "node-07"
        seen.press(Keys.ENTER)
        assert "from node-" in seen.until(lambda: seen.text("dialog[open] .lines"), "its details are shown")
        seen.press(Keys.ESCAPE)
        assert seen.run("return document.activeElement.textContent") == "node-07", "the focus is back"


def test_rows_stay_where_they_are_while_figures_change(tmp_path: Path, page: FedPage) -> None:
    page.feed(
        [joined(1, "alice"), joined(2, "bob"), has(1, 1, "f", 100 * MIB), has(2, 1, "f", 100 * MIB, "partial", 0)]
    )
    with browser(tmp_path) as seen:
        seen.open(page.url)
        seen.until(lambda: seen.row("peers", "bob"), "both are shown")
        seen.run("document.querySelector('#peers button.name').focus(); window.row = document.activeElement")
        seen.run(_WATCH_SHIFTS)
        for percent in (10, 60):
            page.feed([DownloadsSet(peer_id(2), [download(1, 100 * MIB, percent, rate=MIB, sources=1)])])
            seen.until(lambda: seen.row("peers", "bob")["percent"] == percent, "the figures are new")  # noqa: B023
        assert seen.run("return document.activeElement === window.row"), "it is the same element"
        assert seen.run("return window.shifts") == []
        page.feed([PeerGone(peer_id(2), True)])
        seen.until(lambda: "bob was lost" in seen.text("#news"), "a screen reader is told")


_WATCH_SHIFTS = """
window.shifts = [];
const note = (list) => list.getEntries().forEach((one) => window.shifts.push(...one.sources.map((at) => at.node?.id)));
new PerformanceObserver(note).observe({type: "layout-shift"});
"""


def test_what_somebody_selects_to_copy_stays_selected_while_figures_change(tmp_path: Path, page: FedPage) -> None:
    page.feed([*busy_network(12), joined(60, "last")])
    with browser(tmp_path) as seen:
        seen.open(page.url)
        seen.until(lambda: seen.text("#rollouts .problems b"), "who has a problem is shown")
        seen.run(_SELECT, "#rollouts .problems li")
        reason = seen.run("return String(getSelection())")
        assert "not enough space" in reason
        page.feed([joined(61, "newest")])
        seen.until(lambda: seen.row("peers", "newest"), "all has been drawn again")
        assert seen.run("return String(getSelection())") == reason

        seen.run("document.querySelector('#contents button.name').click()")
        seen.until(lambda: "node-02" in seen.text("dialog .body"), "the details of a content")
        seen.run(_SELECT, "dialog .facts")
        assert digest(1) in seen.run("return String(getSelection())")
        page.feed([DownloadsSet(peer_id(2), [download(1, 100 * MIB, 99, rate=MIB, sources=1)])])
        seen.until(lambda: "99 %" in seen.text("dialog .body"), "the details have changed")
        assert digest(1) in seen.run("return String(getSelection())")
        assert seen.complaints() == []


_SELECT = "getSelection().selectAllChildren(document.querySelector(arguments[0]))"


def test_only_what_somebody_does_has_the_picture_spoken_of(tmp_path: Path, page: FedPage) -> None:
    page.feed(busy_network(12))
    with browser(tmp_path) as seen:
        seen.open(page.url)
        seen.until(lambda: seen.text("#picture-text"), "the picture is drawn")
        assert seen.run("return document.querySelector('#picture-text').closest('[aria-live]')") is None
        seen.run("document.querySelector('#picture').focus()")
        seen.press(Keys.ARROW_RIGHT)
        said = seen.run("return document.querySelector('#picture-said[aria-live]').textContent")
        assert said.startswith("node-01 sends")


def test_the_token_of_the_link_is_kept_by_the_browser_and_not_in_the_address(tmp_path: Path) -> None:
    with FedPage(token="0123456789abcdef") as page, browser(tmp_path) as seen:
        seen.open(page.url)
        assert "takes a token" in seen.text("main")
        seen.run(
            "document.querySelector('#token').value = '0123456789abcdef'; document.querySelector('button').click()"
        )
        seen.until(lambda: seen.text("#live") == "live", "the page is shown")
        assert seen.run("return location.href") == f"{page.url}/"
        assert seen.run("return document.cookie") == "", "no script reads it"
        seen.open(page.url)
        seen.until(lambda: seen.text("#live") == "live", "the cookie is enough")

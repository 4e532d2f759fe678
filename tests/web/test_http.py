"""The page over HTTP: the API as docs/API.md has it, who is let in, bounds, metrics and health."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from broker.events import DownloadsSet, LoadSet, PeerGone, PeerSet
from broker.link_messages import LinkBeat
from broker.web import rows
from broker.web.__main__ import CONNECTIONS_COUNT_MAX
from broker.web.desk import STREAMS_COUNT_MAX
from broker.web.questions import PAGE_COUNT_MAX
from protocol.messages import DownloadState, OtherTracker
from service.look_alikes import DISGUISED, LOOK_ALIKES, UNSEEN
from service.web.access import is_own_name
from service.web.server import REQUEST_HEAD_BYTES_MAX
from tests.web.fed_page import EPOCH, MARKUP, Answer, FedPage, busy_network, digest, get, has, joined, peer_id

DOCUMENT = Path(__file__).parents[2] / "docs" / "API.md"
TOKEN = "0123456789abcdef-token"
ENDPOINTS: dict[str, type[msgspec.Struct]] = {
    "/api/v1/overview": rows.Overview,
    "/api/v1/contents": rows.ContentPage,
    "/api/v1/contents/DIGEST": rows.ContentDetail,
    "/api/v1/peers": rows.PeerPage,
    "/api/v1/peers/ID": rows.PeerDetail,
    "/api/v1/rollouts": rows.RolloutPage,
}


@pytest.fixture(scope="module")
def page() -> Iterator[FedPage]:
    with FedPage() as fed:
        fed.feed([*busy_network(60), joined(99, "node-99")])
        fed.feed([PeerGone(peer_id(99), True)])
        yield fed


# --- docs/API.md ----------------------------------------------------------------------------------------


def test_answers_are_what_the_document_says(page: FedPage) -> None:
    """Every field of every object is in the example, and the other way round."""
    examples = dict(re.findall(r"^```json (\S+)\n(.*?)^```$", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL))
    assert examples.keys() == {*ENDPOINTS, "error"}
    for path, kind in ENDPOINTS.items():
        example = json.loads(examples[path])
        assert json.loads(msgspec.json.encode(msgspec.convert(example, kind))) == example, path
        answer = page.get(path.replace("DIGEST", digest(1)).replace("ID", peer_id(12)))
        assert answer.headers["content-type"] == "application/json"
        assert shape(answer.json) == shape(example), path
    assert page.get("/api/v1/peers/nobody").json == json.loads(examples["error"])


def shape(value: Any) -> Any:
    """Keys and kinds, of lists those of their first entry."""
    if isinstance(value, dict):
        return {key: shape(entry) for key, entry in value.items() if key not in ("requests", "counts")}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return "number" if value is None or isinstance(value, int | float) else type(value).__name__


def test_every_field_is_explained() -> None:
    tables = DOCUMENT.read_text()
    for name, kind in vars(rows).items():
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and kind.__module__ == rows.__name__:
            for field in kind.__struct_fields__:
                assert f"`{field}`" in tables, f"{name}.{field}"


# --- pages ----------------------------------------------------------------------------------------------


def test_pages_follow_each_other_and_hold_everything_once(page: FedPage) -> None:
    for what, key, count in (("contents", "digest", 5), ("peers", "peer", 60)):
        found, after = [], ""
        while True:
            answer = page.get(f"/api/v1/{what}?limit=7&after={after.replace(' ', '%20')}").json
            found += [row[key] for row in answer[what]]
            after = answer["next"]
            if not after:
                break
        assert (len(found), len(set(found))) == (count, count)


def test_a_search_finds_by_part_of_a_name_or_the_beginning_of_an_id(page: FedPage) -> None:
    def names(query: str) -> list[str]:
        (rows_found, _next) = page.get(f"/api/v1/{query}").json.values()
        return [row["name"] for row in rows_found]

    assert names("contents?search=LLAMA") == ["llama-70b.safetensors"]
    assert names(f"contents?search={digest(2)}") == ["search-index"]
    assert names("contents?search=%3Cimg") == [MARKUP]
    assert names("peers?search=e-07") == ["node-07"]
    assert names(f"peers?search={peer_id(7)[:8]}") == ["node-07"]
    assert names("peers?search=none") == []


@pytest.mark.parametrize(
    "path",
    [
        "contents?after=x",
        "peers?limit=0",
        f"peers?limit={PAGE_COUNT_MAX + 1}",
        "peers?limit=x",
        "peers?search=" + 257 * "x",
    ],
)
def test_what_cannot_be_asked_is_refused_with_a_reason(page: FedPage, path: str) -> None:
    answer = page.get(f"/api/v1/{path}")
    assert answer.status == 400
    assert answer.json["error"]["detail"]


def test_nothing_can_be_changed(page: FedPage) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
        assert page.get("/api/v1/peers", method=method).status == 405
    assert page.get("/", method="HEAD").status == 200


# --- who is let in --------------------------------------------------------------------------------------


def test_every_answer_tells_the_browser_what_is_allowed(page: FedPage) -> None:
    for path in ("/", "/static/app.js", "/api/v1/peers", "/nothing", "/metrics"):
        headers = {name.lower(): value for name, value in page.get(path).headers.items()}
        assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'; ")
        assert "unsafe" not in headers["content-security-policy"]
        assert (headers["x-content-type-options"], headers["referrer-policy"]) == ("nosniff", "no-referrer")
    assert "http" not in re.sub(
        r"http://www.w3.org/2000/svg", "", page.get("/static/app.css").body + page.get("/").body
    )


def test_the_page_has_the_tables_of_look_alikes(page: FedPage) -> None:
    answer = page.get("/static/look_alikes.js")
    assert answer.headers["content-type"].startswith("text/javascript")
    found = dict(re.findall(r"^export const (\w+) = (.*);$", answer.body, re.MULTILINE))
    assert json.loads(found["LOOK_ALIKES"]) == LOOK_ALIKES
    assert (json.loads(found["DISGUISED"]), json.loads(found["UNSEEN"])) == (DISGUISED, UNSEEN)


def test_a_name_that_was_pointed_here_is_refused(page: FedPage) -> None:
    assert page.get("/api/v1/peers", headers={"Host": "evil.example"}).status == 421
    assert page.get("/", headers={"Host": f"localhost:{page.url.rpartition(':')[2]}"}).status == 200


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:5580", "127.0.0.1:80", "[::1]:5580", "[::1]", "a.localhost:1"]
)
def test_names_of_this_machine(host: str) -> None:
    assert is_own_name(host)


@pytest.mark.parametrize(
    "host", ["", "evil.example", "localhost.evil.example", "10.0.0.1:5580", "127.0.0.1.evil", "[::2]:1"]
)
def test_names_that_are_not(host: str) -> None:
    assert not is_own_name(host)


def test_with_a_token_nobody_sees_anything_without_it() -> None:
    with FedPage(token=TOKEN) as page:
        for path in ("/api/v1/overview", "/api/v1/events", "/metrics", "/", "/nothing", f"/metrics?token={TOKEN}"):
            assert page.get(path).status == 401, path
        assert page.get("/healthz").status == 200
        assert page.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"}).status == 200
        assert page.get("/", headers={"Host": "tracker.example"}).status == 401
        visit = page.get(f"/?token={TOKEN}", headers={"Host": "tracker.example"})
        assert visit.status == 200
        assert TOKEN not in visit.body
        assert page.get("/api/v1/peers", headers={"Cookie": _cookie(visit)}).status == 200
        assert page.get("/", headers={"Cookie": _cookie(visit) + "x"}).status == 401


def _cookie(visit: Answer) -> str:
    """What a browser sends from now on, to all ports of that host."""
    given = next(value for name, value in visit.headers.items() if name.lower() == "set-cookie")
    cookie, _, rest = given.partition("; ")
    assert rest.startswith("HttpOnly; SameSite=Strict; Path=/")
    return cookie


@pytest.mark.parametrize("other", ['pref={"a": [1]}', 'x="', "zswarm_token_=1", "nothing", "a[]=1", "z=\xe9"])
def test_cookies_of_other_programs_on_that_host_do_no_harm(other: str) -> None:
    with FedPage(token=TOKEN) as page:
        own = _cookie(page.get(f"/?token={TOKEN}"))
        for cookies in (f"{other}; {own}", f"{own};{other}"):
            assert page.get("/api/v1/peers", headers={"Cookie": cookies}).status == 200, cookies
        assert page.get("/api/v1/peers", headers={"Cookie": other}).status == 401


def test_pages_at_two_ports_of_a_host_keep_their_cookies_apart() -> None:
    with FedPage(token=TOKEN) as page, FedPage(token=TOKEN[::-1]) as other:
        cookies = [_cookie(page.get(f"/?token={TOKEN}")), _cookie(other.get(f"/?token={TOKEN[::-1]}"))]
        jar = dict(cookie.split("=", 1) for cookie in cookies)
        sent = "; ".join("=".join(one) for one in jar.items())
        for one in (page, other):
            assert one.get("/api/v1/peers", headers={"Cookie": sent}).status == 200


# --- bounds ---------------------------------------------------------------------------------------------


def test_there_are_so_many_viewers_and_a_place_is_free_when_one_goes(page: FedPage) -> None:
    viewers = [_view(page) for _ in range(STREAMS_COUNT_MAX)]
    try:
        assert page.get("/api/v1/events").json["error"]["code"] == "busy"
        viewers.pop().close()
        deadline = time.monotonic() + 10
        while not (answered := _status(one_more := _view(page))).startswith(b"HTTP/1.1 200"):
            one_more.close()
            assert time.monotonic() < deadline, answered
        viewers.append(one_more)
    finally:
        for viewer in viewers:
            viewer.close()


def _view(page: FedPage) -> socket.socket:
    viewer = socket.create_connection(("127.0.0.1", int(page.url.rpartition(":")[2])), timeout=10)
    viewer.sendall(b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    return viewer


def _status(viewer: socket.socket) -> bytes:
    return viewer.recv(4_096)


def test_a_request_head_is_bounded(page: FedPage) -> None:
    with socket.create_connection(("127.0.0.1", int(page.url.rpartition(":")[2])), timeout=10) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * (2 * REQUEST_HEAD_BYTES_MAX))
        assert _status(client).startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize(
    "said", [b"", b"GET / HTTP/1.1\r\nHost: localh", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET"]
)
def test_connections_that_say_nothing_keep_nobody_out(said: bytes, caplog: pytest.LogCaptureFixture) -> None:
    idle = []
    with FedPage() as page:
        viewer = _view(page)
        try:
            assert _status(viewer)
            for _ in range(2 * CONNECTIONS_COUNT_MAX):
                idle.append(socket.create_connection(("127.0.0.1", int(page.url.rpartition(":")[2])), timeout=10))
                idle[-1].sendall(said)
            assert [page.get("/healthz").status for _ in range(3)] == [200] * 3
            page.feed([joined(1, "new")])
            while b"event: overview" not in viewer.recv(65_536):
                pass
        finally:
            for one in (viewer, *idle):
                one.close()
    assert caplog.records == []


def test_what_is_no_request_is_not_logged(page: FedPage, caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_connection(("127.0.0.1", int(page.url.rpartition(":")[2])), timeout=10) as client:
        client.sendall(b"\x16\x03\x01\x02\r\n\r\n")
        assert _status(client).startswith(b"HTTP/1.1 400")
    assert caplog.records == []


def test_a_viewer_who_reads_slowly_gets_the_latest_only() -> None:
    with FedPage() as page:
        page.feed(busy_network(60))
        viewer = _view(page)
        assert _status(viewer)
        for number in range(100, 140):
            page.feed([joined(number, f"late-{number}")])
        time.sleep(3)
        read, deadline = b"", time.monotonic() + 3
        while time.monotonic() < deadline and b'"peers":100,' not in read:
            read += viewer.recv(65_536)
        viewer.close()
        assert read.count(b"event: overview") < 6
        assert b'"peers":100,' in read


# --- monitoring -----------------------------------------------------------------------------------------


def test_metrics_have_units_in_their_names_and_labels_of_few_values(page: FedPage) -> None:
    families = list(text_string_to_metric_families(page.get("/metrics").body))
    own = [family for family in families if family.name.startswith("zswarm_tracker_")]
    assert all(family.name.startswith("process_") for family in families if family not in own)
    values = {sample.name: sample.value for family in own for sample in family.samples}
    assert (values["zswarm_tracker_peers"], values["zswarm_tracker_contents"]) == (60, 5)
    assert values["zswarm_tracker_start_time_seconds"] == EPOCH / 1_000
    for family in own:
        assert family.documentation
        assert len(family.samples) <= 16, family.name
        assert (family.type == "counter") == family.samples[0].name.endswith("_total")
        for sample in family.samples:
            assert all(re.fullmatch(r"[a-z_0-9]+", value) for value in sample.labels.values()), sample


def test_health_is_200_while_the_replica_is_fed_and_says_what_is_wrong() -> None:
    with FedPage() as page:
        deadline = time.monotonic() + 15
        while page.get("/healthz").status != 200:
            assert time.monotonic() < deadline
        page.feed([], LinkBeat(0, 0, (), 2, 0))
        while page.get("/api/v1/overview").json["trackers"][0]["state"] != "lookups missing":
            assert time.monotonic() < deadline
        page.fall_silent()
        while (answer := page.get("/healthz")).status == 200:
            time.sleep(0.1)
            assert time.monotonic() < deadline
        assert (answer.status, "the registrar has been silent for" in answer.body) == (503, True)


def test_other_trackers_are_those_that_peers_name_whether_they_reach_them_or_not() -> None:
    far, made_up = "tcp://10.0.0.254:5550", [OtherTracker(f"tcp://10.9.9.{number}:1") for number in range(8)]
    with FedPage() as page:
        page.feed([joined(1, "alice"), joined(2, "bob"), joined(3, "carol"), joined(4, "mallory")])
        for number in (1, 2, 3):
            page.feed([LoadSet(peer_id(number), 0, others=(OtherTracker(far, number != 2),))])
        page.feed([LoadSet(peer_id(4), 0, others=tuple(made_up))])
        seen = page.get("/api/v1/overview").json
        assert len(seen["other_trackers"]) == 8
        assert seen["other_trackers"][0] == {"endpoint": far, "named_by": 3, "missed_by": 1}
        assert {one["name"]: one["missed_trackers"] for one in seen["peers"] if one["missed_trackers"]} == {
            "bob": [far]
        }
        page.feed([LoadSet(peer_id(2), 0, others=(OtherTracker(far),))])
        assert page.get("/api/v1/overview").json["other_trackers"][0]["missed_by"] == 0


def test_what_was_is_remembered_for_a_while() -> None:
    with FedPage() as page:
        page.feed([joined(1, "alice"), joined(2, "bob"), has(2, 1, "f", 10, "partial"), has(1, 1, "f", 10)])
        done, under_way = DownloadState(digest(1), "done", 10, 10), DownloadState(digest(1), "downloading", 10, 4)
        page.feed([DownloadsSet(peer_id(1), [done]), DownloadsSet(peer_id(2), [under_way])])
        page.feed([PeerGone(peer_id(2), True), PeerGone(peer_id(1), False)])
        gone = page.get("/api/v1/overview").json["gone"]
        assert [(one["name"], one["lost"]) for one in gone] == [("alice", False), ("bob", True)]
        assert [(one["state"], one["content"], one["percent"]) for one in gone] == [
            ("idle", "", None),
            ("fetching", "f", 40),
        ]
        page.feed([PeerSet(peer_id(2), "bob", "tcp://10.0.0.2:1")])
        assert [one["name"] for one in page.get("/api/v1/overview").json["gone"]] == ["alice"]
        assert 'zswarm_tracker_peers_gone_total{why="silent"} 1.0' in get(f"{page.url}/metrics").body

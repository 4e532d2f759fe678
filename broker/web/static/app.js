// The tracker's page: draws what server-sent events tell.

import { $, bar, bytes, chip, collator, counted, duration, element, keep, mark, plain, rate, renew, say, setBar, svg, tellApart } from "./parts.js";
import { showFlows } from "./picture.js";

// --- rows -----------------------------------------------------------------------------------------------

function row(id, onName) {
  const made = element("tr", { role: "row" });
  for (const head of document.querySelectorAll(`#${id} th`))
    made.append(element("td", { role: "cell", class: head.className, "data-label": head.textContent }));
  const name = element("button", { class: "name", type: "button" }, element("bdi"));
  name.addEventListener("click", onName);
  made.cells[0].append(name, element("span", { class: "note of" }));
  made.cells[1].append(bar());
  made.cells[5].append(element("span"), element("span", { class: "note" }), element("span", { class: "note bad" }));
  return made;
}

const short = (digest) => digest.slice(0, 19); // as much as commands show
const copies = (count) => (count === 1 ? "1 whole copy" : `${count.toLocaleString("en")} whole copies`);

const contents = {
  key: (one) => `${one.digest} ${one.name}`,
  make: (one) => row("contents", () => showContent(one.digest)),
  update(made, one) {
    const cells = made.cells, name = one.shown;
    say($("bdi", cells[0]), name);
    say(cells[0].lastChild, one.alike ? short(one.digest) : "");
    const complete = one.percent === 100;
    cells[1].firstChild.hidden = one.percent === null;
    setBar(cells[1].firstChild, one.percent, complete ? "good" : "busy", `Progress of ${name}`);
    say(cells[2], rate(one.rate));
    say(cells[3], duration(one.seconds_left));
    say(cells[4], bytes(one.length));
    const [words, note, bad] = cells[5].children;
    say(words, one.receivers ? `${one.receivers_whole} of ${one.receivers} have it` : copies(one.whole));
    say(note, one.receivers ? copies(one.whole) : "");
    say(bad, one.failed ? `${one.failed} failed` : "");
  },
};

const KINDS = {
  fetching: "busy", checking: "busy", verifying: "busy", waits: "warn", failed: "bad", idle: "quiet", "has it": "good",
  resolving: "busy", downloading: "busy", waiting: "warn", paused: "warn", done: "good", whole: "good",
};

const peers = {
  key: (one) => one.peer,
  make: (one) => row("peers", () => showPeer(one.peer)),
  update(made, one) {
    const cells = made.cells, name = one.shown;
    say($("bdi", cells[0]), name);
    cells[1].firstChild.hidden = one.state === "idle";
    setBar(cells[1].firstChild, one.percent, KINDS[one.state], `${name} ${one.state}`);
    say(cells[2], rate(one.rate));
    say(cells[3], duration(one.seconds_left));
    say(cells[4], one.sources ? String(one.sources) : "");
    const [words, note, bad] = cells[5].children;
    words.className = "chip";
    mark(words, "data-kind", KINDS[one.state]);
    const sending = one.uploads ? `sends to ${one.uploads}` : "";
    say(words, one.state === "idle" ? sending || "idle" : [one.state, sending].filter(Boolean).join(" · "));
    const more = one.downloads > 1 ? ` and ${one.downloads - 1} more` : "";
    say(cells[0].lastChild, one.state === "idle" ? `has ${one.whole}` : `${plain(one.content)}${more}`);
    say(note, one.state === "failed" ? "" : plain(one.reason));
    say(bad, one.state === "failed" ? plain(one.reason) : "");
  },
};

/** A table that shows the rows of events, or those of a search, page by page. */
class Browser {
  constructor(id, kind) {
    this.root = document.getElementById(id);
    Object.assign(this, { id, kind, body: $("tbody", this.root), after: "", next: "", mode: "live", live: [], total: 0, asked: 0 });
    const on = (name, call) => $(`button.${name}`, this.root).addEventListener("click", call);
    on("all", () => this.ask(""));
    on("first", () => this.ask(""));
    on("next", () => this.ask(this.next));
    on("back", () => this.back());
    let timer = 0;
    $("input", this.root).addEventListener("input", (event) => {
      clearTimeout(timer);
      timer = setTimeout(() => (event.target.value.trim() ? this.ask("") : this.back()), 250);
    });
    setInterval(() => this.mode === "page" && !document.hidden && this.ask(this.after), 5000);
  }
  back() {
    this.asked += 1;
    this.mode = "live";
    $("input", this.root).value = "";
    this.show(this.live);
  }
  async ask(after) {
    const asked = (this.asked += 1), search = $("input", this.root).value.trim();
    const query = new URLSearchParams({ search, after });
    const answer = await fetchJson(`/api/v1/${this.id}?${query}`);
    if (!answer || asked !== this.asked) return;
    Object.assign(this, { mode: "page", after, next: answer.next });
    this.show(answer[this.id]);
  }
  tell(rows, total) {
    this.live = [...rows].sort((a, b) => this.order(a, b));
    this.total = total;
    if (this.mode === "live") this.show(this.live);
  }
  order(a, b) {
    return this.id === "peers" ? collator.compare(a.name, b.name) : 0;
  }
  show(rows) {
    const paged = this.mode === "page", search = $("input", this.root).value.trim();
    keep(this.body, tellApart(rows), this.kind.key, this.kind.make, this.kind.update);
    const empty = $(".empty", this.root);
    empty.hidden = rows.length > 0;
    say(empty, paged && search ? `Nothing found for “${plain(search)}”${this.next ? " so far" : ""}.` : `No ${this.id} yet.`);
    const part = rows.length < this.total ? `${rows.length} of ${this.total.toLocaleString("en")}: active first` : counted(this.total, this.id.slice(0, -1));
    say($(".shown", this.root), paged ? `${counted(rows.length, "row")} on this page` : part);
    $(".all", this.root).hidden = paged || rows.length >= this.total;
    $(".first", this.root).hidden = !paged || !this.after;
    $(".next", this.root).hidden = !paged || !this.next;
    $(".back", this.root).hidden = !paged;
  }
}

const ANSWER_MS = 8000;

async function fetchJson(url) {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(ANSWER_MS) });
    return response.ok ? await response.json() : null;
  } catch {
    return null;
  }
}

// --- details --------------------------------------------------------------------------------------------

const dialog = $("#detail");
let refresh = 0;
dialog.addEventListener("close", () => clearTimeout(refresh));

/** Show what `draw` makes of the answer at `url`, again and again; it gives the title and what is below. */
function open(title, url, draw) {
  const body = $(".body", dialog);
  say($("#detail-title"), title);
  body.replaceChildren(element("p", { class: "quiet" }, "Loading"));
  clearTimeout(refresh);
  const load = async () => {
    const mine = refresh, answer = document.hidden ? undefined : await fetchJson(url);
    if (refresh !== mine || !dialog.open) return; // it was closed, or shows something else
    if (answer) {
      const [name, ...parts] = draw(answer);
      say($("#detail-title"), name);
      renew(body, parts);
    } else if (answer === null) renew(body, [element("p", {}, "It is not in the network any more, or the tracker does not answer.")]);
    refresh = setTimeout(load, 2000);
  };
  dialog.showModal();
  refresh = setTimeout(load);
}
const line = (name, state, note) =>
  element("li", {}, element("bdi", {}, plain(name)), " ", chip(KINDS[state] ?? "quiet", state), note ? element("span", { class: "note" }, plain(note)) : "");

function showContent(digest) {
  open("Content", `/api/v1/contents/${encodeURIComponent(digest)}`, (found) => {
    const one = found.content;
    const also = found.names.length > 1 ? ` Also called ${found.names.slice(1).map(plain).join(", ")}.` : "";
    const rows = found.peers.map((peer) => line(peer.name, peer.state, standing(peer)));
    if (found.next) rows.push(element("li", { class: "quiet" }, "and more"));
    return [plain(one.name), element("p", { class: "facts" }, `${one.digest}, ${bytes(one.length)}.${also}`),
      element("h3", {}, "Peers"), element("ul", { class: "lines" }, ...rows)];
  });
}
function standing(peer) {
  if (peer.state === "has it") return "";
  const figures = [peer.percent === null ? "" : `${peer.percent} %`, rate(peer.rate), peer.seconds_left === null ? "" : `${duration(peer.seconds_left)} left`];
  return [...figures, peer.reason].filter(Boolean).join(", ");
}

function showPeer(id) {
  open("Peer", `/api/v1/peers/${encodeURIComponent(id)}`, (found) => {
    const one = found.peer;
    const downloads = found.downloads.map((download) => {
      const from = download.senders.map((sender) => `${plain(sender.name)} ${rate(sender.rate)}`).join(", ");
      return line(download.content || short(download.digest), download.state, [standing(download), from && `from ${from}`].filter(Boolean).join("; "));
    });
    const lists = found.contents.map((content) => line(content.name, content.holding, bytes(content.length)));
    if (found.next) lists.push(element("li", { class: "quiet" }, "and more"));
    const missed = one.missed_trackers.length ? `; not a member of ${one.missed_trackers.map(plain).join(", ")}` : "";
    const address = plain(one.endpoint.replace("//*:", `//${location.hostname}:`)); // the tracker's machine, as this browser calls it
    return [plain(one.name), element("p", { class: "facts" }, element("span", {}, one.peer), element("span", {}, ` at ${address}`), `; ${counted(one.uploads, "upload")}${missed}`),
      element("h3", {}, "Downloads"), downloads.length ? element("ul", { class: "lines" }, ...downloads) : element("p", { class: "quiet" }, "None."),
      element("h3", {}, "Contents"), lists.length ? element("ul", { class: "lines" }, ...lists) : element("p", { class: "quiet" }, "None.")];
  });
}

// --- pictures -------------------------------------------------------------------------------------------

function drawRates({ every_seconds, values }) {
  const root = $("#rates svg"), most = Math.max(...values, 1), width = 300;
  const x = (place) => width - values.length + 1 + place, y = (value) => 97 - (value / most) * 92;
  const points = values.map((value, place) => `${x(place).toFixed(1)} ${y(value).toFixed(1)}`).join("L");
  if (!root.firstChild) root.append(svg("path", { class: "area" }), svg("path", { class: "curve" }));
  mark(root.children[0], "d", values.length ? `M${x(0)} 100L${points}L${width} 100Z` : "");
  mark(root.children[1], "d", values.length ? `M${points}` : "");
  const peak = Math.max(...values, 0), now = values.at(-1) ?? 0;
  say($("#rates-now"), peak ? `now ${rate(now) || "0"}` : "nothing moves");
  say($("#rates-top"), peak ? `peak ${rate(peak)}` : "");
  say($("#rates-text"), `Rate over the last ${Math.round((values.length * every_seconds) / 60)} minutes: now ${rate(now) || "nothing"}, peak ${rate(peak) || "nothing"}.`);
}

// --- the rest -------------------------------------------------------------------------------------------

const VERDICTS = { complete: ["good", "complete"], running: ["busy", "running"], incomplete: ["bad", "incomplete"], nobody: ["quiet", "no peer it is for"], cancelled: ["quiet", "cancelled"] };

function drawRollouts(rollouts) {
  $("#rollouts .empty").hidden = rollouts.length > 0;
  keep($("#rollouts .cards"), rollouts, (one) => `${one.giver} ${one.order}`,
    () => element("li", {}, element("div", { class: "top" }, element("h3", {}, element("bdi")), element("span", { class: "chip" })), bar(),
      element("p", { class: "counts" }), element("ul", { class: "problems" })),
    (made, one) => {
      const [kind, words] = VERDICTS[one.verdict], state = $(".chip", made), name = plain(one.name);
      say($("bdi", made), name);
      say(state, words);
      mark(state, "data-kind", kind);
      setBar($(".bar", made), one.percent, kind === "busy" || kind === "quiet" ? "busy" : kind, `Rollout of ${name}`);
      const others = Object.entries(one.counts).filter(([what]) => what !== "has it").map(([what, count]) => `${count} ${what}`);
      const left = one.seconds_left === null ? "" : `${duration(one.seconds_left)} left`;
      say($(".counts", made), [`${one.have} of ${one.wanted} have it`, ...others, rate(one.rate), left, `from ${plain(one.giver_name)}`].filter(Boolean).join(" · "));
      const shown = one.problems.filter((peer) => peer.state !== "has not").slice(0, 5);
      renew($(".problems", made), shown.map((peer) =>
        element("li", {}, element("b", {}, element("bdi", {}, plain(peer.name))), ` ${peer.state}${peer.reason ? `: ${plain(peer.reason)}` : ""}`)));
    });
}

function drawFailures(failures, gone) {
  const lost = gone.filter((one) => one.lost || one.state !== "idle"); // who leaves without a download is no news
  $("#failures .empty").hidden = failures.length + lost.length > 0;
  const lines = [
    ...failures.map((one) => ({ key: `f ${one.peer} ${one.digest}`, name: one.name, words: `failed: ${plain(one.content || short(one.digest))}`, note: one.reason })),
    ...lost.map((one) => ({ key: `g ${one.peer}`, name: one.name, words: `${one.lost ? "lost" : "left"} ${duration(one.seconds_ago)} ago`,
      note: one.content ? `it was ${one.state}: ${one.content}${one.percent === null ? "" : `, ${one.percent} %`}` : "it fell silent" })),
  ];
  keep($("#failures .lines"), lines, (one) => one.key,
    () => element("li", {}, element("bdi"), " ", chip("bad", ""), element("span", { class: "note" })),
    (made, one) => {
      say($("bdi", made), plain(one.name));
      say($(".chip", made), one.words);
      say($(".note", made), plain(one.note));
    });
}

function drawHealth(one) {
  const kind = { ok: "good", starting: "warn", settling: "warn", "lookups missing": "warn", silent: "bad" }[one.state];
  mark($("#health"), "data-kind", kind);
  say($("#health"), one.state === "ok" ? "healthy" : one.state);
}

function drawTracker(one, others) {
  const rows = { State: one.state, Running: `for ${duration(one.uptime_seconds)}`, Lookups: `${one.lookups_following} of ${one.lookups} answer`,
    Requests: `${one.requests_per_second} a second`, Changes: one.changes.toLocaleString("en") };
  keep($("#trackers dl"), Object.entries(rows).flatMap(([term, value]) => [["dt", term, term], ["dd", `${term} value`, value]]), (part) => part[1],
    ([tag]) => element(tag), (made, part) => say(made, part[2]));
  const missed = (other) => `${other.missed_by.toLocaleString("en")} of ${counted(other.named_by, "peer")}`;
  $("#trackers h3").hidden = !others.length;
  keep($("#trackers ul"), others, (other) => other.endpoint, () => element("li", {}, element("bdi"), " ", chip("", "")), (made, other) => {
    say($("bdi", made), plain(other.endpoint));
    mark($(".chip", made), "data-kind", other.missed_by === other.named_by ? "bad" : other.missed_by ? "warn" : "good");
    say($(".chip", made), other.missed_by ? `${missed(other)} are not its members` : `${counted(other.named_by, "peer")} joined it too`);
  });
  say(banner, one.reason ? one.reason[0].toUpperCase() + one.reason.slice(1) + "." : "");
  banner.hidden = !one.reason;
}

const banner = $("#banner"), live = $("#live");
const browsers = [new Browser("contents", contents), new Browser("peers", peers)];
const heard = { complete: null, lost: null, failed: null, at: 0 };

/** What a person who does not see the page is told, seldom: what has ended well, and what went wrong. */
function announce(overview) {
  const complete = new Set(overview.contents.filter((one) => one.percent === 100).map((one) => plain(one.name)));
  const lost = new Set(overview.gone.filter((one) => one.lost).map((one) => plain(one.name)));
  const failed = new Set(overview.failures.map((one) => `${plain(one.name)}: ${plain(one.reason)}`));
  const fresh = (now, before) => (before ? [...now].filter((one) => !before.has(one)) : []);
  const words = [fresh(complete, heard.complete).map((name) => `${name} is complete`), fresh(lost, heard.lost).map((name) => `${name} was lost`),
    fresh(failed, heard.failed).map((what) => `Failed: ${what}`)].flat();
  if (words.length && heard.complete && overview.time - heard.at < 10) return;
  Object.assign(heard, { complete, lost, failed });
  if (words.length) heard.at = overview.time;
  if (words.length) say($("#news"), words.slice(0, 3).join(". "));
}

function draw(overview) {
  const totals = overview.totals;
  for (const node of document.querySelectorAll("[data-total]")) {
    const key = node.dataset.total;
    say(node, key === "rate" ? rate(totals.rate) || "0" : totals[key].toLocaleString("en"));
    mark(node, "data-kind", key === "failed" && totals.failed ? "bad" : "");
  }
  drawRates(overview.rates);
  browsers[0].tell(overview.contents, totals.contents);
  browsers[1].tell(overview.peers, totals.peers);
  showFlows(overview.flows);
  drawRollouts(overview.rollouts);
  drawFailures(overview.failures, overview.gone);
  drawTracker(overview.trackers[0], overview.other_trackers);
  announce(overview);
}

// --- the line to the tracker ----------------------------------------------------------------------------

const SILENT_MS = 12000; // the tracker says something every 5 s
const AGAIN_MS = 3000;
const wire = { source: null, triedAt: 0, heardAt: 0, why: "", overview: null };

function connect() {
  wire.source?.close();
  const source = new EventSource("/api/v1/events");
  Object.assign(wire, { source, triedAt: Date.now() });
  source.addEventListener("overview", (event) => {
    wire.overview = JSON.parse(event.data);
    hear();
    draw(wire.overview);
  });
  source.addEventListener("alive", hear);
  source.addEventListener("error", () => lose((wire.why = wire.heardAt ? "connection lost" : "not connected; trying")));
}

/** It is there, and what is shown is true now. */
function hear() {
  Object.assign(wire, { heardAt: Date.now(), why: "" });
  say(live, "live");
  if (wire.overview) drawHealth(wire.overview.trackers[0]);
}

/** Nobody knows how it is now. */
function lose(why) {
  mark($("#health"), "data-kind", "bad");
  say($("#health"), "not heard");
  say(live, wire.heardAt ? `${why}; figures are from ${new Date(wire.heardAt).toLocaleTimeString()}` : why);
}

/** A connection may be dead, and a tracker stopped, without any error. */
function watch() {
  const quiet = Date.now() - wire.heardAt, tried = Date.now() - wire.triedAt;
  if (wire.source.readyState === EventSource.CLOSED && tried > AGAIN_MS) connect();
  else if (quiet > SILENT_MS && tried > SILENT_MS) {
    lose(wire.why || "the tracker says nothing");
    if (Math.min(quiet, tried) > 2 * SILENT_MS) connect();
  }
}

if (location.search.includes("token=")) history.replaceState(null, "", location.pathname);
connect();
setInterval(watch, 1000);

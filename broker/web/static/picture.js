// Who sends to whom: peers on a circle, a ribbon for each link, and the same as a table.

import { $, collator, counted, element, keep, plain, rate, say, svg } from "./parts.js";

/** Who sends to whom. `chosen` is the id of the peer whose links stand out. */
const picture = { root: $("#picture"), flows: null, chosen: null, drawn: "", busy: false };

/** Peers on a circle; a ribbon through its middle, wide at the sender, for each link. */
function drawFlows() {
  const { root, flows } = picture, width = Math.max(260, Math.round(root.clientWidth));
  const drawn = JSON.stringify([width, flows]);
  if (!flows || drawn === picture.drawn) return;
  picture.drawn = drawn;
  const count = flows.peers.length, longest = Math.max(4, ...flows.peers.map(([, name]) => plain(name).length)), label = Math.min(110, width * 0.21, longest * 6.6 + 12), size = count || picture.busy ? Math.min(width, 620) : 120;
  picture.busy ||= count > 0; // what is below it does not jump up when all is quiet
  const middle = [width / 2, size / 2], radius = size / 2 - label - 8;
  root.setAttribute("viewBox", `0 0 ${width} ${size}`);
  root.replaceChildren();
  if (!count) {
    const none = svg("text", { class: "none", x: width / 2, y: size / 2 });
    none.textContent = "No peer sends anything at the moment.";
    root.append(none);
    picture.chosen = null;
  }
  const order = flows.peers.map((_, place) => place).sort((a, b) => collator.compare(flows.peers[a][1], flows.peers[b][1]));
  const turn = [];
  order.forEach((place, nth) => (turn[place] = (nth / count) * 2 * Math.PI - Math.PI / 2));
  const at = (angle, distance) => [middle[0] + Math.cos(angle) * distance, middle[1] + Math.sin(angle) * distance];
  const most = flows.links.length ? flows.links[0][2] : 1, widest = Math.min(9, (2 * Math.PI * radius) / Math.max(count, 1) * 0.8);
  for (const [from, to, speed] of [...flows.links].reverse()) {
    const ribbon = svg("path", { class: "ribbon", d: ribbonPath(turn[from], turn[to], radius, middle, Math.max(0.8, widest * Math.sqrt(speed / most))) });
    Object.assign(ribbon.dataset, { from, to });
    root.append(ribbon);
  }
  const letters = Math.max(6, Math.floor(label / 6.4)), font = count > 40 && size < 480 ? 9 : 11;
  flows.peers.forEach(([, name], place) => {
    const [cx, cy] = at(turn[place], radius + 3), [x, y] = at(turn[place], radius + 10);
    const left = Math.cos(turn[place]) < -1e-6, degrees = (turn[place] * 180) / Math.PI + (left ? 180 : 0);
    const text = svg("text", { x, y, dy: ".35em", "text-anchor": left ? "end" : "start", transform: `rotate(${degrees} ${x} ${y})` });
    const full = plain(name);
    text.textContent = full.length > letters ? `${full.slice(0, letters - 1)}…` : full;
    text.style.fontSize = `${font}px`;
    const dot = svg("circle", { cx, cy, r: 3.5 });
    for (const node of [dot, text]) {
      node.dataset.peer = place;
      node.addEventListener("pointerenter", () => choose(place));
      node.addEventListener("click", () => choose(place));
      root.append(node);
    }
    for (let kept = letters - 2; kept > 0 && text.getComputedTextLength() > label - 2; kept -= 1) text.textContent = `${full.slice(0, kept)}…`;
  });
  Object.assign(picture, { order });
  const known = picture.chosen === null ? -1 : flows.peers.findIndex(([id]) => id === picture.chosen);
  choose(known < 0 ? null : known);
}

function ribbonPath(from, to, radius, [mx, my], width) {
  const end = (angle, half) => {
    const [x, y] = [mx + Math.cos(angle) * radius, my + Math.sin(angle) * radius];
    const [dx, dy] = [-Math.sin(angle) * half, Math.cos(angle) * half];
    return [[x + dx, y + dy], [x - dx, y - dy]];
  };
  const near = 1 - Math.abs(Math.abs(from - to) - Math.PI) / Math.PI, pull = 0.55 * (1 - near);
  const bend = [mx + (Math.cos(from) + Math.cos(to)) * radius * pull, my + (Math.sin(from) + Math.sin(to)) * radius * pull];
  const [a, b] = end(from, width / 2), [c, d] = end(to, Math.max(0.35, width / 8));
  const point = (p) => p.map((n) => n.toFixed(1)).join(" ");
  return `M${point(a)}Q${point(bend)} ${point(d)}L${point(c)}Q${point(bend)} ${point(b)}Z`;
}

function choose(place) {
  const { root, flows } = picture;
  picture.chosen = place === null ? null : flows.peers[place][0];
  root.classList.toggle("chosen", place !== null);
  const near = new Set();
  for (const ribbon of root.querySelectorAll(".ribbon")) {
    const out = Number(ribbon.dataset.from) === place, into = Number(ribbon.dataset.to) === place;
    ribbon.classList.toggle("out", out);
    ribbon.classList.toggle("in", into);
    if (out) near.add(ribbon.dataset.to);
    if (into) near.add(ribbon.dataset.from);
  }
  for (const text of root.querySelectorAll("text[data-peer]")) {
    const self = Number(text.dataset.peer) === place;
    text.classList.toggle("self", self);
    text.classList.toggle("of", self || near.has(text.dataset.peer));
  }
  describe(place);
}

function describe(place) {
  const { peers: all, links, more } = picture.flows, told = $("#picture-text");
  if (place === null) {
    const best = links[0], hidden = more ? `; ${counted(more, "slower link")} left out` : "";
    say(told, best ? `${counted(links.length, "link")} between ${counted(all.length, "peer")}${hidden}. The fastest: ${plain(all[best[0]][1])} sends ${rate(best[2])} to ${plain(all[best[1]][1])}.` : "");
    return;
  }
  const sum = (end) => links.filter((link) => link[end] === place).reduce((total, link) => total + link[2], 0);
  const number = (end) => links.filter((link) => link[end] === place).length;
  const name = element("b", {}, element("bdi", {}, plain(all[place][1])));
  const part = (kind, words) => element("span", { class: kind }, words);
  told.replaceChildren(name, " ", part("key-send", `sends ${rate(sum(0)) || "nothing"}`), ` to ${number(0)}, `,
    part("key-receive", `receives ${rate(sum(1)) || "nothing"}`), ` from ${number(1)}.`);
}

picture.root.addEventListener("pointerleave", () => picture.flows && choose(null));
picture.root.addEventListener("blur", () => picture.flows && choose(null));
picture.root.addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
  if (!step || !picture.flows?.peers.length) return;
  event.preventDefault();
  const { order, flows, chosen } = picture, nth = order.findIndex((place) => flows.peers[place][0] === chosen);
  choose(order[(nth + (nth < 0 && step < 0 ? 0 : step) + order.length) % order.length]);
  say($("#picture-said"), $("#picture-text").textContent);
});
new ResizeObserver(drawFlows).observe(picture.root);

function tableFlows({ peers: all, links }) {
  const link = ([from, to]) => `${all[from][0]} ${all[to][0]}`;
  keep($("#flow-rows"), links.slice(0, 200), link, () => element("tr", {}, element("td", {}, element("bdi")), element("td", {}, element("bdi")), element("td", { class: "number" })),
    (made, [from, to, speed]) => {
      say(made.cells[0].firstChild, plain(all[from][1]));
      say(made.cells[1].firstChild, plain(all[to][1]));
      say(made.cells[2], rate(speed));
    });
}

/** Draw `flows` as the API has them. */
export function showFlows(flows) {
  picture.flows = flows;
  drawFlows();
  tableFlows(flows);
}

// What the page is made of: words for figures, and elements. Text of others only ever becomes text nodes.

import { DISGUISED, LOOK_ALIKES, MARKS_COUNT_MAX, UNSEEN } from "./look_alikes.js";

const SVG = "http://www.w3.org/2000/svg";
export const $ = (selector, root = document) => root.querySelector(selector);
export const collator = new Intl.Collator(undefined, { numeric: true });

// --- words ----------------------------------------------------------------------------------------------

const unseen = new RegExp(`[\\p{C}\\p{Zl}\\p{Zp}${UNSEEN}]|[^\\P{Zs} ]`, "gu"), disguised = new RegExp(`[${DISGUISED}]`, "u");
const ignored = new RegExp(`[\\p{Cf}${UNSEEN}]`, "gu");
const mapped = new Map(Object.entries(LOOK_ALIKES).flatMap(([plain, row]) => [...row].map((alike) => [alike, plain])));

/** An escape as commands show and take it. */
function escaped(character) {
  const digits = character.codePointAt(0).toString(16);
  return digits.length > 4 ? `\\U${digits.padStart(8, "0")}` : digits.length > 2 ? `\\u${digits.padStart(4, "0")}` : `\\x${digits.padStart(2, "0")}`;
}
const escape = /\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U(000[0-9a-f]{5}|0010[0-9a-f]{4}))/g;
const unescaped = (text) => text.replace(escape, (found, x, u, U) => {
  const code = Number.parseInt(x ?? u ?? U, 16);
  return code >= 0xd800 && code <= 0xdfff ? found : String.fromCodePoint(code);
});
function bounded(text) {
  let marks = MARKS_COUNT_MAX; // nothing of the text is before the first
  return [...text].map((c) => ((marks = /[\p{Mn}\p{Me}]/u.test(c) ? marks + 1 : 0) > MARKS_COUNT_MAX ? escaped(c) : c)).join("");
}
const exact = (text) => text.replace(escape, (found) => `\\x5c${found.slice(1)}`).replace(/^ +| +$| {2,}/g, (spaces) => "\\x20".repeat(spaces.length)).replace(/[^ -~]/gu, escaped);

/** Text of others as it is shown: what is not seen as itself becomes an escape, as in service/text.py. */
export const plain = (text) =>
  bounded(String(text).replace(/[\p{L}\p{N}]+/gu, (word) => (/[A-Za-z]/.test(word) && disguised.test(word) ? exact(word) : word)).replace(unseen, escaped));

/** The same for texts that look the same, as in service/look_alikes.py. */
const look = (text) =>
  [...unescaped(text).normalize("NFKD")].map((c) => mapped.get(c) ?? c).join("").replace(ignored, "").trim().replace(/\s+/g, " ");

/** `rows` with those together whose names look alike; says of each how its name is shown, and whether there are others. */
export function tellApart(rows) {
  const byLook = new Map();
  for (const row of rows) byLook.set(look(row.name), [...(byLook.get(look(row.name)) ?? []), row]);
  for (const group of byLook.values()) {
    const differ = group.some((row) => row.name !== group[0].name);
    for (const row of group) Object.assign(row, { alike: group.length > 1, shown: differ ? exact(row.name) : plain(row.name) });
  }
  return [...byLook.values()].flat();
}

export function bytes(count) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let unit = 0;
  while (count >= 1023.95 && unit < units.length - 1) [count, unit] = [count / 1024, unit + 1];
  return `${unit ? count.toFixed(1) : count} ${units[unit]}`;
}
export const rate = (count) => (count ? `${bytes(count)}/s` : "");

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "";
  const whole = Math.round(seconds), two = (n) => String(n).padStart(2, "0");
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)}m ${two(whole % 60)}s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 1440) return `${Math.floor(minutes / 60)}h ${two(minutes % 60)}m`;
  const hours = Math.round(seconds / 3600);
  return `${Math.floor(hours / 24)}d ${two(hours % 24)}h`;
}
export const counted = (count, what) => `${count.toLocaleString("en")} ${what}${count === 1 ? "" : "s"}`;

// --- elements -------------------------------------------------------------------------------------------

/** An element with attributes and children; strings become text. */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children.filter((child) => child !== ""));
  return made;
}
export function svg(tag, attributes = {}) {
  const made = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
export function mark(node, name, value) {
  if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}
export function chip(kind, text) {
  return element("span", { class: "chip", "data-kind": kind }, text);
}

/** Children of `parent`, one for each of `items`, kept as long as their keys are: nothing loses the focus. */
export function keep(parent, items, keyOf, make, update) {
  const known = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let before = null;
  for (const item of items) {
    const key = keyOf(item);
    let child = known.get(key);
    if (child) known.delete(key);
    else {
      child = make(item);
      child.dataset.key = key;
    }
    update(child, item);
    const place = before ? before.nextSibling : parent.firstChild;
    if (place !== child) parent.insertBefore(child, place);
    before = child;
  }
  for (const child of known.values()) child.remove();
}

/** Make the children of `parent` equal to `fresh`. What is equal already stays: a selection in it, or its focus. */
export function renew(parent, fresh) {
  [...fresh].forEach((made, place) => {
    const old = parent.childNodes[place];
    if (!old) parent.append(made);
    else if (old.isEqualNode(made)) return;
    else if (old.nodeName === made.nodeName && made.hasChildNodes() && old.cloneNode().isEqualNode(made.cloneNode())) renew(old, [...made.childNodes]);
    else old.replaceWith(made);
  });
  while (parent.childNodes.length > fresh.length) parent.lastChild.remove();
}

export function bar() {
  return element("div", { class: "bar" },
    element("div", { class: "track", role: "progressbar", "aria-valuemin": "0", "aria-valuemax": "100" },
      element("span", { class: "fill" })),
    element("span", { class: "percent", "aria-hidden": "true" }));
}
export function setBar(node, percent, kind, label) {
  const track = $(".track", node);
  mark(node, "data-kind", kind);
  mark(track, "aria-label", label);
  mark(track, "aria-valuenow", String(percent ?? 0));
  mark(track, "aria-valuetext", percent === null ? "not known" : `${percent} %`);
  $(".fill", node).style.transform = `scaleX(${(percent ?? 0) / 100})`;
  say($(".percent", node), percent === null ? "" : `${percent} %`);
}

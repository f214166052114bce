// Elements from values: text never becomes HTML.

export function h(tag, props, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "class") made.className = value;
    else made.setAttribute(name, value === true ? "" : String(value));
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

export function svg(tag, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes ?? {})) made.setAttribute(name, String(value));
  return made;
}

export const byId = (id) => document.getElementById(id);

// The time that the page lives in: the machine's, or that of a recording that is played.
export const clock = { now: () => Date.now() / 1000 };

const UNITS = [["year", 31536000], ["month", 2592000], ["day", 86400], ["hour", 3600],
  ["minute", 60], ["second", 1]];
const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });

export function ago(at) {
  const seconds = at - clock.now();
  const [unit, size] = UNITS.find(([, each]) => Math.abs(seconds) >= each) ?? UNITS.at(-1);
  return relative.format(Math.round(seconds / size), unit);
}

const SHAPES = {
  t: { timeStyle: "short" },
  T: { timeStyle: "medium" },
  d: { dateStyle: "short" },
  D: { dateStyle: "long" },
  f: { dateStyle: "long", timeStyle: "short" },
  F: { dateStyle: "full", timeStyle: "short" },
};

export function moment(at, style) {
  if (style === "R") return ago(at);
  return new Intl.DateTimeFormat("en-GB", SHAPES[style] ?? SHAPES.f).format(at * 1000);
}

export function timeOfDay(at) {
  return new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" }).format(at * 1000);
}

// Renew every relative time; called once a second.
export function tick() {
  for (const time of document.querySelectorAll("time[data-relative]")) {
    const text = ago(Number(time.dataset.relative));
    if (time.textContent !== text) time.textContent = text;
  }
}

const TAGS = { strong: "strong", em: "em", u: "u", s: "s", quote: "blockquote", small: "small",
  ul: "ul", ol: "ol", li: "li", p: "p", h1: "h3", h2: "h4", h3: "h5" };

// Draw the tree that the server made of Discord's markdown.
export function markup(nodes) {
  return nodes.map(drawn);
}

function drawn(node) {
  if (typeof node === "string") return document.createTextNode(node);
  switch (node.t) {
    case "br": return h("br");
    case "code": return h("code", {}, node.v);
    case "pre": return h("pre", {}, h("code", {}, node.v));
    case "time": return node.style === "R"
      ? h("time", { "data-relative": node.at, title: moment(node.at, "F") }, ago(node.at))
      : h("time", { title: moment(node.at, "F") }, moment(node.at, node.style));
    case "mention": return h("span", { class: `mention ${node.kind}` }, node.name);
    case "link": return /^https?:/.test(node.href)
      ? h("a", { href: node.href, rel: "noreferrer", target: "_blank" }, markup(node.c))
      : h("span", {}, markup(node.c));
    case "spoiler": {
      const show = () => spoiler.classList.add("shown");
      const spoiler = h("button", { type: "button", class: "spoiler", "aria-label": "Show spoiler",
        onclick: show }, markup(node.c));
      return spoiler;
    }
    default: return h(TAGS[node.t] ?? "span", {}, markup(node.c ?? []));
  }
}

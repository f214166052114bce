// What happens, drawn: small charts over one time, and a band for the breaker.
import { byId, clock, h, svg, timeOfDay } from "./dom.js";

const SPAN_S = 300;
const LEAST_S = 30;
const WIDTH = 440;
const HEIGHT = 64;
const CHARTS = [
  { title: "Rows that differ", unit: "", series: [["differ", "differ", (s) => s.differ]] },
  { title: "Rows written", unit: " a second", series: [["rows", "rows", (s) => s.rows]] },
  { title: "Slowest request of the bot", unit: " ms", series: [["request", "request", (s) => s.request_ms]] },
  { title: "Rows in a request", unit: "", series: [["chunk", "rows", (s) => s.chunk]] },
  { title: "A visitor's request to the site", unit: " ms", series: [["visit", "visit", (s) => s.visit_ms]] },
  { title: "Memory", unit: " MB", series: [["site", "site", (s) => s.memory_mb.site],
    ["database", "database", (s) => s.memory_mb.database], ["bot", "bot", (s) => s.memory_mb.bot]] },
];

export class Charts {
  constructor() {
    this.samples = [];
    this.marks = [];
    this.cursor = null;
    this.span = null;
    this.holder = h("div", { class: "charts" });
    this.drawings = CHARTS.map((chart) => this.figure(chart));
    this.band = svg("svg", { class: "band", viewBox: `0 0 ${WIDTH} 12`, preserveAspectRatio: "none",
      role: "img" });
    this.bandValue = h("span", { class: "value" });
    this.holder.append(...this.drawings.map((each) => each.figure),
      h("figure", {}, h("figcaption", {}, h("span", {}, "Breaker"), this.bandValue), this.band),
      this.axis = h("p", { class: "axis" }));
    for (const { drawing } of this.drawings) {
      drawing.addEventListener("pointermove", (event) => this.point(event, drawing));
      drawing.addEventListener("pointerleave", () => { this.cursor = null; this.draw(); });
    }
  }

  figure(chart) {
    const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
    const value = h("span", { class: "value" });
    return { chart, drawing, value,
      figure: h("figure", {}, h("figcaption", {}, h("span", {}, chart.title), value), drawing) };
  }

  reset(samples) {
    this.samples = samples.slice();
    this.draw();
  }

  add(sample) {
    this.samples.push(sample);
    if (this.samples.length > 900) this.samples.shift();
    if (!byId("pane-charts").hidden) this.draw();
  }

  point(event, drawing) {
    const box = drawing.getBoundingClientRect();
    const [from, to] = this.shown();
    this.cursor = from + ((event.clientX - box.left) / box.width) * (to - from);
    this.draw();
  }

  shown() {
    if (this.span) return this.span;
    const to = clock.now();
    const first = this.samples[0]?.at ?? to;
    return [Math.max(to - SPAN_S, Math.min(first, to - LEAST_S)), to];
  }

  draw() {
    const [from, to] = this.shown();
    const x = (at) => (((at - from) / (to - from)) * WIDTH).toFixed(1);
    const seen = this.samples.filter((sample) => sample.at >= from - 5 && sample.at <= to);
    const told = this.cursor === null ? seen.at(-1)
      : seen.reduce((best, s) => (!best || Math.abs(s.at - this.cursor) < Math.abs(best.at - this.cursor) ? s : best), null);
    for (const each of this.drawings) this.drawChart(each, seen, told, x);
    this.drawBand(seen, told, x);
    this.axis.replaceChildren(h("span", {}, timeOfDay(from)), h("span", {}, timeOfDay(this.cursor ?? to)));
  }

  drawChart({ chart, drawing, value }, seen, told, x) {
    const values = chart.series.flatMap(([, , read]) => seen.map(read)).filter((v) => v !== null);
    const most = Math.max(1, ...values);
    const y = (v) => (HEIGHT - 3 - (v / most) * (HEIGHT - 8)).toFixed(1);
    const parts = this.marks.map((at) => svg("line", { class: "mark", x1: x(at), x2: x(at), y1: 0, y2: HEIGHT }));
    for (const [kind, , read] of chart.series) {
      parts.push(svg("path", { class: `line ${kind}`, d: path(seen, read, x, y) }));
    }
    if (this.cursor !== null) {
      parts.push(svg("line", { class: "cursor", x1: x(this.cursor), x2: x(this.cursor), y1: 0, y2: HEIGHT }));
    }
    drawing.replaceChildren(...parts);
    const words = chart.series.map(([kind, name, read]) => [kind, name, told ? read(told) : null]);
    value.replaceChildren(...words.map(([kind, name, v]) => h("span", { class: `key ${kind}` },
      `${chart.series.length > 1 ? `${name} ` : ""}${v === null || v === undefined ? "–" : v.toLocaleString("en")}${v === null || v === undefined ? "" : chart.unit}`)));
    drawing.setAttribute("aria-label", `${chart.title}: ${value.textContent}; at most ${most.toLocaleString("en")}${chart.unit} in view`);
  }

  drawBand(seen, told, x) {
    const parts = seen.map((sample, place) => svg("rect", {
      class: `breaker ${sample.breaker ?? "unknown"}`, x: x(sample.at), y: 0, height: 12,
      width: Math.max(1, Number(x(seen[place + 1]?.at ?? sample.at + 1)) - Number(x(sample.at)) + 0.5),
    }));
    this.band.replaceChildren(...parts);
    this.bandValue.textContent = told?.breaker ?? "the bot does not say";
    this.band.setAttribute("aria-label", `Breaker: ${this.bandValue.textContent}`);
  }
}

function path(seen, read, x, y) {
  let drawn = "";
  let isOn = false;
  for (const sample of seen) {
    const value = read(sample);
    if (value === null || value === undefined) { isOn = false; continue; }
    drawn += `${isOn ? "L" : "M"}${x(sample.at)} ${y(value)}`;
    if (!isOn) drawn += "h0.1";
    isOn = true;
  }
  return drawn;
}

// One time line: clicks, stories, what the bot logged, and messages, each to be found again.
import { h, timeOfDay } from "./dom.js";

const MOST = 400;
const SOURCES = { you: "You", bot: "Bot", story: "Story", message: "Mod-log" };

export class TimeLine {
  constructor({ find }) {
    this.find = find;
    this.list = h("ol", { class: "lines", tabindex: 0, "aria-label": "Time line, newest first" });
  }

  reset(lines) {
    this.list.replaceChildren();
    for (const line of lines) this.add(line.at, line.data);
  }

  add(at, line) {
    this.list.prepend(h("li", { class: `line-item ${line.source} ${line.level ?? ""}` },
      h("time", {}, timeOfDay(at)),
      h("span", { class: "source" }, SOURCES[line.source] ?? line.source),
      h("div", { class: "what" }, h("span", {}, line.text),
        line.message && h("button", { type: "button", class: "quiet",
          onclick: () => this.find(line.message) }, "Show message"),
        line.log && h("details", {}, h("summary", {}, "Log line"),
          h("pre", { tabindex: 0 }, JSON.stringify(line.log, null, 1))))));
    while (this.list.children.length > MOST) this.list.lastChild.remove();
  }
}

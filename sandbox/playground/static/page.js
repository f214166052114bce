// The page: its parts joined, and told of what happens.
import { Charts } from "./charts.js";
import { Composer } from "./composer.js";
import { byId, clock, h, tick } from "./dom.js";
import { Messages } from "./messages.js";
import { Panel } from "./panel.js";
import { Stories } from "./stories.js";
import { TimeLine } from "./timeline.js";

const PANES = [["discord", "Discord"], ["world", "World"], ["charts", "Charts"], ["stories", "Stories"]];
const THEMES = { dark: "Light", light: "Dark" };

export class Page {
  // `act(path, body)` carries out a click, `see(who)` changes whose eyes are looked through.
  constructor({ act, see }) {
    this.act = async (path, body) => {
      try {
        return await act(path, body);
      } catch (error) {
        this.say(error.message);
        this.messages.fail(error.message);
        return {};
      }
    };
    this.see = see;
    this.who = "owner";
    this.channels = [];
    this.messages = new Messages({ press: (message, id) => this.press(message, id) });
    this.panel = new Panel({ act: (what) => this.act("/do", what) });
    this.charts = new Charts();
    this.lines = new TimeLine({ find: (id) => this.find(id) });
    this.stories = new Stories({
      start: (id) => this.act("/story", { start: id }),
      stop: () => this.act("/story", { stop: true }),
    });
    this.composer = new Composer(byId("composer"), {
      say: (content) => this.act("/say", this.spoken({ content })),
      command: (name, options) => this.act("/command", this.spoken({ name, options })),
      complete: (name, option, typed) => this.act("/complete", this.spoken({ name, option, typed })),
      commands: () => act("/commands"),
      members: (typed) => act(`/members?typed=${encodeURIComponent(typed)}`),
    });
    byId("pane-charts").append(h("h2", {}, "Charts"), this.charts.holder, h("h2", {}, "Time line"),
      this.lines.list);
    this.choosePanes();
    this.chooseTheme();
    byId("viewer").addEventListener("change", (event) => this.see(event.target.value));
    setInterval(tick, 1000);
  }

  spoken(more) {
    const channel = this.channels.find((each) => each.id === this.messages.channel);
    return { as: this.who, channel: channel?.name, ...more };
  }

  press(message, custom_id) {
    this.act("/press", { as: this.who, message, custom_id });
  }

  take({ at, kind, data }) {
    switch (kind) {
      case "snapshot": this.begin(data); break;
      case "message": this.takeMessage(at, data); break;
      case "sample": this.takeSample(data); break;
      case "panel": this.panel.update(data); break;
      case "story": this.stories.update(data); break;
      case "line":
        this.lines.add(at, data);
        if (data.source === "you" || data.source === "story") this.charts.marks = [...this.charts.marks, at].slice(-200);
        if (data.source === "story" && "watch" in data) this.stories.step(data);
        break;
      case "answer":
        this.messages.settle(data.message);
        if (!data.answered) this.messages.fail("This interaction failed: the bot did not answer within three seconds.");
        break;
      default: break;
    }
  }

  begin(data) {
    this.who = data.who;
    this.channels = data.channels;
    byId("viewer").replaceChildren(...data.people.map((person) => h("option",
      { value: person.who, selected: person.who === data.who }, `${person.name} (${person.who})`)));
    this.name = data.people.find((person) => person.who === data.who).name;
    const shown = this.channels.some((channel) => channel.id === this.messages.channel);
    if (!shown) this.messages.channel = this.channels[0]?.id ?? null;
    this.messages.reset(data);
    this.panel.reset(data.panel);
    this.stories.reset(data.stories, data.story, data.lines);
    this.lines.reset(data.lines);
    this.charts.marks = data.lines.filter((line) => line.data.source !== "bot").map((line) => line.at);
    this.charts.reset(data.samples);
    if (data.samples.length > 0) this.takeTruth(data.samples.at(-1));
    this.drawChannels();
  }

  takeMessage(at, view) {
    if (this.messages.put(view) && view.author.bot && !view.ephemeral && view.embeds.length > 0) {
      const title = view.embeds[0].title.map((node) => node.v ?? node).join("") || "A message";
      const line = { source: "message", text: title, message: view.id };
      this.lines.add(view.at, line);
      this.say(`New message: ${title}`);
    }
    if (this.messages.unread.size > 0) this.drawChannels();
  }

  takeSample(sample) {
    this.charts.add(sample);
    this.takeTruth(sample);
  }

  takeTruth(sample) {
    const truth = byId("truth");
    truth.textContent = sample.differ === null ? "?" : sample.differ.toLocaleString("en");
    truth.className = sample.differ === null ? "unknown" : sample.differ === 0 ? "agreed" : "differing";
    const bot = sample.memory_mb.bot === null ? ["down", "Bot down"] : ["up", "Bot runs"];
    const site = sample.memory_mb.site === null ? ["down", "Site down"] : ["up", "Site runs"];
    const breaker = sample.breaker === "open" ? ["down", "Breaker open"]
      : sample.breaker === null ? ["unknown", "Breaker ?"] : ["up", "Breaker closed"];
    byId("pills").replaceChildren(...[bot, site, breaker].map(([kind, words]) =>
      h("span", { class: `pill ${kind}` }, words)));
  }

  drawChannels() {
    const list = h("ul", {}, this.channels.map((channel) => {
      const isShown = channel.id === this.messages.channel;
      const unread = this.messages.unread.get(channel.id);
      return h("li", {}, h("button", {
        type: "button", class: unread ? "channel unread" : "channel", "aria-current": isShown ? "true" : null,
        onclick: () => { this.messages.show(channel.id); this.drawChannels(); byId("messages").focus(); },
      }, h("span", { "aria-hidden": "true" }, "# "), channel.name,
      unread && h("span", { class: unread.pings ? "badge" : "unseen" },
        String(unread.pings || unread.messages), h("span", { class: "unseen" }, " unread"))));
    }));
    byId("channels").replaceChildren(list);
    const name = this.channels.find((channel) => channel.id === this.messages.channel)?.name ?? "";
    byId("channel-name").textContent = `# ${name}`;
    this.composer.name(name, this.name);
  }

  find(id) {
    const view = this.messages.views.get(id);
    if (!view) return;
    this.showPane("discord");
    if (view.channel !== this.messages.channel) this.messages.show(view.channel);
    this.drawChannels();
    this.messages.find(id);
  }

  say(text) {
    byId("status").textContent = text;
  }

  choosePanes() {
    byId("panes").append(...PANES.map(([id, name]) => h("button", { type: "button", "data-pane": id,
      onclick: () => this.showPane(id) }, name)));
    this.wide = matchMedia("(min-width: 1100px)");
    this.wide.addEventListener("change", () => this.showPane(this.pane));
    this.showPane(this.wide.matches ? "world" : "discord");
  }

  // Narrow: one pane at a time; wide: Discord always, and one of the others beside it.
  showPane(id) {
    this.pane = id;
    const isWide = this.wide.matches;
    const beside = id === "discord" ? (this.beside ?? "world") : id;
    this.beside = beside;
    for (const [each] of PANES) {
      const isShown = isWide ? each === "discord" || each === beside : each === id;
      byId(`pane-${each}`).hidden = !isShown;
      const button = byId("panes").querySelector(`[data-pane="${each}"]`);
      button.setAttribute("aria-pressed", String(isWide ? each === beside : each === id));
      button.hidden = isWide && each === "discord";
    }
    if (beside === "charts") this.charts.draw();
    if (id === "discord") this.messages.toEnd();
  }

  chooseTheme() {
    const preferred = matchMedia("(prefers-color-scheme: light)");
    const apply = (theme) => {
      document.documentElement.dataset.theme = theme;
      byId("theme").textContent = THEMES[theme];
      byId("theme").setAttribute("aria-label", `Show it ${THEMES[theme].toLowerCase()}`);
    };
    apply(preferred.matches ? "light" : "dark");
    preferred.addEventListener("change", () => apply(preferred.matches ? "light" : "dark"));
    byId("theme").addEventListener("click", () =>
      apply(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
  }
}

export { clock };

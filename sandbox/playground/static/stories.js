// Guided stories, and the step of the one that is on.
import { byId, h } from "./dom.js";

export class Stories {
  constructor({ start, stop }) {
    this.pane = byId("pane-stories");
    this.now = byId("story-now");
    this.calls = { start, stop };
    this.state = h("p", { class: "story-state", role: "status" });
    this.titles = new Map();
    this.buttons = [];
  }

  reset(stories, state, lines) {
    this.titles = new Map(stories.map((story) => [story.id, story.title]));
    this.buttons = stories.map((story) => h("button", { type: "button", class: "button primary",
      "data-story": story.id, onclick: () => this.calls.start(story.id) }, "Play"));
    this.stopping = h("button", { type: "button", class: "button danger", hidden: true,
      onclick: () => this.calls.stop() }, "Stop the story");
    this.pane.replaceChildren(
      h("div", { class: "pane-head" }, h("h2", {}, "Stories"), this.stopping), this.state,
      h("ul", { class: "stories" }, stories.map((story, place) => h("li", { class: "story-card" },
        h("h3", { id: `story-${story.id}` }, story.title), h("p", {}, story.about),
        this.labelled(this.buttons[place], story)))));
    this.update(state);
    const steps = lines.filter((line) => line.data.source === "story" && "watch" in line.data);
    if (state.playing && steps.length > 0) this.step(steps.at(-1).data);
  }

  labelled(button, story) {
    button.setAttribute("aria-label", `Play: ${story.title}`);
    return button;
  }

  update(state) {
    const isOn = state.playing !== null;
    for (const button of this.buttons) button.disabled = isOn;
    this.stopping.hidden = !isOn;
    if (isOn) this.now.hidden = true;
    const title = this.titles.get(state.playing ?? state.ended);
    if (isOn) this.state.textContent = `On: ${title}`;
    else if (!title) this.state.textContent = "";
    else this.state.textContent = state.failed ? `${title} broke off: ${state.failed}` : `Over: ${title}`;
  }

  // Show what happens now, until it is closed or the next step comes.
  step(line) {
    this.now.hidden = false;
    this.now.replaceChildren(
      h("p", { class: "step" }, line.text),
      line.watch && h("p", {}, h("strong", {}, "Watch: "), line.watch),
      line.moderator && h("p", {}, h("strong", {}, "A moderator: "), line.moderator),
      h("button", { type: "button", class: "quiet close", "aria-label": "Close this step",
        onclick: () => { this.now.hidden = true; } }, "×"));
  }
}

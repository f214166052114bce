// The world panel: what can be done to guild, Discord, site, store and bot, and undone.
import { byId, h } from "./dom.js";

export class Panel {
  constructor({ act }) {
    this.pane = byId("pane-world");
    this.act = act;
    this.rows = new Map();
    this.about = h("p", { class: "about-world" });
  }

  reset(panel) {
    this.rows.clear();
    const groups = Map.groupBy(panel.actions, (action) => action.group);
    this.pane.replaceChildren(
      h("div", { class: "pane-head" }, h("h2", {}, "World"),
        h("button", { type: "button", class: "button secondary", id: "undo-all",
          onclick: () => this.act({ undo: "all" }) }, "Undo everything")),
      this.about,
      ...[...groups].map(([name, actions]) => h("section", { class: "group" }, h("h3", {}, name),
        h("ul", {}, actions.map((action) => this.row(action))))));
    this.update(panel);
  }

  row(action) {
    const does = h("button", { type: "button", class: "button secondary do", "data-do": action.id,
      "aria-describedby": `does-${action.id}`, onclick: () => this.act({ do: action.id }) }, action.label);
    const undo = h("button", { type: "button", class: "button success undo", "data-undo": action.id,
      onclick: () => this.act({ undo: action.id }) }, action.undo);
    const failed = h("p", { class: "failure" });
    const item = h("li", { class: "action" }, h("div", { class: "acts" }, does, undo),
      h("p", { class: "does", id: `does-${action.id}` }, action.does), failed);
    this.rows.set(action.id, { does, undo, failed, item });
    return item;
  }

  update(panel) {
    const minutes = "Waits of minutes are shortened to seconds.";
    const limited = panel.limited ? ` Its memory is limited to ${panel.limited}.` : "";
    this.about.textContent = `The bot syncs ${panel.site}.${limited} ${minutes}`;
    for (const action of panel.actions) {
      const row = this.rows.get(action.id);
      if (!row) continue;
      const isBusy = panel.busy === action.id;
      row.does.disabled = panel.busy !== null || (action.lasting && action.done > 0);
      row.does.toggleAttribute("aria-busy", isBusy);
      row.undo.hidden = action.done === 0 || action.undo === "Done";
      row.undo.disabled = panel.busy !== null;
      row.failed.textContent = action.failed;
      row.item.classList.toggle("on", action.done > 0 && action.lasting);
    }
  }
}

// Where one writes: text, text commands and slash commands, with completion.
import { h } from "./dom.js";

const MEMBER = 6;
const BOOLEAN = 5;
const NUMBERS = new Set([4, 10]);

export class Composer {
  constructor(form, { say, command, commands, members, complete }) {
    this.form = form;
    this.calls = { say, command, commands, members, complete };
    this.known = [];
    this.chosen = null;
    this.options = [];
    this.active = -1;
    this.input = h("input", {
      id: "typed", class: "typed", type: "text", role: "combobox", "aria-expanded": "false",
      "aria-controls": "completions", "aria-autocomplete": "list", maxlength: 2000,
    });
    this.label = h("label", { for: "typed", class: "unseen" }, "Message");
    this.popup = h("ul", { id: "completions", class: "completions", role: "listbox",
      "aria-label": "Completions", hidden: true });
    this.fields = h("fieldset", { class: "options", hidden: true });
    this.sending = h("button", { type: "submit", class: "send" }, "Send");
    form.append(this.label, this.popup, this.fields, this.input, this.sending);
    this.input.addEventListener("input", () => this.suggest());
    this.input.addEventListener("focus", () => this.load());
    this.input.addEventListener("keydown", (event) => this.onKey(event));
    form.addEventListener("submit", (event) => { event.preventDefault(); this.send(); });
  }

  name(channel, who) {
    this.label.textContent = `Message #${channel} as ${who}`;
    this.input.placeholder = `Message #${channel} as ${who}`;
  }

  async load() {
    this.known = await this.calls.commands();
  }

  async suggest() {
    const typed = this.input.value;
    const found = typed.startsWith("/") || typed.startsWith("!") ? await this.found(typed) : [];
    if (typed === this.input.value) this.open(found);
  }

  async found(typed) {
    if (this.known.length === 0) await this.load();
    const sign = typed[0];
    const rest = typed.slice(1);
    const names = this.known.filter((command) => command.name.startsWith(rest.toLowerCase()));
    if (names.length > 0 && !(sign === "!" && names.length === 1 && rest.length > names[0].name.length)) {
      return names.map((command) => ({ text: `${sign}${command.name}`, about: command.description, command }));
    }
    return sign === "!" ? this.foundArguments(rest) : [];
  }

  async foundArguments(rest) {
    const command = this.known.filter((each) => rest.startsWith(`${each.name} `))
      .sort((a, b) => b.name.length - a.name.length)[0];
    if (!command) return [];
    const words = rest.slice(command.name.length + 1).split(" ");
    const option = command.options[words.length - 1];
    const last = words.at(-1);
    if (!option) return [];
    const head = `!${[command.name, ...words.slice(0, -1)].join(" ")} `;
    const values = await this.valuesOf(command, option, last);
    return values.filter((value) => value.text !== last)
      .map((value) => ({ text: head + value.text, about: value.name }));
  }

  async valuesOf(command, option, typed) {
    if (option.choices.length > 0) {
      return option.choices.filter((choice) => choice.startsWith(typed)).map((text) => ({ text, name: option.name }));
    }
    if (option.type === MEMBER) {
      return (await this.calls.members(typed)).map((m) => ({ text: m.id, name: m.name }));
    }
    if (option.completed) {
      const found = await this.calls.complete(command.name, option.name, typed);
      return found.choices.map((choice) => ({ text: choice.id, name: choice.name }));
    }
    return [];
  }

  open(found) {
    this.options = found.slice(0, 12);
    this.active = -1;
    this.popup.hidden = this.options.length === 0;
    this.input.setAttribute("aria-expanded", String(this.options.length > 0));
    this.input.removeAttribute("aria-activedescendant");
    this.popup.replaceChildren(...this.options.map((option, place) => h("li", {
      role: "option", id: `completion-${place}`, "aria-selected": "false",
      onmousedown: (event) => { event.preventDefault(); this.take(place); },
    }, h("span", { class: "completion" }, option.text), h("span", { class: "about" }, option.about))));
  }

  onKey(event) {
    const steps = { ArrowDown: 1, ArrowUp: -1 };
    if (event.key in steps && this.options.length > 0) {
      event.preventDefault();
      this.mark((this.active + steps[event.key] + this.options.length) % this.options.length);
    } else if (event.key === "Tab" && !event.shiftKey && this.options.length > 0) {
      event.preventDefault();
      this.take(Math.max(0, this.active));
    } else if (event.key === "Enter" && this.active >= 0) {
      event.preventDefault();
      this.take(this.active);
    } else if (event.key === "Escape") {
      this.open([]);
      this.choose(null);
    }
  }

  mark(place) {
    this.active = place;
    [...this.popup.children].forEach((item, each) => item.setAttribute("aria-selected", String(each === place)));
    this.input.setAttribute("aria-activedescendant", `completion-${place}`);
    this.popup.children[place].scrollIntoView({ block: "nearest" });
  }

  take(place) {
    const option = this.options[place];
    const isSlash = option.text.startsWith("/");
    this.input.value = option.text + (isSlash || !option.command?.options.length ? "" : " ");
    this.open([]);
    if (isSlash) this.choose(option.command);
    else this.suggest();
  }

  // Show a field for each option of a slash command.
  choose(command) {
    this.chosen = command;
    this.fields.hidden = !command || command.options.length === 0;
    this.fields.replaceChildren();
    if (this.fields.hidden) return;
    this.fields.append(h("legend", {}, `Options of /${command.name}`),
      ...command.options.map((option) => this.field(command, option)));
    this.fields.querySelector("input, select")?.focus();
  }

  field(command, option) {
    const id = `option-${option.name}`;
    const words = option.required ? option.name : `${option.name} (optional)`;
    let control;
    if (option.choices.length > 0 || option.type === BOOLEAN) {
      const values = option.type === BOOLEAN ? ["true", "false"] : option.choices;
      control = h("select", { id, name: option.name },
        ["", ...values].map((value) => h("option", { value }, value)));
    } else {
      const list = h("datalist", { id: `${id}-list` });
      control = h("input", { id, name: option.name, type: "text", list: list.id,
        inputmode: NUMBERS.has(option.type) ? "decimal" : "text" });
      control.addEventListener("input", async () => {
        const values = await this.valuesOf(command, option, control.value);
        list.replaceChildren(...values.map((value) => h("option", { value: value.text }, value.name)));
      });
      control.after(list);
      return h("div", { class: "option" }, h("label", { for: id }, words), control, list);
    }
    return h("div", { class: "option" }, h("label", { for: id }, words), control);
  }

  async send() {
    const typed = this.input.value.trim();
    if (typed === "") return;
    let chosen = this.chosen && typed === `/${this.chosen.name}` ? this.chosen : null;
    if (!chosen && typed.startsWith("/")) {
      await this.load();
      chosen = this.known.find((command) => typed === `/${command.name}`);
      if (chosen && chosen.options.some((option) => option.required)) return this.choose(chosen);
    }
    const values = chosen ? this.values(chosen) : {};
    this.input.value = "";
    this.open([]);
    this.choose(null);
    this.input.focus();
    if (chosen) await this.calls.command(chosen.name, values);
    else await this.calls.say(typed);
  }

  values(command) {
    const values = {};
    for (const option of command.options) {
      const given = this.fields.querySelector(`[name="${option.name}"]`)?.value.trim() ?? "";
      if (given === "") continue;
      if (option.type === MEMBER) values[option.name] = { user_id: given };
      else if (option.type === BOOLEAN) values[option.name] = given === "true";
      else if (NUMBERS.has(option.type)) values[option.name] = Number(given);
      else values[option.name] = given;
    }
    return values;
  }
}

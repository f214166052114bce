// The messages of a channel, as Discord shows them.
import { byId, h, markup, moment, timeOfDay } from "./dom.js";

const MOST = 200;

export class Messages {
  constructor({ press }) {
    this.list = byId("messages");
    this.press = press;
    this.views = new Map();
    this.drawn = new Map();
    this.channel = null;
    this.pinged = new Set();
    this.unread = new Map();
    this.notices = [];
  }

  reset(snapshot) {
    this.pinged = new Set(snapshot.pinged);
    this.views = new Map(snapshot.messages.map((view) => [view.id, view]));
    this.unread = new Map();
    this.notices = [];
    this.show(this.channel);
  }

  show(channel) {
    this.channel = channel;
    this.unread.delete(channel);
    this.drawn = new Map();
    this.list.replaceChildren();
    for (const view of this.views.values()) if (view.channel === channel) this.draw(view);
    this.toEnd();
  }

  // Take in a new state of a message; return whether the message is new.
  put(view) {
    const known = this.views.has(view.id);
    if (view.deleted) {
      this.views.delete(view.id);
      this.drawn.get(view.id)?.remove();
      this.drawn.delete(view.id);
      return false;
    }
    this.views.set(view.id, view);
    if (view.channel === this.channel) {
      const atEnd = this.isAtEnd();
      this.draw(view);
      if (atEnd) this.toEnd();
    } else if (!known) {
      const count = this.unread.get(view.channel) ?? { messages: 0, pings: 0 };
      this.unread.set(view.channel, {
        messages: count.messages + 1,
        pings: count.pings + (this.calls(view) ? 1 : 0),
      });
    }
    return !known;
  }

  // Say below everything, for this person only, that an interaction failed.
  fail(text) {
    const item = h("li", { class: "message failed" }, h("p", { class: "failure" }, text));
    this.list.append(item);
    this.toEnd();
  }

  settle(id) {
    for (const button of this.drawn.get(id)?.querySelectorAll("[aria-busy]") ?? []) {
      button.removeAttribute("aria-busy");
    }
  }

  // Bring a message into view, and mark it.
  find(id) {
    const item = this.drawn.get(id);
    if (!item) return false;
    item.scrollIntoView({ block: "center" });
    item.classList.add("found");
    setTimeout(() => item.classList.remove("found"), 2500);
    item.focus();
    return true;
  }

  calls(view) {
    return view.pings.some((id) => this.pinged.has(id));
  }

  isAtEnd() {
    return this.list.scrollHeight - this.list.scrollTop - this.list.clientHeight < 80;
  }

  toEnd() {
    this.list.scrollTop = this.list.scrollHeight;
  }

  draw(view) {
    const item = this.item(view);
    const before = this.drawn.get(view.id);
    if (before) {
      const held = before.contains(document.activeElement) ? document.activeElement : null;
      before.replaceWith(item);
      if (held) refocus(item, held);
    } else {
      this.list.append(item);
    }
    this.drawn.set(view.id, item);
    if (this.drawn.size > MOST) {
      const [oldest] = this.drawn.keys();
      this.drawn.get(oldest).remove();
      this.drawn.delete(oldest);
      this.views.delete(oldest);
    }
  }

  item(view) {
    const classes = ["message", view.ephemeral && "ephemeral", this.calls(view) && "pings"];
    return h("li", { class: classes.filter(Boolean).join(" "), "data-message": view.id, tabindex: -1 },
      view.answers && h("p", { class: "answers" }, h("span", { class: "who" }, view.answers),
        " used the bot"),
      h("span", { class: `avatar a${Number(view.author.id.slice(-2)) % 5}`, "aria-hidden": "true" },
        view.author.name.slice(0, 1).toUpperCase()),
      h("div", { class: "body" },
        h("p", { class: "head" }, h("span", { class: "who" }, view.author.name),
          view.author.bot && h("span", { class: "tag" }, "APP"),
          h("time", { class: "at", title: moment(view.at, "F") }, timeOfDay(view.at))),
        h("div", { class: "content" }, markup(view.content),
          view.thinking && h("span", { class: "thinking" }, `${view.author.name} is thinking…`),
          view.edited && h("span", { class: "edited", title: moment(view.edited, "F") }, " (edited)")),
        view.embeds.map((embed) => drawnEmbed(embed, view)),
        view.files.filter((file) => !isShown(file, view)).map(drawnFile),
        view.rows.map((row) => h("div", { class: "row" }, row.map((button) => this.button(button, view)))),
        view.ephemeral && h("p", { class: "only-you" }, "Only you can see this.")));
  }

  button(button, view) {
    if (button.href) {
      return h("a", { class: "button link", href: button.href, target: "_blank", rel: "noreferrer" },
        button.label);
    }
    const made = h("button", {
      type: "button", class: `button ${button.style}`, disabled: button.disabled,
      "data-press": button.custom_id,
      onclick: () => {
        made.setAttribute("aria-busy", "true");
        this.press(view.id, button.custom_id);
      },
    }, button.label);
    return made;
  }
}

function refocus(item, held) {
  const key = held.dataset.press;
  const same = key ? [...item.querySelectorAll("[data-press]")].find((b) => b.dataset.press === key) : item;
  (same ?? item).focus({ preventScroll: true });
}

function drawnEmbed(embed, view) {
  const box = h("article", { class: "embed" },
    embed.author && h("p", { class: "embed-author" }, embed.author),
    embed.title.length > 0 && h("h3", { class: "embed-title" },
      embed.href ? h("a", { href: embed.href, target: "_blank", rel: "noreferrer" }, markup(embed.title))
        : markup(embed.title)),
    embed.description.length > 0 && h("div", { class: "description" }, markup(embed.description)),
    embed.fields.length > 0 && h("div", { class: "fields" }, embed.fields.map((field) =>
      h("div", { class: field.inline ? "field inline" : "field" },
        h("h4", {}, markup(field.name)), h("div", {}, markup(field.value))))),
    picture(embed, view),
    (embed.footer || embed.at) && h("p", { class: "footer" },
      [embed.footer, embed.at && moment(embed.at, "f")].filter(Boolean).join(" • ")));
  if (embed.colour) box.style.borderInlineStartColor = embed.colour;
  return box;
}

function picture(embed, view) {
  if (!embed.image) return null;
  const file = view.files.find((each) => embed.image === `attachment://${each.name}`
    || embed.image.endsWith(each.url));
  return file ? h("img", { src: file.url, alt: file.name, class: "picture" }) : null;
}

function isShown(file, view) {
  return view.embeds.some((embed) => embed.image
    && (embed.image === `attachment://${file.name}` || embed.image.endsWith(file.url)));
}

function drawnFile(file) {
  if (file.picture) return h("img", { src: file.url, alt: file.name, class: "picture" });
  return h("p", { class: "file" }, h("a", { href: file.url, download: file.name }, file.name),
    h("span", {}, ` ${size(file.bytes)}`));
}

function size(bytes) {
  return bytes < 1024 ? `${bytes} bytes` : `${(bytes / 1024).toFixed(2)} KB`;
}

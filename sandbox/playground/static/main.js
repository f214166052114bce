// The live page.
import { ask, listen } from "./live.js";
import { Page } from "./page.js";

let end = () => {};
const page = new Page({ act: ask, see });

function see(who) {
  end();
  end = listen(who, (event) => page.take(event), {
    lost: () => page.say("The playground is not there; this page connects again by itself."),
  });
}

see("owner");

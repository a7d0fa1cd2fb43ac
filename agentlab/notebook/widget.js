/** One agent, live: name, state, what it does or waits for, what it used, what it asks; buttons to stop it and to answer. */
// In JupyterLab the extension leaves what these words are in its language (`src/notebook/agent.ts`); elsewhere they stay as they are.
const WORDS = Symbol.for("agentlab:agent");
const word = (text) => (globalThis[WORDS] || {})[text] || text;

const QUIET = 15000; // ms without a word of the kernel, which tells the time each second: it was restarted, or is gone
const ICONS = { waiting: "◔" }; // a sign that the fonts of browsers have, where the kernel's is one for terminals

function part(parent, tag, style) {
  const node = document.createElement(tag);
  node.style.cssText = style || "";
  parent.appendChild(node);
  return node;
}

function made(model) {
  const box = document.createElement("div");
  box.style.cssText =
    "display:inline-flex;flex-wrap:wrap;gap:0 .8em;align-items:baseline;padding:.3em .7em;max-width:100%;" +
    "border:1px solid var(--jp-border-color2,#bbb);border-radius:4px;color:var(--jp-ui-font-color1,inherit);" +
    "font-size:var(--jp-ui-font-size1,13px)";
  const faint = "color:var(--jp-ui-font-color2,#666)";
  box.setAttribute("role", "group");
  const name = part(box, "strong");
  const kind = part(box, "span", faint);
  const status = part(box, "span");
  status.setAttribute("aria-live", "polite");
  const what = part(box, "span");
  const bounds = part(box, "span", faint);
  const usage = part(box, "span", faint);
  const time = part(box, "span", faint);
  const stop = part(box, "button", "font:inherit;cursor:pointer");
  stop.type = "button";
  const asked = part(box, "div", "flex-basis:100%");
  const problem = part(box, "div", "flex-basis:100%");
  problem.setAttribute("role", "alert");
  const gone = part(box, "div", "flex-basis:100%");
  gone.setAttribute("role", "status");
  let drawn = null;
  let heard = performance.now();
  let silent = false;

  // Made anew only for another question: a button must not vanish under the pointer because a second has passed.
  function ask(question) {
    const now = JSON.stringify(question || null);
    if (now === drawn) return;
    drawn = now;
    asked.replaceChildren();
    if (!question) return;
    asked.setAttribute("role", "group");
    asked.setAttribute("aria-label", word("question"));
    part(asked, "strong").textContent = question.question;
    part(asked, "div", faint).textContent = question.about;
    if (question.call) {
      part(asked, "pre", "max-height:16em;overflow:auto;margin:.2em 0;white-space:pre-wrap").textContent = question.call;
    }
    const all = [];
    for (const { label, ...said } of question.buttons) {
      const button = part(asked, "button", "font:inherit;cursor:pointer;margin-right:.5em");
      button.type = "button";
      button.textContent = said.status === "answered" ? label : word(label); // an agent's own words are nobody's to translate
      button.addEventListener("click", () => {
        model.send({ do: "answer", approval: question.approval, ...said });
        for (const each of all) each.disabled = true;
      });
      all.push(button);
    }
    part(asked, "div", faint).textContent = question.note;
  }

  function complain() {
    problem.textContent = model.get("problem");
    if (problem.textContent) for (const button of asked.querySelectorAll("button")) button.disabled = false;
  }

  function draw() {
    const state = model.get("state");
    box.setAttribute("aria-label", word("agent %1").replace("%1", () => state.name));
    name.textContent = state.name;
    kind.textContent = state.kind;
    status.textContent = `${ICONS[state.status] || state.icon} ${word(state.status)}`;
    what.textContent = state.what;
    bounds.textContent = state.bounds;
    usage.textContent = state.usage;
    time.textContent = state.time;
    stop.textContent = word(state.stopping ? "Stop now" : "Stop");
    stop.title = word(state.stopping ? "Kill it, without asking" : "Ask it to stop; its locks are freed");
    stop.disabled = false;
    ask(state.question);
    believe();
  }

  // What is shown may be long over: it is said of when it is, and nothing is offered.
  function believe() {
    const told = model.get("lost");
    const lost = told || (silent ? model.get("clock").now : 0);
    const why = told
      ? word("as of %1: nothing is heard of it since; that is tried again by itself")
      : word("as of %1: the kernel says nothing since; run the cell again when it does");
    gone.textContent = lost ? why.replace("%1", new Date(lost).toLocaleTimeString()) : "";
    for (const each of [name, kind, status, what, usage, time, asked]) each.style.opacity = lost ? "0.55" : "";
    stop.hidden = Boolean(lost);
    asked.inert = Boolean(lost);
  }

  function age() {
    const clock = model.get("clock");
    if (clock) time.textContent = clock.age;
  }

  const listen = setInterval(() => {
    const quiet = performance.now() - heard > QUIET && Boolean(model.get("clock"));
    if (quiet !== silent) {
      silent = quiet;
      believe();
    }
  }, 1000);
  const hears = (call) => () => {
    heard = performance.now();
    if (silent) {
      silent = false;
      believe();
    }
    call();
  };
  const changes = Object.entries({ state: draw, problem: complain, lost: believe, clock: age }).map(([name, call]) => [`change:${name}`, hears(call)]);

  const click = () => {
    model.send({ do: model.get("state").stopping ? "stop now" : "stop" });
    stop.disabled = true;
  };
  stop.addEventListener("click", click);
  for (const [name, call] of changes) model.on(name, call);
  draw();
  complain();
  age();
  const mine = {
    box,
    focused: null,
    dispose() {
      for (const [name, call] of changes) model.off(name, call);
      clearInterval(listen);
      box.remove();
    },
  };
  box.addEventListener("focusin", (event) => {
    mine.focused = event.target;
  });
  box.addEventListener("focusout", (event) => {
    if (event.relatedTarget) mine.focused = null;
  });
  return mine;
}

// An element that was taken off the page gets its focus back when it is there again, unless somebody took it on purpose.
function refocus(lost, frames) {
  if (!lost.isConnected) {
    if (frames) requestAnimationFrame(() => refocus(lost, frames - 1));
  } else if ((document.activeElement || document.body).contains(lost)) lost.focus({ preventScroll: true });
}

// A front end renders an output anew whenever the kernel brings its picture up to date: then what was shown moves there, as it was.
export default () => {
  const all = new Set();
  return {
    render({ model, el }) {
      const homeless = [...all].find((each) => !each.box.isConnected);
      const mine = homeless || made(model);
      all.add(mine);
      el.appendChild(mine.box);
      if (homeless && homeless.focused) refocus(homeless.focused, 60);
      return () => {
        if (mine.box.parentElement !== el) return;
        all.delete(mine);
        mine.dispose();
      };
    },
  };
};

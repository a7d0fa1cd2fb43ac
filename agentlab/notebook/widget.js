/** One agent, live: name, state, what it does or waits for, what it used, what it asks; buttons to stop it and to answer. */
function part(parent, tag, style) {
  const node = document.createElement(tag);
  node.style.cssText = style || "";
  parent.appendChild(node);
  return node;
}

function render({ model, el }) {
  const box = part(
    el,
    "div",
    "display:inline-flex;flex-wrap:wrap;gap:0 .8em;align-items:baseline;padding:.3em .7em;max-width:100%;" +
      "border:1px solid var(--jp-border-color2,#bbb);border-radius:4px;color:var(--jp-ui-font-color1,inherit);" +
      "font-size:var(--jp-ui-font-size1,13px)",
  );
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
  let drawn = null;

  // Made anew only for another question: a button must not vanish under the pointer because a second has passed.
  function ask(question) {
    const now = JSON.stringify(question || null);
    if (now === drawn) return;
    drawn = now;
    asked.replaceChildren();
    if (!question) return;
    asked.setAttribute("role", "group");
    asked.setAttribute("aria-label", "question");
    part(asked, "strong").textContent = question.question;
    part(asked, "div", faint).textContent = question.about;
    if (question.call) {
      part(asked, "pre", "max-height:16em;overflow:auto;margin:.2em 0;white-space:pre-wrap").textContent = question.call;
    }
    const all = [];
    for (const { label, ...said } of question.buttons) {
      const button = part(asked, "button", "font:inherit;cursor:pointer;margin-right:.5em");
      button.type = "button";
      button.textContent = label;
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
    box.setAttribute("aria-label", `agent ${state.name}`);
    name.textContent = state.name;
    kind.textContent = state.kind;
    status.textContent = `${state.icon} ${state.status}`;
    what.textContent = state.what;
    bounds.textContent = state.bounds;
    usage.textContent = state.usage;
    time.textContent = state.time;
    stop.textContent = state.stopping ? "Stop now" : "Stop";
    stop.title = state.stopping ? "Kill it, without asking" : "Ask it to stop; its locks are freed";
    stop.disabled = false;
    ask(state.question);
  }

  const click = () => {
    model.send({ do: model.get("state").stopping ? "stop now" : "stop" });
    stop.disabled = true;
  };
  stop.addEventListener("click", click);
  model.on("change:state", draw);
  model.on("change:problem", complain);
  draw();
  complain();
  return () => {
    model.off("change:state", draw);
    model.off("change:problem", complain);
  };
}

export default { render };

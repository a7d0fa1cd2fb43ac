/** One agent, live: name, state, what it does or waits for, what it used, and a button that asks it to stop. */
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
  const usage = part(box, "span", faint);
  const time = part(box, "span", faint);
  const stop = part(box, "button", "font:inherit;cursor:pointer");
  stop.type = "button";

  function draw() {
    const state = model.get("state");
    box.setAttribute("aria-label", `agent ${state.name}`);
    name.textContent = state.name;
    kind.textContent = state.kind;
    status.textContent = `${state.icon} ${state.status}`;
    what.textContent = state.what;
    usage.textContent = state.usage;
    time.textContent = state.time;
    stop.textContent = state.stopping ? "Stop now" : "Stop";
    stop.title = state.stopping ? "Kill it, without asking" : "Ask it to stop; its locks are freed";
    stop.disabled = false;
  }

  const click = () => {
    model.send({ do: model.get("state").stopping ? "stop now" : "stop" });
    stop.disabled = true;
  };
  stop.addEventListener("click", click);
  model.on("change:state", draw);
  draw();
  return () => model.off("change:state", draw);
}

export default { render };

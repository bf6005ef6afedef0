// The panel of one trial: its spec, drawing, measurements and learning curve.

const panel = document.getElementById("panel"), body = document.getElementById("panel-body");
let opened = null;

function element(name, text, attributes) {
  const made = document.createElement(name);
  if (text !== undefined && text !== null) made.textContent = text;
  for (const [key, value] of Object.entries(attributes || {})) made.setAttribute(key, value);
  return made;
}

function openTrial(number) {
  const trial = trials.get(number);
  if (!trial) return;
  opened = trial;
  document.getElementById("panel-title").textContent =
    `Trial ${trial.n}: ${trial.baseline === null ? trial.family || trial.state : "baseline " + trial.baseline}`;
  body.replaceChildren(...remarks(trial), columns(trial), ...learned(trial), ...spec(trial));
  if (!panel.open) panel.showModal();
  panel.scrollTop = 0;
  drawCourse();
}

function remarks(trial) {
  const found = [element("p", trial.words)];
  if (trial.state !== "complete") found.push(element("p", `${trial.state}${trial.message ? ": " + trial.message : ""}`));
  else if (trial.message) found.push(element("p", trial.message));
  if (trial.copied !== null) found.push(element("p", `The same run as trial ${trial.copied}, whose numbers it bears.`));
  return found;
}

function columns(trial) {
  const grid = element("div", null, { class: "panel-grid" }), left = element("div"), right = element("div");
  const list = element("dl", null, { class: "measured" });
  for (const [name, value] of [...trial.measured, ["arch hash", trial.arch], ["run hash", trial.run]]) {
    list.append(element("dt", name), element("dd", value));
  }
  left.append(element("h3", "Measurements"), list);
  const picture = element("div", null, { class: "scroll drawing", tabindex: "0", role: "group" });
  picture.innerHTML = study.drawings[trial.drawing]; // written by archsearch, every text in it escaped
  right.append(element("h3", "Architecture"), picture);
  grid.append(left, right);
  return grid;
}

function learned(trial) {
  if (!trial.tokens.length) return [];
  const label = "Plot: terms of the loss over tokens trained on.";
  return [element("h3", "Learning curve"), element("div", null, { class: "plot", "data-figure": "panel", role: "img", "aria-label": label })];
}

function drawCourse() {
  const place = body.querySelector(".plot");
  if (!place || !opened) return;
  const made = course(colours(), opened);
  Plotly.react(place, made.traces, made.layout, settings);
}

function spec(trial) {
  const head = element("div", null, { class: "spec-head" }), copy = element("button", "Copy", { type: "button" });
  const said = element("span", "", { class: "said", role: "status" });
  const text = element("pre", trial.spec, { tabindex: "0", id: "panel-spec", "aria-label": "Spec (YAML)" });
  copy.addEventListener("click", async () => { said.textContent = (await copied(text)) ? "copied" : "select the text and copy it"; });
  head.append(element("h3", "Spec (YAML)"), copy, said);
  return [head, text];
}

async function copied(element) {
  try {
    await navigator.clipboard.writeText(element.textContent);
    return true;
  } catch {
    // No clipboard for pages from disk in this browser: select the text, and let the old way try.
    const range = document.createRange();
    range.selectNodeContents(element);
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    return document.execCommand("copy");
  }
}

panel.addEventListener("click", (event) => {
  if (event.target === panel || event.target.closest("[data-close]")) panel.close();
});
panel.addEventListener("close", () => {
  body.querySelectorAll(".plot").forEach((place) => Plotly.purge(place));
  body.replaceChildren();
  opened = null;
});

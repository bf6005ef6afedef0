// Puts the page together: draws plots when they come near, opens trials, hides series, follows the reader's colour scheme.

const hidden = new Map(Object.keys(figures).map((name) => [name, new Set()]));
const drawn = new Set();

function draw(place) {
  const name = place.dataset.figure, made = figures[name](colours()), off = hidden.get(name);
  for (const trace of made.traces) {
    if (trace.meta && off.has(trace.meta)) trace.visible = false;
    if (trace.keys) trace.marker.opacity = trace.keys.map((key) => (off.has(key) ? 0 : 1));
    delete trace.keys;
  }
  Plotly.react(place, made.traces, made.layout, settings);
  if (!drawn.has(place)) {
    drawn.add(place);
    place.on("plotly_click", (event) => {
      const number = event.points.map((point) => point.customdata).find((value) => value !== undefined && value !== null);
      if (number !== undefined) openTrial(number);
    });
  }
}

const near = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (entry.isIntersecting) {
      near.unobserve(entry.target);
      draw(entry.target);
    }
  }
}, { rootMargin: "400px" });
document.querySelectorAll("main .plot").forEach((place) => near.observe(place));

document.addEventListener("click", (event) => {
  const key = event.target.closest("button[data-series]");
  if (key) {
    const shown = key.getAttribute("aria-pressed") !== "true", off = hidden.get(key.dataset.figureOf);
    key.setAttribute("aria-pressed", String(shown));
    if (shown) off.delete(key.dataset.series);
    else off.add(key.dataset.series);
    const place = document.querySelector(`.plot[data-figure="${key.dataset.figureOf}"]`);
    if (drawn.has(place)) draw(place);
    return;
  }
  const scale = event.target.closest("button[data-log]");
  if (scale) {
    logFvu.on = !logFvu.on;
    scale.setAttribute("aria-pressed", String(logFvu.on));
    draw(document.querySelector('.plot[data-figure="front"]'));
    return;
  }
  const row = event.target.closest("tr[data-row]");
  if (row && !getSelection().toString()) openTrial(Number(row.dataset.row));
});

// Up and down go from row to row, for those who came by keyboard.
document.addEventListener("keydown", (event) => {
  const row = document.activeElement?.matches("button[data-trial]") ? document.activeElement.closest("tr") : null;
  const step = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" }[event.key];
  const button = row && step && row[step]?.querySelector("button[data-trial]");
  if (button) {
    event.preventDefault();
    button.focus();
  }
});

function redraw() {
  drawn.forEach(draw);
  drawCourse();
}
dark.addEventListener("change", redraw);
window.addEventListener("beforeprint", () => document.querySelectorAll("main .plot").forEach(draw));

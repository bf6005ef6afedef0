// What each plot shows: functions of the colours that return plotly's traces and layout.

const narrow = () => window.innerWidth < 700;

function layout(c, x, y, extra) {
  const axis = { gridcolor: c.grid, linecolor: c.line, zeroline: false, ticks: "outside", tickcolor: c.line, automargin: !narrow() };
  const titled = (text) => ({ text, font: { color: c.muted, size: 13 }, standoff: 8 });
  return {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: "system-ui, sans-serif", size: 13, color: c.ink },
    xaxis: { ...axis, ...x, title: titled(x.title) }, yaxis: { ...axis, ...y, title: titled(y.title) },
    margin: { l: narrow() ? 54 : 60, r: 12, t: 8, b: 48 }, showlegend: false, hovermode: "closest", hoverdistance: 24,
    hoverlabel: { bgcolor: c.surface, bordercolor: c.line, font: { color: c.ink, size: 13 }, align: "left" },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: c.muted, activecolor: c.accent },
    dragmode: touch.matches ? false : "zoom", ...extra,
  };
}

const settings = { responsive: true, displaylogo: false, scrollZoom: false, doubleClick: "reset", displayModeBar: touch.matches ? false : "hover",
  modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]] };

const l0Axis = (range) => ({ type: "log", range: range.map(Math.log10), tickvals: study.ticks.map((tick) => tick[0]),
  ticktext: study.ticks.map((tick) => tick[1]), title: "effective L0 (latents on per token)" });

// From zero, or in logarithms: there, equal shares of FVU are equal heights, and baselines run straight between their points.
function fvuAxis(members) {
  if (!logFvu.on) return { title: "FVU (lower is better)", range: study.ylim };
  const shown = [...members, ...Object.values(study.curves).flat().map((n) => trials.get(n))];
  const low = Math.min(...shown.filter((t) => t.x >= study.xlim[0] && t.x <= study.xlim[1] && t.y > 0).map((t) => t.y), study.ylim[1] / 2);
  const marks = [0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1];
  return { title: "FVU (log scale, lower is better)", type: "log", range: [low / 1.15, study.ylim[1]].map(Math.log10), tickvals: marks, ticktext: marks.map(String) };
}
const logFvu = { on: false };

const keyOf = (trial) => (trial.baseline === null ? "search:" : "baseline:") + trial.series;

function told(trial) {
  const who = trial.baseline === null ? `trial ${trial.n}` : `trial ${trial.n}, baseline ${escaped(trial.baseline)}`;
  const numbers = trial.measured.slice(0, 4).map(([name, value]) => `${escaped(name)} ${escaped(value)}`).join("<br>");
  return `<b>${who}</b><br>${folded(trial.words, narrow() ? 36 : 60)}<br>${numbers}`;
}

function points(members) {
  return { type: "scatter", x: members.map((t) => t.x), y: members.map((t) => t.y), customdata: members.map((t) => t.n),
    text: members.map(told), hovertemplate: "%{text}<extra></extra>" };
}

function front(c) {
  const drawn = study.trials.filter((trial) => trial.x !== null && trial.x > 0);
  const traces = [];
  study.series.forEach((series, index) => {
    const colour = c.series(series.colour), open = series.symbol + "-open";
    const mine = drawn.filter((trial) => trial.series === index);
    const add = (members, key, look) => members.length && traces.push({ ...points(members), mode: "markers", meta: key, ...look });
    const searched = mine.filter((trial) => trial.baseline === null);
    add(searched.filter((trial) => !trial.inside), "search:" + index, { marker: { symbol: open, size: 7, color: withAlpha(colour, 0.45) } });
    add(searched.filter((trial) => trial.inside), "search:" + index, { marker: { symbol: series.symbol, size: 9, color: withAlpha(colour, 0.6) } });
    const tried = mine.filter((trial) => trial.baseline !== null);
    add(tried, "baseline:" + index, { marker: { symbol: open, size: 8, color: withAlpha(colour, 0.6) } });
    const curve = (study.curves[series.name] || []).map((n) => trials.get(n));
    add(curve, "baseline:" + index, { mode: "lines+markers", line: { color: colour, width: 2, dash: "dash" },
      marker: { symbol: open, size: 10, color: colour, line: { width: 2 } } });
  });
  const members = study.front.map((n) => trials.get(n));
  if (members.length) {
    const last = members[members.length - 1];
    traces.push({ type: "scatter", mode: "lines", x: [...members.map((t) => t.x), study.band[1]], y: [...members.map((t) => t.y), last.y],
      line: { color: c.ink, width: 2.2, shape: "hv" }, hoverinfo: "skip" });
    const own = members.map((t) => c.series(study.series[t.series].colour)), base = members.map((t) => t.baseline !== null && !t.cut);
    traces.push({ ...points(members), mode: "markers", keys: members.map(keyOf), marker: { size: 12, symbol: members.map((t) => study.series[t.series].symbol),
      color: own.map((colour, i) => (base[i] || members[i].cut ? c.page : colour)), line: { color: own.map((colour, i) => (base[i] ? colour : c.ink)), width: 2 } } });
  }
  const edge = { type: "line", yref: "paper", y0: 0, y1: 1, line: { color: c.muted, width: 1, dash: "dot" }, layer: "below" };
  const shapes = study.band.map((x) => ({ ...edge, x0: x, x1: x }));
  return { traces, layout: layout(c, l0Axis(study.xlim), fvuAxis(members), { shapes }) };
}

function volume(c) {
  const found = study.volume, millions = (tokens) => tokens / 1e6;
  const traces = [{ type: "scatter", mode: "lines", x: found.tokens.map(millions), y: found.reached, line: { color: c.ink, width: 2.4, shape: "hv" },
    hovertemplate: "%{x:.3g}M tokens: %{y:.4f}<extra></extra>" }];
  const shapes = [], annotations = [];
  if (found.baselines !== null) {
    const line = { type: "line", line: { color: c.accent, width: 1.6, dash: "dash" }, layer: "below" };
    shapes.push({ ...line, xref: "paper", x0: 0, x1: 1, y0: found.baselines, y1: found.baselines });
    annotations.push({ xref: "paper", x: 1, y: found.baselines, xanchor: "right", yanchor: "top", text: "baselines alone", showarrow: false,
      font: { color: c.accent, size: 12 } });
    shapes.push({ ...line, yref: "paper", y0: 0, y1: 1, x0: millions(found.baselineTokens), x1: millions(found.baselineTokens),
      line: { color: c.muted, width: 1, dash: "dot" } });
  }
  // The first trials rise from nothing; what matters is how the rest of the study adds to it.
  const best = Math.max(...found.reached), late = found.reached.filter((v, i) => i >= found.reached.length / 20 && v > 0);
  const low = Math.min(...late, found.baselines ?? best), room = Math.max((best - low) * 0.08, 1e-4);
  return { traces, layout: layout(c, { title: "tokens trained on, all SAEs together (millions)", rangemode: "tozero" },
    { title: "hypervolume (higher is better)", range: [low - room, best + room] }, { shapes, annotations }) };
}

function learning(c) {
  const traces = study.learning.map((n) => {
    const trial = trials.get(n), series = study.series[trial.series];
    return { type: "scatter", mode: "lines", x: trial.tokens.map((t) => t / 1e6), y: trial.terms[trial.main], meta: keyOf(trial),
      customdata: trial.tokens.map(() => trial.n), line: { color: c.series(series.colour), width: 1.8, dash: trial.baseline === null ? "solid" : "dash" },
      text: trial.tokens.map(() => told(trial)), hovertemplate: "%{text}<br>loss %{y:.4g} after %{x:.3g}M tokens<extra></extra>" };
  });
  return { traces, layout: layout(c, { title: "tokens trained on (millions)", rangemode: "tozero" }, { title: "loss (log scale)", type: "log" }) };
}

function confirm(c) {
  const traces = [];
  study.confirm.forEach((contender, index) => contender.seeds.forEach((seed, place) => traces.push({
    type: "scatter", mode: "lines+markers", x: seed.map((p) => p[0]), y: seed.map((p) => p[1]), meta: "contender:" + index,
    line: { color: withAlpha(c.series(contender.colour), 0.55), width: 1.4, dash: contender.baseline ? "dash" : "solid" },
    marker: { symbol: contender.symbol + (contender.baseline ? "-open" : ""), size: 8, color: c.series(contender.colour) },
    hovertemplate: `<b>${folded(contender.name, 50)}</b>, seed ${place + 1} of ${contender.seeds.length}<br>effective L0 %{x:.1f}<br>FVU %{y:.4f}<extra></extra>`,
  })));
  const all = traces.flatMap((trace) => trace.x), range = all.length ? [Math.min(...all) / 1.2, Math.max(...all) * 1.2] : study.xlim;
  return { traces, layout: layout(c, l0Axis(range), { title: "FVU (log scale, lower is better)", type: "log" }) };
}

function course(c, trial) {
  const traces = Object.entries(trial.terms).map(([name, values], index) => ({ type: "scatter", mode: "lines+markers", name,
    x: trial.tokens.map((t) => t / 1e6), y: values, line: { color: c.series(index % 11), width: 2 },
    marker: { size: 6, symbol: ["circle", "square", "diamond", "triangle-up", "cross"][index % 5] },
    hovertemplate: `${escaped(name)} %{y:.4g} after %{x:.3g}M tokens<extra></extra>` }));
  const positive = traces.every((trace) => trace.y.every((value) => value === null || value > 0));
  return { traces, layout: layout(c, { title: "tokens trained on (millions)", rangemode: "tozero" },
    { title: positive ? "term of the loss (log scale)" : "term of the loss", type: positive ? "log" : "linear" },
    { showlegend: true, legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 }, margin: { l: 52, r: 12, t: 34, b: 46 } }) };
}

const figures = { front, volume, learning, confirm };

"use strict";
// The study as plain data, and the colours of the scheme the reader's system asks for.

const study = JSON.parse(document.getElementById("study-data").textContent);
const trials = new Map(study.trials.map((trial) => [trial.n, trial]));
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const touch = window.matchMedia("(pointer: coarse)");

function colours() {
  const style = getComputedStyle(document.documentElement);
  const read = (name) => style.getPropertyValue("--" + name).trim();
  return { page: read("page"), ink: read("ink"), muted: read("muted"), line: read("line"), grid: read("grid"),
    surface: read("surface"), accent: read("accent"), series: (index) => read("s" + index) };
}

// Plotly reads a little HTML in texts; nothing of a study is meant as any.
const escaped = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

function folded(text, columns) {
  const lines = [""];
  for (const word of String(text).split(" ")) {
    const last = lines.length - 1;
    if (lines[last] && lines[last].length + word.length + 1 > columns) lines.push(word);
    else lines[last] += (lines[last] ? " " : "") + word;
  }
  return lines.map(escaped).join("<br>");
}

function withAlpha(colour, alpha) {
  const value = parseInt(colour.slice(1), 16);
  return `rgba(${value >> 16}, ${(value >> 8) & 255}, ${value & 255}, ${alpha})`;
}

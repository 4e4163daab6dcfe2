"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const root = document.documentElement;
root.classList.add("scripted");

function make(tag, attributes = {}, text = "") {
  const space = tag === "svg" || make.shapes.has(tag) ? "http://www.w3.org/2000/svg" : null;
  const node = space ? document.createElementNS(space, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text !== "") node.textContent = text;
  return node;
}
make.shapes = new Set(["path", "line", "circle", "text", "g"]);

// --- Numbers -----------------------------------------------------------------------------

function stepsText(value) {
  if (value >= 1e6) return `${+(value / 1e6).toPrecision(4)}M`;
  return value >= 1e3 ? `${+(value / 1e3).toPrecision(4)}k` : `${+value.toPrecision(4)}`;
}

function timeText(seconds) {
  if (seconds < 120) return `${+seconds.toPrecision(3)} s`;
  return seconds < 7200 ? `${+(seconds / 60).toPrecision(3)} min` : `${+(seconds / 3600).toPrecision(3)} h`;
}

function roundTicks(end, unit = 1, start = 0) {
  const span = (end - start) / unit / 5;
  const power = 10 ** Math.floor(Math.log10(span));
  const step = [1, 2, 5, 10].find((factor) => factor * power >= span) * power * unit;
  const first = Math.ceil(start / step - 1e-9);
  const count = Math.floor(end / step + 1e-9) - first + 1;
  return Array.from({ length: count }, (_, index) => (first + index) * step);
}

const timeUnit = (end) => (end < 120 ? 1 : end < 7200 ? 60 : 3600);
const axes = {
  steps: { x: (curve) => curve.steps, text: stepsText, unit: () => 1, of: "steps" },
  seconds: { x: (curve) => curve.seconds, text: timeText, unit: timeUnit, of: "wall-clock" },
  evaluations: {
    x: (curve, group) => curve.steps.map((step) => step * group.perAction),
    text: stepsText,
    unit: () => 1,
    of: "evaluations",
  },
};

// --- Learning curves ---------------------------------------------------------------------

const frame = { width: 360, height: 230, left: 40, right: 14, top: 8, bottom: 24 };
const choice = { hidden: new Set(), view: "bands", axis: "steps", mode: data.mode, fit: false };

/** Returns the lines to draw for one task: points, band if any, and how to call them. */
function linesOf(task) {
  const axis = axes[choice.axis];
  const groups = data.curves.filter(
    (group) => group.task === task && group.mode === choice.mode && !choice.hidden.has(group.algorithm),
  );
  return groups.flatMap((group) => {
    const algorithm = data.algorithms[group.algorithm];
    if (choice.view === "bands") {
      if (!group.mean.length) return [];
      const n = `n = ${group.count}`;
      return [{ algorithm, x: axis.x(group, group), y: group.mean, low: group.low, high: group.high, n }];
    }
    return group.runs.map((run) => ({ algorithm, x: axis.x(run, group), y: run.y, n: run.label }));
  });
}

function dashes(algorithm, scale = 1.6) {
  return algorithm.dash.map((length) => length * scale).join(" ");
}

/** Returns a piece of an algorithm's line, long enough to show its dash once. */
function sampleOf(algorithm) {
  const period = 1.6 * algorithm.dash.reduce((sum, length) => sum + length, 0);
  const width = Math.max(26, Math.ceil(period));
  const sample = make("svg", { class: "sample", width, height: 8, "aria-hidden": "true" });
  const stroke = { stroke: algorithm.colour, "stroke-width": 3, "stroke-dasharray": dashes(algorithm) };
  sample.append(make("line", { x1: 0, x2: width, y1: 4, y2: 4, ...stroke }));
  return sample;
}

function pathThrough(points) {
  return points.map(([x, y], index) => `${index ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");
}

/** Returns the ends of the axis of returns: the task's bounds, or what the lines need. */
function returnRange(panel, lines) {
  const bounds = data.bounds[panel.task];
  if (bounds && !choice.fit) return bounds;
  const low = Math.min(0, ...lines.flatMap((line) => [...line.y, ...(line.low || [])]));
  const high = Math.max(low < 0 ? 0 : 1, ...lines.flatMap((line) => [...line.y, ...(line.high || [])]));
  return [low * 1.05, high * 1.05];
}

function drawPanel(panel) {
  const lines = linesOf(panel.task);
  const end = Math.max(1e-9, ...lines.flatMap((line) => line.x));
  const [floor, top] = returnRange(panel, lines);
  const { width, height, left, right, bottom } = frame;
  const sx = (x) => left + (x / end) * (width - left - right);
  const sy = (y) => height - bottom - ((y - floor) / (top - floor)) * (height - bottom - frame.top);
  panel.svg.replaceChildren();
  const add = (tag, attributes, text) => panel.svg.appendChild(make(tag, attributes, text));
  for (const y of roundTicks(top, 1, floor)) {
    add("line", { class: "grid", x1: left, x2: width - right, y1: sy(y), y2: sy(y) });
    add("text", { x: left - 5, y: sy(y) + 4, "text-anchor": "end" }, `${+y.toPrecision(3)}`);
  }
  const axis = axes[choice.axis];
  for (const x of roundTicks(end, axis.unit(end))) {
    add("text", { x: sx(x), y: height - 7, "text-anchor": "middle" }, x ? axis.text(x) : "0");
  }
  for (const line of lines) {
    const at = (values) => values.map((y, index) => [sx(line.x[index]), sy(y)]);
    const { colour } = line.algorithm;
    if (line.low) {
      const outline = pathThrough([...at(line.low), ...at(line.high).reverse()]);
      add("path", { d: `${outline}Z`, fill: colour, "fill-opacity": 0.18, class: "band" });
    }
    const stroke = { stroke: colour, "stroke-width": line.low ? 2 : 1.3, fill: "none" };
    const dash = { "stroke-dasharray": dashes(line.algorithm), class: "curve" };
    add("path", { d: pathThrough(at(line.y)), ...stroke, ...dash });
  }
  panel.cursor = add("g", {});
  Object.assign(panel, { lines, end, sx, sy });
}

function nearest(values, wanted) {
  let best = 0;
  values.forEach((value, index) => {
    if (Math.abs(value - wanted) < Math.abs(values[best] - wanted)) best = index;
  });
  return best;
}

/** Shows what every visible line is near x, in a box beside the cursor. */
function pointAt(panel, x) {
  panel.x = x;
  panel.cursor.replaceChildren();
  const { sx, sy } = panel;
  const bar = { class: "cursor", x1: sx(x), x2: sx(x), y1: frame.top, y2: frame.height - frame.bottom };
  panel.cursor.append(make("line", bar));
  const table = make("table");
  const words = [];
  for (const line of panel.lines) {
    const index = nearest(line.x, x);
    const { colour, name } = line.algorithm;
    panel.cursor.append(make("circle", { cx: sx(line.x[index]), cy: sy(line.y[index]), r: 3, fill: colour }));
    const band = line.low ? ` [${line.low[index].toFixed(1)}, ${line.high[index].toFixed(1)}]` : "";
    const value = `${line.y[index].toFixed(1)}${band}`;
    const row = table.insertRow();
    row.insertCell().append(sampleOf(line.algorithm));
    row.append(make("td", { class: "name" }, name));
    row.append(make("td", { class: "number" }, value), make("td", {}, line.n));
    words.push(`${name} ${value}`);
  }
  const axis = axes[choice.axis];
  const where = `${panel.taskName}, ${axis.text(x)} ${axis.of}`;
  panel.tip.replaceChildren(make("strong", {}, where), table);
  panel.tip.hidden = false;
  placeTip(panel, sx(x) / frame.width);
  return `${where}: ${words.join("; ")}`;
}

/** Puts the box to the right of the cursor if the window has room there, else to the left, and
 * higher than usual if it would end below the window. */
function placeTip(panel, share) {
  const box = panel.svg.getBoundingClientRect();
  const width = panel.tip.offsetWidth;
  const cursor = share * box.width;
  const fits = box.left + cursor + width + 16 < root.clientWidth;
  panel.tip.style.left = `${Math.max(4 - box.left, fits ? cursor + 12 : cursor - 12 - width)}px`;
  panel.tip.style.top = "";
  const place = panel.tip.getBoundingClientRect();
  const lift = Math.min(place.bottom + 4 - root.clientHeight, place.top - 4);
  if (lift > 0) panel.tip.style.top = `${panel.tip.offsetTop - lift}px`;
}

function leave(panel) {
  panel.cursor.replaceChildren();
  panel.tip.hidden = true;
}

function followPointer(panel, event) {
  const box = panel.svg.getBoundingClientRect();
  const at = ((event.clientX - box.left) / box.width) * frame.width;
  const share = (at - frame.left) / (frame.width - frame.left - frame.right);
  const points = panel.lines.flatMap((line) => line.x);
  if (points.length) pointAt(panel, points[nearest(points, share * panel.end)]);
}

function followKeys(panel, event) {
  const points = [...new Set(panel.lines.flatMap((line) => line.x))].sort((a, b) => a - b);
  if (event.key === "Escape") leave(panel);
  const here = nearest(points, panel.x ?? 0);
  const goal = { ArrowLeft: here - 1, ArrowRight: here + 1, Home: 0, End: points.length - 1 }[event.key];
  if (goal === undefined || !points.length) return;
  event.preventDefault();
  byId("readout").textContent = pointAt(panel, points[Math.min(Math.max(goal, 0), points.length - 1)]);
}

function makePanel(taskName, task) {
  const box = make("div", { class: "panel" });
  const label = `${taskName}: learning curves; arrow keys read values off`;
  const view = `0 0 ${frame.width} ${frame.height}`;
  const svg = make("svg", { viewBox: view, tabindex: 0, role: "application", "aria-label": label });
  const tip = make("div", { class: "tip", hidden: "" });
  box.append(make("h3", {}, taskName), svg, tip);
  byId("panels").append(box);
  const panel = { task, taskName, svg, tip };
  svg.addEventListener("pointermove", (event) => followPointer(panel, event));
  svg.addEventListener("pointerleave", () => leave(panel));
  svg.addEventListener("blur", () => leave(panel));
  svg.addEventListener("keydown", (event) => followKeys(panel, event));
  return panel;
}

function makeToggle(algorithm, index, redraw) {
  const button = make("button", { type: "button", "aria-pressed": "true" });
  button.append(sampleOf(algorithm), make("span", {}, algorithm.name));
  button.addEventListener("click", () => {
    const shown = choice.hidden.delete(index);
    if (!shown) choice.hidden.add(index);
    button.setAttribute("aria-pressed", shown);
    redraw();
  });
  byId("toggles").append(button);
}

function setUpCurves() {
  const panels = data.tasks.map(makePanel);
  const redraw = () => panels.forEach((panel) => {
    drawPanel(panel);
    leave(panel);
  });
  byId("panels").classList.toggle("few", panels.length === 1);
  data.algorithms.forEach((algorithm, index) => makeToggle(algorithm, index, redraw));
  for (const mode of data.modes) byId("mode").append(make("option", { value: mode }, mode));
  for (const name of ["view", "axis", "mode"]) {
    byId(name).value = choice[name];
    byId(name).addEventListener("change", (event) => {
      choice[name] = event.target.value;
      redraw();
    });
  }
  byId("fit").addEventListener("change", (event) => {
    choice.fit = event.target.checked;
    redraw();
  });
  redraw();
}

// --- Tables ------------------------------------------------------------------------------

function sortKey(cell) {
  return "value" in cell.dataset ? Number(cell.dataset.value) : cell.textContent;
}

/** Orders numbers before texts before nothing, whichever way numbers go. */
function compare(a, b, direction) {
  if (typeof a === "number" && typeof b === "number" && a !== b) return direction * (a - b);
  if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
  if (!a || !b) return (b ? 1 : 0) - (a ? 1 : 0);
  return direction * String(a).localeCompare(String(b), "en", { numeric: true });
}

function sortBy(table, column) {
  const header = table.tHead.rows[0].cells[column];
  const direction = header.getAttribute("aria-sort") === "ascending" ? -1 : 1;
  for (const cell of table.tHead.rows[0].cells) cell.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
  const keyed = [...table.tBodies[0].rows].map((row) => [sortKey(row.cells[column]), row]);
  keyed.sort(([a], [b]) => compare(a, b, direction));
  table.tBodies[0].append(...keyed.map(([, row]) => row));
}

function setUpTable(table) {
  [...table.tHead.rows[0].cells].forEach((header, column) => {
    header.querySelector("button").addEventListener("click", () => sortBy(table, column));
  });
  const body = table.tBodies[0];
  const traced = body.querySelector("[data-runs]");
  if (traced) traced.tabIndex = 0;
  body.addEventListener("click", (event) => showRuns(event.target.closest("[data-runs]")));
  body.addEventListener("keydown", (event) => moveInTable(event));
}

/** Arrow keys go from cell to cell, so that a table is one stop of the tab key. */
function moveInTable(event) {
  const cell = event.target.closest("td");
  if (!cell) return;
  if (event.key === "Enter") showRuns(cell.closest("[data-runs]"));
  const row = cell.parentElement;
  const goal = {
    ArrowLeft: cell.previousElementSibling,
    ArrowRight: cell.nextElementSibling,
    ArrowUp: row.previousElementSibling?.cells[cell.cellIndex],
    ArrowDown: row.nextElementSibling?.cells[cell.cellIndex],
  }[event.key];
  if (!goal) return;
  event.preventDefault();
  cell.tabIndex = -1;
  goal.tabIndex = 0;
  goal.focus();
}

// --- Which runs a number is from ---------------------------------------------------------

let cameFrom = null;

/** Expands "0-4,7" to [0, 1, 2, 3, 4, 7]. */
function runNumbers(text) {
  return text.split(",").flatMap((part) => {
    const [first, last = first] = part.split("-").map(Number);
    return Array.from({ length: last - first + 1 }, (_, index) => first + index);
  });
}

function showRuns(cell) {
  if (!cell) return;
  cameFrom = cell;
  const items = runNumbers(cell.dataset.runs).map((number) => {
    const item = make("li");
    item.append(make("a", { href: `#run-${number}` }, data.runs[number]));
    return item;
  });
  byId("trace-runs").replaceChildren(...items);
  byId("trace").hidden = false;
  byId("trace").focus();
}

function hideRuns() {
  if (byId("trace").hidden) return;
  byId("trace").hidden = true;
  cameFrom?.focus();
}

// --- Light and dark ----------------------------------------------------------------------

function setUpTheme() {
  const preferred = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : preferred.matches);
  const relabel = () => { byId("theme").textContent = isDark() ? "Light" : "Dark"; };
  byId("theme").addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    relabel();
  });
  preferred.addEventListener("change", relabel);
  relabel();
}

setUpTheme();
setUpCurves();
document.querySelectorAll("table.sortable").forEach(setUpTable);
byId("trace-close").addEventListener("click", hideRuns);
addEventListener("keydown", (event) => { if (event.key === "Escape") hideRuns(); });

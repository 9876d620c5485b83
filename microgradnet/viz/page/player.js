// Plays a recorded pass: the data is in the page, the layout is Graphviz's SVG, and every text is set as text.
"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const svg = document.querySelector("#graph > svg");
const SVG = "http://www.w3.org/2000/svg";
const last = data.steps.length - 1;
const state = { step: 0, chosen: 0, timer: null };

function make(tag, properties, ...children) {
  const element = document.createElement(tag);
  Object.assign(element, properties);
  element.append(...children.filter((child) => child !== null && child !== ""));
  return element;
}

function makeSvg(tag, attributes) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

// ---------------------------------------------------------------- numbers and colours

function text(number, digits = 4) {
  const value = Number(number);
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "nan" : value > 0 ? "∞" : "−∞";
  return String(Number(value.toPrecision(digits)) + 0).replace("-", "−").replace("e−", "e-");
}

const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const rgb = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
let scale;

function readColours() {
  scale = {
    heat: ["--low", "--zero", "--high"].map((name) => rgb(style(name))),
    image: ["#000000", "#000000", "#FFFFFF"].map(rgb),
    nan: rgb(style("--nan")),
  };
  const [low, zero, high] = scale.heat.map((c) => `rgb(${c})`);
  const bar = make("span", { className: "bar" });
  bar.style.background = `linear-gradient(90deg, ${low}, ${zero}, ${high})`;
  $("scale").replaceChildren("−max", bar, "+max of each array. An image of the data goes from black (0) to white.");
}

function colour(array, value) {
  if (Number.isNaN(value)) return scale.nan;
  const [low, zero, high] = array.image ? scale.image : scale.heat;
  const share = Math.max(-1, Math.min(1, array.largest ? value / array.largest : 0));
  const end = share < 0 ? low : high;
  return zero.map((c, i) => Math.round(c + (end[i] - c) * Math.abs(share)));
}

for (const array of data.arrays) {
  array.cells = array.cells.map(Number);
  array.largest = Math.max(0, ...array.cells.filter(Number.isFinite).map(Math.abs));
  array.small = array.shape.length <= 2 && array.cells.length <= 12 && array.grid[1] <= 6;
}

function painted(array) {
  const [rows, columns] = array.grid;
  const canvas = make("canvas", { width: columns, height: rows });
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(columns, rows);
  array.cells.forEach((value, i) => pixels.data.set([...colour(array, value), 255], 4 * i));
  context.putImageData(pixels, 0, 0);
  return canvas;
}

function place(array, row, column) {
  // What a cell of the grid shows, and its number.
  const [rows, columns] = array.grid;
  if (row < 0 || column < 0 || row >= rows || column >= columns) return "";
  const value = text(array.cells[row * columns + column], 6);
  const [high, wide] = array.block;
  if (array.image) {
    const edge = array.image[1] / wide;
    const tile = array.image[0] > 1 ? `image ${Math.floor(column / edge)}, ` : "";
    return `${tile}pixel [${row * high}, ${Math.floor(column % edge) * wide}] = ${value}`;
  }
  if (high > 1 || wide > 1) {
    const span = (start, size) => (size > 1 ? `${start * size}…` : String(start));
    return `around [${span(row, high)}, ${span(column, wide)}]: mean ${value}`;
  }
  const index = [];
  let rest = row;
  for (const size of array.shape.slice(0, -1).reverse()) { index.unshift(rest % size); rest = Math.floor(rest / size); }
  return `[${[...index, column].join(", ")}] = ${value}`;
}

function shapeText(shape) {
  return shape.length === 1 ? `(${shape[0]},)` : `(${shape.join(", ")})`;
}

function numberCell(array, row, column) {
  const value = array.cells[row * array.grid[1] + column];
  const cell = make(array.grid[0] === 1 ? "span" : "td", { title: place(array, row, column) }, text(value));
  cell.dataset.value = value;
  const c = colour(array, value);
  cell.style.background = `rgb(${c})`;
  cell.style.color = 0.3 * c[0] + 0.59 * c[1] + 0.11 * c[2] > 128 ? "#000" : "#fff";
  return cell;
}

function arrayView(index) {
  if (index === null) return make("span", { className: "faint" }, "not kept");
  const array = data.arrays[index];
  if (!array.shape.length) {
    const number = make("span", { className: "number" }, text(array.cells[0], 6));
    number.dataset.value = array.cells[0];
    return number;
  }
  const [rows, columns] = array.grid;
  const box = make("div", { className: "array" });
  if (array.cells.length && !array.note && !array.image && (rows === 1 ? columns <= 16 : columns <= 6 && rows <= 10)) {
    const table = make(rows === 1 ? "div" : "table", { className: "list" });
    for (let row = 0; row < rows; row++) {
      const line = rows === 1 ? table : table.insertRow();
      for (let column = 0; column < columns; column++) line.append(numberCell(array, row, column));
    }
    box.append(table);
    return box;
  }
  if (!array.cells.length) return make("span", { className: "faint" }, `empty ${shapeText(array.shape)}`);
  const canvas = painted(array);
  const size = Math.max(1, Math.min(array.image ? 6 : 12, Math.floor(380 / columns)));
  canvas.style.width = `${columns * size}px`;
  canvas.style.height = `${Math.max(rows * size, 10)}px`;
  canvas.addEventListener("pointermove", (event) => {
    const frame = canvas.getBoundingClientRect();
    const row = Math.floor(((event.clientY - frame.top) / frame.height) * rows);
    const column = Math.floor(((event.clientX - frame.left) / frame.width) * columns);
    tip(event, place(array, row, column));
  });
  canvas.addEventListener("pointerleave", () => { $("tip").hidden = true; });
  const [least, mean, greatest] = array.statistics;
  const facts = `${shapeText(array.shape)}  min ${text(least, 3)}  mean ${text(mean, 3)}  max ${text(greatest, 3)}`;
  box.append(canvas, make("div", { className: "facts" }, facts));
  if (array.note) box.append(make("div", { className: "facts" }, array.note));
  return box;
}

function tip(event, words) {
  const box = $("tip");
  box.hidden = !words;
  box.textContent = words;
  box.style.left = `${Math.min(event.clientX + 14, innerWidth - box.offsetWidth - 8)}px`;
  box.style.top = `${event.clientY + 16}px`;
}

// ---------------------------------------------------------------- the graph

const groups = new Map(); // node number → its group in the SVG
const cells = new Map(); // "3 value", "3 gradient" → {group, x, y, width, height, shown}

for (const node of data.nodes) {
  const group = document.getElementById(`n${node.number}`);
  groups.set(node.number, group);
  group.tabIndex = 0;
  group.setAttribute("role", "button");
  group.setAttribute("aria-label", `${node.title} ${node.shape}`.trim());
  group.addEventListener("click", () => { if (!moved) choose(node.number); });
  group.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    event.stopPropagation();
    choose(node.number);
  });
  for (const [kind, mark] of Object.entries(data.marks)) {
    const polygon = group.querySelector(`polygon[fill="${mark}"]`);
    if (!polygon) continue;
    const points = polygon.getAttribute("points").trim().split(/\s+/).map((point) => point.split(",").map(Number));
    const [xs, ys] = [points.map((point) => point[0]), points.map((point) => point[1])];
    const [x, y] = [Math.min(...xs), Math.min(...ys)];
    const cell = makeSvg("g", { class: `cell ${kind}` });
    polygon.replaceWith(cell);
    const box = { group: cell, x, y, width: Math.max(...xs) - x, height: Math.max(...ys) - y, shown: undefined };
    cells.set(`${node.number} ${kind}`, box);
    cell.addEventListener("pointermove", (event) => hover(event, box));
    cell.addEventListener("pointerleave", () => { $("tip").hidden = true; });
  }
}

// The arrow of an edge that a gradient goes back along.
const marker = makeSvg("marker", { id: "against", viewBox: "0 0 10 10", refX: 9, refY: 5, markerWidth: 5, markerHeight: 5, orient: "auto-start-reverse" });
marker.append(makeSvg("path", { d: "M 0 0 L 10 5 L 0 10 z" }));
svg.append(marker);

function hover(event, box) {
  if (box.shown === null || box.shown === undefined) return;
  const array = data.arrays[box.shown];
  if (array.small) return tip(event, array.cells.map((value) => text(value, 6)).slice(0, 12).join("  "));
  const frame = box.group.getBoundingClientRect();
  const row = Math.floor(((event.clientY - frame.top) / frame.height) * array.grid[0]);
  const column = Math.floor(((event.clientX - frame.left) / frame.width) * array.grid[1]);
  return tip(event, place(array, row, column));
}

function fill(key, index, partial) {
  const box = cells.get(key);
  if (!box) return;
  box.group.classList.toggle("partial", partial);
  if (box.shown === index) return;
  box.shown = index;
  const { x, y, width, height } = box;
  box.group.replaceChildren(makeSvg("rect", { x, y, width, height, rx: 2 }));
  if (index === null) return;
  const array = data.arrays[index];
  const [rows, columns] = array.grid;
  if (!array.small) {
    const href = painted(array).toDataURL();
    box.group.append(makeSvg("image", { x, y, width, height, href, preserveAspectRatio: "none" }));
    return;
  }
  const digits = array.cells.length > 1 ? 3 : 4;
  array.cells.forEach((value, i) => {
    const line = makeSvg("text", {
      x: x + (width * ((i % columns) + 1)) / columns - 4,
      y: y + (height * (Math.floor(i / columns) + 0.5)) / rows + 4,
      "text-anchor": "end",
    });
    line.textContent = text(value, digits);
    box.group.append(line);
  });
}

const edgeOf = (head, position, tail) => {
  const found = data.edges.findIndex((e) => e[1] === head && e[2] === position && (!tail || e[0] === tail));
  return found >= 0 ? found : data.edges.findIndex((e) => e[1] === head && e[0] === tail);
};

// ---------------------------------------------------------------- one step

function known(step) {
  // What is there after a step: the values that were computed, the gradients so far.
  const values = new Set(data.nodes.filter((node) => node.given).map((node) => node.number));
  const gradients = new Map();
  for (const { phase, node, gradient, parts } of data.steps.slice(0, step + 1)) {
    if (phase === "forward") values.add(node);
    if (phase !== "backward") continue;
    if (gradient !== null) gradients.set(node, { index: gradient, partial: false });
    for (const part of parts) {
      gradients.set(part.node, { index: part.total, partial: part.order < part.count });
    }
  }
  return { values, gradients };
}

function show(step) {
  state.step = Math.max(0, Math.min(last, step));
  const current = data.steps[state.step];
  const { values, gradients } = known(state.step);
  document.body.className = current.phase;
  document.body.dataset.step = state.step;
  const receivers = new Set(current.parts.map((part) => part.node));
  for (const node of data.nodes) {
    const group = groups.get(node.number);
    group.classList.remove("pointed");
    group.classList.toggle("pending", !values.has(node.number));
    group.classList.toggle("current", node.number === current.node);
    group.classList.toggle("receives", receivers.has(node.number) && node.number !== current.node);
    fill(`${node.number} value`, values.has(node.number) ? node.value : null, false);
    const gradient = gradients.get(node.number);
    fill(`${node.number} gradient`, gradient ? gradient.index : null, Boolean(gradient && gradient.partial));
  }
  const active = new Set();
  if (current.phase === "forward") data.edges.forEach((edge, i) => { if (edge[1] === current.node) active.add(i); });
  for (const part of current.parts) active.add(edgeOf(current.node, part.position, part.node));
  data.edges.forEach((_, i) => document.getElementById(`e${i + 1}`).classList.toggle("active", active.has(i)));
  $("slider").value = state.step;
  $("count").textContent = `${state.step} of ${last}`;
  $("phase").textContent = { given: "given", forward: "forward →", backward: "← backward" }[current.phase];
  $("now").replaceChildren(...explain(current));
  follow(current.node);
  if (state.chosen) choose(state.chosen);
}

const named = (number) => data.nodes[number - 1];

function link(number) {
  const node = named(number);
  const pointed = (on) => groups.get(number).classList.toggle("pointed", on);
  return make("button", {
    className: "link",
    onclick: () => choose(number),
    onmouseenter: () => pointed(true),
    onmouseleave: () => pointed(false),
  }, node.title);
}

const row = (name, ...what) => make("div", { className: "row" }, make("span", { className: "name" }, name), ...what);

function heading(node) {
  const where = node.modules.length ? make("span", { className: "faint small" }, `  in ${node.modules.join(" › ")}`) : "";
  const title = `${node.title} ${node.shape}`.trim();
  return make("div", {}, make("span", { className: "title" }, title), where);
}

function explain(current) {
  if (current.phase === "given") {
    const words = "What is given: inputs, parameters and constants. Play, or press → for one step.";
    return [make("div", { className: "title" }, data.title), make("p", {}, words)];
  }
  const node = named(current.node);
  return [heading(node), ...(current.phase === "forward" ? forward(node) : backward(node, current))];
}

function forward(node) {
  if (!node.formula) return [make("p", {}, ...node.lines.map((line) => make("div", {}, line)))];
  const settings = node.settings ? make("span", { className: "faint small" }, `  (${node.settings})`) : "";
  return [
    make("p", { className: "formula" }, node.formula, settings),
    ...node.arguments.map((argument) =>
      make("div", { className: "part" }, row(`${argument.name} is`, link(argument.node)), arrayView(named(argument.node).value)),
    ),
    row("y =", arrayView(node.value)),
  ];
}

function backward(node, current) {
  if (current.gradient === null) {
    return [make("p", {}, "What leaves this box, added up:"), ...current.parts.map((part) => handed(part))];
  }
  const arrives = node.arguments.length ? "g = ∂L/∂y arrives:" : `∂L/∂(${node.title}), all contributions:`;
  const out = [row(arrives, arrayView(current.gradient))];
  if (current.node === data.loss) out.push(make("p", { className: "faint small" }, "The pass starts here, with ∂L/∂L = 1."));
  if (!node.arguments.length) {
    out.push(make("p", {}, node.stores ? "backward() adds it to .grad." : "Nothing lies behind this node."));
  } else if (!current.parts.length) {
    out.push(make("p", {}, "Its arguments need no gradient."));
  }
  if (node.layer) out.push(row("δ of the layer:", make("span", { className: "formula" }, node.layer)));
  return [...out, ...current.parts.map((part) => handed(part, node))];
}

function handed(part) {
  const box = make("div", { className: "part" });
  box.append(make("div", {}, "to ", link(part.node), part.argument ? ` (its ${part.argument})` : ""));
  if (part.rule) box.append(make("div", { className: "formula" }, `∂L/∂${part.argument} = ${part.rule}`));
  if (part.local !== null) {
    const says = part.derivative && part.derivative !== "1" && part.derivative !== "−1";
    const words = `∂y/∂${part.argument}${says ? ` = ${part.derivative}` : ""} =`;
    box.append(row(`local derivative ${words}`, arrayView(part.local)));
  }
  box.append(row("hands over:", arrayView(part.handed)));
  if (part.count > 1) {
    box.append(make("div", { className: "small faint" }, `contribution ${part.order} of ${part.count} to ${named(part.node).title}`));
    if (part.before !== null) {
      const sum = make("div", { className: "sum" });
      sum.append(arrayView(part.before), "+", arrayView(part.handed), "=", arrayView(part.total));
      box.append(row("running sum there:", sum));
    } else {
      box.append(row("running sum there:", arrayView(part.total)));
    }
  }
  return box;
}

// ---------------------------------------------------------------- the chosen node

function choose(number) {
  state.chosen = number;
  for (const [other, group] of groups) group.classList.toggle("chosen", other === number);
  const node = named(number);
  const { values, gradients } = known(state.step);
  const gradient = gradients.get(number);
  const turns = ["forward", "backward"].map((phase) => {
    const step = data.steps.findIndex((s) => s.phase === phase && s.node === number);
    return step < 0 ? "" : make("button", { onclick: () => show(step) }, `its turn ${phase}`);
  });
  const lines = node.lines.map((line) => make("div", { className: "faint" }, line));
  $("node").dataset.node = number;
  $("node").replaceChildren(
    make("h2", {}, "Node: ", node.title),
    make("div", { className: "faint small" }, [node.role, node.shape, ...node.modules].filter(Boolean).join(" · ")),
    ...lines,
    node.formula ? row("operation:", make("span", { className: "formula" }, `${node.operation}: ${node.formula}`)) : "",
    node.boxed ? "" : row("value:", values.has(number) ? arrayView(node.value) : make("span", { className: "faint" }, "not computed yet")),
    ...(node.differentiable
      ? [row(`∂L/∂(${node.title})${gradient && gradient.partial ? " so far" : ""}:`, gradient ? arrayView(gradient.index) : make("span", { className: "faint" }, "no gradient yet"))]
      : []),
    node.layer ? row("δ of the layer:", make("span", { className: "formula" }, node.layer)) : "",
    node.source ? row("source:", make("code", {}, node.source)) : "",
    make("div", { className: "row" }, ...turns.filter(Boolean).flatMap((turn) => [turn, " "])),
  );
}

// ---------------------------------------------------------------- playing

function play(on) {
  clearInterval(state.timer);
  state.timer = null;
  if (on) {
    if (state.step === last) show(0);
    state.timer = setInterval(() => {
      show(state.step + 1);
      if (state.step === last) play(false);
    }, 1400 / Number($("speed").value));
  }
  $("play").textContent = on ? "‖ pause" : "▶ play";
}

const playing = () => state.timer !== null;
const go = (step) => { play(false); show(step); };
const begin = (phase) => Math.max(0, data.steps.findIndex((step) => step.phase === phase));

function faster(by) {
  const speed = $("speed");
  speed.selectedIndex = Math.max(0, Math.min(speed.options.length - 1, speed.selectedIndex + by));
  if (playing()) play(true);
}

// ---------------------------------------------------------------- pan and zoom

const whole = svg.viewBox.baseVal;
const full = { x: whole.x, y: whole.y, width: whole.width, height: whole.height };
let view = { ...full };
let drag = null;
let moved = false;

function look(next) {
  view = next;
  svg.setAttribute("viewBox", `${view.x} ${view.y} ${view.width} ${view.height}`);
}

function zoom(factor, at = { x: view.x + view.width / 2, y: view.y + view.height / 2 }) {
  const width = Math.max(40, Math.min(full.width * 3, view.width / factor));
  const by = width / view.width;
  look({ x: at.x - (at.x - view.x) * by, y: at.y - (at.y - view.y) * by, width, height: view.height * by });
}

function toGraph(event) {
  const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
  return { x: point.x, y: point.y };
}

function pixels() {
  return svg.getScreenCTM().a; // pixels per unit
}

function startView() {
  // The whole graph where its text is legible so, else a part of it, which follows the steps.
  look({ ...full });
  if (pixels() > 1.6) zoom(1.6 / pixels());
  if (pixels() < 0.6) zoom(0.85 / pixels(), { x: full.x + full.width / 2, y: full.y });
}

function follow(number) {
  if (!number) return;
  const [box, frame] = [groups.get(number).getBoundingClientRect(), svg.getBoundingClientRect()];
  const inside = box.left >= frame.left && box.right <= frame.right && box.top >= frame.top && box.bottom <= frame.bottom;
  if (inside) return;
  const unit = pixels();
  const dx = (box.left + box.width / 2 - (frame.left + frame.width / 2)) / unit;
  const dy = (box.top + box.height / 2 - (frame.top + frame.height / 2)) / unit;
  look({ ...view, x: view.x + dx, y: view.y + dy });
}

svg.addEventListener("wheel", (event) => {
  event.preventDefault();
  zoom(Math.exp(-event.deltaY / 500), toGraph(event));
}, { passive: false });
svg.addEventListener("pointerdown", (event) => { drag = { at: toGraph(event), x: event.clientX, y: event.clientY }; moved = false; });
addEventListener("pointermove", (event) => {
  if (!drag) return;
  if (Math.hypot(event.clientX - drag.x, event.clientY - drag.y) > 4) moved = true;
  if (!moved) return;
  svg.classList.add("dragging");
  const at = toGraph(event);
  look({ ...view, x: view.x + drag.at.x - at.x, y: view.y + drag.at.y - at.y });
});
addEventListener("pointerup", () => { drag = null; svg.classList.remove("dragging"); });

// ---------------------------------------------------------------- controls

function theme(next) {
  if (next === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = next;
  $("theme").textContent = `theme: ${next}`;
  readColours();
  for (const box of cells.values()) box.shown = undefined;
  show(state.step);
}

const nextTheme = () => theme({ "theme: auto": "light", "theme: light": "dark", "theme: dark": "auto" }[$("theme").textContent]);

function help(open) {
  $("keys").hidden = !open;
  $("help").setAttribute("aria-expanded", String(open));
}

const actions = {
  " ": () => play(!playing()),
  ArrowRight: () => go(state.step + 1),
  ArrowLeft: () => go(state.step - 1),
  ArrowUp: () => faster(1),
  ArrowDown: () => faster(-1),
  Home: () => go(0),
  End: () => go(last),
  f: () => go(begin("forward")),
  b: () => go(begin("backward")),
  "+": () => zoom(1.25),
  "=": () => zoom(1.25),
  "-": () => zoom(0.8),
  0: () => look({ ...full }),
  t: nextTheme,
  "?": () => help($("keys").hidden),
  Escape: () => help(false),
};

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || !Object.hasOwn(actions, event.key)) return;
  const at = document.activeElement.tagName;
  if (at === "SELECT" || (at === "BUTTON" && event.key === " ")) return; // theirs
  event.preventDefault();
  actions[event.key]();
});

$("first").onclick = actions.Home;
$("back").onclick = actions.ArrowLeft;
$("play").onclick = actions[" "];
$("step").onclick = actions.ArrowRight;
$("last").onclick = actions.End;
$("zoom-in").onclick = actions["+"];
$("zoom-out").onclick = actions["-"];
$("fit").onclick = actions[0];
$("theme").onclick = nextTheme;
$("help").onclick = actions["?"];
$("slider").max = last;
$("slider").oninput = () => go(Number($("slider").value));
$("speed").onchange = () => { if (playing()) play(true); };

$("jump").append(make("option", { value: "" }, "a node …"));
for (const node of data.nodes) {
  if (data.steps.some((step) => step.node === node.number)) {
    $("jump").append(make("option", { value: node.number }, `${node.number}  ${node.title}`));
  }
}
$("jump").onchange = () => {
  const number = Number($("jump").value);
  if (!number) return;
  const phase = data.steps[state.step].phase === "backward" ? "backward" : "forward";
  const turns = (wanted) => data.steps.findIndex((step) => step.node === number && step.phase === wanted);
  go(turns(phase) >= 0 ? turns(phase) : Math.max(turns("forward"), turns("backward")));
  choose(number);
  $("jump").value = "";
};

for (const [role, words] of data.legend) {
  const swatch = make("i", {});
  swatch.style.background = `var(--${role}-fill)`;
  swatch.style.borderColor = `var(--${role}-border)`;
  $("legend").append(make("span", {}, swatch, words));
}
$("notes").append(...data.notes.map((note) => make("p", {}, note)));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => theme(document.documentElement.dataset.theme || "auto"));

// page.html#step=5&node=3&theme=dark opens at a step.
const wanted = new URLSearchParams(location.hash.slice(1));
startView();
theme(wanted.get("theme") || "auto");
show(Number(wanted.get("step") || 0));
if (named(Number(wanted.get("node")))) choose(Number(wanted.get("node")));

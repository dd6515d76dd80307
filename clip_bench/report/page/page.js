"use strict";

const AXES = ["machine", "model", "tower", "target", "precision", "outcome"];
const FIRST = 100; // rows of a table before its reader asks for all: a page of many machines stays quick
const ABSENT = "-";

const { parts, records } = JSON.parse(document.getElementById("records").textContent);
const byId = (id) => document.getElementById(id);
const collator = new Intl.Collator("en", { numeric: true });

function element(tag, text, ...children) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  made.append(...children);
  return made;
}

const said = (cell) => cell?.textContent.trim() ?? "";

function recordOf(row) {
  const named = Object.entries(records[Number(row.dataset.record)]);
  return Object.fromEntries(named.map(([heading, index]) => [heading, parts[index]]));
}

/* Tables: their heads become buttons, their rows are read once. */

function readTable(table) {
  const heads = [...table.tHead.rows[0].cells];
  const rows = [...table.tBodies[0].rows].map((row) => {
    const cells = [...row.cells].map(said);
    const { cell } = recordOf(row);
    return { row, cells, cell, words: [...cells, ...Object.values(cell)].join("\n").toLowerCase() };
  });
  const more = element("button");
  more.type = "button";
  more.className = "more";
  const section = table.closest("section");
  section.append(more);
  const state = { table, heads, rows, more, section, limit: FIRST, fits: rows };
  state.plot = addPlot(state);
  heads.forEach((head, place) => {
    const button = element("button", undefined, ...head.childNodes);
    button.type = "button";
    head.append(button);
    button.addEventListener("click", () => order(state, place));
  });
  more.addEventListener("click", () => {
    state.limit = Infinity;
    show();
  });
  return state;
}

function addPlot(state) {
  const plot = element("details", undefined, element("summary", "Time against accuracy"), element("div"));
  plot.className = "plot";
  plot.addEventListener("toggle", () => draw(state));
  state.section.querySelector(".wide").before(plot);
  return plot;
}

function order(state, place) {
  const head = state.heads[place];
  const up = head.getAttribute("aria-sort") !== "ascending";
  const figures = head.classList.contains("n");
  const lacks = (text) => text === ABSENT || text === "";
  const compare = (one, other) => {
    const [a, b] = [one.cells[place], other.cells[place]];
    if (lacks(a) || lacks(b)) return lacks(a) - lacks(b);
    const sign = figures ? Number.parseFloat(a) - Number.parseFloat(b) : collator.compare(a, b);
    return up ? sign : -sign;
  };
  state.rows.sort(compare);
  for (const other of state.heads) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", up ? "ascending" : "descending");
  show();
}

/* Filters: kept in the address, so that a link shows what its sender saw. */

function addFilters() {
  return AXES.map((axis) => {
    const values = new Set(tables.flatMap(({ rows }) => rows.map(({ cell }) => cell[axis])));
    const select = element("select", undefined, new Option("all", ""));
    select.id = axis;
    select.append(...[...values].sort(collator.compare).map((value) => new Option(value, value)));
    byId("axes").append(element("label", `${axis[0].toUpperCase()}${axis.slice(1)} `, select));
    return select;
  });
}

function readAddress() {
  const kept = new URLSearchParams(location.hash.slice(1));
  for (const field of fields) field.value = kept.get(field.id) ?? "";
  for (const select of selects) if (select.selectedIndex < 0) select.value = "";
  show();
}

function changed() {
  const filled = fields.filter((field) => field.value);
  const told = new URLSearchParams(filled.map((field) => [field.id, field.value])).toString();
  history.replaceState(null, "", told ? `#${told}` : location.pathname + location.search);
  show();
}

function show() {
  const wanted = byId("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const chosen = selects.filter((select) => select.value);
  const holds = ({ cell, words }) =>
    chosen.every(({ id, value }) => cell[id] === value) && wanted.every((word) => words.includes(word));
  let found = 0;
  for (const state of tables) {
    const { table, rows, more, section, limit } = state;
    const fits = rows.filter(holds);
    state.fits = fits;
    draw(state);
    table.tBodies[0].replaceChildren(...fits.slice(0, limit).map(({ row }) => row));
    section.hidden = fits.length === 0;
    more.hidden = fits.length <= limit;
    more.textContent = `Show all ${fits.length} cells`;
    found += fits.length;
  }
  byId("count").textContent = `${found} of ${records.length} cells`;
  byId("none").hidden = found > 0;
}

/* Plots: of each model and data by itself: other accuracies are no rivals. */

const SPAN = { left: 52, right: 540, top: 14, bottom: 214 };

function drawn(tag, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function draw({ plot, fits }) {
  const points = fits.flatMap(({ row }) => {
    const { cell, timing, quality, boundary } = recordOf(row);
    const top1 = quality?.scores?.find(({ name }) => name === "top1");
    if (!timing?.p50_ms || !top1) return [];
    const kind = [cell.model, boundary?.data_sha256, top1.samples].join("\n");
    const name = [cell.target, cell.precision, cell.variant, cell.machine].filter(Boolean).join(" ");
    return [{ row, kind, name, samples: top1.samples, model: cell.model, x: timing.p50_ms, y: 100 * top1.value }];
  });
  plot.hidden = points.length < 3;
  if (!plot.open || plot.hidden) return;
  const kinds = [...new Set(points.map(({ kind }) => kind))];
  plot.lastElementChild.replaceChildren(...kinds.map((each) => scatter(points.filter(({ kind }) => kind === each))));
}

function scatter(points) {
  const [least, most] = [Math.min, Math.max].map((pick) => pick(...points.map(({ x }) => x)));
  const [worst, best] = [Math.min, Math.max].map((pick) => pick(...points.map(({ y }) => y)));
  const [slack, low, high] = [Math.max((best - worst) / 8, 0.2), Math.log(least / 1.15), Math.log(most * 1.15)];
  const across = (x) => SPAN.left + ((Math.log(x) - low) / (high - low)) * (SPAN.right - SPAN.left);
  const up = (y) => SPAN.bottom - ((y - worst + slack) / (best - worst + 2 * slack)) * (SPAN.bottom - SPAN.top);
  const svg = drawn("svg", { viewBox: "0 0 560 256", role: "img" });
  for (const x of ticks(least, most)) {
    svg.append(drawn("line", { class: "rule", x1: across(x), x2: across(x), y1: SPAN.top, y2: SPAN.bottom }));
    svg.append(drawn("text", { x: across(x), y: SPAN.bottom + 16, "text-anchor": "middle" }, String(x)));
  }
  for (const y of [worst, (worst + best) / 2, best]) {
    svg.append(drawn("line", { class: "rule", x1: SPAN.left, x2: SPAN.right, y1: up(y), y2: up(y) }));
    svg.append(drawn("text", { x: SPAN.left - 6, y: up(y) + 4, "text-anchor": "end" }, y.toFixed(1)));
    if (worst === best) break;
  }
  const byTime = points.toSorted((one, other) => one.x - other.x || other.y - one.y);
  const front = byTime.filter(({ y }, place) => byTime.slice(0, place).every((earlier) => earlier.y < y));
  svg.append(drawn("polyline", { class: "front", points: front.map(({ x, y }) => `${across(x)},${up(y)}`).join(" ") }));
  for (const point of byTime) {
    const title = drawn("title", {}, `${point.name}: ${point.x} ms, ${point.y.toFixed(1)} %`);
    const look = front.includes(point) ? "point ahead" : "point";
    const shape = drawn("circle", { class: look, cx: across(point.x), cy: up(point.y), r: 5 }, title);
    shape.addEventListener("click", () => openRecord(point.row));
    svg.append(shape);
  }
  svg.append(drawn("text", { class: "name", x: (SPAN.left + SPAN.right) / 2, y: 250, "text-anchor": "middle" }, "P50 (ms, logarithmic)"));
  const ahead = front.map(({ name }) => name).join("; ");
  const { model, samples } = points[0];
  const caption = `${model}: top-1 (%) over ${samples} samples against P50. Of these, nothing faster is as accurate as ${ahead}.`;
  svg.setAttribute("aria-label", caption);
  return element("figure", undefined, svg, element("figcaption", caption));
}

function ticks(least, most) {
  const made = [];
  for (let power = Math.floor(Math.log10(least)); power <= Math.log10(most); power += 1) {
    for (const digit of [1, 2, 5]) {
      const x = Number(`${digit}e${power}`);
      if (x >= least / 1.15 && x <= most * 1.15) made.push(x);
    }
  }
  return made;
}

/* Records: whatever a file says is put in as text. */

function told(value) {
  if (Array.isArray(value)) {
    return value.some((item) => typeof item === "object") ? grid(value) : element("span", value.join(", "));
  }
  return typeof value === "object" ? listed(value) : element("span", String(value));
}

function listed(fields) {
  const pairs = Object.entries(fields).flatMap(([name, value]) => [element("dt", name), element("dd", undefined, told(value))]);
  return element("dl", undefined, ...pairs);
}

function grid(items) {
  const names = [...new Set(items.flatMap(Object.keys))];
  const head = element("tr", undefined, ...names.map((name) => element("th", name)));
  const lines = items.map((item) =>
    element("tr", undefined, ...names.map((name) => element("td", undefined, name in item ? told(item[name]) : ABSENT)))
  );
  const table = element("table", undefined, element("thead", undefined, head), element("tbody", undefined, ...lines));
  const wide = element("div", undefined, table);
  wide.className = "wide";
  return wide;
}

function openRecord(row) {
  const link = row.querySelector("a");
  const record = recordOf(row);
  byId("case").textContent = record.cell.case;
  byId("file").textContent = `${record.cell.run}.json`;
  byId("file").href = link.getAttribute("href");
  byId("parts").replaceChildren(
    ...Object.entries(record).map(([heading, part]) => element("section", undefined, element("h3", heading), listed(part)))
  );
  byId("record").showModal();
  byId("record").scrollTop = 0;
}

function clicked(event) {
  const row = event.target.closest("tr[data-record]");
  const on = event.target.closest("td.n, .why, tr[data-record] a");
  if (!row || !on || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  event.preventDefault();
  openRecord(row);
}

const tables = [...document.querySelectorAll("table.cells")].map(readTable);
const selects = addFilters();
const fields = [byId("search"), ...selects];
const filters = byId("filters");
filters.addEventListener("input", changed);
filters.addEventListener("submit", (event) => event.preventDefault());
byId("clear").addEventListener("click", () => {
  for (const field of fields) field.value = "";
  changed();
});
addEventListener("hashchange", readAddress);
document.querySelector("main").addEventListener("click", clicked);
byId("close").addEventListener("click", () => byId("record").close());
byId("record").addEventListener("click", (event) => {
  if (event.target === byId("record")) byId("record").close();
});
for (const hint of document.querySelectorAll(".scripted")) hint.hidden = false;
filters.hidden = false;
document.documentElement.classList.add("live");
readAddress();

"use strict";

const AXES = ["machine", "model", "tower", "device", "target", "precision", "outcome"]; // those that the records have
const FIRST = 100; // rows of a table before its reader asks for all: a page of many machines stays quick
const ABSENT = "-";
const FEWEST = 3; // cells, of which a plot says something

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
    const record = recordOf(row);
    const { cell } = record;
    return { row, cells, cell, record, words: [...cells, ...Object.values(cell)].join("\n").toLowerCase() };
  });
  const more = element("button");
  more.type = "button";
  more.className = "more";
  const section = table.closest("section");
  section.append(more);
  const state = { table, heads, rows, more, section, limit: FIRST, fits: rows };
  state.plots = Object.entries(PLOTS).map(([title, figures]) => addPlot(state, title, figures));
  addOrder(state, show);
  more.addEventListener("click", () => {
    state.limit = Infinity;
    show();
  });
  return state;
}

/* Tables of what was measured beside the matrix: they have no records, and are ordered alone. */

function readFound(table) {
  const rows = [...table.tBodies[0].rows].map((row) => ({ row, cells: [...row.cells].map(said) }));
  const state = { heads: [...table.tHead.rows[0].cells], rows };
  addOrder(state, () => table.tBodies[0].replaceChildren(...rows.map(({ row }) => row)));
}

function addOrder(state, shown) {
  state.heads.forEach((head, place) => {
    const button = element("button", undefined, ...head.childNodes);
    button.type = "button";
    head.append(button);
    button.addEventListener("click", () => {
      order(state, place);
      shown();
    });
  });
}

function order(state, place) {
  const head = state.heads[place];
  const up = head.getAttribute("aria-sort") !== "ascending";
  const figures = head.classList.contains("n");
  const figure = (text) => Number.parseFloat(text.replace(/^≤ /, ""));
  const lacks = (text) => text === ABSENT || text === "" || (figures && Number.isNaN(figure(text)));
  const compare = (one, other) => {
    const [a, b] = [one.cells[place], other.cells[place]];
    if (lacks(a) || lacks(b)) return lacks(a) - lacks(b);
    const sign = figures ? figure(a) - figure(b) : collator.compare(a, b);
    return up ? sign : -sign;
  };
  state.rows.sort(compare);
  for (const other of state.heads) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", up ? "ascending" : "descending");
}

/* Filters: kept in the address, so that a link shows what its sender saw. */

function addFilters() {
  return AXES.filter((axis) => tables.some(({ rows }) => rows.some(({ cell }) => axis in cell))).map((axis) => {
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
    for (const plot of state.plots) plot.draw();
    table.tBodies[0].replaceChildren(...fits.slice(0, limit).map(({ row }) => row));
    section.hidden = fits.length === 0;
    more.hidden = fits.length <= limit;
    more.textContent = `Show all ${fits.length} cells`;
    found += fits.length;
  }
  byId("count").textContent = `${found} of ${records.length} cells`;
  byId("none").hidden = found > 0;
}

/* Plots: each makes its figures of the rows that fit, or none; all follow the filters, and open records. */

const SPAN = { left: 52, right: 540, top: 14, bottom: 214 };
const PLOTS = {
  "Time against accuracy": accuracies,
  "Distance from the reference": distances,
  "Before the first steady call": starts,
  "Placement": placements,
  "Size": sizes,
};

function addPlot(state, title, figures) {
  const plot = element("details", undefined, element("summary", title), element("div"));
  plot.className = "plot";
  const draw = () => {
    const made = figures(state.fits);
    plot.hidden = made.length === 0;
    if (plot.open) plot.lastElementChild.replaceChildren(...made.map((figure) => figure()));
  };
  plot.addEventListener("toggle", draw);
  state.section.querySelector(".wide").before(plot);
  return { draw };
}

function drawn(tag, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

const named = (cell, ...more) => [cell.target, cell.precision, cell.variant, ...more].filter(Boolean).join(" ");

/* Accuracies of each model and data by itself: others are no rivals. */

function accuracies(fits) {
  const points = fits.flatMap(({ row, record }) => {
    const { cell, timing, quality, boundary } = record;
    const top1 = quality?.scores?.find(({ name }) => name === "top1");
    if (!timing?.p50_ms || !top1) return [];
    const kind = [cell.model, boundary?.data_sha256, top1.samples].join("\n");
    return [{ row, kind, name: named(cell, cell.machine), samples: top1.samples, model: cell.model, x: timing.p50_ms, y: 100 * top1.value }];
  });
  if (points.length < FEWEST) return [];
  const kinds = [...new Set(points.map(({ kind }) => kind))];
  return kinds.map((each) => () => scatter(points.filter(({ kind }) => kind === each)));
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

/* Bars of each model: the parts of a bar are [name, amount, colour], its words stand at its end. */

const BAR = { left: 214, right: 540, high: 17, most: 40, letters: 34 };

function barred(fits, read, question) {
  const several = new Set(fits.map(({ cell }) => cell.machine)).size > 1;
  const more = ({ machine }) => (several ? [machine] : []);
  const points = fits.flatMap(({ row, record }) => {
    const bar = read(record);
    return bar ? [{ row, name: named(record.cell, ...more(record.cell)), model: record.cell.model, ...bar }] : [];
  });
  if (points.length < FEWEST) return [];
  const models = [...new Set(points.map(({ model }) => model))];
  return models.map((each) => () => bars(each, question, points.filter(({ model }) => model === each)));
}

function bars(model, question, points) {
  const shown = points.slice(0, BAR.most);
  const length = (point) => point.parts.reduce((sum, [, amount]) => sum + amount, 0);
  const most = Math.max(...shown.map(length)) || 1;
  const wide = (amount) => (amount / most) * (BAR.right - BAR.left - 132);
  const svg = drawn("svg", { viewBox: `0 0 560 ${shown.length * BAR.high + 8}`, role: "img" });
  shown.forEach((point, place) => {
    const y = place * BAR.high + 4;
    const label = point.name.length > BAR.letters ? `${point.name.slice(0, BAR.letters - 1)}…` : point.name;
    svg.append(drawn("text", { x: BAR.left - 6, y: y + 11, "text-anchor": "end" }, label));
    let end = BAR.left;
    for (const [name, amount, look] of point.parts.filter(([, amount]) => amount > 0)) {
      const title = drawn("title", {}, [point.name, name, point.words].filter(Boolean).join(", "));
      const box = drawn("rect", { class: `bar ${look}`, x: end, y, width: wide(amount), height: BAR.high - 4 }, title);
      box.addEventListener("click", () => openRecord(point.row));
      svg.append(box);
      end += wide(amount);
    }
    svg.append(drawn("text", { x: end + 5, y: y + 11 }, point.words));
  });
  const left = points.length - shown.length;
  const caption = `${model}: ${question}${left ? ` The first ${shown.length} of ${points.length} cells.` : ""}`;
  svg.setAttribute("aria-label", caption);
  const looks = new Map(shown.flatMap(({ parts: some }) => some.filter(([name, amount]) => name && amount > 0).map(([name, , look]) => [look, name])));
  const legend = [...looks].map(([look, name]) => {
    const key = drawn("svg", { class: "key", viewBox: "0 0 10 10" }, drawn("rect", { class: `bar ${look}`, width: 10, height: 10 }));
    return element("span", undefined, key, ` ${name} `);
  });
  return element("figure", undefined, svg, element("p", undefined, ...legend), element("figcaption", caption));
}

const seconds = (amount) => `${Number(amount.toPrecision(2))} s`;

function starts(fits) {
  const read = ({ "cold path": cold }) => {
    if (!cold?.steps) return null;
    const took = (name) => cold.steps.filter((step) => step.name === name).reduce((sum, step) => sum + (step.seconds ?? 0), 0);
    const made = cold.steps.filter(({ name }) => !["import", "load", "first"].includes(name));
    const parts = [
      ["made once: export, convert, quantize", made.reduce((sum, step) => sum + (step.seconds ?? 0), 0), "c1"],
      ["import", took("import"), "c2"],
      ["load", took("load"), "c3"],
      ["first call", took("first"), "c4"],
    ];
    const each = parts.slice(1).reduce((sum, [, amount]) => sum + amount, 0);
    return { parts, words: `${seconds(each)} at each start` };
  };
  return barred(fits, read, "what comes before the first steady call? In seconds; the artifact is made once, the rest is of each start.");
}

function sizes(fits) {
  const read = ({ cell, artifact }) => {
    const size = (artifact?.size_bytes ?? 0) / 1e6;
    const part = cell.precision === "fp32" ? ["fp32", size, "c6"] : ["another precision", size, "c1"];
    return size ? { parts: [part], words: `${size.toFixed(2)} MB` } : null;
  };
  return barred(fits, read, "how small does each precision make the file?");
}

function placements(fits) {
  const read = ({ placement }) => {
    const asked = placement?.nodes?.[placement.asked] ?? 0;
    const every = Object.values(placement?.nodes ?? {}).reduce((sum, count) => sum + count, 0);
    if (!placement?.asked || !every) return null;
    const parts = [["where the target means", (100 * asked) / every, "c6"], ["elsewhere", (100 * (every - asked)) / every, "c5"]];
    return { parts, words: `${asked} of ${every} nodes` };
  };
  return barred(fits, read, "which share of its nodes runs where the target means? The record tells where the others run.");
}

const NEAREST = -16; // a power of ten: float64 resolves no less

function distances(fits) {
  const read = ({ quality }) => {
    const far = quality?.distance?.toSorted((one, other) => other.mean - one.mean)[0];
    if (!far) return null;
    const power = (drift) => Math.max(Math.log10(drift), NEAREST) - NEAREST;
    const [nearest, mean, farthest] = [far.nearest, far.mean, far.farthest].map(power);
    const parts = [
      ["", nearest, "c0"],
      ["from the nearest sample to the mean", mean - nearest, "c1"],
      ["from the mean to the farthest sample", farthest - mean, "c2"],
    ];
    return { parts, words: `mean ${far.mean.toExponential(0)}, noise ${far.noise.toExponential(0)}` };
  };
  return barred(fits, read, "how far is each sample from the reference? 1 - cosine, in powers of ten from 1e-16 on; noise is the reference's own.");
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
document.querySelectorAll("table.sorts").forEach(readFound);
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

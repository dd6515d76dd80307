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
  const state = { table, heads, rows, more, section, limit: FIRST };
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
  for (const { table, rows, more, section, limit } of tables) {
    const fits = rows.filter(holds);
    table.tBodies[0].replaceChildren(...fits.slice(0, limit).map(({ row }) => row));
    section.hidden = fits.length === 0;
    more.hidden = fits.length <= limit;
    more.textContent = `Show all ${fits.length} cells`;
    found += fits.length;
  }
  byId("count").textContent = `${found} of ${records.length} cells`;
  byId("none").hidden = found > 0;
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

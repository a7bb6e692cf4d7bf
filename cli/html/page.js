// SPDX-License-Identifier: Apache-2.0
// Draws the page from its data. Texts of the data reach the page as text nodes and attributes only,
// never as markup.

const data = JSON.parse(document.getElementById("data").textContent);
const { runs = [], problems = [], reference = [] } = data;
let samples = []; // what the list shows of each; the rest: see restOf
const OUTCOMES = [
  "passed", "wrong answer", "exception", "timeout", "out of memory", "crashed", "exited early",
  "syntax error", "forbidden action",
];
const UNVERIFIED = "not verified";
const AT_A_TIME = 200;
const TOO_OLD = "This browser cannot unpack the samples (it has no DecompressionStream): use one of 2023 or later.";
const RUN_COLOURS = 6;
const OVERRULED = "the grammar overruled the model's most likely token here";

// Samples are compressed, what the list needs in one piece, and the rest in a piece a problem.

async function unpack(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return JSON.parse(await new Response(stream).text());
}

const packs = new Map(); // by problem: the number of its piece, how many samples, what is unpacked

async function unpackList() {
  if (!data.samples) return;
  samples = await unpack(data.samples);
  for (const sample of samples) {
    if (!packs.has(sample.task_id)) packs.set(sample.task_id, { number: packs.size, size: 0, rests: null });
    const pack = packs.get(sample.task_id);
    sample.at = pack.size;
    pack.size += 1;
  }
}

async function unpackProblem(task) {
  const pack = packs.get(task);
  pack.rests ??= await unpack(section(`pack-${pack.number}`).textContent);
}

// Of a sample whose problem is unpacked.
const restOf = (sample) => packs.get(sample.task_id).rests[sample.at];

// Elements

function make(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

function draw(tag, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (name === "colour") colour(node, value);
    else if (value !== null && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

// By CSSOM, since the page's policy forbids style attributes.
function colour(node, name) {
  const html = node instanceof HTMLElement;
  if (html) node.style.background = `var(--${name})`;
  else if (node.classList.contains("line")) node.style.stroke = `var(--${name})`;
  else node.style.fill = `var(--${name})`;
}

const dim = (text) => make("p", { class: "dim" }, text);
const section = (id) => document.getElementById(id);
const count = (value) => value.toLocaleString("en");
const number = (value, digits = 3) => (isNumber(value) ? value.toFixed(digits) : "–");
const share = (part, whole) => (whole ? part / whole : null);
const percent = (value) => (value === null ? "–" : `${(100 * value).toFixed(1)}%`);
const isNumber = (value) => value !== null && value !== undefined;
const interval = (low, high) => (isNumber(low) && isNumber(high) ? ` [${number(low)}, ${number(high)}]` : "");
const unique = (values) => [...new Set(values)];
const natural = new Intl.Collator("en", { numeric: true }).compare;

// A box of its own that scrolls, by keyboard too.
function scrolling(label, table) {
  return make("div", { class: "scroll", role: "region", "aria-label": label, tabindex: 0 }, table);
}

// A long name is broken, so that a heading that stays in view leaves room for its row.
function rowHeading(text, shown = text) {
  return make("th", { scope: "row", class: text.length > 36 ? "long" : null }, shown);
}

// Head

function head() {
  section("title").textContent = data.title ?? "";
  section("written").textContent = data.written ? `Written ${data.written}` : "";
  section("runs").append(...runs.map(runLine));
  if (!runs.length) section("runs").append(make("li", { class: "dim" }, "No runs."));
}

function runLine(run, index) {
  const said = [
    run.model,
    run.grammar && `grammar ${run.grammar}`,
    isNumber(run.temperature) && `temperature ${run.temperature}`,
  ];
  return make("li", {}, symbol(index), make("span", {}, make("strong", {}, run.name), " ",
    make("span", { class: "dim" }, said.filter(Boolean).join(", "))));
}

// A remembered choice goes before the system's. A page that may not store anything still has both.
function scheme() {
  const button = section("scheme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  let chosen = null;
  try { chosen = localStorage.getItem("gars-vllm-scheme"); } catch { /* not remembered */ }
  const isDark = () => (chosen === null ? system.matches : chosen === "dark");
  const apply = () => {
    if (chosen === "dark" || chosen === "light") document.documentElement.dataset.scheme = chosen;
    button.textContent = isDark() ? "Light scheme" : "Dark scheme";
  };
  button.addEventListener("click", () => {
    chosen = isDark() ? "light" : "dark";
    try { localStorage.setItem("gars-vllm-scheme", chosen); } catch { /* not remembered */ }
    apply();
  });
  system.addEventListener("change", apply);
  apply();
}

// Summary

function summary() {
  const numbers = runs[0]?.numbers ?? [];
  if (!numbers.length) return void section("summary").append(dim("No numbers."));
  const heading = make("tr", {}, make("td"),
    ...runs.map((run) => make("th", { scope: "col", class: "n wide" }, run.name)));
  const bodies = unique(numbers.map(([part]) => part)).map((part) => make("tbody", {}, ...summaryRows(numbers, part)));
  const table = make("table", { class: runs.length > 1 ? "sections several" : "sections" }, make("thead", {}, heading), ...bodies);
  const box = scrolling("Summary", table);
  box.classList.add("fits");
  section("summary").append(box, ...notes());
}

function summaryRows(numbers, part) {
  return numbers.flatMap(([where, label], i) => where !== part ? [] : [
    make("tr", {}, rowHeading(label),
      ...runs.map((run) => make("td", { class: "n", "data-run": run.name }, run.numbers[i]?.[2] ?? "–"))),
  ]);
}

function notes() {
  const before = (run) => (runs.length > 1 ? `${run.name}: ` : "");
  return runs.flatMap((run) => (run.notes ?? []).map((note) => make("p", { class: "note" }, before(run) + note)));
}

// Coverage

const MARKERS = [
  "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z", "M-3.6-3.6h7.2v7.2h-7.2z", "M0-5l5 5-5 5-5-5z",
  "M0-4.6l4.8 8.4h-9.6z", "M0 4.6l4.8-8.4h-9.6z", "M-4.4-1.5h2.9v-2.9h3v2.9h2.9v3h-2.9v2.9h-3v-2.9h-2.9z",
];
const runColour = (index) => `run-${index % RUN_COLOURS}`;
const marker = (index, attributes = {}) =>
  draw("path", { d: MARKERS[index % MARKERS.length], colour: runColour(index), ...attributes });
const symbol = (index) =>
  draw("svg", { width: 12, height: 12, viewBox: "-6 -6 12 12", "aria-hidden": "true" }, marker(index));
const fitted = (fit, k) => Math.exp(fit.a * k ** fit.b);

// The tabulated points of a run; `beyond` ones are the fit's.
function points(run) {
  const known = (run.ks ?? []).map((k, i) => (
    { k, value: run.pass_at[i], low: run.low?.[i], high: run.high?.[i], beyond: false }));
  const more = (run.extrapolated ?? []).map(({ k, fitted: value, low, high }) => (
    { k, value, low, high, beyond: true }));
  return [...known, ...more].filter((point) => isNumber(point.value));
}

function curve(run) {
  const pairs = (run.curve_k ?? []).map((k, i) => [k, run.curve[i]]).filter(([, value]) => isNumber(value));
  return pairs.length ? pairs : points(run).filter((point) => !point.beyond).map(({ k, value }) => [k, value]);
}

function coverage() {
  const place = section("coverage");
  if (!runs.some((run) => points(run).length || curve(run).length)) {
    return void place.append(dim("Nothing is verified yet."));
  }
  const plot = new Plot();
  const parts = [coverageLegend()];
  if (reference.length) {
    const box = make("input", { type: "checkbox", checked: true, change: () => plot.showReferences(box.checked) });
    parts.push(make("label", { class: "check" }, box, "Published pass@1 of other models"));
  }
  place.append(...parts, plot.node, coverageNumbers());
  plot.watch();
}

function coverageLegend() {
  const has = (test) => runs.some((run) => points(run).some((point) => isNumber(point.low) && test(point)));
  const area = "M0 0h26v12h-26z";
  const kinds = [
    has((point) => !point.beyond) && ["95 % interval", { d: area, class: "band" }],
    runs.some((run) => run.fit) && ["fit, exp(a·k^b)", { d: "M0 6h26", class: "fit line" }],
    has((point) => point.beyond) && ["95 % interval of the fit", { d: area, class: "band beyond" }],
  ].filter(Boolean);
  return make("ul", { class: "legend" }, ...runs.map((run, index) => make("li", {}, symbol(index), run.name)),
    ...kinds.map(([text, path]) => make("li", {},
      draw("svg", { width: 26, height: 12, "aria-hidden": "true" }, draw("path", { ...path, colour: "text" })), text)));
}

// Everything that the plot shows, also for those who do not point at it.
function coverageNumbers() {
  const ks = unique(runs.flatMap((run) => points(run).map((point) => point.k))).sort((a, b) => a - b);
  const heading = make("tr", {}, make("th", { scope: "col", class: "n" }, "k"),
    ...runs.map((run) => make("th", { scope: "col", class: "n wide" }, run.name)));
  const rows = ks.map((k) => make("tr", {}, make("th", { scope: "row", class: "n" }, count(k)),
    ...runs.map((run) => make("td", { class: "n" }, pointsAt(run, k).map(pointText).join("; ") || "–"))));
  const table = make("table", {}, make("thead", {}, heading), make("tbody", {}, ...rows));
  const box = scrolling("pass@k of each run", table);
  box.classList.add("fits");
  return make("details", { class: "more", id: "coverage-numbers" },
    make("summary", {}, "The numbers of the plot"), box, ...fitNotes(), ...referenceNotes());
}

const pointsAt = (run, k) => points(run).filter((point) => point.k === k);
const pointText = (point) => (point.beyond ? "fit " : "") + number(point.value) + interval(point.low, point.high);

function fitNotes() {
  const formula = (fit) => `exp(${number(fit.a, 4)}·k^${number(fit.b, 4)})`;
  return runs.filter((run) => run.fit).map(({ name, fit }) => make("p", { class: "dim after" },
    `${name}: fit ${formula(fit)}, off by ${number(fit.residual, 4)} (root mean square).`));
}

function referenceNotes() {
  return reference.map((one) => make("p", { class: "dim after" },
    `${one.name}: pass@1 ${number(one.pass_at_1)}${one.source ? `, ${one.source}` : ""}.`));
}

class Plot {
  constructor() {
    this.tip = make("div", { class: "tip", role: "status", hidden: true });
    this.svg = draw("svg", { tabindex: 0, role: "img", "aria-label": this.label(),
      pointermove: (event) => this.point(event), pointerdown: (event) => this.point(event),
      pointerleave: () => this.tell(null), blur: () => this.tell(null), keydown: (event) => this.press(event) });
    this.node = make("div", { class: runs.length > 3 ? "plot many" : "plot" }, this.svg, this.tip);
    this.references = reference;
    this.ks = unique(runs.flatMap((run) => points(run).map(({ k }) => k))).sort((a, b) => a - b);
    this.at = null;
  }

  label() {
    return "pass@k over k, one curve a run. Arrow keys go through the values of k. "
      + "The table below has the same numbers.";
  }

  // Drawn in the pixels that there are, so that letters keep their size.
  watch() {
    new ResizeObserver(() => this.draw()).observe(this.node);
    this.draw();
  }

  showReferences(shown) {
    this.references = shown ? reference : [];
    this.draw();
  }

  measure() {
    const width = Math.max(this.node.clientWidth, 240);
    const height = Math.round(Math.min(440, Math.max(280, width * 0.42)));
    const values = runs.flatMap((run) => [
      ...points(run).flatMap(({ value, high }) => [value, high ?? 0]), ...curve(run).map(([, value]) => value)]);
    const top = Math.max(0.05, ...values, ...this.references.map((one) => one.pass_at_1));
    const last = Math.max(2, ...this.ks, ...runs.flatMap((run) => curve(run).map(([k]) => k)));
    const step = [0.01, 0.02, 0.05, 0.1, 0.2].find((size) => top / size <= 6) ?? 0.2;
    const ceiling = Math.min(1, Math.ceil(top / step - 1e-9) * step);
    const box = { left: 40, right: width - 14, top: 24, bottom: height - 40 };
    Object.assign(this, { width, height, box, step, ceiling, last });
    this.x = (k) => box.left + 10 + (Math.log(k) / Math.log(last)) * (box.right - box.left - 20);
    this.y = (value) => box.bottom - (Math.min(value, ceiling) / ceiling) * (box.bottom - box.top);
  }

  draw() {
    this.measure();
    this.svg.setAttribute("viewBox", `0 0 ${this.width} ${this.height}`);
    this.svg.setAttribute("height", this.height);
    this.guide = draw("g", { class: "guides" });
    this.svg.replaceChildren(...this.axes(), ...runs.flatMap((run, i) => this.bands(run, i)),
      ...this.referenceLines(), this.guide, ...runs.flatMap((run, i) => this.lines(run, i)), ...this.referenceLabels());
    this.tell(this.at);
  }

  axes() {
    const { left, right, top, bottom } = this.box;
    const digits = this.step < 0.1 ? 2 : 1;
    const parts = [];
    for (let value = 0; value <= this.ceiling + 1e-9; value += this.step) {
      parts.push(draw("path", { d: `M${left} ${this.y(value)}H${right}`, class: value ? "grid" : "axis" }),
        draw("text", { x: left - 8, y: this.y(value) + 4, "text-anchor": "end" }, number(value, digits)));
    }
    for (const k of this.ticks()) {
      parts.push(draw("path", { d: `M${this.x(k)} ${bottom}v5`, class: "axis" }),
        draw("text", { x: this.x(k), y: bottom + 18, "text-anchor": "middle" }, count(k)));
    }
    parts.push(draw("text", { x: left - 8, y: top - 12, "text-anchor": "start", dx: -26 }, "pass@k"),
      draw("text", { x: right, y: bottom + 35, "text-anchor": "end" }, "k, samples a problem"));
    return parts;
  }

  // 1, 2, 5, 10 ... where there is room, else powers of ten.
  ticks() {
    const decade = this.x(10) - this.x(1);
    const digits = decade > 130 ? [1, 2, 5] : [1];
    const found = [];
    for (let power = 1; power <= this.last; power *= 10) found.push(...digits.map((digit) => digit * power));
    return found.filter((k) => k <= this.last);
  }

  path(pairs) {
    return pairs.map(([k, value], i) => `${i ? "L" : "M"}${this.x(k).toFixed(1)} ${this.y(value).toFixed(1)}`).join("");
  }

  bands(run, index) {
    return [false, true].flatMap((beyond) => {
      const known = points(run).filter((p) => p.beyond === beyond && isNumber(p.low) && isNumber(p.high));
      if (!known.length) return [];
      const edge = [...known.map((p) => [p.k, p.high]), ...known.toReversed().map((p) => [p.k, p.low])];
      const kind = beyond ? "band beyond" : "band";
      return [draw("path", { d: `${this.path(edge)}Z`, class: kind, colour: runColour(index) })];
    });
  }

  lines(run, index) {
    const line = (pairs, kind) =>
      draw("path", { d: this.path(pairs), class: `${kind} line`, colour: runColour(index) });
    const dots = points(run).map((point) => {
      const node = marker(index, { transform: `translate(${this.x(point.k)} ${this.y(point.value)})` });
      return point.beyond ? hollow(node, index) : node;
    });
    return [run.fit ? line(this.fitPairs(run), "fit") : null, line(curve(run), "curve"), ...dots].filter(Boolean);
  }

  fitPairs(run) {
    const end = Math.max(...points(run).map(({ k }) => k), ...curve(run).map(([k]) => k), 2);
    return Array.from({ length: 81 }, (_, i) => end ** (i / 80)).map((k) => [k, fitted(run.fit, k)]);
  }

  referenceLines() {
    return this.references.map((one) => draw("path", { class: "reference",
      d: `M${this.box.left} ${this.y(one.pass_at_1)}H${this.box.right}` }));
  }

  // Above its line; where another line or label is in the way, below it or farther off.
  referenceLabels() {
    const lines = this.references.map((one) => this.y(one.pass_at_1));
    const taken = [];
    const isFree = (y, own) => !lines.some((line, i) => i !== own && line > y - 12 && line < y + 4)
      && !taken.some((other) => Math.abs(other - y) < 14);
    return this.references.map((one, i) => {
      const places = [-4, 13, -18, 27, -32, 41].map((offset) => lines[i] + offset);
      const y = places.find((place) => isFree(place, i)) ?? places[0];
      taken.push(y);
      return draw("text", { class: "halo", x: this.box.right - 4, y, "text-anchor": "end" },
        `${one.name} ${number(one.pass_at_1)}`);
    });
  }

  point(event) {
    const box = this.svg.getBoundingClientRect();
    const x = ((event.clientX - box.left) * this.width) / box.width;
    const distance = (k) => Math.abs(this.x(k) - x);
    this.tell(this.ks.reduce((best, k) => (distance(k) < distance(best) ? k : best), this.ks[0]));
  }

  press(event) {
    const now = this.ks.indexOf(this.at);
    const end = this.ks.length - 1;
    const to = { ArrowLeft: now < 0 ? end : now - 1, ArrowRight: now + 1, Home: 0, End: end }[event.key];
    if (event.key === "Escape") this.tell(null);
    if (to === undefined) return;
    event.preventDefault();
    this.tell(this.ks[Math.max(0, Math.min(end, to))]);
  }

  tell(k) {
    this.at = k ?? null;
    this.tip.hidden = this.at === null;
    this.guide.replaceChildren();
    if (this.at === null) return;
    this.guide.append(draw("path", { d: `M${this.x(k)} ${this.box.top}V${this.box.bottom}`, class: "guide" }));
    const before = (run) => (runs.length > 1 ? `${run.name} ` : "");
    const lines = runs.flatMap((run, index) => pointsAt(run, k).map((point) =>
      make("li", {}, symbol(index), make("span", {}, before(run) + pointText(point)))));
    this.tip.replaceChildren(make("p", {}, `pass@${count(k)}`), make("ul", {}, ...lines));
    this.placeTip(k);
  }

  // Beside the guide, on the side that has the room; under the plot where there is little.
  placeTip(k) {
    const x = (this.x(k) / this.width) * this.node.clientWidth;
    const width = this.tip.offsetWidth;
    const position = x > this.node.clientWidth / 2 ? x - width - 12 : x + 12;
    this.tip.style.left = `${Math.max(0, Math.min(this.node.clientWidth - width, position))}px`;
    this.tip.style.top = `${this.width < 520 ? this.height : this.box.bottom - this.tip.offsetHeight - 8}px`;
  }
}

function hollow(node, index) {
  node.classList.add("hollow");
  node.style.fill = "var(--page)";
  node.style.stroke = `var(--${runColour(index)})`;
  return node;
}

// Comparison

function comparison() {
  const found = data.comparison;
  if (!found) {
    section("comparison").hidden = true;
    document.querySelector('nav a[href="#comparison"]').hidden = true;
    return;
  }
  const rows = (found.rows ?? []).map(([label, text]) =>
    make("tr", {}, rowHeading(label), make("td", {}, text)));
  section("comparison").append(...(found.text ?? []).map((text) => make("p", {}, text)));
  if (!rows.length) return;
  const box = scrolling("Comparison", make("table", {}, make("tbody", {}, ...rows)));
  box.classList.add("fits");
  section("comparison").append(box);
}

// Outcomes

const isKnown = (outcome) => OUTCOMES.includes(outcome);
const outcomeColour = (outcome) =>
  outcome === UNVERIFIED ? "track" : isKnown(outcome) ? outcome.replaceAll(" ", "-") : "other";
const rank = (outcome) => (isKnown(outcome) ? OUTCOMES.indexOf(outcome) : outcome === UNVERIFIED ? 99 : 50);
const byRank = (a, b) => rank(a) - rank(b) || natural(a, b);
const swatch = (outcome) => make("span", { class: "swatch", colour: outcomeColour(outcome) });
const outcomesOf = (cell) =>
  Object.entries(cell?.outcomes ?? {}).filter(([, n]) => n > 0).sort(([a], [b]) => byRank(a, b));
const passedShare = (cell) => (cell ? share(cell.passed, cell.verified) : null);
const failures = (cell) => outcomesOf(cell).filter(([name]) => name !== "passed").sort(([, a], [, b]) => b - a);
const said = (pairs) => pairs.map(([name, n]) => `${name} ${n}`).join(", ");

function outcomeNames() {
  const pairs = problems.flatMap((problem) => problem.cells.flatMap(outcomesOf));
  return unique(pairs.map(([name]) => name)).sort(byRank);
}

function outcomes() {
  const place = section("outcomes");
  if (!problems.length) return void place.append(dim("No problems."));
  const legend = make("ul", { class: "legend" }, ...outcomeNames().map((name) => make("li", {}, swatch(name), name)));
  const columns = [taskColumn(false), ...runs.map((run, i) => ({
    heading: run.name, wide: true, value: (p) => passedShare(p.cells[i]), show: (p) => outcomeCell(p, i) }))];
  const table = sortable(columns, problems);
  table.classList.add("heat");
  place.append(dim("Shares of the outcomes; the number is the share passed. A bar leads to its samples."), legend,
    scrolling("Outcomes of each problem", table));
}

function outcomeCell(problem, index) {
  const cell = problem.cells[index];
  if (!cell) return "–";
  const bars = outcomesOf(cell).map(([name, n]) => {
    const part = make("i", { colour: outcomeColour(name) });
    part.style.flexGrow = n;
    part.style.flexBasis = 0;
    return part;
  });
  const verdicts = cell.verified ? `${cell.passed} of ${cell.verified} passed` : UNVERIFIED;
  const text = [verdicts, said(failures(cell))].filter(Boolean).join("; ");
  return make("button", { type: "button", class: "cell", title: text,
    "aria-label": `${problem.task_id}, ${runs[index].name}: ${text}. Show the samples`,
    click: () => reader.jump(index, problem.task_id) },
  make("span", { class: "shares" }, ...bars), make("b", {}, wholePercent(passedShare(cell))));
}

// 100 % means all and 0 % means none.
function wholePercent(value) {
  if (value === null) return "–";
  if (value === 0 || value === 1) return `${100 * value}%`;
  return `${Math.max(1, Math.min(99, Math.round(100 * value)))}%`;
}

// Tables that sort

// A column: heading, value(row) to sort by (null goes last), show(row) if that is not the value.
function sortable(columns, rows, groups = null) {
  const body = make("tbody");
  const drawn = rows.map((row) => ({ row, node: tableRow(columns, row) }));
  const headings = columns.map((column) => heading(column, () => sort(column)));
  const sort = (column) => {
    const th = headings[columns.indexOf(column)];
    const down = th.getAttribute("aria-sort") === "ascending";
    headings.forEach((one) => one.setAttribute("aria-sort", "none"));
    th.setAttribute("aria-sort", down ? "descending" : "ascending");
    drawn.sort((a, b) => order(column.value(a.row), column.value(b.row), down));
    body.append(...drawn.map(({ node }) => node));
  };
  sort(columns[0]);
  return make("table", {}, make("thead", {}, groups, make("tr", {}, ...headings)), body);
}

function heading(column, click) {
  const classes = [column.numeric && "n", column.group && "group", column.wide && "wide"].filter(Boolean).join(" ");
  return make("th", { scope: "col", "aria-sort": "none", class: classes },
    make("button", { type: "button", click }, column.heading));
}

function tableRow(columns, row) {
  return make("tr", {}, ...columns.map((column, i) => {
    const classes = [column.numeric && "n", column.group && "group"].filter(Boolean).join(" ");
    const shown = column.show ? column.show(row) : column.value(row) ?? "–";
    return i ? make("td", { class: classes }, shown) : rowHeading(column.value(row), shown);
  }));
}

function order(a, b, down) {
  if (a === null || b === null) return (a === null) - (b === null);
  const found = typeof a === "number" ? a - b : natural(a, b);
  return down ? -found : found;
}

// Problems

function taskColumn(leads) {
  const link = ({ task_id }) =>
    make("button", { type: "button", class: "link", click: () => reader.jump(null, task_id) }, task_id);
  return { heading: "problem", value: (p) => p.task_id, show: leads ? link : null };
}

function problemTable() {
  const place = section("problems");
  if (!problems.length) return void place.append(dim("No problems."));
  const failed = outcomeNames().filter((name) => name !== "passed");
  const each = runs.map((_, i) => runColumns(i, failed));
  const groups = runs.length < 2 ? null : make("tr", {}, make("td"),
    ...runs.map((run, i) => make("th", { scope: "colgroup", colspan: each[i].length, class: "group" }, run.name)));
  const table = sortable([taskColumn(true), ...each.flat()], problems, groups);
  place.append(scrolling("Numbers of each problem", table));
}

function runColumns(i, failed) {
  const numeric = (heading, value, text = count) => ({
    heading, numeric: true, value: (p) => (p.cells[i] ? value(p.cells[i]) : null),
    show: (p) => { const found = p.cells[i] ? value(p.cells[i]) : null; return found === null ? "–" : text(found); },
  });
  const partly = problems.some((p) => p.cells.some((cell) => cell && cell.verified !== cell.samples));
  return [
    { ...numeric("samples", (cell) => cell.samples), group: runs.length > 1 },
    numeric("valid", (cell) => cell.valid),
    ...(partly ? [numeric("verified", (cell) => cell.verified)] : []),
    numeric("passed", (cell) => (cell.verified ? cell.passed : null)),
    numeric("share", passedShare, percent),
    numeric("tokens", (cell) => cell.tokens),
    ...failed.map((name) => numeric(name, (cell) => (cell.verified ? cell.outcomes?.[name] ?? 0 : null))),
  ];
}

// Samples

class Reader {
  constructor() {
    this.list = make("ul", { class: "entries" });
    this.status = make("p", { class: "dim", role: "status" });
    this.more = make("button", { type: "button", click: () => this.goOn() });
    this.prompt = make("div");
    this.outcomes = unique(samples.map(outcomeOf)).sort(byRank);
    this.tasks = unique([...problems, ...samples].map((one) => one.task_id)).sort(natural);
    this.run = select("All runs", runs.map((run) => run.name));
    this.task = select("All problems", this.tasks);
    this.outcome = select("All outcomes", this.outcomes);
    this.text = make("input", { type: "search", autocomplete: "off", spellcheck: "false" });
    this.overruled = make("input", { type: "checkbox" });
    this.texts = new Map(); // lower case, made when first searched
    this.turn = 0; // of filtering: one that waits for texts gives way to a later one
  }

  show() {
    const place = section("samples");
    if (!samples.length) return void place.append(dim(data.samples && cannotUnpack ? TOO_OLD : "No samples."));
    const form = make("form", { class: "filters", role: "search", "aria-label": "Samples",
      submit: (event) => event.preventDefault(), input: (event) => this.listen(event) },
    labelled("Run", this.run, "filter-run"), labelled("Problem", this.task, "filter-problem"),
    labelled("Outcome", this.outcome, "filter-outcome"),
    labelled("Text of sample or failure", this.text, "filter-text"),
    make("label", { class: "check" }, this.overruled, "Grammar intervened"));
    place.append(form, this.prompt, this.status, this.list, this.more);
    this.filter();
  }

  // Not on "change": the text's comes with the click that leaves it, and would take an entry from
  // under the pointer.
  listen(event) {
    clearTimeout(this.waiting);
    if (event.target === this.text) this.waiting = setTimeout(() => this.filter(), 150);
    else this.filter();
  }

  jump(run, task) {
    if (samples.length) {
      this.run.value = run ?? "";
      this.task.value = this.tasks.indexOf(task);
      this.outcome.value = "";
      this.text.value = "";
      this.overruled.checked = false;
      this.filter();
    }
    section("samples-h").focus({ preventScroll: true });
    section("samples").scrollIntoView();
  }

  async filter() {
    clearTimeout(this.waiting);
    this.turn += 1;
    const turn = this.turn;
    const run = this.run.value === "" ? null : Number(this.run.value);
    const task = this.tasks[this.task.value] ?? null;
    const outcome = this.outcomes[this.outcome.value] ?? null;
    const text = this.text.value.trim().toLowerCase();
    this.programs = programsOf(run, task);
    let found = samples.filter((sample) =>
      (run === null || sample.run === run) && (task === null || sample.task_id === task) &&
      (outcome === null || outcomeOf(sample) === outcome) && (!this.overruled.checked || isOverruled(sample)));
    if (text) {
      this.status.textContent = "Reading the programs\u2026";
      await Promise.all(unique(found.map((sample) => sample.task_id)).map(unpackProblem));
      if (turn !== this.turn) return;
      found = found.filter((sample) => this.textOf(sample).includes(text));
    }
    this.found = found;
    this.showPrompt(task);
    this.list.replaceChildren();
    this.extend();
  }

  extend() {
    const from = this.list.children.length;
    this.list.append(...this.found.slice(from, from + AT_A_TIME).map(entry));
    const left = this.found.length - this.list.children.length;
    this.more.hidden = left === 0;
    this.more.textContent = `Show ${count(Math.min(left, AT_A_TIME))} more of ${count(left)}`;
    this.status.textContent = this.found.length ? this.description() : "No sample is like that.";
  }

  description() {
    const of = this.found.length === samples.length ? "" : ` of ${count(samples.length)}`;
    const drawn = this.found.reduce((sum, sample) => sum + sample.count, 0);
    const text = `${count(this.found.length)}${of} different programs (${count(drawn)} samples)`;
    const { there, shown } = this.programs;
    if (shown >= there) return text;
    return `${text}. ${count(shown)} of ${count(there)} shown: one of each outcome and the passing ones first, `
      + "then the commonest.";
  }

  // The button may be gone afterwards, so that the keyboard's place goes to what is new.
  goOn() {
    const from = this.list.children.length;
    this.extend();
    this.list.children[from].querySelector("summary").focus();
  }

  showPrompt(task) {
    const prompt = promptOf(task);
    this.prompt.replaceChildren();
    if (!prompt) return;
    this.prompt.append(make("details", { class: "more" },
      make("summary", {}, `The prompt of ${task}`), make("pre", { tabindex: 0 }, ...plain(prompt))));
  }

  textOf(sample) {
    if (!this.texts.has(sample)) {
      const parts = [sample.task_id, sample.index, outcomeOf(sample), sample.detail,
        restOf(sample).completion];
      this.texts.set(sample, parts.join("\n").toLowerCase());
    }
    return this.texts.get(sample);
  }
}

// How many different programs there are, and how many of them are on the page.
function programsOf(run, task) {
  const cells = problems.filter((one) => task === null || one.task_id === task)
    .flatMap((one) => one.cells.filter((cell, i) => cell && (run === null || run === i)));
  const sum = (name) => cells.reduce((total, cell) => total + (cell[name] ?? 0), 0);
  return { there: sum("programs"), shown: sum("shown") };
}

const outcomeOf = (sample) => sample.outcome ?? UNVERIFIED;
const isOverruled = (sample) => sample.spots?.length > 0 || sample.overruled > 0;

function labelled(text, control, id) {
  control.id = id;
  return make("div", {}, make("label", { for: id }, text), control);
}

function select(all, names) {
  const options = names.map((name, i) => make("option", { value: i }, name));
  return make("select", {}, make("option", { value: "" }, all), ...options);
}

// The body of an entry is made when it is first opened.
function entry(sample) {
  let isFilled = false;
  const open = async (event) => {
    if (isFilled) return;
    isFilled = true;
    await unpackProblem(sample.task_id);
    event.target.append(body({ ...sample, ...restOf(sample) }));
  };
  return make("li", {}, make("details", { toggle: open }, make("summary", {},
    make("span", { class: "id" }, make("span", {}, sample.task_id),
      make("span", { class: "dim" }, ` #${sample.index}`)),
    runs.length > 1 ? make("span", { class: "of" }, runs[sample.run]?.name ?? "") : null,
    make("span", { class: "outcome" }, swatch(outcomeOf(sample)), outcomeOf(sample)),
    make("span", { class: "detail" }, sample.detail ?? ""),
    flags(sample))));
}

function flags(sample) {
  const found = [
    sample.valid === false && "not valid",
    isOverruled(sample) && "grammar intervened",
    sample.count > 1 && `${count(sample.count)} alike`,
  ].filter(Boolean);
  return found.length ? make("span", { class: "flags" }, found.join(" · ")) : null;
}

function body(sample) {
  const facts = [
    ["finish reason", sample.finish_reason],
    ["valid", sample.valid ? "yes" : "no"],
    ["tokens", isNumber(sample.tokens) ? count(sample.tokens) : null],
    ["temperature", sample.temperature],
    ["log Z", isNumber(sample.log_z) ? number(sample.log_z) : null],
    ["same program", sample.count > 1 ? `${count(sample.count)} samples` : null],
    ["failure", sample.detail],
    ["overruled", overruledText(sample)],
  ].filter(([, text]) => isNumber(text) && text !== "");
  return make("div", { class: "body" },
    make("dl", {}, ...facts.map(fact)),
    make("pre", { tabindex: 0 }, make("code", {},
      make("span", { class: "prefix" }, ...plain(sample.prefix ?? promptOf(sample.task_id) ?? "")),
      make("span", { class: "completion" }, ...marked(sample.completion ?? "", sample.spots ?? [])))));
}

function promptOf(task) {
  return problems.find((one) => one.task_id === task)?.prompt;
}

function fact([name, text]) {
  const long = name === "failure" || name === "overruled";
  return make("div", { class: long ? "long" : null }, make("dt", {}, name), make("dd", {}, text));
}

function overruledText(sample) {
  if (!isOverruled(sample)) return isNumber(sample.overruled) ? "no token" : null;
  const tokens = sample.overruled ?? sample.spots.length;
  const text = `${count(tokens)} ${tokens === 1 ? "token" : "tokens"}: the grammar forbade the model's most likely one`;
  return sample.spots?.length ? `${text}, marked below` : text;
}

// Spots count characters as Python does, by code points; JavaScript counts UTF-16 units. A mark is
// one character, or empty where the text has ended or a second token begins at the same one.
function marked(text, spots) {
  const letters = Array.from(text);
  const places = [...spots].sort((a, b) => a - b).map((spot) => Math.max(0, spot));
  const parts = [];
  let at = 0;
  places.forEach((place, i) => {
    parts.push(...plain(letters.slice(at, place).join("")));
    at = places[i + 1] === place ? place : Math.min(place + 1, letters.length);
    parts.push(mark(letters.slice(place, at).join("")));
  });
  return [...parts, ...plain(letters.slice(at).join(""))];
}

function mark(letter) {
  const kind = letter === "" ? "empty" : letter === "\n" ? "line" : null;
  return make("mark", { title: OVERRULED, class: kind }, ...plain(letter));
}

// Characters that have no shape, or turn the text's direction, are shown by their number.
const SHAPELESS = /((?![\n\t])[\p{Cc}\p{Cf}\p{Cs}\u2028\u2029])/u;

function plain(text) {
  return text.split(SHAPELESS).filter(Boolean).map((part) => (SHAPELESS.test(part) ? shapeless(part) : part));
}

function shapeless(letter) {
  const code = `U+${letter.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;
  return make("span", { class: "control", "data-code": code }, letter);
}

scheme(); // before anything is waited for: nobody shall see the other one first
let cannotUnpack = false;
try { await unpackList(); } catch { cannotUnpack = true; }
const reader = new Reader();
for (const part of [head, summary, coverage, comparison, outcomes, problemTable]) part();
reader.show();
document.documentElement.dataset.drawn = "";

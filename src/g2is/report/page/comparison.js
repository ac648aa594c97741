// The page of a comparison: methods side by side.
function comparisonPage(data) {
  return [
    section("overview", "What was compared", null, make("div", { class: "grid with-table" },
      make("div", { class: "card" }, facts(data.facts)),
      make("div", { class: "card" }, make("h3", {}, "Mean over targets, best first"), wordTable(data.summary_table))),
    data.notes.length ? make("ul", { class: "notes" }, data.notes.map((note) => make("li", {}, note))) : null),
    section("losses", "Loss by target", "Nats per answer token on the test examples, with the interval of a paired bootstrap; further left is better.",
      make("div", { class: "grid halves" }, data.losses.map((of) => card(`${of.budget}: ${of.target}`, intervals(of.methods))))),
    data.alike.length ? section("alike", "Rows that selections share", "Rows in both over rows in either (Jaccard), the mean over targets.",
      make("div", { class: "grid halves" }, data.alike.map(matrix))) : null,
    data.alone.length ? aloneSection(data) : null,
    section("tables", "All tables", null, make("div", { class: "stack" }, data.tables.map((table) => card(table.title, wordTable(table))),
      make("details", { class: "card" }, make("summary", {}, "How to read the tables"), make("ul", { class: "notes" }, data.legend.map((line) => make("li", {}, line)))))),
    section("made", "How it was made", null, make("div", { class: "grid halves" },
      card("Machine and versions", facts(flat(data.environment))), card("Do it again", copied(data.command)))),
  ].filter(Boolean);
}

function flat(values) {
  const { versions = {}, ...rest } = values;
  return [...Object.entries(rest).map(([name, value]) => [name.replace("_gib", " (GiB)"), String(value)]), ...Object.entries(versions)];
}

const WORDS = new Set(["budget", "method", "verdict", ""]);

function wordTable({ columns, rows, title }) {
  const kinds = { better: "good", worse: "bad", baseline: "muted" };
  return make("div", { class: "scroll" }, make("table", { class: "cards", "aria-label": title },
    make("thead", {}, make("tr", {}, columns.map((column) => make("th", { scope: "col", class: WORDS.has(column) ? null : "number" }, column)))),
    make("tbody", {}, rows.map(([cells, kind]) => make("tr", { class: kinds[kind] || null }, cells.map((cell, i) => make("td", { class: WORDS.has(columns[i]) ? "word" : "number", "data-label": columns[i] }, cell)))))));
}

// A method's name with what its value lacks, as it fits: "design-precondi… (1 of 3)".
function labelOf(name) {
  const [bare, ...lacks] = name.split(" (");
  return lacks.length ? `${shortened(bare, 15)} (${lacks.join(" (").replace(" seeds)", ")")}` : shortened(bare, 21);
}

// A value with its interval for each method.
function intervals(methods) {
  const known = methods.flatMap((of) => of.slice(1)).filter((value) => value !== null);
  if (!known.length) known.push(0);
  const low = Math.min(...known), high = Math.max(...known), span = high - low || 1, row = 24, top = 6;
  const height = methods.length * row + 30, left = 16 + 7.6 * Math.max(...methods.map(([name]) => labelOf(name).length)), x = (value) => left + 8 + ((value - low) / span) * (W - left - 24);
  const figure = svg("svg", { class: "figure", viewBox: `0 0 ${W} ${height}`, role: "img", "aria-label": methods.map(([name, value]) => `${name} ${fixed(value)}`).join(", ") });
  const label = (atX, y, anchor, text) => { const found = svg("text", { x: atX, y, "text-anchor": anchor }); found.textContent = text; figure.append(found); };
  methods.forEach(([name, value, from, to], i) => {
    const y = top + i * row + row / 2;
    label(left, y + 4, "end", labelOf(name));
    if (value === null) { label(left + 8, y + 4, "start", "–"); return; }
    figure.append(svg("line", { class: "axis", x1: left + 8, x2: W, y1: y, y2: y }));
    const bar = svg("line", { x1: x(from === null ? value : from), x2: x(to === null ? value : to), y1: y, y2: y, "stroke-width": 5, "stroke-linecap": "round", "stroke-opacity": 0.35 });
    const dot = svg("circle", { cx: x(value), cy: y, r: 4.5 });
    bar.style.stroke = dot.style.fill = ["untuned", "random", "full", "full-cut"].includes(name.split(" (")[0]) ? "var(--pool)" : "var(--accent)";
    const told = svg("title", {});
    told.textContent = `${name}: ${fixed(value)} [${fixed(from)}, ${fixed(to)}]`;
    dot.append(told);
    figure.append(bar, dot);
  });
  label(left + 8, height - 8, "start", fixed(low));
  label(W - 4, height - 8, "end", fixed(high));
  return figure;
}

function matrix({ budget, methods, jaccard }) {
  const cell = (value) => {
    const found = make("td", {}, value === null ? "–" : value.toFixed(2));
    if (value !== null) found.style.background = `color-mix(in srgb, var(--accent) ${Math.round(55 * value)}%, transparent)`;
    return found;
  };
  return card(budget, make("div", { class: "scroll" }, make("table", { class: "matrix", "aria-label": `Jaccard index at ${budget}` },
    make("thead", {}, make("tr", {}, make("th"), methods.map((name) => make("th", { scope: "col" }, name)))),
    make("tbody", {}, jaccard.map((line, i) => make("tr", {}, make("th", { scope: "row" }, methods[i]), line.map(cell)))))));
}

function aloneSection(data) {
  const rows = data.alone.flatMap((of) => of.rows.filter((row) => data.texts[row]).map((row) => ({ ...of, row, ...data.texts[row] })));
  const opened = make("div", { class: "card panel", tabindex: "-1", "aria-live": "polite" }, make("p", { class: "muted" }, "Click a row to read it."));
  const open = (of) => { emptied(opened, make("h3", {}, of.id), make("span", { class: "badge on" }, `only ${of.method}, ${of.budget}, ${of.target}`), make("span", { class: "badge" }, of.source), turnList(of.turns)); opened.focus({ preventScroll: true }); };
  const columns = [{ title: "text", kind: "text", value: (of) => of.text, cell: (of) => make("button", { type: "button", class: "plain", onclick: () => open(of) }, of.text || of.id) },
    { title: "only in", value: (of) => of.method }, { title: "target", value: (of) => of.target }, { title: "budget", value: (of) => of.budget }, { title: "source", value: (of) => of.source }, { title: "id", value: (of) => of.id }];
  const filters = [{ title: "only in", value: (of) => of.method }, { title: "target", value: (of) => of.target }, { title: "budget", value: (of) => of.budget }];
  const table = new DataTable({ rows, columns, filters, words: (of) => `${of.id}\n${of.turns.map((turn) => turn[1]).join("\n")}`.toLowerCase(), name: "rows that only one method took" });
  const tally = plainTable([{ title: "method" }, { title: "target" }, { title: "budget" }, { title: "rows", number: true }], data.alone.map((of) => [of.method, of.target, of.budget, count(of.num_rows)]), "Rows that only one method took");
  return section("alone", "Rows that only one method took", "In any of its seeds, and no other method in any; random rows do not count. Of each the first rows are listed.",
    make("div", { class: "mapped" }, make("div", { class: "card" }, table.root), make("div", { class: "stack" }, opened, card("How many", tally))));
}

// The page of a selection.
function selectionPage(data) {
  const rows = new Rows(data), detail = new Detail(rows), open = (i) => detail.one(i, true);
  const parts = [overview(data), besideSection(data), mapSection(rows, detail), chosenSection(rows, open), missSection(rows, open), spreadSection(rows), leftOutSection(data), howMade(data)];
  return parts.filter(Boolean);
}

function overview(data) {
  const { lengths } = data.summary, chosen = data.summary.selected || {}, unit = data.record.unit || "rows";
  const ratio = lengths && lengths.answer_tokens.median_ratio;
  const groups = data.record.components
    ? data.record.components.map((of) => [of.target, count(of.component), count(of.budget), count(of.num_taken), count(of.num_trails), of.dry_after === null ? "–" : `after ${of.dry_after}`])
    : data.groups.map((of) => [of.name, count(of.rows)]);
  const titles = data.record.components ? [{ title: "target" }, ...["component", `budget (${unit})`, "taken", "trails", "ran dry"].map((title) => ({ title, number: true }))]
    : [{ title: data.groups.some((of) => of.component !== null) ? "component" : "target" }, { title: "rows taken", number: true }];
  return section("overview", "What was selected", null,
    make("div", { class: "tiles" }, tile(count(data.num_selected), `rows selected of ${count(data.num_pool_rows)} (${percent(data.num_selected, data.num_pool_rows)})`),
      tile(count(chosen.tokens), `tokens, of which ${count(chosen.answer_tokens)} are learned`),
      data.record.budget ? tile(`${count(data.record.spent)} / ${count(data.record.budget)}`, `${unit} of the budget spent`) : null,
      ratio ? tile(`×${ratio.toFixed(2)}`, "median answer, selection to pool") : null,
      tile(count(data.examples.length), `target example${data.examples.length === 1 ? "" : "s"}`)),
    make("div", { class: "grid halves" },
      make("div", { class: "stack" }, card("From what, by what", facts(data.facts)), card("Budget by target and component", plainTable(titles, groups, "Budget")),
        data.refusals.length ? card("What kept rows out", plainTable([{ title: "rule" }, { title: "rows", number: true }, { title: "what it means" }], data.refusals.map((of) => [of.rule, count(of.rows), of.told]), "Rules")) : null),
      make("div", { class: "stack" }, data.sources.length ? card("Sources", shareBars(data.sources, data.num_pool_rows, data.num_chosen)) : null,
      data.categories.length ? card("Categories", shareBars(data.categories, data.num_pool_rows, data.num_chosen)) : null)),
    data.notes.length ? make("ul", { class: "notes" }, data.notes.map((note) => make("li", {}, note))) : null);
}

function besideSection({ beside }) {
  if (!beside) return null;
  const { folder, cell, table, losses } = beside, title = `${losses.budget}: ${losses.target}`;
  return section("beside", "Against other methods", `This is the selection of ${cell}, in the comparison ${folder}. Loss in nats per answer token on the test examples, with the interval of a paired bootstrap; further left is better.`,
    make("div", { class: "stack" }, losses.methods.length ? card(title, intervals(losses.methods)) : null, card("As a table", wordTable(table))));
}

function mapSection(rows, detail) {
  const { data } = rows, title = data.map ? "Map" : "Examples";
  if (!data.map) return section("map", title, "There is no map: see the notes above.", detail.root);
  const view = new MapView(rows, detail);
  detail.view = view;
  document.addEventListener("themed", () => view.paint());
  return section("map", title, data.map.told.join(" "), make("div", { class: "mapped" }, view.root, detail.root));
}

const textCell = (rows, open) => (i) => make("button", { type: "button", class: "plain", onclick: () => open(i) }, rows.text(i) || rows.ids[i]);

function chosenSection(rows, open) {
  const { data } = rows, { chosen } = data, place = (i) => rows.placeOf[i];
  const columns = [{ title: "no.", number: true, value: (i) => place(i) + 1, text: (i) => count(place(i) + 1) },
    { title: "text", kind: "text", value: (i) => rows.text(i), cell: textCell(rows, open) }, { title: "id", value: (i) => rows.ids[i] }];
  if (data.groups.length > 1) columns.push({ title: "for", value: (i) => data.groups[chosen.group[place(i)]].name });
  if (chosen.role && new Set(chosen.role).size > 1) columns.push({ title: "role", value: (i) => chosen.role[place(i)], what: "how it was taken: anchor, step, fallback, refill, picked or included" });
  chosen.numbers.forEach(({ title, what, values }) => columns.push({ title, what, number: true, value: (i) => values[place(i)], text: (i) => shown(values[place(i)]) }));
  if (rows.links.target) columns.push({ title: "likeness", what: "cosine with the nearest target example", number: true, value: (i) => rows.similarity(i), text: (i) => fixed(rows.similarity(i)) });
  if (chosen.nearest_target) columns.push({ title: "nearest example", value: (i) => chosen.nearest_target[place(i)] || "–" });
  columns.push({ title: "source", value: (i) => rows.sourceOf(i), text: (i) => shortened(rows.sourceOf(i), 40) }, { title: "tokens", number: true, value: (i) => rows.tokens[i], text: (i) => count(rows.tokens[i]) });
  const filters = [{ title: "for", value: (i) => data.groups[chosen.group[place(i)]].name }, { title: "source", value: (i) => rows.sourceOf(i) }];
  if (rows.category) filters.push({ title: "category", value: (i) => rows.categoryOf(i) });
  if (chosen.role) filters.push({ title: "role", value: (i) => chosen.role[place(i)] });
  const table = new DataTable({ rows: Array.from(rows.at), columns, filters, words: (i) => rows.words(i), name: "selected rows", order: { column: 0, down: false } });
  return section("rows", "Selected rows", "Why each was taken. A title sorts; a text opens the row beside the map.", make("div", { class: "card" }, table.root));
}

function missSection(rows, open) {
  const { data } = rows;
  if (!data.misses.length) return null;
  const worth = data.relations.is_worth ? ["worth more", "what it would still say of the target's examples, after all that was taken"] : data.relations.is_scored ? ["scored", "the method's own mean score with the target's examples, as in scores.parquet"] : ["likeness", "mean cosine with the target's examples"];
  const of = (i) => rows.missOf.get(i);
  const columns = [{ title: "text", kind: "text", value: (i) => rows.text(i), cell: textCell(rows, open) }, { title: "id", value: (i) => rows.ids[i] },
    { title: worth[0], what: worth[1], number: true, value: (i) => of(i).worth, text: (i) => shown(of(i).worth) },
    { title: "rule", value: (i) => of(i).rule }, { title: "why", value: (i) => of(i).told },
    { title: "which row", value: (i) => (of(i).other < 0 ? "" : rows.ids[of(i).other]), cell: (i) => (of(i).other < 0 ? "–" : make("button", { type: "button", class: "plain", onclick: () => open(of(i).other) }, rows.ids[of(i).other])) },
    { title: "source", value: (i) => rows.sourceOf(i) }];
  const filters = [{ title: "rule", value: (i) => of(i).rule }, { title: "source", value: (i) => rows.sourceOf(i) }];
  if (data.targets.length > 1) filters.push({ title: "target", value: (i) => data.targets[of(i).target] });
  const table = new DataTable({ rows: data.misses.map((miss) => miss.row), columns, filters, words: (i) => rows.words(i), name: "near misses" });
  return section("misses", "Near misses", "Rows that came closest and were not taken, with the rule that kept each out, found again from what was taken.", make("div", { class: "card" }, table.root));
}

function spreadSection(rows) {
  const { data } = rows, cards = [], tokens = (value) => count(value);
  for (const [name, title] of [["answer_tokens", "Learned tokens a row (gradients favour short answers)"], ["tokens", "Tokens a row"]]) {
    const of = data.lengths[name];
    cards.push(card(title, histogram({ title, bins: of.bins, tick: tokens, series: [{ name: "pool", counts: of.pool, color: "var(--pool)" }, { name: "selection", counts: of.chosen, color: "var(--accent)" }] })));
  }
  if (data.relations) {
    const { histograms, bins, conflict } = data.relations, tick = (value) => value.toFixed(2);
    const mark = conflict === null ? null : -conflict;
    const target = "Cosine with the nearest target example";
    const between = `Cosines between selected rows${mark === null ? "" : "; left of the line they conflict"}`;
    cards.push(card(target, histogram({ title: target, bins, tick, series: [{ name: "pool", counts: histograms["pool with its nearest target example"], color: "var(--pool)" },
      { name: "selection", counts: histograms["chosen with its nearest target example"], color: "var(--accent)" }] })),
    card(between, histogram({ title: between, bins, tick, mark, series: [{ name: "selection", counts: histograms["chosen with chosen"], color: "var(--accent)" }] })));
  }
  data.chosen.numbers.forEach(({ title, what, values }, i) => cards.push(card(`In order of choice: ${title}`, along({ title: what, values, color: color(i) }), make("p", { class: "muted small" }, what))));
  return section("spread", "Distributions", "Each series as its own share: few rows and many can be compared.", make("div", { class: "grid" }, cards));
}

function leftOutSection(data) {
  const kinds = Object.entries(data.left_out), listed = kinds.flatMap(([kind, of]) => of.listed.map((row) => ({ kind, ...row })));
  const overlap = data.facts.find(([name]) => name === "overlap with");
  const told = overlap ? `Rows that share 13 words in a row with ${overlap[1]} are among those excluded.` : "No test set was named, so the pool was not searched for its words (--exclude-overlap).";
  if (!listed.length) return section("left", "Left out", null, make("div", { class: "card" }, make("p", {}, "No row was excluded, set aside or unreadable."), make("p", { class: "muted small" }, told)));
  const columns = [{ title: "kind", value: (of) => of.kind }, { title: "row", number: true, value: (of) => of.row, text: (of) => count(of.row) }, { title: "id", value: (of) => of.id || "–" }, { title: "reason", value: (of) => of.reason || "–" }];
  const table = new DataTable({ rows: listed, columns, filters: [{ title: "kind", value: (of) => of.kind }], words: (of) => `${of.id}\n${of.reason}`.toLowerCase(), name: "rows left out" });
  const beyond = kinds.filter(([, of]) => of.count > of.listed.length).map(([kind, of]) => ` Of ${count(of.count)} rows ${kind} the first ${count(of.listed.length)} are listed.`);
  return section("left", "Left out", told + beyond.join(""), make("div", { class: "card" }, table.root));
}

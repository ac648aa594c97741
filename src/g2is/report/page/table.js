// A table that can be sorted, searched, filtered and turned page by page.
//
// `columns`: { title, value(row), text?(row), cell?(row), number?, what?, kind? }; `filters`: { title, value(row) };
// `words(row)` is what a search looks at. Rows are whatever the columns know.
const PAGE = 20;

class DataTable {
  constructor({ rows, columns, filters = [], words = null, name, order = null }) {
    Object.assign(this, { rows, columns, words, name });
    this.sort = order; // { column, down }
    this.page = 0;
    this.chosen = filters.map(() => "");
    this.filters = filters;
    this.body = make("tbody");
    this.heads = columns.map((column, i) => make("th", { scope: "col", class: column.number ? "number" : null, title: column.what },
      make("button", { type: "button", onclick: () => this.sortBy(i) }, column.title)));
    this.told = make("span", { role: "status" });
    this.before = make("button", { type: "button", onclick: () => this.turn(-1) }, "← before");
    this.after = make("button", { type: "button", onclick: () => this.turn(1) }, "next →");
    this.root = make("div", {},
      make("div", { class: "controls" }, this.search(), filters.map((filter, i) => this.filter(filter, i)), this.sorter()),
      make("div", { class: "scroll" }, make("table", { class: "cards", "aria-label": name },
        make("thead", {}, make("tr", {}, this.heads)), this.body)),
      make("div", { class: "pager" }, this.before, this.after, this.told));
    this.show();
  }

  search() {
    if (!this.words) return null;
    this.box = make("input", { type: "search", placeholder: "Search texts and ids", "aria-label": `Search ${this.name}`,
      oninput: () => { this.page = 0; this.show(); } });
    return make("div", { class: "grow" }, this.box);
  }

  filter(filter, i) {
    const tally = new Map();
    for (const row of this.rows) {
      const value = filter.value(row);
      if (value !== null && value !== undefined) tally.set(value, (tally.get(value) || 0) + 1);
    }
    if (tally.size < 2) return null;
    const names = [...tally.keys()].sort((a, b) => tally.get(b) - tally.get(a));
    return make("label", {}, filter.title, make("select", { onchange: (event) => { this.chosen[i] = event.target.value; this.page = 0; this.show(); } },
      make("option", { value: "" }, "all"), names.map((name) => make("option", { value: name }, `${shortened(name, 40)} (${count(tally.get(name))})`))));
  }

  // On a narrow screen rows are cards, and there are no titles to click.
  sorter() {
    this.sorts = make("select", { onchange: (event) => this.sortBy(event.target.value === "" ? null : Number(event.target.value)) },
      make("option", { value: "" }, "as given"), this.columns.map((column, i) => make("option", { value: i }, column.title)));
    this.sorts.value = this.sort ? this.sort.column : "";
    return make("label", { class: "narrow" }, "sort by", this.sorts, make("button", { type: "button", "aria-label": "turn the order round", onclick: () => { if (this.sort) this.sortBy(this.sort.column); } }, "⇅"));
  }

  sortBy(column) { // null: as given
    const down = this.sort && this.sort.column === column ? !this.sort.down : column !== null && Boolean(this.columns[column].number);
    this.sort = column === null ? null : { column, down };
    this.page = 0;
    this.sorts.value = column === null ? "" : column;
    this.show();
  }

  turn(by) { this.page += by; this.show(); }

  found() {
    const sought = this.box ? this.box.value.trim().toLowerCase() : "";
    const rows = this.rows.filter((row) => (!sought || this.words(row).includes(sought))
      && this.filters.every((filter, i) => !this.chosen[i] || String(filter.value(row)) === this.chosen[i]));
    if (!this.sort) return rows;
    const { value } = this.columns[this.sort.column], sign = this.sort.down ? -1 : 1;
    const missing = (of) => of === null || of === undefined;
    return rows.map((row) => [value(row), row]).sort(([a], [b]) => {
      if (missing(a) || missing(b)) return missing(a) - missing(b); // those without a value last, either way
      return sign * (a < b ? -1 : a > b ? 1 : 0);
    }).map(([, row]) => row);
  }

  show() {
    const rows = this.found(), pages = Math.max(1, Math.ceil(rows.length / PAGE));
    this.page = Math.min(Math.max(this.page, 0), pages - 1);
    const low = this.page * PAGE, some = rows.slice(low, low + PAGE);
    this.heads.forEach((head, i) => {
      const is = this.sort && this.sort.column === i;
      if (is) head.setAttribute("aria-sort", this.sort.down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
    emptied(this.body, some.map((row) => make("tr", {}, this.columns.map((column) => make("td",
      { class: [column.number ? "number" : "", column.kind || (String(column.value(row)).length <= 28 ? "word" : "")].join(" ").trim() || null, "data-label": column.title },
      column.cell ? column.cell(row) : column.text ? column.text(row) : column.value(row))))));
    this.before.disabled = this.page === 0;
    this.after.disabled = this.page >= pages - 1;
    const of = rows.length === this.rows.length ? "" : ` (of ${count(this.rows.length)})`;
    emptied(this.told, rows.length ? `${count(low + 1)}–${count(low + some.length)} of ${count(rows.length)}${of}` : `nothing found${of}`);
  }
}

const shortened = (text, most) => (text.length <= most ? text : `${text.slice(0, most - 1)}…`);

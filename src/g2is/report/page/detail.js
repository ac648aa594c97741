// The panel beside the map: one example with its neighbours, or many that were encircled or found.
class Detail {
  constructor(rows) {
    this.rows = rows;
    this.examples = rows.data.examples;
    this.root = make("div", { class: "card panel", tabindex: "-1", "aria-live": "polite", "aria-label": "the open example" });
    this.view = null;
    emptied(this.root, make("h3", {}, "No row is open"), make("p", { class: "muted small" },
      "Click a point of the map, or a row of the tables below, to see its text, the rows nearest to it, and what it agrees and conflicts with."));
  }

  isTarget(i) { return i >= this.rows.count; }
  title(i) {
    if (this.isTarget(i)) return `target example ${this.examples[i - this.rows.count].id}`;
    const place = this.rows.placeOf[i];
    return `${this.rows.ids[i]}${place >= 0 ? ` · selected as number ${count(place + 1)}` : ""}`;
  }

  line(i) { return this.isTarget(i) ? this.examples[i - this.rows.count].text : this.rows.text(i); }

  // Open row or target example `i`; from a table the page goes to the map, too.
  one(i, fromAfar = false) {
    const inside = this.root.contains(document.activeElement); // what was pressed goes, and the keys with it
    const linked = this.isTarget(i) ? this.target(i - this.rows.count) : this.row(i);
    this.root.scrollTop = 0;
    if (this.view) this.view.goTo(i, linked);
    if (fromAfar) document.getElementById("map").scrollIntoView({ block: "start" });
    if (fromAfar || inside) this.root.focus({ preventScroll: true });
  }

  near(title, links, what) {
    if (!links.length) return null;
    return [make("h3", { title: what }, title), make("ul", { class: "near" }, links.map(([i, cosine]) => make("li", {},
      make("span", { class: `number ${cosine < 0 ? "bad" : ""}` }, fixed(cosine)),
      make("span", {}, make("button", { type: "button", class: "plain", onclick: () => this.one(i) }, this.title(i)), make("br"),
        make("span", { class: "muted" }, shortened(this.line(i), 80))))))];
  }

  row(i) {
    const { rows } = this, { data } = rows, place = rows.placeOf[i], miss = rows.missOf.get(i), badges = [];
    const badge = (text, on) => badges.push(make("span", { class: `badge ${on ? "on" : ""}` }, text));
    if (place >= 0) {
      badge(`selected as number ${count(place + 1)}`, true);
      if (data.groups.length > 1) badge(data.groups[data.chosen.group[place]].name);
      if (data.chosen.role && data.chosen.role[place] !== "picked") badge(`taken as ${data.chosen.role[place]}`);
      for (const { title, values, what } of data.chosen.numbers) if (values[place] !== null) badges.push(make("span", { class: "badge", title: what }, `${title} ${shown(values[place])}`));
    } else badge("not selected");
    badge(rows.sourceOf(i));
    if (rows.category) badge(rows.categoryOf(i));
    badge(`${count(rows.tokens[i])} tokens, ${count(rows.answers[i])} learned`);
    const turns = rows.turns(i), conflict = data.relations ? data.relations.conflict : null;
    const chosen = rows.linked("chosen", i).map(([j, cosine]) => [rows.at[j], cosine]);
    const against = rows.linked("against", i).filter(([, cosine]) => conflict !== null && cosine < -conflict).map(([j, cosine]) => [rows.at[j], cosine]);
    const near = place >= 0 ? rows.linked("near", place) : [];
    const conflicts = place >= 0 ? rows.linked("conflicts", place).filter(([, cosine]) => conflict !== null && cosine < -conflict) : against;
    const targets = rows.linked("target", i).map(([j, cosine]) => [rows.count + j, cosine]);
    emptied(this.root, make("h3", {}, rows.ids[i]), badges,
      miss ? make("p", { class: "small" }, make("b", {}, `Not taken: ${miss.rule}. `), miss.told) : null,
      turns ? turnList(turns) : [make("div", { class: "turn" }, rows.text(i)), make("p", { class: "muted small" }, `Of rows that are far from the selection the page has the beginning alone. The whole is row ${count(rows.numbers[i])} of the pool.`)],
      this.near("Nearest target example", targets, "cosine with it"),
      near.length ? this.near("Nearest rows of the pool", near) : this.near("Nearest selected rows", chosen),
      near.length ? this.near("Nearest selected rows", chosen) : null,
      this.near("Conflicts", conflicts, "rows that it points away from"),
      conflict !== null && data.relations && !conflicts.length ? make("p", { class: "muted small" }, place >= 0 ? "It conflicts with no row that is shown." : "It conflicts with no selected row.") : null);
    return [...(near.length ? near : chosen), ...targets].map(([j]) => [j, false]).concat(conflicts.map(([j]) => [j, true]));
  }

  target(j) {
    const { rows } = this, example = this.examples[j], near = [];
    for (let i = 0; i < rows.count; i++) { // of what is shown: selected rows whose nearest example this is
      if (rows.placeOf[i] >= 0 && rows.links.target && rows.links.target.at[i] === j) near.push([i, rows.similarity(i)]);
    }
    near.sort((a, b) => b[1] - a[1]);
    emptied(this.root, make("h3", {}, example.id), make("span", { class: "badge on" }, rows.data.targets.length > 1 ? `target ${rows.data.targets[example.target]}` : "target example"),
      turnList(example.turns), near.length ? this.near(`Selected rows nearest to this example (${count(near.length)})`, near.slice(0, 12)) : make("p", { class: "muted small" }, "It is the nearest example of no selected row."));
    return near.slice(0, 12).map(([i]) => [i, false]);
  }

  many(found, what = null) {
    const chosen = found.filter((i) => this.rows.placeOf[i] >= 0), first = [...chosen, ...found.filter((i) => this.rows.placeOf[i] < 0)].slice(0, 60);
    emptied(this.root, make("h3", {}, what ? `${several(found.length, "row")} with ${what}` : `${several(found.length, "row")} encircled`),
      make("p", { class: "muted small" }, `${count(chosen.length)} of them selected.${found.length > 60 ? " The first 60:" : ""}`),
      make("ul", { class: "near" }, first.map((i) => make("li", {}, make("span", { class: "number muted" }, this.rows.placeOf[i] >= 0 ? `#${count(this.rows.placeOf[i] + 1)}` : ""),
        make("span", {}, make("button", { type: "button", class: "plain", onclick: () => this.one(i) }, this.rows.ids[i]), make("br"), make("span", { class: "muted" }, this.rows.text(i)))))));
  }
}

// What every page begins and ends with: what it is of, and how it was made.
function tile(value, title) { return make("div", { class: "tile" }, make("b", {}, value), make("span", {}, title)); }

function facts(pairs) {
  return make("dl", { class: "facts" }, pairs.map(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
}

function header(data) {
  const theme = make("button", { type: "button", onclick: () => {
    const dark = getComputedStyle(document.documentElement).colorScheme === "dark"
      || (!document.documentElement.dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches);
    document.documentElement.dataset.theme = dark ? "light" : "dark";
    document.dispatchEvent(new Event("themed"));
  } }, "light / dark");
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => document.dispatchEvent(new Event("themed")));
  emptied(document.getElementById("top"), make("div", { class: "titled" }, make("div", {}, make("h1", {}, data.title), make("p", { class: "muted" }, data.subtitle)), theme));
}

function navigation(sections) {
  emptied(document.getElementById("nav"), make("ul", {}, sections.map((of) => make("li", {}, make("a", { href: `#${of.id}` }, of.querySelector("h2").textContent)))));
}

function plainTable(columns, rows, name) {
  return make("div", { class: "scroll" }, make("table", { class: columns.length > 3 ? "cards" : null, "aria-label": name },
    make("thead", {}, make("tr", {}, columns.map(({ title, number }) => make("th", { scope: "col", class: number ? "number" : null }, title)))),
    make("tbody", {}, rows.map((row) => make("tr", {}, row.map((value, i) => make("td", { class: columns[i].number ? "number" : String(value).length <= 14 ? "word" : null, "data-label": columns[i].title }, value)))))));
}

function copied(text) {
  const told = make("span", { class: "small muted", role: "status" });
  return make("div", { class: "copy" }, make("pre", { tabindex: "0" }, text), make("button", { type: "button", onclick: async () => {
    try { await navigator.clipboard.writeText(text); emptied(told, "copied"); } catch { emptied(told, "select it and copy it by hand"); }
  } }, "copy"), told);
}

// Seconds by stage of all sittings, memory, versions, and how to do it again.
function howMade(data) {
  const sittings = data.summary.sittings || [], stages = new Map();
  for (const sitting of sittings) for (const [name, spent] of Object.entries(sitting.seconds)) stages.set(name, (stages.get(name) || 0) + spent);
  const total = [...stages.values()].reduce((sum, part) => sum + part, 0), peak = Math.max(0, ...sittings.map((of) => of.peak_memory_bytes));
  const rows = [...stages].map(([name, spent]) => [name, seconds(spent), percent(spent, total)]);
  const { versions = {}, ...machine } = data.environment;
  return section("made", "How it was made", "Times are those of the machine that it ran on, summed over all sittings; versions those that wrote this page.",
    make("div", { class: "grid" },
      card("Time and memory", plainTable([{ title: "stage" }, { title: "time", number: true }, { title: "share", number: true }], rows, "Time by stage"),
        make("p", { class: "muted small" }, `${seconds(total)} in ${several(sittings.length, "sitting")}; ${(peak / 2 ** 30).toFixed(1)} GiB of memory at most.`)),
      card("Machine and versions", facts([...Object.entries(machine).map(([name, value]) => [name.replace("_gib", " (GiB)"), String(value)]), ...Object.entries(versions)]))),
    make("div", { class: "card" }, make("h3", {}, "Do it again"), copied(data.command)));
}

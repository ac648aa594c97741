// Figures, drawn as SVG. Colours are names of the style sheet, so they follow light and dark.
const W = 400, H = 180, LEFT = 50, BOTTOM = 26, TOP = 8;

function key(series) {
  return make("div", { class: "key" }, series.map((of) => make("span", {}, make("i", { class: "swatch", color: of.color }), of.name)));
}

function frame(title, low, high, top, tick = (value) => String(value), topText = "") {
  const figure = svg("svg", { class: "figure", viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": title });
  figure.append(svg("line", { class: "axis", x1: LEFT, x2: W, y1: H - BOTTOM, y2: H - BOTTOM }));
  const label = (x, y, anchor, text) => {
    const found = svg("text", { x, y, "text-anchor": anchor });
    found.textContent = text;
    figure.append(found);
  };
  label(LEFT, H - 8, "start", tick(low));
  label(W - 2, H - 8, "end", tick(high));
  label(LEFT - 5, TOP + 9, "end", topText);
  label(LEFT - 5, H - BOTTOM, "end", top);
  return { figure, label };
}

// Counts in shared bins, each series as its own share, so that few and many rows can be compared.
function histogram({ title, bins, series, tick, mark = null }) {
  const shares = series.map(({ counts }) => {
    const total = counts.reduce((sum, part) => sum + part, 0) || 1;
    return counts.map((part) => part / total);
  });
  let low = bins.length - 1, high = 0; // without the empty ends
  shares.forEach((part) => part.forEach((share, i) => { if (share > 0) { low = Math.min(low, i); high = Math.max(high, i); } }));
  if (low > high) return make("p", { class: "muted small" }, "Nothing to count.");
  const top = Math.max(...shares.flat()), num = high - low + 1, step = (W - LEFT) / num;
  const { figure, label } = frame(title, bins[low], bins[high + 1], "0", tick, `${Math.round(100 * top)}%`);
  if (num > 3) { const middle = low + Math.floor(num / 2); label(LEFT + (middle - low) * step, H - 8, "middle", (tick || String)(bins[middle])); }
  const y = (share) => TOP + (1 - share / top) * (H - BOTTOM - TOP);
  shares.forEach((part, s) => {
    let path = `M${LEFT} ${H - BOTTOM}`;
    for (let i = low; i <= high; i++) path += `V${y(part[i]).toFixed(1)}H${(LEFT + (i - low + 1) * step).toFixed(1)}`;
    path += `V${H - BOTTOM}Z`;
    const drawn = svg("path", { d: path, "fill-opacity": s === 0 && series.length > 1 ? 0.35 : 0.18, "stroke-width": 1.6 });
    drawn.style.fill = series[s].color;
    drawn.style.stroke = series[s].color;
    figure.append(drawn);
  });
  if (mark !== null && mark > bins[low] && mark < bins[high + 1]) {
    const x = LEFT + ((mark - bins[low]) / (bins[high + 1] - bins[low])) * (W - LEFT);
    figure.append(svg("line", { class: "mark", x1: x, x2: x, y1: TOP, y2: H - BOTTOM, "stroke-dasharray": "3 3" }));
  }
  return make("div", {}, figure, series.length > 1 ? key(series) : null);
}

// One value for each row in the order of choice: dots, and their running mean.
function along({ title, values, color: paint }) {
  const known = values.filter((value) => value !== null);
  if (!known.length) return make("p", { class: "muted small" }, "No values.");
  let low = Math.min(...known), high = Math.max(...known);
  if (low === high) { low -= 0.5; high += 0.5; }
  const places = Math.abs(high) >= 100 ? 0 : 2;
  const largest = Math.max(Math.abs(low), Math.abs(high)), tiny = (value) => (value ? value.toExponential(1) : "0");
  const label = (value) => (largest >= 0.1 ? value.toFixed(places) : largest >= 0.001 ? value.toFixed(4) : tiny(value));
  const { figure } = frame(title, 1, values.length, label(low), count, label(high));
  const x = (i) => LEFT + 4 + (i / Math.max(values.length - 1, 1)) * (W - LEFT - 8);
  const y = (value) => TOP + 4 + ((high - value) / (high - low)) * (H - BOTTOM - TOP - 8);
  const dots = svg("g", { "fill-opacity": values.length > 400 ? 0.35 : 0.6 });
  dots.style.fill = paint;
  const stride = Math.ceil(values.length / 3000);
  values.forEach((value, i) => { if (value !== null && i % stride === 0) dots.append(svg("circle", { cx: x(i).toFixed(1), cy: y(value).toFixed(1), r: 1.8 })); });
  figure.append(dots);
  const half = Math.round(values.length / 40), sums = [0], counts = [0]; // the mean of as many before as after
  values.forEach((value, i) => { sums.push(sums[i] + (value || 0)); counts.push(counts[i] + (value !== null)); });
  let path = "";
  for (let i = 0; i < values.length; i += stride) {
    const reach = Math.min(half, i, values.length - 1 - i), num = counts[i + reach + 1] - counts[i - reach];
    if (num) path += `${path ? "L" : "M"}${x(i).toFixed(1)} ${y((sums[i + reach + 1] - sums[i - reach]) / num).toFixed(1)}`;
  }
  const line = svg("path", { d: path, fill: "none", "stroke-width": 1.6 });
  line.style.stroke = paint;
  figure.append(line);
  return figure;
}

// Shares of pool and selection, name by name.
function shareBars(parts, numPool, numChosen) {
  const most = Math.max(...parts.map((of) => Math.max(of.pool / numPool, of.chosen / (numChosen || 1))));
  const bar = (share, paint) => {
    const found = make("div", { class: "bar", color: paint });
    found.hidden = !share;
    found.style.width = `${(100 * share) / most}%`;
    return found;
  };
  return make("div", {}, make("div", { class: "bars" }, parts.map((of) => [
    make("div", { class: "name" }, of.name),
    make("div", { class: "track", title: `${count(of.chosen)} selected, ${count(of.pool)} in the pool` },
      bar(of.chosen / (numChosen || 1), "var(--accent)"), bar(of.pool / numPool, "var(--pool)")),
    make("div", { class: "number small" }, `${percent(of.chosen, numChosen)} / ${percent(of.pool, numPool)}`),
  ])), key([{ name: "of the selection", color: "var(--accent)" }, { name: "of the pool", color: "var(--pool)" }]));
}

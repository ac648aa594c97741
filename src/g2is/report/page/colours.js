// What the map's points are coloured by: each way gives a colour for every row, and a legend.
function ramp(share) { // from late or little to early or much, as [r, g, b]
  const [low, high] = ramp.ends, t = Math.min(1, Math.max(0, share));
  return low.map((value, i) => Math.round(value + (high[i] - value) * t));
}

function readColours() {
  ramp.ends = [rgb("--c4"), rgb("--c6")];
  return { names: Array.from({ length: 8 }, (_, i) => rgb(`--c${i}`)), pool: rgb("--pool"), text: rgb("--text"), accent: rgb("--accent"), ground: rgb("--surface") };
}

function waysToColour(rows) {
  const { data } = rows, ways = [], targets = data.targets.length;
  const byName = (id, title, names, of, everyRow) => {
    const tally = new Map();
    for (let i = 0; i < rows.count; i++) { const j = of(i); if (j >= 0) tally.set(j, (tally.get(j) || 0) + (rows.placeOf[i] >= 0 ? 1000 : 1)); }
    const most = [...tally.keys()].sort((a, b) => tally.get(b) - tally.get(a)), slot = new Map(most.slice(0, 8).map((j, k) => [j, k]));
    if (most.length > 8) most.slice(7).forEach((j) => slot.set(j, -1));
    const legend = most.filter((j) => slot.get(j) >= 0).map((j) => ({ name: names[j], slot: slot.get(j) }));
    if (most.length > 8) legend.push({ name: `${most.length - 7} others`, slot: -1 });
    ways.push({ id, title, everyRow, legend, slot: (i) => { const j = of(i); return j < 0 ? -1 : slot.get(j); } });
  };
  if (data.groups.length > 1) byName("group", targets > 1 ? "target and component" : "component", data.groups.map((of) => of.name), (i) => rows.groupOf(i), false);
  ways.push({ id: "order", title: "order of choice", everyRow: false, ends: ["first", "last"],
    share: (i) => (rows.placeOf[i] < 0 ? null : 1 - rows.placeOf[i] / Math.max(1, rows.at.length - 1)) });
  if (data.points.sources.length > 1) byName("source", "source", data.points.sources, (i) => rows.source[i], true);
  if (rows.category) byName("category", "category", data.points.categories, (i) => rows.category[i], true);
  if (rows.links.target) {
    const values = Array.from({ length: rows.count }, (_, i) => rows.similarity(i)).sort((a, b) => a - b);
    const low = values[Math.floor(values.length * 0.02)], high = values[Math.floor(values.length * 0.995)];
    ways.push({ id: "similarity", title: "likeness to the target", everyRow: true, ends: [fixed(high, 2), fixed(low, 2)],
      share: (i) => (rows.similarity(i) - low) / Math.max(high - low, 1e-6) });
  }
  return ways;
}

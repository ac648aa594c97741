// The map: what is drawn, what the mouse, fingers and keys do with it.
class MapView {
  constructor(rows, open) {
    Object.assign(this, { rows, open, camera: new Camera(), hidden: new Set(), marked: null, now: -1, most: rows.at.length, drawsOrder: rows.at.length <= 150 });
    const xy = unpacked(rows.data.map.xy);
    this.xy = Float32Array.from(xy, (value) => value / 65535);
    this.numAll = this.xy.length / 2;
    this.ways = waysToColour(rows);
    this.way = this.ways[0];
    this.canvas = make("canvas", { tabindex: "0", role: "application", "aria-label": "Map of the pool. Arrow keys move it, plus and minus zoom, 0 shows all, N and P go to the next and previous selected row.", "data-map": true });
    this.over = make("canvas", { class: "over", "aria-hidden": "true" });
    this.tip = make("div", { class: "tip", hidden: true });
    this.painter = WebGLPainter.on(this.canvas) || new CanvasPainter(this.canvas);
    this.canvas.dataset.painter = this.painter.name;
    const zoom = (factor) => () => { this.camera.zoomAt(this.camera.width / 2, this.camera.height / 2, factor); this.later(); };
    this.plot = make("div", { class: "plot" }, this.canvas, this.over, this.tip,
      make("div", { class: "zoom" }, make("button", { type: "button", "aria-label": "zoom in", onclick: zoom(1.5) }, "+"),
        make("button", { type: "button", "aria-label": "zoom out", onclick: zoom(1 / 1.5) }, "−"),
        make("button", { type: "button", "aria-label": "show all", title: "show all", onclick: () => { this.camera.reset(); this.later(); } }, "⤢")));
    this.legend = make("ul", { class: "legend" });
    this.root = make("div", {}, mapControls(this), this.plot,
      make("div", { class: "below" }, this.legend, make("div", { class: "hint" }, "drag to move, scroll to zoom, shift and drag to encircle")));
    mapGestures(this);
    new ResizeObserver(() => this.resize()).observe(this.plot);
    this.paint();
  }

  resize() {
    const { clientWidth: width, clientHeight: height } = this.plot;
    if (!width || !height) return;
    const first = this.camera.width === 1;
    this.ratio = Math.min(window.devicePixelRatio || 1, 2);
    for (const canvas of [this.canvas, this.over]) { canvas.width = Math.round(width * this.ratio); canvas.height = Math.round(height * this.ratio); }
    this.camera.resize(width, height);
    if (first) this.camera.reset();
    this.draw();
  }

  later() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => { this.waiting = false; this.draw(); });
  }

  isTarget(i) { return i >= this.rows.count; }
  isShown(i) { return this.isTarget(i) || this.rows.placeOf[i] < this.most; }

  // Colours, sizes and order of everything, made anew when one of them changes.
  paint() {
    const colours = readColours(), { rows, way } = this, grey = [], lit = [], found = [], chosen = [], targets = [];
    const of = (i) => (way.share ? (way.share(i) === null ? null : ramp(way.share(i))) : way.slot(i) < 0 ? null : colours.names[way.slot(i)]);
    const many = rows.count > 8000;
    for (let i = 0; i < rows.count; i++) {
      const isChosen = rows.placeOf[i] >= 0, paint = isChosen || way.everyRow ? of(i) : null;
      const off = way.legend && this.hidden.size && this.hidden.has(way.slot(i)) && (isChosen || way.everyRow);
      if (isChosen && rows.placeOf[i] < this.most) chosen.push([i, off ? colours.pool : paint || colours.text, off ? 40 : 255, many ? 6 : 8, 0]);
      else if (paint && !off) lit.push([i, paint, 160, many ? 2.6 : 4, 0]);
      else grey.push([i, colours.pool, many ? 110 : 160, many ? 2.2 : 3.6, 0]);
      if (this.marked && this.marked.has(i)) found.push([i, colours.accent, 255, 15, 2]);
    }
    chosen.sort(([a], [b]) => rows.placeOf[b] - rows.placeOf[a]); // the first on top
    for (let i = rows.count; i < this.numAll; i++) targets.push([i, colours.text, 255, 12, 1], [i, colours.ground, 255, 5, 1]);
    const halo = chosen.map(([i, , alpha, size]) => [i, colours.ground, alpha, size + 2.5, 0]);
    this.painter.set([this.points(grey), this.points(lit), ...this.path(colours), this.points(halo), this.points(chosen), this.points(found), this.points(targets)]);
    this.colours = colours;
    this.later();
    this.told();
  }

  points(list) {
    const num = list.length, layer = { kind: "points", count: num, xy: new Float32Array(2 * num), rgba: new Uint8Array(4 * num), look: new Float32Array(2 * num) };
    list.forEach(([i, [r, g, b], alpha, size, shape], k) => {
      layer.xy.set([this.xy[2 * i], this.xy[2 * i + 1]], 2 * k);
      layer.rgba.set([r, g, b, alpha], 4 * k);
      layer.look.set([size, shape], 2 * k);
    });
    return layer;
  }

  // The order of choice as a line, its last steps the strongest.
  path(colours) {
    if (!this.drawsOrder) return [];
    const steps = Array.from(this.rows.at.slice(0, this.most)), num = steps.length;
    const layer = { kind: "lines", count: num, xy: new Float32Array(2 * num), rgba: new Uint8Array(4 * num) };
    steps.forEach((i, k) => {
      layer.xy.set([this.xy[2 * i], this.xy[2 * i + 1]], 2 * k);
      layer.rgba.set([...colours.accent, Math.round(20 + 180 * Math.max(0, 1 - (num - 1 - k) / 25))], 4 * k);
    });
    return [layer];
  }

  told() {
    const { way } = this, items = [], held = [...this.legend.querySelectorAll("button")].indexOf(document.activeElement);
    if (way.legend) {
      way.legend.forEach(({ name, slot }) => items.push(make("li", {}, make("button", { type: "button", "aria-pressed": String(!this.hidden.has(slot)),
        title: "show or hide", onclick: () => { if (!this.hidden.delete(slot)) this.hidden.add(slot); this.paint(); } },
      make("i", { class: "swatch", color: color(slot) }), shortened(name, 34)))));
    } else {
      const bar = make("i", { class: "ramp" });
      bar.style.background = `linear-gradient(to right, rgb(${ramp(1).join()}), rgb(${ramp(0).join()}))`;
      items.push(make("li", {}, way.ends[0], bar, way.ends[1]));
    }
    items.push(make("li", { class: "muted" }, make("i", { class: "swatch", color: "var(--pool)" }), "pool"),
      make("li", { class: "muted" }, make("i", { class: "swatch diamond", color: "var(--text)" }), "target example"));
    emptied(this.legend, items);
    if (held >= 0) this.legend.querySelectorAll("button")[held].focus(); // keys go on where they were
  }

  draw() {
    if (!this.ratio) return;
    this.painter.draw(this.camera, this.ratio);
    const pen = this.over.getContext("2d");
    pen.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    pen.clearRect(0, 0, this.camera.width, this.camera.height);
    pen.strokeStyle = pen.fillStyle = `rgb(${this.colours.text.join()})`;
    if (this.now >= 0) this.drawNow(pen);
    if (this.lasso && this.lasso.length > 1) {
      pen.beginPath();
      this.lasso.forEach(([x, y], k) => (k ? pen.lineTo(x, y) : pen.moveTo(x, y)));
      pen.closePath();
      pen.globalAlpha = 0.12;
      pen.fill();
      pen.globalAlpha = 1;
      pen.stroke();
    }
  }

  // The open row with lines to its neighbours.
  drawNow(pen) {
    const at = (i) => this.camera.toScreen(this.xy[2 * i], this.xy[2 * i + 1]), [x, y] = at(this.now);
    pen.lineWidth = 1.2;
    for (const [other, against] of this.linked || []) {
      pen.strokeStyle = `rgb(${(against ? rgb("--bad") : this.colours.text).join()})`;
      pen.setLineDash(against ? [4, 3] : []);
      pen.beginPath();
      pen.moveTo(x, y);
      pen.lineTo(...at(other));
      pen.stroke();
    }
    pen.setLineDash([]);
    pen.strokeStyle = `rgb(${this.colours.text.join()})`;
    pen.lineWidth = 2.5;
    pen.beginPath();
    pen.arc(x, y, 9, 0, 2 * Math.PI);
    pen.stroke();
  }

  // The point under a place on the screen: those that stand out first, then the nearest.
  under(x, y) {
    let best = -1, least = Infinity;
    for (let i = 0; i < this.numAll; i++) {
      const [px, py] = this.camera.toScreen(this.xy[2 * i], this.xy[2 * i + 1]);
      const distance = Math.hypot(px - x, py - y), stands = this.isTarget(i) || (this.rows.placeOf[i] >= 0 && this.isShown(i));
      if (distance > (stands ? 10 : 7)) continue;
      const cost = distance - (stands ? 6 : 0);
      if (cost < least) { least = cost; best = i; }
    }
    return best;
  }

  within(lasso) {
    const inside = (x, y) => {
      let is = false;
      for (let i = 0, j = lasso.length - 1; i < lasso.length; j = i++) {
        const [xi, yi] = lasso[i], [xj, yj] = lasso[j];
        if (yi > y !== yj > y && x < ((xj - xi) * (y - yi)) / (yj - yi) + xi) is = !is;
      }
      return is;
    };
    const found = [];
    for (let i = 0; i < this.rows.count; i++) if (inside(...this.camera.toScreen(this.xy[2 * i], this.xy[2 * i + 1]))) found.push(i);
    return found;
  }

  // Show point `i` as the open one, with `linked` [index, is a conflict].
  goTo(i, linked) {
    this.now = i;
    this.linked = linked;
    if (!this.camera.shows(this.xy[2 * i], this.xy[2 * i + 1])) this.camera.centreOn(this.xy[2 * i], this.xy[2 * i + 1]);
    this.later();
  }
}

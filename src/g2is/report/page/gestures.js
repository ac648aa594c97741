// What mouse, fingers and keys do on the map, and the controls above it.
function mapGestures(view) {
  const { canvas, camera } = view, held = new Map();
  let moved = 0, spread = 0;
  const place = (event) => { const box = canvas.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
  const two = () => { const [a, b] = [...held.values()]; return [Math.hypot(a[0] - b[0], a[1] - b[1]), (a[0] + b[0]) / 2, (a[1] + b[1]) / 2]; };

  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    held.set(event.pointerId, place(event));
    moved = 0;
    if (held.size === 1 && (event.shiftKey || view.encircles)) view.lasso = [place(event)];
    if (held.size === 2) { view.lasso = null; [spread] = two(); }
  });
  canvas.addEventListener("pointermove", (event) => {
    const [x, y] = place(event), before = held.get(event.pointerId);
    if (!before) { hover(x, y); return; }
    held.set(event.pointerId, [x, y]);
    moved += Math.hypot(x - before[0], y - before[1]);
    if (view.lasso) view.lasso.push([x, y]);
    else if (held.size === 1) camera.move(x - before[0], y - before[1]);
    else { const [now, mx, my] = two(); camera.zoomAt(mx, my, now / (spread || now)); spread = now; }
    view.tip.hidden = true;
    view.later();
  });
  const release = (event) => {
    if (!held.delete(event.pointerId)) return;
    const [x, y] = place(event);
    if (view.lasso) {
      const { lasso } = view;
      view.lasso = null;
      if (lasso.length > 2) view.open.many(view.within(lasso));
      view.later();
    } else if (moved < 5 && event.type === "pointerup") {
      const found = view.under(x, y);
      if (found >= 0) view.open.one(found);
    }
  };
  canvas.addEventListener("pointerup", release);
  canvas.addEventListener("pointercancel", release);
  canvas.addEventListener("pointerleave", () => { view.tip.hidden = true; });
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const [x, y] = place(event);
    camera.zoomAt(x, y, Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0016)));
    view.later();
  }, { passive: false });

  function hover(x, y) {
    const found = view.under(x, y);
    view.tip.hidden = found < 0;
    canvas.style.cursor = view.encircles ? "crosshair" : found < 0 ? "grab" : "pointer";
    if (found < 0) return;
    emptied(view.tip, make("b", {}, view.open.title(found)), view.open.line(found));
    const left = Math.min(x + 14, camera.width - view.tip.offsetWidth - 6), below = y + view.tip.offsetHeight + 20 < camera.height;
    view.tip.style.left = `${Math.max(6, left)}px`;
    view.tip.style.top = `${below ? y + 14 : y - view.tip.offsetHeight - 10}px`;
  }

  canvas.addEventListener("keydown", (event) => {
    const step = 60, { key: name } = event, { width, height } = camera;
    const moves = { ArrowLeft: [step, 0], ArrowRight: [-step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] };
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (moves[name]) camera.move(...moves[name]);
    else if (name === "+" || name === "=") camera.zoomAt(width / 2, height / 2, 1.4);
    else if (name === "-") camera.zoomAt(width / 2, height / 2, 1 / 1.4);
    else if (name === "0") camera.reset();
    else if (name === "n" || name === "N" || name === "p" || name === "P") {
      const { at } = view.rows, now = view.now >= 0 && !view.isTarget(view.now) ? view.rows.placeOf[view.now] : -1;
      const by = name.toLowerCase() === "n" ? 1 : -1;
      if (at.length) view.open.one(at[(now < 0 && by < 0 ? at.length - 1 : now + by + at.length) % at.length]);
    } else return;
    event.preventDefault();
    view.later();
  });
}

function mapControls(view) {
  const { rows } = view, total = rows.at.length;
  const sought = make("input", { type: "search", placeholder: "Find a text or id on the map", "aria-label": "Find a text or id on the map", oninput: () => find() });
  const told = make("span", { class: "small muted", role: "status" });
  let waiting = 0;
  const find = () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      const word = sought.value.trim().toLowerCase();
      const found = word ? Array.from({ length: rows.count }, (_, i) => i).filter((i) => rows.words(i).includes(word)) : [];
      view.marked = word ? new Set(found) : null;
      emptied(told, word ? `${count(found.length)} found` : "");
      if (word) view.open.many(found, `“${sought.value.trim()}”`);
      view.paint();
    }, 150);
  };
  const ways = make("select", { "aria-label": "colour by", onchange: (event) => { view.way = view.ways[event.target.value]; view.hidden.clear(); view.paint(); } },
    view.ways.map((way, i) => make("option", { value: i }, way.title)));
  const first = make("output", {}, `all ${count(total)}`);
  const range = make("input", { type: "range", min: 1, max: Math.max(total, 1), value: total, "aria-label": "how many of the selected rows are drawn, in their order",
    oninput: () => { view.most = Number(range.value); emptied(first, view.most === total ? `all ${count(total)}` : `first ${count(view.most)}`); view.paint(); } });
  const toggle = (title, name, pressed, change) => {
    const button = make("button", { type: "button", "aria-pressed": String(pressed), title: name, onclick: () => {
      const on = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", String(on));
      change(on);
    } }, title);
    return button;
  };
  return make("div", { class: "controls" }, make("label", {}, "colour by", ways),
    make("label", {}, "selected", range, first),
    toggle("order", "draw the order of choice as a line", view.drawsOrder, (on) => { view.drawsOrder = on; view.paint(); }),
    toggle("lasso", "encircle rows by dragging", false, (on) => { view.encircles = on; view.canvas.classList.toggle("lasso", on); }),
    make("div", { class: "grow" }, sought), told);
}

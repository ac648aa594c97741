// The same layers without WebGL.
class CanvasPainter {
  constructor(canvas) {
    Object.assign(this, { canvas, name: "Canvas", layers: [], pen: canvas.getContext("2d") });
  }

  set(layers) { this.layers = layers; }

  draw(camera, ratio) {
    const { pen } = this;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, camera.width, camera.height);
    for (const layer of this.layers) (layer.kind === "points" ? this.points(layer, camera) : this.line(layer, camera));
  }

  points({ count: num, xy, rgba, look }, camera) {
    const { pen } = this;
    for (let i = 0; i < num; i++) {
      const [x, y] = camera.toScreen(xy[2 * i], xy[2 * i + 1]);
      if (x < -9 || y < -9 || x > camera.width + 9 || y > camera.height + 9) continue;
      const paint = `rgba(${rgba[4 * i]},${rgba[4 * i + 1]},${rgba[4 * i + 2]},${rgba[4 * i + 3] / 255})`;
      const r = look[2 * i] / 2, shape = look[2 * i + 1];
      pen.fillStyle = pen.strokeStyle = paint;
      if (r <= 2 && shape === 0) { pen.fillRect(x - r, y - r, 2 * r, 2 * r); continue; }
      pen.beginPath();
      if (shape === 1) { pen.moveTo(x, y - r); pen.lineTo(x + r, y); pen.lineTo(x, y + r); pen.lineTo(x - r, y); pen.closePath(); }
      else pen.arc(x, y, Math.max(r - (shape === 2 ? 1 : 0), 0.5), 0, 2 * Math.PI);
      if (shape === 2) { pen.lineWidth = 2; pen.stroke(); } else pen.fill();
    }
  }

  line({ count: num, xy, rgba }, camera) {
    const { pen } = this;
    pen.lineWidth = 1;
    for (let i = 1; i < num; i++) {
      pen.strokeStyle = `rgba(${rgba[4 * i]},${rgba[4 * i + 1]},${rgba[4 * i + 2]},${rgba[4 * i + 3] / 255})`;
      pen.beginPath();
      pen.moveTo(...camera.toScreen(xy[2 * i - 2], xy[2 * i - 1]));
      pen.lineTo(...camera.toScreen(xy[2 * i], xy[2 * i + 1]));
      pen.stroke();
    }
  }
}

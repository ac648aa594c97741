// Where the map's unit square lies on the screen: x and y of its corner and its size, in CSS pixels.
class Camera {
  constructor() { this.width = this.height = 1; this.reset(); }

  reset() {
    this.scale = Math.max(1, Math.min(this.width, this.height) - 36);
    this.x = (this.width - this.scale) / 2;
    this.y = (this.height - this.scale) / 2;
  }

  resize(width, height) {
    const centre = this.toMap(this.width / 2, this.height / 2), zoom = this.zoom;
    this.width = width;
    this.height = height;
    this.scale = zoom * Math.max(1, Math.min(width, height) - 36);
    this.x = width / 2 - centre[0] * this.scale;
    this.y = height / 2 - centre[1] * this.scale;
  }

  get zoom() { return this.scale / Math.max(1, Math.min(this.width, this.height) - 36); }

  move(dx, dy) { this.x += dx; this.y += dy; }

  zoomAt(x, y, factor) {
    const kept = Math.min(Math.max(this.zoom * factor, 0.6), 60) / this.zoom;
    this.x = x - (x - this.x) * kept;
    this.y = y - (y - this.y) * kept;
    this.scale *= kept;
  }

  centreOn(mx, my) {
    this.x = this.width / 2 - mx * this.scale;
    this.y = this.height / 2 - my * this.scale;
  }

  toMap(x, y) { return [(x - this.x) / this.scale, (y - this.y) / this.scale]; }
  toScreen(mx, my) { return [this.x + mx * this.scale, this.y + my * this.scale]; }
  shows(mx, my) {
    const [x, y] = this.toScreen(mx, my);
    return x > 10 && y > 10 && x < this.width - 10 && y < this.height - 10;
  }
}

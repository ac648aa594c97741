// Points and lines by WebGL. Layers are arrays: xy (Float32, the unit square), rgba (Uint8), and of points their size
// in CSS pixels and shape (0: disc, 1: diamond, 2: ring).
const POINTS = {
  vertex: `attribute vec2 xy; attribute vec4 rgba; attribute vec2 look; uniform vec4 view; uniform float ratio;
    varying vec4 paint; varying float shape; varying float size;
    void main() { gl_Position = vec4(xy * view.xy + view.zw, 0.0, 1.0); size = look.x * ratio; gl_PointSize = size + 1.0;
      paint = rgba; shape = look.y; }`,
  fragment: `precision mediump float; varying vec4 paint; varying float shape; varying float size;
    void main() { vec2 p = abs(gl_PointCoord - 0.5) * 2.0; float d = shape == 1.0 ? p.x + p.y : length(p);
      float soft = 2.0 / max(size, 2.0); float a = 1.0 - smoothstep(1.0 - soft, 1.0, d);
      if (shape == 2.0) a *= smoothstep(0.62 - soft, 0.62, d);
      if (a <= 0.0) discard; gl_FragColor = vec4(paint.rgb, paint.a * a); }`,
};
const LINES = {
  vertex: `attribute vec2 xy; attribute vec4 rgba; uniform vec4 view; varying vec4 paint;
    void main() { gl_Position = vec4(xy * view.xy + view.zw, 0.0, 1.0); paint = rgba; }`,
  fragment: "precision mediump float; varying vec4 paint; void main() { gl_FragColor = paint; }",
};

class WebGLPainter {
  // Null where there is no WebGL.
  static on(canvas) {
    const gl = canvas.getContext("webgl", { antialias: true, alpha: true, preserveDrawingBuffer: true });
    return gl ? new WebGLPainter(canvas, gl) : null;
  }

  constructor(canvas, gl) {
    Object.assign(this, { canvas, gl, name: "WebGL", layers: [] });
    this.programs = { points: this.program(POINTS), lines: this.program(LINES) };
    gl.enable(gl.BLEND);
    // What is drawn becomes premultiplied, as the canvas is: else what is faint would be mixed with black.
    gl.blendFuncSeparate(gl.SRC_ALPHA, gl.ONE_MINUS_SRC_ALPHA, gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
  }

  program({ vertex, fragment }) {
    const { gl } = this, program = gl.createProgram();
    for (const [kind, text] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, text);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program));
    return program;
  }

  // Take over the layers, each { kind: "points" or "lines", count, xy, rgba, look }.
  set(layers) {
    const { gl } = this;
    for (const layer of this.layers) Object.values(layer.buffers).forEach((buffer) => gl.deleteBuffer(buffer));
    this.layers = layers.map((layer) => {
      const buffers = {};
      for (const name of layer.kind === "points" ? ["xy", "rgba", "look"] : ["xy", "rgba"]) {
        buffers[name] = gl.createBuffer();
        gl.bindBuffer(gl.ARRAY_BUFFER, buffers[name]);
        gl.bufferData(gl.ARRAY_BUFFER, layer[name], gl.STATIC_DRAW);
      }
      return { kind: layer.kind, count: layer.count, buffers };
    });
  }

  draw(camera, ratio) {
    const { gl } = this;
    gl.viewport(0, 0, this.canvas.width, this.canvas.height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    const view = [(2 * camera.scale) / camera.width, (-2 * camera.scale) / camera.height,
      (2 * camera.x) / camera.width - 1, 1 - (2 * camera.y) / camera.height];
    for (const layer of this.layers) {
      if (!layer.count) continue;
      const program = this.programs[layer.kind];
      gl.useProgram(program);
      gl.uniform4fv(gl.getUniformLocation(program, "view"), view);
      if (layer.kind === "points") gl.uniform1f(gl.getUniformLocation(program, "ratio"), ratio);
      for (const [name, size, type] of [["xy", 2, gl.FLOAT], ["rgba", 4, gl.UNSIGNED_BYTE], ["look", 2, gl.FLOAT]]) {
        const place = gl.getAttribLocation(program, name);
        if (place < 0) continue;
        gl.bindBuffer(gl.ARRAY_BUFFER, layer.buffers[name]);
        gl.enableVertexAttribArray(place);
        gl.vertexAttribPointer(place, size, type, type === gl.UNSIGNED_BYTE, 0, 0);
      }
      gl.drawArrays(layer.kind === "points" ? gl.POINTS : gl.LINE_STRIP, 0, layer.count);
    }
  }
}

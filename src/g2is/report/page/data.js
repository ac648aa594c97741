// What the page was given, as arrays. All texts in it come from files of strangers: they are only ever put into text.
const DATA = JSON.parse(document.getElementById("data").textContent);
const KINDS = { u2: Uint16Array, i2: Int16Array, i4: Int32Array };

function unpacked(part) {
  const text = atob(part.base64), bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return new KINDS[part.type](bytes.buffer);
}

// The rows of a selection's page: what is known of row i.
class Rows {
  constructor(data) {
    const points = data.points;
    this.data = data;
    this.count = points.count;
    this.ids = points.ids;
    this.numbers = unpacked(points.rows);
    this.source = unpacked(points.source);
    this.category = points.category ? unpacked(points.category) : null;
    this.tokens = unpacked(points.tokens);
    this.answers = unpacked(points.answer_tokens);
    this.at = data.chosen.at;
    this.placeOf = new Int32Array(this.count).fill(-1); // in the order of choice
    this.at.forEach((row, place) => { this.placeOf[row] = place; });
    this.missOf = new Map(data.misses.map((miss) => [miss.row, miss]));
    this.links = {};
    for (const name of ["target", "chosen", "against", "near", "conflicts", "similarity"]) {
      if (!data.relations) break;
      const { width, at, cosine } = data.relations[name];
      this.links[name] = { width, at: unpacked(at), cosine: unpacked(cosine) };
    }
  }

  text(i) { return this.data.points.texts[i]; }
  turns(i) { return this.data.points.turns[i] || null; }
  sourceOf(i) { return this.data.points.sources[this.source[i]]; }
  categoryOf(i) { return this.category ? this.data.points.categories[this.category[i]] : null; }
  groupOf(i) { return this.placeOf[i] < 0 ? -1 : this.data.chosen.group[this.placeOf[i]]; }

  // All that can be searched of a row, in small letters.
  words(i) {
    const turns = this.turns(i);
    const text = turns ? turns.map((turn) => turn[1]).join("\n") : this.text(i);
    return `${this.ids[i]}\n${text}`.toLowerCase();
  }

  // Links of one kind: [index, cosine] each; of near and conflicts `i` is a place in the order of choice.
  linked(name, i) {
    const of = this.links[name];
    if (!of || (i + 1) * of.width > of.at.length) return [];
    const found = [];
    for (let j = i * of.width; j < (i + 1) * of.width; j++) {
      if (of.at[j] >= 0) found.push([of.at[j], of.cosine[j] / this.data.relations.unit]);
    }
    return found;
  }

  similarity(i) { // with the nearest example of any target
    return this.links.target ? this.links.target.cosine[i] / this.data.relations.unit : null;
  }
}

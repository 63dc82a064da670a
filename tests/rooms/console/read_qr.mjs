// Reads QR codes (a JSON list of grids on stdin) with npm jsqr, and prints the texts.

import { readFileSync } from "node:fs";
import jsqr from "jsqr";

const [quiet, scale] = [4, 4];
const read = jsqr.default ?? jsqr;
const texts = JSON.parse(readFileSync(0, "utf8")).map((grid) => {
  const size = (grid.length + 2 * quiet) * scale;
  const pixels = new Uint8ClampedArray(size * size * 4).fill(255);
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      const dark = grid[Math.floor(y / scale) - quiet]?.[Math.floor(x / scale) - quiet];
      if (dark) pixels.fill(0, (y * size + x) * 4, (y * size + x) * 4 + 3);
    }
  }
  return read(pixels, size, size)?.data ?? null;
});
console.log(JSON.stringify(texts));

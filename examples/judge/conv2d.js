// A convolution of your own, judged:
//     minigrad vectors vectors --operation conv2d --format json
//     node conv2d.js vectors results
//     minigrad judge vectors results
"use strict";
const fs = require("fs");
const path = require("path");

const pair = (value) => (Array.isArray(value) ? value : [value, value]);

function pads(padding, size, kernel, stride, dilation) {
  if (padding === "same")
    return [0, 1].map((k) => {
      const out = Math.ceil(size[k] / stride[k]);
      const span = dilation[k] * (kernel[k] - 1) + 1;
      const total = Math.max((out - 1) * stride[k] + span - size[k], 0);
      return [Math.floor(total / 2), total - Math.floor(total / 2)];
    });
  return pair(padding).map(pair);
}

function conv2d(x, w, bias, { stride = 1, padding = 0, dilation = 1, groups = 1 }) {
  const [n, c, h, v] = x.shape, [o, i, kh, kw] = w.shape;
  const s = pair(stride), d = pair(dilation);
  const [[top, bottom], [left, right]] = pads(padding, [h, v], [kh, kw], s, d);
  const ho = Math.floor((h + top + bottom - d[0] * (kh - 1) - 1) / s[0]) + 1;
  const wo = Math.floor((v + left + right - d[1] * (kw - 1) - 1) / s[1]) + 1;
  const data = [];
  for (let m = 0; m < n; m++)
    for (let k = 0; k < o; k++)
      for (let p = 0; p < ho; p++)
        for (let q = 0; q < wo; q++) {
          let sum = bias.data[k]; // a number of JavaScript is a float64: round each step
          for (let j = 0; j < i; j++)
            for (let a = 0; a < kh; a++)
              for (let b = 0; b < kw; b++) {
                const row = p * s[0] - top + a * d[0], col = q * s[1] - left + b * d[1];
                const channel = Math.floor(k / (o / groups)) * i + j;
                if (row < 0 || row >= h || col < 0 || col >= v) continue;
                const product = x.data[((m * c + channel) * h + row) * v + col]
                  * w.data[((k * i + j) * kh + a) * kw + b];
                sum = Math.fround(sum + Math.fround(product));
              }
          data.push(sum);
        }
  return { shape: [n, o, ho, wo], data };
}

const [vectors, results] = process.argv.slice(2);
fs.mkdirSync(results, { recursive: true });
const manifest = JSON.parse(fs.readFileSync(path.join(vectors, "manifest.json")));
for (const { case: name, words } of manifest.cases) {
  const { x, w, bias } = JSON.parse(fs.readFileSync(path.join(vectors, `${name}.json`)));
  const y = conv2d(x, w, bias, words);
  fs.writeFileSync(path.join(results, `${name}.json`), JSON.stringify({ y }));
}

// One shape for each state: what a colour says is said by the outline first.
const SVG = "http://www.w3.org/2000/svg";

/** @typedef {{tag: "path", d: string, join?: boolean} | {tag: "circle", dash?: boolean, faint?: boolean}} Shape */

/** @type {Shape} */
const RING = { tag: "circle" };
/** @type {Shape} */
const DASHED = { tag: "circle", dash: true };

/** @type {Readonly<Record<string, readonly Shape[]>>} */
const SHAPES = Object.freeze({
  loading: [DASHED],
  pending: [DASHED],
  processing: [{ tag: "circle", faint: true }, { tag: "path", d: "M10 2.75a7.25 7.25 0 0 1 7.25 7.25" }],
  quiet: [RING, { tag: "path", d: "M10 6v4.3l2.6 1.9" }],
  stalled: [{ tag: "path", d: "M10 3 17.6 16.4H2.4z", join: true }, { tag: "path", d: "M10 8v3.6M10 13.9v.1" }],
  lost: [{ tag: "path", d: "M3 8.2a10.5 10.5 0 0 1 14 0M5.9 11.3a6.3 6.3 0 0 1 8.2 0M10 15v.1M3.2 3.2l13.6 13.6" }],
  cancelling: [DASHED, { tag: "path", d: "M7.5 7.5h5v5h-5z" }],
  completed: [RING, { tag: "path", d: "m6.7 10.3 2.3 2.3 4.4-4.9" }],
  failed: [
    { tag: "path", d: "M6.9 2.75h6.2l4.15 4.15v6.2l-4.15 4.15H6.9L2.75 13.1V6.9z", join: true },
    { tag: "path", d: "m7.5 7.5 5 5m0-5-5 5" },
  ],
  cancelled: [RING, { tag: "path", d: "M6.4 10h7.2" }],
  unknown: [DASHED, { tag: "path", d: "M8 8.2a2 2 0 1 1 2.7 1.9c-.5.2-.7.5-.7 1.1M10 13.6v.1" }],
  dismiss: [{ tag: "path", d: "m5.5 5.5 9 9m0-9-9 9" }],
});

/** An empty icon, to be filled by `drawIcon`. @param {number} [size] Pixels; left out, the sheet says. @returns {SVGSVGElement} */
export function makeIcon(size) {
  const svg = document.createElementNS(SVG, "svg");
  set(svg, { viewBox: "0 0 20 20", fill: "none", stroke: "currentColor", "stroke-width": "1.75", "stroke-linecap": "round", "aria-hidden": "true" });
  if (size) set(svg, { width: String(size), height: String(size) });
  return svg;
}

/** @param {SVGSVGElement} svg @param {string} name A state of a card, or `dismiss`. */
export function drawIcon(svg, name) {
  if (svg.dataset.icon === name) return;
  svg.dataset.icon = name;
  svg.replaceChildren(...(SHAPES[name] ?? []).map(draw));
}

/** @param {Shape} shape */
function draw(shape) {
  const node = document.createElementNS(SVG, shape.tag);
  if (shape.tag === "circle") {
    set(node, { cx: "10", cy: "10", r: "7.25", ...(shape.dash && { "stroke-dasharray": "2.4 3.3" }), ...(shape.faint && { opacity: ".35" }) });
  } else {
    set(node, { d: shape.d, ...(shape.join && { "stroke-linejoin": "round" }) });
  }
  return node;
}

/** @param {Element} node @param {Record<string, string>} attributes */
function set(node, attributes) {
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
}

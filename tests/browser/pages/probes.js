// What the tests ask of the page; functions of `probe` on the page's global object.

const card = (id) => document.querySelector(`realtime-task[task-id="${id}"]`);
const part = (id, selector) => card(id).shadowRoot.querySelector(selector);
const list = () => document.querySelector("realtime-tasks").shadowRoot;

/** All elements of the page, those in shadow roots too. */
function* everything(root = document) {
  for (const node of root.querySelectorAll("*")) {
    yield node;
    if (node.shadowRoot) yield* everything(node.shadowRoot);
  }
}

const ours = () => [...everything()].filter((node) => node.getRootNode() instanceof ShadowRoot);

/** How the eye tells a state, without its words. */
export function look(id) {
  const style = getComputedStyle(part(id, ".card"));
  const bar = getComputedStyle(part(id, "progress"));
  return {
    icon: part(id, ".icon").innerHTML,
    edge: style.borderTopStyle,
    dotted: bar.backgroundImage.includes("radial-gradient"),
    hatched: style.getPropertyValue("--_weave").includes("repeating-linear-gradient"),
    striped: bar.backgroundImage.includes("repeating-linear-gradient"),
    animation: bar.animationName,
    transition: bar.transitionDuration,
    railEdge: bar.borderTopWidth,
  };
}

/** What is wider than the element it stands in, or than the page. */
export function tooWide() {
  const wide = [];
  if (document.scrollingElement.scrollWidth > innerWidth) wide.push(`page: ${document.scrollingElement.scrollWidth}`);
  for (const element of document.querySelectorAll("realtime-task, realtime-tasks, realtime-connection, realtime-output")) {
    const place = element.getBoundingClientRect();
    for (const node of everything(element.shadowRoot)) {
      // Clipped on purpose: words for the ear, the ends of a long count, details that scroll.
      if (!node.checkVisibility() || node.closest(".sr, .meta p, dl, .on-focus")) continue;
      const box = node.getBoundingClientRect();
      if (box.left < place.left - 0.5 || box.right > place.right + 0.5) wide.push(`${element.taskId}: ${node.localName}.${node.className}`);
    }
  }
  return wide;
}

/** Amounts of which the end cannot be seen. */
export function cutOff() {
  return [...everything()]
    .filter((node) => node.matches(".meta bdi") && node.checkVisibility())
    .filter((node) => {
      const [line, ...texts] = [node.closest("p").getBoundingClientRect(), ...node.getClientRects()];
      return texts.some((text) => text.left < line.left - 0.5 || text.right > line.right + 0.5 || text.bottom > line.bottom + 0.5);
    })
    .map((node) => node.textContent);
}

const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });

function luminance(color) {
  canvas.clearRect(0, 0, 1, 1);
  canvas.fillStyle = color;
  canvas.fillRect(0, 0, 1, 1);
  const linear = (value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
  const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].map((value) => linear(value / 255));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

function ground(node) {
  for (let at = node; at; at = at.parentElement ?? at.getRootNode().host) {
    const color = getComputedStyle(at).backgroundColor;
    if (color !== "transparent" && !color.endsWith(", 0)")) return color;
  }
  return "white";
}

/** Every text of the elements with its contrast, as WCAG 2 counts it. */
export function contrasts() {
  return ours()
    .filter((node) => [...node.childNodes].some((child) => child.nodeType === Node.TEXT_NODE && child.data.trim()))
    .filter((node) => node.checkVisibility() && !node.closest(".sr, i"))
    .map((node) => {
      const [text, behind] = [luminance(getComputedStyle(node).color), luminance(ground(node))];
      const ratio = (Math.max(text, behind) + 0.05) / (Math.min(text, behind) + 0.05);
      return { text: node.textContent.slice(0, 30), ratio };
    });
}

/** What markup in a task's texts has made of itself. */
export function injected() {
  const foreign = "img, iframe, script:not([src]), i:not(.meta i), b:not(.empty b, .banner b)";
  const found = [...everything(document.body)].filter((node) => node.matches(foreign)).map((node) => node.outerHTML);
  const shown = ours().filter((node) => !node.children.length && node.textContent.includes("onerror")).length;
  return { found, shown, title: document.title };
}

/** Note when the card of a task changes in any way. */
export function watchPaints(id) {
  const paints = [];
  const options = { subtree: true, childList: true, characterData: true, attributes: true };
  new MutationObserver(() => paints.push(performance.now())).observe(card(id).shadowRoot, options);
  return paints;
}

/** What the live region says, each time it does. */
export function watchRegion() {
  const region = document.querySelector("[role=status]");
  const said = [];
  new MutationObserver(() => said.push(region.textContent)).observe(region, { childList: true });
  return said;
}

/** The part that has the focus, and the task of its card: `a:name`. */
export function focused() {
  let node = document.activeElement;
  let task = "";
  for (; ; node = node.shadowRoot.activeElement) {
    if (node?.localName === "realtime-task") task = node.taskId;
    if (!node?.shadowRoot?.activeElement) break;
  }
  return `${task}:${node?.getAttribute("part") ?? node?.localName}`;
}

/** How the ring around what has the focus is drawn. */
export function ring() {
  const node = document.activeElement.shadowRoot.activeElement;
  const { outlineStyle, outlineWidth } = getComputedStyle(node);
  return [node.localName, outlineStyle, outlineWidth];
}

/** Where things stand in a card, from left to right. */
export function placesOf(id) {
  const at = (selector) => part(id, selector).getBoundingClientRect();
  return { icon: at(".icon").x, name: at(".name bdi").x, figure: at(".figure").x, button: at(".action button").x, count: at(".meta p").x,
    time: at("time").x, bar: at("progress").y, buttonTop: at(".action button").y };
}

/** @param {string} selector @param {string} property */
export const styleOf = (id, selector, property) => getComputedStyle(part(id, selector))[property];
export const cardsOfList = () => [...list().querySelectorAll("li > realtime-task")];
export const idsOfList = () => cardsOfList().map((element) => element.taskId);
export const itemStyles = (property) => [...list().querySelectorAll("li")].map((item) => getComputedStyle(item)[property]);
export const order = (id) => [...part(id, ".card").children].map((node) => node.getAttribute("part") ?? node.className);
export const role = (id) => part(id, ".card").getAttribute("role");
export const links = (id) => [...card(id).shadowRoot.querySelectorAll(".result a")].filter((link) => link.checkVisibility()).map((link) => [link.getAttribute("href"), link.innerText]);
export const states = () => [...document.querySelectorAll("realtime-task")].map((element) => element.taskId);

// The elements' stylesheets, constructed once and adopted by every shadow root: a page's policy of
// `default-src 'self'` lets these pass where <style> and style="" are refused.

const TOKENS = `
:host {
  --_page:    var(--realtime-page,    light-dark(#f5f3ee, #121214));
  --_ink:     var(--realtime-ink,     light-dark(#1c1a16, #f2efe9));
  --_ink-2:   var(--realtime-ink-2,   light-dark(#57534a, #b9b4aa));
  --_surface: var(--realtime-surface, light-dark(#ffffff, #1b1b1f));
  --_track:   var(--realtime-track,   light-dark(#e9e5dc, #2d2d33));
  --_line:    var(--realtime-line,    light-dark(#ddd8cd, #34343b));
  --_edge:    var(--realtime-edge,    light-dark(#857f72, #7f7c78));
  --_accent:  var(--realtime-accent,  light-dark(#1d4ed8, #8fb0ff));
  --_ok:      var(--realtime-ok,      light-dark(#0f6b47, #62d39b));
  --_bad:     var(--realtime-bad,     light-dark(#b42318, #ff9387));
  --_warn:    var(--realtime-warn,    light-dark(#8a4b00, #f3b64c));
  --_idle:    var(--realtime-idle,    light-dark(#625f5a, #a6a29b));
  --_radius:  var(--realtime-radius, 10px);
  --_mono:    var(--realtime-mono, ui-monospace, "SF Mono", "Cascadia Mono", "JetBrains Mono", Menlo, Consolas, monospace);
  display: block;
  font: 400 0.9375rem/1.5 var(--realtime-font, inherit);
  color: var(--_ink);
}
:host([hidden]), [hidden] { display: none !important; }
* { box-sizing: border-box; }
p, h1, h2, h3, h4, h5, h6, dl, dd, ul { margin: 0; padding: 0; }
.sr { position: absolute; inline-size: 1px; block-size: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
button, .button { font: inherit; font-size: 0.875rem; font-weight: 500; min-block-size: 2.25rem; min-inline-size: 2.25rem; padding: 0 0.75rem; color: var(--_ink); background: transparent;
         border: 1px solid var(--_edge); border-radius: 6px; cursor: pointer; touch-action: manipulation; white-space: nowrap; }
button:hover { background: var(--_track); }
button[aria-disabled="true"] { color: var(--_ink-2); border-color: var(--_line); background: transparent; cursor: default; }
:is(button, a, summary, [tabindex]):focus-visible { outline: 2px solid var(--_accent); outline-offset: 2px; border-radius: 4px; }
button:focus-visible { border-radius: 6px; }
@media (forced-colors: active) { button[aria-disabled="true"] { color: GrayText; border-color: GrayText; } }
@media (pointer: coarse) { button, .button { min-block-size: 2.75rem; min-inline-size: 2.75rem; } }
`;

const TASK = `
:host {
  --_bar: var(--realtime-bar, 8px);
  --_tone: var(--_accent);
  container: realtime-task / inline-size;
  contain-intrinsic-inline-size: 22rem;  /* where a place takes its width from what is in it, such as a flex row */
}
.card {
  display: grid;
  grid-template-columns: 1.25rem minmax(0, 1fr) auto auto;
  grid-template-areas:
    "icon name   figure action"
    "icon words  words  words"
    "rail rail   rail   rail"
    "meta meta   meta   meta";
  column-gap: 0.75rem;
  align-items: center;
  padding: 0.875rem 1rem 0.8125rem;
  background: var(--_surface);
  border: 1px solid var(--_line);
  border-radius: var(--_radius);
}
.icon { grid-area: icon; align-self: start; margin-block-start: 0.5rem; inline-size: 1.25rem; block-size: 1.25rem; color: var(--_tone); }
.name { grid-area: name; font-size: 1rem; line-height: 1.35; font-weight: 600; letter-spacing: -0.006em; overflow-wrap: anywhere; }
.figure { grid-area: figure; font-size: 1.125rem; line-height: 2.25rem; min-block-size: 2.25rem; font-weight: 600; font-variant-numeric: tabular-nums; color: var(--_tone); white-space: nowrap; justify-self: end; }
.figure[data-word] { font-size: 0.9375rem; }
.action { grid-area: action; display: flex; gap: 0.5rem; }
.action:not([data-button]):not([data-slotted]) { margin-inline-start: -0.75rem; }  /* nothing there: no gap either */
.words { grid-area: words; color: var(--_ink-2); overflow-wrap: anywhere; max-inline-size: 68ch; }
.words strong { color: var(--_tone); font-weight: 600; }
.words > :not(.sr) { margin-block-start: 0.125rem; }
.message, .error-text, .result-text { white-space: pre-line; }
.meta { grid-area: meta; display: flex; flex-wrap: wrap; gap: 0 1rem; justify-content: space-between; min-block-size: 1.45em; margin-block-start: 0.5rem;
        font-size: 0.8125rem; line-height: 1.45; color: var(--_ink-2); font-variant-numeric: tabular-nums; }
.meta p { position: relative; display: flex; flex-wrap: wrap; overflow: clip; min-inline-size: 0; max-inline-size: 100%; }
/* Each breaks only where it is longer than a line. A dot at a line's start is clipped away. */
.meta p > span { margin-inline-start: -0.9375rem; padding-inline: 0.9375rem; text-indent: -0.9375rem; max-inline-size: calc(100% + 1.875rem); overflow-wrap: anywhere; }
.meta p > span::before { content: "·" / ""; display: inline-block; inline-size: 0.9375rem; text-indent: 0; text-align: center; color: var(--_edge); }
.meta i { position: absolute; clip-path: inset(50%); }  /* commas, for the ear only; placed in the line, so that it clips them */
.meta time { white-space: nowrap; }
.result a { color: var(--_accent); font-weight: 600; text-underline-offset: 3px; }
.error-text { color: var(--_ink); }
details { margin-block-start: 0.25rem; font-size: 0.8125rem; }
summary { cursor: pointer; inline-size: fit-content; padding-block: 0.25rem; color: var(--_ink-2); border-radius: 4px; }
dl { display: grid; grid-template-columns: fit-content(40%) minmax(0, 1fr); gap: 0.125rem 0.75rem; padding: 0.5rem 0.75rem; max-block-size: 16rem; overflow: auto;
     background: var(--_track); border-radius: 6px; font-family: var(--_mono); font-size: 0.75rem; }
dt { color: var(--_ink-2); overflow-wrap: anywhere; }
dd { overflow-wrap: anywhere; white-space: pre-wrap; }

/* The rail. Shape and texture carry the state; colour only repeats it. */
progress { grid-area: rail; appearance: none; inline-size: 100%; block-size: var(--_bar); margin-block-start: 0.625rem; border: 0; border-radius: 2px;
           overflow: hidden; background: var(--_rail, var(--_track)); }
progress::-webkit-progress-bar { background: transparent; }
progress::-webkit-progress-value { background: var(--_tone) var(--_weave, none); border-radius: 0 2px 2px 0; }
progress::-moz-progress-bar { background: var(--_tone) var(--_weave, none); border-radius: 0 2px 2px 0; }
progress:indeterminate::-moz-progress-bar { background: transparent; }
.card:is([data-state="processing"], [data-state="cancelling"], [data-state="stalled"]) progress:indeterminate {
  background: repeating-linear-gradient(115deg, var(--_tone) 0 6px, var(--_track) 6px 16px);
}

.card:is([data-state="pending"], [data-state="loading"]) { --_tone: var(--_idle); }
.card[data-state="pending"] progress { --_rail: none; border: 1px dashed var(--_edge); }
.card[data-state="cancelling"] { --_tone: var(--_idle); --_weave: repeating-linear-gradient(115deg, transparent 0 6px, color-mix(in srgb, var(--_track) 70%, transparent) 6px 10px); }
.card[data-state="quiet"] progress { --_rail: radial-gradient(circle at 50% 50%, var(--_tone) 0 1.5px, transparent 2px) 0 50% / 10px 100% repeat-x, var(--_track); }
.card[data-state="stalled"] { --_tone: var(--_warn); --_weave: repeating-linear-gradient(115deg, transparent 0 5px, var(--_track) 5px 10px); }
.card[data-state="lost"] { --_tone: var(--_idle); border-style: dashed; border-color: var(--_edge); }
.card[data-state="lost"] progress { --_rail: none; border: 1px solid var(--_edge); }
.card[data-state="completed"] { --_tone: var(--_ok); }
.card[data-state="failed"] { --_tone: var(--_bad); }
.card:is([data-state="cancelled"], [data-state="unknown"]) { --_tone: var(--_idle); }
.card:is([data-state="completed"], [data-state="failed"], [data-state="cancelled"]) { --_bar: 3px; }

.quiet svg { inline-size: 1.125rem; block-size: 1.125rem; }
button.quiet { padding: 0; border-color: transparent; color: var(--_ink-2); display: grid; place-items: center; }
.words a { border-radius: 2px; }

/* A narrow place (a phone, a side panel): Cancel goes to the foot, under the thumb; the name gets its line back. */
@container realtime-task (inline-size < 25rem) {
  .card { padding-inline: 0.875rem; column-gap: 0.625rem; }
  .card:has(.action[data-button="cancel"], .action[data-slotted]) { grid-template-columns: 1.25rem minmax(0, 1fr) auto;
    grid-template-areas: "icon name figure" "icon words words" "rail rail rail" "meta meta action"; }
  .card:has(.action[data-button="cancel"], .action[data-slotted]) .action { align-self: end; margin-block-start: 0.5rem; flex-wrap: wrap; justify-content: end; }
  .card:has(.action[data-button="cancel"]) time { display: none; }
  /* As high with one line as with two: a time left that comes and goes moves nothing. */
  .card:has(.action[data-button="cancel"]) .meta { min-block-size: 2.9em; align-content: center; }
}
@media (prefers-reduced-motion: no-preference) {
  progress::-webkit-progress-value { transition: inline-size 200ms linear, background-color 160ms; }
  progress::-moz-progress-bar { transition: inline-size 200ms linear, background-color 160ms; }
  progress { transition: block-size 200ms ease-out; }
  .card[data-state="processing"] progress:indeterminate { background-size: calc(16px / sin(65deg)) 100%; animation: weave 900ms linear infinite; background-repeat: repeat; }
  @keyframes weave { to { background-position-x: calc(16px / sin(65deg)); } }
}
@media (forced-colors: active) {
  progress { --_tone: Highlight; --_track: Canvas; --_edge: CanvasText; forced-color-adjust: none; border: 1px solid CanvasText !important; block-size: max(var(--_bar), 10px); }
  .card[data-state="pending"] progress { border-style: dashed !important; }
  .card:is([data-state="lost"], [data-state="cancelling"], [data-state="cancelled"]) progress { --_tone: GrayText; }
  .card[data-state="stalled"] progress { --_tone: CanvasText; }
  /* The system's Highlight may be translucent; what lies under it must not show through. */
  progress::-webkit-progress-value { background: var(--_weave, linear-gradient(transparent, transparent)), linear-gradient(var(--_tone), var(--_tone)), Canvas; }
  progress::-moz-progress-bar { background: var(--_weave, linear-gradient(transparent, transparent)), linear-gradient(var(--_tone), var(--_tone)), Canvas; }
  progress:indeterminate::-moz-progress-bar { background: none; }
  .icon { color: CanvasText; }
}
`;

const TASKS = `
.list { list-style: none; display: grid; grid-template-columns: minmax(0, 1fr); gap: 0.75rem; }
.banner { margin-block-end: 0.75rem; }
.empty { padding: 2rem 1.25rem 1.75rem; text-align: center; border: 1.5px dashed var(--_edge); border-radius: var(--_radius); color: var(--_ink-2); text-wrap: balance; overflow-wrap: anywhere; }
.empty::before { content: ""; display: block; block-size: 8px; max-inline-size: 9rem; margin: 0 auto 1rem; border: 1px dashed var(--_edge); border-radius: 2px; }
.empty b { display: block; color: var(--_ink); font-weight: 600; }
.more { display: block; inline-size: 100%; margin-block-start: 0.75rem; }
/* The parts of a card hang on its edge. */
.unfold { display: inline-flex; align-items: center; gap: 0.5rem; margin-block-start: 0.25rem; border-color: transparent; color: var(--_ink-2); font-size: 0.8125rem; }
.unfold::before { content: "" / ""; inline-size: 0.4375rem; block-size: 0.4375rem; border-block-end: 1.75px solid; border-inline-end: 1.75px solid; rotate: -45deg; translate: -0.0625rem 0; }
.unfold:dir(rtl)::before { rotate: 45deg; translate: 0.0625rem 0; }
.unfold[aria-expanded="true"]::before { rotate: 45deg; translate: 0 -0.125rem; }
.unfold:dir(rtl)[aria-expanded="true"]::before { rotate: -45deg; }
.parts > .list { margin-block-start: 0.5rem; margin-inline-start: 1rem; padding-inline-start: 0.875rem; border-inline-start: 2px solid var(--_line); gap: 0.5rem; }
.parts .parts .parts > .list { margin-inline-start: 0; padding-inline-start: 0.5rem; }
.parts > .more { inline-size: auto; margin-inline-start: 2rem; }
.foot { margin-block-start: 1rem; display: flex; flex-wrap: wrap; gap: 0.5rem 1rem; justify-content: space-between; align-items: center; min-block-size: 2.25rem; font-size: 0.8125rem; color: var(--_ink-2);
        font-variant-numeric: tabular-nums; }
@media (prefers-reduced-motion: no-preference) {
  .list > .new { animation: in 180ms ease-out; }
  @keyframes in { from { opacity: 0; transform: translateY(-4px); } }
}
`;

const CONNECTION = `
.state { display: inline-flex; align-items: center; gap: 0.4375rem; font-size: 0.8125rem; font-weight: 500; color: var(--_ink-2); }
.dot { flex: none; inline-size: 0.5625rem; block-size: 0.5625rem; border-radius: 50%; border: 2px solid var(--_tone); }
.state { --_tone: var(--_idle); }
.state[data-state="live"] { --_tone: var(--_ok); }
.state[data-state="live"] .dot { background: var(--_tone); }
.state[data-state="stale"] { --_tone: var(--_warn); color: var(--_tone); }
.state[data-state="stale"] .dot { border-style: dotted; }
.state:is([data-state="offline"], [data-state="denied"]) { --_tone: var(--_bad); color: var(--_tone); }
.banner { display: grid; grid-template-columns: minmax(0, 1fr) auto; gap: 0.25rem 0.75rem; align-items: center; padding: 0.75rem 0.75rem 0.75rem 1rem; border-radius: var(--_radius);
          background: var(--_ink); color: var(--_page); font-size: 0.875rem; line-height: 1.45; overflow-wrap: anywhere; }
.state:not([hidden]) + .banner { margin-block-start: 0.5rem; }
.banner b { font-weight: 600; }
.banner .next { font-variant-numeric: tabular-nums; }
.banner :is(button, .button) { color: inherit; border-color: currentColor; font-weight: 600; }
.banner button:hover { background: color-mix(in srgb, currentColor 18%, transparent); }
.banner button[aria-disabled="true"] { color: inherit; opacity: 0.7; background: transparent; }
.banner :is(button, a):focus-visible { outline-color: currentColor; }
.button { display: inline-grid; place-items: center; text-decoration: none; }
@media (forced-colors: active) {
  .banner { border: 1px solid CanvasText; }
  .dot { border-color: CanvasText; }
  .state[data-state="live"] .dot { forced-color-adjust: none; background: CanvasText; }
}
`;

const OUTPUT = `
.card { background: var(--_surface); border: 1px solid var(--_line); border-radius: var(--_radius); overflow: clip; }
.card[data-state="lost"] { border-style: dashed; border-color: var(--_edge); }
.head { position: relative; display: flex; align-items: center; gap: 0.25rem 0.75rem; min-block-size: 3rem; padding: 0.3125rem 0.5rem 0.3125rem 1rem; border-block-end: 1px solid var(--_line);
        font-size: 0.8125rem; line-height: 1.45; color: var(--_ink-2); }
.head p { flex: 1; min-inline-size: 0; overflow-wrap: anywhere; }
.head .age:not(:empty) { display: block; font-variant-numeric: tabular-nums; }
.head button { flex: none; font-size: 0.8125rem; padding-inline: 0.625rem; }
.new { font-weight: 600; font-variant-numeric: tabular-nums; color: var(--_surface); background: var(--_accent); border-color: var(--_accent); }
.new:hover { color: var(--_surface); background: color-mix(in srgb, var(--_accent) 88%, var(--_ink)); }
.on-focus:not(:focus) { position: absolute; inline-size: 1px; block-size: 1px; min-inline-size: 1px; min-block-size: 1px; padding: 0; overflow: hidden; clip-path: inset(50%); }
.on-focus[aria-pressed="true"] { color: var(--_accent); border-color: currentColor; }
.log { position: relative; margin: 0; padding: 0.75rem 1rem; block-size: 9.5rem; overflow: auto; overflow-anchor: none; font: 0.8125rem/1.6 var(--_mono); color: var(--_ink);
       direction: ltr; text-align: start; unicode-bidi: plaintext; white-space: pre-wrap; overflow-wrap: anywhere; tab-size: 8; }
.log section > div { unicode-bidi: plaintext; }
.attempt { display: flex; align-items: center; gap: 0.75rem; font: 600 0.8125rem/1.6 var(--realtime-font, inherit); color: var(--_ink-2); unicode-bidi: isolate; }
.attempt::after { content: ""; flex: 1; border-block-start: 1px solid var(--_line); }
section:not(:first-child) > .attempt { margin-block-start: 0.5rem; }
.log:focus-visible { outline-offset: -2px; border-radius: 0 0 var(--_radius) var(--_radius); }
.log em { display: block; font-style: normal; color: var(--_ink-2); unicode-bidi: isolate; }
@media (pointer: coarse) { .head { min-block-size: 3.5rem; } }
@media (forced-colors: active) { .new { border-color: Highlight; } }
`;

/** @param {string} css */
function sheet(css) {
  const made = new CSSStyleSheet();
  made.replaceSync(css);
  return made;
}

const tokens = sheet(TOKENS);
export const taskSheets = [tokens, sheet(TASK)];
export const tasksSheets = [tokens, sheet(TASKS)];
export const outputSheets = [tokens, sheet(OUTPUT)];
export const connectionSheets = [tokens, sheet(CONNECTION)];

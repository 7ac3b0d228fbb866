// The small parts: a model's text with its mathematics set, a chart, a copy button. Know nothing of loops.

import { Component, h } from "./lib/preact/preact.mjs";
import htm from "./lib/htm/htm.module.js";
import DOMPurify from "./lib/dompurify/purify.es.mjs";
import uPlot from "./lib/uplot/uPlot.esm.js";
import { show } from "./mathtext.js";

export const html = htm.bind(h);

const PURE = { IN_PLACE: true, ADD_TAGS: ["semantics", "annotation"], FORBID_TAGS: ["a", "img", "form", "input", "button", "style", "video", "audio"] };
const NEAR_END = 32;

// Whatever KaTeX built goes through DOMPurify just before it enters the page.
function clean(holder) {
  DOMPurify.sanitize(holder, PURE);
  return holder;
}

// A model's text. With `follow` it stays at its end while it grows, unless the reader has scrolled away.
export class Rich extends Component {
  keep = (node) => (this.node = node);
  shouldComponentUpdate(next) {
    return next.text !== this.props.text;
  }
  componentDidMount() {
    this.paint();
  }
  componentDidUpdate() {
    this.paint();
  }
  paint() {
    const at = this.node;
    const end = at.scrollHeight - at.scrollTop - at.clientHeight < NEAR_END;
    show(at, this.props.text, { katex: window.katex, clean });
    if (this.props.follow && end) at.scrollTop = at.scrollHeight;
  }
  render({ className = "", label }) {
    return label
      ? html`<div ref=${this.keep} class=${`rich ${className}`} tabindex="0" role="group" aria-label=${label}></div>`
      : html`<div ref=${this.keep} class=${`rich ${className}`}></div>`;
  }
}

const scheme = window.matchMedia("(prefers-color-scheme: dark)");
const colour = (name) => () => getComputedStyle(document.documentElement).getPropertyValue(name);

const axis = (more) => ({
  stroke: colour("--soft"),
  grid: { stroke: colour("--rule"), width: 1 },
  ticks: { show: false },
  font: "11px system-ui, sans-serif",
  ...more,
});

// Lines over seconds. `lines` are {name, colour}, `data` is [seconds, values of the first line, ...].
export class Chart extends Component {
  keep = (node) => (this.node = node);
  componentDidMount() {
    this.draw();
    this.sizes = new ResizeObserver(() => this.plot.setSize(this.size()));
    this.sizes.observe(this.node);
    this.recolour = () => this.plot.redraw();
    scheme.addEventListener("change", this.recolour);
  }
  componentDidUpdate(before) {
    if (before.lines.map((line) => line.name).join("\n") === this.props.lines.map((line) => line.name).join("\n")) {
      this.plot.setData(this.props.data);
      return;
    }
    this.plot.destroy();
    this.draw();
  }
  componentWillUnmount() {
    this.sizes.disconnect();
    scheme.removeEventListener("change", this.recolour);
    this.plot.destroy();
  }
  size() {
    return { width: this.node.clientWidth, height: 150 };
  }
  draw() {
    const { lines, data, stepped } = this.props;
    const paths = stepped ? uPlot.paths.stepped({ align: 1 }) : undefined;
    const series = lines.map((line) => ({ label: line.name, stroke: colour(line.colour), width: 2, points: { show: stepped, size: 5 }, paths, spanGaps: true }));
    const options = {
      ...this.size(),
      legend: { show: false },
      cursor: { show: false },
      padding: [8, 8, 0, 0],
      scales: { x: { time: false, range: (plot, low, high) => [0, Math.max(high || 0, 1)] }, y: { range: (plot, low, high) => [0, Math.max(1, (high || 0) * 1.08)] } },
      axes: [axis({ size: 26, values: (plot, ticks) => ticks.map((tick) => `${tick} s`) }), axis({ size: 42 })],
      series: [{}, ...series],
    };
    this.plot = new uPlot(options, data, this.node);
  }
  render({ label }) {
    return html`<div ref=${this.keep} class="plot" role="img" aria-label=${label}></div>`;
  }
}

// Copies a text and says so for a moment.
export class Copy extends Component {
  async copy() {
    await navigator.clipboard.writeText(this.props.text);
    this.setState({ copied: true });
    setTimeout(() => this.setState({ copied: false }), 1500);
  }
  render(props, { copied }) {
    return html`<button type="button" class="quiet" onClick=${() => this.copy()}>${copied ? "Copied" : "Copy"}</button>`;
  }
}

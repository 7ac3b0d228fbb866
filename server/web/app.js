// The page's state, what a person can do to it, and when it is drawn again.

import { render } from "./lib/preact/preact.mjs";
import * as api from "./api.js";
import { EMPTY, directRequest, loopRequest } from "./form.js";
import { Run } from "./run.js";
import { page } from "./view.js";

const RETRY_MS = 3000;
const TICK_MS = 100;
const now = () => performance.now() / 1000;

const state = {
  form: { ...EMPTY },
  key: "", // kept here and nowhere else
  keyed: false, // the server asks for a key
  models: { names: [], says: "" },
  loop: null,
  direct: null,
  fault: null,
  busy: false,
  tab: "curl",
};
let stopping = null;
let drawing = false;

function draw() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    state.loop?.tick();
    state.direct?.tick();
    render(page(state, act), document.getElementById("app"));
  });
}

async function listModels() {
  try {
    state.models = { names: await api.models(state.key), says: "" };
    state.keyed &&= Boolean(state.key);
  } catch (error) {
    state.models = { names: [], says: error.code === 401 ? "This server asks for an API key." : error.message };
    state.keyed ||= error.code === 401;
    if (error.code !== 401) setTimeout(listModels, RETRY_MS);
  }
  draw();
}

// One run to its end, whatever that is. The fault of a run that was not stopped is shown.
async function follow(run, body, signal) {
  const tell = (event) => {
    run.hear(event);
    draw();
  };
  try {
    await api.solve(body, { key: state.key, signal, tell });
  } catch (error) {
    run.end(error.name === "AbortError" ? "stopped" : "failed", error);
    if (error.name === "AbortError") return;
    if (!(error instanceof api.Refusal)) throw error;
    state.fault ??= error;
    state.keyed ||= error.code === 401;
  }
}

async function solve() {
  const { form } = state;
  stopping = new AbortController();
  Object.assign(state, { busy: true, fault: null, loop: new Run(now), direct: form.compare ? new Run(now) : null });
  const ticking = setInterval(draw, TICK_MS);
  const runs = [follow(state.loop, loopRequest(form), stopping.signal)];
  if (state.direct) runs.push(follow(state.direct, directRequest(form), stopping.signal));
  await Promise.allSettled(runs);
  clearInterval(ticking);
  state.busy = false;
  draw();
  if (state.fault) blame(state.fault);
}

// Puts the focus where the fault can be mended.
function blame({ code, param }) {
  const name = code === 401 ? "key" : param?.replace("loop.", "");
  const field = name && document.querySelector(`form [name="${CSS.escape(name)}"]`);
  if (!field) return;
  field.closest("details")?.setAttribute("open", "");
  field.focus();
}

const act = {
  narrow: window.matchMedia("(max-width: 640px)").matches,
  set(name, value) {
    state.form = { ...state.form, [name]: value };
    draw();
  },
  key(event) {
    state.key = event.target.value;
    clearTimeout(act.waiting);
    act.waiting = setTimeout(listModels, 400);
    draw();
  },
  tab(name) {
    state.tab = name;
    draw();
  },
  solve(event) {
    event.preventDefault();
    if (!state.busy) solve();
  },
  stop() {
    stopping?.abort();
  },
  shortcut(event) {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) event.currentTarget.requestSubmit();
  },
};

document.addEventListener("keydown", (event) => event.key === "Escape" && act.stop());
draw();
listModels();

// What the page shows of its state. Pure functions from state to elements; `act` holds what a person can do.

import { Chart, Copy, Rich, html } from "./parts.js";
import { CRITIQUES, EFFORTS, NUMBERS, curl, python } from "./form.js";
import { STAGES } from "./run.js";

const EXAMPLES = [
  ["Mixture", "A chemist wants $10$ litres of a 50% acid solution and has a 30% and an 80% one. How many litres of the 30% solution does she need?"],
  ["Sum", "What is the sum of all integers $n$ with $1 \\le n \\le 100$ that are divisible by $3$ or by $5$?"],
  ["Integral", "Compute $\\int_0^1 x e^{x} \\, dx$."],
];
const LANES = {
  solve: ["Drafts", "Several solutions, written at once and grouped by answer."],
  critique: ["Critiques", "When drafts disagree, each answer is judged once."],
  revise: ["Revisions", "What is in doubt is solved again and joins the vote."],
};
const ENDS = {
  agreed: "All answers are the same",
  settled: "The winner is far enough ahead",
  rounds: "All rounds were used",
  no_answer: "No draft has an answer; this is the first whole one",
  engine_failed: "The engine failed on the way; the best so far",
  max_tokens: "The token budget was met; the best so far",
  max_calls: "The budget of calls was met; the best so far",
  deadline: "The deadline was met; the best so far",
};
const SERIES = 6;

const seconds = (value) => (value === null ? "–" : value < 10 ? `${value.toFixed(2)} s` : `${value.toFixed(1)} s`);
const amount = (value) => value.toLocaleString("en");
// An answer may come as bare LaTeX: then it is a formula.
const formula = (answer) => (/^\$|\\\(|\\text/.test(answer) || !/[\\^_{}]/.test(answer) ? answer : `$${answer}$`);

export function page(state, act) {
  return html`
    <header class="top">
      <div>
        <h1>Redraft</h1>
        <p>Solve, critique, revise: a model that checks its own work.</p>
      </div>
      <nav aria-label="More"><a href="docs">API docs</a></nav>
    </header>
    <main>
      ${ask(state, act)}
      <p class="unseen" role="status" aria-live="polite">${spoken(state)}</p>
      ${state.fault && fault(state.fault)} ${state.loop && (state.loop.steps.length > 0 || state.loop.running) && outcome(state)} ${lanes(state.loop)} ${code(state, act)}
    </main>
  `;
}

function ask({ form, fault, busy, models, key, keyed }, act) {
  const bad = fault?.param?.replace("loop.", "");
  const field = (name, label, control) => html`<label class=${bad === name ? `field ${name} bad` : `field ${name}`}><span>${label}</span>${control}</label>`;
  const set = (name) => (event) => act.set(name, event.target.type === "checkbox" ? event.target.checked : event.target.value);
  const choose = (name, first, others) => html`
    <select name=${name} value=${form[name]} onChange=${set(name)}>
      <option value="">${first}</option>
      ${others.map((one) => html`<option value=${one} key=${one}>${one}</option>`)}
    </select>
  `;
  const number = ({ name, label, ...bounds }) =>
    field(name, label, html`<input type="number" name=${name} ...${bounds} placeholder="default" value=${form[name]} onInput=${set(name)} inputmode="decimal" aria-invalid=${bad === name} />`);
  return html`
    <form class="card ask" onSubmit=${act.solve} onKeyDown=${act.shortcut}>
      <label for="problem">Problem</label>
      <textarea id="problem" name="problem" rows="3" required maxlength="400000" value=${form.problem} onInput=${set("problem")} placeholder="Type a problem with an answer; LaTeX between $ signs is welcome." aria-invalid=${bad === "problem"}></textarea>
      <div class="row">
        <button type="submit" class="main" disabled=${busy}>Solve</button>
        <button type="button" id="stop" disabled=${!busy} onClick=${act.stop}>Stop</button>
        <label class="check"><input type="checkbox" name="compare" checked=${form.compare} onChange=${set("compare")} /> Compare with one direct answer</label>
        <span class="examples"><span>Try</span> ${EXAMPLES.map(([name, text]) => html`<button type="button" class="quiet" key=${name} onClick=${() => act.set("problem", text)}>${name}</button>`)}</span>
      </div>
      <details open=${keyed || !act.narrow}>
        <summary>Model and budgets</summary>
        <div class="fields">
          ${field("model", "Model", choose("model", models.names[0] ? `${models.names[0]} (default)` : "default", models.names))}
          ${field("critic", "Critic", choose("critic", "the server's choice", models.names))} ${field("effort", "Effort", choose("effort", "default", EFFORTS))}
          ${field("critique", "Ask the critic", choose("critique", "default", CRITIQUES))}
          ${field("key", "API key", html`<input type="password" name="key" id="key" autocomplete="off" value=${key} onInput=${act.key} placeholder=${keyed ? "needed here" : "none needed"} aria-invalid=${keyed && !key} />`)}
          ${NUMBERS.map(number)}
        </div>
        <p class="note">${models.says || "What is left empty is the server's to choose. The key stays in this page's memory. Ctrl+Enter solves, Escape stops."}</p>
      </details>
    </form>
  `;
}

function fault({ message, type, retryAfter }) {
  const again = retryAfter ? ` Try again in ${retryAfter} s.` : "";
  return html`<div class="card fault" role="alert"><strong>${type.replaceAll("_", " ") || "error"}</strong> <span>${message}${again}</span></div>`;
}

// What a screen reader hears: phases, not pieces.
function spoken({ loop, fault }) {
  if (fault) return "";
  if (!loop) return "";
  if (loop.state === "stopped") return "Stopped.";
  if (loop.result) return `Done. ${loop.result.answer === null ? "No answer." : `The answer is ${loop.result.answer}.`}`;
  const ended = (stage) => loop.steps.filter((step) => step.stage === stage && step.ended).length;
  const all = (stage) => loop.steps.filter((step) => step.stage === stage).length;
  return `Solving. ${STAGES.filter(all).map((stage) => `${LANES[stage][0]}: ${ended(stage)} of ${all(stage)} done.`).join(" ")}`;
}

function outcome({ loop, direct }) {
  return html`
    <section class=${direct ? "outcome both" : "outcome"} aria-label="Outcome">
      <div class="card">
        ${direct && html`<h2>The loop</h2>`} ${summary(loop)} ${votes(loop)}
        <div class="charts">${charts(loop)}</div>
      </div>
      ${direct &&
      html`<div class="card" id="direct">
        <h2>One direct answer</h2>
        ${summary(direct, "One greedy draft, nothing checked")} ${direct.steps[0] && html`<${Rich} className="words" text=${direct.steps[0].text} follow=${direct.running} label="The direct answer's text" />`}
      </div>`}
    </section>
  `;
}

function summary(run, said) {
  const stop = run.result?.outcome.stop;
  const about = run.result ? (said ?? ENDS[stop]) : { running: "Working …", stopped: "Stopped", failed: "Failed" }[run.state];
  const answer = run.result ? (run.result.answer ?? "no answer") : (run.votes[0]?.answer ?? "");
  return html`
    <div class="summary">
      <div class=${run.result ? "answer" : "answer open"}>
        <span class="caption">${run.result ? "Answer" : "Ahead so far"}</span>
        <${Rich} text=${answer ? formula(answer) : "…"} />
      </div>
      <dl class="facts">
        <div><dt>Tokens</dt><dd>${run.result ? "" : "~"}${amount(run.tokens)}</dd></div>
        <div><dt>Time</dt><dd>${seconds(run.seconds)}</dd></div>
        <div><dt>First text</dt><dd>${seconds(run.first)}</dd></div>
      </dl>
    </div>
    <p class="about">${about}${said ? "" : critic(run)}${run.result?.outcome.warnings.map((warning) => `. ${warning}`).join("")}</p>
  `;
}

// Why the critic's word moved no vote, where it did not.
function critic(run) {
  const why = { uncalibrated: "has no calibration", below_break_even: "does not pay by its calibration" }[run.result?.outcome.critic];
  if (!why) return "";
  return `. The critic ${why}: it ${run.steps.some((step) => step.stage === "critique") ? "moved no vote" : "was not asked"}`;
}

const line = (position) => `--c${position % SERIES}`;

function votes(run) {
  if (!run.votes.length) return null;
  const most = Math.max(...run.votes.map((vote) => vote.weight), 1);
  const { lines } = run.ballots;
  const order = (vote) => Math.max(0, lines.findIndex((one) => one.members.some((member) => vote.members.includes(member))));
  return html`
    <ul class="votes" aria-label="Votes">
      ${run.votes.map(
        (vote) => html`<li key=${order(vote)}>
          <${Rich} className="which" text=${formula(vote.answer)} />
          <span class="bar"><span class=${`fill k${order(vote) % SERIES}`} style=${{ width: `${(100 * Math.max(vote.weight, 0)) / most}%` }}></span></span>
          <span class="weight">${vote.weight.toFixed(2).replace(/\.?0+$/, "")}</span>
        </li>`,
      )}
    </ul>
  `;
}

function charts(run) {
  const { samples, ballots } = run;
  const used = STAGES.filter((stage) => samples[stage].some(Boolean));
  const tokens = used.map((stage) => ({ name: LANES[stage][0], colour: `--${stage}` }));
  const answers = ballots.lines.map((one, position) => ({ name: one.answer, colour: line(position) }));
  const end = [...ballots.at, Math.max(run.seconds, ballots.at.at(-1) ?? 0)];
  const legend = (lines) => html`<span class="legend">${lines.map((one) => html`<span key=${one.name}><i class=${`k${one.colour.slice(2)}`}></i>${one.name}</span>`)}</span>`;
  return html`
    ${tokens.length > 0 &&
    html`<figure>
      <figcaption>Tokens ${legend(tokens)}</figcaption>
      <${Chart} lines=${tokens} data=${[[...samples.at], ...used.map((stage) => [...samples[stage]])]} label=${`Tokens over time: ${amount(run.tokens)} in ${seconds(run.seconds)}`} />
    </figure>`}
    ${answers.length > 0 &&
    html`<figure>
      <figcaption>Votes ${legend(answers.map((one) => ({ ...one, colour: one.colour.replace("--c", "--") })))}</figcaption>
      <${Chart} stepped lines=${answers} data=${[end, ...ballots.lines.map((one) => [...one.weights, one.weights.at(-1)])]} label=${`Votes over time: ${ballots.lines.map((one) => `${one.answer} has ${one.weights.at(-1)}`).join(", ")}`} />
    </figure>`}
  `;
}

function lanes(run) {
  const chosen = run?.result?.outcome.chosen;
  return html`
    <section class="lanes" aria-label="Steps">
      ${STAGES.map((stage) => {
        const steps = run ? run.steps.filter((step) => step.stage === stage) : [];
        return html`<section class=${`lane ${stage}`} key=${stage} aria-label=${LANES[stage][0]}>
          <h2>${LANES[stage][0]} <span>${steps.length || ""}</span></h2>
          ${steps.length ? steps.map((step, position) => card(step, run, step.stage !== "critique" && step.index === chosen, position)) : html`<p class="note">${LANES[stage][1]}</p>`}
        </section>`;
      })}
    </section>
  `;
}

// Responses are numbered through: drafts first, then revisions.
const response = (index, run) => `${run.steps.some((step) => step.stage === "solve" && step.index === index) ? "draft" : "revision"} ${index + 1}`;

function titled({ stage, index, parent }, run) {
  if (stage === "solve") return `Draft ${index + 1}`;
  return stage === "critique" ? `Critique of ${response(index, run)}` : `Revision ${index + 1}, of ${response(parent, run)}`;
}

// A critique stands in its template's frame, which says nothing to a reader.
const unframed = (text) => text.replace(/^\s*Critique:\s*/, "").replace(/\s*\[END\]\s*$/, "");

function card(step, run, chosen, position) {
  const title = titled(step, run);
  const text = step.stage === "critique" ? unframed(step.text) : step.text;
  return html`
    <article class=${chosen ? "card step chosen" : "card step"} key=${position} aria-label=${title}>
      <h3>${title} ${chip(step, run)} ${chosen && html`<span class="chip chosen">chosen</span>`}</h3>
      <${Rich} className="words" text=${text || (step.ended ? "(nothing)" : "…")} follow=${!step.ended} label=${`Text of ${title}`} />
    </article>
  `;
}

function chip({ ended, text }, run) {
  if (!ended) return run.running ? html`<span class="chip live">${text ? "writing" : "waiting"}</span>` : html`<span class="chip">${run.state}</span>`;
  if (ended.verdict) return html`<span class=${`chip ${ended.verdict}`}>${ended.verdict}${ended.p_correct === null ? "" : ` · P(right) ${Math.round(ended.p_correct * 100)} %`}</span>`;
  if (ended.answer !== null) return html`<span class="chip answered"><${Rich} text=${formula(ended.answer)} /></span>`;
  return html`<span class="chip">${ended.finish_reason === "stop" ? "no answer" : ended.finish_reason === "length" ? "cut off" : ended.finish_reason}</span>`;
}

function code({ form, tab, key, keyed, models }, act) {
  const how = { base: document.baseURI, keyed: Boolean(key || keyed), model: models.names[0] };
  const texts = { curl: curl(form, how), python: python(form, how) };
  const names = { curl: "curl", python: "Python, openai" };
  return html`
    <section class="card code" aria-label="The same as code">
      <div class="row">
        <h2>The same as code</h2>
        <div role="group" aria-label="Language" class="tabs">
          ${Object.entries(names).map(([name, label]) => html`<button type="button" key=${name} class="quiet" aria-pressed=${tab === name} onClick=${() => act.tab(name)}>${label}</button>`)}
        </div>
        <${Copy} text=${texts[tab]} />
      </div>
      <pre tabindex="0" id="code">${texts[tab]}</pre>
    </section>
  `;
}

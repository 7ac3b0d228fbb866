// The drill-down: filters, search and one expandable row for each problem. All text of models enters the page as text, never as markup.

const PAGE_ROWS = 100;
const OUTCOMES = ["right", "wrong", "no_answer", "truncated", "failed"];
const runs = JSON.parse(document.getElementById("data").textContent).runs;
const byId = (id) => document.getElementById(id);

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined && text !== null) made.textContent = text;
  return made;
}

// Shows a model's text, mathematics set where KaTeX is in the page. `show` is of mathtext.js, which stands above this script.
const words = (tag, className, text) => show(element(tag, className), text, { katex: window.katex });

const chip = (outcome) => element("span", "chip " + outcome, outcome.replace("_", " "));

// One row for each problem id, with what each run made of it.
function gather() {
  const rows = new Map();
  runs.forEach((run, position) => {
    for (const entry of run.problems) {
      if (!rows.has(entry.id)) rows.set(entry.id, { id: entry.id, problem: entry.problem, gold: entry.gold, in: runs.map(() => null) });
      rows.get(entry.id).in[position] = entry;
    }
  });
  return [...rows.values()].sort((a, b) => a.id.localeCompare(b.id, undefined, { numeric: true }));
}

function filters(rows) {
  const found = [{ name: "all", keep: () => true }];
  for (const outcome of OUTCOMES) {
    found.push({ name: outcome.replace("_", " "), keep: (row) => row.in.some((e) => e && e.outcome === outcome) });
  }
  if (runs.length === 2) {
    const isRight = (entry) => entry && entry.outcome === "right";
    found.push({ name: "right \u2192 not right", keep: (row) => isRight(row.in[0]) && row.in[1] && !isRight(row.in[1]) });
    found.push({ name: "not right \u2192 right", keep: (row) => row.in[0] && !isRight(row.in[0]) && isRight(row.in[1]) });
  }
  return found.map((f) => ({ ...f, count: rows.filter(f.keep).length })).filter((f) => f.count > 0);
}

function haystack(row) {
  if (!row.haystack) {
    const parts = [row.id, row.problem, row.gold];
    for (const entry of row.in) if (entry) parts.push(entry.answer || "", ...entry.steps.map((step) => step.text));
    row.haystack = parts.join("\n").toLowerCase();
  }
  return row.haystack;
}

function facts(pairs) {
  const line = element("div", "facts-line");
  for (const [name, value] of pairs) {
    if (value === null || value === undefined) continue;
    const item = element("span", "", name + " ");
    item.append(element("b", "", String(value)));
    line.append(item);
  }
  return line;
}

function stepOf(step, open) {
  const box = element("details", "step");
  box.open = open;
  const head = element("summary");
  head.append(element("span", "", step.title));
  if (step.outcome) head.append(chip(step.outcome));
  if (step.verdict) head.append(element("span", "chip plain", step.verdict));
  box.append(head, facts([["answer", step.answer], ["checker", step.reason], ["ended", step.finish]]));
  if (step.reasoning) box.append(words("div", "words", step.reasoning));
  box.append(words("div", "words", step.text || "(nothing)"));
  return box;
}

function entryOf(run, entry) {
  const box = element("div");
  box.append(element("h3", "", run.name));
  if (!entry) {
    box.append(element("p", "facts-line", "not in this run"));
    return box;
  }
  const share = entry.steps.length > 1 && entry.share !== null ? Math.round(entry.share * 100) + " %" : null;
  box.append(facts([
    ["answer", entry.answer], ["checker", entry.reason], ["responses right", share],
    ["tokens", entry.tokens], ["seconds", entry.latency_s], ["failure", entry.message],
  ]));
  for (const step of entry.steps) box.append(stepOf(step, entry.steps.length === 1));
  return box;
}

function rowOf(row) {
  const box = element("details", "row");
  const head = element("summary");
  for (const entry of row.in) head.append(entry ? chip(entry.outcome) : element("span", "chip plain", "-"));
  head.append(words("span", "text", row.problem), element("code", "", row.id));
  box.append(head);
  box.addEventListener("toggle", () => {
    if (!box.open || box.dataset.filled) return;
    box.dataset.filled = "yes";
    const inside = element("div", "inside");
    inside.append(words("p", "problem", row.problem), facts([["gold", row.gold]]));
    const both = element("div", "both");
    runs.forEach((run, position) => both.append(entryOf(run, row.in[position])));
    inside.append(both);
    box.append(inside);
  });
  return box;
}

function start() {
  const rows = gather();
  const choices = filters(rows);
  let chosen = choices[0];
  let shown = PAGE_ROWS;

  function draw() {
    const wanted = byId("search").value.trim().toLowerCase();
    const kept = rows.filter((row) => chosen.keep(row) && (!wanted || haystack(row).includes(wanted)));
    byId("list").replaceChildren(...kept.slice(0, shown).map(rowOf));
    byId("count").textContent = kept.length + " of " + rows.length;
    byId("more").hidden = kept.length <= shown;
  }

  for (const choice of choices) {
    const button = element("button", "", choice.name + " " + choice.count);
    button.type = "button";
    button.setAttribute("aria-pressed", String(choice === chosen));
    button.addEventListener("click", () => {
      chosen = choice;
      shown = PAGE_ROWS;
      for (const other of byId("filters").children) other.setAttribute("aria-pressed", String(other === button));
      draw();
    });
    byId("filters").append(button);
  }
  byId("search").addEventListener("input", () => { shown = PAGE_ROWS; draw(); });
  byId("more").addEventListener("click", () => { shown += PAGE_ROWS; draw(); });
  draw();
}

function themes() {
  const set = (name) => {
    document.documentElement.dataset.theme = name;
    byId("theme").textContent = name === "dark" ? "light" : "dark";
  };
  set(window.matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  byId("theme").addEventListener("click", () => set(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
}

byId("title").textContent = document.title;
themes();
start();

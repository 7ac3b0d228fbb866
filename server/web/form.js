// What a person asks for: the form's fields, the request they make, and the same request as code. Knows no page and no network.

export const NUMBERS = [
  { name: "drafts", label: "Drafts", min: 1, step: 1 },
  { name: "rounds", label: "Rounds", min: 0, step: 1 },
  { name: "max_tokens", label: "Max tokens", min: 8, step: 1 },
  { name: "deadline_s", label: "Deadline, s", min: 0.1, step: "any" },
  { name: "temperature", label: "Temperature", min: 0, max: 2, step: "any" },
  { name: "seed", label: "Seed", min: 0, step: 1 },
];

export const EFFORTS = ["low", "medium", "high"];
export const CRITIQUES = ["calibrated", "always"]; // only a critic that was measured and pays, or any
export const EMPTY = { problem: "", model: "", critic: "", effort: "", critique: "", compare: false, ...Object.fromEntries(NUMBERS.map(({ name }) => [name, ""])) };

function named(form) {
  return { ...(form.model && { model: form.model }), ...(form.critic && { critic: form.critic }) };
}

// The fields of `loop` that were filled in; the others are the server's to choose.
function loopOf(form) {
  const filled = NUMBERS.filter(({ name }) => form[name] !== "").map(({ name }) => [name, Number(form[name])]);
  if (form.critique) filled.unshift(["critique", form.critique]);
  if (form.effort) filled.unshift(["effort", form.effort]);
  return filled.length ? { loop: Object.fromEntries(filled) } : {};
}

export function loopRequest(form) {
  return { problem: form.problem, ...named(form), ...loopOf(form) };
}

// The plain model: one greedy draft and nothing after it.
export function directRequest(form) {
  const { max_tokens, deadline_s, seed } = loopOf(form).loop || {};
  const loop = { drafts: 1, rounds: 0, temperature: 0, max_tokens, deadline_s, seed };
  return { problem: form.problem, ...(form.model && { model: form.model }), loop };
}

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

export function curl(form, { base, keyed }) {
  const lines = [
    `curl -sN ${quoted(`${base}solve`)} -H 'Content-Type: application/json'`,
    ...(keyed ? ['-H "Authorization: Bearer $REDRAFT_KEY"'] : []),
    `-d ${quoted(JSON.stringify({ ...loopRequest(form), stream: true }, null, 2))}`,
  ];
  return lines.join(" \\\n  ");
}

// JSON's texts and numbers are Python's too, and there is nothing else in these requests. On one line.
const literal = (value) => JSON.stringify(value, null, 1).replace(/\n\s*/g, " ").replace(/([{[]) | ([}\]])/g, "$1$2");

export function python(form, { base, keyed, model }) {
  const extra = { ...(form.critic && { critic: form.critic }), ...loopOf(form) };
  return [
    ...(keyed ? ["import os", ""] : []),
    "from openai import OpenAI",
    "",
    `client = OpenAI(base_url=${JSON.stringify(`${base}v1`)}, api_key=${keyed ? 'os.environ["REDRAFT_KEY"]' : '"none"'})`,
    "reply = client.chat.completions.create(",
    `    model=${JSON.stringify(`${form.model || model || "MODEL"}:loop`)},`,
    `    messages=[{"role": "user", "content": ${JSON.stringify(form.problem)}}],`,
    ...(Object.keys(extra).length ? [`    extra_body=${literal(extra)},`] : []),
    ")",
    "print(reply.choices[0].message.content)",
    'print("answer:", reply.outcome["answer"])',
  ].join("\n");
}

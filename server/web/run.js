// One run of the loop, from the events of its stream: steps, votes, tokens over time. Knows no page and no network.

export const STAGES = ["solve", "critique", "revise"];
const SAMPLE_S = 0.1;

export class Run {
  // `now` tells seconds; the run begins with it.
  constructor(now) {
    this._now = now;
    this._begun = now();
    this.state = "running"; // then done, stopped or failed
    this.seconds = 0;
    this.first = null; // seconds to the first text
    this.steps = [];
    this.votes = [];
    this.result = null;
    this.fault = null;
    this.pieces = { solve: 0, critique: 0, revise: 0 }; // pieces of text, which are about as many as tokens
    this.samples = { at: [0], solve: [0], critique: [0], revise: [0] };
    this.ballots = { at: [], lines: [] }; // one line for each answer: {answer, members, weights}
  }

  get running() {
    return this.state === "running";
  }

  // Time goes on, and with it the line of the tokens.
  tick() {
    if (!this.running) return;
    this.seconds = this._now() - this._begun;
    if (this.seconds - this.samples.at.at(-1) >= SAMPLE_S) this._sample();
  }

  hear(event) {
    this.tick();
    if (event.type === "step.started") this.steps.push({ ...event, text: "", ended: null });
    if (event.type === "step.text") this._text(event);
    if (event.type === "step.ended") Object.assign(this._step(event), { ended: event, text: event.content });
    if (event.type === "vote") this._vote(event.candidates);
    if (event.type === "result") this._result(event);
  }

  // Ended without a result: `state` is stopped or failed.
  end(state, fault = null) {
    this.tick();
    Object.assign(this, { state, fault });
    this._sample();
  }

  get tokens() {
    return this.result ? this.result.usage.completion_tokens : STAGES.reduce((sum, stage) => sum + this.pieces[stage], 0);
  }

  _step({ stage, index }) {
    return this.steps.findLast((step) => step.stage === stage && step.index === index);
  }

  _text(event) {
    this._step(event).text += event.text;
    this.first ??= this.seconds;
    this.pieces[event.stage] += 1;
  }

  _sample() {
    this.samples.at.push(this.seconds);
    for (const stage of STAGES) this.samples[stage].push(this.pieces[stage]);
  }

  // An answer keeps its line as long as it keeps one of its members.
  _vote(candidates) {
    this.votes = candidates;
    const { at, lines } = this.ballots;
    const seen = at.push(this.seconds);
    for (const { answer, members, weight } of candidates) {
      let line = lines.find((one) => one.members.some((member) => members.includes(member)));
      if (!line) lines.push((line = { weights: Array(seen - 1).fill(null) }));
      Object.assign(line, { answer, members });
      line.weights.push(weight);
    }
    for (const line of lines) if (line.weights.length < seen) line.weights.push(0);
  }

  _result(event) {
    this.result = event;
    this.votes = event.outcome.candidates;
    const used = event.usage.loop;
    for (const stage of STAGES) this.pieces[stage] = used[stage]?.completion_tokens ?? 0;
    this.state = "done";
    this._sample();
  }
}

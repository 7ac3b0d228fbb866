// The server's routes as the page uses them. Addresses are relative to the page, so that it also works behind a path prefix.

import { events } from "./sse.js";

const SUFFIX = ":loop";

// What the server refused or could not do; `param` names the field that is to blame.
export class Refusal extends Error {
  constructor({ message, type = "", param = null, code = 0 }, retryAfter = null) {
    super(message);
    Object.assign(this, { type, param, code, retryAfter });
  }
}

async function ask(path, { key, body, signal }) {
  const headers = { ...(key && { Authorization: `Bearer ${key}` }), ...(body && { "Content-Type": "application/json" }) };
  const request = { headers, signal, method: body ? "POST" : "GET", body: body && JSON.stringify(body), cache: "no-store" };
  let reply;
  try {
    reply = await fetch(new URL(path, document.baseURI), request);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal({ message: "The server cannot be reached.", type: "network_error" });
  }
  if (reply.ok) return reply;
  const said = await reply.json().catch(() => ({}));
  throw new Refusal(said.error || { message: `The server answered ${reply.status}.`, code: reply.status }, reply.headers.get("Retry-After"));
}

// The served models and adapters, the base model first.
export async function models(key) {
  const listed = await (await ask("v1/models", { key })).json();
  return listed.data.map((model) => model.id).filter((name) => !name.endsWith(SUFFIX));
}

// Runs one loop, telling its events as they come. Ends after the result; throws a Refusal, or AbortError when `signal` says stop.
export async function solve(body, { key, signal, tell }) {
  const reply = await ask("solve", { key, body: { ...body, stream: true }, signal });
  let ended = false;
  try {
    for await (const event of events(reply.body)) {
      if (event.error) throw new Refusal(event.error);
      ended ||= event.type === "result";
      tell(event);
    }
  } catch (error) {
    if (error instanceof Refusal || error.name === "AbortError") throw error;
    throw new Refusal({ message: "The connection broke off.", type: "network_error" });
  }
  if (!ended) throw new Refusal({ message: "The stream ended before its result.", type: "network_error" });
}

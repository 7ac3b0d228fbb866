// Finds the mathematics in a model's text and sets it. Shared by the playground and the evaluation report; knows neither.
// Text enters the page as text nodes and formulas as what KaTeX builds, never as markup of a model's own.

const LIMITS = { throwOnError: false, strict: "ignore", trust: false, maxSize: 20, maxExpand: 200 };
const OPENING = /\$\$|\$|\\\[|\\\(|\\begin\{(?:equation|align|gather|alignat)\*?\}|\\boxed\s*\{|\*\*|^#{1,6} +/gm;

// Between two dollars stands a formula when it has a formula's signs, or is short and has no space at its ends; otherwise they are money.
function isFormula(inside) {
  return inside !== "" && !/^\s|\s$|\n/.test(inside) && (/[\\^_{}=<>+]/.test(inside) || inside.length <= 12);
}

// The position behind the brace that closes the one before `at`, or -1.
function behindBrace(text, at) {
  let depth = 1;
  for (; at < text.length; at += 1) {
    if (text[at] === "\\") at += 1;
    else if (text[at] === "{") depth += 1;
    else if (text[at] === "}" && (depth -= 1) === 0) return at + 1;
  }
  return -1;
}

function until(text, opened, at, closing, kind) {
  const end = text.indexOf(closing, at);
  return end < 0 ? null : { kind, text: text.slice(at, end), end: end + closing.length };
}

// What begins at `start` with the sign `opened`: its kind, its text and where it ends; null when it is never closed or is no such thing.
function special(text, opened, start) {
  const at = start + opened.length;
  if (opened === "$$") return until(text, opened, at, "$$", "display");
  if (opened === "\\[") return until(text, opened, at, "\\]", "display");
  if (opened === "\\(") return until(text, opened, at, "\\)", "inline");
  if (opened === "$") {
    const found = text[start - 1] === "\\" ? null : until(text, opened, at, "$", "inline");
    return found && isFormula(found.text) ? found : null;
  }
  if (opened === "**") {
    const found = until(text, opened, at, "**", "strong");
    return found && found.text.trim() && !found.text.includes("\n") ? found : null;
  }
  if (opened.startsWith("#")) {
    const line = /[^\n]*/y;
    line.lastIndex = at;
    return { kind: "strong", text: line.exec(text)[0].replaceAll("**", ""), end: line.lastIndex };
  }
  if (opened.startsWith("\\boxed")) {
    const end = behindBrace(text, at);
    return end < 0 ? null : { kind: "inline", text: text.slice(start, end), end };
  }
  const found = until(text, opened, at, opened.replace("begin", "end"), "display");
  return found && { ...found, text: text.slice(start, found.end) };
}

// The text in pieces {kind, text}, kind being text, strong, inline or display (mathematics). What is not yet closed is text.
export function pieces(text) {
  const found = [];
  const keep = (kind, part) => part && found.push({ kind, text: part });
  let done = 0;
  OPENING.lastIndex = 0;
  for (let sign = OPENING.exec(text); sign; sign = OPENING.exec(text)) {
    const piece = special(text, sign[0], sign.index);
    if (!piece) continue;
    keep("text", text.slice(done, sign.index));
    keep(piece.kind, piece.text);
    done = OPENING.lastIndex = piece.kind === "display" && text[piece.end] === "\n" ? piece.end + 1 : piece.end;
  }
  keep("text", text.slice(done));
  return found;
}

function nodeOf(piece, katex) {
  if (piece.kind === "text") return document.createTextNode(piece.text);
  const made = document.createElement(piece.kind === "strong" ? "strong" : "span");
  if (piece.kind === "strong") made.append(...pieces(piece.text).map((part) => nodeOf(part, katex)));
  else katex.render(piece.text, made, { ...LIMITS, displayMode: piece.kind === "display" });
  return made;
}

const shown = new WeakMap();

// Shows `text` in `node`, mathematics set where KaTeX is there. A text that grew costs only what is new. `clean` gets the new nodes in
// one element just before they enter the page.
export function show(node, text, { katex, clean = (holder) => holder } = {}) {
  const now = katex ? pieces(text) : [{ kind: "text", text }];
  const before = shown.get(node) || [];
  let same = 0;
  while (same < now.length && same < before.length && now[same].kind === before[same].kind && now[same].text === before[same].text) same += 1;
  while (node.childNodes.length > same) node.lastChild.remove();
  const holder = document.createElement("div");
  for (const piece of now.slice(same)) holder.append(nodeOf(piece, katex));
  node.append(...clean(holder).childNodes);
  shown.set(node, now);
  return node;
}

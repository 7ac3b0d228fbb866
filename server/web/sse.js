// Server-sent events of a streamed reply, one by one. Knows nothing of what they say.

// Yields the data of each event, parsed. Returns true when the stream said that it is done, false when it broke off.
export async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return false;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const data = block.split("\n").filter((line) => line.startsWith("data: ")).map((line) => line.slice(6)).join("\n");
      if (data === "[DONE]") return true;
      if (data) yield JSON.parse(data);
    }
  }
}

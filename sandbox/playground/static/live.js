// The playground's own server: one stream of events, and clicks.

export async function ask(path, body) {
  const options = body === undefined ? {} : {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
  };
  const answer = await fetch(path, options);
  if (!answer.ok) throw new Error(await answer.text());
  return answer.json();
}

// Call `take` with every event as this person may see it; return how to end that.
export function listen(who, take, { lost }) {
  const stream = new EventSource(`/events?as=${encodeURIComponent(who)}`);
  stream.addEventListener("message", (event) => take(JSON.parse(event.data)));
  stream.addEventListener("error", () => lost());
  return () => stream.close();
}

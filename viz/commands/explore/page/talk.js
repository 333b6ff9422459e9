// One socket to the server: questions by number, answers as they come, and a new socket where the server was restarted.

const AGAIN = 1000; // milliseconds until the next try
let socket = null;
let last = 0;
const hearers = new Map(); // by number of the question

// begin(start) is called with what the server says first, each time it is reached; lost() each time it is not.
export function connect(begin, lost) {
  socket = new WebSocket(`ws://${location.host}/talk`);
  socket.addEventListener("message", ({ data }) => {
    const facts = JSON.parse(data);
    if (facts.start) return begin(facts.start);
    const hear = hearers.get(facts.id);
    if (facts.done) hearers.delete(facts.id);
    hear?.(facts);
  });
  socket.addEventListener("close", () => {
    hearers.clear();
    lost();
    setTimeout(() => connect(begin, lost), AGAIN);
  });
}

// questions: [[question, hear], ...], the first to be answered first. Gives their numbers, to cancel them by.
export function ask(questions) {
  const numbered = questions.map(([question, hear]) => {
    hearers.set(++last, hear);
    return { ...question, id: last };
  });
  if (numbered.length) send({ ask: numbered });
  return numbered.map(({ id }) => id);
}

// keep: whether its last answer is still wanted, as that of a method that was stopped.
export function cancel(numbers, keep = false) {
  if (!keep) for (const number of numbers) hearers.delete(number);
  if (numbers.length) send({ cancel: numbers });
}

export function pause(numbers, paused) {
  if (numbers.length) send({ pause: numbers.map((number) => [number, paused]) });
}

// what: "lr=0.01", how those that are on their way shall go on, all from the same step on, which they say.
export function change(numbers, what, recipe) {
  send({ change: { numbers, what, recipe } });
}

function send(message) {
  if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
}

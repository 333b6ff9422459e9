// element("a", {href: "/why", className: "quiet"}, "text", child, ...): a DOM element with its properties and children.
export function element(kind, properties = {}, ...children) {
  const made = document.createElement(kind);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "data") Object.assign(made.dataset, value);
    else if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

// What makes the same outside of the page: a command and a Python program, to copy, and files to keep.
export function recipe(answer, files = []) {
  const copied = (text) => {
    const button = element("button", { type: "button", className: "copy" }, "Copy");
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
      setTimeout(() => (button.textContent = "Copy"), 1500);
    });
    return element("div", { className: "copied" }, element("pre", { tabIndex: 0 }, text), button);
  };
  return element(
    "details",
    { className: "recipe" },
    element("summary", {}, answer.command ? "The command and the Python that make this" : "The Python that makes this"),
    answer.command ? copied(answer.command) : element("p", { className: "quiet" }, "These are numbers and no picture: no command draws them, Python gives them."),
    copied(answer.python),
    files.length ? element("p", { className: "files" }, "Keep: ", ...files) : null,
  );
}

// Links to the files that a technique's command would write.
export function keeping(name, question, suffixes = ["png", "npz"]) {
  const asked = encodeURIComponent(JSON.stringify(question));
  return suffixes.map((suffix) =>
    element("a", { href: `/keep/${name}.${suffix}?question=${asked}`, download: "", className: "keep" }, suffix.toUpperCase()),
  );
}

// The same of an answer that says by which technique and with which options it is kept.
export const kept = ({ keep, ending }, question) => (keep && !ending ? keeping(keep[0], { ...question, ...keep[1] }, keep[2]) : []);

export const percent = (p) => (p >= 0.995 && p < 1 ? `${(100 * p).toFixed(2)} %` : `${(100 * p).toFixed(1)} %`);

// Sliders set a custom property of what they name in data-scope; the style sheet does the rest. Films are played by
// moving their slider. Without this script the page shows overlays half mixed in, and films at their last frame.
"use strict";

document.documentElement.classList.add("scripted");

const mixed = (value) =>
  value === 0 ? "photograph" : value < 50 ? "photograph with overlay" : value === 50 ? "overlay" :
  value < 100 ? "overlay with map" : "map";

function show(slider) {
  const scope = document.getElementById(slider.dataset.scope);
  const value = Number(slider.value);
  if (slider.dataset.sets === "frame") {
    const text = `${value + 1} of ${Number(slider.max) + 1}`;
    scope.style.setProperty("--frame", value);
    slider.setAttribute("aria-valuetext", `frame ${text}`);
    slider.parentElement.querySelector("output").textContent = text;
  } else {
    scope.style.setProperty(`--${slider.dataset.sets}`, value / Number(slider.max));
    if (slider.dataset.sets === "mix") slider.setAttribute("aria-valuetext", mixed(value));
  }
}

for (const slider of document.querySelectorAll("input[data-scope]")) {
  slider.addEventListener("input", () => show(slider));
  show(slider); // a browser may have kept the value over a reload
}

// ---- films ----------------------------------------------------------------------------------------------------------

const calm = window.matchMedia("(prefers-reduced-motion: reduce)");

for (const button of document.querySelectorAll("button[data-plays]")) {
  const slider = document.getElementById(button.dataset.plays);
  let timer = null;

  const pause = () => {
    clearInterval(timer);
    timer = null;
    button.textContent = "Play";
  };
  const move = (frame) => {
    slider.value = frame;
    show(slider);
  };
  const advance = () => {
    const next = Number(slider.value) + 1;
    move(next);
    if (next >= Number(slider.max)) pause();
  };
  const play = () => {
    if (Number(slider.value) >= Number(slider.max)) move(0);
    timer = setInterval(advance, 140);
    button.textContent = "Pause";
  };

  button.addEventListener("click", () => (timer ? pause() : play()));
  slider.addEventListener("input", () => timer && pause());

  // Once by itself, when it comes into view, for those who do not mind motion.
  const watch = new IntersectionObserver(
    (entries) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      watch.disconnect();
      if (!calm.matches && !timer) play();
    },
    { threshold: 0.4 },
  );
  watch.observe(document.getElementById(slider.dataset.scope));
}

// ---- where the reader is ---------------------------------------------------------------------------------------------

const links = new Map([...document.querySelectorAll("nav a")].map((link) => [link.hash.slice(1), link]));
const here = new IntersectionObserver(
  (entries) => {
    for (const entry of entries) {
      if (entry.isIntersecting) {
        for (const link of links.values()) link.removeAttribute("aria-current");
        links.get(entry.target.id)?.setAttribute("aria-current", "true");
      }
    }
  },
  { rootMargin: "-30% 0px -65% 0px" },
);
for (const section of document.querySelectorAll("main > section")) here.observe(section);

// ---- commands, wide things, code, and a page that grows --------------------------------------------------------------

for (const button of document.querySelectorAll("button.copy")) {
  button.addEventListener("click", async () => {
    const command = button.previousElementSibling;
    try {
      await navigator.clipboard.writeText(command.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(command); // no clipboard here: the reader's own Ctrl-C takes it
      button.textContent = "Selected";
    }
    setTimeout(() => (button.textContent = "Copy"), 2000);
  });
}

const wide = new ResizeObserver((changes) => {
  for (const { target } of changes) target.classList.toggle("scrolls", target.scrollWidth > target.clientWidth + 1);
});
for (const box of document.querySelectorAll(".scroll, .equation, .command")) wide.observe(box);

const unfold = () => {
  const details = location.hash.startsWith("#code-") && document.getElementById(location.hash.slice(1))?.parentElement;
  if (details) details.open = true;
};
window.addEventListener("hashchange", unfold);
unfold();

const busy = () => document.hidden || document.querySelector("dialog[open]");
if ("growing" in document.documentElement.dataset) setInterval(() => busy() || location.reload(), 15000);

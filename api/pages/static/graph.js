// The network graph: zoom by wheel, pinch, keys and buttons, move by dragging, a click opens the kernel.
"use strict";

(() => {
  const LEAST = 0.15;
  const MOST = 4;

  function dress(figure) {
    const svg = figure?.querySelector("svg.network");
    if (!svg || figure.dataset.dressed) {
      return;
    }
    figure.dataset.dressed = "yes";
    const whole = { width: svg.width.baseVal.value, height: svg.height.baseVal.value };
    const frame = figure.querySelector(".frame");
    const view = { x: 0, y: 0, scale: 1 };
    svg.removeAttribute("width");
    svg.removeAttribute("height");
    figure.classList.add("live");
    const natural = whole.height * Math.min(1, frame.clientWidth / whole.width);
    frame.style.height = `min(${Math.max(natural, Math.min(whole.height, 420))}px, 75vh)`;

    function show() {
      const width = frame.clientWidth / view.scale;
      const height = frame.clientHeight / view.scale;
      const within = (value, size, seen) =>
        size <= seen ? (size - seen) / 2 : Math.min(Math.max(value, 0), size - seen);
      view.x = within(view.x, whole.width, width);
      view.y = within(view.y, whole.height, height);
      svg.setAttribute("viewBox", `${view.x} ${view.y} ${width} ${height}`);
      frame.style.touchAction = view.scale > fitting() * 1.01 ? "none" : "pan-y";
    }

    function fitting() {
      return Math.min(frame.clientWidth / whole.width, frame.clientHeight / whole.height, 1);
    }

    function zoom(factor, x = frame.clientWidth / 2, y = frame.clientHeight / 2) {
      const scale = Math.min(Math.max(view.scale * factor, Math.min(LEAST, fitting())), MOST);
      view.x += x / view.scale - x / scale;
      view.y += y / view.scale - y / scale;
      view.scale = scale;
      show();
    }

    function fit() {
      view.scale = fitting();
      show();
    }

    function move(x, y) {
      view.x += x / view.scale;
      view.y += y / view.scale;
      show();
    }

    const tools = document.createElement("div");
    tools.className = "tools";
    for (const [sign, says, does] of [
      ["+", "Zoom in", () => zoom(1.3)],
      ["\u2212", "Zoom out", () => zoom(1 / 1.3)],
      ["Fit", "Show the whole network", fit],
      ["1:1", "Natural size", () => zoom(1 / view.scale)],
    ]) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = sign;
      button.ariaLabel = says;
      button.title = says;
      button.addEventListener("click", does);
      tools.append(button);
    }
    figure.querySelector("figcaption").after(tools);

    frame.addEventListener(
      "wheel",
      (event) => {
        if (event.ctrlKey || event.metaKey || frame.contains(document.activeElement)) {
          event.preventDefault();
          const box = frame.getBoundingClientRect();
          zoom(Math.exp(-event.deltaY / 300), event.clientX - box.left, event.clientY - box.top);
        }
      },
      { passive: false },
    );
    frame.addEventListener("keydown", (event) => {
      const step = 80;
      const does = {
        "+": () => zoom(1.3),
        "=": () => zoom(1.3),
        "-": () => zoom(1 / 1.3),
        0: fit,
        ArrowLeft: () => move(-step, 0),
        ArrowRight: () => move(step, 0),
        ArrowUp: () => move(0, -step),
        ArrowDown: () => move(0, step),
      }[event.key];
      if (does && !event.ctrlKey && !event.metaKey && !event.altKey) {
        event.preventDefault();
        does();
      }
    });

    const fingers = new Map();
    let moved = 0;
    const span = () => {
      const [a, b] = [...fingers.values()];
      return Math.hypot(a.x - b.x, a.y - b.y);
    };
    frame.addEventListener("pointerdown", (event) => {
      fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
      moved = 0;
    });
    frame.addEventListener("pointermove", (event) => {
      const before = fingers.get(event.pointerId);
      if (!before) {
        return;
      }
      const apart = fingers.size === 2 ? span() : 0;
      fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
      if (fingers.size === 2 && apart) {
        const box = frame.getBoundingClientRect();
        const [a, b] = [...fingers.values()];
        zoom(span() / apart, (a.x + b.x) / 2 - box.left, (a.y + b.y) / 2 - box.top);
        moved = 99;
      } else if (fingers.size === 1) {
        moved += Math.abs(event.clientX - before.x) + Math.abs(event.clientY - before.y);
        if (moved > 4) {
          move(before.x - event.clientX, before.y - event.clientY);
        }
      }
    });
    for (const end of ["pointerup", "pointercancel", "pointerleave"]) {
      frame.addEventListener(end, (event) => fingers.delete(event.pointerId));
    }
    frame.addEventListener("dragstart", (event) => event.preventDefault());

    frame.addEventListener("click", (event) => {
      const box = event.target.closest("a");
      if (!box) {
        return;
      }
      event.preventDefault();
      if (moved <= 4) {
        open(box.getAttribute("href"), box);
      }
    });
    svg.addEventListener("focusin", (event) => {
      const box = event.target.closest("a")?.getBBox();
      if (!box) {
        return;
      }
      const seen = { width: frame.clientWidth / view.scale, height: frame.clientHeight / view.scale };
      const hidden =
        box.x < view.x ||
        box.y < view.y ||
        box.x + box.width > view.x + seen.width ||
        box.y + box.height > view.y + seen.height;
      if (hidden) {
        view.x = box.x + box.width / 2 - seen.width / 2;
        view.y = box.y + box.height / 2 - seen.height / 2;
        show();
      }
      frame.scrollTo(0, 0);
    });
    new ResizeObserver(show).observe(frame);
    fit();
    if (view.scale < 0.45) {
      zoom(0.8 / view.scale, 0, 0);
    }
  }

  function open(place, from) {
    const row = document.querySelector(place);
    const sheet = document.getElementById("kernel");
    if (!row || !sheet) {
      return;
    }
    sheet.querySelector("h2").textContent = row.querySelector("[data-name]").textContent;
    const body = sheet.querySelector(".body");
    body.replaceChildren(...[...row.querySelector("[data-more]").cloneNode(true).childNodes]);
    for (const more of body.querySelectorAll("details")) {
      more.open = true;
    }
    sheet.querySelector("a").setAttribute("href", place);
    sheet.addEventListener("close", () => from.focus(), { once: true });
    sheet.showModal();
  }

  document.addEventListener("click", (event) => {
    const sheet = document.getElementById("kernel");
    if (sheet?.open && (event.target === sheet || event.target.closest("#kernel a, #kernel button"))) {
      sheet.close();
    }
  });
  const all = () => document.querySelectorAll("figure#network").forEach(dress);
  all();
  new MutationObserver(all).observe(document.body, { childList: true, subtree: true });
})();

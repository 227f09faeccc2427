// Keeps the part of a page that is marked data-live fresh: by a job's events where it has some, else by the clock.
"use strict";

(() => {
  let busy = false;
  let again = false;

  async function refresh() {
    if (busy) {
      again = true;
      return;
    }
    busy = true;
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
      if (answer.ok) {
        put(new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("live"));
      }
    } catch {
      // The server is away; the next turn asks again.
    } finally {
      busy = false;
    }
    if (again) {
      again = false;
      refresh();
    }
  }

  function put(fresh) {
    const old = document.getElementById("live");
    if (!fresh || !old || old.innerHTML === fresh.innerHTML) {
      return;
    }
    const focused = old.contains(document.activeElement) ? document.activeElement.id : "";
    old.replaceWith(fresh);
    if (focused) {
      document.getElementById(focused)?.focus();
    }
    if (!fresh.dataset.live) {
      stop();
    }
  }

  let timer = 0;
  let stream = null;

  function stop() {
    clearInterval(timer);
    stream?.close();
    stream = null;
  }

  const live = document.getElementById("live");
  if (live?.dataset.live) {
    const every = Number(live.dataset.live);
    if (live.dataset.events) {
      let due = 0;
      const soon = () => {
        due ||= setTimeout(() => {
          due = 0;
          refresh();
        }, every);
      };
      stream = new EventSource(live.dataset.events);
      for (const kind of ["phase", "measured", "state"]) {
        stream.addEventListener(kind, soon);
      }
    } else {
      timer = setInterval(() => document.visibilityState === "visible" && refresh(), every);
    }
  }
})();

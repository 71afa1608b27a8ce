"use strict";
// The live page: polls its server for the part that changes.
(() => {
  const now = document.getElementById("now");
  const pause = document.getElementById("pause");
  const output = document.getElementById("freshness");
  const EVERY = 2000;
  let text = "";

  const refresh = async () => {
    if (pause.getAttribute("aria-pressed") === "true" || document.hidden) return;
    try {
      const answer = await fetch(now.dataset.from, { cache: "no-store" });
      if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
      const fresh = await answer.text();
      if (fresh !== text && !now.contains(document.activeElement)) {
        text = fresh;
        now.innerHTML = fresh;
        window.swarmChaos.wire(now);
      }
      output.textContent = `As of ${new Date().toLocaleTimeString()}.`;
    } catch (trouble) {
      output.textContent = `Out of date: ${trouble.message}.`;
    }
  };

  pause.hidden = false;
  pause.addEventListener("click", () => {
    const paused = pause.getAttribute("aria-pressed") !== "true";
    pause.setAttribute("aria-pressed", String(paused));
    pause.textContent = paused ? "Resume" : "Pause";
  });
  setInterval(refresh, EVERY);
})();

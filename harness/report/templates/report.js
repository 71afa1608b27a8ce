"use strict";
// Charts: drawn when they come into view, in the style sheet's colours, again when those change.
(() => {
  const drawn = new Map();

  const palette = () => {
    const style = getComputedStyle(document.documentElement);
    return (name) => style.getPropertyValue(`--c-${name}`).trim() || "#888";
  };

  const resolveColours = (value, colour) => {
    if (typeof value === "string") {
      return /^\$[a-z0-9-]+$/.test(value) ? colour(value.slice(1)) : value;
    }
    if (Array.isArray(value)) return value.map((part) => resolveColours(part, colour));
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, resolveColours(part, colour)]));
    }
    return value;
  };

  const figureOf = (chart) => JSON.parse(document.getElementById(chart.dataset.figure).textContent);

  const draw = (chart) => {
    if (!window.Plotly) {
      chart.textContent = "The chart library is missing next to this page. The numbers are below.";
      chart.removeAttribute("style");
      return;
    }
    const figure = resolveColours(figureOf(chart), palette());
    const before = drawn.get(chart);
    if (before && before.range) figure.layout.xaxis.range = before.range;
    drawn.set(chart, { whole: figureOf(chart).layout.xaxis.range, range: before && before.range });
    window.Plotly.react(chart, figure.data, figure.layout, { displayModeBar: false, responsive: true });
    if (!before) {
      chart.on("plotly_relayout", (change) => moved(chart, change));
      chart.on("plotly_click", (event) => {
        const data = event.points[0].customdata;
        if (Array.isArray(data) && data[1]) window.location.href = data[1];
      });
    }
    chart.dataset.drawn = "yes";
  };

  const moved = (chart, change) => {
    const state = drawn.get(chart);
    const from = change["xaxis.range[0]"] ?? (change["xaxis.range"] || [])[0];
    const to = change["xaxis.range[1]"] ?? (change["xaxis.range"] || [])[1];
    if (from !== undefined) state.range = [Number(from), Number(to)];
    else if (change["xaxis.autorange"]) {
      state.range = null;
      window.Plotly.relayout(chart, { "xaxis.range": state.whole });
      return;
    } else return;
    chart.dispatchEvent(new CustomEvent("shown", { detail: state.range, bubbles: true }));
  };

  const show = (chart, from, to) => {
    const { whole } = drawn.get(chart);
    const length = Math.min(to - from, whole[1] - whole[0]);
    const start = Math.max(whole[0], Math.min(from, whole[1] - length));
    window.Plotly.relayout(chart, { "xaxis.range": [start, start + length] });
  };

  const range = (chart) => drawn.get(chart).range || drawn.get(chart).whole;

  const control = (form) => {
    const chart = document.getElementById(form.dataset.chart);
    const output = form.querySelector("output");
    if (form.dataset.wired || !window.Plotly) return;
    form.dataset.wired = "yes";
    form.hidden = false;
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (!button || !drawn.has(chart)) return;
      const [from, to] = range(chart);
      const { move, zoom } = button.dataset;
      if (move) show(chart, from + move * (to - from), to + move * (to - from));
      else if (zoom) {
        const middle = (from + to) / 2;
        const half = Math.max(0.5, (to - from) * zoom / 2);
        show(chart, middle - half, middle + half);
      } else show(chart, Number(button.dataset.from), Number(button.dataset.to));
    });
    chart.addEventListener("shown", (event) => {
      const [from, to] = event.detail;
      output.textContent = `${from.toFixed(1)} s to ${to.toFixed(1)} s shown`;
    });
  };

  const filter = (list) => {
    const form = list.querySelector("form[role=search]");
    if (!form || form.dataset.wired) return;
    form.dataset.wired = "yes";
    const text = form.querySelector("input[type=search]");
    const selects = Array.from(form.querySelectorAll("select"));
    const timed = form.querySelector("[data-window]");
    const output = form.querySelector("output");
    const chart = list.dataset.chart && document.getElementById(list.dataset.chart);
    const rows = Array.from(list.querySelectorAll("tbody tr"));
    const words = rows.map((row) => row.textContent.toLowerCase());
    const apply = () => {
      const wanted = text.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
      const shown = timed && timed.checked && chart && drawn.has(chart) ? range(chart) : null;
      let count = 0;
      rows.forEach((row, n) => {
        const at = Number(row.dataset.at ?? NaN);
        const fits = selects.every((select) => !select.value
            || (row.dataset[select.dataset.key] || "").split("|").includes(select.value))
          && (!shown || (at >= shown[0] && at <= shown[1]))
          && wanted.every((word) => words[n].includes(word));
        row.hidden = !fits;
        count += fits ? 1 : 0;
      });
      output.textContent = `${count} of ${rows.length} shown`;
    };
    form.addEventListener("input", apply);
    form.addEventListener("submit", (event) => event.preventDefault());
    if (chart) chart.addEventListener("shown", () => timed && timed.checked && apply());
    form.hidden = false;
    apply();
  };

  const observer = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      observer.unobserve(entry.target);
      draw(entry.target);
    }
  }, { rootMargin: "400px" });

  const purgeRemoved = () => {
    for (const chart of drawn.keys()) {
      if (chart.isConnected) continue;
      window.Plotly.purge(chart);
      drawn.delete(chart);
    }
  };

  const wire = (root) => {
    purgeRemoved();
    for (const list of root.querySelectorAll("[data-filterable]")) filter(list);
    for (const form of root.querySelectorAll("form.range")) control(form);
    for (const chart of root.querySelectorAll(".chart")) {
      if (drawn.has(chart)) draw(chart);
      else observer.observe(chart);
    }
  };

  const redraw = () => { for (const chart of drawn.keys()) if (chart.isConnected) draw(chart); };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  // On paper everything is there, in the colours for light paper.
  window.addEventListener("beforeprint", () => {
    document.documentElement.classList.add("paper");
    for (const chart of document.querySelectorAll(".chart")) draw(chart);
  });
  window.addEventListener("afterprint", () => {
    document.documentElement.classList.remove("paper");
    redraw();
  });

  window.swarmChaos = { wire, draw };
  wire(document);
})();

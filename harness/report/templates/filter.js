"use strict";
for (const list of document.querySelectorAll("[data-filterable]")) {
  const form = list.querySelector("form");
  const text = form.querySelector("input");
  const group = form.querySelector("select");
  const said = form.querySelector("output");
  const rows = Array.from(list.querySelectorAll("tbody tr"));
  const words = rows.map((row) => row.textContent.toLowerCase());
  const apply = () => {
    const wanted = text.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    rows.forEach((row, n) => {
      const fits = (!group.value || row.dataset.group === group.value)
        && wanted.every((word) => words[n].includes(word));
      row.hidden = !fits;
      shown += fits ? 1 : 0;
    });
    said.textContent = `${shown} of ${rows.length} shown`;
  };
  form.addEventListener("input", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  apply();
}

"use strict";
// Sorting, filtering and opening: without this the page still says everything.
const table = document.querySelector("#summary table");
const rows = [...table.tBodies[0].rows];
const value = (row, column) => row.cells[column].dataset.v ?? row.cells[column].textContent;

function sort(header) {
  const column = Number(header.dataset.sort);
  const up = header.getAttribute("aria-sort") !== "ascending";
  for (const other of table.querySelectorAll("th[data-sort]")) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", up ? "ascending" : "descending");
  rows.sort((a, b) => {
    const [x, y] = [value(a, column), value(b, column)];
    const order = header.classList.contains("n") ? Number(x) - Number(y) : x.localeCompare(y);
    return up ? order : -order;
  });
  table.tBodies[0].append(...rows);
}

for (const header of table.querySelectorAll("th[data-sort]")) {
  header.tabIndex = 0;
  header.addEventListener("click", () => sort(header));
  header.addEventListener("keydown", (event) => { if (event.key === "Enter") sort(header); });
}

const words = document.querySelector("#words"), verdict = document.querySelector("#verdict");
const viewer = document.querySelector("#viewer"), count = document.querySelector("#count");

function filter() {
  const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const row of rows) {
    const text = row.dataset.text.toLowerCase();
    row.hidden = !(wanted.every((word) => text.includes(word)) &&
      (!verdict.value || row.dataset.verdict === verdict.value) &&
      (!viewer.value || row.dataset.viewer === viewer.value));
    shown += !row.hidden;
  }
  count.textContent = shown === rows.length ? "" : `${shown} of ${rows.length} rows`;
}
for (const control of [words, verdict, viewer]) control.addEventListener("input", filter);

const cards = [...document.querySelectorAll("details.card")];
document.querySelector("#open").addEventListener("click", () => cards.forEach((card) => { card.open = true; }));
document.querySelector("#close").addEventListener("click", () => cards.forEach((card) => { card.open = false; }));

function openTarget() {
  const card = document.getElementById(location.hash.slice(1));
  if (card && card.matches("details")) { card.open = true; card.scrollIntoView(); }
}
window.addEventListener("hashchange", openTarget);
openTarget();

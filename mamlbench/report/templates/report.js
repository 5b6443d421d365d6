"use strict";
const root = document.documentElement;
const toggle = document.getElementById("theme");
const stored = (() => { try { return localStorage.getItem("mamlbench-theme"); } catch { return null; } })();
const prefersDark = matchMedia("(prefers-color-scheme: dark)");
let chosen = stored;

function applyTheme() {
  const dark = chosen ? chosen === "dark" : prefersDark.matches;
  if (chosen) root.dataset.theme = chosen;
  toggle.setAttribute("aria-pressed", String(dark));
  toggle.querySelector(".theme-word").textContent = dark ? "Light" : "Dark";
}
toggle.addEventListener("click", () => {
  chosen = toggle.getAttribute("aria-pressed") === "true" ? "light" : "dark";
  try { localStorage.setItem("mamlbench-theme", chosen); } catch { /* a page opened as a file may not store */ }
  applyTheme();
});
prefersDark.addEventListener("change", applyTheme);
applyTheme();

function keyOf(row, column) {
  const cell = row.cells[column];
  return cell.dataset.sort === undefined ? cell.textContent.trim() : cell.dataset.sort;
}
function compare(one, other) {
  if (one === "" || other === "") return (one === "") - (other === "") || 0;
  const numbers = [Number(one), Number(other)];
  if (numbers.every(Number.isFinite)) return numbers[0] - numbers[1];
  return one.localeCompare(other, undefined, { numeric: true });
}
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.setAttribute("aria-sort", "none"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const body = table.tBodies[0];
      const rows = [...body.rows].map((row) => [keyOf(row, column), row]);
      const known = rows.filter(([key]) => key !== "");
      known.sort(([one], [other]) => (down ? compare(other, one) : compare(one, other)));
      const unknown = rows.filter(([key]) => key === "");
      body.append(...[...known, ...unknown].map(([, row]) => row));
    });
  });
}

if (matchMedia("(max-width: 40rem)").matches) {
  for (const part of document.querySelectorAll("main details[open]")) part.open = false;
}

function openTarget() {
  const target = location.hash && document.getElementById(location.hash.slice(1));
  if (target && target.tagName === "DETAILS") {
    target.open = true;
    target.scrollIntoView();
  }
}
addEventListener("hashchange", openTarget);
openTarget();

for (const button of document.querySelectorAll(".copy")) {
  button.addEventListener("click", async () => {
    const code = button.parentElement.querySelector("code");
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(code);
      button.textContent = "Selected";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
}

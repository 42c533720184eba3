"use strict";
// The address says what is shown: #q12&category=cup&least=12&order=different, so that Back, reload
// and a copied link lead to the same view.
const form = document.querySelector(".filters");
const status_ = document.getElementById("status");
const list = document.getElementById("queries");
const queries = [...list.children];
const fields = ["category", "least", "most", "order"].map((name) => form.elements[name]).filter(Boolean);
// Without labels there is no category; the others need more than one model.
const {category, least, most, order} = form.elements;
let target = null; // a query that was asked for: shown whatever the filters say

function fits(query) {
  const different = Number(query.dataset.different);
  const has = !category?.value || query.dataset.categories.split(" ").includes(category.selectedOptions[0].dataset.number);
  return has && !(different < least?.valueAsNumber) && !(different > most?.valueAsNumber);
}

function show() {
  const fitting = queries.filter(fits);
  for (const query of queries) query.hidden = query !== target && !fitting.includes(query);
  const sorted = order?.value ? queries.toSorted((a, b) => b.dataset.different - a.dataset.different) : queries;
  if (sorted.some((query, number) => list.children[number] !== query)) list.append(...sorted);
  for (const slider of [least, most].filter(Boolean)) slider.nextElementSibling.textContent = slider.value;
  const hint = fitting.length ? "" : ": widen the range or choose another category";
  const beside = target && !fitting.includes(target) ? ", and the selected one" : "";
  status_.textContent = `${fitting.length} of ${queries.length} queries${hint}${beside}`;
}

function address(id) {
  const set = fields.filter((field) => field.value !== start[field.name]);
  const parts = set.map((field) => `${field.name}=${encodeURIComponent(field.value)}`);
  return `#${[...(id ? [id] : []), ...parts].join("&")}`;
}

// What the address says: filters, order, and the query that was asked for.
function read() {
  const values = new URLSearchParams(location.hash.slice(1));
  for (const field of fields) field.value = values.get(field.name) ?? start[field.name];
  target = queries.find((query) => values.get(query.id) === "") ?? null;
  show();
}

function follow() {
  read();
  if (!target) return;
  target.tabIndex = -1;
  target.focus();
}

function changed() {
  target = null;
  show();
  history.replaceState(history.state, "", address());
}

const start = Object.fromEntries(fields.map((field) => [field.name, field.value]));
// The two ends push each other, so that the range is never empty.
least?.addEventListener("input", () => { most.value = Math.max(most.value, least.value); });
most?.addEventListener("input", () => { least.value = Math.min(least.value, most.value); });
form.addEventListener("input", changed);
form.addEventListener("reset", () => setTimeout(changed));
form.addEventListener("submit", (event) => event.preventDefault());
// Where the page was scrolled to comes back with Back, after the filters.
list.addEventListener("click", (event) => {
  const id = event.target.closest("a[href^='#q']")?.hash.slice(1);
  if (!id) return;
  event.preventDefault();
  history.replaceState({y: scrollY}, "");
  history.pushState(null, "", address(id));
  follow();
});
addEventListener("popstate", (event) => {
  read();
  if (event.state) scrollTo(0, event.state.y);
  else follow();
});

form.hidden = !fields.length;
follow();

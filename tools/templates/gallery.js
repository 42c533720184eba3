"use strict";
const form = document.querySelector(".filters");
const status_ = document.getElementById("status");
const queries = [...document.querySelectorAll(".query")];
const {category, least, most} = form.elements;

function filter() {
  let shown = 0;
  for (const query of queries) {
    const different = Number(query.dataset.different);
    const fits = !category?.value || query.dataset.categories.split(" ").includes(category.value);
    query.hidden = !fits || different < least.valueAsNumber || different > most.valueAsNumber;
    shown += !query.hidden;
  }
  for (const slider of [least, most]) slider.nextElementSibling.textContent = slider.value;
  const hint = shown ? "" : ": widen the range or choose another category";
  status_.textContent = `${shown} of ${queries.length} queries${hint}`;
}

// The two ends push each other, so that the range is never empty.
least.addEventListener("input", () => { most.value = Math.max(most.value, least.value); });
most.addEventListener("input", () => { least.value = Math.min(least.value, most.value); });
form.addEventListener("input", filter);
form.addEventListener("reset", () => setTimeout(filter));
form.addEventListener("submit", (event) => event.preventDefault());

// A selected result may be hidden by the filters: then show all.
function follow() {
  const target = document.getElementById(location.hash.slice(1));
  if (!target?.classList.contains("query")) return;
  if (target.hidden) { form.reset(); filter(); }
  target.tabIndex = -1;
  target.focus();
}
addEventListener("hashchange", follow);

form.hidden = false;
filter();
follow();

// Photos that are buttons: ipywidgets has none. Drawn from the model's state, nothing is kept here.

const LARGEST_FILE = 8e6; // bytes; Jupyter's connection closes on messages of 10 MiB

function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== ""));
  return node;
}

function render({ model, el }) {
  const parts = Object.fromEntries(
    ["strip", "message", "query", "rows", "fusion", "fused", "explanation"].map((name) => [name, element("div", { class: name })]),
  );
  parts.message.setAttribute("role", "status");
  el.classList.add("photo-browser");
  const { strip, message, query, explanation, ...rows } = parts;
  const results = element("div", { class: "results" }, ...Object.values(rows));
  el.append(element("div", { class: "panels" }, strip, query, message, results, explanation));

  // without the last of its attributes JupyterLab takes the arrow keys, to move from cell to cell
  const slider = element("input", {
    type: "range", min: 0, max: 1, step: 0.05, "aria-label": "Fusion", "data-lm-suppress-shortcuts": "true",
  });
  slider.addEventListener("input", () => {
    model.set("weight", slider.valueAsNumber);
    model.save_changes();
  });
  parts.fusion.append("left", slider, "right");

  function photoButton(photo, place) {
    const button = element(
      "button",
      { type: "button", class: photo.match ? "photo match" : "photo", "data-id": photo.id, "data-place": place },
      element("img", { src: photo.src, alt: photo.alt, draggable: "false" }),
      ...photo.lines.map((line) => element("span", {}, line)),
    );
    button.addEventListener("click", () => model.send({ kind: "photo", id: photo.id, place }));
    return button;
  }

  function replace(part, ...children) {
    const focused = part.contains(document.activeElement) ? document.activeElement : null;
    const position = focused ? [...part.querySelectorAll("button")].indexOf(focused) : -1;
    part.replaceChildren(...children);
    if (position >= 0) part.querySelectorAll("button")[position]?.focus(); // the keyboard stays where it was
  }

  const draw = {
    strip() {
      const photos = model.get("strip").map((photo) => photoButton(photo, "strip"));
      replace(parts.strip, element("div", { class: "photos", role: "group", "aria-label": "Choose a query" }, ...photos));
    },
    message() {
      parts.message.textContent = model.get("message");
    },
    query() {
      const photo = model.get("query");
      if (!photo.src) return;
      replace(
        parts.query,
        element("figure", { "data-id": photo.id }, element("img", { src: photo.src, alt: photo.alt }),
          element("figcaption", {}, ...photo.lines.map((line) => element("span", {}, line)))),
        element("label", { class: "file" }, "Your own photo: drop it anywhere here, or ", input),
      );
    },
    rows() {
      const rows = model.get("rows").map((row) =>
        element("section", { class: row.name, "data-row": row.name, "aria-label": row.title },
          element("h3", {}, row.title),
          element("div", { class: "photos" }, ...row.photos.map((photo) => photoButton(photo, row.name)))));
      replace(parts.rows, ...rows.slice(0, 2));
      replace(parts.fused, ...rows.slice(2));
      parts.fusion.hidden = rows.length < 3;
    },
    weight() {
      slider.value = model.get("weight");
    },
    explanation() {
      const { src, alt } = model.get("explanation");
      const maps = element("img", { src, alt });
      replace(parts.explanation, ...(src ? [maps] : []));
      if (src) maps.decode().then(() => maps.scrollIntoView({ block: "nearest" }));
    },
  };

  async function sendFile(file) {
    if (!file) return;
    if (file.size > LARGEST_FILE) {
      model.send({ kind: "large", name: file.name });
    } else {
      model.send({ kind: "file", name: file.name }, undefined, [await file.arrayBuffer()]);
    }
  }

  const input = element("input", { type: "file", accept: "image/*", "aria-label": "Your own photo" });
  input.addEventListener("change", async () => {
    await sendFile(input.files[0]);
    input.value = "";
  });
  for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
    el.addEventListener(kind, (event) => {
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      event.stopPropagation();
      el.classList.toggle("dropping", kind === "dragenter" || kind === "dragover");
      if (kind === "drop") sendFile(event.dataTransfer.files[0]);
    });
  }
  for (const [name, show] of Object.entries(draw)) {
    model.on(`change:${name}`, show);
    show();
  }
}

export default { render };

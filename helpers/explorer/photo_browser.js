// Photos that are buttons: ipywidgets has none. Drawn from the model's state, nothing is kept here.

const LARGEST_FILE = 6e6; // bytes; Jupyter's connection closes on messages of 10 MiB
const SENT_SIDE = 2048; // pixels of the longer side a larger file is shrunk to
const KEYS = [
  ["← →  Home End", "to the next photo of a row; Tab goes to the next row"],
  ["Enter", "search with the photo"],
  ["W", "why it matches: heat maps"],
  ["E", "enlarge it"],
  ["1 2 3", "vote: A is better, B is better, the same"],
  ["R", "a random query"],
  ["B F", "back and forward over the queries"],
  ["?", "these keys"],
];

function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== ""));
  return node;
}

const ACTIONS = { why: ["why?", "Heat maps of where the two are alike; once more hides them"], enlarge: ["enlarge", "Large, beside the query"] };

const button = (text, attributes, onclick) => element("button", { type: "button", ...attributes, onclick }, text);
const caption = (lines) => lines.map(([text, tip]) => element("span", { title: tip || null }, text));

// A larger file becomes a smaller JPEG, upright as its EXIF orientation says.
async function small(file) {
  if (file.size <= LARGEST_FILE) return file;
  const picture = await createImageBitmap(file);
  const scale = Math.min(1, SENT_SIDE / Math.max(picture.width, picture.height));
  const canvas = new OffscreenCanvas(Math.round(picture.width * scale), Math.round(picture.height * scale));
  canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
  return canvas.convertToBlob({ type: "image/jpeg", quality: 0.92 });
}

function render({ model, el }) {
  let waiting = 0; // actions that the kernel has not answered: it may be busy with other cells
  const count = (change) => el.setAttribute("aria-busy", (waiting = Math.max(0, waiting + change)) > 0);
  const send = (kind, about = {}, buffers = []) => {
    model.send({ kind, ...about }, undefined, buffers);
    count(1);
  };
  model.on("msg:custom", () => count(-1));
  const names = ["strip", "message", "query", "trail", "rows", "fusion", "fused"];
  const parts = Object.fromEntries(names.map((name) => [name, element("div", { class: name })]));
  const { strip, message, query, trail, ...rows } = parts;
  message.setAttribute("role", "status");
  el.classList.add("photo-browser");
  const results = element("div", { class: "results" }, ...Object.values(rows));
  const aside = element("div", { class: "aside" }, query, trail, message);
  const enlarged = element("dialog", { class: "enlarged", "aria-label": "Enlarged", onclose: () => set("enlarged", {}) });
  const help = element("dialog", { "aria-label": "Keys" },
    element("dl", {}, ...KEYS.flatMap(([key, what]) => [element("dt", {}, key), element("dd", {}, what)])),
    element("form", { method: "dialog" }, element("button", {}, "Close")));
  el.append(element("div", { class: "panels" }, strip, aside, results), enlarged, help);

  function set(name, value) {
    model.set(name, value);
    model.save_changes();
  }

  // A notebook may show the same widget twice; what opens or scrolls does so where the reader is.
  const isInUse = () => Boolean(root?.contains(document.activeElement));

  const slider = element("input", {
    type: "range", min: 0, max: 1, step: 0.05, "aria-label": "Fusion", oninput: () => set("weight", slider.valueAsNumber),
  });
  const ends = [element("span"), element("span")];
  rows.fusion.append(ends[0], slider, ends[1]);

  // A group of photos is one Tab stop; the arrow keys move inside it (WAI-ARIA's roving tabindex).
  function group(photos, place, label, actions = false) {
    const inside = photos.map((photo, number) => {
      const about = { id: photo.id, place };
      const shown = button("", {
        class: ["photo", ...(photo.classes ?? [])].join(" "), "data-id": photo.id, "data-place": place,
        "aria-current": photo.current ?? null, tabindex: -1,
      }, () => send("photo", { ...about, number }));
      shown.append(element("img", { src: photo.src, alt: photo.alt, draggable: "false" }), ...caption(photo.lines));
      const acts = Object.entries(ACTIONS).filter(([kind]) => actions && !(kind === "why" && photo.silent)).map(([kind, [text, title]]) =>
        button(text, { class: kind, tabindex: -1, title, "aria-label": `${kind}: ${photo.alt}` }, () => send(kind, about)));
      return element("div", { class: "tile", "data-id": photo.id }, shown, acts.length ? element("div", { class: "actions" }, ...acts) : null);
    });
    const whole = element("div", { class: "photos", role: "group", "aria-label": label }, ...inside);
    const buttons = [...whole.querySelectorAll(".photo")];
    const reach = (one) => buttons.forEach((other) => (other.tabIndex = other === one ? 0 : -1));
    if (buttons.length) reach(whole.querySelector("[aria-current=true]") ?? buttons[0]);
    whole.addEventListener("focusin", (event) => event.target.matches(".photo") && reach(event.target));
    whole.addEventListener("keydown", (event) => {
      const here = buttons.indexOf(event.target);
      const there = { ArrowLeft: here - 1, ArrowRight: here + 1, Home: 0, End: buttons.length - 1 }[event.key];
      if (here < 0 || there === undefined) return;
      event.preventDefault();
      buttons[Math.max(0, Math.min(there, buttons.length - 1))].focus();
    });
    return whole;
  }

  function replace(part, ...children) {
    const position = [...part.querySelectorAll("button")].indexOf(document.activeElement);
    part.replaceChildren(...children);
    if (position >= 0) (part.querySelectorAll("button")[position] ?? root)?.focus(); // the keyboard stays where it was
  }

  function section(row) {
    const votes = row.votes.map(([better, text, key]) =>
      button(text, { class: "vote", title: `or press ${key}` }, () => vote(better)));
    return element("section", { class: row.name, "data-row": row.name, "aria-label": row.title },
      element("header", {}, element("h3", {}, row.title), ...votes),
      group(row.photos, row.name, row.title, true), element("div", { class: "explanation" }));
  }

  function enlargedPhoto(photo) {
    const copy = button("Copy path", {}, async () => {
      await navigator.clipboard.writeText(photo.path);
      copy.textContent = "Copied";
    });
    return element("figure", {}, element("img", { src: photo.src, alt: photo.alt }),
      element("figcaption", {}, ...caption(photo.lines), photo.path ? copy : null));
  }

  // The query in the strip; both may change without the other.
  function mark() {
    for (const photo of strip.querySelectorAll(".photo")) photo.setAttribute("aria-current", photo.dataset.id === model.get("query").id);
  }

  function save() {
    const shown = el.querySelector(".panels").cloneNode(true);
    for (const part of shown.querySelectorAll(".strip, .trail, .tools, .actions, .vote, .fusion")) part.remove();
    const page = `<!doctype html><meta charset="utf-8"><title>Explorer</title><style>${model.get("_css")}</style><div class="photo-browser">${shown.outerHTML}</div>`;
    const href = URL.createObjectURL(new Blob([page], { type: "text/html" }));
    element("a", { href, download: `explorer-${model.get("query").id}.html` }).click();
    URL.revokeObjectURL(href);
  }

  const draw = {
    strip() {
      const photos = model.get("strip");
      replace(strip, element("div", { class: "note" }), group(photos, "strip", "Choose a query"));
      strip.querySelector(".photos").scrollLeft = 0;
      draw.note();
      mark();
    },
    note() {
      const note = strip.querySelector(".note");
      if (note) note.textContent = model.get("note");
    },
    trail() {
      const photos = model.get("trail");
      replace(trail, ...(photos.length > 1 ? [element("div", { class: "note" }, "Queries so far"), group(photos, "trail", "Queries so far")] : []));
      const current = trail.querySelector("[aria-current=true]")?.getBoundingClientRect();
      if (!current) return;
      const strip = trail.querySelector(".photos"), { left, right } = strip.getBoundingClientRect();
      strip.scrollLeft += Math.min(0, current.left - left) + Math.max(0, current.right - right); // and not the page
    },
    message() {
      message.textContent = model.get("message");
    },
    query() {
      const photo = model.get("query");
      if (!photo.src) return;
      replace(query,
        element("figure", { "data-id": photo.id }, element("img", { src: photo.src, alt: photo.alt }),
          element("figcaption", {}, ...caption(photo.lines))),
        element("div", { class: "tools" },
          button("Enlarge", {}, () => send("enlarge", { id: photo.id, place: "query" })),
          button("Your own photo …", { title: "Or drop photos anywhere here" }, () => input.click()),
          button("Save this view", { title: "As a page with the photos inside" }, save),
          button("Keys: ?", {}, () => help.showModal())));
      mark();
    },
    rows() {
      const sections = model.get("rows").map(section);
      replace(rows.rows, ...sections.slice(0, 2));
      replace(rows.fused, ...sections.slice(2));
      rows.fusion.hidden = sections.length < 3;
    },
    weight() {
      slider.value = model.get("weight");
    },
    ends() {
      model.get("ends").forEach((text, side) => (ends[side].textContent = text));
    },
    size() {
      el.style.setProperty("--size", `${model.get("size")}px`);
    },
    explanation() {
      const { src, alt, note, row, id } = model.get("explanation");
      for (const part of results.querySelectorAll("section")) {
        const mine = Boolean(src) && part.dataset.row === row;
        for (const tile of part.querySelectorAll(".tile")) tile.classList.toggle("explained", mine && tile.dataset.id === id);
        const place = part.querySelector(".explanation");
        if (!mine) { place.replaceChildren(); continue; }
        const maps = element("img", { src, alt });
        place.replaceChildren(maps, element("p", {}, note));
        if (isInUse()) maps.decode().then(() => maps.scrollIntoView({ block: "nearest" }));
      }
    },
    enlarged() {
      const { photos, title, place, before, after } = model.get("enlarged");
      if (!photos) return enlarged.close();
      if (!enlarged.open && !isInUse()) return;
      const step = (id, text, key) =>
        button(text, { "data-key": key, disabled: id ? null : "" }, () => send("enlarge", { id, place }));
      const focused = document.activeElement?.dataset.key;
      enlarged.replaceChildren(element("div", { class: "pair" }, ...photos.map(enlargedPhoto)),
        element("form", { method: "dialog" }, ...(place === "query" ? [] : [step(before, "← Previous", "ArrowLeft"), element("span", {}, title), step(after, "Next →", "ArrowRight")]),
          element("button", {}, "Close")));
      if (!enlarged.open) enlarged.showModal();
      if (focused) enlarged.querySelector(`[data-key=${focused}]`)?.focus();
    },
  };

  async function sendFiles(files) {
    for (const [number, file] of [...files].entries()) {
      const about = { name: file.name, number, of: files.length };
      const content = await small(file).then((one) => one.arrayBuffer()).catch(() => new ArrayBuffer(0));
      send("file", about, [content]);
    }
  }

  const input = element("input", {
    type: "file", accept: "image/*", multiple: "", hidden: "", "aria-label": "Your own photo",
    onchange: async () => { await sendFiles(input.files); input.value = ""; },
  });
  el.append(input);

  function key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (enlarged.open) return enlarged.querySelector(`[data-key=${event.key}]`)?.click();
    if (help.open || event.target.matches("select, textarea, input:not([type=checkbox])")) return;
    const pressed = event.key.toLowerCase();
    const tile = event.target.closest(".tile");
    const actions = {
      r: () => send("random"), b: () => send("back"), f: () => send("forward"), "?": () => help.showModal(),
      1: () => vote("a"), 2: () => vote("b"), 3: () => vote("same"),
      w: () => tile?.querySelector(".why")?.click(), e: () => tile?.querySelector(".enlarge")?.click(),
    };
    if (query.firstChild && actions[pressed]) { event.preventDefault(); actions[pressed](); }
  }
  const vote = (better) => results.querySelector(".vote") && send("vote", { better, query: model.get("query").id });

  function dragged(event) {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    event.stopPropagation();
    if (event.type !== "dragleave" || !root.contains(event.relatedTarget)) {
      root.classList.toggle("dropping", event.type === "dragenter" || event.type === "dragover");
    }
    if (event.type === "drop") sendFiles(event.dataTransfer.files);
  }

  // The controls around the photos belong to it, too; they are there once it has a place on the page.
  let root = null;
  new ResizeObserver(() => {
    if (el.closest(".embedding-map")) window.dispatchEvent(new Event("resize")); // all that plotly listens to
    if (root || !el.isConnected) return;
    root = el.closest(".explorer") ?? el;
    root.tabIndex = -1; // a click beside the buttons must not give the keyboard to the notebook,
    // whose keys cut and merge cells. JupyterLab asks this of the element that has the focus.
    root.addEventListener("focusin", (event) => event.target.setAttribute("data-lm-suppress-shortcuts", "true"));
    root.addEventListener("keydown", key);
    for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) root.addEventListener(kind, dragged);
  }).observe(el);

  for (const kind of ["pointerover", "focusin", "pointerleave"]) {
    el.addEventListener(kind, (event) => {
      const id = event.target.closest?.(".results .tile")?.dataset.id;
      for (const tile of results.querySelectorAll(".tile")) tile.classList.toggle("lit", tile.dataset.id === id);
    });
  }
  for (const [name, show] of Object.entries(draw)) {
    model.on(`change:${name}`, show);
    show();
  }
}

export default { render };

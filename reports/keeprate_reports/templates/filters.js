const filters = { text: "", model: "", data: "", methods: new Set(), keys: new Set() };
const listeners = [];

/** The groups with their runs; `shown` are the ids of the runs that the filters leave. */
const groups = store.groups.map((group) => {
  const points = unpack(group.points);
  for (const point of points) {
    const texts = [point.label, point.run_id, point.parameters, point.asked];
    point.found = texts.join("\n").toLowerCase();
  }
  return { ...group, points, shown: new Set(), visible: points };
});

function matches(group, point) {
  return (
    (!filters.model || group.model === filters.model) &&
    (!filters.data || group.data === filters.data) &&
    !filters.methods.has(point.method) &&
    !filters.keys.has(point.key) &&
    filters.text.split(/\s+/).every((word) => point.found.includes(word))
  );
}

function apply() {
  let shown = 0;
  let all = 0;
  for (const group of groups) {
    group.visible = group.points.filter((point) => matches(group, point));
    group.shown = new Set(group.visible.map((point) => point.run_id));
    shown += group.visible.length;
    all += group.points.length;
  }
  const count = document.getElementById("count");
  if (count) count.textContent = `${shown.toLocaleString("en")} of ${plural(all, "run")}`;
  document.getElementById("no-match").hidden = shown > 0 || all === 0;
  for (const listener of listeners) listener();
}

/** Call `listener` now and whenever other runs are shown. */
function follow(listener) {
  listeners.push(listener);
  listener();
}

function toggle(set, value, on) {
  if (on) set.delete(value);
  else set.add(value);
  apply();
}

function reset() {
  filters.text = filters.model = filters.data = "";
  filters.methods.clear();
  filters.keys.clear();
  document.getElementById("filters").reset();
  apply();
}

function boxes() {
  return [...document.querySelectorAll('#methods input[name="method"]')];
}

/** What is scrolled to, or reached with Tab, stops below the filters, where these stay in sight. */
function keepClear(form) {
  const stays = getComputedStyle(form).position === "sticky";
  document.documentElement.style.scrollPaddingTop = `${stays ? form.offsetHeight + 16 : 16}px`;
}

function connectFilters() {
  const form = document.getElementById("filters");
  if (!form) return;
  form.addEventListener("submit", (event) => event.preventDefault());
  new ResizeObserver(() => keepClear(form)).observe(form);
  let waiting = 0;
  document.getElementById("find").addEventListener("input", (event) => {
    clearTimeout(waiting);
    filters.text = event.target.value.trim().toLowerCase();
    waiting = setTimeout(apply, 120);
  });
  for (const [id, name] of [["model", "model"], ["data-set", "data"]]) {
    document.getElementById(id).addEventListener("change", (event) => {
      filters[name] = event.target.value;
      apply();
    });
  }
  for (const box of boxes()) {
    box.addEventListener("change", () => toggle(filters.methods, box.value, box.checked));
  }
  document.getElementById("none").addEventListener("click", () => {
    for (const box of boxes()) {
      box.checked = false;
      filters.methods.add(box.value);
    }
    apply();
  });
  for (const button of document.querySelectorAll("[data-reset]")) {
    button.addEventListener("click", reset);
  }
}

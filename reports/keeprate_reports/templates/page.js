function tokensPart(group) {
  const data = () => ({
    tokens: group.visible.slice(0, MANY_CURVES).flatMap(({ run_id, label, key, tokens }) =>
      tokens.map((count, block) => ({ run_id, label, key, block, tokens: count }))),
  });
  const lines = (row) => [row.label, `${fixed(row.tokens, 1)} tokens after block ${row.block}`];
  const chart = new Chart(group.charts.tokens, "Tokens after each block", data, lines);
  const caption = `Patch and prefix tokens, mean over the ${group.samples}; blocks count from 0. `
    + `Of the first ${MANY_CURVES} runs that the filters leave; the table has all.`;
  const visible = (row) => group.shown.has(row.run_id);
  return [make("h3", {}, "Tokens kept, block by block"), figure(chart, caption),
    listed("Tokens kept", tokenColumns(group.points), group.points, visible)];
}

function provenancePart(group) {
  const visible = (row) => group.shown.has(row.run_id);
  return [make("h3", {}, "Where the figures come from"),
    make("p", { class: "caption" }, "A run's name opens everything recorded of it, in every table."),
    listed("Where the figures come from", originColumns(), group.origins, visible)];
}

function skippedPart(group) {
  const rows = unpack(group.skipped);
  if (!rows.length) return [];
  const columns = [words("Sample", "sample"), words("Reason", "reason")];
  return [make("h3", {}, `Left out: ${plural(rows.length, "sample")}`),
    listed("Samples left out", columns, rows)];
}

const PARTS = {
  cost: costPart,
  speed: speedPart,
  published: publishedPart,
  runs: runsPart,
  "equal-cost": equalCostPart,
  curves: curvesPart,
  ablations: ablationsPart,
  tables: tablesPart,
  alike: alikePart,
  disagreement: disagreementPart,
  tokens: tokensPart,
  provenance: provenancePart,
  skipped: skippedPart,
};

function fillGroup(group, index) {
  const section = document.querySelector(`[data-group="${index}"]`);
  for (const [name, part] of Object.entries(PARTS)) {
    section.querySelector(`[data-part="${name}"]`).append(...part(group).filter(Boolean));
  }
  const link = document.querySelector(`[data-group-link="${index}"]`);
  follow(() => { section.hidden = link.hidden = group.visible.length === 0; });
}

function fillFailures() {
  const rows = unpack(store.failures);
  if (!rows.length) return;
  const columns = [words("Run", "label"), words("Id", "id"), words("Error", "error"),
    words("Started", "started"), words("Command that tries it again", "command")];
  document.getElementById("failures").append(make("h3", {}, plural(rows.length, "failed run")),
    listed("Failed runs", columns, rows));
}

/** The button goes from the system's light or dark to the other, and back. */
function connectTheme() {
  const root = document.documentElement;
  const button = document.getElementById("theme");
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ?? (dark.matches ? "dark" : "light")) === "dark";
  const show = () => {
    button.setAttribute("aria-pressed", String(isDark()));
    redrawCharts();
  };
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    show();
  });
  dark.addEventListener("change", show);
  show();
}

function connectCopy() {
  for (const button of document.querySelectorAll("[data-copy]")) {
    const text = button.parentElement.querySelector("code").textContent;
    button.addEventListener("click", () => copy(button, text));
  }
}

connectFilters();
apply();
groups.forEach(fillGroup);
fillFailures();
connectTheme();
connectCopy();
document.documentElement.dataset.ready = "yes";

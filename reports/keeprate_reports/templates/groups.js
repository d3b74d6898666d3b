const MANY_BLOCKS = 12;
const MANY_CURVES = 60;

/** The data of a chart of accuracy against `cost`, of the runs that the filters leave. */
function accuracyData(group, cost) {
  return () => {
    const points = group.visible.filter((point) => typeof point[cost] === "number");
    const lines = new Set(points.map((point) => point.line));
    points.sort((one, other) => one[cost] - other[cost]);
    return {
      points, focus: [],
      lines: lines.size <= MANY_LINES ? points : [],
      front: cost === "macs" ? points.filter((point) => point.front) : [],
      unpruned: group.unpruned === null ? [] : [{ score: group.unpruned }],
      ...(cost === "macs" && group.others.length ? { others: group.others } : {}),
    };
  };
}

function pointLines(group) {
  return (point) => [
    point.label,
    `${point.asked || "no schedule"}: ${fixed(point.macs, 3)} ${group.unit}, ${fixed(point.share, 1)} % of unpruned`,
    `${group.metric.title} ${scoreText(group.metric, point.score, point.low, point.high)}`,
    point.speed === null ? "" : `${fixed(point.speed, 0)} ${group.samples}/s, ${fixed(point.ratio, 2)} x unpruned`,
    point.parameters && `Parameters: ${point.parameters}`,
    `Tokens after each block: ${point.tokens.map((each) => fixed(each, 1).replace(/\.0$/, "")).join(", ")}`,
    point.front ? "On the Pareto front" : "",
  ].filter(Boolean);
}

function figure(chart, caption, ...extras) {
  follow(() => chart.update());
  return make("figure", {}, ...extras, chart.plot, make("figcaption", {}, caption));
}

function barsBox(chart) {
  const box = make("input", { type: "checkbox", checked: true });
  box.addEventListener("change", () => { chart.bars = box.checked; chart.update(); });
  return make("label", { class: "bars" }, box, `Intervals (${percent()}, up to ${MANY_BARS} runs)`);
}

const KEYS = "Arrow keys go from run to run, Enter or a click shows where it comes from.";

function costPart(group) {
  const data = accuracyData(group, "macs");
  const chart = new Chart(group.charts.cost, `${group.metric.heading} against cost`, data, pointLines(group));
  const said = `Ringed and joined by dots: the Pareto front of all runs of this comparison. `
    + `Dashed: unpruned. ${group.others.length ? "Diamonds: smaller models, unpruned. " : ""}${KEYS}`;
  return [make("h3", {}, `${group.metric.heading} against cost`),
    figure(chart, said, legend(group), barsBox(chart))];
}

function speedPart(group) {
  const title = make("h3", {}, `${group.metric.heading} against measured throughput`);
  if (!group.charts.speed) return [title, make("p", {}, "Throughput was not measured in these runs.")];
  const data = accuracyData(group, "speed");
  const chart = new Chart(group.charts.speed, `${group.metric.heading} against throughput`, data, pointLines(group));
  return [title, figure(chart, `Measured beside the unpruned model. ${KEYS}`, legend(group))];
}

function publishedPart(group) {
  const rows = unpack(group.published);
  if (!rows.length) return [];
  const lines = (row) => [`${row.method}, published`, row.setting, row.training,
    `${fixed(row.top1, 2)} % top-1`, `${fixed(row.share, 1)} % of the unpruned model`,
    `${row.ruler}, ${row.read}`, row.source, row.note].filter(Boolean);
  const keep = (row) => !filters.methods.has(row.method);
  const figures = Object.entries(group.charts.published).map(([training, chart]) => {
    const drawn = rows.filter((row) => row.training === training && row.share !== null);
    const title = `Published results, ${training}`;
    const data = () => ({ published: drawn.filter(keep) });
    return figure(new Chart(chart, title, data, lines), `${title}, not measured here: other code, `
      + "each paper's own count. Not to be compared with the chart above point by point.");
  });
  const columns = [words("Method", "method"), words("Setting", "setting"), words("Training", "training"),
    words("Model", "backbone"), number(`${group.unit} as published`, "macs", 3),
    number(`${group.unit} counted here`, "own", 3), number("% of its unpruned", "share", 1),
    number("Top-1 %", "top1", 2), number("Images/s", "speed", 0), words("Ruler", "ruler"),
    words("How read", "read"), words("Source", "source"), words("Note", "note")];
  return [make("h3", {}, "Published results"), ...figures,
    listed("Published results", columns, rows, keep)];
}

/** A table that follows the filters. */
function listed(name, columns, rows, visible) {
  const table = new Table(name, filled(columns, rows), rows, visible);
  follow(() => table.update());
  return table.host;
}

function runsPart(group) {
  const visible = (row) => group.shown.has(row.run_id);
  return [make("h3", {}, "Runs"),
    listed("Runs", runColumns(group), group.points, visible)];
}

/** Titled tables one after another, hidden where the filters leave none of their rows. */
function blocks(group, found) {
  const host = make("div");
  const more = make("button", { type: "button" });
  let limit = MANY_BLOCKS;
  const made = new Map();
  const draw = () => {
    const shown = found.filter((each) => each.rows.some((row) => row.runs.some((id) => group.shown.has(id))));
    const drawn = shown.slice(0, limit).map((each) => {
      if (!made.has(each)) made.set(each, block(group, each));
      return made.get(each);
    });
    host.replaceChildren(...drawn);
    more.hidden = shown.length <= limit;
    more.textContent = `Show ${shown.length - limit} more tables`;
  };
  more.addEventListener("click", () => { limit += 4 * MANY_BLOCKS; draw(); });
  follow(draw);
  return [host, more];
}

function block(group, { title, note, columns, rows }) {
  const visible = (row) => row.runs.some((id) => group.shown.has(id));
  return make("div", {}, make("h4", {}, title), note && make("p", { class: "caption" }, note),
    listed(title, columns, rows, visible));
}

function equalCostPart(group) {
  if (!group.equal_cost.length) return [];
  const found = group.equal_cost.map((table) => ({
    title: `At ${table.budget} (${fixed(table.macs, 3)} ${group.unit})`,
    note: table.absent.length ? `Not run at this cost: ${table.absent.join("; ")}.` : null,
    columns: rivalColumns(group, table.reference),
    rows: unpack(table.rivals),
  }));
  return [make("h3", {}, "At equal cost"),
    make("p", { class: "caption" }, "Paired tests on the same samples, p-values adjusted by Holm. "
      + "Bold: distinguishably better than every other one at this cost."),
    ...blocks(group, found)];
}

function ablationsPart(group) {
  if (!group.ablations.length) return [];
  const found = group.ablations.map((each) => ({
    title: `${each.method}: ${each.factor}, at ${each.budget}`,
    note: each.fixed ? `Everything else the same: ${each.fixed}` : "Everything else the same.",
    columns: settingColumns(group, each.factor),
    rows: unpack(each.settings),
  }));
  return [make("h3", {}, "Ablations, one factor at a time"),
    make("p", { class: "caption" }, "Bold: distinguishably better than each other value."),
    ...blocks(group, found)];
}

function curvesPart(group) {
  const rows = unpack(group.curves);
  if (!rows.length) return [];
  const readings = rows[0].readings.map(([budget]) => budget);
  const visible = (row) => row.runs.some((id) => group.shown.has(id));
  const parts = [make("h3", {}, "Curves over all costs"),
    listed("Curves over all costs", curveColumns(group, readings), rows, visible)];
  const areas = unpack(group.areas);
  if (areas.length) parts.push(make("h4", {}, "Curves compared"), areaTable(group, areas));
  return parts;
}

function areaTable(group, areas) {
  const columns = [words("Series", "series"), words("Against", "against"), words("Mean over", "over"),
    differenceTo("Difference", group), adjusted(), words("In words", "verdict")];
  return listed("Curves compared", columns, areas);
}

/** Tables of texts, which every report has. */
function tablesPart(group) {
  return group.tables.flatMap(({ title, caption, columns, rows }) => [
    make("h3", {}, title), make("p", { class: "caption" }, caption),
    listed(title, columns.map(([heading, figure], at) => ({
      title: heading, figure, words: figure ? undefined : "words", value: (row) => row[at], text: (row) => row[at],
    })), rows),
  ]);
}

/** Heat maps of how alike the runs are, a measure each; the table of all pairs is among the tables. */
function alikePart(group) {
  return group.alike.map(({ title, rows, chart }) => {
    const cells = unpack(rows);
    const lines = (cell) => [`${cell.one}, ${cell.other}`, `${title}: ${fixed(cell.value, 3)}`,
      cell.chance === null ? "" : `By chance: ${fixed(cell.chance, 3)}`].filter(Boolean);
    return figure(new Chart(chart, title, () => ({ alike: cells }), lines),
      `${title}: how alike the runs are, pair by pair. What is measured stands above the table.`);
  });
}

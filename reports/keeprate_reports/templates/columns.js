const percent = () => `${Math.round(100 * store.level)}%`;
const number = (title, name, digits) => ({
  title, figure: true, value: (row) => row[name], text: (row) => fixed(row[name], digits),
});
const words = (title, name) => ({
  title, words: "words", value: (row) => row[name], text: (row) => fixed(row[name], 2),
});

function runButton(id, text) {
  return make("button", { type: "button", class: "open", click: () => showOrigin(id) }, text);
}

/** A name that opens the run it stands for, or names of several seeds. */
function seriesCell(row, text) {
  if (row.runs.length === 1) return runButton(row.runs[0], text);
  const seeds = row.runs.map((id, at) => runButton(id, `run ${at + 1}`));
  const apart = seeds.flatMap((seed) => [" ", seed]);
  return make("span", {}, text, ...apart);
}

const score = ({ metric }, strong) => ({
  title: `${metric.title} [${percent()}]`,
  figure: true,
  value: (row) => row.score,
  text: (row) => scoreText(metric, row.score, row.low, row.high),
  strong,
});
const scoreText = ({ digits }, value, low, high) => fixed(value, digits)
  + interval(low, high, (end) => fixed(end, digits));

const differenceTo = (title, { metric }, prefix = "") => ({
  title: `${[title, metric.difference].filter(Boolean).join(", ")} [${percent()}]`,
  figure: true,
  value: (row) => row[`${prefix}difference`],
  text: (row) => signed(row[`${prefix}difference`], metric.digits)
    + interval(row[`${prefix}difference_low`], row[`${prefix}difference_high`],
      (end) => signed(end, metric.digits)),
});

const adjusted = () => ({
  title: "Adjusted p",
  figure: true,
  value: (row) => row.adjusted,
  text: (row) => probability(row.adjusted),
});

/** The metrics beside the one that runs are compared by; in short tables only some. */
const otherMetrics = ({ metrics }, brief = true) => metrics
  .filter((metric) => metric.brief || !brief)
  .map(({ title, name, digits }) => number(title, name, digits));

function runColumns(group) {
  return [
    { title: "Run", words: "words", value: (row) => row.label,
      text: (row) => runButton(row.run_id, row.label) },
    words("Budget or schedule", "asked"),
    number(group.unit, "macs", 3),
    number("% of unpruned", "share", 1),
    score(group),
    { title: "Pareto front", value: (row) => (row.front ? "on front" : ""), always: true,
      text: (row) => (row.front ? make("span", { class: "badge" }, "on front") : "") },
    ...otherMetrics(group, false),
    number("Images/s", "speed", 0),
    number("Speed-up", "ratio", 2),
    number("Of MACs' promise", "kept", 3),
  ];
}

const STANDING = { best: "best", first: "first", level: "level with first", "": "" };

function rivalColumns(group, reference) {
  return [
    { title: "Series", words: "words", value: (row) => row.series,
      text: (row) => seriesCell(row, row.series) },
    { title: "Standing", value: (row) => STANDING[row.standing],
      text: (row) => (row.standing
        ? make("span", { class: "badge" }, STANDING[row.standing]) : "") },
    number(group.unit, "macs", 3),
    score(group, (row) => row.standing === "best"),
    { title: `Against ${reference}`, words: "sentence", value: (row) => row.difference,
      text: (row) => row.verdict || (row.series === reference ? "reference" : "") },
    adjusted(),
    differenceTo("Against unpruned", group, "full_"),
    number("Seeds", "seeds", 0),
    ...otherMetrics(group),
    number("Speed-up", "ratio", 2),
  ];
}

function settingColumns(group, factor) {
  return [
    { title: factor, words: "words", value: (row) => row.value,
      text: (row) => seriesCell(row, row.value), strong: (row) => row.winner },
    number(group.unit, "macs", 3),
    score(group, (row) => row.winner),
    { title: "Against the first", words: "sentence", value: (row) => row.difference,
      text: (row) => row.verdict },
    adjusted(),
    ...otherMetrics(group),
  ];
}

function tokenColumns(rows) {
  const blocks = Math.max(0, ...rows.map((row) => row.tokens.length));
  const after = Array.from({ length: blocks }, (_, block) => ({
    title: `Block ${block}`,
    figure: true,
    value: (row) => row.tokens[block],
    text: (row) => fixed(row.tokens[block], 1).replace(/\.0$/, ""),
  }));
  const run = { title: "Run", words: "words", value: (row) => row.label,
    text: (row) => runButton(row.run_id, row.label) };
  return [run, words("Budget or schedule", "asked"), ...after];
}

function curveColumns({ unit, metric }, readings) {
  const read = readings.map((budget, at) => ({
    title: `At ${budget}`,
    figure: true,
    value: (row) => row.readings[at]?.[1],
    text: (row) => readingText(metric, row.readings[at]),
  }));
  return [
    words("Series", "series"),
    number(`From ${unit}`, "from", 3),
    number(`To ${unit}`, "to", 3),
    { title: `Mean ${metric.title} [${percent()}]`, figure: true, value: (row) => row.area,
      text: (row) => (row.area === null ? row.reason
        : scoreText(metric, row.area, row.low, row.high)) },
    words("Mean over", "over"),
    ...read,
  ];
}

function readingText(metric, reading) {
  if (!reading) return "";
  const [, value, low, high, reason] = reading;
  return value === null ? reason : scoreText(metric, value, low, high);
}

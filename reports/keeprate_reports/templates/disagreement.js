const answer = (title, value) => ({
  title,
  words: "words",
  value: (row) => value(row)?.[0],
  strong: (row) => value(row)?.[1] === true,
  text: (row) => fixed(value(row)?.[0]),
});

function disagreementColumns(found) {
  return [
    { ...words("Sample", "sample"), text: (row) => make("span", { class: "sample" }, row.sample) },
    words("Label", "label"),
    number("Pairs that differ %", "different", 1),
    number("KL spread, nats", "spread", 4),
    answer("Unpruned", (row) => row.unpruned),
    ...found.labels.map((label, at) => answer(label, (row) => row.guesses[at])),
  ];
}

function disagreementPart(group) {
  const found = group.disagreement;
  if (!found) return [];
  const rows = unpack(found.rows);
  const host = make("div", {}, make("h3", {}, `${found.samples === "texts" ? "Texts" : "Images"} on which methods disagree most`),
    make("p", { class: "caption" }, found.text), make("p", { class: "caption" }, disagreementText(found)));
  follow(() => { host.hidden = !found.runs.some((id) => group.shown.has(id)); });
  if (rows.length) {
    host.append(listed("Samples on which methods disagree most", disagreementColumns(found), rows));
    host.append(...disagreementPictures(found));
  }
  return [host];
}

function disagreementText(found) {
  const share = `Predictions differ on ${found.differing.toLocaleString("en")} of `
    + `${found.images.toLocaleString("en")} ${found.samples}.`;
  return `${share} Listed by the share of pairs of runs whose predictions differ, then by the spread of `
    + "their KL divergence from the unpruned model. Bold: right.";
}

function disagreementPictures(found) {
  if (!found.pictures.length) return disagreementCommand(found);
  const shown = found.pictures.map((picture, at) => pictureOf(picture, at === 0));
  const missing = found.missing
    ? make("p", { class: "caption" }, `${plural(found.missing, "picture")} left out: too large, or not to be read.`)
    : null;
  return [make("h4", {}, "What each run did to them"),
    make("p", { class: "caption" }, "Dimmed: dropped, or set aside. Outlined in one colour: merged into one token. "
      + "In red: another prediction than the unpruned model's."),
    ...shown, missing].filter(Boolean);
}

function disagreementCommand(found) {
  if (!found.command) return [make("p", {}, "Texts have no patches to draw.")];
  const said = found.missing ? "The pictures could not be read." : "No pictures were drawn.";
  return [make("p", {}, `${said} This draws them; the report shows them when it is written anew.`),
    command(found.command)];
}

function pictureOf(picture, open) {
  const image = make("img", { alt: picture.alt, decoding: "async", src: `data:image/png;base64,${picture.source}` });
  const lines = picture.otherwise.map((line) => make("p", { class: "note" }, line));
  const scroll = make("div", { class: "sheet", tabindex: "0", role: "region", "aria-label": picture.title }, image);
  return make("details", { class: "picture", open }, make("summary", {}, picture.title), ...lines, scroll);
}

const origins = new Map();
for (const group of groups) {
  group.origins = unpack(group.provenance);
  for (const origin of group.origins) origins.set(origin.run_id, origin);
}

/** All that is recorded of a run, in a dialog: Escape closes it and returns to where one was. */
function showOrigin(id) {
  const origin = origins.get(id);
  const dialog = document.getElementById("origin");
  if (!origin) return;
  const facts = Object.entries(origin)
    .filter(([name, value]) => value && name !== "Command" && name !== "Run")
    .map(([name, value]) => fact(name === "run_id" ? "Id" : name, value));
  const close = make("button", { type: "button", click: () => dialog.close() }, "Close");
  dialog.replaceChildren(
    make("h2", { id: "origin-title" }, origin.Run),
    make("dl", { class: "facts" }, ...facts),
    make("h3", {}, "Command that computes it again"),
    command(origin.Command),
    close,
  );
  dialog.showModal();
  close.focus();
}

function fact(name, value) {
  const shown = / SHA-256$/.test(name) ? make("span", { class: "hash" }, value) : value;
  return make("div", {}, make("dt", {}, name), make("dd", {}, shown));
}

function command(text) {
  const code = make("pre", { tabindex: "0", "aria-label": "Command" }, make("code", {}, text));
  return make("div", { class: "command" }, code, copyButton(text));
}

function originColumns() {
  const plain = (title, name) => ({ title, value: (row) => row[name] });
  const short = (title, name) => ({
    title, value: (row) => row[name],
    text: (row) => make("span", { class: "hash", title: row[name] }, row[name].slice(0, 12)),
  });
  return [
    { title: "Run", words: "words", value: (row) => row.Run,
      text: (row) => runButton(row.run_id, row.Run) },
    plain("Id", "run_id"),
    words("Method from", "Method from"),
    words("Schedule", "Schedule"),
    plain("Seed", "Seed"),
    words("Device", "Device"),
    short("Weights", "Weights SHA-256"),
    short("Samples", "Samples SHA-256"),
    plain("Started", "Started"),
  ];
}

const store = JSON.parse(document.getElementById("data").textContent);

/** An element; children that are not nodes become text, so that nothing is ever read as HTML. */
function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name, value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

/** Columns, as the report packs them, turned into one object a row. */
function unpack({ rows, columns }) {
  const found = Array.from({ length: rows }, () => ({}));
  for (const [name, column] of Object.entries(columns)) {
    let values = column;
    if (column.rest) values = column.rest.map((text) => column.prefix + text);
    else if (column.of) values = (column.at ?? Array(rows).fill(0)).map((index) => column.of[index]);
    values.forEach((value, row) => { found[row][name] = value; });
  }
  return found;
}

function fixed(value, digits) {
  if (value === null || value === undefined) return "";
  return typeof value === "number" ? value.toFixed(digits) : String(value);
}

function signed(value, digits) {
  if (typeof value !== "number") return fixed(value, digits);
  const text = Math.abs(value).toFixed(digits);
  if (Number(text) === 0) return text;
  return (value < 0 ? "\u2212" : "+") + text;
}

function interval(low, high, form) {
  return low === null || low === undefined ? "" : ` [${form(low)}, ${form(high)}]`;
}

function probability(value) {
  if (typeof value !== "number") return fixed(value, 3);
  return value < 0.001 ? "<0.001" : value.toFixed(3);
}

function plural(count, word) {
  return `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;
}

function copyButton(text) {
  return make("button", { type: "button", click: (event) => copy(event.target, text) }, "Copy");
}

/** Copy, also where a page from a file has no clipboard of its own. */
async function copy(button, text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = make("textarea", { "aria-hidden": "true", class: "unseen" });
    area.value = text;
    button.after(area);
    area.select();
    document.execCommand("copy");
    area.remove();
    button.focus();
  }
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = "Copy"; }, 1500);
}

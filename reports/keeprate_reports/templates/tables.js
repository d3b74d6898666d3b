const PAGE = 25;

/**
 * A table to sort, a page at a time. A column has a `title`, the `value` it is sorted by, the
 * `text` or node it shows, and whether it holds `figure`s; `visible` says which rows are shown.
 */
class Table {
  constructor(name, columns, rows, visible = () => true) {
    Object.assign(this, { columns, rows, visible, sorted: null, down: false, page: 0, whole: false });
    this.body = make("tbody");
    this.heads = columns.map((column, index) => this.head(column, index));
    this.status = make("span", { role: "status" });
    this.buttons = this.pagerButtons(name);
    this.pager = make("div", { class: "pager" }, ...this.buttons, this.status);
    const table = make("table", {}, make("thead", {}, make("tr", {}, ...this.heads)), this.body);
    const scroll = { class: "scroll", tabindex: "0", role: "region", "aria-label": name };
    this.host = make("div", { class: "table" }, make("div", scroll, table), this.pager);
    this.shown = [];
  }

  head(column, index) {
    const button = make("button", { type: "button", click: () => this.sort(index) }, column.title);
    const kind = column.figure ? "figure" : "text";
    return make("th", { scope: "col", class: kind, "aria-sort": "none" }, button);
  }

  pagerButtons(name) {
    const turn = (title, act) =>
      make("button", { type: "button", click: act, "aria-label": `${title}: ${name}` }, title);
    return [
      turn("Previous", () => this.turn(this.page - 1)),
      turn("Next", () => this.turn(this.page + 1)),
      turn("All rows", () => { this.whole = !this.whole; this.turn(0); }),
    ];
  }

  /** Figures the largest first, words from A; then the other way round. */
  sort(index) {
    this.down = this.sorted === index ? !this.down : Boolean(this.columns[index].figure);
    this.sorted = index;
    this.heads.forEach((head, at) => {
      const way = this.down ? "descending" : "ascending";
      head.setAttribute("aria-sort", at === index ? way : "none");
    });
    this.update();
  }

  turn(page) {
    this.page = page;
    this.draw();
  }

  /** What is shown after the filters or the order changed, from the first page. */
  update() {
    this.shown = this.rows.filter(this.visible);
    if (this.sorted !== null) {
      const value = this.columns[this.sorted].value;
      this.shown.sort((one, other) => compare(value(one), value(other), this.down));
    }
    this.turn(0);
  }

  draw() {
    const size = this.whole ? this.shown.length : PAGE;
    const first = this.page * size;
    const rows = this.shown.slice(first, first + size);
    this.body.replaceChildren(...rows.map((row) => this.line(row)));
    const [previous, next, whole] = this.buttons;
    previous.disabled = this.page === 0;
    next.disabled = first + size >= this.shown.length;
    whole.textContent = this.whole ? "Pages" : "All rows";
    this.pager.hidden = this.shown.length <= PAGE;
    const last = Math.min(first + size, this.shown.length);
    this.status.textContent = `${first + 1} to ${last} of ${plural(this.shown.length, "row")}`;
  }

  line(row) {
    const cells = this.columns.map((column) => {
      const shown = column.text ? column.text(row) : fixed(column.value(row), 2);
      const kind = column.figure ? "figure" : column.words ?? "text";
      const strong = column.strong && column.strong(row) ? " strong" : "";
      return make("td", { class: kind + strong }, shown);
    });
    return make("tr", {}, ...cells);
  }
}

/** What is missing comes last, whichever way. */
function compare(one, other, down) {
  const missing = (value) => value === null || value === undefined || value === "";
  if (missing(one) || missing(other)) return missing(one) - missing(other);
  const numbers = typeof one === "number" && typeof other === "number";
  const order = numbers
    ? one - other
    : String(one).localeCompare(String(other), "en", { numeric: true });
  return down ? -order : order;
}

/** Columns without those in which no row has anything. */
function filled(columns, rows) {
  return columns.filter(({ value, always }) =>
    always || rows.some((row) => ![null, undefined, ""].includes(value(row))));
}

const MANY_LINES = 40;
const MANY_BARS = 150;
const MANY_MARKS = 600;
const ERRORS_ALONE = 1;
const charts = [];
const tip = document.getElementById("tip");

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

function theme() {
  const [ink, soft, rule] = ["ink", "soft", "rule"].map(colour);
  const axis = { labelColor: soft, titleColor: ink, gridColor: rule, domainColor: soft };
  const sizes = { tickColor: soft, labelFontSize: 12, titleFontSize: 13, titleFontWeight: "normal" };
  return {
    background: "transparent", view: { stroke: null }, axis: { ...axis, ...sizes },
    axisX: { grid: false, tickCount: 8 }, axisY: { tickCount: 6 },
    legend: { labelColor: ink, labelFontSize: 12 },
    font: 'system-ui, "Segoe UI", Roboto, "Liberation Sans", sans-serif',
  };
}

/** A chart that draws itself once it is near what is seen, and again with other filters. */
class Chart {
  constructor(definition, name, data, lines) {
    Object.assign(this, { definition, data, lines, view: null, at: -1, bars: true });
    const tall = definition.height > 300 ? "plot tall" : "plot";
    this.plot = make("div", { class: tall, tabindex: "0", role: "group", "aria-label": name });
    this.plot.addEventListener("keydown", (event) => this.step(event));
    this.plot.addEventListener("blur", () => this.leave());
    new IntersectionObserver((seen, watcher) => {
      if (!seen.some((each) => each.isIntersecting)) return;
      watcher.disconnect();
      this.draw();
    }, { rootMargin: "300px" }).observe(this.plot);
    charts.push(this);
  }

  async draw() {
    const renderer = (this.data().points?.length ?? 0) > MANY_MARKS ? "canvas" : "svg";
    const drawn = await window.vegaEmbed(this.plot, { ...this.definition, datasets: this.data() }, {
      ast: true, actions: false, defaultStyle: false, renderer, config: theme(),
      logLevel: ERRORS_ALONE,
      tooltip: (handler, event, item, value) => this.point(event, value && item.datum),
    });
    this.view?.finalize();
    this.view = drawn.view;
    this.view.addEventListener("click", (event, item) => showOrigin(item?.datum?.run_id));
    this.view.signal("ink", colour("ink")).signal("paper", colour("paper"));
    await this.update();
  }

  async update() {
    if (!this.view) return;
    for (const [name, rows] of Object.entries(this.data())) this.view.data(name, rows);
    if (this.definition.params.some((each) => each.name === "bars")) {
      this.view.signal("bars", this.bars && this.data().points.length <= MANY_BARS);
    }
    await this.view.resize().runAsync();
  }

  /** What the pointer is on; where it is on nothing, what the keys have chosen stays. */
  point(event, datum) {
    if (datum || this.at < 0) showTip(event, datum && this.lines(datum));
  }

  /** Arrow keys go from point to point, Enter tells where it comes from. */
  async step(event) {
    const points = this.data().points ?? [];
    const way = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (event.key === "Enter" && points[this.at]) {
      event.preventDefault();
      showOrigin(points[this.at].run_id);
    }
    if (!way || !this.view || !points.length) return;
    event.preventDefault();
    this.at = Math.min(Math.max(this.at + way, 0), points.length - 1);
    await this.view.data("focus", [points[this.at]]).runAsync();
    const box = this.plot.getBoundingClientRect();
    showTip({ clientX: box.left + 60, clientY: box.top + 10 }, this.lines(points[this.at]));
  }

  async leave() {
    this.at = -1;
    showTip(null, null);
    if (this.view && "focus" in this.data()) await this.view.data("focus", []).runAsync();
  }
}

/** Lines of text beside the pointer; the first one stands out. */
function showTip(event, lines) {
  tip.hidden = !lines;
  if (!lines) return;
  tip.replaceChildren(make("b", {}, lines[0]), ...lines.slice(1).map((line) => make("div", {}, line)));
  const { width, height } = tip.getBoundingClientRect();
  const left = Math.min(event.clientX + 14, window.innerWidth - width - 8);
  const below = event.clientY + 14 + height < window.innerHeight;
  tip.style.left = `${Math.max(8, left)}px`;
  tip.style.top = `${below ? event.clientY + 14 : Math.max(8, event.clientY - height - 14)}px`;
}

function redrawCharts() {
  for (const chart of charts) if (chart.view) chart.draw();
}

function legend(group) {
  const entry = (look) => {
    const button = make("button", { type: "button", "aria-pressed": "true" }, swatch(look), look.key);
    button.addEventListener("click", () => {
      toggle(filters.keys, look.key, filters.keys.has(look.key));
    });
    follow(() => button.setAttribute("aria-pressed", String(!filters.keys.has(look.key))));
    return make("li", {}, button);
  };
  return make("ul", { class: "legend", "aria-label": "Shown in the chart" }, ...group.looks.map(entry));
}

function swatch(look) {
  const ink = look.colour ?? "currentColor";
  const line = { d: "M0 8h28", stroke: ink, "stroke-width": 2, "stroke-dasharray": look.dash };
  return drawn("svg", { viewBox: "0 0 28 16", "aria-hidden": "true" },
    drawn("path", line), drawn("path", { d: look.path, fill: ink }));
}

function drawn(tag, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

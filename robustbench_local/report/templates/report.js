"use strict";
// Draws the bracket plots from the JSON in #curves. Colours are read from the style sheet, so that the plots
// follow the light, dark and print versions of the page.
(() => {
  const data = JSON.parse(document.getElementById("curves").textContent);
  const statistic = document.getElementById("statistic");
  const sample = document.getElementById("sample");
  const drawn = new Map(); // plot element -> function that draws it again
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const coarse = matchMedia("(pointer: coarse)").matches;
  const config = { responsive: true, displayModeBar: false, doubleClick: "autosize", scrollZoom: false };

  const values = (series, curve) =>
    statistic.value === "sample"
      ? series.samples[curve.cases.indexOf(sample.value)] ?? curve.eps.map(() => null)
      : series.statistics[statistic.value];

  function layout(yaxis, across) {
    const axis = {
      gridcolor: colour("--grid"), linecolor: colour("--line"), zeroline: false, ticks: "outside",
      tickcolor: colour("--line"), automargin: true, fixedrange: coarse, title: { standoff: 8 },
    };
    return {
      margin: { l: 8, r: 12, t: 10, b: 8 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif", size: 13, color: colour("--ink") },
      dragmode: coarse ? false : "zoom", hovermode: "x unified",
      hoverlabel: { bgcolor: colour("--panel"), bordercolor: colour("--line"), font: { color: colour("--ink") } },
      legend: { orientation: "h", traceorder: "normal", x: 0, y: 1, xanchor: "left", yanchor: "bottom", font: { size: 12 } },
      xaxis: { ...axis, title: { text: across ?? "radius ε of the input set", standoff: 8 }, rangemode: "tozero", hoverformat: ".4~g" },
      yaxis: { ...axis, ...yaxis },
    };
  }

  function pair(curve, lower, upper, names, format) {
    const common = { x: curve.eps, mode: "lines+markers", type: "scatter", hovertemplate: `%{y:${format}}` };
    const low = {
      ...common, y: lower, name: names[0], marker: { size: 5, symbol: "diamond" },
      line: { color: colour("--broken"), width: 2.5, dash: "dot" },
    };
    const high = {
      ...common, y: upper, name: names[1], marker: { size: 5 }, fill: "tonexty", fillcolor: colour("--band"),
      line: { color: colour("--verified"), width: 2.5 },
    };
    return [low, high];
  }

  function range(lower, upper) {
    // A loose upper bound would squeeze everything else flat: cut it where it is far above the attack's curve.
    const low = [...lower, ...upper, 0].filter((y) => y !== null);
    const high = Math.max(...lower.filter((y) => y !== null), 0);
    const bottom = Math.min(...low);
    const span = Math.max(high - bottom, 1e-9);
    const top = Math.max(...upper.filter((y) => y !== null), high);
    const limit = high + 1.5 * span;
    return { range: [bottom - 0.06 * span, Math.min(top, limit) + 0.06 * span], cut: top > limit };
  }

  function drawViolation(node, curve, index) {
    const [lower, upper] = curve.bracket.map((series) => values(series, curve));
    const mates = (curve.mates ?? [index]).map((number) => data.curves[number].bracket);
    const view = range(...[0, 1].map((side) => mates.flatMap((bracket) => values(bracket[side], curve))));
    document.getElementById(`cut-${index}`).hidden = !view.cut;
    const single = curve.methods.map((series) => ({
      x: curve.eps, y: values(series, curve), name: series.name, type: "scatter", mode: "lines", visible: "legendonly",
      hovertemplate: "%{y:.3~g}",
      line: {
        width: 1.3, color: colour(series.side === "lower" ? "--broken" : "--verified"),
        dash: series.side === "lower" ? "dashdot" : "dash",
      },
    }));
    const picture = layout({ title: { text: "violation", standoff: 4 }, range: view.range, hoverformat: ".3~g" }, curve.axis);
    picture.shapes = [
      { type: "line", xref: "paper", x0: 0, x1: 1, y0: 0, y1: 0, line: { color: colour("--ink"), width: 1.2 }, layer: "below" },
    ];
    picture.margin.r = 46;
    picture.annotations = [["broken", "bottom"], ["holds", "top"]].map(([text, side]) => ({
      xref: "paper", x: 1, y: 0, xanchor: "left", yanchor: side, text, showarrow: false,
      font: { size: 11, color: colour("--soft") },
    }));
    const traces = [...pair(curve, lower, upper, ["attack", "verifier"], ".3~g"), ...(curve.methods.length > 2 ? single : [])];
    return Plotly.react(node, traces, picture, config);
  }

  function drawAccuracy(node, curve) {
    const { clean, verified, empirical } = curve.accuracy;
    const traces = [];
    const known = (shares) => shares.some((share) => share !== null);
    if (known(clean)) {
      traces.push({
        x: curve.eps, y: clean, name: "clean", type: "scatter", mode: "lines", hovertemplate: "%{y:.1%}",
        line: { color: colour("--soft"), width: 1.3, dash: "dash" },
      });
    }
    const [low, high] = pair(curve, verified, empirical, ["verified", "empirical"], ".1%");
    // Here the verified curve is the lower one: swap the styles, not the meaning of the colours.
    const verifiedTrace = { ...low, line: { ...high.line }, marker: high.marker };
    const empiricalTrace = { ...high, line: { ...low.line }, marker: low.marker };
    if (known(verified)) traces.push(verifiedTrace);
    if (known(empirical)) traces.push({ ...empiricalTrace, fill: known(verified) ? "tonexty" : "none" });
    const axis = { title: { text: "accuracy", standoff: 4 }, range: [-0.02, 1.04], tickformat: ".0%", hoverformat: ".1%" };
    return Plotly.react(node, traces, layout(axis), config);
  }

  function start(node) {
    if (drawn.has(node)) return;
    const [kind, number] = node.id.split("-");
    const curve = data.curves[Number(number)];
    const draw = kind === "violation" ? () => drawViolation(node, curve, number) : () => drawAccuracy(node, curve);
    drawn.set(node, draw);
    draw();
  }

  const plots = [...document.querySelectorAll(".plot")];
  const redraw = () => drawn.forEach((draw) => draw());

  if (statistic !== null) {
    const cases = new Set(data.curves.flatMap((curve) => curve.cases));
    for (const name of cases) sample.add(new Option(name, name));
    const choose = () => {
      document.getElementById("sample-label").hidden = statistic.value !== "sample";
      redraw();
    };
    statistic.addEventListener("change", choose);
    sample.addEventListener("change", redraw);
    document.getElementById("controls").addEventListener("submit", (event) => event.preventDefault());
    choose(); // a browser may restore an earlier choice
  }

  // Pages with dozens of models draw only what is near the screen.
  const watcher = new IntersectionObserver(
    (entries) => entries.filter((entry) => entry.isIntersecting).forEach((entry) => start(entry.target)),
    { rootMargin: "800px" },
  );
  plots.forEach((node) => watcher.observe(node));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  addEventListener("beforeprint", () => {
    plots.forEach(start);
    redraw();
  });
  addEventListener("afterprint", redraw);
})();

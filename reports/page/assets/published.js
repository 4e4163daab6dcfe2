"use strict";
// Stands before page.js, in one script, where learning curves of others are shown: thin, with a
// mark at each of their evaluations within the budget here, and only against steps.

const published = (task) => data.published.curves.filter(
  (curve) => curve.task === task && choice.axis === "steps" && !choice.hidden.has(`published ${curve.style}`),
);

const drawOwnPanel = drawPanel;
drawPanel = (panel) => {
  drawOwnPanel(panel);
  if (!panel.lines.length) return;
  const { width, height, left, right, top, bottom } = frame;
  make.shapes.add("clipPath").add("rect");
  const id = `inside-${panel.task}`;
  const clip = make("clipPath", { id });
  clip.append(make("rect", { x: left, y: top, width: width - left - right, height: height - top - bottom }));
  const group = make("g", { class: "published", "clip-path": `url(#${id})` });
  for (const { style, steps, y } of published(panel.task)) {
    const algorithm = data.published.styles[style];
    const stroke = { stroke: algorithm.colour, "stroke-width": 1, fill: "none" };
    const points = steps.map((step, index) => [panel.sx(step), panel.sy(y[index])]);
    group.append(make("path", { d: pathThrough(points), "stroke-dasharray": dashes(algorithm), ...stroke }));
    for (const [cx, cy] of points) group.append(make("circle", { cx, cy, r: 2, ...stroke }));
    const within = steps.flatMap((step, index) => (step <= panel.end ? [index] : []));
    if (within.length) {
      const n = "nearest published";
      panel.lines.push({ algorithm, x: within.map((i) => steps[i]), y: within.map((i) => y[i]), n });
    }
  }
  panel.svg.insertBefore(group, panel.cursor);
  panel.svg.insertBefore(clip, group);
};

const makeOwnToggle = makeToggle;
makeToggle = (algorithm, index, redraw) => {
  makeOwnToggle(algorithm, index, redraw);
  if (index < data.algorithms.length - 1) return;
  data.published.styles.forEach((style, number) => makeOwnToggle(style, `published ${number}`, redraw));
};

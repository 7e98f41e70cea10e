"use strict";
(async () => {
  const read = id => JSON.parse(document.getElementById(id).textContent);
  const element = id => document.getElementById(id);
  const data = read("data");
  const drawings = read("drawings");
  const drawn = new Set(drawings.map(item => item.target_id));

  for (const section of document.querySelectorAll("section[data-needs]")) {
    section.hidden = !drawn.has(section.dataset.needs);
  }
  Bokeh.set_log_level("error"); // it warns of drawings that are empty yet
  await Promise.all(drawings.map(item => Bokeh.embed.embed_item(item)));
  const source = name =>
    Bokeh.documents.map(one => one.get_model_by_name(name)).find(found => found);
  const put = (name, columns) => {
    const found = source(name);
    if (found) found.data = columns;
  };

  // Examples by class and features by whether they are represented; each has a shape of its own.
  const CLASS = {
    single: ["●", "circle", "#b2182b", 0.9],
    partial: ["▽", "inverted_triangle", "#b2182b", 0.2],
    cluster: ["■", "square", "#d6604d", 0.6],
    feature: ["▲", "triangle", "#2166ac", 0.9],
    none: ["×", "x", "#888888", 0],
  };
  const EXAMPLE = ["●", "circle", "#b2182b", 0.6];
  const FEATURE = [["○", "circle", "#2166ac", 0.1], ["▲", "triangle", "#2166ac", 0.9]];

  const add = (parent, tag, text = "") => {
    const child = document.createElement(tag);
    child.textContent = text;
    parent.append(child);
    return child;
  };

  // ---- the sliders

  const sliders = [];
  const slider = (name, change) => {
    const form = element("controls");
    const label = add(form, "label", name);
    const input = add(form, "input");
    const output = add(form, "output");
    input.type = "range";
    input.min = 0;
    input.id = label.htmlFor = `slider-${sliders.length}`;
    output.htmlFor = input.id;
    input.addEventListener("input", change);
    sliders.push(input);
    return {
      get place() { return Number(input.value); },
      set(values, place) {
        input.max = values.length - 1;
        input.value = place;
        output.value = values[place];
        input.setAttribute("aria-valuetext", values[place]);
      },
      hide(hidden) { for (const part of [label, input, output]) part.hidden = hidden; },
    };
  };
  element("controls").addEventListener("submit", event => event.preventDefault());

  const places = data.axes.map(() => 0);
  const controls = data.axes.map((axis, k) => {
    if (axis.values.length === 1) return null;
    const control = slider(axis.name, () => {
      places[k] = control.place;
      show();
    });
    return control;
  });
  let state = Infinity; // the last one, until another is chosen
  const hasStates = data.cells.some(cell => cell.run && cell.run.states.length > 1);
  const steps = hasStates ? slider("step", () => { state = steps.place; show(); }) : null;

  const cellAt = chosen =>
    data.cells[chosen.reduce((at, place, k) => at * data.axes[k].values.length + place, 0)];

  // ---- the losses

  const seed = data.axes.findIndex(axis => axis.name === "seed");
  const along = (name, chosen) => {
    const found = {x: [], y: []};
    data.x.forEach((x, place) => {
      const cell = cellAt(chosen.map((other, k) => (k === data.main ? place : other)));
      found.x.push(x);
      found.y.push(cell[name] ?? NaN);
    });
    return found;
  };

  const showLosses = cell => {
    for (const name of ["test_loss", "train_loss"]) {
      if (data.main === null) continue;
      const all = {x: [], y: []};
      const others = seed < 0 || seed === data.main ? [] : data.axes[seed].values;
      others.forEach((_, other) => {
        const line = along(name, places.map((place, k) => (k === seed ? other : place)));
        all.x.push(...line.x);
        all.y.push(...line.y);
      });
      put(`${name}:all`, all);
      put(`${name}:line`, along(name, places));
      const here = name in cell;
      put(`${name}:here`, {x: here ? [data.x[places[data.main]]] : [], y: here ? [cell[name]] : []});
    }
  };

  const showHistory = (run, at) => {
    const history = run && run.history;
    const here = {x: [], y: []};
    for (const name of ["test_loss", "train_loss"]) {
      const x = history ? history.step.map(step => Math.max(step, 0.5)) : [];
      const y = history ? history[name].map(loss => loss ?? NaN) : [];
      put(`history:${name}`, {x, y});
      if (history) {
        here.x.push(Math.max(at.step, 0.5));
        here.y.push(lossAt(history, name, at.step));
      }
    }
    put("history:here", here);
  };

  const lossAt = (history, name, step) => {
    const next = Math.max(1, history.step.findIndex(other => other >= step));
    const [a, b] = [history.step[next - 1], history.step[next]];
    const [low, high] = [history[name][next - 1], history[name][next]];
    return low + (high - low) * Math.min(1, (step - a) / (b - a));
  };

  // ---- the vectors

  // Few long vectors among many short ones are to be seen: the ink of a line depends on how many
  // vectors are about as long or longer.
  const inks = vectors => {
    const length = vectors.x.map((x, i) => Math.hypot(x, vectors.y[i]));
    const falling = [...length].sort((a, b) => b - a);
    return length.map(own => {
      let [low, high] = [0, falling.length];
      while (low < high) {
        const middle = (low + high) >> 1;
        if (falling[middle] >= own / 2) low = middle + 1;
        else high = middle;
      }
      return Math.min(0.8, Math.max(0.06, 7 / Math.max(low, 1) ** 0.6));
    });
  };

  const showVectors = (name, vectors, looks) => {
    const {x, y} = vectors;
    const alpha = inks(vectors);
    const color = looks.map(look => look[2]);
    put(`${name}:lines`, {x, y, alpha, color});
    const size = x.length > 100 ? 5 : x.length > 20 ? 7 : 9;
    put(`${name}:tips`, {
      x, y, color,
      marker: looks.map(look => look[1]),
      fill: looks.map(look => look[3]),
      size: looks.map(look => (look[0] === "×" || look[0] === "○" ? size * 0.8 : size)),
    });
  };

  const legend = (name, entries) => {
    const list = element(`${name}-legend`);
    list.replaceChildren();
    for (const [look, text] of entries) {
      const item = add(list, "li");
      const sign = add(item, "span", look[0]);
      sign.style.color = look[2];
      sign.setAttribute("aria-hidden", "true");
      item.append(` ${text}`);
    }
  };

  const count = number => number.toLocaleString("en");
  const shown = vectors => {
    const some = vectors.x.length < vectors.of ? `, ${count(vectors.x.length)} shown` : "";
    return `${count(vectors.of)}${some}; the longest is ${vectors.longest}`;
  };

  const showRun = (run, at) => {
    const none = {x: [], y: [], of: 0, longest: 0};
    const features = at ? at.features : none;
    const examples = at ? at.examples : none;
    const known = [...(features.classes ?? "")].map(Number);
    showVectors("features", features, features.x.map((_, i) => FEATURE[known[i]]));
    const classes = examples.classes && [...examples.classes].map(i => CLASS[data.classes[i]]);
    showVectors("examples", examples, classes ?? examples.x.map(() => EXAMPLE));
    element("features-about").textContent = at ? shown(features) : "";
    element("examples-about").textContent = at ? shown(examples) : "";
    legend("features", at ? [
      [FEATURE[1], `${count(at.represented)} represented`],
      [FEATURE[0], `${count(features.of - at.represented)} others`],
    ] : []);
    const found = (run && run.classes) || [];
    legend("examples", data.classes.map((name, i) =>
      [CLASS[name], `${count(found[i] ?? 0)} ${name === "none" ? "not stored" : name}`],
    ).filter((_, i) => found[i]));

    for (const name of ["features", "examples"]) {
      const [x, y] = at ? at.dimensionality[name] : [[], []];
      put(`dimensionality:${name}`, {x, y: y.map(value => value / 1000)});
    }
    const even = run && run.T ? Math.min(1, run.m / run.T) : null;
    put("dimensionality:even", even === null ? {x: [], y: []} : {x: [0.8, 1e9], y: [even, even]});
    element("even").hidden = even === null;
  };

  // ---- all of it

  const words = (cell, run, at) => {
    const where = data.axes.map((axis, k) => `${axis.name} = ${axis.values[places[k]]}`);
    if (cell.status !== "ok") return [...where, `this run is ${cell.status}`].join(", ");
    const early = run && at !== run.states.at(-1);
    if (run && run.states.length > 1) where.push(`step ${count(at.step)}`);
    const losses = ["test_loss", "train_loss"].filter(name => name in cell).map(name => {
      const loss = early ? lossAt(run.history, name, at.step) : cell[name];
      return `${name.replace("_", " ")} ${early ? "about " : ""}${loss.toPrecision(5)}`;
    });
    const stored = run && run.classes && data.classes.slice(0, -1)
      .map((name, i) => [name, run.classes[i]]).filter(([_, number]) => number)
      .map(([name, number]) => `${count(number)} ${name}`);
    const then = early ? " at the end" : "";
    const classes = stored && `examples stored${then}: ${stored.join(", ") || "none"}`;
    return [where.join(", "), ...losses, classes].filter(part => part).join("; ");
  };

  const show = () => {
    controls.forEach((control, k) => control && control.set(data.axes[k].values, places[k]));
    const cell = cellAt(places);
    const run = cell.run;
    const at = run && run.states[Math.min(state, run.states.length - 1)];
    if (steps) {
      steps.hide(!run || run.states.length < 2);
      if (run) steps.set(run.states.map(one => count(one.step)), run.states.indexOf(at));
    }
    showLosses(cell);
    showHistory(run, at);
    showRun(run, at);
    element("said").textContent = words(cell, run, at);
    element("scalars").replaceChildren();
    for (const [name, value] of cell.scalars ?? []) {
      const row = add(element("scalars"), "tr");
      add(row, "th", name).scope = "row";
      add(row, "td", value);
    }
  };

  element("fixed").textContent = data.fixed.map(pair => pair.join(" = ")).join(", ");
  element("note").textContent = data.note;
  show();
  document.body.dataset.ready = "";
})();

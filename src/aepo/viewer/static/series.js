// Rows of metrics as curves: for each name its [step, value, low, high], in order.
export function seriesOf(rows) {
  const found = new Map();
  for (const row of rows) {
    for (const [name, value] of Object.entries(row)) {
      if (
        name === "step" ||
        typeof value !== "number" ||
        (/_(low|high)$/.test(name) && name.replace(/_(low|high)$/, "") in row)
      )
        continue;
      if (!found.has(name)) found.set(name, []);
      found.get(name).push([row.step, value, row[`${name}_low`] ?? null, row[`${name}_high`] ?? null]);
    }
  }
  return found;
}

// Names of several runs' curves, in the order in which they were first seen.
export function namesOf(all) {
  return [...new Set(all.flatMap((series) => [...series.keys()]))];
}

export function valueAt(series, name, step) {
  const points = series.get(name);
  return points?.find((point) => point[0] === step)?.[1] ?? null;
}

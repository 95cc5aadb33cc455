// Merges sealed records into the open notebook's metadata. Payloads stay opaque text.
// Whatever is missing in a front-end, nothing is shown and nothing is raised.
const KEY = "flops_magic";

function merged(existing, records) {
  const kept = existing && Array.isArray(existing.records) ? existing.records : [];
  const known = new Set(kept.map((record) => record && record.sha256));
  const fresh = records.filter((record) => !known.has(record.sha256));
  return fresh.length ? { records: [...kept, ...fresh] } : null;
}

function write(model) {
  try {
    const document = model.widget_manager.context.model;
    const value = merged(document.getMetadata(KEY), JSON.parse(model.get("records")));
    if (value) document.setMetadata(KEY, value);
  } catch {
    // no document here: the record stays in the cell's output
  }
}

export default {
  initialize({ model }) {
    write(model);
    model.on("change:records", () => write(model));
  },
};

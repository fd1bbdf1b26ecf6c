// Where the page's data comes from: the server, or the file that it is in. Addresses are the same.
const held = document.getElementById("data");
const files = held ? JSON.parse(held.textContent) : null;
const kept = new Map();

export async function load(address) {
  if (files) {
    address = decodeURIComponent(address);
    if (!(address in files)) throw new Error(`${address} is not in this file`);
    return JSON.parse(files[address]);
  }
  let response;
  try {
    response = await fetch(`data/${address}`);
  } catch {
    throw new Error("the server does not answer; is `aepo view` still running?");
  }
  const value = await response.json().catch(() => ({ error: `the server answered ${response.status}` }));
  if (!response.ok) throw new Error(value.error);
  return value;
}

// Sections do not change once they are written, so what was read is kept; not what failed.
export function loadOnce(address) {
  if (!kept.has(address)) {
    if (kept.size > 40) kept.delete(kept.keys().next().value);
    kept.set(
      address,
      load(address).catch((error) => {
        kept.delete(address);
        throw error;
      }),
    );
  }
  return kept.get(address);
}

export function sectionAddress(run, key) {
  return `runs/${run}/sections/${encodeURIComponent(key)}.json`;
}

export function questionAddress(run, key, index) {
  return `runs/${run}/sections/${encodeURIComponent(key)}/${index}.json`;
}

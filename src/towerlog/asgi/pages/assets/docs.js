// Draws the list of endpoints from openapi.json. All text is set as text, never as markup.
"use strict";

const make = (tag, text, className) => {
  const node = document.createElement(tag);
  if (text !== undefined) node.textContent = text;
  if (className) node.className = className;
  return node;
};

// Text of the document, whose `code` stands between backticks.
const prose = (tag, text) => {
  const node = make(tag);
  text.split("`").forEach((piece, index) => node.append(index % 2 ? make("code", piece) : piece));
  return node;
};

const resolve = (doc, schema, seen = []) => {
  if (!schema || typeof schema !== "object") return schema;
  if (Array.isArray(schema)) return schema.map((item) => resolve(doc, item, seen));
  if (schema.$ref) {
    const name = schema.$ref.split("/").pop();
    if (seen.includes(name)) return `(${name})`;
    return resolve(doc, doc.components.schemas[name], [...seen, name]);
  }
  return Object.fromEntries(Object.entries(schema).map(([key, value]) => [key, resolve(doc, value, seen)]));
};

const kind = (schema) => {
  if (!schema || typeof schema !== "object") return String(schema ?? "any");
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (schema.anyOf) return schema.anyOf.map(kind).join(" | ");
  if (schema.type === "array") return `[${kind(schema.items)}]`;
  return [].concat(schema.type ?? "any").join(" | ");
};

const outline = (schema, indent = "") => {
  if (!schema || typeof schema !== "object") return String(schema ?? "any");
  if (schema.type === "array") return `[${outline(schema.items, indent)}]`;
  if (schema.anyOf) return schema.anyOf.map((item) => outline(item, indent)).join(" | ");
  if (!schema.properties) return kind(schema);
  const required = new Set(schema.required ?? []);
  const lines = Object.entries(schema.properties).map(
    ([name, value]) =>
      `${indent}  ${name}${required.has(name) ? "" : "?"}: ${outline(value, indent + "  ")}` +
      (value?.description ? `  // ${value.description.replaceAll("\n", " ")}` : ""),
  );
  return `{\n${lines.join("\n")}\n${indent}}`;
};

const parameterTable = (parameters) => {
  const table = make("table");
  const head = table.appendChild(make("tr"));
  for (const title of ["parameter", "in", "type", "default", "what it is"]) head.append(make("th", title));
  const titled = (title, text) => {
    const cell = make("td", text);
    cell.dataset.title = title;
    return cell;
  };
  for (const parameter of parameters) {
    const row = table.appendChild(make("tr"));
    row.append(
      make("td", parameter.name + (parameter.required ? " (required)" : "")),
      titled("in", parameter.in),
      titled("type", kind(parameter.schema)),
      titled("default", parameter.schema.default === undefined ? "" : JSON.stringify(parameter.schema.default)),
      prose("td", parameter.description),
    );
  }
  return table;
};

// A stream is text: what it looks like, not as JSON.
const shown = (value) => (typeof value === "string" ? value : JSON.stringify(value, null, 2));

const example = (media) => {
  if (media.example === undefined || media.example === null) return [];
  const box = make("details");
  box.append(make("summary", "Example"), make("pre", shown(media.example)));
  return [box];
};

const link = (text, target) => {
  const node = make("a", text);
  node.href = target;
  return node;
};

// For a shell: an apostrophe inside of apostrophes ends them, is escaped, and begins them again.
const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

const curl = (path, method, operation) => {
  const given = Object.fromEntries(operation.parameters.map((parameter) => [parameter.name, parameter.example]));
  const target = path.replace(/\{(\w+)\}/g, (_, name) => encodeURIComponent(given[name]));
  const body = operation.requestBody?.content["application/json"];
  const flags = ["curl", operation.responses["200"]?.content?.["text/event-stream"] ? "-sSN" : "-sS"];
  if (method !== (body ? "post" : "get")) flags.push(`-X ${method.toUpperCase()}`);
  const parts = [`${flags.join(" ")} "$TOWERLOG_URL${target}"`];
  if (operation["x-scopes"]) parts.push('-H "Authorization: Bearer $TOWERLOG_API_KEY"');
  if (body) parts.push("-H 'Content-Type: application/json'", `-d ${quoted(JSON.stringify(body.example))}`);
  return parts.join(" \\\n  ");
};

const refusals = (doc, bad) => {
  const table = make("table");
  for (const [status, reference] of bad) {
    const row = table.appendChild(make("tr"));
    row.append(make("td", status), prose("td", doc.components.responses[reference.split("/").pop()].description));
  }
  const box = make("details");
  box.append(make("summary", `Refusals: ${bad.map(([status]) => status).join(", ")}`), table);
  return box;
};

const responses = (doc, operation, into) => {
  const bad = [];
  for (const [status, response] of Object.entries(operation.responses)) {
    if (response.$ref) {
      bad.push([status, response.$ref]);
      continue;
    }
    into.append(prose("h4", `${status}: ${response.description}`));
    for (const [type, media] of Object.entries(response.content ?? {})) {
      const said = media.schema.contentSchema ?? media.schema;
      into.append(make("p", type, "words"), make("pre", outline(resolve(doc, said))), ...example(media));
    }
  }
  into.append(refusals(doc, bad));
};

// A path, which may go on in the next line after a slash.
const pathOf = (text) => {
  const node = make("span", undefined, "path");
  for (const piece of text.split(/(?<=\/)/)) node.append(piece, make("wbr"));
  return node;
};

const endpoint = (doc, path, method, operation) => {
  const box = make("details");
  box.id = operation.operationId;
  const title = box.appendChild(make("summary"));
  title.append(make("span", method.toUpperCase(), "method"), pathOf(path));
  title.append(make("span", operation.summary, "words"));
  // The description begins with the summary, which stands in the line above.
  const more = operation.description.replace(`${operation.summary}.`, "").trim();
  const about = box.appendChild(prose("p", `${more} `));
  about.append(link("Link to this endpoint", `#${operation.operationId}`));
  box.append(make("pre", curl(path, method, operation)));
  if (operation.parameters.length) box.append(parameterTable(operation.parameters));
  for (const [type, media] of Object.entries(operation.requestBody?.content ?? {})) {
    box.append(make("h4", `Body: ${type}`), make("pre", outline(resolve(doc, media.schema))), ...example(media));
  }
  responses(doc, operation, box);
  box.dataset.words = `${method} ${path} ${operation.summary}`.toLowerCase();
  return box;
};

const draw = (doc) => {
  const main = document.getElementById("endpoints");
  const groups = new Map();
  for (const [path, methods] of Object.entries(doc.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      const tag = operation.tags[0];
      if (!groups.has(tag)) groups.set(tag, []);
      groups.get(tag).push(endpoint(doc, path, method, operation));
    }
  }
  for (const [tag, boxes] of groups) {
    const section = main.appendChild(make("section"));
    const known = doc.tags.find((item) => item.name === tag);
    section.id = tag;
    const title = known ? known.description : tag;
    section.append(make("h2", title));
    document.getElementById("groups").appendChild(make("li")).append(link(title.split(":")[0], `#${tag}`));
    if (known?.["x-guide"]) section.appendChild(make("p")).append(link("Guide", known["x-guide"]));
    section.append(...boxes);
  }
};

// Opens what the address names, as a link from elsewhere does.
const reveal = () => {
  const box = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!box) return;
  if (box.tagName === "DETAILS") box.open = true;
  box.scrollIntoView();
};

const filter = (text) => {
  const wanted = text.trim().toLowerCase();
  for (const box of document.querySelectorAll("section > details")) {
    box.hidden = !box.dataset.words.includes(wanted);
  }
  for (const section of document.querySelectorAll("section")) {
    section.hidden = !section.querySelector(":scope > details:not([hidden])");
  }
  state.textContent = "No endpoint has these words in its path or summary.";
  state.hidden = document.querySelector("section:not([hidden])") !== null;
};

const state = document.getElementById("state");
fetch("/openapi.json")
  .then((reply) => (reply.ok ? reply.json() : Promise.reject(new Error(`status ${reply.status}`))))
  .then((doc) => {
    draw(doc);
    state.hidden = true;
    reveal();
    addEventListener("hashchange", reveal);
    document.getElementById("filter").addEventListener("input", (event) => filter(event.target.value));
  })
  .catch((error) => {
    state.textContent = `openapi.json could not be read: ${error.message}`;
  });

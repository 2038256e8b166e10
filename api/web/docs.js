// Shows openapi.json as a list of endpoints with a form to try each.

const EXAMPLES = {
  "/v1/chat/completions": { messages: [{ role: "user", content: "Hello!" }], stream: true },
  "/v1/completions": { prompt: "Once upon a time", max_tokens: 32 },
  "/tokenize": { prompt: "Hello!" },
  "/detokenize": { tokens: [1, 2, 3] },
};

const base = new URL(".", location.href);
const keyField = document.getElementById("key");

function headers() {
  const key = keyField.value.trim();
  return key ? { authorization: `Bearer ${key}` } : {};
}

function element(name, properties = {}, ...children) {
  const node = Object.assign(document.createElement(name), properties);
  node.append(...children);
  return node;
}

function resolve(document_, schema) {
  if (!schema?.$ref) return schema ?? {};
  return schema.$ref.slice(2).split("/").reduce((node, part) => node[part], document_);
}

// Prints the answer as it arrives, so that streams can be watched.
async function send(method, path, body, output) {
  output.textContent = "…";
  const options = { method, headers: headers() };
  if (body !== null) {
    options.body = body;
    options.headers["content-type"] = "application/json";
  }
  const response = await fetch(new URL(path.replace(/^\//, ""), base), options);
  output.textContent = `${response.status}\n`;
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    output.append(part.value);
  }
}

function fields(document_, operation) {
  const schema = resolve(document_, operation.requestBody?.content["application/json"].schema);
  const required = new Set(schema.required ?? []);
  const names = Object.keys(schema.properties ?? {});
  return names.map((name) => (required.has(name) ? `${name}*` : name)).join(", ");
}

function card(document_, path, method, operation) {
  const form = element("form");
  const body = operation.requestBody
    ? element("textarea", { rows: 8, value: JSON.stringify(EXAMPLES[path] ?? {}, null, 2) })
    : null;
  const parameters = (operation.parameters ?? []).map((parameter) =>
    element("input", { name: parameter.name, placeholder: parameter.name, required: true }));
  const output = element("pre", { hidden: true });
  if (body) form.append(element("p", { textContent: `Fields: ${fields(document_, operation)}` }));
  form.append(...parameters, ...(body ? [body] : []), element("button", { textContent: "Send" }), output);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    output.hidden = false;
    const target = parameters.reduce(
      (text, input) => text.replace(`{${input.name}}`, encodeURIComponent(input.value)), path);
    send(method.toUpperCase(), target, body && body.value, output)
      .catch((error) => { output.textContent = String(error); });
  });
  return element("details", {},
    element("summary", {},
      element("span", { className: "method", textContent: method.toUpperCase() }),
      element("code", { textContent: path }), ` ${operation.summary}`),
    form);
}

async function show() {
  const response = await fetch(new URL("openapi.json", base), { headers: headers() });
  const main = document.getElementById("endpoints");
  if (!response.ok) {
    main.textContent = "Enter an API key to see the endpoints.";
    return;
  }
  const document_ = await response.json();
  document.getElementById("version").textContent = document_.info.version;
  const cards = Object.entries(document_.paths).flatMap(([path, operations]) =>
    Object.entries(operations).map(([method, operation]) => card(document_, path, method, operation)));
  main.replaceChildren(...cards);
}

keyField.addEventListener("change", show);
show();

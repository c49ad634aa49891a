// JSON as a tree that can be folded.  It is parsed here, not by JSON.parse, so that numbers
// stay as they were stored, and names such as "__proto__" are only names.
import { el } from "./dom.js";

const TOKEN = /\s*(?:([{}[\],:])|("(?:[^"\\]|\\.)*")|([^\s{}[\],:"]+))/gy;

// A node: { kind: "object", items: [[name, node], ...] }, { kind: "array", items: [[index, node], ...] },
// or { kind: "string" | "number" | "literal", text }.
export function parse(text) {
	TOKEN.lastIndex = 0;
	return parseValue(nextToken(text), text);
}

function nextToken(text) {
	const match = TOKEN.exec(text);
	if (!match) {
		throw new Error("not JSON");
	}
	return match;
}

function parseValue(token, text) {
	if (token[1] === "{" || token[1] === "[") {
		return parseItems(token[1] === "{", text);
	}
	if (token[2] !== undefined) {
		return { kind: "string", text: JSON.parse(token[2]) };
	}
	return { kind: /^[-\d]/.test(token[3]) ? "number" : "literal", text: token[3] };
}

function parseItems(isObject, text) {
	const items = [];
	let token = nextToken(text);

	while (token[1] !== "}" && token[1] !== "]") {
		let name = String(items.length);
		if (isObject) {
			name = JSON.parse(token[2]);
			nextToken(text);
			token = nextToken(text);
		}
		items.push([name, parseValue(token, text)]);
		token = nextToken(text);
		if (token[1] === ",") {
			token = nextToken(text);
		}
	}
	return { kind: isObject ? "object" : "array", items };
}

// One line that says what is in it.
export function preview(node, room = 160) {
	let line = "";

	const walk = (part, top) => {
		if (line.length > room) {
			return;
		}
		if (part.items) {
			line += top ? "" : part.kind === "object" ? "{" : "[";
			part.items.forEach(([name, item], i) => {
				line += (i ? ", " : "") + (part.kind === "object" ? `${name}: ` : "");
				walk(item, false);
			});
			line += top ? "" : part.kind === "object" ? "}" : "]";
		} else {
			line += part.text;
		}
	};
	walk(node, true);
	return line.length > room ? `${line.slice(0, room)}…` : line;
}

// Folded where it is deep or long; what is folded is only made when it is opened.
export function tree(node, depth = 0, name = undefined) {
	const label = name === undefined ? null : el("span", { class: "name" }, name, el("i", {}, ": "));

	if (!node.items) {
		return el("div", { class: "leaf" }, label, leaf(node));
	}
	if (node.items.length === 0) {
		return el("div", { class: "leaf" }, label, node.kind === "object" ? "{}" : "[]");
	}
	const brackets = node.kind === "object" ? "{}" : "[]";
	const details = el("details", { class: "branch" },
		el("summary", {}, label, el("span", { class: "count" }, `${brackets[0]} ${node.items.length} ${brackets[1]}`)));
	const fill = () => {
		if (details.open && details.childElementCount === 1) {
			details.append(el("div", { class: "items" }, ...node.items.map(([key, item]) => tree(item, depth + 1, key))));
		}
	};
	details.open = depth === 0 || (depth < 2 && node.items.length <= 12);
	details.addEventListener("toggle", fill);
	fill();
	return details;
}

function leaf(node) {
	if (node.kind === "string" && node.text.length > 400) {
		const text = el("span", { class: "string" }, JSON.stringify(node.text.slice(0, 400)), "…");
		const more = el("button", { type: "button", class: "small" }, `all ${node.text.length} characters`);

		more.addEventListener("click", () => {
			text.textContent = JSON.stringify(node.text);
			more.remove();
		});
		return el("span", {}, text, " ", more);
	}
	return el("span", { class: node.kind }, node.kind === "string" ? JSON.stringify(node.text) : node.text);
}

// Making elements, and asking the server.  Text goes in as text only: nothing here, or
// anywhere in this program, makes markup of a string.

export function el(tag, attributes = {}, ...children) {
	const element = document.createElement(tag);

	for (const [name, value] of Object.entries(attributes)) {
		if (value !== null && value !== undefined && value !== false) {
			element.setAttribute(name, value === true ? "" : value);
		}
	}
	element.append(...children.filter((child) => child !== null && child !== undefined));
	return element;
}

export function svg(tag, attributes) {
	const element = document.createElementNS("http://www.w3.org/2000/svg", tag);

	for (const [name, value] of Object.entries(attributes)) {
		element.setAttribute(name, value);
	}
	return element;
}

export function button(text, action, attributes = {}) {
	const element = el("button", { type: "button", ...attributes }, text);

	element.addEventListener("click", action);
	return element;
}

function asQuery(parameters) {
	const pairs = Object.entries(parameters).flatMap(([name, value]) => [value].flat().map((one) => [name, one]));

	return new URLSearchParams(pairs.filter(([, value]) => value !== undefined && value !== null && value !== ""));
}

// The address of a page of this program.  An array is a parameter that comes several times.
export function address(page, parameters) {
	return `#/${page}?${asQuery(parameters)}`;
}

export async function ask(query, parameters) {
	let response;

	try {
		response = await fetch(`/api/${query}?${asQuery(parameters)}`);
	} catch {
		throw new Error("The server does not answer.");
	}
	const answer = await response.json();
	if (!response.ok) {
		throw new Error(answer.error + (answer.hint ? ` ${answer.hint}` : ""));
	}
	return answer;
}

// In the reader's time zone, but in an order that nobody misreads.
export function time(text) {
	const date = new Date(text.replace(" ", "T"));
	const local = new Date(date - date.getTimezoneOffset() * 60000).toISOString();

	return el("time", { datetime: date.toISOString(), title: text }, `${local.slice(0, 10)} ${local.slice(11, 23)}`);
}

// How long ago, in the unit that fits.
export function age(text, now) {
	let left = Math.max(0, (new Date(now.replace(" ", "T")) - new Date(text.replace(" ", "T"))) / 1000);

	for (const [unit, size] of [["s", 60], ["min", 60], ["h", 24], ["d", Infinity]]) {
		if (left < size) {
			return `${left < 10 ? left.toFixed(1) : Math.round(left)} ${unit}`;
		}
		left /= size;
	}
	return "";
}

// Digits in groups, of any length.
export function number(text) {
	return text === null || text === undefined ? "–" : String(text).replace(/\B(?=(\d{3})+$)/g, "\u202f");
}

export function bytes(text) {
	let left = Number(text);

	for (const unit of ["B", "kB", "MB", "GB"]) {
		if (left < 1000) {
			return `${left < 10 && unit !== "B" ? left.toFixed(1) : Math.round(left)} ${unit}`;
		}
		left /= 1000;
	}
	return `${left.toFixed(1)} TB`;
}

// A list of events: each a row that opens to its data, metadata and links.
import { address, button, el, time } from "./dom.js";
import { parse, preview, tree } from "./json.js";

// What was seen so far, offered where one types keys and filters.
const seen = { keys: new Set(), types: new Set(), categories: new Set() };

export function remember(events) {
	for (const event of events) {
		const dash = event.key.indexOf("-");

		seen.keys.add(event.key);
		seen.types.add(event.type);
		seen.categories.add(dash < 0 ? event.key : event.key.slice(0, dash));
	}
}

export function fillList(list, what) {
	list.replaceChildren(...[...seen[what]].slice(-200).sort().map((value) => el("option", { value })));
}

// The same type has the same colour everywhere.
function hue(text) {
	let sum = 7;

	for (const character of text) {
		sum = (sum * 31 + character.codePointAt(0)) % 360;
	}
	return sum;
}

export function badge(type) {
	const element = el("span", { class: "type" }, type);

	element.style.setProperty("--hue", hue(type));
	return element;
}

function parsed(text) {
	return text === null ? null : parse(text);
}

export function row(store, event, { here = false } = {}) {
	const data = parsed(event.data);
	const toggle = el("button", { type: "button", class: "toggle", "aria-expanded": "false", title: `Position ${event.position}` },
		el("span", { class: "hidden" }, "Event at position "), event.position);
	const head = el("div", { class: "head" },
		toggle,
		time(event.recorded_at),
		badge(event.type),
		el("a", { class: "key", href: address("aggregate", { store, key: event.key, from: event.version }) },
			el("span", {}, event.key), el("span", { class: "version" }, event.version)),
		el("span", { class: "preview" }, data ? preview(data) : ""));
	const item = el("li", { class: "event", tabindex: "-1", "data-position": event.position, "aria-current": here ? "true" : null }, head);

	const flip = (open = toggle.getAttribute("aria-expanded") !== "true") => {
		toggle.setAttribute("aria-expanded", String(open));
		if (open && !item.querySelector(".body")) {
			item.append(body(store, event, data));
		}
		const shown = item.querySelector(".body");
		if (shown) {
			shown.hidden = !open;
		}
	};
	head.addEventListener("click", (click) => {
		if (!click.target.closest("a") && !String(getSelection())) {
			flip();
		}
	});
	item.flip = flip;
	return item;
}

function field(name, ...content) {
	return [el("dt", {}, name), el("dd", {}, ...content)];
}

function body(store, event, data) {
	const metadata = parsed(event.metadata);
	const copy = button("Copy as JSON", async () => {
		await navigator.clipboard.writeText(asJson(event));
		copy.textContent = "Copied";
	}, { class: "small" });
	const traced = address("trace", { store, position: event.position });

	return el("div", { class: "body" },
		el("section", {}, el("h3", {}, "Data"), data ? tree(data) : el("p", { class: "none" }, "none")),
		el("section", {}, el("h3", {}, "Metadata"), metadata ? tree(metadata) : el("p", { class: "none" }, "none")),
		el("dl", {},
			...field("Id", el("code", {}, event.id)),
			...(event.tags ? field("Tags", ...event.tags.map((tag) => el("a", { class: "tag", href: address("log", { store, tags: tag }) }, tag))) : []),
			...(event.correlation_id ? field("Correlation", el("a", { href: traced }, event.correlation_id)) : []),
			...(event.causation_id ? field("Caused by", el("a", { href: traced }, event.causation_id)) : [])),
		el("p", { class: "actions" },
			el("a", { class: "trace", href: traced }, "Trace causes and effects"),
			el("a", { href: address("log", { store, types: event.type }) }, "Others of this type"),
			copy));
}

// As it is stored, numbers included.
function asJson(event) {
	const text = (value) => JSON.stringify(value);

	return `{"position": ${event.position}, "key": ${text(event.key)}, "version": ${event.version}, "type": ${text(event.type)}, `
		+ `"data": ${event.data}, "metadata": ${event.metadata}, "tags": ${text(event.tags)}, "id": ${text(event.id)}, `
		+ `"recorded_at": ${text(event.recorded_at)}}`;
}

export function list(store, events, label) {
	return el("ol", { class: "events", "aria-label": label }, ...events.map((event) => row(store, event)));
}
